"""The small service in a process of its own, which tells what it holds: `python -m tests.hostile_worlds`."""

import contextlib
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import grpc

from pricegrid.service.transport.server import Ages, Http2Server
from tests.transport_worlds import SERVICE, served

AGES = Ages(30.0, 10.0, 600.0, 3600.0)


class Errors(logging.Handler):
    """What was logged of errors, other than that a handler failed."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if not record.getMessage().startswith("/"):  # the path of a handler
            self.texts.append(self.format(record))


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def state(server: Http2Server) -> dict[str, Any]:
    """What a server holds of its callers."""
    return {
        "connections": len(server.connections),
        "calls": sum(len(each.calls) for each in list(server.connections)),
        "kept": server.kept_bytes,
        "ready": len(server.ready),
        "posted": len(server._posted),
        "threads": threading.active_count(),
        "busy": server._pool._work_queue.qsize(),
        "rss": resident_bytes(),
        "cpu_s": time.process_time(),
    }


@contextlib.contextmanager
def errors() -> Iterator[list[str]]:
    """Errors that are logged meanwhile: an exception in a callback of the loop is one of them."""
    handler = Errors()
    logging.getLogger().addHandler(handler)
    try:
        yield handler.texts
    finally:
        logging.getLogger().removeHandler(handler)


def main() -> None:
    logging.basicConfig(level=logging.ERROR)
    with errors() as texts, served("http2", ages=AGES) as place:
        print(place.address, flush=True)
        for _ in sys.stdin:
            print(json.dumps({**state(place.server), "count": len(texts), "errors": texts[:3]}), flush=True)


@dataclass
class HostileWorld:
    """A server in another process."""

    address: str
    process: subprocess.Popen[str]

    def state(self) -> dict[str, Any]:
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


@contextlib.contextmanager
def hostile_world() -> Iterator[HostileWorld]:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.hostile_worlds"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            yield HostileWorld(process.stdout.readline().strip(), process)
            process.stdin.close()
            process.wait(30)
        finally:
            process.kill()


class Honest:
    """A client that asks one call after the other, checks the answers and keeps how long they took."""

    def __init__(self, address: str, pause_s: float = 0.0) -> None:
        self._channel = grpc.insecure_channel(address)
        self._ask = self._channel.unary_unary(f"/{SERVICE}/Quick")
        self._pause_s = pause_s
        self._is_over = False
        self.seconds: list[float] = []
        self.wrong: list[str] = []
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        number = 0
        while not self._is_over:
            number += 1
            raw = b"%d" % number
            began_s = time.perf_counter()
            try:
                if self._ask(raw, timeout=20) != raw:
                    self.wrong.append(f"call {number} got another answer")
            except grpc.RpcError as error:
                self.wrong.append(f"call {number}: {error.code()} {error.details()}")
            self.seconds.append(time.perf_counter() - began_s)
            time.sleep(self._pause_s)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def stop(self) -> None:
        self._is_over = True
        self._thread.join(30)
        self._channel.close()

    def __exit__(self, *_: object) -> None:
        self.stop()


def percentile_ms(seconds: list[float], share: float) -> float:
    ordered = sorted(seconds)
    return 1e3 * ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else -1.0


if __name__ == "__main__":
    main()

"""A `pricegrid serve` in processes of its own, for tests."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from tests.log_leaks import leaks
from tests.telemetry import keep, read_metrics

DEADLINE_S = 600.0 if os.environ.get("PRICEGRID_LONG_TESTS") == "1" else 60.0
"""Far beyond what anything here takes: reaching it is the failure."""
LOOK_S = 0.005


@dataclass(frozen=True, slots=True)
class Server:
    """A running server; `log` grows as it writes."""

    address: str
    ready: dict[str, object]
    process: subprocess.Popen[str]
    log: list[str]

    def workers(self) -> list[int]:
        """The process ids of its workers."""
        return self._named("pricegrid-work")

    def writer(self) -> list[int]:
        """The process id of its writer, if it has one now."""
        return self._named("pricegrid-write")

    def _named(self, name: str) -> list[int]:
        """Of its own children, or of the one that forks them."""
        own = _children(self.process.pid)
        return [pid for pid in (*own, *chain.from_iterable(map(_children, own))) if _name(pid) == name]

    def stop(self) -> int:
        """Stops it as an operator would; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE_S)


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):  # it has ended since it was listed
        return []


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):  # it has ended since it was listed
        return ""


def until(condition: Callable[[], bool], what: str) -> None:
    """Asks until it is so."""
    give_up_s = time.monotonic() + DEADLINE_S
    while not condition():
        if time.monotonic() > give_up_s:
            raise AssertionError(f"never came about: {what}")
        time.sleep(LOOK_S)  # not at once: the server needs the core


@contextlib.contextmanager
def running(
    store: Path, *options: str, entry: Sequence[str] = ("-m", "pricegrid.service.cli.main")
) -> Iterator[Server]:
    """Starts a server, on a free port unless `--socket` says where, and waits until it is ready; `entry` is what Python
    runs."""
    command = [
        sys.executable,
        *entry,
        "serve",
        "--store",
        str(store),
        *(() if "--socket" in options else ("--port", "0")),
        "--json",
        *options,
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    log: list[str] = []
    reader = threading.Thread(target=log.extend, args=(process.stderr,), daemon=True)
    reader.start()
    try:
        line = process.stdout.readline()
        assert line, "".join(log)
        ready = json.loads(line)
        yield Server(ready["address"], ready, process, log)
        if process.poll() is None:
            with contextlib.suppress(OSError):  # it is stopping
                assert leaks(read_metrics(ready.get("metrics_port"))) == []
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(DEADLINE_S)
        finally:
            process.kill()
        reader.join()
        process.stdout.close()
        process.stderr.close()
    keep("logs", log)
    assert leaks(log) == []

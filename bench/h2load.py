"""`h2load`, where it is installed: the same ratios from a load generator that others know.

It sends one body over and over, so one request is repeated here, and what it needs stays in the caches: beside the
cold figures of `bench.rpc`, not in their place. One thread, one connection, as many calls in flight; servers and load
on the same cores as there. A refused gRPC call has HTTP status 200, so the bytes that came are compared with those
of answers.
"""

import re
import shutil
import statistics
import struct
import subprocess
from pathlib import Path

from bench import datasets as data
from bench.echo_server import SERVICE
from bench.kernel import Questions
from bench.measure import Figure
from bench.rpc import (
    IN_FLIGHT,
    LINES,
    Method,
    check_answered,
    cores,
    echo_server,
    median_answer_bytes,
    on_core,
    pricegrid_server,
)

_FINISHED = re.compile(r"^finished in [^,]+, ([\d.]+) req/s", re.MULTILINE)
_REQUESTS = re.compile(
    r"^requests: .*?(\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", re.MULTILINE
)
# "data" holds the bytes of warming up too
_TRAFFIC = re.compile(r"^traffic: \S+ \((\d+)\) total", re.MULTILINE)


def executable() -> str | None:
    """Where it is, if it is installed."""
    return shutil.which("h2load")


def arguments(program: str, url: str, body: Path, seconds: int, in_flight: int) -> list[str]:
    """How it is called: one connection, `in_flight` streams, for whole seconds after one of warming up."""
    return [
        program,
        f"--duration={seconds}",
        "--warm-up-time=1",
        "--threads=1",
        "--clients=1",
        f"--max-concurrent-streams={in_flight}",
        f"--data={body}",
        "--header=content-type: application/grpc",
        "--header=te: trailers",
        url,
    ]


def parse(said: str) -> dict[str, float]:
    """Rate, calls and answered bytes of its report; raises ValueError if a call failed or the report is another."""
    finished, requests, traffic = (pattern.search(said) for pattern in (_FINISHED, _REQUESTS, _TRAFFIC))
    if finished is None or requests is None or traffic is None:
        raise ValueError(f"h2load said something else: {said[-500:]!r}")
    done, succeeded, failed, errored, timeout = map(int, requests.groups())
    if failed or errored or timeout or not done or succeeded != done:
        raise ValueError(f"h2load: {requests[0]}")
    return {"rate": float(finished[1]), "calls": done, "data_bytes": int(traffic[1])}


def run(url: str, body: Path, seconds: int, core: int) -> dict[str, float]:
    """One run, on a core."""
    program = executable()
    if program is None:
        raise FileNotFoundError("h2load")
    with on_core(core):
        done = subprocess.run(
            arguments(program, url, body, seconds, IN_FLIGHT), capture_output=True, text=True, check=False
        )
    if done.returncode:
        raise ValueError(f"h2load: {done.stderr[-500:]}")
    return parse(done.stdout)


def write_body(path: Path, message: bytes) -> Path:
    """The message behind gRPC's five bytes."""
    path.write_bytes(b"\0" + struct.pack(">I", len(message)) + message)
    return path


def measure(
    method: Method, size: data.Size, store: Path, folder: Path, rounds: int, seconds: int
) -> list[Figure]:
    """RPC rates beside an echo; none where h2load is not installed."""
    if executable() is None:
        return []
    server_core, load_core = cores()
    questions, figures = Questions(size, seed=6), []
    with pricegrid_server(store, server_core) as (address, _):
        raws = {n: method.request(size, questions.ask(n, "mixed")) for n in LINES}
        answers = {n: median_answer_bytes(address, method.path, [raws[n]]) for n in LINES}
        with echo_server(server_core, answers.values()) as (echo_address, _):
            for lines in LINES:
                body = write_body(folder / f"h2load-{method.name}-{lines}", raws[lines])
                urls = f"http://{address}{method.path}", f"http://{echo_address}/{SERVICE}/{answers[lines]}"
                pairs = [
                    tuple(_answered(url, body, seconds, load_core, answers[lines]) for url in urls)
                    for _ in range(rounds)
                ]
                ours, floor = (statistics.median(rates) for rates in zip(*pairs, strict=True))
                name = (
                    f"{method.name}, h2load, one request repeated, {lines:,} line{'s' if lines > 1 else ''}"
                )
                ratio = statistics.median(one / other for one, other in pairs)
                figures.append(Figure(name, "", ours, floor, "grpcio echo, same bytes", "RPC/s", ratio))
    return figures


def _answered(url: str, body: Path, seconds: int, core: int, answer_bytes: int) -> float:
    done = run(url, body, seconds, core)
    check_answered(done, answer_bytes)
    return done["rate"]

"""`pricegrid serve` with a clock that a test sets, without the seconds that a start costs: for thousands of restarts.

One process imports the product and loads its kernels, then forks a supervisor for each command that it reads, one JSON
object a line. The supervisor forks its worker and its writer itself, where `pricegrid` has a process for that; all else
is as it is there.
"""

import contextlib
import json
import multiprocessing
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.servers import DEADLINE_S, Server


@dataclass(frozen=True, slots=True)
class Forked:
    """A forked supervisor, with what tests use of a `Popen`."""

    pid: int
    handle: int
    """A pidfd: the process is another one's child."""

    def send_signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.handle, number)

    def wait(self, timeout_s: float) -> int:
        if not select.select([self.handle], [], [], timeout_s)[0]:
            raise TimeoutError(f"process {self.pid} goes on")
        return 0


@cache
def _forker() -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.forked_server"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@contextlib.contextmanager
def running_forked(store: Path, clock: Path) -> Iterator[Server]:
    """Starts a server with one worker and waits until it is ready."""
    forker = _forker()
    log = store.parent / f"server-{time.monotonic_ns()}.log"
    forker.stdin.write(json.dumps({"store": str(store), "clock": str(clock), "log": str(log)}) + "\n")
    forker.stdin.flush()
    pid = int(forker.stdout.readline())
    process = Forked(pid, os.pidfd_open(pid))
    try:
        give_up_s = time.monotonic() + DEADLINE_S
        while not (ready := log.with_suffix(".ready").read_text()).endswith("\n"):
            assert time.monotonic() < give_up_s, log.read_text()
            assert not select.select([process.handle], [], [], 0.005)[0], log.read_text()
        said = json.loads(ready)
        yield Server(said["address"], said, process, [])
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(DEADLINE_S)
        finally:
            process.send_signal(signal.SIGKILL)
            os.close(process.handle)


def _serve(asked: dict[str, str]) -> None:
    """In the forked process: the command, until it ends."""
    from pricegrid.service.cli.main import main
    from pricegrid.service.process import forker
    from tests import clocked_server

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for target, name in ((1, Path(asked["log"]).with_suffix(".ready")), (2, asked["log"])):
        file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, target)
        os.close(file)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    clocked_server.use_clock(Path(asked["clock"]))
    forker.context = lambda: multiprocessing.get_context("fork")
    code = main(["serve", "--store", asked["store"], "--port", "0", "--json", "--workers", "1"])
    sys.stdout.flush()
    os._exit(code)


def _fork_servers() -> None:
    from tests import clocked_server  # noqa: F401, I001 -- before anything of the product takes the clock
    from pricegrid.service.process import supervisor, worker  # noqa: F401 -- once, not in each of them
    from pricegrid.service.live import writer  # noqa: F401
    from tests.warm_up import compile_kernels

    compile_kernels()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system buries them
    for line in sys.stdin:
        asked = json.loads(line)
        Path(asked["log"]).with_suffix(".ready").touch()
        pid = os.fork()
        if pid == 0:
            try:
                _serve(asked)
            finally:
                os._exit(70)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    from pricegrid.service.process.kernel_cache import use_kernel_cache

    use_kernel_cache(os.environ)
    _fork_servers()

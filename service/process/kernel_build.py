"""Compiles kernels ahead of whoever would wait for them: side by side in processes, saying how far it is.

`kernel_parts` says what is compiled. `kernel_plan.json` has the kernels of each part and the CPU seconds that they took
once: whether any is lacking and how long the rest takes is told from it.
"""

import contextlib
import gc
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, MutableMapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TextIO

from pricegrid.columnar.kernel_mode import EXTENSION_VARIABLE
from pricegrid.service.process.kernel_cache import SHIPPED_VARIABLE, compile_reason, made_for, unusable_reason
from pricegrid.service.process.kernel_parts import PARTS

PLAN_FILE: Final = Path(__file__).with_name("kernel_plan.json")
Plan = Mapping[str, Mapping[str, float]]
"""Of each part its kernels, MODULE.NAME, and the CPU seconds of each without those that it calls."""
_TELL_S: Final = 10.0
_REDRAW_S: Final = 0.5
_COLLECT_AFTER: Final = 100_000
_NUMBER: Final = re.compile(r"-\d+\.py\d+\w*$")


_ANSWERING: Final = ("live", "prices", "codec", "availability", "fast_path", "verify")


def parts_of(command: str, store: Path | None) -> tuple[str, ...]:
    """What a command compiles kernels for; `store` is the one that it works on, None for a server elsewhere."""
    if command == "demo":
        return ("load", *_ANSWERING)
    if store is None:
        return ()
    if command == "load":
        return ("load", "load_again") if (store / "current").exists() else ("load",)
    if command in {"snapshots", "events", "dead-letters", "erp", "flags", "accept-loss"}:
        return ()
    return _ANSWERING


def read_plan() -> Plan:
    """The plan of this release."""
    plan: Plan = json.loads(PLAN_FILE.read_text(encoding="utf-8"))
    return plan


def kernel_name(path: Path) -> str:
    """The kernel whose cache a file of the folder is: MODULE.NAME."""
    return f"{path.parent.name}.{_NUMBER.sub('', path.stem)}"


def kernels_in(folder: Path) -> set[str]:
    """The kernels that a folder has for this Python."""
    python = f".py{sys.version_info[0]}{sys.version_info[1]}"
    return {kernel_name(path) for path in folder.glob(f"*/*{python}*.nbi")}


def provide(command: str, store: Path | None, environment: MutableMapping[str, str], out: TextIO) -> None:
    """Compiles what a command needs and the caches lack, saying so; nothing if this installation brought its kernels.

    What can't be done here is left to the command, which compiles what it comes across.
    """
    lacking = _lacking(command, store, environment)
    if lacking:
        folder = Path(environment["NUMBA_CACHE_DIR"])
        with contextlib.suppress(OSError, RuntimeError):
            compile_parts(_with_what_they_need(lacking), Progress(read_plan(), kernels_in(folder), out))
            for part in lacking:
                _done(folder, part).touch()


@contextlib.contextmanager
def compiler_ahead(command: str, store: Path | None, environment: MutableMapping[str, str]) -> Iterator[None]:
    """While something else is done, numba is imported if `provide` will need it: Python compiles what was installed as
    text, which takes it longer than all else, and would do so in each process of `provide`."""
    if not _lacking(command, store, environment):
        yield
        return
    with subprocess.Popen([sys.executable, "-c", "import numba"]) as process:
        try:
            yield
        finally:
            process.kill()


def _lacking(command: str, store: Path | None, environment: Mapping[str, str]) -> list[str]:
    """The parts that `provide` has to compile, and can."""
    wanted = parts_of(command, store)
    if environment.get(EXTENSION_VARIABLE) or not wanted:
        return []
    if SHIPPED_VARIABLE in environment or "NUMBA_CACHE_LOCATOR_CLASSES" not in environment:
        return []
    if importlib.util.find_spec("numba") is None:  # the client alone
        return []
    folder = Path(environment["NUMBA_CACHE_DIR"])
    if not unusable_reason(folder) or not _can_write(folder):  # `kernels build` made it
        return []
    plan, there = read_plan(), kernels_in(folder)
    return [
        part
        for part in wanted
        if not _done(folder, part).exists() and any(kernel not in there for kernel in plan[part])
    ]


def _done(folder: Path, part: str) -> Path:
    """A file that says that this part was run on the folder with this numba and this Python."""
    versions = made_for()
    return folder / f"{part}-numba{versions['numba']}-py{versions['python']}.done"


def _can_write(folder: Path) -> bool:
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    return os.access(there, os.W_OK | os.X_OK)


def _with_what_they_need(parts: Collection[str]) -> list[str]:
    """All of them need the store of part `load`; the rest of `after` is about the order alone."""
    return [part for part in PARTS if part in parts or part == "load"]


@dataclass(slots=True)
class Progress:
    """How many kernels are compiled, and how long the rest will take."""

    plan: Plan
    there: Collection[str]
    """Kernels that need not be compiled."""
    out: TextIO
    costs: dict[str, dict[str, float]] = field(default_factory=dict)
    """What was compiled, by part: CPU seconds of each kernel."""
    used: set[str] = field(default_factory=set)
    """The cache files of all kernels that the parts used, FOLDER/NAME without what follows."""
    _left: dict[str, float] = field(default_factory=dict)
    _done_s: float = 0.0
    _count: int = 0
    _total: int = 0
    _began_s: float = field(default_factory=time.monotonic)
    _told_s: float = 0.0

    def expect(self, parts: Collection[str], processes: int) -> None:
        """Say what is ahead."""
        for part in parts:
            self._left |= {name: s for name, s in self.plan[part].items() if name not in self.there}
        self._total = len(self._left)
        reason = compile_reason()
        if self._total:
            self._write(
                f"pricegrid: compiling {self._total} kernels with {processes} processes, once"
                + (f" ({reason})" if reason else "")
            )

    def compiled(self, part: str, kernel: str, took_s: float) -> None:
        """A kernel is done."""
        self.costs.setdefault(part, {})[kernel] = round(self.costs.get(part, {}).get(kernel, 0.0) + took_s, 3)
        self._done_s += self._left.pop(kernel, 0.0)
        self._count += 1

    def tell(self) -> None:
        """Say how far it is, now and then."""
        now_s = time.monotonic()
        if now_s - self._told_s < (_REDRAW_S if self.out.isatty() else _TELL_S) or not self._total:
            return
        self._told_s = now_s
        text = f"compiling kernels: {self._total - len(self._left)} of {self._total}, {self.left_text(now_s)}"
        if self.out.isatty():
            self.out.write(f"\r\x1b[K{text}")
            self.out.flush()
        else:
            self._write(f"pricegrid: {text}")

    def left_text(self, now_s: float) -> str:
        """The time that is left, from the pace so far."""
        left_s, elapsed_s = sum(self._left.values()), now_s - self._began_s
        if self._done_s < 1.0 or elapsed_s < 1.0:
            return f"about {_rounded(left_s)} of CPU left"
        return f"about {_rounded(left_s * elapsed_s / self._done_s)} left"

    def end(self) -> None:
        """Say that it is done."""
        if not self._total:
            return
        if self.out.isatty():
            self.out.write("\r\x1b[K")
        self._write(f"pricegrid: kernels compiled in {time.monotonic() - self._began_s:.0f} s")

    def _write(self, line: str) -> None:
        self.out.write(f"{line}\n")
        self.out.flush()


def _rounded(seconds: float) -> str:
    if seconds >= 90:
        return f"{seconds / 60:.0f} min"
    return f"{max(5, 5 * round(seconds / 5))} s"


def compile_parts(parts: Collection[str], progress: Progress) -> None:
    """Runs parts in as many processes as there are cores, one part after the other in each. Raises OSError without a
    temporary directory, RuntimeError if a part fails."""
    processes = len(os.sched_getaffinity(0))
    progress.expect(parts, processes)
    with (
        tempfile.TemporaryDirectory(prefix="pricegrid-kernels-", ignore_cleanup_errors=True) as directory,
        contextlib.ExitStack() as pipes,
        ThreadPoolExecutor(processes) as pool,  # waits for its threads, and these for the processes
        _stopped_at_the_end() as started,
    ):
        waiting, done, idle = list(parts), set[str](), list[_Process]()
        under_way: dict[Future[_Process], str] = {}
        while waiting or under_way:
            for part in list(waiting):
                if not (set(PARTS[part].after) & set(parts)) - done and len(under_way) < processes:
                    waiting.remove(part)
                    if not idle:
                        idle.append(pipes.enter_context(_start(directory)))
                        started.append(idle[0])
                    process = idle.pop()
                    under_way[pool.submit(_run, part, process, progress)] = part
            ended, _ = wait(under_way, timeout=_REDRAW_S, return_when=FIRST_COMPLETED)
            for future in ended:
                idle.append(future.result())
                done.add(under_way.pop(future))
            progress.tell()
    progress.end()


_Process = subprocess.Popen[str]


@contextlib.contextmanager
def _stopped_at_the_end() -> Iterator[list[_Process]]:
    started: list[_Process] = []
    try:
        yield started
    finally:
        for process in started:
            process.kill()


def _start(directory: str) -> _Process:
    """A process that takes parts: a start of numba, and what one part has in memory, is there for the next."""
    command = [sys.executable, "-m", "pricegrid.service.process.kernel_build", directory]
    return subprocess.Popen(  # noqa: S603
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def _run(part: str, process: _Process, progress: Progress) -> _Process:
    assert process.stdin is not None  # noqa: S101
    assert process.stdout is not None  # noqa: S101
    assert process.stderr is not None  # noqa: S101
    with contextlib.suppress(BrokenPipeError):  # it has ended: said below
        os.write(process.stdin.fileno(), f"{part}\n".encode())
    for line in process.stdout:
        match line.split():
            case [file, seconds] if file.startswith("pricegrid."):
                progress.compiled(part, _NUMBER.sub("", file), float(seconds))
            case ["used", file]:
                progress.used.add(file)
            case ["done"]:
                return process
    raise RuntimeError(f"kernels of part {part} can't be compiled: {process.stderr.read()[-2000:]}")


def main(directory: Path) -> None:
    """The process of parts, which it is told on stdin: prints each kernel that it compiled, and the CPU seconds, then
    all that it used, then that it is done.

    With an extension it prints no kernels, and numba stays away.
    """
    if not os.environ.get(EXTENSION_VARIABLE):
        _say_what_is_compiled()
    for line in sys.stdin:
        PARTS[line.strip()].run(directory)
        if not os.environ.get(EXTENSION_VARIABLE):
            _say_what_was_used()
        elif "numba" in sys.modules:
            raise RuntimeError("numba was imported")
        print("done", flush=True)  # noqa: T201 -- to the process that started this one


def _say_what_is_compiled() -> None:
    from pricegrid.service.process.kernel_locator import COMPILING

    # numba makes millions of objects that stay: to look through them is a tenth of it
    gc.set_threshold(_COLLECT_AFTER)

    def say(file: str, took_s: float) -> None:
        print(f"{file} {took_s:.3f}", flush=True)  # noqa: T201

    COMPILING.listener = say


def _say_what_was_used() -> None:
    from pricegrid.service.process.kernel_locator import COMPILING

    for file in sorted(COMPILING.used):
        print(f"used {file}")  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""CPU time and memory of processes, as the system tells them."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_TICKS_S: Final = os.sysconf("SC_CLK_TCK")
_STATE: Final = 0
"""After the name of the process: a letter that says what it does."""
_ENDED: Final = ("Z", "X")
_USER_TICKS: Final = 11
"""There too: user ticks, and those of the system next."""


@dataclass(frozen=True, slots=True)
class Used:
    """By some processes together."""

    cpu_s: float
    """Since the first look; those that have ended count on."""
    memory_bytes: int
    """Of their own."""
    open_files: int


class Usage:
    """Adds up what processes use by what they are. For one thread at a time."""

    def __init__(self) -> None:
        self._seen: dict[int, float] = {}
        """CPU seconds of a process at the last look."""
        self._cpu_s: dict[str, float] = {}

    def look(self, pids: Mapping[str, Sequence[int]]) -> Mapping[str, Used]:
        """What the processes of each name use now."""
        seen: dict[int, float] = {}
        found: dict[str, Used] = {}
        for name, each in pids.items():
            memory = files = 0
            total_s = self._cpu_s.get(name, 0.0)
            for pid in each:
                try:
                    cpu_s, own = _cpu_s(pid), _memory_bytes(pid)
                    opened = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
                except (OSError, ValueError, IndexError):  # it has just ended
                    continue
                before_s = self._seen.get(pid, 0.0)
                total_s += (
                    cpu_s - before_s if cpu_s >= before_s else cpu_s
                )  # less: another process has its number
                seen[pid] = cpu_s
                memory, files = memory + own, files + opened
            self._cpu_s[name] = total_s
            found[name] = Used(total_s, memory, files)
        self._seen = seen
        return found


def is_running(pid: int) -> bool:
    """Whether there is a process of that number that has not ended."""
    try:
        return _after_name(pid)[_STATE] not in _ENDED
    except (OSError, IndexError):
        return False


def _after_name(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _cpu_s(pid: int) -> float:
    after_name = _after_name(pid)
    return (int(after_name[_USER_TICKS]) + int(after_name[_USER_TICKS + 1])) / _TICKS_S


def _memory_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0

"""A child process of the supervisor: the messages exchanged with it, its heartbeats, and its restarts."""

import contextlib
import logging
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess, SpawnContext, SpawnProcess
from typing import Final

from pricegrid.service.identity.messages import Keys, UnknownKey
from pricegrid.service.limits import (
    HANG_S,
    HEALTHY_AFTER_S,
    RESTART_DELAY_MAX_S,
    RESTART_DELAY_S,
    START_HANG_S,
    SWAP_RETRY_MAX_S,
    SWAP_RETRY_S,
)
from pricegrid.service.process.heartbeat import Beat
from pricegrid.service.process.worker import (
    Activate,
    OtherCache,
    ReadOnly,
    Serving,
    Stop,
    SwapFailed,
    WorkerConfig,
)

_log = logging.getLogger(__name__)
ALONE_AFTER_DEATHS: Final = 3
"""Deaths of the writer in a row after which workers no longer wait for it."""


def backed_off(first_s: float, times: int, max_s: float) -> float:
    """Exponential backoff: the pause after `times` failures in a row."""
    return min(first_s * 2.0 ** min(times, 30), max_s)


class Child:
    """A slot for a process, and the process in it. Used by the supervisor's loop alone; times are on its clock."""

    def __init__(
        self,
        name: str,
        run: Callable[[WorkerConfig, Connection], None],
        context: Callable[[], ForkServerContext | SpawnContext],
        *,
        hang_s: float = HANG_S,
    ) -> None:
        self.name = name
        self.process: ForkServerProcess | SpawnProcess | None = None
        self.serving = ""
        """The snapshot that a worker serves with live positions, or that the writer shows; '' for none."""
        self.is_read_only = False
        self.is_live_proven = False
        self.other_cache: OtherCache | None = None
        """Of the writer: what keeps it from being one."""
        self.deaths = 0
        """In a row."""
        self.ended = 0
        self.restart_at_s = 0.0
        self.heard_s = 0.0
        self.met_unknown_key = False
        """A token named a key that is in no set; whoever acts on it clears it."""
        self._run = run
        self._context = context
        self._hang_s = hang_s
        self._pipe: Connection | None = None
        self._sent: Activate | None = None
        self._resend_at_s: float | None = None
        self._failures = 0
        self._started_s = 0.0
        self._has_beaten = False

    @property
    def pid(self) -> int | None:
        """The number of its process; None: there is none now. Safe to ask from any thread."""
        process = self.process
        return None if process is None else process.pid

    @property
    def sources(self) -> list[Connection | int]:
        """What the supervisor waits on."""
        if self.process is None or self._pipe is None:
            return []
        return [self._pipe, self.process.sentinel]

    def begins_with(self, activate: Activate) -> None:
        """Note the snapshot with which the next process is started."""
        self._sent, self._resend_at_s, self._failures = activate, None, 0

    def start(self, config: WorkerConfig, now_s: float) -> None:
        """Start a process; where that can't be done now, it is tried again as if it had died."""
        context = self._context()
        ours, theirs = context.Pipe()
        process = context.Process(target=self._run, args=(config, theirs), daemon=True)
        try:
            process.start()
        except (OSError, EOFError) as error:  # no memory, or what forks it has just died
            ours.close()
            delay_s = self._died(now_s, self.deaths + 1)
            _log.error("%s could not be started, again in %.1f s: %r", self.name, delay_s, error)
            return
        finally:
            theirs.close()  # so that each process sees the death of the other as the end of the pipe
        self.process, self._pipe = process, ours
        self._started_s = self.heard_s = now_s
        self._has_beaten = False

    def receive(self, now_s: float) -> None:
        """Handle the messages it has sent."""
        with contextlib.suppress(EOFError, ConnectionResetError):
            while self._pipe is not None and self._pipe.poll():
                message = self._pipe.recv()
                self.heard_s = now_s
                self._handle(message, now_s)

    def _handle(self, message: object, now_s: float) -> None:
        match message:
            case Beat(is_live_proven):
                self._has_beaten, self.is_live_proven = True, is_live_proven
            case Serving(version):
                if version != self.serving:
                    _log.info("%s %s serves %s", self.name, self.process and self.process.pid, version)
                self.serving, self.is_read_only = version, False
                self._resend_at_s, self._failures = None, 0
            case ReadOnly():
                self.is_read_only = True
                self._resend_at_s, self._failures = None, 0
            case OtherCache():
                self.other_cache = message
            case UnknownKey():
                self.met_unknown_key = True
            case SwapFailed(version, text):
                delay_s = backed_off(SWAP_RETRY_S, self._failures, SWAP_RETRY_MAX_S)
                self._failures += 1
                self._resend_at_s = now_s + delay_s
                _log.error(
                    "%s could not switch to snapshot %s, retrying in %.0f s: %s",
                    self.name,
                    version,
                    delay_s,
                    text,
                )

    def is_silent(self, now_s: float) -> bool:
        """Whether it has been silent for longer than a healthy process can be."""
        return now_s - self.heard_s > (self._hang_s if self._has_beaten else max(self._hang_s, START_HANG_S))

    def switch_to(self, activate: Activate, now_s: float) -> None:
        """Send it the snapshot to serve, unless it was sent already; again after a failure."""
        is_due = self._resend_at_s is not None and now_s >= self._resend_at_s
        if activate != self._sent or is_due:
            self._sent, self._resend_at_s = activate, None
            self.send(activate)

    def send(self, message: Activate | Stop | Keys) -> None:
        """Send a message; ignored if the process is dead."""
        with contextlib.suppress(OSError):
            if self._pipe is not None:
                self._pipe.send(message)

    def end_if_starting(self) -> None:
        """Kill a process that still imports its modules: it has nothing to complete, and would hear late."""
        if self.process is not None and not self._has_beaten:
            self.process.kill()

    def reap(self, now_s: float) -> None:
        """Collect a dead process and schedule its restart, with a backoff while processes die soon."""
        if self.process is None:
            return
        self.process.join()
        self.ended += 1
        delay_s = self._died(now_s, 1 if now_s - self._started_s > HEALTHY_AFTER_S else self.deaths + 1)
        if self.deaths & (self.deaths - 1) == 0:  # log the first, second, fourth, eighth in a row
            _log.error(
                "%s %s ended with exit code %s (%d in a row); restarting in %.1f s",
                self.name,
                self.process.pid,
                self.process.exitcode,
                self.deaths,
                delay_s,
            )
        self.close()

    def _died(self, now_s: float, deaths: int) -> float:
        """Schedules the next start; in how many seconds."""
        self.deaths = deaths
        delay_s = backed_off(RESTART_DELAY_S, deaths - 1, RESTART_DELAY_MAX_S)
        self.restart_at_s = now_s + delay_s
        return delay_s

    def close(self) -> None:
        """Drop the process and its pipe."""
        if self._pipe is not None:
            self._pipe.close()
        self.process, self._pipe, self.serving, self.is_live_proven = None, None, "", False
        self.is_read_only = False

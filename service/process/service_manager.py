"""What a service manager (systemd) is told: that the server is ready, that it stops, that it is alive.

One datagram a message to the socket that NOTIFY_SOCKET names (sd_notify(3)); without one nothing is told.
"""

import contextlib
import os
import socket
import time
from collections.abc import Callable, Mapping

_USEC = 1_000_000
_PATIENCE_S = 1.0
"""How long a message waits for room in the manager's queue."""


class ServiceManager:
    """The manager of this process, if it has one. Nothing that goes wrong with it disturbs the server."""

    def __init__(
        self,
        environment: Mapping[str, str] = os.environ,
        *,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        self._clock_s = clock_s
        self._interval_s = _watchdog_s(environment) / 2
        """Half of what it waits for a sign of life; 0: it does not wait for any."""
        self._next_s = 0.0
        self._is_ready = False

    def ready(self, status: str) -> None:
        """The server answers; `status` is shown by `systemctl status`."""
        self._is_ready = True
        self._tell(f"READY=1\nSTATUS={status}")

    def stopping(self) -> None:
        """The server stops."""
        self._tell("STOPPING=1")

    def alive(self) -> None:
        """A turn of the main loop: said as often as the manager wants to know, which begins when it is ready."""
        now_s = self._clock_s()
        if self._is_ready and self._interval_s and now_s >= self._next_s:
            self._next_s = now_s + self._interval_s
            self._tell("WATCHDOG=1")

    def _tell(self, message: str) -> None:
        if self._address[:1] not in {"/", "@"}:
            return
        address = self._address.encode()
        if address.startswith(b"@"):
            address = b"\0" + address[1:]
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending:
            sending.settimeout(_PATIENCE_S)
            sending.sendto(message.encode(), address)


def _watchdog_s(environment: Mapping[str, str]) -> float:
    """How long the manager waits for a sign of life of this very process; 0: it does not."""
    usec, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not usec.isdecimal() or (pid and pid != str(os.getpid())):
        return 0.0
    return int(usec) / _USEC

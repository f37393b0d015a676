"""Refuses calls by their headers while more large requests come than can be read.

To read a large request and refuse it costs a good part of what answering it would. So while there is a flood of them
callers may send headers alone (SETTINGS_INITIAL_WINDOW_SIZE is 0): a call that is let in gets room for its body, any
other is refused before it has sent one. At most `room` calls are let in that wait, or whose bodies are on their way, of
one connection a quarter. The flood is over when for a second nobody was refused while as many waited as half of that:
refusals for bodies on their way alone say that callers are far away, not that there is too much to do.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final, Protocol

import ngh2

from pricegrid.service.errors import RequestRefusedError, trailing_metadata
from pricegrid.service.rpc.call import CORRELATION_KEY, correlation_id_of
from pricegrid.service.transport import wire
from pricegrid.service.transport.call import WINDOW_BYTES, Call
from pricegrid.service.transport.method import ServedMethod

if TYPE_CHECKING:
    from pricegrid.service.transport.connection import Connection

LARGE_BYTES: Final = 4 * 1024
"""Of a request, some 200 lines: the headers of a call are a tenth of it."""
COMING_S: Final = 0.2
"""How long a body that is on its way keeps its place: whoever sends none must not keep out the others."""
QUIET_S: Final = 1.0
"""After so long without a refusal that was needed the flood is over."""
SHARE: Final = 4
"""One connection has at most one place of so many for bodies that are on their way."""
_KEY: Final = CORRELATION_KEY.encode()


class Coming(Protocol):
    """What comes behind headers that were let in."""

    @property
    def method(self) -> ServedMethod:
        """Which is called."""

    @property
    def connection(self) -> object:
        """On which it comes."""


class Flood:
    """Whether there is one, and who is let in meanwhile. Of the loop."""

    def __init__(
        self,
        waiting: Callable[[], int],
        room: int,
        overloaded: Callable[[], RequestRefusedError],
        *,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.is_on = False
        self._waiting = waiting
        self._room = room
        self._overloaded = overloaded
        self._clock_s = clock_s
        self._coming: dict[Coming, float] = {}
        """When calls were let in whose bodies have not come, the oldest first."""
        self._needed_s = 0.0
        """When a call was last refused for those that wait."""
        self._refused: dict[ServedMethod, int] = {}

    def begin(self, request_bytes: int) -> bool:
        """A request was refused for what it has waited; whether a flood begins with it."""
        if self.is_on or request_bytes < LARGE_BYTES:
            return False
        self.is_on, self._needed_s = True, self._clock_s()
        return True

    def ends(self) -> bool:
        """Whether it has just ended; asked from time to time."""
        if not self.is_on or self._clock_s() - self._needed_s < QUIET_S:
            return False
        self.is_on = False
        self._coming.clear()
        return True

    @property
    def window_bytes(self) -> int:
        """What a call may send of its body before it is let in."""
        return 0 if self.is_on else WINDOW_BYTES

    def let_in(self, call: Coming) -> None:
        """A call begins that was not refused: if one like it might be, it keeps a place until its body is there."""
        if call.method.on_loop is not None:
            self._coming[call] = self._clock_s()

    def has_come(self, call: Coming) -> None:
        """The body of a call is there, or will not come."""
        self._coming.pop(call, None)

    def refusal(
        self, method: ServedMethod, headers: Sequence[wire.Header], connection: object
    ) -> wire.Status | None:
        """How a call with these headers on this connection ends without its body; None: it is let in."""
        if method.on_loop is None:
            return None
        waiting, coming = self._waiting(), self._still_coming()
        theirs = sum(each.connection is connection for each in coming)
        if waiting + len(coming) < self._room and theirs < max(1, self._room // SHARE):
            return None
        if 2 * waiting >= self._room:
            self._needed_s = self._clock_s()
        return self.refused(method, headers, self._overloaded())

    def refused(
        self, method: ServedMethod, headers: Iterable[wire.Header], refused: RequestRefusedError
    ) -> wire.Status:
        """How a call ends that is refused by its headers; it is counted."""
        self._refused[method] = self._refused.get(method, 0) + 1
        sent = [(CORRELATION_KEY, value.decode("latin-1")) for name, value in headers if name == _KEY]
        return wire.Status(refused.code, refused.message, trailing_metadata(refused, correlation_id_of(sent)))

    def _still_coming(self) -> dict[Coming, float]:
        coming = self._coming
        if coming:
            late_s = self._clock_s() - COMING_S
            while coming and coming[oldest := next(iter(coming))] < late_s:
                del coming[oldest]
        return coming

    def tell(self) -> None:
        """Has the refusals since the last time counted."""
        refused, self._refused = self._refused, {}
        for method, calls in refused.items():
            if method.refused_unread is not None:
                method.refused_unread(calls)


def give_room(h2: ngh2.Connection, call: Call) -> None:
    """This call may send its body, whatever others may."""
    if call.code is None and not call.is_received:
        with contextlib.suppress(ngh2.NGH2Error):  # it ended meanwhile
            h2.set_local_window_size(WINDOW_BYTES, stream_id=call.stream_id)


def follow(connections: Iterable[Connection]) -> None:
    """Tells callers that a flood has begun, or ended."""
    for connection in connections:
        connection.follow_flood()

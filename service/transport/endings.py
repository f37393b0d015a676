"""Streams that end before their callers have sent all."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import ngh2

from pricegrid.service.transport.dialect import Dialect

if TYPE_CHECKING:
    from pricegrid.service.transport.connection import Connection

CANCEL: Final = 0x8
NO_ERROR: Final = 0x0
LET_GO_S: Final = 1.0
"""How long a caller by HTTP, who was answered early, may go on sending."""


class Endings:
    """The streams of a connection that are to be closed behind what they were answered."""

    __slots__ = ("_connection", "_h2", "_next")

    def __init__(self, connection: Connection, h2: ngh2.Connection) -> None:
        self._connection = connection
        self._h2 = h2
        self._next: list[tuple[int, int]] = []

    def __bool__(self) -> bool:
        return bool(self._next)

    def add(self, stream_id: int, error: int = NO_ERROR) -> None:
        """This one as well; with an error whatever of its answer is still unsent."""
        self._next.append((stream_id, error))

    def add_in_time(self, stream_id: int, dialect: Dialect) -> None:
        """This one, whose caller may still send: at once by gRPC, whose clients read what they were answered. Some of
        HTTP lose it."""
        if dialect is Dialect.GRPC:
            self.add(stream_id)
        else:
            self._connection.server.later(LET_GO_S, partial(self._add_late, stream_id))

    def _add_late(self, stream_id: int) -> None:
        if self._connection.closing_s is None:
            self.add(stream_id)
            self._connection.server.touch(self._connection)

    def carry_out(self) -> None:
        """Closes those whose answers are written; raises NGH2Error."""
        due, self._next = self._next, []
        for stream_id, error in due:
            if error == NO_ERROR and not self._is_written(stream_id):
                self._next.append((stream_id, error))
            else:
                self._h2.reset_stream(stream_id, error)

    def _is_written(self, stream_id: int) -> bool:
        """Whether nothing of an answer, its status at its end included, waits for its caller to make room."""
        h2 = self._h2
        if h2.queued_body_size(stream_id):
            return False
        try:
            return min(h2.stream_remote_window_size(stream_id), h2.remote_window_size) > 0
        except ngh2.StreamUnavailableError:
            return True

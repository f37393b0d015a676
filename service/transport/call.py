"""A call as handlers see it: what they use of `grpc.ServicerContext`, over a stream of HTTP/2."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final, NoReturn

import grpc

from pricegrid.service.limits import RECEIVE_BYTES_MAX
from pricegrid.service.transport import wire

if TYPE_CHECKING:
    from pricegrid.service.transport.connection import Connection
    from pricegrid.service.transport.dialect import Asked

_END: Final = object()
WINDOW_BYTES: Final = 1024 * 1024
"""What a caller may send of one request before it is taken up; of all of a connection four times as much."""
UNSENT_BYTES: Final = 256 * 1024
"""How much of the answers of a stream may wait for its caller to read."""
UNREAD_S: Final = 60.0
"""How long a handler waits for the caller of its stream to read."""

_log = logging.getLogger(__name__)


class AbortedError(Exception):
    """A handler ended its call with a status."""


class CallEndedError(grpc.RpcError):
    """The caller of a stream went away, or its deadline passed."""


class Call:
    """One call. Its handler may run in any thread; methods that say so belong to the loop."""

    __slots__ = (
        "_callbacks", "_metadata", "arrived_s", "code", "connection", "deadline_s", "details", "dialect", "headers",
        "incoming", "is_answered", "is_over", "is_received", "kept_bytes", "messages", "method", "request", "room",
        "stream_id", "timer", "trailing", "untaken_bytes", "waiting_bytes",
    )  # fmt: skip

    def __init__(
        self,
        connection: Connection,
        stream_id: int,
        asked: Asked,
        headers: Sequence[wire.Header],
    ) -> None:
        self.connection = connection
        self.stream_id = stream_id
        self.dialect = asked.dialect
        self.method = asked.method
        self.headers = headers
        self.messages = asked.messages
        self.deadline_s = asked.deadline_s
        """On the monotonic clock."""
        self.arrived_s = time.monotonic()
        self.request: wire.Message | None = None
        """The message of a call that has one; None: it has not come."""
        self.is_received = False
        """The caller sends no more."""
        self.kept_bytes = 0
        """In memory: of a request that did not come at once, or of a stream's messages that no handler has taken."""
        self.untaken_bytes = 0
        """Received of a stream, and not acknowledged."""
        self.waiting_bytes = 0
        """Of whole messages of a stream that no handler has taken."""
        self.incoming: Incoming | None = None
        """The messages of a call that has many."""
        self.code: grpc.StatusCode | None = None
        self.details = ""
        self.trailing: wire.Metadata = ()
        self.is_answered = False
        """Headers of an answer were sent. Of the loop."""
        self.is_over = False
        self.timer: Any = None
        self.room: threading.Event | None = None
        self._metadata: wire.Metadata | None = None
        self._callbacks: list[Callable[[], None]] | None = None

    # what handlers use

    def invocation_metadata(self) -> wire.Metadata:
        """What the caller sent beside the protocol's headers."""
        if self._metadata is None:
            self._metadata = wire.metadata(self.headers)
        return self._metadata

    def time_remaining(self) -> float | None:
        """Seconds until the deadline; None: there is none."""
        return None if self.deadline_s is None else max(0.0, self.deadline_s - time.monotonic())

    def is_active(self) -> bool:
        """Whether the caller still waits."""
        return not self.is_over

    def add_callback(self, callback: Callable[[], None]) -> bool:
        """Calls `callback` at the end of the call, in another thread; False if it has ended."""
        with self.connection.lock:
            if self.is_over:
                return False
            if self._callbacks is None:
                self._callbacks = []
            self._callbacks.append(callback)
            return True

    def peer_identities(self) -> Iterable[bytes] | None:
        """The subject alternative names of the caller's certificate; None: they have none."""
        return self.connection.identities

    def set_trailing_metadata(self, metadata: wire.Metadata) -> None:
        """Goes with the status."""
        self.trailing = metadata

    def abort(self, code: grpc.StatusCode, details: str) -> NoReturn:
        """Ends the call with a status."""
        self.code, self.details = code, details
        raise AbortedError

    def cancel(self) -> None:
        """Ends the call, whatever is on its way."""
        self.connection.server.post(self.connection.reset, self)

    # for who carries the call out

    def send(self, message: bytes) -> None:
        """Sends a message of a stream, at once if its caller reads; raises CallEndedError."""
        if self.room is None:
            self.room = threading.Event()
        self.room.clear()
        if self.is_over:
            raise CallEndedError
        self.connection.server.post(self.connection.send, self, message)
        if not self.room.wait(UNREAD_S):
            self.cancel()
            raise CallEndedError
        if self.is_over:
            raise CallEndedError

    def over(self) -> None:
        """The stream is closed. Of the loop."""
        with self.connection.lock:
            self.is_over = True
            self.request = None  # what still waits for a thread would keep it in memory
            callbacks, self._callbacks = self._callbacks, None
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if self.room is not None:
            self.room.set()
        if self.incoming is not None:
            self.incoming.drop()
        for callback in callbacks or ():
            try:
                callback()
            except Exception:  # noqa: BLE001 -- the others, and the loop, go on
                _log.exception("a callback at the end of a call failed")


class Incoming:
    """The messages of a caller's stream, as an iterator for another thread; raises CallEndedError if they left."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._queue: SimpleQueue[Any] = SimpleQueue()

    def put(self, message: wire.Message) -> None:
        """A message has come. Of the loop."""
        self._queue.put(message)

    def end(self) -> None:
        """There are no more. Of the loop."""
        self._queue.put(_END)

    def fail(self) -> None:
        """The last message came in part. Of the loop."""
        self._queue.put(CallEndedError())

    def drop(self) -> None:
        """The call is over: what no handler has taken is of no use. Of the loop."""
        with contextlib.suppress(Empty):
            while True:
                self._queue.get_nowait()
        self.fail()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        found = self._queue.get()
        call = self._call
        connection = call.connection
        if isinstance(found, bytes):
            connection.server.post(connection.consumed, call, len(found))
            return found
        if isinstance(found, wire.Packed):
            connection.server.post(connection.consumed, call, len(found.raw))
            try:
                return found.inflated(RECEIVE_BYTES_MAX)
            except wire.MessageError as error:
                connection.server.post(connection.finish, call, None, wire.Status(error.code, str(error)))
                found = CallEndedError()
        self._queue.put(found)  # whoever asks again hears it again
        raise StopIteration if found is _END else found

"""One connection of HTTP/2: bytes in, calls out, answers back. All of it runs on the server's loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

import grpc
import ngh2
from ngh2 import (
    DataReceived,
    PingAcknowledged,
    RequestReceived,
    SettingsAcknowledged,
    SettingsReceived,
    StreamClosed,
    StreamReset,
    TrailersReceived,
)

from pricegrid.service.transport import answers, wire
from pricegrid.service.transport.call import UNSENT_BYTES, WINDOW_BYTES, Call, Incoming
from pricegrid.service.transport.dialect import Dialect, asked, dialect_of
from pricegrid.service.transport.endings import CANCEL, Endings
from pricegrid.service.transport.flood import give_room
from pricegrid.service.transport.peer import names_of

if TYPE_CHECKING:
    from pricegrid.service.transport.server import Http2Server

HEADER_BYTES_MAX: Final = 16 * 1024
WRITE_BYTES: Final = 256 * 1024
"""What waits in the socket's buffer: the rest stays with the library, in order of its streams."""
PREFACE_S: Final = 20.0
"""How long a caller may take to begin to speak HTTP/2, and before it TLS."""
EVENTS_MAX: Final = 400
"""What a connection may bring at once before others have their turn: 128 calls with their messages, and some more."""
QUEUED_BYTES: Final = 64
"""What a message in a queue takes beside its own bytes."""
_CONFIG: Final = ngh2.Configuration(
    auto_window_update=False,
    max_inbound_header_list_size=HEADER_BYTES_MAX,
    max_inbound_header_count=HEADER_BYTES_MAX // 32,  # as many as that size has room for
)
_PREFACE: Final = b"PRI * HTTP/2.0"
_ENHANCE_YOUR_CALM: Final = 0xB
_log = logging.getLogger(__name__)


class Connection(asyncio.BufferedProtocol):
    """A connection. It reads into the server's one buffer, so what comes at once is small, whoever sends it."""

    def __init__(self, server: Http2Server) -> None:
        self.server = server
        self.lock = threading.Lock()
        """Of what handlers in other threads change of their calls."""
        self.calls: dict[int, Call] = {}
        self.identities: tuple[bytes, ...] | None = None
        self.used_s = time.monotonic()
        """When bytes came last."""
        self.idle_since_s = self.used_s
        self.drains_s = self.used_s + server.most_s * random.uniform(0.9, 1.1)  # noqa: S311 -- not all at once
        self.pinged_s: float | None = None
        """When a ping was sent that is not answered."""
        self.is_open = False
        """The caller has begun to speak HTTP/2."""
        self.is_announced = self.is_draining = False
        self.closing_s: float | None = None
        """When it was closed: what the socket's buffer has may still be read."""
        self.kept_bytes = 0
        """What is kept in memory of its calls: requests that did not come at once, messages and answers that wait."""
        self._transport: asyncio.Transport | None = None
        self._is_full = False
        self._is_http2 = False
        self._first = b""
        """Bytes that may be the beginning of HTTP/2."""
        self._unsent_bytes = 0
        self._h2 = ngh2.Connection(ngh2.Role.SERVER, _CONFIG)
        self._endings = Endings(self, self._h2)

    # what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=WRITE_BYTES)
        secure = transport.get_extra_info("ssl_object")
        if secure is not None:
            self.identities = names_of(transport.get_extra_info("peercert"))
            if secure.selected_alpn_protocol() != "h2":
                self._speak_http1(b"")
                return
        self.server.connections.add(self)

    def get_buffer(self, _: int) -> memoryview:
        """See asyncio.BufferedProtocol."""
        return self.server.buffer

    def buffer_updated(self, size: int) -> None:
        """See asyncio.BufferedProtocol."""
        if self.closing_s is not None:
            return
        self.used_s = time.monotonic()
        h2 = self._h2
        data: bytes | memoryview = self.server.buffer[:size]
        if not self._is_http2:
            data = self._first + bytes(data)
            if data[: len(_PREFACE)] != _PREFACE[: len(data)]:
                self._speak_http1(data)
                return
            if len(data) < len(_PREFACE):
                self._first = data
                return
            self._begin_http2()
        try:
            h2.receive_data(data)
        except ngh2.NGH2Error as error:  # the library has given the connection up, and its calls with it
            _log.info("a connection is closed: %s", error)
            self._close()
            return
        events = h2.events()
        if len(events) > EVENTS_MAX:
            self._pause()
            self.server.after_others(self._read_on)
        self._handle(events)
        self.server.touch(self)

    def _begin_http2(self) -> None:
        self._is_http2, self._first = True, b""
        self._h2.initiate_connection(
            {
                ngh2.Setting.MAX_CONCURRENT_STREAMS: self.server.streams_max,
                ngh2.Setting.INITIAL_WINDOW_SIZE: self.server.flood.window_bytes,
                ngh2.Setting.MAX_HEADER_LIST_SIZE: HEADER_BYTES_MAX,
            }
        )
        self._h2.set_local_window_size(4 * WINDOW_BYTES)
        if self.server.is_stopping:
            self.drain()

    def follow_flood(self) -> None:
        """Calls that begin now may send their bodies at once, or headers alone."""
        if self._is_http2 and self.closing_s is None:
            with contextlib.suppress(ngh2.NGH2Error):
                self._h2.update_settings({ngh2.Setting.INITIAL_WINDOW_SIZE: self.server.flood.window_bytes})
            self.server.touch(self)

    def _speak_http1(self, data: bytes) -> None:
        """Hands the connection over to HTTP/1.1."""
        transport, self._transport = self._transport, None
        self.server.connections.discard(self)
        if transport is not None:
            self.server.speak_http1(transport, data)

    def _pause(self) -> None:
        if self._transport is not None:
            self._transport.pause_reading()

    def _read_on(self) -> None:
        if self._transport is not None and not self._is_full and self.closing_s is None:
            self._transport.resume_reading()

    def eof_received(self) -> None:
        """See asyncio.Protocol."""

    def connection_lost(self, _: BaseException | None) -> None:
        """See asyncio.Protocol."""
        self._transport = None
        self.server.connections.discard(self)
        self._forget_all()
        self._weigh(0)
        with contextlib.suppress(
            ngh2.NGH2Error
        ):  # calls that wait for a thread keep this, not what was unsent
            self._h2.terminate_connection()

    def pause_writing(self) -> None:
        """See asyncio.Protocol. Who does not read what they are answered is not read either."""
        self._is_full = True
        self._pause()

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        self._is_full = False
        self.flush()
        self._read_on()

    # what the caller sent

    def _handle(self, events: list[Any]) -> None:
        for event in events:
            if self.closing_s is not None:
                return
            kind = type(event)
            if kind is DataReceived:
                self._received(event.stream_id, event.data, is_end=event.end_stream)
            elif kind is RequestReceived:
                self._begin(event)
            elif kind is StreamClosed or kind is StreamReset:
                call = self.calls.get(event.stream_id)
                if call is not None:
                    self._forget(call)
            elif kind is TrailersReceived:
                self._received(event.stream_id, b"", is_end=True)
            elif kind is PingAcknowledged:
                self.pinged_s = None
                if self.is_announced and not self.is_draining:
                    self.drain()
            elif kind is SettingsReceived:
                self.is_open = True
            elif kind is SettingsAcknowledged and self.server.flood.is_on:
                for call in self.calls.values():  # they were begun when all might send
                    give_room(self._h2, call)

    def _begin(self, event: Any) -> None:
        stream_id, headers, cors, flood = event.stream_id, event.headers, self.server.cors, self.server.flood
        named = dict(headers)
        dialect = dialect_of(named.get(b"content-type", b""))
        if dialect is None or named.get(b":method") != b"POST":
            turn_away = partial(answers.turn_away, self._h2, stream_id, named, cors)
            self._refuse(stream_id, Dialect.JSON, turn_away)
            return
        try:
            found = asked(dialect, self.server.methods, named, named.get(b":path", b""))
            refused = flood.refusal(found.method, headers, self) if flood.is_on else None
        except wire.MessageError as error:
            refused = wire.Status(error.code, str(error))
        if refused is not None:
            answer = partial(answers.answer, self._h2, stream_id, dialect, named, None, refused, cors)
            self._refuse(stream_id, dialect, answer)
            return
        call = Call(self, stream_id, found, headers)
        self.calls[stream_id] = call
        if flood.is_on and not event.end_stream:
            flood.let_in(call)
            give_room(self._h2, call)
        if call.method.takes_stream:
            call.incoming = Incoming(call)
            self.server.begin(call)
        if event.end_stream:
            self._ended(call)

    def _refuse(self, stream_id: int, dialect: Dialect, answer: Callable[[], None]) -> None:
        """Answers what becomes no call."""
        with contextlib.suppress(ngh2.NGH2Error):  # its caller may have ended it already
            answer()
            self._endings.add_in_time(stream_id, dialect)

    def _received(self, stream_id: int, data: bytes, *, is_end: bool) -> None:
        call = self.calls.get(stream_id)
        size = len(data)
        if call is None or call.code is not None:
            self._take(size, stream_id)
            return
        try:
            found = call.messages.add(data) if size else []
            if call.incoming is None and found:
                if len(found) > 1 or call.request is not None:
                    raise wire.MessageError(grpc.StatusCode.UNIMPLEMENTED, "more than one message came")
                call.request = found[0]
        except wire.MessageError as error:
            self._take(size, stream_id)
            self.finish(call, None, wire.Status(error.code, str(error)))
            return
        if call.incoming is None:
            self._take(size, stream_id)
            if not is_end or call.kept_bytes:
                self._keep(call, size)
        else:
            for message in found:
                raw = message.raw if isinstance(message, wire.Packed) else message
                call.waiting_bytes += len(raw) + QUEUED_BYTES
                call.incoming.put(message)
            call.untaken_bytes += size
            self._take_up(call)
            self._keep(call, size + len(found) * QUEUED_BYTES)
        if is_end:
            self._ended(call)

    def _take(self, size: int, stream_id: int) -> None:
        """So many bytes more may come."""
        if size and self.closing_s is None:
            with contextlib.suppress(ngh2.NGH2Error):  # nothing more may come at all
                self._h2.acknowledge_received_data(size, stream_id)

    def _keep(self, call: Call, size: int) -> None:
        """So many bytes more of a call are in memory, or fewer."""
        call.kept_bytes += size
        self.kept_bytes += size
        self.server.keep(size)

    def _take_up(self, call: Call) -> None:
        """The caller of a stream may send more, unless what they sent waits for its handler."""
        if call.waiting_bytes <= WINDOW_BYTES:
            self._take(call.untaken_bytes, call.stream_id)
            call.untaken_bytes = 0

    def _ended(self, call: Call) -> None:
        call.is_received = True
        self.server.flood.has_come(call)
        if call.incoming is not None:
            if call.messages.is_between:
                call.incoming.end()
            else:
                call.incoming.fail()
            return
        try:
            if call.request is None:
                call.request = call.messages.whole()
        except wire.MessageError as error:
            self.finish(call, None, wire.Status(error.code, str(error)))
            return
        self.server.begin(call)

    # what is answered

    def finish(self, call: Call, message: bytes | None, status: wire.Status = wire.OK) -> None:
        """Ends a call with its status, after its message if there is one; raises ValueError as `wire.trailers`."""
        stream_id = call.stream_id
        if self.calls.get(stream_id) is not call or call.is_over:
            return
        h2 = self._h2
        try:
            if message is not None:
                call.request = None  # its answer may wait long
            if message is None and call.is_answered and call.dialect is Dialect.GRPC:
                h2.send_trailers(stream_id, wire.trailers(status))
            elif message is None or call.dialect is not Dialect.GRPC:
                answers.answer(
                    h2, stream_id, call.dialect, dict(call.headers), message, status, self.server.cors,
                    is_begun=call.is_answered,
                )  # fmt: skip
            else:
                h2.send_response(stream_id, wire.RESPONSE)
                self._queue(stream_id, message)
                h2.send_trailers(stream_id, wire.trailers(status))
        except ngh2.NGH2Error:  # the stream ended meanwhile
            self._forget(call)
            return
        call.is_answered = True
        if call.code is None:
            call.code = grpc.StatusCode.OK
        if not call.is_received:
            self._endings.add_in_time(stream_id, call.dialect)
        self.server.touch(self)

    def _queue(self, stream_id: int, message: bytes) -> None:
        if len(message) <= UNSENT_BYTES:
            self._h2.send_data(stream_id, wire.framed(message))
        else:  # it is not copied
            self._h2.send_data(stream_id, wire.prefix(message))
            self._h2.send_data(stream_id, message)

    def send(self, call: Call, message: bytes) -> None:
        """Sends a message of a stream."""
        if call.is_over:
            return
        try:
            if not call.is_answered:
                call.is_answered = True
                answers.begin(self._h2, call.stream_id, call.dialect, dict(call.headers), self.server.cors)
            self._queue(call.stream_id, message)
        except ngh2.NGH2Error:  # the stream ended meanwhile
            self._forget(call)
            return
        self.flush()
        self._make_room(call)

    def _make_room(self, call: Call) -> None:
        if call.room is not None and self._h2.queued_body_size(call.stream_id) <= UNSENT_BYTES:
            call.room.set()

    def consumed(self, call: Call, size: int) -> None:
        """A handler took a message of a stream."""
        if not call.is_over:
            call.waiting_bytes -= size + QUEUED_BYTES
            self._keep(call, -(size + QUEUED_BYTES + wire.PREFIX_BYTES))
            self._take_up(call)
            self.server.touch(self)

    def reset(self, call: Call) -> None:
        """Ends a call at once."""
        if call.is_over:
            return
        self._endings.add(call.stream_id, CANCEL)
        self._forget(call)
        self.server.touch(self)

    def _forget(self, call: Call) -> None:
        if self.calls.pop(call.stream_id, None) is call:
            self._take(call.untaken_bytes, call.stream_id)
            self._keep(call, -call.kept_bytes)
            self.server.flood.has_come(call)
            call.over()
            if not self.calls:
                self.idle_since_s = time.monotonic()
                if self.is_draining:
                    self.flush()
                    self._close()

    def _forget_all(self) -> None:
        for call in list(self.calls.values()):
            self._forget(call)

    def flush(self) -> None:
        """Writes what is to be sent, as far as the socket takes it."""
        transport, h2 = self._transport, self._h2
        if transport is None or self.closing_s is not None:
            return
        try:
            self._write(transport)
            if self._endings and not self._is_full:
                self._endings.carry_out()
                self._write(transport)
            self._handle(h2.events())
            for call in [each for each in self.calls.values() if each.room is not None]:
                self._make_room(call)
            self._weigh(h2.queued_body_size())
            is_over = not h2.want_read and not h2.want_write
        except ngh2.NGH2Error as error:
            _log.info("a connection is closed: %s", error)
            is_over = True
        if is_over:
            self._close()

    def _weigh(self, unsent_bytes: int) -> None:
        """So many bytes of answers wait for their callers to read."""
        more = unsent_bytes - self._unsent_bytes
        if more:
            self._unsent_bytes = unsent_bytes
            self.kept_bytes += more
            self.server.keep(more)

    def _write(self, transport: asyncio.Transport) -> None:
        while not self._is_full:
            data = self._h2.data_to_send(WRITE_BYTES)
            if not data:
                return
            transport.write(data)

    # its end

    def ping(self) -> None:
        """Asks whether anybody is there."""
        self.pinged_s = time.monotonic()
        with contextlib.suppress(ngh2.NGH2Error):
            self._h2.ping()
        self.flush()

    def announce(self) -> None:
        """Asks for calls to be made elsewhere; takes those on their way, which come before the answer to a ping."""
        self.is_announced = True
        with contextlib.suppress(ngh2.NGH2Error):
            self._h2.send_shutdown_notice()
        self.ping()

    def drain(self) -> None:
        """Takes no more calls, and closes when those under way are over."""
        self.is_draining = True
        with contextlib.suppress(ngh2.NGH2Error):
            self._h2.send_shutdown_notice()
        with contextlib.suppress(ngh2.NGH2Error):
            self._h2.send_goaway()
        self.flush()
        if not self.calls:
            self._close()

    def calm(self) -> None:
        """Closes the connection of a caller who does too much."""
        with contextlib.suppress(ngh2.NGH2Error):
            self._h2.terminate_connection(_ENHANCE_YOUR_CALM)
        self.flush()
        self._close()

    def _close(self) -> None:
        """Ends its calls, and the connection when what the socket's buffer has was read."""
        if self.closing_s is None and self._transport is not None:
            self.closing_s = time.monotonic()
            self._transport.close()
            self._forget_all()
            self._weigh(0)

    def abort(self) -> None:
        """Ends the connection without a word."""
        if self._transport is not None:
            self._transport.abort()

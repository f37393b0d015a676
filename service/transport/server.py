"""A server of gRPC on uvloop and libnghttp2: one loop, which answers what can be answered at once.

Handlers are registered as at a `grpc.Server`. A method whose handler has `on_loop` is answered there, request by
request, for as long as a slice; then the loop looks at its sockets again. What has to wait or takes long raises `Later`
and goes on in a thread pool, as every other call does from its beginning.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import grpc
import uvloop

from pricegrid.service.errors import Reason, RequestRefusedError, trailing_metadata
from pricegrid.service.limits import RECEIVE_BYTES_MAX
from pricegrid.service.rpc.call import correlation_id_of
from pricegrid.service.rpc.later import Later
from pricegrid.service.transport import wire
from pricegrid.service.transport.call import AbortedError, Call, CallEndedError
from pricegrid.service.transport.connection import PREFACE_S, Connection
from pricegrid.service.transport.cors import Cors
from pricegrid.service.transport.dialect import Methods
from pricegrid.service.transport.flood import Flood, follow
from pricegrid.service.transport.listening import bound, listening
from pricegrid.service.transport.method import ServedMethod

if TYPE_CHECKING:
    import ssl

    from pricegrid.service.transport.http1 import Http1

SLICE_S: Final = 0.002
"""How long the loop answers before it looks at its sockets: a page of a thousand lines takes as long."""
LOOP_BYTES: Final = 24 * 1024
"""A larger request, some 1,000 lines, is answered in a thread: it would keep others waiting."""
KEPT_BYTES_MAX: Final = 512 * 1024 * 1024
"""Of requests that came in parts, messages that no handler has taken, and unread answers, of all connections.
Reads refuse callers who do not read long before (`rpc.unread`)."""
BUFFER_BYTES: Final = 32 * 1024
"""What is read of a connection at a time: some 3,000 of the smallest frames, which take a few milliseconds."""
HALF_S: Final = 60.0
"""How long a request may take to come whole."""
CLOSING_S: Final = 10.0
"""How long the caller of a connection that was closed may take to read what the socket's buffer has."""
TEND_S: Final = 1.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ages:
    """When connections end, in seconds."""

    keepalive_s: float
    keepalive_timeout_s: float
    idle_s: float
    most_s: float
    """However much it is used: its caller connects again, perhaps to a host that was not there before."""


class Http2Server:
    """What `grpc.Server` is to those who register handlers, start and stop it."""

    def __init__(
        self,
        pool: ThreadPoolExecutor,
        ages: Ages,
        streams_max: int,
        *,
        origins: Collection[str] = (),
        is_local: bool = False,
    ) -> None:
        """`origins`: pages of these may ask from a browser (`cors`). `is_local`: nobody is asked who they are, so a
        page that gave its own name this machine's address is refused (`http1`)."""
        self.cors = Cors(origins)
        self.is_local = is_local
        self.methods = Methods()
        self.connections: set[Connection] = set()
        self.streams_max = streams_max
        self.kept_bytes = 0
        self.buffer = memoryview(bytearray(BUFFER_BYTES))
        """What connections read into: each is done with it before the next begins."""
        self.ready: deque[Call] = deque()
        """Calls to be answered on the loop."""
        self.turn: Callable[[float], None] = lambda _: None
        """Told when a call that arrived then has its turn on the loop."""
        self.sheds: Callable[[float], bool] = lambda _: False
        """Whether a call that arrived then will be refused because of how long it has waited."""
        self.flood = Flood(
            self.ready.__len__, streams_max, lambda: RequestRefusedError(Reason.OVERLOADED, "busy")
        )
        """Who is let in while too many large requests come."""
        self.busy: Callable[[ServedMethod], RequestRefusedError | None] = lambda _: None
        """How a large request over HTTP/1.1 is refused by its headers; None: it may come."""
        self._pool = pool
        self._ages = ages
        self.idle_s, self.most_s = ages.idle_s, ages.most_s
        self._sockets: list[tuple[socket.socket, Callable[[], ssl.SSLContext | None] | None]] = []
        self._listeners: dict[socket.socket, asyncio.AbstractServer] = {}
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="pricegrid-http2", daemon=True)
        self._http1: Http1 | None = None
        self._posted: deque[Callable[[], None]] = deque()
        self._is_woken = False
        self._is_working = False
        self._touched: dict[Connection, None] = {}
        self.is_stopping = False
        self._stopped = threading.Event()

    # as a grpc.Server

    def add_generic_rpc_handlers(self, _: Iterable[Any]) -> None:
        """Nothing: the same methods are registered by name."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Adds the methods of a service."""
        for name, handler in handlers.items():
            path = f"/{service}/{name}"
            kinds = (handler.unary_unary, handler.unary_stream, handler.stream_unary, handler.stream_stream)
            behavior = next(each for each in kinds if each is not None)
            self.methods.add(
                ServedMethod(
                    path,
                    behavior,
                    getattr(behavior, "on_loop", None),
                    getattr(behavior, "refused_unread", None),
                    getattr(behavior, "experimental_thread_pool", None) or self._pool,
                    bool(handler.request_streaming),
                    bool(handler.response_streaming),
                    bool(
                        handler.response_streaming and getattr(behavior, "experimental_non_blocking", False)
                    ),
                    handler.request_deserializer,
                    handler.response_serializer,
                )
            )

    def add_insecure_port(self, address: str) -> int:
        """Listens at `host:port`; returns the port. Raises RuntimeError, as gRPC does."""
        return self._add(address, None)

    def add_tls_port(self, address: str, context: Callable[[], ssl.SSLContext | None]) -> int:
        """The same with TLS. `context` returns another context when the certificates have changed, else None; first it
        returns one."""
        return self._add(address, context)

    def _add(self, address: str, context: Callable[[], ssl.SSLContext | None] | None) -> int:
        listener = bound(address)
        self._sockets.append((listener, context))
        return int(listener.getsockname()[1])

    def add_listener(self, listener: socket.socket) -> None:
        """Listens on a unix socket that others may listen on too, without TLS."""
        listener.setblocking(False)
        self._sockets.append((listener, None))

    def start(self) -> None:
        """Begins to listen."""
        self._thread.start()
        begun = asyncio.run_coroutine_threadsafe(self._begin(), self._loop)
        begun.result()

    def stop(self, grace_s: float | None) -> threading.Event:
        """Takes no more calls; what is under way has `grace_s`. The event is set when it is over."""
        if not self.is_stopping:
            self.is_stopping = True
            asyncio.run_coroutine_threadsafe(self._end(grace_s or 0.0), self._loop)
        return self._stopped

    # the loop

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()

    async def _begin(self) -> None:
        for listener, context in self._sockets:
            await self._listen(listener, None if context is None else context())
        self._tending = asyncio.ensure_future(self._tend())

    async def _listen(self, listener: socket.socket, context: ssl.SSLContext | None) -> None:
        made = await listening(
            self._loop,
            lambda: Connection(self),
            listener,
            context,
            handshake_s=PREFACE_S,
            closing_s=CLOSING_S,
        )
        former = self._listeners.get(listener)
        self._listeners[listener] = made
        if former is not None:
            former.close()

    async def _tend(self) -> None:
        while not self.is_stopping:
            await asyncio.sleep(TEND_S)
            for listener, context in self._sockets:
                try:
                    newer = None if context is None else context()
                    if newer is not None:
                        await self._listen(listener, newer)
                except Exception:  # noqa: BLE001 -- the former certificates go on
                    _log.exception("certificates that have changed can't be used")
            self._guarded(self._tend_flood)
            now_s = time.monotonic()
            for connection in list(self.connections):
                try:
                    self._look_after(connection, now_s)
                except Exception:  # noqa: BLE001 -- the others go on
                    _log.exception("a connection failed")
                    connection.abort()

    def _look_after(self, connection: Connection, now_s: float) -> None:
        ages = self._ages
        quiet_s = now_s - connection.used_s
        if connection.closing_s is not None:
            if now_s - connection.closing_s > CLOSING_S:
                connection.abort()
        elif not connection.is_open:
            if now_s - connection.idle_since_s > PREFACE_S:
                connection.abort()
        elif connection.pinged_s is not None and now_s - connection.pinged_s > ages.keepalive_timeout_s:
            connection.abort()
        elif not connection.calls and now_s - connection.idle_since_s > ages.idle_s:
            connection.drain()
        elif connection.pinged_s is None and now_s > connection.drains_s and not connection.is_draining:
            connection.announce()
        elif connection.pinged_s is None and quiet_s > ages.keepalive_s * random.uniform(0.9, 1.1):  # noqa: S311
            connection.ping()
        for call in list(connection.calls.values()):
            if call.incoming is None and not call.is_received and now_s - call.arrived_s > HALF_S:
                text = f"the request did not come whole within {HALF_S:.0f} s"
                connection.finish(call, None, wire.Status(grpc.StatusCode.DEADLINE_EXCEEDED, text))

    async def _end(self, grace_s: float) -> None:
        try:
            await self._drain(grace_s)
        finally:
            self._stopped.set()
            self._loop.call_soon(self._loop.stop)

    async def _drain(self, grace_s: float) -> None:
        self._tending.cancel()
        for listener in self._listeners.values():
            listener.close()
        for sock, _ in self._sockets:
            sock.close()
        for connection in list(self.connections):
            connection.drain()
        until_s = time.monotonic() + grace_s
        if self._http1 is not None:
            await self._http1.end(grace_s)
        while self.connections and time.monotonic() < until_s:  # noqa: ASYNC110 -- its end alone
            await asyncio.sleep(0.005)
        for connection in list(self.connections):
            for call in list(connection.calls.values()):
                connection.reset(call)
            connection.flush()
            connection.abort()
        while self.connections:  # noqa: ASYNC110 -- as above
            await asyncio.sleep(0)
        self._guarded(self.flood.tell)

    def speak_http1(self, transport: asyncio.Transport, data: bytes) -> None:
        """A connection does not speak HTTP/2."""
        if self._http1 is None:
            from pricegrid.service.transport.http1 import Http1

            self._http1 = Http1(self)
        self._http1.take(transport, data)

    def post(self, function: Callable[..., None], *args: Any) -> None:
        """Calls a function on the loop, from another thread."""
        self._posted.append(partial(function, *args))
        if not self._is_woken:
            self._is_woken = True
            try:
                self._loop.call_soon_threadsafe(self._do_posted)
            except RuntimeError:  # the loop is closed: nobody waits for an answer
                return

    def _do_posted(self) -> None:
        self._is_woken = False
        posted = self._posted
        for _ in range(len(posted)):  # what is posted meanwhile has a turn of its own
            self._guarded(posted.popleft())
        self._flush()

    def _guarded(self, function: Callable[[], None]) -> None:
        """One thing that fails keeps the loop from nothing else."""
        try:
            function()
        except Exception:  # noqa: BLE001 -- see above
            _log.exception("a call failed on the loop")

    def later(self, seconds: float, function: Callable[[], None]) -> None:
        """Calls a function on the loop after a while."""
        self._loop.call_later(seconds, function)

    def after_others(self, function: Callable[[], None]) -> None:
        """Calls a function when other connections have had their turn."""
        self._loop.call_soon(function)

    def touch(self, connection: Connection) -> None:
        """A connection has something to send; it is written at the end of the slice."""
        self._touched[connection] = None
        self._work_soon()

    def _work_soon(self) -> None:
        if not self._is_working:
            self._is_working = True
            self._loop.call_soon(self._work)

    def begin(self, call: Call) -> None:
        """A call has come."""
        call.arrived_s = time.monotonic()
        method = call.method
        if method.on_loop is not None:
            if isinstance(call.request, wire.Packed):
                with contextlib.suppress(wire.MessageError):  # its thread finds out the same
                    call.request = call.request.inflated(LOOP_BYTES)
            if isinstance(call.request, bytes) and len(call.request) <= LOOP_BYTES:
                self.ready.append(call)
                self._work_soon()
                return
        self.follow_deadline(call)
        self._submit(call, partial(self._in_thread, call, method.behavior))

    def follow_deadline(self, call: Call) -> None:
        """Ends a call that is answered elsewhere at its deadline."""
        if call.deadline_s is not None and call.timer is None:
            left_s = max(0.0, call.deadline_s - time.monotonic())
            late = wire.Status(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")
            call.timer = self._loop.call_later(left_s, self._end_late, call, late)

    def _end_late(self, call: Call, late: wire.Status) -> None:
        connection = call.connection
        connection.finish(call, None, late)
        connection.flush()
        connection.reset(call)

    def keep(self, size: int) -> None:
        """So many bytes more, or fewer, are kept for callers. When they are too many, the connection that has most of
        them ends."""
        self.kept_bytes += size
        if size > 0 and self.kept_bytes > KEPT_BYTES_MAX:
            greediest = max(self.connections, key=lambda each: each.kept_bytes)
            _log.warning("a connection is closed: %d bytes are kept for its calls", greediest.kept_bytes)
            greediest.calm()

    def _work(self) -> None:
        self._is_working = False
        ready = self.ready
        if ready:
            until_s = time.monotonic() + SLICE_S
            while ready:
                call = ready.popleft()
                is_shed = self.sheds(call.arrived_s)
                size = len(call.request) if is_shed and isinstance(call.request, bytes) else 0
                try:
                    self._on_loop(call)
                except Exception:  # noqa: BLE001 -- the others go on
                    _log.exception("a call failed on the loop")
                    call.connection.reset(call)
                if is_shed:  # a slice is for answers, or a flood of refusals would leave no time for them
                    if self.flood.begin(size):
                        follow(self.connections)
                    until_s = time.monotonic() + SLICE_S
                elif time.monotonic() >= until_s:
                    break
            if ready:
                self._work_soon()
        self._flush()

    def _tend_flood(self) -> None:
        self.flood.tell()
        if self.flood.ends():
            follow(self.connections)

    def _flush(self) -> None:
        touched, self._touched = self._touched, {}
        for connection in touched:
            connection.flush()

    def _on_loop(self, call: Call) -> None:
        if call.is_over:
            return
        behavior = call.method.on_loop
        assert behavior is not None  # noqa: S101 -- or it would not be here
        self.turn(call.arrived_s)
        try:
            message = behavior(call.request, call)
        except AbortedError:
            self._finish_aborted(call)
        except Later as later:
            self.follow_deadline(call)
            self._go_on(call, later)
        except Exception as error:  # noqa: BLE001 -- the caller gets a status, and the loop goes on
            _log.error("%s failed", call.method.path, exc_info=error)
            self._finish_failed(call)
        else:
            call.connection.finish(call, message)

    def _finish_aborted(self, call: Call) -> None:
        code = call.code or grpc.StatusCode.UNKNOWN
        try:
            call.connection.finish(call, None, wire.Status(code, call.details, call.trailing))
        except ValueError as error:  # of metadata that is no text of headers
            _log.error("%s failed", call.method.path, exc_info=error)
            self._finish_failed(call)

    def _finish_failed(self, call: Call) -> None:
        call.connection.finish(call, None, wire.Status(grpc.StatusCode.UNKNOWN, "the call failed"))

    # other threads

    def _submit(self, call: Call, task: Callable[[], None]) -> None:
        try:
            call.method.pool.submit(task)
        except RuntimeError:
            unavailable = wire.Status(grpc.StatusCode.UNAVAILABLE, "no thread is free")
            call.connection.finish(call, None, unavailable)

    def _go_on(self, call: Call, later: Later) -> None:
        later.submit(partial(self._in_thread, call, lambda _, context: later.behavior(later.raw, context)))

    def _in_thread(self, call: Call, behavior: Callable[..., Any]) -> None:
        method, connection = call.method, call.connection
        try:
            request: Any = call.request  # before it is asked whether the call is over, which takes it away
            if call.is_over:
                return
            request = self._taken(call, request)
            encode = method.encode or (lambda message: message)
            if method.calls_back:
                behavior(request, call, partial(self._sent_back, call, encode))
            elif method.gives_stream:
                for message in behavior(request, call):
                    call.send(encode(message))
                self.post(connection.finish, call, None)
            else:
                self.post(connection.finish, call, encode(behavior(request, call)))
        except Later as later:
            self._go_on(call, later)
        except AbortedError:
            self.post(self._finish_aborted, call)
        except RequestRefusedError as refused:  # its message could not be read
            call.code, call.details = refused.code, refused.message
            call.trailing = trailing_metadata(refused, correlation_id_of(call.invocation_metadata()))
            self.post(self._finish_aborted, call)
        except wire.MessageError as error:
            self.post(connection.finish, call, None, wire.Status(error.code, str(error)))
        except CallEndedError:
            self.post(connection.reset, call)
        except Exception as error:  # noqa: BLE001 -- the caller gets a status, and the thread goes on
            if call.is_over:
                return
            _log.error("%s failed", method.path, exc_info=error)
            self.post(self._finish_failed, call)

    @staticmethod
    def _taken(call: Call, request: wire.Message | None) -> Any:
        """What a handler is given; raises MessageError."""
        decode = call.method.decode
        if call.incoming is not None:
            return call.incoming if decode is None else map(decode, call.incoming)
        if isinstance(request, wire.Packed):
            request = call.request = request.inflated(RECEIVE_BYTES_MAX)
        return request if decode is None else decode(request or b"")

    def _sent_back(self, call: Call, encode: Callable[[Any], bytes], message: Any) -> None:
        """A message of a stream that holds no thread; None: its end."""
        if message is None:
            self.post(call.connection.finish, call, None)
        else:
            self.post(call.connection.send, call, encode(message))

"""The channel of `http2_channel` for asyncio: connections that many calls share, on the loop that uses them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, Final, cast

import grpc
import ngh2

from pricegrid.http2_calls import (
    ATTEMPTS,
    BACKOFF_S,
    CANCEL,
    CONFIG,
    CONNECT_S,
    PREFIX_BYTES,
    WINDOW_BYTES,
    Answer,
    CallError,
    Metadata,
    NotTakenError,
    Retries,
    call_headers,
    closed,
    encoded,
    framed,
    late,
    message,
    parted,
    timeout,
    too_large,
)

if TYPE_CHECKING:
    import ssl

CONNECTIONS: Final = 4
"""A server spreads connections over its workers; calls share those that are open."""
_NEVER: Final = 2**31


class _Shared(asyncio.Protocol):
    """A connection, and the calls that are under way on it."""

    def __init__(self, most: int) -> None:
        self.calls: dict[int, tuple[Answer, asyncio.Future[Answer]]] = {}
        self.is_usable = True
        self._most = most
        self._transport: asyncio.Transport | None = None
        self._h2 = ngh2.Connection(ngh2.Role.CLIENT, CONFIG)
        self._h2.initiate_connection(
            {ngh2.Setting.ENABLE_PUSH: 0, ngh2.Setting.INITIAL_WINDOW_SIZE: WINDOW_BYTES}
        )
        self._h2.set_local_window_size(WINDOW_BYTES)

    async def call(self, headers: list[tuple[bytes, bytes]], body: bytes) -> Answer:
        """Sends a request, and waits for all of its answer. Raises OSError and NGH2Error, after which it may have been
        carried out, and NotTakenError."""
        h2 = self._h2
        if not self.is_usable or not h2.can_send_request:
            raise NotTakenError
        try:
            stream_id = h2.send_request(headers)
        except ngh2.ConnectionClosingError:
            raise NotTakenError from None
        over: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.calls[stream_id] = Answer(), over
        try:
            h2.send_data(stream_id, body, end_stream=True)
            self._flush()
            return await over
        finally:
            if self.calls.pop(stream_id, None) is not None and self.is_usable:  # its caller waits no more
                with contextlib.suppress(ngh2.NGH2Error):
                    h2.reset_stream(stream_id, CANCEL)
                    self._flush()
            self._end_if_spent()

    def _end_if_spent(self) -> None:
        if not self.is_usable and not self.calls and self._transport is not None:
            self._transport.close()

    def close(self) -> None:
        """Ends it, and the calls on it."""
        self.is_usable = False
        if self._transport is not None:
            self._transport.abort()
        self._fail(ConnectionAbortedError("the channel was closed"), _NEVER)

    # what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast("asyncio.Transport", transport)
        self._flush()

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        try:
            self._h2.receive_data(data)
            for event in self._h2.events():
                self._take(event)
            self._flush()
        except ngh2.NGH2Error as error:
            self._break(ConnectionResetError(f"the connection broke the protocol: {error}"))

    def connection_lost(self, error: BaseException | None) -> None:
        """See asyncio.Protocol."""
        self._break(
            error if isinstance(error, OSError) else ConnectionResetError("the server closed the connection")
        )

    # of the loop

    def _take(self, event: Any) -> None:
        kind = type(event)
        if kind is ngh2.GoAwayReceived:
            self.is_usable = False
            self._fail(NotTakenError(), event.last_stream_id)
            return
        if kind is ngh2.ConnectionClosed:
            self._break(ConnectionResetError("the connection broke the protocol"))
            return
        call = self.calls.get(getattr(event, "stream_id", 0))
        if call is None:
            return
        answer, over = call
        if answer.take(event) and not over.done():
            if answer.is_refused:
                self.is_usable = False  # another server may take it
                over.set_exception(NotTakenError())
            else:
                over.set_result(answer)
            if answer.is_closed:
                del self.calls[event.stream_id]  # else what is left of it is wanted no more
        elif answer.size > self._most + PREFIX_BYTES and not over.done():
            over.set_exception(too_large(self._most))

    def _fail(self, error: Exception, above: int) -> None:
        """Ends the calls with higher numbers; all, if it is the connection that ended."""
        for stream_id, (_, over) in list(self.calls.items()):
            if (above == _NEVER or stream_id > above) and not over.done():
                over.set_exception(error)

    def _break(self, error: OSError) -> None:
        self.is_usable = False
        self._fail(error, _NEVER)
        if self._transport is not None:
            self._transport.abort()

    def _flush(self) -> None:
        if self._transport is not None:
            data = self._h2.data_to_send()
            if data:
                self._transport.write(data)


class AsyncHttp2Channel:
    """See the module. It belongs to the loop that first uses it."""

    def __init__(
        self,
        address: str,
        *,
        retried: Collection[str] = (),
        receive_bytes_max: int = 4 * 1024 * 1024,
        context: ssl.SSLContext | None = None,
    ) -> None:
        """As `Http2Channel`."""
        self._address, (self._host, self._port) = address, parted(address, is_secure=context is not None)
        self._retried = frozenset(retried)
        self._most = receive_bytes_max
        self._context = context
        self._retries = Retries()
        self._connections: list[_Shared] = []
        self._opening = 0
        self._opened = asyncio.Event()
        self._is_closed = False

    def unary_unary(
        self,
        method: str,
        request_serializer: Callable[[Any], bytes] | None = None,
        response_deserializer: Callable[[bytes], Any] | None = None,
        **_: Any,
    ) -> Any:
        """The call of one method: `await call(request, timeout=None, metadata=None)`; raises CallError."""
        always = call_headers(method, self._address, is_secure=self._context is not None)
        is_retried = method in self._retried

        async def call(
            request: Any,
            timeout: float | None = None,  # noqa: ASYNC109 -- as grpc.aio
            metadata: Metadata | None = None,
            **_: Any,
        ) -> Any:
            if self._is_closed:
                raise ValueError("the channel is closed")
            raw = request if request_serializer is None else request_serializer(request)
            headers = always + encoded(metadata) if metadata else always
            deadline_s = None if timeout is None else time.monotonic() + timeout
            try:
                async with asyncio.timeout(timeout):
                    answer = await self._ask(headers, raw, deadline_s, is_retried=is_retried)
            except TimeoutError:
                raise late() from None
            return answer if response_deserializer is None else response_deserializer(answer)

        return call

    def unary_stream(self, *_: Any, **__: Any) -> Any:
        """Not offered: stubs ask for it when they are made, `AsyncClient` calls no streams."""
        return None

    stream_unary = stream_stream = unary_stream

    async def close(self) -> None:
        """Ends all connections; calls under way fail."""
        self._is_closed = True
        connections, self._connections = self._connections, []
        for connection in connections:
            connection.close()
        await asyncio.sleep(0)  # so that the sockets are closed

    async def _ask(
        self, headers: list[tuple[bytes, bytes]], raw: bytes, deadline_s: float | None, *, is_retried: bool
    ) -> bytes:
        for backoff_s in (*BACKOFF_S, None):
            try:
                found = await self._once(headers, raw, deadline_s)
            except CallError as error:
                wait_s = self._retries.wait_s(error, backoff_s if is_retried else None, deadline_s)
                if wait_s is None:
                    raise
                await asyncio.sleep(wait_s)
            else:
                self._retries.answered()
                return found
        raise AssertionError("the last attempt returns or raises")

    async def _once(self, headers: list[tuple[bytes, bytes]], raw: bytes, deadline_s: float | None) -> bytes:
        body = framed(raw)
        for _ in range(ATTEMPTS):
            connection = await self._connection()
            timed = headers if deadline_s is None else [*headers, timeout(deadline_s)]
            try:
                return message(await connection.call(timed, body))
            except NotTakenError:
                continue
            except (OSError, ngh2.NGH2Error) as error:
                if self._is_closed:
                    raise closed() from None
                text = f"the connection to {self._address} failed: {error}"
                raise CallError(grpc.StatusCode.UNAVAILABLE, text) from None
        raise CallError(grpc.StatusCode.UNAVAILABLE, f"{self._address} takes no calls")

    async def _connection(self) -> _Shared:
        while True:
            self._must_be_open()
            self._connections = [each for each in self._connections if each.is_usable]
            idlest = min(self._connections, key=lambda each: len(each.calls), default=None)
            is_enough = len(self._connections) + self._opening >= CONNECTIONS
            if idlest is not None and (not idlest.calls or is_enough):
                return idlest
            if not is_enough:
                return await self._open()
            await self._opened.wait()  # all that there may be are being opened

    async def _open(self) -> _Shared:
        self._opening += 1
        self._opened.clear()
        try:
            async with asyncio.timeout(CONNECT_S):
                made = await self._connected()
        except (
            OSError,
            UnicodeError,
        ) as error:  # a time that is over is the former, a name that can be none the other
            text = f"{self._address} can't be reached: {error or 'no answer'}"
            raise CallError(grpc.StatusCode.UNAVAILABLE, text) from None
        finally:
            self._opening -= 1
            self._opened.set()
        self._connections.append(made)
        self._must_be_open()  # it may have been closed meanwhile
        return made

    def _must_be_open(self) -> None:
        if self._is_closed:
            for connection in self._connections:
                connection.close()
            raise closed()

    async def _connected(self) -> _Shared:
        loop, make = asyncio.get_running_loop(), lambda: _Shared(self._most)
        if self._port is None:
            _, made = await loop.create_unix_connection(make, self._address.removeprefix("unix:"))
            return made
        name = self._host if self._context is not None else None
        transport, made = await loop.create_connection(
            make, self._host, self._port, ssl=self._context, server_hostname=name
        )
        secure = transport.get_extra_info("ssl_object")
        if secure is not None and secure.selected_alpn_protocol() != "h2":
            transport.abort()
            raise OSError("it does not speak HTTP/2")
        return made

"""HTTP/1.1 on the same port: Connect's unary protocol and gRPC-Web, by aiohttp. A browser, PHP or curl needs no proxy.

A call goes the way of every other one: `Call`, the loop or a thread, and back to the response that waits for it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import math
import random
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlsplit

import grpc
from aiohttp import HttpVersion11, StreamReader, web
from aiohttp.http_exceptions import HttpProcessingError
from multidict import CIMultiDict

from pricegrid.service.limits import RECEIVE_BYTES_MAX
from pricegrid.service.transport import connect, wire
from pricegrid.service.transport.call import Call
from pricegrid.service.transport.connection import PREFACE_S
from pricegrid.service.transport.dialect import WEB_RESPONSE, Asked, Dialect, asked, dialect_of
from pricegrid.service.transport.flood import LARGE_BYTES
from pricegrid.service.transport.peer import names_of
from pricegrid.service.transport.server import HALF_S

if TYPE_CHECKING:
    from pricegrid.service.transport.connection import Connection
    from pricegrid.service.transport.method import ServedMethod
    from pricegrid.service.transport.server import Http2Server

_LOCAL: Final = "localhost"
BODY_BYTES_MAX: Final = 256 * 1024 * 1024
"""Of requests that have not come whole, of all connections."""
_log = logging.getLogger(__name__)


def _is_ours(record: logging.LogRecord) -> bool:
    """Whether a record tells of a fault of this server: what callers send that is no HTTP would fill the log."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


_log.addFilter(_is_ours)


class _StoppingError(TimeoutError):
    """The rest of a body is not waited for: aiohttp, which reads on behind an answer, takes it as that too."""


class Http1:
    """Makes the protocol of a connection, and answers its requests. All of it runs on the server's loop."""

    def __init__(self, server: Http2Server) -> None:
        self._server = server
        self._web = web.Server(
            self._respond,
            request_factory=self._request,
            handler_cancellation=True,
            access_log=None,
            logger=_log,
            auto_decompress=False,  # `wire` bounds what a body inflates to
            keepalive_timeout=server.idle_s,
            max_line_size=8190,
            max_field_size=16 * 1024,
        )
        self._silent: set[Any] = set()
        """Connections on which no request has come yet."""
        self._body_bytes = 0
        self._bodies: set[StreamReader] = set()
        """Those that are on their way."""
        self._drains_s: dict[Any, float] = {}
        """When connections take their last request; of some that have ended too."""

    def take(self, transport: asyncio.Transport, data: bytes) -> None:
        """Takes over a connection that began with `data`."""
        protocol = self._web()
        self._silent.add(protocol)
        self._remember(protocol)
        asyncio.get_running_loop().call_later(PREFACE_S, self._end_silent, protocol)
        transport.pause_reading()  # the loop reads in another way now
        transport.set_protocol(protocol)
        transport.resume_reading()
        protocol.connection_made(transport)
        if data:
            protocol.data_received(data)

    def _remember(self, protocol: Any) -> None:
        drains, is_there = self._drains_s, self._web.connections
        if len(drains) > 2 * len(is_there) + 100:  # nobody tells when one ends
            self._drains_s = drains = {each: drains[each] for each in is_there if each in drains}
        drains[protocol] = time.monotonic() + self._server.most_s * random.uniform(0.9, 1.1)  # noqa: S311

    async def end(self, grace_s: float) -> None:
        """Takes no more requests; those under way have so long."""
        self._web.pre_shutdown()  # from here on nothing is read, so what is not whole will not be
        for body in self._bodies:
            if not body.is_eof():
                body.set_exception(_StoppingError())
        await self._web.shutdown(grace_s)

    def _end_silent(self, protocol: Any) -> None:
        if protocol in self._silent:
            self._silent.discard(protocol)
            if protocol.transport is not None:
                protocol.transport.abort()

    def _request(self, message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
        loop = asyncio.get_running_loop()
        self._silent.discard(protocol)
        return web.BaseRequest(
            message, payload, protocol, writer, task, loop, client_max_size=RECEIVE_BYTES_MAX
        )

    async def _respond(self, request: web.BaseRequest) -> web.StreamResponse:
        response = await self._answered(request)
        if time.monotonic() > self._drains_s.get(request.protocol, math.inf):
            response.force_close()  # its caller connects again, perhaps to another worker or host
        return response

    async def _answered(self, request: web.BaseRequest) -> web.StreamResponse:
        headers = [(name.lower(), value) for name, value in request.raw_headers if name.lower() != b"cookie"]
        named = dict(headers)
        cors = self._server.cors
        if self._server.is_local and not _is_local(request.host):
            return web.Response(
                status=403, text="the Host of a server that asks nobody who they are is local\n"
            )
        if request.method == "OPTIONS":
            allowed = cors.preflight(named)
            return web.Response(status=405) if allowed is None else _made(204, allowed, b"")
        dialect = dialect_of(named.get(b"content-type", b""))
        if request.method != "POST":
            return web.Response(status=405, headers={"allow": "POST"})
        if dialect is None or dialect is Dialect.GRPC:
            return web.Response(
                status=415,
                text="the content type is application/json, application/proto or application/grpc-web\n",
            )
        message: bytes | None = None
        try:
            found = asked(dialect, self._server.methods, named, request.rel_url.raw_path.encode())
            if found.method.gives_stream:
                raise wire.MessageError(
                    grpc.StatusCode.UNIMPLEMENTED, "a method with streams is called over HTTP/2"
                )
            refused = self._refusal(found.method, headers, request)
            if refused is not None:
                return _response(dialect, None, refused, cors.headers(named))
            body = await self._let_in(found.method, request, named)
            messages = found.messages.add(body)
            one = messages[0] if len(messages) == 1 else found.messages.whole()
            message, status = await _Exchange(self._server, request).answer(found, headers, one)
        except wire.MessageError as error:
            status = wire.Status(error.code, str(error))
        return _response(dialect, message, status, cors.headers(named))

    def _refusal(
        self, method: ServedMethod, headers: list[wire.Header], request: web.BaseRequest
    ) -> wire.Status | None:
        """How a large request ends before its body is read; None: it may come."""
        if not _may_be_large(request):
            return None
        flood = self._server.flood
        if flood.is_on and method.on_loop is not None:
            return flood.refusal(method, headers, request.protocol)
        busy = self._server.busy(method)
        return None if busy is None else flood.refused(method, headers, busy)

    async def _let_in(
        self, method: ServedMethod, request: web.BaseRequest, named: dict[bytes, bytes]
    ) -> bytes:
        """The body, which has a place among those on their way while there is a flood."""
        if not (self._server.flood.is_on and _may_be_large(request)):
            return await self._body(request, named)
        coming = _Coming(method, request.protocol)
        self._server.flood.let_in(coming)
        try:
            return await self._body(request, named)
        finally:
            self._server.flood.has_come(coming)

    async def _body(self, request: web.BaseRequest, named: dict[bytes, bytes]) -> bytes:
        self._bodies.add(request.content)
        try:
            if named.get(b"expect", b"").lower() == b"100-continue" and request.version >= HttpVersion11:
                await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")  # curl waits a second for it
                request.writer.output_size = 0
            async with asyncio.timeout(HALF_S):
                return await self._read(request)
        except _StoppingError:
            raise wire.MessageError(grpc.StatusCode.UNAVAILABLE, "the server is stopping") from None
        except TimeoutError:
            raise wire.MessageError(
                grpc.StatusCode.DEADLINE_EXCEEDED, f"the request did not come whole within {HALF_S:.0f} s"
            ) from None
        except HttpProcessingError as error:
            raise wire.MessageError(
                grpc.StatusCode.INVALID_ARGUMENT, f"the body can't be read: {error.message}"
            ) from None
        finally:
            self._bodies.discard(request.content)

    async def _read(self, request: web.BaseRequest) -> bytes:
        parts, size = [], 0
        try:
            async for part in request.content.iter_any():
                parts.append(part)
                size += len(part)
                self._body_bytes += len(part)
                if size > RECEIVE_BYTES_MAX:
                    raise wire.too_large(RECEIVE_BYTES_MAX)
                if self._body_bytes > BODY_BYTES_MAX:
                    raise wire.MessageError(
                        grpc.StatusCode.UNAVAILABLE, "too many requests are on their way; ask again"
                    )
            return b"".join(parts)
        finally:
            self._body_bytes -= size


@dataclass(frozen=True, slots=True, eq=False)
class _Coming:
    """See `flood.Coming`."""

    method: ServedMethod
    connection: object


def _may_be_large(request: web.BaseRequest) -> bool:
    """By its headers: without a length nobody knows."""
    size = request.content_length
    return request.body_exists and (size is None or size >= LARGE_BYTES)


class _Exchange:
    """What a `Call` takes for its connection: one request of HTTP/1.1."""

    def __init__(self, server: Http2Server, request: web.BaseRequest) -> None:
        self.server = server
        self.lock = threading.Lock()
        self.identities: tuple[bytes, ...] | None = names_of(request.get_extra_info("peercert"))
        self._answer: asyncio.Future[tuple[bytes | None, wire.Status]] = (
            asyncio.get_running_loop().create_future()
        )

    async def answer(
        self, found: Asked, headers: list[wire.Header], message: wire.Message
    ) -> tuple[bytes | None, wire.Status]:
        """The message and the status of the call. Cancelled when the caller goes away."""
        call = Call(cast("Connection", self), 0, found, headers)
        call.request, call.is_received = message, True
        self.server.begin(call)
        try:
            return await self._answer
        finally:
            call.over()

    def finish(self, _: Call, message: bytes | None, status: wire.Status = wire.OK) -> None:
        """See `Connection`."""
        if not self._answer.done():
            self._answer.set_result((message, status))

    def reset(self, call: Call) -> None:
        """See `Connection`."""
        self.finish(call, None, wire.Status(grpc.StatusCode.CANCELLED, "the call was ended"))

    def flush(self) -> None:
        """See `Connection`."""


def _response(
    dialect: Dialect, message: bytes | None, status: wire.Status, cors: tuple[wire.Header, ...]
) -> web.Response:
    if dialect is Dialect.WEB:
        body = b"" if message is None else wire.framed(message)
        return _made(200, (*WEB_RESPONSE, *cors), body + connect.web_trailers(status))
    http, headers, body = connect.answered(dialect.value, message or b"", status)
    return _made(http, (*headers, *cors), body)


def _made(status: int, headers: tuple[wire.Header, ...], body: bytes) -> web.Response:
    named = CIMultiDict((name.decode("latin-1"), value.decode("latin-1")) for name, value in headers)
    named["server"] = "pricegrid"  # not what it is made of
    return web.Response(status=status, headers=named, body=body or None)


def _is_local(host: str | None) -> bool:
    """Whether a `Host` names this machine: a page of elsewhere may have had its own name resolved to it."""
    try:
        name = (urlsplit(f"//{host or ''}").hostname or "").rstrip(".")
        return name in (_LOCAL, "") or name.endswith("." + _LOCAL) or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False

"""How a call is answered over HTTP/2 where it is not answered by gRPC's headers, message and trailers."""

from collections.abc import Mapping

import ngh2

from pricegrid.service.transport import connect, wire
from pricegrid.service.transport.cors import Cors
from pricegrid.service.transport.dialect import WEB_RESPONSE, Dialect

Headers = Mapping[bytes, bytes]


def begin(h2: ngh2.Connection, stream_id: int, dialect: Dialect, asked: Headers, cors: Cors) -> None:
    """The headers of a stream of messages."""
    headers = wire.RESPONSE
    if dialect is Dialect.WEB:
        headers = ((b":status", b"200"), *WEB_RESPONSE, *cors.headers(asked))
    h2.send_response(stream_id, headers)


def answer(
    h2: ngh2.Connection,
    stream_id: int,
    dialect: Dialect,
    asked: Headers,
    message: bytes | None,
    status: wire.Status,
    cors: Cors,
    *,
    is_begun: bool = False,
) -> None:
    """All of an answer to a call with the headers `asked`, or its end where it has begun; by gRPC it has no message."""
    if dialect is Dialect.GRPC:
        h2.send_response(stream_id, wire.RESPONSE + wire.trailers(status), end_stream=True)
    elif dialect is Dialect.WEB:
        if not is_begun:
            begin(h2, stream_id, dialect, asked, cors)
        body = b"" if message is None else wire.framed(message)
        h2.send_data(stream_id, body + connect.web_trailers(status), end_stream=True)
    else:
        http, headers, body = connect.answered(dialect.value, message or b"", status)
        h2.send_response(stream_id, ((b":status", b"%d" % http), *headers, *cors.headers(asked)))
        h2.send_data(stream_id, body, end_stream=True)


def turn_away(h2: ngh2.Connection, stream_id: int, asked: Headers, cors: Cors) -> None:
    """Answers what is no call: a browser that asks whether a page may call, or whoever is wrong here."""
    headers: tuple[wire.Header, ...] = ((b":status", b"415"),)
    if asked.get(b":method") != b"POST":
        allowed = cors.preflight(asked) if asked.get(b":method") == b"OPTIONS" else None
        headers = ((b":status", b"405"), (b"allow", b"POST"))
        if allowed is not None:
            headers = ((b":status", b"204"), *allowed)
    h2.send_response(stream_id, headers, end_stream=True)

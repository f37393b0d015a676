"""Which pages of other origins a browser lets ask this server (CORS): those that the operator names, by default none.

Source: the Fetch standard, fetch.spec.whatwg.org, "CORS protocol".
"""

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

from pricegrid.service.transport.wire import Header

_AGE_S: Final = b"7200"
"""How long a browser remembers the answer; none remembers it longer."""
_ASKS: Final = (
    b"authorization,connect-protocol-version,connect-timeout-ms,content-encoding,content-type,grpc-timeout,"
    b"x-correlation-id,x-grpc-web,x-user-agent"
)
_SHOWS: Final = b"grpc-message,grpc-status,grpc-status-details-bin,retry-after"
_OWN_PORT: Final = MappingProxyType({"http": 80, "https": 443})


def checked_origin(text: str) -> str:
    """An origin as browsers send it; raises ValueError, which says what is wrong."""
    parts = urlsplit(text)
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or text != f"{parts.scheme}://{parts.netloc}"
    ):
        raise ValueError(f"{text!r} is no origin, such as https://shop.example")
    if parts.username is not None or "*" in text or text != text.lower():
        raise ValueError(f"{text!r} is no single origin in lower case, such as https://shop.example")
    if not text.isascii():
        raise ValueError(
            f"{text!r} is no origin: browsers send the name in ASCII, such as xn--mnchen-3ya.example"
        )
    try:
        port = parts.port
    except ValueError:
        raise ValueError(f"{text!r} is no origin: its port is none") from None
    sent = "" if port in (None, _OWN_PORT[parts.scheme]) else f":{port}"
    if "".join(parts.netloc.rpartition("]")[2].partition(":")[1:]) != sent:
        raise ValueError(f"{text!r} is no origin: browsers send a port only if it is not the scheme's own")
    return text


class Cors:
    """Answers for the origins that may ask."""

    def __init__(self, origins: Collection[str] = ()) -> None:
        self._origins = frozenset(origin.encode() for origin in origins)

    def headers(self, asked: Mapping[bytes, bytes]) -> tuple[Header, ...]:
        """What goes with an answer."""
        if not self._origins:
            return ()
        origin = asked.get(b"origin")
        if origin not in self._origins:
            return ((b"vary", b"origin"),)
        return (
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", _SHOWS),
            (b"vary", b"origin"),
        )

    def preflight(self, asked: Mapping[bytes, bytes]) -> tuple[Header, ...] | None:
        """The answer to a browser that asks whether a page may call; None: this is no such question, or it may not."""
        if asked.get(b"origin") not in self._origins or b"access-control-request-method" not in asked:
            return None
        return (
            *self.headers(asked),
            (b"access-control-allow-methods", b"POST"),
            (b"access-control-allow-headers", _ASKS),
            (b"access-control-max-age", _AGE_S),
        )

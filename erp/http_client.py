"""A client for JSON over HTTP, with one deadline for the whole call, a size limit, no redirects, and exact decimals.

It uses aiohttp, whose `total` timeout covers connecting, headers and a body that trickles in, and which is released
every few weeks. httpx, the common alternative, has timeouts for single reads only and had its last release in 2024.
"""

import json
import ssl
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from time import monotonic
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
from yarl import URL

from pricegrid.erp.observe import CALL_HEADERS
from pricegrid.erp.protocol import (
    ErpAnswerError,
    ErpBusyError,
    ErpRefusedError,
    ErpTimeoutError,
    ErpUnavailableError,
    Refusal,
    UnauthorisedError,
)

EXCERPT_BYTES_MAX: Final = 2_000
_READ_BYTES: Final = 65_536
_TOO_MANY, _SERVER_ERROR = 429, 500
_UNAUTHORISED: Final = (401, 403)


class JsonClient:
    """Calls one server. Made and used in one event loop."""

    def __init__(
        self,
        *,
        answer_bytes_max: int,
        connections_max: int,
        ca_file: str | None = None,
        cookies: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._answer_bytes_max = answer_bytes_max
        context = ssl.create_default_context(cafile=ca_file) if ca_file else True
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=connections_max, ssl=context),
            cookie_jar=aiohttp.CookieJar(unsafe=True) if cookies else aiohttp.DummyCookieJar(),
            headers=headers,
            trust_env=False,  # a proxy from the environment would see prices
        )

    async def close(self) -> None:
        """Closes the connections."""
        await self._session.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def call(
        self,
        method: str,
        url: str,
        *,
        deadline_s: float,
        body: object | None = None,
        headers: Mapping[str, str] | None = None,
        may_be_empty: bool = False,
    ) -> Any:
        """Makes a call and returns the decoded answer. Raises ErpTimeoutError, ErpUnavailableError, ErpBusyError,
        ErpRefusedError (UnauthorisedError for 401 and 403) and ErpAnswerError."""
        left_s = deadline_s - monotonic()
        if left_s <= 0:
            raise ErpTimeoutError("the deadline passed before the call")
        sent = {"Accept": "application/json", **CALL_HEADERS.get(), **(headers or {})}
        data = None
        if body is not None:
            data = encode(body).encode()
            sent["Content-Type"] = "application/json"
        try:
            async with self._session.request(
                method,
                URL(url, encoded=True),  # already quoted; quoting again would break a quoted &
                data=data,
                headers=sent,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=left_s),
            ) as response:
                _check_status(response)
                raw = await self._read(response)
        except TimeoutError:
            raise ErpTimeoutError(f"no complete answer within {left_s:.3f} s") from None
        except aiohttp.ClientError as error:
            raise ErpUnavailableError(f"{type(error).__name__}: {error}") from None
        except (OSError, ValueError) as error:  # ValueError: an invalid URL or header
            raise ErpUnavailableError(f"{type(error).__name__}: {error}") from None
        return None if may_be_empty and not raw.strip() else decode(raw)

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        limit = self._answer_bytes_max
        if (response.content_length or 0) > limit:
            raise ErpAnswerError(
                Refusal.SIZE, f"an answer of {response.content_length} bytes; at most {limit}"
            )
        parts: list[bytes] = []
        size = 0
        async for part in response.content.iter_chunked(_READ_BYTES):
            size += len(part)
            if size > limit:
                raise ErpAnswerError(
                    Refusal.SIZE, f"an answer of more than {limit} bytes", _text(parts[0] if parts else part)
                )
            parts.append(part)
        return b"".join(parts)


def _check_status(response: aiohttp.ClientResponse) -> None:
    status = response.status
    if status < 300:
        return
    if status < 400:
        location = response.headers.get("Location", "")[:200]
        raise ErpAnswerError(Refusal.REDIRECT, f"HTTP {status} to {location!r}; redirects are not followed")
    message = f"HTTP {status} {response.reason or ''}".rstrip()
    if status == _TOO_MANY:
        raise ErpBusyError(message)
    if status in _UNAUTHORISED:
        raise UnauthorisedError(message)
    raise ErpUnavailableError(message) if status >= _SERVER_ERROR else ErpRefusedError(message)


def decode(raw: bytes) -> Any:
    """Decodes JSON with fractions as decimals; refuses NaN and infinity. Raises ErpAnswerError."""
    try:
        return json.loads(raw, parse_float=Decimal, parse_constant=_refuse_constant)
    except (UnicodeDecodeError, ValueError, RecursionError, InvalidOperation) as error:
        raise ErpAnswerError(Refusal.SCHEMA, f"not JSON: {error}", _text(raw)) from None


def _refuse_constant(name: str) -> Any:
    raise ErpAnswerError(Refusal.NOT_A_NUMBER, f"{name} is not a number")


def encode(value: object) -> str:
    """Encodes JSON with decimals as exact numbers, without a binary float on the way."""
    match value:
        case Decimal():
            return f"{value:f}"
        case Mapping():
            return (
                "{" + ",".join(f"{json.dumps(str(key))}:{encode(each)}" for key, each in value.items()) + "}"
            )
        case list() | tuple():
            return "[" + ",".join(map(encode, value)) + "]"
        case str() | bool() | int() | None:
            return json.dumps(value, ensure_ascii=False)
    raise TypeError(f"{value!r} has no exact JSON form")


def _text(raw: bytes) -> str:
    return raw[:EXCERPT_BYTES_MAX].decode("utf-8", "replace")

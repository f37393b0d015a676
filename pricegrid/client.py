"""The Python client: prices in `Decimal`, one gRPC channel, one error tree.

```python
with pricegrid.Client("127.0.0.1:50051") as client:
    result = client.price_lines("C-100", [pricegrid.Line("SKU-1", 12), pricegrid.Line("SKU-2", 1, "BOX")])
    for line in result.lines:
        print(line.status, line.unit_price, line.book_id)
```
"""

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime
from functools import partial
from typing import TYPE_CHECKING, Literal, Self

import grpc

from pricegrid import v1
from pricegrid.availability import (
    AvailabilityResult,
    PromiseResult,
    QuoteResult,
    availability_result,
    promise_result,
    quote_result,
)
from pricegrid.credentials import Token, open_channel, token_of
from pricegrid.live_client import TIMEOUT_S, LiveClient, ask
from pricegrid.requests import (
    Line,
    PromisePolicy,
    SupplyPolicy,
    availability_request,
    explain_request,
    price_request,
    promise_request,
    quote_request,
)
from pricegrid.results import Explanation, PriceResult, instant_from_us, line_price, price_result

if TYPE_CHECKING:
    import ssl

_READS = (
    (v1.PRICING_SERVICE, ("PriceLines", "ExplainPrice")),
    (v1.QUOTE_SERVICE, ("QuoteLines",)),
    (v1.AVAILABILITY_SERVICE, ("CheckAvailability", "PromiseOrder", "GetReservation")),
)
RETRIED = tuple(f"/{service}/{name}" for service, names in _READS for name in names)
SERVICE_CONFIG = json.dumps(
    {
        "methodConfig": [
            {
                "name": [{"service": service, "method": name} for service, names in _READS for name in names],
                "retryPolicy": {
                    "maxAttempts": 3,
                    "initialBackoff": "0.1s",
                    "maxBackoff": "1s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ],
        "retryThrottling": {"maxTokens": 10, "tokenRatio": 0.1},
    }
)
"""A read that no server answered, or that one was too busy for, is asked again, twice at most, when the server says so.
Each failure takes a token and each answer gives back a tenth of one; below half of the ten nothing is asked again: when
most calls fail, asking again would only be more load."""
RECEIVE_BYTES_MAX = 64 * 1024 * 1024  # an answer of 10,000 lines with long book and entry ids


@contextlib.contextmanager
def needs_ngh2() -> Iterator[None]:
    """Says what to install where an import fails."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("transport 'http2' needs ngh2: pip install pricegrid[http2]") from error


def check_transport(transport: str) -> None:
    """Raises ValueError for one that is none."""
    if transport not in ("grpcio", "http2"):
        raise ValueError(f"transport is {transport!r}, neither 'grpcio' nor 'http2'")


def _over_http2(
    address: str, streams: Callable[[], grpc.Channel], context: "ssl.SSLContext | None"
) -> grpc.Channel:
    with needs_ngh2():
        from pricegrid.http2_channel import Http2Channel
    return Http2Channel(
        address, streams=streams, retried=RETRIED, receive_bytes_max=RECEIVE_BYTES_MAX, context=context
    )


class Client(LiveClient):
    """A connection to a Pricegrid server at `address`, "host:port" or "unix:/path"; safe to share between threads.

    It connects when first asked, and again by itself when the server comes back. Pass `channel` to bring your own.
    Close it, or use it as a context manager. Reads that fail with `UnavailableError` were tried three times, unless
    most calls fail.

    `token` is the bearer token to send with each call, or a function that returns it; `token_file` a file that holds
    it, read again when it changes. `root_certificates` are those that the server's certificate is verified with, and
    `client_certificate` is the client's own chain and key, all PEM; `use_tls` without them trusts what the system
    trusts. A token is sent without TLS to this machine alone; `ValueError` otherwise. With `channel`, all of this is
    the channel's.

    `transport` "http2" is for who asks much: calls go over sockets and libnghttp2 (`pip install pricegrid[http2]`),
    which takes half the CPU. Streams go over grpcio with either.
    """

    def __init__(
        self,
        address: str = "",
        *,
        channel: grpc.Channel | None = None,
        token: Token | None = None,
        token_file: str | os.PathLike[str] | None = None,
        root_certificates: bytes | None = None,
        client_certificate: tuple[bytes, bytes] | None = None,
        use_tls: bool | None = None,
        transport: Literal["grpcio", "http2"] = "grpcio",
    ) -> None:
        if bool(address) == (channel is not None):
            raise ValueError("give either an address or a channel")
        sent = token_of(token, token_file)
        said = (token, token_file, root_certificates, client_certificate, use_tls)
        check_transport(transport)
        if channel is not None and (any(each is not None for each in said) or transport != "grpcio"):
            raise ValueError("who calls is the channel's to say: give an address instead")
        self._channel = channel or open_channel(
            address,
            [
                ("grpc.max_receive_message_length", RECEIVE_BYTES_MAX),
                ("grpc.service_config", SERVICE_CONFIG),
            ],
            token=sent,
            root_certificates=root_certificates,
            client_certificate=client_certificate,
            use_tls=use_tls,
            over=None if transport == "grpcio" else partial(_over_http2, address),
        )
        super().__init__(self._channel)
        self._stub = v1.PricingServiceStub(self._channel)
        self._quote = v1.QuoteServiceStub(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection; calls under way fail with `PricegridError`."""
        self._channel.close()

    def price_lines(
        self,
        customer_id: str,
        lines: Sequence[Line],
        *,
        currency: str | None = None,
        branch: str | None = None,
        as_of: date | datetime | None = None,
        snapshot_version: str | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> PriceResult:
        """Prices 1 to 10,000 lines of one customer, all at one instant from one snapshot.

        `currency` defaults to the customer's ('' as `customer_id` asks for what everyone gets and needs one); `as_of`
        is an aware datetime, or a date for its first instant in the dataset's time zone, or None for now.

        Raises:
            PricegridError: as `pricegrid.errors` draws it.

        """
        request = price_request(
            customer_id,
            lines,
            currency=currency,
            branch=branch,
            as_of=as_of,
            snapshot_version=snapshot_version,
        )
        return price_result(ask(self._stub.PriceLines, request, timeout_s))

    def explain_price(
        self,
        customer_id: str,
        line: Line,
        *,
        currency: str | None = None,
        branch: str | None = None,
        as_of: date | datetime | None = None,
        snapshot_version: str | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> Explanation:
        """Explains the price of one line; arguments and errors as in `price_lines`."""
        request = explain_request(
            customer_id,
            line,
            currency=currency,
            branch=branch,
            as_of=as_of,
            snapshot_version=snapshot_version,
        )
        return explanation(ask(self._stub.ExplainPrice, request, timeout_s))

    def quote_lines(
        self,
        customer_id: str,
        lines: Sequence[Line],
        *,
        currency: str | None = None,
        branches: Sequence[str] = (),
        as_of: date | datetime | None = None,
        snapshot_version: str | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> QuoteResult:
        """Prices, availability over `branches` (default: the customer's own) and promise date of the same lines.

        The first branch's costs hold. Other arguments and errors as in `price_lines`.
        """
        request = quote_request(
            customer_id,
            lines,
            currency=currency,
            branches=branches,
            as_of=as_of,
            snapshot_version=snapshot_version,
        )
        return quote_result(ask(self._quote.QuoteLines, request, timeout_s))

    def check_availability(
        self,
        lines: Sequence[Line],
        *,
        customer_id: str = "",
        branches: Sequence[str] = (),
        as_of: date | datetime | None = None,
        supply: SupplyPolicy | None = None,
        projected: bool = False,
        explain: bool = False,
        exclude_reservation: str = "",
        snapshot_version: str | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> AvailabilityResult:
        """How much of 1 to 10,000 lines is free at each of `branches` (default: every branch).

        `customer_id` hides what that customer may not buy. `projected` adds how the figures go on from day to day,
        `explain` what was added up. Errors as in `price_lines`.
        """
        request = availability_request(
            customer_id,
            lines,
            branches=branches,
            as_of=as_of,
            supply=supply,
            projected=projected,
            explain=explain,
            exclude_reservation=exclude_reservation,
            snapshot_version=snapshot_version,
        )
        return availability_result(ask(self._availability.CheckAvailability, request, timeout_s))

    def promise_order(
        self,
        lines: Sequence[Line],
        *,
        customer_id: str = "",
        branches: Sequence[str] = (),
        ship_to: str = "",
        as_of: date | datetime | None = None,
        supply: SupplyPolicy | None = None,
        policy: PromisePolicy | None = None,
        explain: bool = False,
        exclude_reservation: str = "",
        snapshot_version: str | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> PromiseResult:
        """When, from where and how much of the lines of one order can be shipped; nothing is held.

        From `branches` in that order (default: every branch), or from those that ship to `ship_to`. Other arguments and
        errors as in `check_availability`.
        """
        request = promise_request(
            customer_id,
            lines,
            branches=branches,
            ship_to=ship_to,
            as_of=as_of,
            supply=supply,
            policy=policy,
            explain=explain,
            exclude_reservation=exclude_reservation,
            snapshot_version=snapshot_version,
        )
        return promise_result(ask(self._availability.PromiseOrder, request, timeout_s))


def explanation(message: v1.ExplainPriceResponse) -> Explanation:
    """Reads an `ExplainPriceResponse`."""
    return Explanation(
        line=line_price(message.result),
        document=json.loads(message.explanation_json),
        currency=message.currency,
        snapshot_version=message.snapshot_version,
        snapshot_age=instant_from_us(message.snapshot_age_ms * 1000) - instant_from_us(0),
        as_of=instant_from_us(message.as_of_us),
        correlation_id=message.correlation_id,
    )

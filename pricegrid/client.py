"""The Python client: prices in `Decimal`, one gRPC channel, one error tree.

```python
with pricegrid.Client("127.0.0.1:50051") as client:
    result = client.price_lines("C-100", [pricegrid.Line("SKU-1", 12), pricegrid.Line("SKU-2", 1, "BOX")])
    for line in result.lines:
        print(line.status, line.unit_price, line.book_id)
```
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Self

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from pricegrid import v1
from pricegrid.errors import InvalidRequestError, error_from_rpc
from pricegrid.results import Explanation, PriceResult, instant_from_us, line_price, price_result

LINES_MAX = 10_000
TIMEOUT_S = 5.0
RECEIVE_BYTES_MAX = 64 * 1024 * 1024  # an answer of 10,000 lines with long book and entry ids
_INT64_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Line:
    """One line to ask: an item, how much of it, in which unit ('' is the item's base unit)."""

    sku: str
    quantity: Decimal | int = 1
    """Negative is a return. 0, finer than 10^-6 or beyond 64 bits is answered INVALID_QUANTITY."""
    uom: str = ""


class Client:
    """A connection to a Pricegrid server at `address`, "host:port"; safe to share between threads.

    It connects when first asked, and again by itself when the server comes back. Pass `channel` to bring your own.
    Close it, or use it as a context manager.
    """

    def __init__(self, address: str = "", *, channel: grpc.Channel | None = None) -> None:
        if bool(address) == (channel is not None):
            raise ValueError("give either an address or a channel")
        options = [("grpc.max_receive_message_length", RECEIVE_BYTES_MAX)]
        self._channel = channel or grpc.insecure_channel(address, options=options)
        self._stub = v1.PricingServiceStub(self._channel)

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
        if len(lines) > LINES_MAX:
            message = f"{len(lines)} lines in one request; at most {LINES_MAX}: ask in several"
            raise InvalidRequestError(message, reason="TOO_MANY_LINES")
        request = v1.PriceLinesRequest(
            customer_id=customer_id,
            lines=[line_message(line) for line in lines],
            currency=currency or "",
            branch=branch or "",
            snapshot_version=snapshot_version or "",
        )
        set_as_of(request, as_of)
        try:
            return price_result(self._stub.PriceLines(request, timeout=timeout_s))
        except grpc.RpcError as error:
            raise error_from_rpc(error) from error

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
        request = v1.ExplainPriceRequest(
            customer_id=customer_id,
            line=line_message(line),
            currency=currency or "",
            branch=branch or "",
            snapshot_version=snapshot_version or "",
        )
        set_as_of(request, as_of)
        try:
            return explanation(self._stub.ExplainPrice(request, timeout=timeout_s))
        except grpc.RpcError as error:
            raise error_from_rpc(error) from error


def quantity_micros(quantity: Decimal | int) -> int:
    """A quantity in 10^-6, or 0, which is answered INVALID_QUANTITY, where it can't be carried exactly."""
    exact = Decimal(quantity)
    if not exact.is_finite() or exact.adjusted() > 12:
        return 0
    numerator, denominator = exact.as_integer_ratio() if exact.as_tuple().exponent != 0 else (int(exact), 1)
    micros, rest = divmod(numerator * 1_000_000, denominator)
    return micros if rest == 0 and -_INT64_MAX <= micros <= _INT64_MAX else 0


def line_message(line: Line) -> v1.PriceLine:
    """The line as it goes over the wire."""
    return v1.PriceLine(sku=line.sku, quantity_micros=quantity_micros(line.quantity), uom=line.uom)


def set_as_of(request: v1.PriceLinesRequest | v1.ExplainPriceRequest, as_of: date | datetime | None) -> None:
    """Puts the instant or date asked about into a request; a datetime without zone raises `InvalidRequestError`."""
    if isinstance(as_of, datetime):
        if as_of.tzinfo is None:
            raise InvalidRequestError("as_of needs a time zone", reason="INVALID_AS_OF")
        stamp = Timestamp()
        stamp.FromDatetime(as_of.astimezone(UTC))
        request.as_of_time.CopyFrom(stamp)
    elif as_of is not None:
        request.as_of_date = as_of.isoformat()


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

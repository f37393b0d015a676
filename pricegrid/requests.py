"""What the client asks with: frozen values, and how they go over the wire."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal

from google.protobuf.timestamp_pb2 import Timestamp

from pricegrid import v1
from pricegrid.errors import InvalidRequestError

LINES_MAX = 10_000
_INT64_MAX = 2**63 - 1

AsOfRequest = (
    v1.PriceLine
    | v1.PriceLinesRequest
    | v1.ExplainPriceRequest
    | v1.CheckAvailabilityRequest
    | v1.PromiseOrderRequest
    | v1.QuoteLinesRequest
)


@dataclass(frozen=True, slots=True)
class PartNumber:
    """An item by a number of others, in place of its SKU."""

    code: str
    scheme: str = ""
    """`customer`, `gtin`, `vendor`, `maker` or `legacy`; '' tries the code as a SKU, then the schemes in this order."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line to ask: an item, how much of it, in which unit ('' is the item's base unit, or the pack's)."""

    sku: str
    """'' with a part number."""
    quantity: Decimal | int = 1
    """Negative is a return. 0, finer than 10^-6 or beyond 64 bits is answered INVALID_QUANTITY."""
    uom: str = ""
    as_of: date | datetime | None = None
    """The instant or date that the price of this line is for, such as its day of delivery; None: the request's."""
    part_number: PartNumber | None = None
    """The item by a number of others."""
    uom_system: str = ""
    """What `uom` is written in: `x12`, `rec20`, a partner's name; '': as loaded."""


@dataclass(frozen=True, slots=True)
class SupplyPolicy:
    """Which supply counts, and over which days."""

    horizon_days: int | None = None
    """Days looked at, 1 to 730; None is the server's 90."""
    past_due_offset_days: int | None = None
    """A late receipt counts so many days after the day asked about, 1 to 730; None is 1."""
    past_due_max_days: int | None = None
    """A receipt later than that is dropped; None is 30."""
    min_confidence: Decimal | int = 0
    """Receipts of less confidence are left out, 0 to 1."""


@dataclass(frozen=True, slots=True)
class PromisePolicy:
    """Which promises are accepted. Days are local to the branch that ships, and inclusive."""

    on: date | None = None
    """The first day to pick on; None is as soon as can be."""
    need_by: date | None = None
    """The latest arrival."""
    late_until: date | None = None
    """The latest pick day."""
    no_late: bool = False
    """Only each branch's first pick day."""
    ship_complete: bool = False
    """Every line in full on one common pick day, or nothing."""
    no_split: bool = False
    """Each line from one branch."""
    minimum_shipment: Decimal | int = 0
    """The least quantity of a shipment, in the line's unit."""
    allow_substitutes: bool = False
    """Items that supersede the one asked may come in its place."""


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
    message = v1.PriceLine(sku=line.sku, quantity_micros=quantity_micros(line.quantity), uom=line.uom)
    set_other_names(message, line.part_number, line.uom_system)
    set_as_of(message, line.as_of)
    return message


def availability_line_message(line: Line) -> v1.AvailabilityLine:
    """The line as it goes over the wire."""
    if line.as_of is not None:
        message = f"as_of of line {line.sku!r}: only prices are asked for at an instant of a line"
        raise InvalidRequestError(message, reason="INVALID_AS_OF")
    asked = v1.AvailabilityLine(sku=line.sku, quantity_micros=quantity_micros(line.quantity), uom=line.uom)
    set_other_names(asked, line.part_number, line.uom_system)
    return asked


def set_other_names(
    line: v1.PriceLine | v1.AvailabilityLine | v1.ReserveLine, number: PartNumber | None, uom_system: str
) -> None:
    """Puts what others call the item and its unit into a line."""
    if number is not None:
        line.part_number.CopyFrom(v1.PartNumber(scheme=number.scheme, code=number.code))
    line.uom_system = uom_system


def supply_message(policy: SupplyPolicy) -> v1.SupplyPolicy:
    """The policy as it goes over the wire; what can't be carried raises `InvalidRequestError`."""
    return v1.SupplyPolicy(
        horizon_days=policy.horizon_days,
        past_due_offset_days=policy.past_due_offset_days,
        past_due_max_days=policy.past_due_max_days,
        min_confidence_micros=_policy_micros("min_confidence", policy.min_confidence),
    )


def promise_message(policy: PromisePolicy) -> v1.PromisePolicy:
    """The policy as it goes over the wire; what can't be carried raises `InvalidRequestError`."""
    return v1.PromisePolicy(
        on_date=_date_text(policy.on),
        need_by_date=_date_text(policy.need_by),
        late_until_date=_date_text(policy.late_until),
        no_late=policy.no_late,
        ship_complete=policy.ship_complete,
        no_split=policy.no_split,
        minimum_shipment_micros=_policy_micros("minimum_shipment", policy.minimum_shipment),
        allow_substitutes=policy.allow_substitutes,
    )


def price_request(
    customer_id: str,
    lines: Sequence[Line],
    *,
    currency: str | None,
    branch: str | None,
    as_of: date | datetime | None,
    snapshot_version: str | None,
) -> v1.PriceLinesRequest:
    """What `price_lines` asks; raises `InvalidRequestError`, as do those below."""
    check_line_count(lines)
    request = v1.PriceLinesRequest(
        customer_id=customer_id,
        lines=[line_message(line) for line in lines],
        currency=currency or "",
        branch=branch or "",
        snapshot_version=snapshot_version or "",
    )
    set_as_of(request, as_of)
    return request


def explain_request(
    customer_id: str,
    line: Line,
    *,
    currency: str | None,
    branch: str | None,
    as_of: date | datetime | None,
    snapshot_version: str | None,
) -> v1.ExplainPriceRequest:
    """What `explain_price` asks."""
    request = v1.ExplainPriceRequest(
        customer_id=customer_id,
        line=line_message(line),
        currency=currency or "",
        branch=branch or "",
        snapshot_version=snapshot_version or "",
    )
    set_as_of(request, as_of)
    return request


def quote_request(
    customer_id: str,
    lines: Sequence[Line],
    *,
    currency: str | None,
    branches: Sequence[str],
    as_of: date | datetime | None,
    snapshot_version: str | None,
) -> v1.QuoteLinesRequest:
    """What `quote_lines` asks."""
    check_line_count(lines)
    request = v1.QuoteLinesRequest(
        customer_id=customer_id,
        lines=[line_message(line) for line in lines],
        currency=currency or "",
        branches=branches,
        snapshot_version=snapshot_version or "",
    )
    set_as_of(request, as_of)
    return request


def availability_request(
    customer_id: str,
    lines: Sequence[Line],
    *,
    branches: Sequence[str],
    as_of: date | datetime | None,
    supply: SupplyPolicy | None,
    projected: bool,
    explain: bool,
    exclude_reservation: str,
    snapshot_version: str | None,
) -> v1.CheckAvailabilityRequest:
    """What `check_availability` asks."""
    check_line_count(lines)
    request = v1.CheckAvailabilityRequest(
        customer_id=customer_id,
        lines=[availability_line_message(line) for line in lines],
        branches=branches,
        snapshot_version=snapshot_version or "",
        supply=None if supply is None else supply_message(supply),
        projected=projected,
        explain=explain,
        exclude_reservation=exclude_reservation,
    )
    set_as_of(request, as_of)
    return request


def promise_request(
    customer_id: str,
    lines: Sequence[Line],
    *,
    branches: Sequence[str],
    ship_to: str,
    as_of: date | datetime | None,
    supply: SupplyPolicy | None,
    policy: PromisePolicy | None,
    explain: bool,
    exclude_reservation: str,
    snapshot_version: str | None,
) -> v1.PromiseOrderRequest:
    """What `promise_order` asks."""
    check_line_count(lines)
    request = v1.PromiseOrderRequest(
        customer_id=customer_id,
        lines=[availability_line_message(line) for line in lines],
        branches=branches,
        ship_to=ship_to,
        snapshot_version=snapshot_version or "",
        supply=None if supply is None else supply_message(supply),
        policy=None if policy is None else promise_message(policy),
        explain=explain,
        exclude_reservation=exclude_reservation,
    )
    set_as_of(request, as_of)
    return request


def check_line_count(lines: Sequence[Line]) -> None:
    """Raises `InvalidRequestError` before more is sent than a server takes."""
    if len(lines) > LINES_MAX:
        message = f"{len(lines)} lines in one request; at most {LINES_MAX}: ask in several"
        raise InvalidRequestError(message, reason="TOO_MANY_LINES")


def set_as_of(request: AsOfRequest, as_of: date | datetime | None) -> None:
    """Puts the instant or date asked about into a request or a line; a datetime without zone raises
    `InvalidRequestError`."""
    if isinstance(as_of, datetime):
        if as_of.tzinfo is None:
            raise InvalidRequestError("as_of needs a time zone", reason="INVALID_AS_OF")
        stamp = Timestamp()
        stamp.FromDatetime(as_of.astimezone(UTC))
        request.as_of_time.CopyFrom(stamp)
    elif as_of is not None:
        request.as_of_date = as_of.isoformat()


def _policy_micros(name: str, value: Decimal | int) -> int:
    micros = quantity_micros(value)
    if Decimal(micros).scaleb(-6) != value:
        raise InvalidRequestError(
            f"{name} {value} has more than 6 decimals or is too large", reason="INVALID_POLICY"
        )
    return micros


def _date_text(day: date | None) -> str:
    return day.isoformat() if day else ""

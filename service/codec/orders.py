"""Orders: requests from bytes to the types of the rules, and those to answers."""

from collections.abc import Sequence
from typing import Final

from pricegrid import v1
from pricegrid.service.codec.request import check_fields, optional_date, parse, trimmed
from pricegrid.service.errors import Reason, RequestRefusedError
from pricegrid.service.limits import FIELD_BYTES_MAX, RESERVE_LINES_MAX
from pricegrid.service.orders.model import (
    Beyond,
    Difference,
    Line,
    Policy,
    Price,
    Rounding,
    Severity,
    Short,
    Tolerance,
)

ORDER_KEY_BYTES_MAX: Final = 100
"""A hold's own key is longer by a word."""
EXPECTED_PER_MAX: Final = 1_000_000
_BEYOND: Final = (Beyond.HOLD, Beyond.REPRICE, Beyond.REJECT)
_ROUNDING: Final = (Rounding.REJECT, Rounding.DOWN, Rounding.UP, Rounding.NEAREST)
_SHORT: Final = (
    Short.CUT,
    Short.BACKORDER_REST,
    Short.BACKORDER_LINE,
    Short.REJECT_LINE,
    Short.SHIP_COMPLETE,
)


def decode_validate_order(raw: bytes) -> v1.ValidateOrderRequest:
    """Decodes and validates a `ValidateOrderRequest`; raises `RequestRefusedError`."""
    request = v1.ValidateOrderRequest()
    parse(request, raw)
    check_fields(request, "customer_id", "idempotency_key", "order_ref", "channel", "ship_to", "currency")
    if not request.customer_id:
        raise RequestRefusedError(Reason.CUSTOMER_NOT_ALLOWED, "this customer may not be asked for")
    _check_key(request.idempotency_key)
    if not request.lines:
        raise RequestRefusedError(Reason.NO_LINES, "the request has no lines")
    if len(request.lines) > RESERVE_LINES_MAX:
        raise RequestRefusedError(
            Reason.TOO_MANY_LINES,
            f"{len(request.lines)} lines in one order; at most {RESERVE_LINES_MAX}",
            lines=str(len(request.lines)),
            lines_max=str(RESERVE_LINES_MAX),
        )
    if request.hold and request.WhichOneof("as_of"):
        raise _invalid("hold", "stock is held now, and as_of is another instant")
    _check_words(request)
    for at, line in enumerate(request.lines):
        _check_line(at, line)
    _check_policy(request.policy)
    return request


def _check_key(key: str) -> None:
    if not key:
        raise RequestRefusedError(Reason.KEY_REQUIRED, "the request has no idempotency_key")
    if len(key.encode()) > ORDER_KEY_BYTES_MAX:
        message = f"idempotency_key is longer than {ORDER_KEY_BYTES_MAX} bytes"
        raise RequestRefusedError(Reason.FIELD_TOO_LONG, message, field="idempotency_key")


def _check_words(request: v1.ValidateOrderRequest) -> None:
    """Refuses words that this release does not know: to take them for the default would do something else."""
    policy = request.policy
    for field, value, words in (
        ("hold", request.hold, v1.OrderHold.values()),
        ("within", policy.within, v1.PriceWithin.values()),
        ("beyond", policy.beyond, v1.PriceBeyond.values()),
        ("quantity", policy.quantity, v1.QuantityAction.values()),
        ("short", policy.short, v1.ShortAction.values()),
        ("unconfirmed", policy.unconfirmed, v1.OrderSeverity.values()),
    ):
        if value not in words:
            raise _invalid(field, f"{value} is no word of it")


def _check_line(at: int, line: v1.OrderLine) -> None:
    if len(line.line_ref.encode()) > FIELD_BYTES_MAX:
        message = f"line_ref of lines[{at}] is longer than {FIELD_BYTES_MAX} bytes"
        raise RequestRefusedError(Reason.FIELD_TOO_LONG, message, field="line_ref", index=str(at))
    if line.expected_price_micros < 0:
        raise _invalid("expected_price_micros", "is negative", at)
    if not 0 <= line.expected_per <= EXPECTED_PER_MAX:
        raise _invalid("expected_per", f"is not 0 to {EXPECTED_PER_MAX}", at)
    optional_date(f"requested_date of lines[{at}]", line.requested_date)


def _check_policy(policy: v1.OrderPolicy) -> None:
    for field, value in policy.ListFields():
        if isinstance(value, int) and value < 0:
            raise _invalid(field.name, "is negative")
    if len(policy.profile_version.encode()) > FIELD_BYTES_MAX:
        message = f"profile_version is longer than {FIELD_BYTES_MAX} bytes"
        raise RequestRefusedError(Reason.FIELD_TOO_LONG, message, field="profile_version")
    if 0 < policy.maximum_total_micros < policy.minimum_total_micros:
        raise _invalid("maximum_total_micros", "is less than minimum_total_micros")


def _invalid(field: str, words: str, at: int | None = None) -> RequestRefusedError:
    where = field if at is None else f"{field} of lines[{at}]"
    return RequestRefusedError(Reason.INVALID_ORDER, f"{where}: {words}", field=field)


def decode_get_order_answer(raw: bytes) -> v1.GetOrderAnswerRequest:
    """Decodes and validates a `GetOrderAnswerRequest`; raises `RequestRefusedError`."""
    request = v1.GetOrderAnswerRequest()
    parse(request, raw)
    check_fields(request, "customer_id", "idempotency_key", "order_ref", "correlation_id")
    given = (request.idempotency_key, request.order_ref, request.correlation_id)
    if sum(map(bool, given)) != 1:
        raise _invalid("idempotency_key", "give one of idempotency_key, order_ref and correlation_id")
    return request


def policy_of(message: v1.OrderPolicy) -> Policy:
    """The policy as the rules take it."""

    def tolerance(name: str) -> Tolerance:
        up, down = f"{name}_up_micros", f"{name}_down_micros"
        return Tolerance(
            getattr(message, up) if message.HasField(up) else None,
            getattr(message, down) if message.HasField(down) else None,
        )

    return Policy(
        unit=tolerance("unit"),
        percent=tolerance("percent"),
        line=tolerance("line"),
        order=tolerance("order"),
        accepts_theirs=message.within == v1.PriceWithin.PRICE_WITHIN_THEIRS,
        beyond=_BEYOND[message.beyond],
        rounding=_ROUNDING[message.quantity],
        short=_SHORT[message.short],
        minimum_total_micros=message.minimum_total_micros,
        maximum_total_micros=message.maximum_total_micros,
        small_order_fee_micros=message.small_order_fee_micros,
        unconfirmed=Severity(message.unconfirmed or Severity.WARNING),
    )


def line_of(message: v1.OrderLine) -> Line:
    """A line as the rules take it."""
    quantity, expected = message.quantity_micros, None
    if message.HasField("expected_price_micros"):
        expected = Price(message.expected_price_micros, message.expected_per or 1)
    return Line(quantity, expected, quantity)


def price_lines(request: v1.ValidateOrderRequest) -> list[v1.PriceLine]:
    """The lines as prices are asked for."""
    lines = []
    for each in request.lines:
        line = v1.PriceLine(
            sku=trimmed(each.sku),
            quantity_micros=each.quantity_micros,
            uom=trimmed(each.uom),
            uom_system=each.uom_system,
            as_of_date=each.requested_date or None,
        )
        if each.HasField("part_number"):
            line.part_number.CopyFrom(each.part_number)
        lines.append(line)
    return lines


def encode_line(
    asked: v1.OrderLine,
    line: Line,
    item: v1.PriceLine,
    extended_micros: int,
    promised: Sequence[v1.PromisedPart],
) -> v1.OrderLineAnswer:
    """The answer to a line; an item that is unknown is not named."""
    answer = v1.OrderLineAnswer(
        line_ref=asked.line_ref,
        verdict=severity_name(line.verdict),
        sku=item.sku if line.ours is not None else "",
        uom=item.uom if line.ours is not None else "",
        extended_micros=extended_micros,
        quantity_micros=line.quantity_micros,
        confirmed_micros=line.confirmed_micros,
        backordered_micros=line.backordered_micros,
        promised=promised,
        differences=[encode_difference(each) for each in line.differences],
    )
    if line.ours is not None:
        answer.our_price_micros, answer.price_per = line.ours.micros, line.ours.per
    if line.agreed is not None:
        answer.agreed_price_micros, answer.agreed_per = line.agreed.micros, line.agreed.per
    return answer


def severity_name(severity: Severity) -> str:
    """A severity as the wire names it."""
    return f"ORDER_SEVERITY_{severity.name}"


def encode_difference(each: Difference) -> v1.OrderDifference:
    """One difference."""
    return v1.OrderDifference(
        kind=f"ORDER_DIFFERENCE_KIND_{each.kind.name}",
        severity=severity_name(each.severity),
        expected=each.expected,
        ours=each.ours,
        rule=each.rule,
    )

"""The rules of orders (docs/orders.md), each once and plain: exact fractions, no clock, no snapshot.

The order of the checks (O2): item, entitlement and unit; quantity; price; difference; promise; hold. Quantities are
rounded first (O5), since the price is that of the quantity that is accepted. A line that fails a check is rejected
there; the others go on.
"""

from collections.abc import Sequence
from fractions import Fraction

from pricegrid.columnar.decimals import MICROS, decimal_text, per_text
from pricegrid.service.orders.model import (
    Beyond,
    Difference,
    Kind,
    Line,
    LineFacts,
    Policy,
    Price,
    Rounding,
    Severity,
    Short,
)

_ITEM_KINDS = {
    "UNKNOWN_ITEM": Kind.ITEM,
    "NOT_ENTITLED": Kind.ITEM,
    "AMBIGUOUS_ITEM": Kind.AMBIGUOUS_ITEM,
    "UNKNOWN_UOM": Kind.UNIT,
    "INVALID_QUANTITY": Kind.QUANTITY,
    "BELOW_MINIMUM": Kind.QUANTITY,
}
_BEYOND = {Beyond.HOLD: Severity.HOLD, Beyond.REPRICE: Severity.WARNING, Beyond.REJECT: Severity.REJECT}


def price_text(price: Price) -> str:
    """A price as people write it: `12.35 per 1000`."""
    return decimal_text(price.micros) + per_text(price.per)


def exact_text(micros: Fraction) -> str:
    """An amount as a decimal where one is exact, else as a fraction."""
    if micros.denominator == 1:
        return decimal_text(micros.numerator)
    amount = micros / MICROS
    return f"{amount.numerator}/{amount.denominator}"


def round_quantity(line: Line, multiple_micros: Fraction | None, rounding: Rounding) -> None:
    """O5: a quantity that breaks the order multiple, which is in the unit asked, is rounded or rejected."""
    if not multiple_micros or line.asked_micros <= 0:
        return
    times = line.asked_micros / multiple_micros
    if times.denominator == 1:
        return
    whole = times.numerator // times.denominator
    match rounding:
        case Rounding.DOWN:
            taken = whole
        case Rounding.UP:
            taken = whole + 1
        case Rounding.NEAREST:
            taken = whole + (times - whole >= Fraction(1, 2))
        case _:
            taken = 0
    quantity = taken * multiple_micros
    asked, multiple = decimal_text(line.asked_micros), f"multiples of {exact_text(multiple_micros)}"
    if not taken or quantity.denominator != 1:
        line.reject(Kind.MULTIPLE, "O5", asked, multiple)
        return
    line.quantity_micros = quantity.numerator
    line.note(Kind.MULTIPLE, Severity.WARNING, "O5", asked, decimal_text(line.quantity_micros))


def check_price(line: Line, facts: LineFacts, policy: Policy) -> None:
    """O2 to O4: whether there is the item, the unit and a price, and whether the buyer expects it."""
    if line.is_rejected:
        return
    line.ours = facts.ours
    if facts.ours is None:
        least = facts.minimum_quantity_micros
        told = "" if least is None else f"from {decimal_text(least)} on"
        line.reject(_ITEM_KINDS.get(facts.status, Kind.NO_PRICE), "O2", "", told or facts.status)
        return
    if line.asked_micros <= 0:
        line.reject(Kind.QUANTITY, "O2", decimal_text(line.asked_micros), "more than 0")
        return
    if facts.is_unconfirmed:
        line.note(Kind.UNCONFIRMED, policy.unconfirmed, "O4", "", price_text(facts.ours))
    if line.expected is None:
        line.note(Kind.PRICE_MISSING, Severity.INFO, "O4", "", price_text(facts.ours))
        line.agreed = facts.ours
    elif difference := price_difference(line.expected, facts.ours):
        _settle_price(line, line.expected, facts, difference, policy)
    else:
        line.agreed = facts.ours
    if line.is_rejected or line.verdict is Severity.HOLD:
        line.agreed = None


def price_difference(expected: Price, ours: Price) -> Fraction:
    """O3: expected less ours, for the units that the expected price is for; exact."""
    return (expected.unit_micros - ours.unit_micros) * expected.per


def is_within(expected: Price, ours: Price, quantity_micros: int, policy: Policy) -> bool:
    """O3: whether every tolerance that is set holds; without any nothing is within."""
    if not (policy.unit.is_set or policy.percent.is_set or policy.line.is_set):
        return False
    difference = price_difference(expected, ours)
    of_unit = expected.unit_micros - ours.unit_micros
    if policy.percent.is_set:
        if not ours.micros:
            return False
        if not policy.percent.holds(of_unit / ours.unit_micros * 100 * MICROS):
            return False
    return policy.unit.holds(difference) and policy.line.holds(of_unit * quantity_micros / MICROS)


def _settle_price(
    line: Line, expected: Price, facts: LineFacts, difference: Fraction, policy: Policy
) -> None:
    ours = facts.ours
    assert ours is not None  # noqa: S101 -- for the type checker: whoever has no price is rejected before
    told = (price_text(expected), price_text(ours))
    if not is_within(expected, ours, line.quantity_micros, policy):
        severity = _BEYOND[policy.beyond]
        if severity is Severity.REJECT:
            line.reject(Kind.PRICE, "O3", *told)
            return
        line.note(Kind.PRICE, severity, "O3", *told)
        line.agreed = ours
    elif policy.accepts_theirs and facts.floor_lifted and difference < 0:
        line.note(Kind.PRICE, Severity.WARNING, "O3", *told)
        line.agreed = ours
    else:
        line.note(Kind.PRICE, Severity.INFO, "O3", *told)
        line.agreed = expected if policy.accepts_theirs else ours


def check_short(line: Line, now_micros: int, dated_micros: int, policy: Policy) -> None:
    """O6: what can be promised at once, and with dates; both in the unit asked."""
    if line.is_rejected:
        return
    wanted = line.quantity_micros
    now, dated = min(now_micros, wanted), min(max(dated_micros, now_micros), wanted)
    if now >= wanted or (policy.short is Short.SHIP_COMPLETE and dated >= wanted):
        line.confirmed_micros = wanted
        return
    told = (decimal_text(wanted), decimal_text(now))
    match policy.short:
        case Short.CUT:
            if not now:
                line.reject(Kind.SHORT, "O6", *told)
                return
            line.quantity_micros = line.confirmed_micros = now
        case Short.BACKORDER_REST:
            line.confirmed_micros, line.backordered_micros = now, wanted - now
            told = (told[0], f"{told[1]}, {decimal_text(dated - now)} with dates")
        case Short.BACKORDER_LINE:
            line.backordered_micros = wanted
        case _:
            line.reject(Kind.SHORT, "O6", *told)
            return
    line.note(Kind.SHORT, Severity.WARNING, "O6", *told)


def spoil_incomplete(lines: Sequence[Line], policy: Policy) -> None:
    """O2: a rejected line spoils the others only where all are shipped together."""
    if policy.short is not Short.SHIP_COMPLETE or not any(line.is_rejected for line in lines):
        return
    for line in lines:
        if not line.is_rejected:
            line.reject(Kind.INCOMPLETE, "O2")


def extended_micros(line: Line, minor_unit_micros: int) -> int:
    """The agreed price of what is accepted, rounded once to the minor unit, half up."""
    if line.agreed is None:
        return 0
    exact = line.agreed.unit_micros * line.quantity_micros / MICROS / minor_unit_micros
    return (2 * exact.numerator + exact.denominator) // (2 * exact.denominator) * minor_unit_micros


def check_total(
    total_micros: int, expected_total_micros: int | None, policy: Policy
) -> tuple[int, list[Difference]]:
    """O7: (the fee for a small order, what differs in the order's value and in its total with the fee)."""
    differences: list[Difference] = []
    fee_micros = 0
    least, most = policy.minimum_total_micros, policy.maximum_total_micros
    if total_micros < least:
        fee_micros = policy.small_order_fee_micros
        severity = Severity.WARNING if fee_micros else Severity.REJECT
        told = f"at least {decimal_text(least)}"
        differences.append(Difference(Kind.VALUE, severity, "O7", decimal_text(total_micros), told))
    elif most and total_micros > most:
        told = f"at most {decimal_text(most)}"
        differences.append(Difference(Kind.VALUE, Severity.HOLD, "O7", decimal_text(total_micros), told))
    total_micros += fee_micros
    if expected_total_micros is not None and expected_total_micros != total_micros:
        difference = Fraction(expected_total_micros - total_micros)
        is_near = policy.order.is_set and policy.order.holds(difference)
        severity = Severity.INFO if is_near else _BEYOND[policy.beyond]
        told = decimal_text(total_micros)
        differences.append(Difference(Kind.TOTAL, severity, "O7", decimal_text(expected_total_micros), told))
    return fee_micros, differences


def order_verdict(lines: Sequence[Line], differences: Sequence[Difference]) -> Severity:
    """O2: the gravest of the lines and of the order's own differences."""
    return max([*(line.verdict for line in lines), *(each.severity for each in differences)])

"""What a request to reserve, confirm or release comes to, before anything of it is durable or shown."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from atp.engine import AvailabilityEngine
from atp.reservations import LIVING, HeldReservation, ReservationStatus, ReserveAsk, released
from atp.rows import Pair
from service.errors import Reason, RequestRefusedError
from service.holding import Taken, hold_lines, new_reservation
from service.live_api import Release
from service.live_records import same_ask
from service.reservation_book import ReservationBook, is_over


@dataclass(frozen=True, slots=True)
class Worked:
    """What a request comes to."""

    held: HeldReservation
    """As it is to be stored; as it stands when there is nothing to store."""
    is_change: bool = True
    is_new: bool = False
    touched: Sequence[Pair] = ()
    """The pairs that a change touches."""
    taken: Taken = field(default_factory=dict)
    """What it takes of them."""
    behind: frozenset[Pair] = frozenset()
    """Pairs that changes not yet durable take of as well: it stands only if theirs do."""
    is_confirmed: bool = False
    """What the warehouse has allocated to its order is to be taken off (A9)."""
    refusal: RequestRefusedError | None = None
    """What the caller is told once the change is durable, in place of how the reservation stands."""


def reserve(
    book: ReservationBook, engine: AvailabilityEngine, now_us: int, ask: ReserveAsk, before: Taken
) -> Worked:
    """Hold stock behind what others take `before`; a reservation without an id is none."""
    known = book.of_key(ask.customer_id, ask.key)
    if known is not None:
        if not same_ask(ask, known):
            raise RequestRefusedError(Reason.KEY_REUSED, "this idempotency key was used for something else")
        return Worked(known, is_change=False)
    holding = hold_lines(engine, ask, now_us, before)
    held = new_reservation(ask, holding.lines, now_us)
    behind = frozenset(holding.behind)
    touched = touched_pairs(held)
    if not touched:
        return Worked(replace(held, reservation_id=""), is_change=False, behind=behind)
    return Worked(held, is_new=True, touched=touched, taken=holding.taken, behind=behind)


def confirm(
    book: ReservationBook,
    now_us: int,
    customer_id: str,
    reservation_id: str,
    order_ref: str,
    order_lines: Sequence[str],
) -> Worked:
    """Make a held one permanent for an order."""
    held = book.of_customer(customer_id, reservation_id)
    if held.order_ref not in ("", order_ref):
        raise RequestRefusedError(Reason.ORDER_MISMATCH, "the reservation is for another order")
    if held.status in (ReservationStatus.CONFIRMED, ReservationStatus.CONSUMED):
        return Worked(held, is_change=False)
    if is_over(held, now_us):
        return replace(_ended(held, now_us), refusal=_expired())
    _must_live(held)
    if order_lines and len(order_lines) != len(held.lines):
        message = f"{len(order_lines)} order lines for a reservation of {len(held.lines)} lines"
        raise RequestRefusedError(Reason.INVALID_RESERVATION, message, field="order_lines")
    lines = held.lines
    if order_lines:
        named = zip(held.lines, order_lines, strict=True)
        lines = tuple(replace(each, line=replace(each.line, order_line=name)) for each, name in named)
    confirmed = replace(
        held,
        status=ReservationStatus.CONFIRMED,
        order_ref=order_ref,
        confirmed_us=now_us,
        lines=lines,
    )
    return Worked(confirmed, touched=touched_pairs(held), is_confirmed=True)


def release(
    book: ReservationBook, now_us: int, customer_id: str, reservation_id: str, parts: Sequence[Release]
) -> Worked:
    """Give back all of it, or some of some lines."""
    held = book.of_customer(customer_id, reservation_id)
    if held.status is ReservationStatus.RELEASED and not parts:
        return Worked(held, is_change=False)
    if is_over(held, now_us):
        return replace(_ended(held, now_us), refusal=_expired())
    _must_live(held)
    try:
        after = released(held, {part.line: part.quantity_micros for part in parts})
    except ValueError as error:
        raise RequestRefusedError(Reason.INVALID_RESERVATION, str(error)) from None
    return Worked(with_its_end(after, now_us), touched=touched_pairs(held))


def expire(book: ReservationBook, reservation_id: str, now_us: int) -> Worked:
    """End one if its time is over."""
    held = book[reservation_id]
    return _ended(held, now_us) if is_over(held, now_us) else Worked(held, is_change=False)


def _ended(held: HeldReservation, now_us: int) -> Worked:
    expired = replace(held, status=ReservationStatus.EXPIRED)
    return Worked(with_its_end(expired, now_us), touched=touched_pairs(held))


def touched_pairs(held: HeldReservation) -> list[Pair]:
    """The pairs of which a reservation holds something, or held."""
    return list(dict.fromkeys((part.sku, each.line.branch) for each in held.lines for part in each.parts))


def with_its_end(held: HeldReservation, now_us: int) -> HeldReservation:
    """It, with when it ended if it just did."""
    return held if held.status in LIVING or held.ended_us is not None else replace(held, ended_us=now_us)


def _must_live(held: HeldReservation) -> None:
    if held.status is ReservationStatus.EXPIRED:
        raise _expired()
    if held.status not in LIVING:
        message = f"the reservation is {held.status.name.lower()}"
        raise RequestRefusedError(Reason.RESERVATION_ENDED, message, status=held.status.name)


def _expired() -> RequestRefusedError:
    return RequestRefusedError(Reason.RESERVATION_EXPIRED, "the time of the reservation is over")

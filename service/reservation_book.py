"""The reservations that a writer knows, by what they are looked up by."""

from collections.abc import Iterable, Sequence

from atp.reservations import LIVING, HeldReservation, ReservationStatus
from service.errors import Reason, RequestRefusedError


class ReservationBook:
    """Used by one thread at a time."""

    def __init__(self) -> None:
        self._held: dict[str, HeldReservation] = {}
        self._by_key: dict[tuple[str, str], str] = {}
        self._by_order: dict[str, set[str]] = {}

    def __getitem__(self, reservation_id: str) -> HeldReservation:
        return self._held[reservation_id]

    def __contains__(self, reservation_id: str) -> bool:
        return reservation_id in self._held

    def all(self) -> Iterable[HeldReservation]:
        """Every one, also those that have ended."""
        return self._held.values()

    def keep(self, held: HeldReservation) -> None:
        """Know a reservation as it stands now."""
        self._held[held.reservation_id] = held
        self._by_key[held.customer_id, held.key] = held.reservation_id
        if held.order_ref:
            self._by_order.setdefault(held.order_ref, set()).add(held.reservation_id)

    def forget(self, reservation_id: str) -> None:
        """Know it no longer, nor its key."""
        held = self._held.pop(reservation_id)
        if self._by_key.get((held.customer_id, held.key)) == reservation_id:
            del self._by_key[held.customer_id, held.key]
        self._by_order.get(held.order_ref, set()).discard(reservation_id)

    def of_key(self, customer_id: str, key: str) -> HeldReservation | None:
        """What a customer's key was used for."""
        reservation_id = self._by_key.get((customer_id, key))
        return self._held[reservation_id] if reservation_id is not None else None

    def of_customer(self, customer_id: str, reservation_id: str) -> HeldReservation:
        """A customer's own; refuses with RESERVATION_NOT_FOUND."""
        held = self._held.get(reservation_id)
        if held is None or held.customer_id != customer_id:
            raise RequestRefusedError(Reason.RESERVATION_NOT_FOUND, "this customer has no such reservation")
        return held

    def of_orders(self, order_refs: Iterable[str]) -> set[str]:
        """The ids of those for any of these orders."""
        return {name for order_ref in order_refs for name in self._by_order.get(order_ref, ())}

    def over(self, now_us: int) -> list[HeldReservation]:
        """Those that are held and whose time has ended."""
        return [held for held in self._held.values() if is_over(held, now_us)]

    def ended(self, until_us: int) -> list[HeldReservation]:
        """Those that ended by an instant, and of which the warehouse has taken nothing over."""
        return [
            held
            for held in self._held.values()
            if held.ended_us is not None and held.ended_us <= until_us and not held.was_taken_over
        ]

    def living(
        self, customer_id: str, unreported_for_us: int | None, now_us: int
    ) -> Sequence[HeldReservation]:
        """Those that hold stock, by id: of one customer or ('') of all; see `LiveApi.reservations`."""
        return [
            held
            for _, held in sorted(self._held.items())
            if held.status in LIVING
            and customer_id in ("", held.customer_id)
            and not is_over(held, now_us)
            and (
                unreported_for_us is None
                or (held.confirmed_us is not None and now_us - held.confirmed_us >= unreported_for_us)
            )
        ]


def is_over(held: HeldReservation, now_us: int) -> bool:
    """Whether its time has ended before it was confirmed (half-open)."""
    return held.status is ReservationStatus.HELD and now_us >= held.expires_us

"""The reservations of a snapshot's live state: as stored, and as viewed after what the warehouse has cleared.

What is cleared of a reservation follows from the reservations of its order and the allocations of the pair; it is
worked out here whenever one of them changes. Nothing is stored here, so replaying the log has no side effects.
"""

from collections.abc import Iterable
from dataclasses import replace

from pricegrid.atp.rules.clearing import cleared_micros
from pricegrid.atp.rules.reservations import LIVING, HeldReservation, ReservationStatus, claims_on, viewed
from pricegrid.atp.rules.rows import Pair
from pricegrid.service.live.pairs import LivePairs

_Order = tuple[Pair, str]
"""An order at a pair."""


class LiveReservations:
    """Not thread-safe."""

    def __init__(self, pairs: LivePairs) -> None:
        self._pairs = pairs
        self._stored: dict[str, HeldReservation] = {}
        self._views: dict[str, HeldReservation] = {}
        self._cleared: dict[str, dict[tuple[int, Pair], int]] = {}
        self._by_key: dict[tuple[str, str], str] = {}
        self._by_order: dict[_Order, set[str]] = {}
        self._orders: dict[str, set[_Order]] = {}
        """The keys of `_by_order` under which each reservation is, also where nothing is left of its parts."""
        self._is_replaying = False
        self.moved: set[str] = set()
        """Those of which something was cleared since `take_moved`."""

    # ---- queries

    def stored(self, reservation_id: str) -> HeldReservation | None:
        """A reservation as it is stored."""
        return self._stored.get(reservation_id)

    def view(self, reservation_id: str) -> HeldReservation | None:
        """A reservation with what is cleared."""
        return self._views.get(reservation_id)

    def of_key(self, customer_id: str, key: str) -> HeldReservation | None:
        """The reservation of a customer's idempotency key."""
        return self._views.get(self._by_key.get((customer_id, key), ""))

    def views(self) -> list[HeldReservation]:
        """All views, by id."""
        return [view for _, view in sorted(self._views.items())]

    def every(self) -> Iterable[HeldReservation]:
        """All views."""
        return self._views.values()

    # ---- changes

    def update(self, held: HeldReservation) -> list[Pair]:
        """Replace the stored state of a reservation; returns the pairs to show again."""
        reservation_id = held.reservation_id
        self._stored[reservation_id] = self._views[reservation_id] = held
        self._by_key[held.customer_id, held.key] = reservation_id
        self._cleared.pop(reservation_id, None)
        pairs = {(part.sku, line.line.branch) for line in held.lines for part in line.parts}
        touched = set(self._pairs.update_reservation(held))
        if held.order_ref:
            for pair in pairs | touched:
                self._by_order.setdefault((pair, held.order_ref), set()).add(reservation_id)
                self._orders.setdefault(reservation_id, set()).add((pair, held.order_ref))
            touched |= self.clear((pair, held.order_ref) for pair in pairs | touched)
        return sorted(touched)

    def clear(self, orders: Iterable[_Order]) -> set[Pair]:
        """Work out what is cleared of the reservations of some orders; returns the pairs to show again."""
        touched: set[Pair] = set()
        if self._is_replaying:
            return touched
        for order in orders:
            touched |= self._clear(*order)
        return touched

    def _clear(self, pair: Pair, order_ref: str) -> set[Pair]:
        named = self._by_order.get((pair, order_ref))
        if not named:
            self._pairs.let_go(pair, order_ref)
            return set()
        claims = [claim for name in named for claim in claims_on(self._stored[name], pair)]
        touched: set[Pair] = set()
        for (name, line), micros in cleared_micros(self._pairs.points(pair, order_ref), claims).items():
            known = self._cleared.setdefault(name, {})
            if known.get((line, pair)) == micros:
                continue
            known[line, pair] = micros
            view = viewed(self._stored[name], known)
            if view != self._views[name]:
                self._views[name] = view
                self.moved.add(name)
                touched.update(self._pairs.update_reservation(view))
        return touched

    def replay(self) -> None:
        """Begin to replay the log: until `replayed` the state is an old one, so clearing is not worked out."""
        self._is_replaying = True

    def replayed(self) -> set[Pair]:
        """End of the replay: work out what is cleared; returns the pairs to show again."""
        self._is_replaying = False
        touched = self.clear(list(self._by_order))
        self.moved.clear()
        return touched

    def forget(self, reservation_id: str) -> list[Pair]:
        """Remove a reservation that has ended; returns the pairs that still show it."""
        held = self._stored.pop(reservation_id, None)
        if held is None:
            return []
        self._views.pop(reservation_id, None)
        self._cleared.pop(reservation_id, None)
        shown = self._pairs.forget(reservation_id)
        if self._by_key.get((held.customer_id, held.key)) == reservation_id:
            del self._by_key[held.customer_id, held.key]
        for order in self._orders.pop(reservation_id, ()):
            named = self._by_order[order]
            named.discard(reservation_id)
            if not named:
                del self._by_order[order]
        return shown

    # ---- what to store of what is cleared

    def take_moved(self) -> set[str]:
        """Those in `moved`, which is empty then."""
        found, self.moved = self.moved, set()
        return found

    def to_store(self, reservation_id: str) -> HeldReservation | None:
        """The reservation with what must be stored now because it can't be worked out later; None: nothing.

        That is its end, and what rows of the snapshot have cleared, which the next load may no longer have; and only
        what no later event can undo.
        """
        stored, view = self._stored.get(reservation_id), self._views.get(reservation_id)
        if stored is None or view is None or stored is view or stored.status not in LIVING:
            return None
        pairs = {(part.sku, line.line.branch) for line in stored.lines for part in line.parts}
        is_whole = {pair: self._pairs.is_whole(pair) for pair in pairs}
        if view.status is ReservationStatus.CONSUMED and all(is_whole.values()):
            return view
        kept = {pair for pair in pairs if is_whole[pair] and self._pairs.is_loaded(pair, stored.order_ref)}
        lines = tuple(
            replace(
                line,
                parts=tuple(
                    replace(part, cleared_micros=seen.cleared_micros)
                    if (part.sku, line.line.branch) in kept
                    else part
                    for part, seen in zip(line.parts, shown.parts, strict=True)
                ),
            )
            for line, shown in zip(stored.lines, view.lines, strict=True)
        )
        return replace(stored, lines=lines) if lines != stored.lines else None

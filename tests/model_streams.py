"""What the events and tables of the independent model say of a pair (A10): figures and lines of orders.

See `model_availability`, to which this belongs: written from the rules alone.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from fractions import Fraction

from tests.model_world import LONG_AGO, SOURCE_OF, ZERO, Hold, Load, Pair, Tables, Told, instant


@dataclass(frozen=True)
class LineNow:
    """One line of an order, reference or allocation as sources have told it."""

    order_ref: str
    order_line: str
    quantity: Fraction
    most: Fraction  # that it ever was since it was loaded
    falls: tuple[tuple[int, Fraction], ...]  # (number of the event, by how much)
    set_at: int  # number of the last event that set it, -1 for none since the load
    parts: tuple[tuple[datetime | None, Fraction], ...]  # dates and how much of it is due then
    supersedes: str = ""


class Streams:
    """All that was loaded and told, and the figures that follow from it."""

    def __init__(self, tables: Tables, at: datetime) -> None:
        self.loads = [Load(tables, at)]
        self.events: list[Told] = []
        self.holds: list[Hold] = []

    @property
    def loaded(self) -> Load:
        return self.loads[-1]

    # ---- what happens

    def load(self, tables: Tables, at: datetime) -> None:
        self.loads.append(Load(tables, at))

    def publish(self, events: Iterable[Told]) -> None:
        """Each counts once, in whatever order they come."""
        for event in events:
            if event not in self.events and self.why_dead(event) is None:
                self.events.append(event)

    def why_dead(self, event: Told) -> str | None:
        """Why an event can't be applied, None if it can."""
        load = self.loaded
        if all(row["sku"] != event.sku for row in load.tables["items"]):
            return "UNKNOWN_ITEM"
        if all(row["branch"] != event.branch for row in load.tables["branches"]):
            return "UNKNOWN_BRANCH"
        if event.kind == "reset":
            return None
        if event.source != self.owner(event.measure, event.branch):
            return "WRONG_SOURCE"
        if load.is_kit(event.sku) and event.measure != "demand":
            return "KIT_ITEM"
        if event.kind == "set" and event.quantity < 0 and event.measure != "on_hand":
            return "INVALID_QUANTITY"
        return None

    def owner(self, measure: str, branch: str) -> str:
        """The one source of a measure at a branch (`feeds`)."""
        named = [
            row["source"]
            for row in self.loaded.tables.get("feeds", ())
            if row["branch"] == branch and row.get("measure", "") == measure
        ]
        return named[0] if named else SOURCE_OF[measure]

    # ---- streams (A10)

    def stream(self, measure: str, pair: Pair) -> list[Told]:
        """The events of a measure of a pair in the order of their numbers, resets counted."""
        source = self.owner(measure, pair[1])
        mine = [e for e in self.events if (e.source, e.sku, e.branch) == (source, *pair)]
        resets = [e.effective for e in mine if e.kind == "reset"]

        def place(event: Told) -> tuple[int, int]:
            return sum(event.effective >= moment for moment in resets), event.sequence

        return [e for e in sorted(mine, key=place) if e.measure == measure and e.kind != "reset"]

    def missing(self, source: str, pair: Pair) -> set[int]:
        """Numbers between those that came (streams without a reset): what was said before is in what was loaded."""
        numbers = {e.sequence for e in self.events if (e.source, e.sku, e.branch) == (source, *pair)}
        return set(range(min(numbers, default=0), max(numbers, default=0))) - numbers

    def on_hand(self, pair: Pair) -> Fraction | None:
        """None: nobody knows."""
        return self._stock("on_hand", pair)

    def unavailable(self, pair: Pair) -> Fraction:
        return self._stock("unavailable", pair) or ZERO

    def _stock(self, measure: str, pair: Pair) -> Fraction | None:
        rows = self.loaded.rows("stock", pair)
        figure, since = None, LONG_AGO
        if rows:
            newest = max(rows, key=lambda row: instant(row["as_of"]))
            figure, since = Fraction(newest.get(measure, "") or "0"), instant(newest["as_of"])
        elif self.loaded.is_complete(pair[1], "erp"):
            figure, since = ZERO, self.loaded.said_at(pair[1], "erp")
        for event in self.stream(measure, pair):
            if event.effective <= since:
                continue
            if event.kind == "set":
                figure = event.quantity
            elif figure is not None:
                figure += event.quantity
        return figure

    def allocation_lines(self, pair: Pair) -> list[LineNow]:
        """What is allocated now, by order line; rows without a line last, less what lines told of them."""
        rows = self.loaded.rows("allocations", pair)
        loaded = [
            (row.get("order_ref", ""), row.get("order_line", ""), Fraction(row["allocated"]), None, row)
            for row in rows
        ]
        since = {row.get("order_ref", ""): instant(row["as_of"]) for row in rows}
        else_since = LONG_AGO
        if self.loaded.is_complete(pair[1], "wms"):
            else_since = self.loaded.said_at(pair[1], "wms")
        return self._lines(loaded, self.stream("allocated", pair), since, else_since)

    def dated_lines(self, measure: str, pair: Pair) -> list[LineNow]:
        """Receipts or demands as they are now, by reference and line; demands of kits are among their components'."""
        table, when, ref = {
            "receipt": ("receipts", "expected_at", "reference"),
            "demand": ("demands", "due_at", "order_ref"),
        }[measure]
        line = {"receipt": "line", "demand": "order_line"}[measure]
        found: list[LineNow] = []
        skus = [pair[0]] if measure == "receipt" else self._users_of(pair[0])
        since = self.loaded.said_at(pair[1], "transit")
        for sku in skus:
            need = self.loaded.needs(sku)[pair[0]]
            rows = self.loaded.rows(table, (sku, pair[1]))
            loaded = [
                (row.get(ref, ""), row.get(line, ""), Fraction(row["quantity"]), instant(row[when]), row)
                for row in rows
            ]
            events = self.stream(measure, (sku, pair[1]))
            for told in self._lines(loaded, events, {}, since):
                parts = tuple((moment, quantity * need) for moment, quantity in told.parts)
                found.append(replace(told, quantity=told.quantity * need, most=told.most * need, parts=parts))
        return found

    def _users_of(self, sku: str) -> list[str]:
        """The item itself and the kits that hold it."""
        return [row["sku"] for row in self.loaded.tables["items"] if sku in self.loaded.needs(row["sku"])]

    def _lines(
        self,
        loaded: Sequence[tuple[str, str, Fraction, datetime | None, Mapping[str, str]]],
        events: Sequence[Told],
        since: Mapping[str, datetime],
        else_since: datetime,
    ) -> list[LineNow]:
        """Loaded rows with the events after them, by order line."""
        keys = {(ref, line) for ref, line, *_ in loaded} | {(e.order_ref, e.order_line) for e in events}
        lines: list[LineNow] = []
        wholes: list[LineNow] = []
        for ref, line in sorted(keys):
            parts = [(moment, quantity) for r, n, quantity, moment, _ in loaded if (r, n) == (ref, line)]
            supersedes = [row.get("supersedes", "") for r, n, _, _, row in loaded if (r, n) == (ref, line)]
            most = sum((quantity for _, quantity in parts), ZERO)
            falls: list[tuple[int, Fraction]] = []
            set_at = -1
            for place, event in enumerate(events):
                if (event.order_ref, event.order_line) != (ref, line):
                    continue
                if event.effective <= since.get(ref, else_since):
                    continue
                before = sum((quantity for _, quantity in parts), ZERO)
                parts = _after(parts, event)
                after = sum((quantity for _, quantity in parts), ZERO)
                most, fallen = max(most, after), before - after
                falls += [(place, fallen)] if fallen > 0 else []
                set_at = place if event.kind == "set" else set_at
                supersedes = [event.supersedes] if event.supersedes else supersedes
            total = sum((quantity for _, quantity in parts), ZERO)
            now = LineNow(
                ref,
                line,
                max(ZERO, total),
                most,
                tuple(falls),
                set_at,
                tuple(parts),
                (supersedes or [""])[-1],
            )
            (wholes if ref and not line else lines).append(now)
        return lines + [_less_the_lines(whole, lines) for whole in wholes]


def _after(
    parts: Sequence[tuple[datetime | None, Fraction]], event: Told
) -> list[tuple[datetime | None, Fraction]]:
    """Dates and quantities of an order line after an event: a set is all there is, a delta adds at its date."""
    known = min((moment for moment, _ in parts if moment is not None), default=None)
    moment = event.expected_at or known
    if event.kind == "set":
        return [(moment, event.quantity)]
    if event.quantity >= 0 or not parts:
        return [*parts, (moment, event.quantity)]
    rest, found = -event.quantity, []
    own_date_first = sorted(parts, key=lambda part: (part[0] != event.expected_at, part[0] or LONG_AGO))
    for due, quantity in own_date_first:
        taken = min(rest, quantity)
        rest -= taken
        found.append((due, quantity - taken))
    return [*found, (moment, -rest)] if rest else found


def _less_the_lines(whole: LineNow, lines: Sequence[LineNow]) -> LineNow:
    """Rows without a line stand for the whole order: what lines tell of it is part of them."""
    told = sum((line.most for line in lines if line.order_ref == whole.order_ref), ZERO)
    parts = []
    for moment, quantity in sorted(whole.parts, key=lambda part: part[0] or LONG_AGO):
        taken = min(told, max(ZERO, quantity))
        told -= taken
        parts.append((moment, quantity - taken))
    return replace(
        whole, quantity=max(ZERO, sum((quantity for _, quantity in parts), ZERO)), parts=tuple(parts)
    )

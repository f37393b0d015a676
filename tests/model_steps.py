"""Small random worlds for the independent model of availability, and what is done in them, step by step.

A world and its steps are plain values made from a seed alone, before anything is asked: a step names reservations by
their key, so any of them can be left out and the rest still means something.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from random import Random

from tests.model_world import Ask, Asked, Tables, Told

START = datetime(2026, 3, 2, 12, tzinfo=UTC)  # a Monday
CUSTOMER = ""


@dataclass(frozen=True)
class Features:
    """What the product under test has of what the rules ask for; the rest is not tried."""

    order_lines: bool = False
    """Lines of an order are told apart in events and reservations."""
    table_lines: bool = False
    """Lines of orders in allocations and demands, `allocations.shipped`."""
    supersedes: bool = False
    """Receipts say which purchase order they are part of (A12)."""
    decrease_means: bool = False
    """`feeds` says what it means that less is allocated."""
    event_shipped: bool = False
    kit_demands: bool = False
    resets: bool = False
    replace: bool = False
    extend: bool = False


@dataclass(frozen=True)
class Publish:
    events: tuple[Told, ...]


@dataclass(frozen=True)
class Reserve:
    ask: Ask


@dataclass(frozen=True)
class Confirm:
    key: str
    order_ref: str
    order_lines: tuple[str, ...]


@dataclass(frozen=True)
class Release:
    key: str
    parts: tuple[tuple[int, Fraction], ...]


@dataclass(frozen=True)
class Extend:
    key: str
    ttl: timedelta


@dataclass(frozen=True)
class LoadAgain:
    tables: Tables


@dataclass(frozen=True)
class Restart:
    pass


@dataclass(frozen=True)
class Wait:
    pass


Doing = Publish | Reserve | Confirm | Release | Extend | LoadAgain | Restart | Wait


@dataclass(frozen=True)
class Step:
    at: datetime
    does: Doing


@dataclass(frozen=True)
class Script:
    """A world and what happens in it."""

    tables: Tables
    steps: Sequence[Step]
    pairs: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Order:
    """An order of the world: the lines that all who speak of it name, none if nobody does."""

    ref: str
    lines: tuple[str, ...]
    shop_names_lines: bool


class Maker:
    """Makes one script from a seed."""

    def __init__(self, rng: Random, features: Features) -> None:
        self.rng, self.features = rng, features
        self.now = START
        self.items = ["X", "Y"]
        self.has_kit = rng.random() < 0.4
        self.branches = ["B1"] if rng.random() < 0.5 else ["B1", "B2"]
        self.stock_is_fed = rng.random() < 0.7
        self.decrease_means = rng.choice(["", "", "shipped"]) if features.decrease_means else ""
        self.zone = rng.choice(["UTC", "Asia/Kolkata", "America/New_York"])
        self.handling = rng.choice(["0", "0", "2"])
        self.orders = [self._order(number) for number in range(1, 5)]
        self.next_number: dict[tuple[str, str, str], int] = {}
        self.sent: list[Told] = []
        self.late: list[Told] = []
        self.asks: list[Ask] = []
        self.allocated: dict[tuple[str, str, str, str], int] = {}
        self.shipped: dict[tuple[str, str, str, str], int] = {}
        self.dates: dict[tuple[str, str, str, str], datetime] = {}

    def _order(self, number: int) -> Order:
        kind = self.rng.choice(["lines", "none", "warehouse"] if self.features.order_lines else ["none"])
        lines = {"lines": ("1", "2"), "none": ("",), "warehouse": ("1",)}[kind]
        return Order(f"SO{number}", lines, kind == "lines")

    def script(self, length: int) -> Script:
        first = self._tables(START - timedelta(hours=6))
        steps = []
        for _ in range(length):
            seconds = self.rng.choice([7, 61, 313, 1_877, 5_003, 5_003, 40_009])
            self.now += timedelta(seconds=seconds)
            steps.append(Step(self.now, self._doing()))
        skus = [*self.items, "KIT"] if self.has_kit else self.items
        return Script(first, steps, [(sku, branch) for sku in skus for branch in self.branches])

    def _doing(self) -> Doing:
        makers = [self._publish] * 8 + [self._reserve] * 6 + [self._confirm] * 4 + [self._release] * 2
        makers += [self._load, self._restart, self._restart]
        if self.features.extend:
            makers.append(self._extend)
        return self.rng.choice(makers)()

    # ---- tables

    def _tables(self, as_of: datetime) -> Tables:
        """A whole dataset: what an ERP and a warehouse might say of this world at an instant."""
        rng, told = self.rng, as_of.isoformat()
        items = [{"sku": sku, "base_uom": "EA"} for sku in (*self.items, *(["KIT"] if self.has_kit else []))]
        kits = [{"kit_sku": "KIT", "component_sku": "X", "quantity": "2"}]
        kits.append({"kit_sku": "KIT", "component_sku": "Y", "quantity": "1"})
        feeds = []
        for branch in self.branches:
            for source in ("erp", "wms", "transit"):
                row = {"branch": branch, "source": source, "as_of": told, "complete": "true"}
                row["stale_after_min"] = "1000000"
                if source == "wms" and self.decrease_means:
                    row["decrease_means"] = self.decrease_means
                if source != "erp" or self.stock_is_fed:
                    feeds.append(row)
        pairs = [(sku, branch) for sku in self.items for branch in self.branches]
        stock = [self._stock_row(*pair, told) for pair in pairs if rng.random() < 0.85]
        safety = [{"sku": s, "branch": b, "quantity": "3"} for s, b in pairs if rng.random() < 0.2]
        return {
            "items": items,
            "branches": [
                {
                    "branch": b,
                    "time_zone": self.zone if b == "B2" else "UTC",
                    "inbound_handling_days": self.handling,
                }
                for b in self.branches
            ],
            "uoms": [{"sku": "X", "uom": "BOX", "numerator": "6", "denominator": "1"}],
            "kits": kits if self.has_kit else [],
            "feeds": feeds,
            "stock": stock,
            "safety_stock": safety,
            "allocations": self._allocation_rows(pairs, told),
            "receipts": self._receipt_rows(pairs, as_of),
            "demands": self._demand_rows(pairs, as_of),
        }

    def _stock_row(self, sku: str, branch: str, as_of: str) -> dict[str, str]:
        on_hand = str(self.rng.choice([0, 5, 12, 30, 60, 100, -4]))
        unavailable = self.rng.choice(["", "", "2"])
        return {"sku": sku, "branch": branch, "on_hand": on_hand, "unavailable": unavailable, "as_of": as_of}

    def _allocation_rows(self, pairs: Sequence[tuple[str, str]], as_of: str) -> list[dict[str, str]]:
        rows = []
        for sku, branch in pairs:
            for order in self.orders:
                for line in self._lines_in_tables(order):
                    key = (sku, branch, order.ref, line)
                    known = self.allocated.get(key, 0)
                    if known or self.rng.random() < 0.1:
                        quantity = known or self.rng.randrange(1, 12)
                        self.allocated[key] = quantity
                        row = {"sku": sku, "branch": branch, "allocated": str(quantity), "as_of": as_of}
                        row["order_ref"] = order.ref
                        if self.features.table_lines:
                            row["order_line"] = line
                            row["shipped"] = str(self.shipped[key]) if key in self.shipped else ""
                        rows.append(row)
        return rows

    def _receipt_rows(self, pairs: Sequence[tuple[str, str]], as_of: datetime) -> list[dict[str, str]]:
        rows = []
        for sku, branch in pairs:
            if self.rng.random() < 0.5:
                due = as_of + timedelta(days=self.rng.choice([-40, -3, 0, 1, 5, 20, 100]), hours=3)
                row = {"sku": sku, "branch": branch, "quantity": str(self.rng.randrange(1, 40))}
                rows.append({**row, "expected_at": due.isoformat(), "reference": "PO1"})
                if self.features.supersedes and self.rng.random() < 0.5:
                    notice = {**row, "quantity": str(self.rng.randrange(1, 30)), "kind": "asn"}
                    due += timedelta(days=1)
                    rows.append(
                        {**notice, "expected_at": due.isoformat(), "reference": "ASN1", "supersedes": "PO1"}
                    )
        return rows

    def _demand_rows(self, pairs: Sequence[tuple[str, str]], as_of: datetime) -> list[dict[str, str]]:
        rows = []
        kits = (
            [("KIT", branch) for branch in self.branches]
            if self.has_kit and self.features.kit_demands
            else []
        )
        for sku, branch in [*pairs, *kits]:
            for order in self.orders:
                for line in self._lines_in_tables(order):
                    if self.rng.random() < 0.08:
                        due = as_of + timedelta(days=self.rng.choice([-2, 0, 2, 9, 30]), hours=2)
                        row = {"sku": sku, "branch": branch, "quantity": str(self.rng.randrange(1, 9))}
                        row.update(due_at=due.isoformat(), order_ref=order.ref)
                        if self.features.table_lines:
                            row["order_line"] = line
                        rows.append(row)
        return rows

    def _lines_in_tables(self, order: Order) -> tuple[str, ...]:
        """Lines of an order that tables can tell of."""
        return order.lines if self.features.table_lines or order.lines == ("",) else ()

    # ---- events

    def _publish(self) -> Publish:
        """New events, some of them kept for later, and some that were late or have been sent before."""
        rng = self.rng
        new = [self._event() for _ in range(rng.randrange(1, 5))]
        kept = [event for event in new if rng.random() < 0.12]
        batch = [event for event in new if event not in kept]
        batch += [event for event in self.late if rng.random() < 0.5]
        self.late = [event for event in self.late if event not in batch] + kept
        self.sent += batch
        batch += [rng.choice(self.sent) for _ in range(rng.randrange(3)) if self.sent]
        rng.shuffle(batch)
        return Publish(tuple(batch or new))

    def _event(self) -> Told:
        measure = self.rng.choice(
            ["on_hand", "on_hand", "allocated", "allocated", "allocated", "receipt", "demand"]
        )
        sku, branch = self.rng.choice(self.items), self.rng.choice(self.branches)
        if measure == "demand" and self.features.kit_demands and self.has_kit and self.rng.random() < 0.3:
            sku = "KIT"
        source = {"on_hand": "erp", "allocated": "wms"}.get(measure, "transit")
        number = self.next_number.get((source, sku, branch), 0) + 1
        self.next_number[source, sku, branch] = number
        told = Told(source, number, self.now - timedelta(seconds=1), measure, "set", sku, branch)
        return {
            "on_hand": self._on_hand,
            "allocated": self._allocation,
            "receipt": self._receipt,
            "demand": self._demand,
        }[measure](told)

    def _on_hand(self, told: Told) -> Told:
        if self.rng.random() < 0.6:
            return replace(told, kind="delta", quantity=Fraction(self.rng.choice([-7, -3, -1, 2, 15])))
        return replace(told, quantity=Fraction(self.rng.choice([-3, 0, 8, 25, 70])))

    def _allocation(self, told: Told) -> Told:
        """An order line is allocated, more or less of it, or ships in part or whole."""
        order = self.rng.choice(self.orders)
        line = self.rng.choice(order.lines)
        key = (told.sku, told.branch, order.ref, line)
        known = self.allocated.get(key, 0)
        after = self.rng.choice([0, 0, known + 5, known + self.rng.randrange(1, 9), max(0, known - 4)])
        self.allocated[key] = after
        shipped = None
        if self.features.event_shipped and self.rng.random() < 0.5:
            self.shipped[key] = self.shipped.get(key, 0) + max(0, known - after)
            shipped = Fraction(self.shipped[key])
        named = replace(told, order_ref=order.ref, order_line=line, shipped=shipped)
        if self.rng.random() < 0.4:
            return replace(named, kind="delta", quantity=Fraction(after - known))
        return replace(named, quantity=Fraction(after))

    def _receipt(self, told: Told) -> Told:
        return self._dated(replace(told, order_ref=self.rng.choice(["PO2", "PO3"])))

    def _demand(self, told: Told) -> Told:
        order = self.rng.choice(self.orders)
        line = self.rng.choice(order.lines)
        return self._dated(replace(told, order_ref=order.ref, order_line=line))

    def _dated(self, told: Told) -> Told:
        due = (self.now + timedelta(days=self.rng.choice([0, 1, 3, 12, 45]))).replace(minute=30)
        return replace(told, quantity=Fraction(self.rng.choice([0, 4, 9, 20])), expected_at=due)

    # ---- reservations

    def _reserve(self) -> Reserve:
        rng = self.rng
        if self.asks and rng.random() < 0.1:
            again = rng.choice(self.asks)
            changed = replace(again.lines[0], quantity=again.lines[0].quantity + 1)
            return Reserve(again if rng.random() < 0.6 else replace(again, lines=(changed, *again.lines[1:])))
        order = rng.choice(self.orders) if rng.random() < 0.5 else None
        lines = tuple(self._asked(order) for _ in range(rng.choice([1, 1, 2, 3])))
        policy = rng.choice(["", "", "partial", "all"])
        ask = Ask(
            key=f"k{len(self.asks) + 1}",
            customer=CUSTOMER,
            lines=lines,
            ttl=timedelta(seconds=rng.choice([900, 3_600, 90_000])),
            allow_partial=policy == "partial",
            all_or_nothing=policy == "all",
            order_ref=order.ref if order else "",
        )
        if self.features.replace and self.asks and rng.random() < 0.25:
            named = rng.choice(self.asks).key
            ask = replace(ask, **{rng.choice(["exclude", "replace"]): named})
        self.asks.append(ask)
        return Reserve(ask)

    def _asked(self, order: Order | None) -> Asked:
        rng = self.rng
        sku = rng.choice([*self.items, "KIT"] if self.has_kit else self.items)
        quantity = Fraction(rng.choice(["1", "2", "4", "7", "12", "30"]))
        uom = "BOX" if sku == "X" and rng.random() < 0.15 else ""
        if sku != "KIT" and not uom and rng.random() < 0.1:
            quantity += Fraction(1, 2)
        starts = (self.now + timedelta(days=rng.choice([1, 4, 15]))).date() if rng.random() < 0.2 else None
        line = rng.choice(order.lines) if order and order.shop_names_lines else ""
        return Asked(sku, rng.choice(self.branches), quantity, uom, starts, line)

    def _confirm(self) -> Doing:
        if not self.asks:
            return Wait()
        ask = self.rng.choice(self.asks[-4:])
        order = next((o for o in self.orders if o.ref == ask.order_ref), None) or self.rng.choice(self.orders)
        lines: tuple[str, ...] = ()
        if order.shop_names_lines:
            lines = tuple(line.order_line or self.rng.choice(order.lines) for line in ask.lines)
        return Confirm(ask.key, order.ref, lines)

    def _release(self) -> Doing:
        if not self.asks:
            return Wait()
        ask = self.rng.choice(self.asks)
        if self.rng.random() < 0.5:
            return Release(ask.key, ())
        line = self.rng.randrange(len(ask.lines))
        return Release(ask.key, ((line, Fraction(self.rng.choice([1, 1, 3]))),))

    def _extend(self) -> Doing:
        if not self.asks:
            return Wait()
        return Extend(self.rng.choice(self.asks[-3:]).key, timedelta(seconds=self.rng.choice([900, 7_200])))

    def _load(self) -> LoadAgain:
        return LoadAgain(self._tables(self.now - timedelta(seconds=self.rng.choice([2, 2, 5]))))

    def _restart(self) -> Restart:
        return Restart()


def make_script(seed: int, world: int, length: int, features: Features) -> Script:
    """The same seed and number always make the same."""
    return Maker(Random(f"{seed}/{world}"), features).script(length)

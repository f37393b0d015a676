"""`LivePairs` over thousands of histories, beside all events at once: no kernel is compiled for it (A9, A10).

Events of several streams, some of them with owners of their own, come shuffled and told twice, with resets and numbers
told twice, while orders are folded under reservations that are made at any time. A pair's rows and gaps are what
`figures_of` makes of the whole set of them, and what is cleared of a reservation is what it is without folding.
"""

import random
from collections import defaultdict
from dataclasses import replace
from types import SimpleNamespace

import pytest

from pricegrid.atp.arrays.pair_rows import PairRows, image_of
from pricegrid.atp.model import MICROS, AvailabilityStatus, Source
from pricegrid.atp.rules.clearing import Claim, cleared_micros
from pricegrid.atp.rules.events import SOURCE_OF, Event, EventStatus, Kind, Measure
from pricegrid.atp.rules.order_books import DemandBook
from pricegrid.atp.rules.order_lines import OrderRows, allocation_points
from pricegrid.atp.rules.reservations import (
    HeldReservation,
    Part,
    ReservationStatus,
    ReservedLine,
    ReserveLine,
    released,
)
from pricegrid.atp.rules.rows import Allocation, Demand, Receipt, Stock
from pricegrid.atp.rules.streams import Base, Stream, figures_of
from pricegrid.service.live import pairs as live_pairs
from pricegrid.service.live.pairs import LivePairs
from pricegrid.service.live.reservations import LiveReservations
from tests.atp_world import at, q
from tests.profiles import examples

PAIR = ("X", "MAIN")
ORDERS = ("SO-1", "SO-2", "SO-3")
LINES = ("", "1", "2")


class NoInOrderStreams:
    """In place of the compiled `InOrderStreams`: no stream is an in-order one."""

    def is_in_order(self, place: int) -> bool:
        return False

    def add(self, *_: object, **__: object) -> int:
        return 0

    def take_over(self, *_: object) -> bool:
        return False

    def set_held(self, place: int) -> None: ...


class Shown:
    """In place of a `LiveWriter`: keeps what was shown last."""

    def put(self, item: int, branch: int, image: object) -> None:
        self.image = image

    def put_figures(self, pairs: object, figures: list[tuple[int, ...]]) -> None:
        self.image = self.image._replace(figures=figures[0])

    def put_held(self, *_: object, **__: object) -> None: ...

    def readable(self) -> None: ...


def positions() -> SimpleNamespace:
    return SimpleNamespace(
        attach=lambda _: None, span=lambda *_: range(0), integer=lambda *_: 0, zones=["UTC"]
    )


@pytest.fixture
def pairs_of(monkeypatch):
    def made(base: Base, owners: dict[Measure, Source]) -> tuple[LivePairs, Shown]:
        monkeypatch.setattr(live_pairs, "InOrderStreams", NoInOrderStreams)
        monkeypatch.setattr(live_pairs, "base_of", lambda *_: base)
        monkeypatch.setattr(live_pairs, "owners_at", lambda *_: owners)
        engine, shown = SimpleNamespace(positions=positions(), ordinals=lambda *_: (0, 0)), Shown()
        return LivePairs(engine, at(0, 6), lambda _: shown), shown

    return made


def loaded(chance: random.Random) -> Base:
    allocations = [
        Allocation(
            q(chance.randint(0, 9)),
            at(0, 6),
            chance.choice(ORDERS),
            chance.choice(LINES) or None,
            q(chance.choice([0, 0, 3])),
        )
        for _ in range(chance.randint(0, 2))
    ]
    demands = [
        Demand(q(chance.randint(1, 9)), at(chance.randint(1, 3)), chance.choice(ORDERS))
        for _ in range(chance.randint(0, 2))
    ]
    receipts = [Receipt(q(9), at(2), reference="PO-1", line=chance.choice(LINES) or None)]
    rows = PairRows(Stock(q(50), at(0, 6)), False, 0, tuple(allocations), tuple(receipts), tuple(demands))
    return Base(rows, at(0, 6), at(0, 6), at(0, 6), ships_by_decrease=chance.random() < 0.4)


def told(chance: random.Random, owners: dict[Measure, Source], *, resets: bool, again: bool) -> list[Event]:
    """What the sources say, each in its order, as its numbers have it."""
    events = []
    for source in Source:
        measures = [measure for measure in Measure if owners[measure] is source]
        number, now_us = 0, at(0, chance.choice([5, 13]))
        for _ in range(chance.choice([0, 4, 12, 20]) if measures else 0):
            number, now_us = number + 1, now_us + chance.choice([0, 1, MICROS])
            if resets and chance.random() < 0.1:
                number, now_us = chance.choice([0, 1, 5]), now_us + 1
                events.append(Event(source, number, now_us, Measure.ON_HAND, Kind.RESET, *PAIR, 0))
                continue
            if again and number > 3 and chance.random() < 0.05:
                number, now_us = number - 2, now_us + 1  # it begins anew, and does not say so
            measure, kind = chance.choice(measures), chance.choice([Kind.SET, Kind.DELTA])
            more: dict = {}
            if measure in (Measure.ALLOCATED, Measure.DEMAND):
                more = {"order_ref": chance.choice(ORDERS), "order_line": chance.choice(["", *LINES])}
            if measure is Measure.RECEIPT:
                more = {"order_ref": chance.choice(["PO-1", "PO-2"]), "order_line": chance.choice(LINES)}
                more["supersedes"] = chance.choice(["", "PO-1"]) if more["order_ref"] == "PO-2" else ""
            units = chance.choice([0, 0, 1, 4]) if kind is Kind.SET else chance.choice([-5, -1, 1, 4])
            if measure in (Measure.DEMAND, Measure.RECEIPT) and (kind is Kind.SET or chance.random() < 0.5):
                more["expected_at_us"] = at(chance.randint(1, 3))
            if measure is Measure.ALLOCATED and chance.random() < 0.3:
                more["shipped_micros"] = q(chance.randint(0, 9))
            events.append(Event(source, number, now_us, measure, kind, *PAIR, q(units), **more))
    return events


def came(chance: random.Random, events: list[Event]) -> list[Event]:
    """In the order in which they come: each source's own, or any, some of them twice."""
    if chance.random() < 0.4:
        order = chance.sample(events, len(events))
    else:
        by_source = defaultdict(list)
        for event in events:
            by_source[event.source].append(event)
        turns = chance.sample([event.source for event in events], len(events))
        order = [by_source[source].pop(0) for source in turns]
    for _ in range(chance.randint(0, 4) if events else 0):
        order.insert(chance.randint(0, len(order)), chance.choice(events))
    return order


def reservation(number: int, line: str, micros: int, since: tuple[int, int], now_us: int) -> HeldReservation:
    part = Part("X", micros, since=since)
    of_line = ReservedLine(
        ReserveLine("X", micros, "MAIN", order_line=line), AvailabilityStatus.OK, micros, micros, (part,)
    )
    name = f"R{number:015x}"
    return HeldReservation(name, name, "C1", ReservationStatus.HELD, (of_line,), now_us, now_us + q(1_000))


@pytest.mark.parametrize("seed", range(examples(80)))
def test_what_is_kept_says_what_the_whole_set_of_events_says(pairs_of, seed):
    chance = random.Random(seed)
    owners = dict(SOURCE_OF)
    for measure in Measure:
        owners[measure] = chance.choice([SOURCE_OF[measure]] * 2 + [Source.WMS])
    base, resets, again = loaded(chance), chance.random() < 0.5, chance.random() < 0.3
    pairs, shown = pairs_of(base, owners)
    claims, streams, everything = [], {}, defaultdict(list)

    coming = came(chance, told(chance, owners, resets=resets, again=again))
    for number, event in enumerate(coming, 1):
        if chance.random() < 0.2:
            now_us = at(0, 14) + number
            held = reservation(
                number, chance.choice(LINES), q(chance.randint(1, 9)), pairs.mark(PAIR), now_us
            )
            (line,) = held.lines
            (part,) = line.parts
            claims.append(
                Claim(
                    (held.reservation_id, 0),
                    line.line.order_line,
                    part.quantity_micros,
                    0,
                    part.since,
                    now_us,
                    now_us,
                )
            )
            pairs.refresh(pairs.update_reservation(held))
        if pairs.apply(event).status is EventStatus.DEAD_LETTER:
            continue
        for pair, order_ref in pairs.orders(event):
            pairs.let_go(pair, order_ref)
        pairs.refresh(pairs.touched(event))
        everything[event.source].append(event)

        for source, events in everything.items():
            streams[source] = Stream()
            by_instant = sorted(dict.fromkeys(events), key=lambda each: (each.effective_us, each.sequence))
            for each in by_instant if number == len(coming) and not again else events:
                streams[source].add(each)
        expected = image_of(figures_of(base, streams, owners), PAIR, "UTC")
        assert shown.image._replace(held=[], detail=b"") == expected._replace(detail=b"")
        warehouse = streams.get(owners[Measure.ALLOCATED], Stream())
        for order_ref in ORDERS:
            rows = [row for row in base.rows.allocations if row.order_ref == order_ref]
            of_order = OrderRows(rows, base.wms_us, base.ships_by_decrease, warehouse.starts)
            of_events = [
                each
                for each in warehouse.events
                if each.order_ref == order_ref and each.measure is Measure.ALLOCATED
            ]
            points = allocation_points(of_order, of_events)
            assert cleared_micros(pairs.points(PAIR, order_ref), claims) == cleared_micros(points, claims)


def allocated(number: int, units: int, at_us: int = 0, **more: object) -> Event:
    told = Event(
        Source.WMS,
        number,
        at_us or at(0, 13) + number,
        Measure.ALLOCATED,
        Kind.SET,
        *PAIR,
        q(units),
        order_ref="SO-1",
    )
    return replace(told, **more)


EMPTY = Base(PairRows(Stock(q(50), at(0, 6))), at(0, 6), at(0, 6), at(0, 6))


def test_a_reservation_that_is_forgotten_is_asked_no_more_when_its_order_is_told(pairs_of):
    """It was given back, so that nothing is left of its parts: the order's next event raised KeyError."""
    pairs, _ = pairs_of(EMPTY, dict(SOURCE_OF))
    reservations = LiveReservations(pairs)
    held = replace(reservation(1, "", q(5), (0, 0), at(0, 12)), order_ref="SO-1")
    for state in (held, released(held, {})):
        pairs.refresh(reservations.update(state))
    reservations.forget(held.reservation_id)

    event = allocated(1, 5)
    pairs.apply(event)

    assert reservations.clear(pairs.orders(event)) == set()


def test_what_is_missing_makes_doubtful_also_a_measure_of_which_all_was_let_go(pairs_of):
    owners = {**SOURCE_OF, Measure.ON_HAND: Source.WMS}
    pairs, shown = pairs_of(EMPTY, owners)
    stock = replace(allocated(4, 50), measure=Measure.ON_HAND, order_ref="")
    for event in (allocated(1, 5), allocated(2, 0), stock):
        pairs.apply(event)
        for pair, order_ref in pairs.orders(event):
            pairs.let_go(pair, order_ref)
        pairs.refresh(pairs.touched(event))

    assert shown.image.figures[6] == 1 << Source.ERP | 1 << Source.WMS


@pytest.mark.parametrize("is_late", [False, True])
def test_what_was_shipped_before_clears_nothing_whenever_the_reset_comes(pairs_of, is_late):
    pairs, _ = pairs_of(EMPTY, dict(SOURCE_OF))
    reset = Event(Source.WMS, 0, at(0, 14), Measure.ON_HAND, Kind.RESET, *PAIR, 0)
    old = [allocated(number, 0, order_ref="SO-2") for number in (1, 2, 3)]
    anew = [allocated(1, 5, at(0, 14) + 1), allocated(2, 0, at(0, 14) + 2)]
    for event in (*old, *([] if is_late else [reset]), *anew):
        pairs.apply(event)
    now_us = at(0, 15)
    claim = Claim(("R", 0), "", q(5), 0, pairs.mark(PAIR), now_us, now_us)

    if is_late:
        pairs.apply(reset)

    assert cleared_micros(pairs.points(PAIR, "SO-1"), [claim]) == {claim.key: 0}
    pairs.apply(allocated(3, 4, at(0, 16)))
    assert cleared_micros(pairs.points(PAIR, "SO-1"), [claim]) == {claim.key: q(4)}


def test_a_demand_that_begins_again_without_an_instant_keeps_the_one_it_had():
    told = replace(allocated(1, 5), source=Source.TRANSIT, measure=Measure.DEMAND, expected_at_us=at(1))
    book = DemandBook(())
    for number, units in ((1, 5), (2, -5), (3, 3)):
        kind = Kind.SET if number == 1 else Kind.DELTA
        due_us = at(1) if number == 1 else None
        book.add(replace(told, sequence=number, kind=kind, quantity_micros=q(units), expected_at_us=due_us))
        rows = book.rows(is_whole=True)

    assert rows == (Demand(q(3), at(1), "SO-1"),)


def test_the_later_of_two_with_one_number_waits_though_the_first_was_replaced():
    later, newer, first = (
        replace(allocated(number, units, at_us), source=Source.ERP, measure=Measure.ON_HAND, order_ref="")
        for number, units, at_us in ((3, 4, at(0, 16)), (6, 0, at(0, 15)), (3, 0, at(0, 14)))
    )
    streams = [Stream(), Stream()]
    for stream, events in zip(streams, ((later, newer, first), (first, newer, later)), strict=True):
        for event in events:
            stream.add(event)

    assert streams[0] == streams[1]
    assert streams[0].waiting == [later]

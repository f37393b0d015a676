"""Lines of orders: what events make of allocations and demands, and what is cleared, in any order (A9, A10)."""

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricegrid.atp.arrays.pair_rows import PairRows
from pricegrid.atp.model import Source
from pricegrid.atp.rules.clearing import Claim, cleared_micros
from pricegrid.atp.rules.events import Event, Kind, Measure
from pricegrid.atp.rules.order_books import DemandBook, PairLists
from pricegrid.atp.rules.order_lines import START, OrderRows, allocation_points
from pricegrid.atp.rules.rows import Allocation, Demand, Stock
from pricegrid.atp.rules.streams import Base, Stream, figures_of
from tests.atp_world import at, q
from tests.live_site import event
from tests.profiles import examples

ORDERS = st.sampled_from(["", "SO-1", "SO-2", "SO-3"])
LINES = st.sampled_from(["", "1", "2"])


@st.composite
def histories(draw) -> tuple[Base, list[Event]]:
    """A pair as loaded, and what its warehouse and its orders say since."""
    allocations = [
        Allocation(q(draw(st.integers(0, 9))), at(0, 6), draw(ORDERS) or None, draw(LINES) or None)
        for _ in range(draw(st.integers(0, 3)))
    ]
    demands = [
        Demand(
            q(draw(st.integers(1, 9))), at(draw(st.integers(1, 3))), draw(ORDERS) or None, draw(LINES) or None
        )
        for _ in range(draw(st.integers(0, 3)))
    ]
    events = []
    for measure, count in ((Measure.ALLOCATED, 14), (Measure.DEMAND, 8)):
        for sequence in range(1, draw(st.integers(1, count)) + 1):
            kind = draw(st.sampled_from(list(Kind)[:2]))
            units = draw(st.sampled_from([0, 0, 1, 2, 5] if kind is Kind.SET else [-5, -2, 1, 5]))
            more = {"expected_at_us": at(draw(st.integers(1, 3)))} if measure is Measure.DEMAND else {}
            early = draw(st.booleans()) and sequence < 4
            effective_us = at(0, 5) if early else at(0, 13) + sequence
            fields = {"order_ref": draw(ORDERS), "order_line": draw(LINES), "effective_us": effective_us}
            events.append(event(sequence, units, kind, measure, **fields, **more))
    rows = PairRows(stock=Stock(q(100), at(0)), allocations=tuple(allocations), demands=tuple(demands))
    ships = draw(st.booleans())
    return Base(rows, at(0), at(0, 6), at(0, 6), ships_by_decrease=ships), events


@settings(max_examples=examples(300), deadline=None)
@given(histories(), st.randoms(use_true_random=False), st.booleans())
def test_what_is_kept_by_order_and_folded_says_what_all_events_at_once_say(history, chance, folds):
    base, events = history
    lists = PairLists(base)
    streams = {Source.WMS: Stream(), Source.TRANSIT: Stream()}
    everything: dict[Source, list[Event]] = {Source.WMS: [], Source.TRANSIT: []}
    for each in chance.sample(events + events[:3], len(events) + len(events[:3])):
        stream = streams[each.source]
        if stream.add(each).status.name == "APPLIED":
            lists.add(each)
            everything[each.source].append(each)
        is_whole = {source: [span[0] for span in found.spans] == [1] for source, found in streams.items()}
        if folds and is_whole[Source.WMS]:
            lists.allocations.fold(each.order_ref, (0, streams[Source.WMS].spans[-1][1]))
        said = {source: streams[source] for source, found in everything.items() if found}
        expected = figures_of(base, said)
        found = lists.put_into(base.rows, is_transit_whole=folds and is_whole[Source.TRANSIT])
        assert (found.allocations, found.demands, found.transit_as_of_us) == (
            expected.allocations,
            expected.demands,
            expected.transit_as_of_us,
        )


@settings(max_examples=examples(200), deadline=None)
@given(histories(), st.data())
def test_what_is_cleared_after_orders_were_folded_is_what_it_is_without(history, data):
    base, events = history
    events = [each for each in events if each.measure is Measure.ALLOCATED]
    cut = data.draw(st.integers(0, len(events)))
    kept, folded = PairLists(base), PairLists(base)
    for lists in (kept, folded):
        for each in events[:cut]:
            lists.add(each)
    for order in ("", "SO-1", "SO-2", "SO-3"):
        folded.allocations.fold(order, (0, cut))
    for lists in (kept, folded):
        for each in events[cut:]:
            lists.add(each)
    claims = [
        Claim(
            ("R", at_line), line, q(data.draw(st.integers(1, 9))), 0, (0, cut), at(0, 14), at(0, 14) + at_line
        )
        for at_line, line in enumerate(data.draw(st.lists(LINES, min_size=1, max_size=3)))
    ]
    for order in ("SO-1", "SO-2", "SO-3"):
        wanted = cleared_micros(kept.allocations.points(order), claims)
        assert cleared_micros(folded.allocations.points(order), claims) == wanted


def test_one_more_event_costs_the_same_after_thousands_of_orders():
    """Events looked at, not time: an order allocated and shipped is let go."""
    base = Base(PairRows(stock=Stock(q(100), at(0))), at(0), at(0, 6), at(0, 6))
    lists = PairLists(base)
    costs = []
    for number in range(1, 4_001):
        before = lists.allocations.events_read
        for place, units in ((1, 5), (0, 0)):
            each = event(2 * number - place, units, measure=Measure.ALLOCATED, order_ref=f"SO-{number}")
            lists.add(each)
            lists.put_into(base.rows)
            gone = lists.allocations.fold(each.order_ref, (0, each.sequence))
        assert len(gone) == 2
        costs.append(lists.allocations.events_read - before)
    assert max(costs) == costs[0]
    assert len(lists.put_into(base.rows).allocations) == 1  # the newest instant


def test_what_was_folded_is_where_the_next_event_begins():
    rows = PairRows(stock=Stock(q(100), at(0)), allocations=(Allocation(q(10), at(0, 6), "SO-1"),))
    lists = PairLists(Base(rows, at(0), at(0, 6), at(0, 6)))
    for each in (shipped(1, 10, 30), shipped(2, 0, 40)):
        lists.add(each)
    assert len(lists.allocations.fold("SO-1", (0, 2))) == 2

    lists.add(allocated(3, 5, kind=Kind.DELTA))
    lists.add(shipped(4, 5, 41))

    assert [row.allocated_micros for row in lists.put_into(rows).allocations] == [q(5)]
    late = claim(since=2, made_us=at(0, 14))
    assert cleared_micros(lists.allocations.points("SO-1"), [late]) == {late.key: q(6)}


def allocated(sequence: int, units: int, line: str = "", kind: Kind = Kind.SET, **more) -> Event:
    return event(sequence, units, kind, Measure.ALLOCATED, order_ref="SO-1", order_line=line, **more)


def claim(line: str = "", units: int = 30, since: int = 0, **more) -> Claim:
    fields = {"key": ("R", 0), "kept_micros": 0, "made_us": at(0), "named_us": at(0), **more}
    return Claim(order_line=line, quantity_micros=q(units), since=(0, since), **fields)


def found(events: list[Event], *claims: Claim, rows=(), ships: bool = False) -> list[int]:
    """Whole units cleared of each claim, which must be the same in every order of the events."""
    loaded = OrderRows(rows, at(0, 6), ships)
    orders = itertools.islice(itertools.permutations(events), 120)
    answers = [cleared_micros(allocation_points(loaded, list(each)), claims) for each in orders]
    assert all(answer == answers[0] for answer in answers)
    return [answers[0][each.key] // q(1) for each in claims]


def test_what_ended_before_the_rows_of_now_were_loaded_still_uses_what_it_was_cleared_by():
    rows = (Allocation(q(11), at(0, 15), "SO-1"),)
    ended = claim(key=("OLD", 0), kept_micros=q(11), made_us=at(0, 5), ends_us=at(0, 6))
    later = claim(made_us=at(0, 16), units=1)
    assert found([], ended, later, rows=rows) == [11, 0]


def test_what_cleared_one_before_another_named_the_order_clears_no_other():
    """Also where the later one names the line, which else comes first."""
    events = [allocated(1, 5, line="1", effective_us=at(0, 14)), allocated(2, 9, "1", effective_us=at(0, 17))]
    whole = claim(key=("A", 0), units=2, since=1, made_us=at(0, 15), named_us=at(0, 15))
    line = claim("1", key=("B", 0), units=30, since=1, made_us=at(0, 16), named_us=at(0, 16))
    together = claim("1", key=("B", 0), units=30, since=0, made_us=at(0, 13), named_us=at(0, 13))
    assert found(events[:1], whole, line) == [2, 3]
    assert found(events, whole, line) == [2, 7]
    assert found(events[:1], whole, together) == [0, 5]


def test_what_is_allocated_after_a_hold_has_ended_clears_nothing_of_it():
    events = [allocated(1, 5, effective_us=at(0, 14)), allocated(2, 12, effective_us=at(0, 16))]
    in_time, late, endless = (
        claim(made_us=at(0, 13), ends_us=ends_us) for ends_us in (at(0, 16) + 1, at(0, 16), None)
    )
    assert (found(events, in_time), found(events, late), found(events, endless)) == ([12], [5], [12])


def shipped(sequence: int, units: int, so_far: int, line: str = "") -> Event:
    return allocated(sequence, units, line, shipped_micros=q(so_far))


WAVES = [shipped(1, 10, 0), shipped(2, 0, 10), shipped(3, 10, 10), shipped(4, 0, 20)]
SILENT_WAVES = [allocated(1, 10), allocated(2, 0), allocated(3, 10), allocated(4, 0)]


@pytest.mark.parametrize(
    ("events", "ships", "units"),
    [(WAVES, False, 20), (SILENT_WAVES, False, 10), (SILENT_WAVES, True, 20)],
    ids=["told", "not told", "a decrease means shipped"],
)
def test_an_order_shipped_in_waves_clears_what_was_shipped_only_where_the_warehouse_says_so(
    events, ships, units
):
    assert found(events, claim(), ships=ships) == [units]


def test_what_was_shipped_before_a_reservation_was_made_clears_nothing_of_it():
    events = [shipped(1, 10, 0), shipped(2, 0, 10), shipped(3, 5, 10)]
    assert found(events, claim(since=2)) == [5]
    assert found(events, claim(since=0)) == [15]
    assert found(SILENT_WAVES[:2], claim(since=2), ships=True) == [0]


def test_a_loaded_row_is_where_deltas_begin():
    rows = [Allocation(q(10), at(0, 6), "SO-1")]
    assert found([allocated(1, 10, kind=Kind.DELTA)], claim(), rows=rows) == [20]
    assert found([allocated(1, 10, "1", Kind.DELTA)], claim("1"), rows=rows) == [20]


def test_lines_never_clear_one_another_and_an_allocation_without_a_line_serves_any():
    one, two = claim("1", key=("A", 0)), claim("2", key=("B", 0))
    assert found([allocated(1, 20, "2")], one, two) == [0, 20]
    assert found([allocated(1, 20, "2"), allocated(2, 15)], one, two) == [15, 20]
    assert found([allocated(1, 20), allocated(2, 0), allocated(3, 20, "1")], one) == [20]


def test_what_clears_one_reservation_clears_no_other_of_its_order():
    early, late = claim(key=("A", 0), named_us=1), claim(key=("B", 0), named_us=2)
    assert found([allocated(1, 40)], early, late) == [30, 10]
    over = claim(units=20, kept_micros=q(20), is_over=True, key=("A", 0))
    assert found([allocated(1, 40)], over, late) == [20, 20]


@pytest.mark.parametrize("seed", range(20))
def test_what_is_cleared_never_exceeds_what_was_allocated_at_once(seed):
    chance = random.Random(seed)
    events = [allocated(n, chance.randint(0, 9), chance.choice(["", "1", "2"])) for n in range(1, 9)]
    claims = [
        claim(chance.choice(["", "1", "2"]), chance.randint(1, 9), chance.randint(0, 8), key=("R", n))
        for n in range(4)
    ]
    points = allocation_points(OrderRows((), at(0, 6)), events)
    taken = cleared_micros(points, claims)
    for line in ("1", "2"):
        most = sum(max(point.allocated.get(each, 0) for point in points) for each in (line, ""))
        assert sum(taken[each.key] for each in claims if each.order_line == line) <= most
    whole = [each for each in claims if not each.order_line]
    assert sum(taken[each.key] for each in whole) <= max(sum(p.allocated.values()) for p in points)


def demand(sequence: int, units: int, line: str = "", kind: Kind = Kind.SET, day: int = 2) -> Event:
    more = {"order_ref": "SO-1", "order_line": line, "expected_at_us": at(day)}
    return event(sequence, units, kind, Measure.DEMAND, **more)


def opened(loaded: list[Demand], *events: Event) -> list[tuple[str, int, int]]:
    """(line, whole units, day) of what is open, which must be the same in every order of the events."""
    answers = []
    for each in itertools.permutations(events):
        book = DemandBook(loaded)
        for one in each:
            book.add(one)
        answers.append(book.rows())
    assert all(answer == answers[0] for answer in answers)
    return [
        (row.order_line or "", row.quantity_micros // q(1), (row.due_at_us - at(0)) // 86_400_000_000)
        for row in answers[0]
    ]


def test_a_set_of_one_line_of_a_demand_replaces_only_that_line():
    named = [Demand(q(10), at(1), "SO-1", "1"), Demand(q(20), at(3), "SO-1", "2")]
    assert opened(named, demand(1, 4, "1")) == [("1", 4, 2), ("2", 20, 3)]
    unnamed = [Demand(q(10), at(1), "SO-1"), Demand(q(20), at(3), "SO-1")]
    assert opened(unnamed, demand(1, 20, "2")) == [("", 10, 1), ("2", 20, 2)]
    assert opened(unnamed, demand(1, 7, "1")) == [("1", 7, 2), ("", 20, 3)]


def test_a_demand_without_a_line_stands_for_the_whole_order():
    named = [Demand(q(10), at(1), "SO-1", "1"), Demand(q(20), at(3), "SO-1", "2")]
    assert opened(named, demand(1, 25)) == [("", 25, 2)]
    assert opened(named, demand(1, 25), demand(2, 10, "1", day=1)) == [("1", 10, 1), ("", 15, 2)]


def test_a_delta_takes_from_its_own_line():
    named = [Demand(q(10), at(1), "SO-1", "1"), Demand(q(20), at(3), "SO-1", "2")]
    assert opened(named, demand(1, -5, "2", Kind.DELTA)) == [("1", 10, 1), ("2", 15, 3)]


def test_the_start_of_a_stream_is_before_its_events():
    assert START < (0, 1)


def reach(loaded: OrderRows, *events: Event) -> int:
    """Whole units of an order that could ever be cleared, by anyone."""
    points = allocation_points(loaded, events)
    everything = claim(units=1_000, since=0, made_us=at(0, 4))
    return cleared_micros(points, [everything]).get(everything.key, 0) // q(1)


def test_what_goes_from_no_line_to_its_line_was_not_shipped():
    loaded = OrderRows([Allocation(q(10), at(0, 6), "SO-1")], at(0, 6), ships_by_decrease=True)

    assert reach(loaded, allocated(1, 10, "1")) == 10
    assert reach(loaded, allocated(1, 4, "1")) == 10
    assert reach(loaded, allocated(1, 10, "1", effective_us=at(0, 5))) == 10


def test_what_is_told_as_shipped_is_not_counted_as_a_decrease_too():
    loaded = OrderRows([Allocation(q(1), at(0, 6), "SO-1")], at(0, 6), ships_by_decrease=True)

    assert reach(loaded, shipped(1, 0, 1)) == 1

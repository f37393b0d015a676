"""The network promise of A7: sourcing order, policies, and stock used up line by line within a request."""

import random
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest

from pricegrid.atp.kernels.sourcing import (
    LABELS_MAX,
    SORTED_BY_HAND_MAX,
    Plan,
    Slots,
    day_room,
    plan_with_least,
    sort_up,
)
from pricegrid.atp.model import MICROS, AvailabilityStatus, PromisePolicy, Reservation, TooComplexError
from pricegrid.atp.rules.rows import Branch, Demand, Item, Lane, Receipt, Rows, Stock
from pricegrid.atp.rules.sourcing import Slot, plan_shipments
from tests.atp_world import at, check_both, on, promise_both, q, shipments, us, world
from tests.profiles import examples

TWENTY = [("X", q(20), "")]


def ten_now_ten_later() -> Rows:
    rows = world(X=10)
    rows.receipts["X", "MAIN"] = [Receipt(q(10), at(5))]
    return rows


@pytest.mark.parametrize(
    ("policy", "promised", "short"),
    [
        (PromisePolicy(), [("MAIN", 10, 0), ("MAIN", 10, 5)], 0),
        (PromisePolicy(no_late=True), [("MAIN", 10, 0)], 10),
        (PromisePolicy(ship_complete=True), [("MAIN", 20, 5)], 0),
        (PromisePolicy(no_late=True, ship_complete=True), [], 20),
        (PromisePolicy(late_until=on(4)), [("MAIN", 10, 0)], 10),
        (PromisePolicy(late_until=on(5)), [("MAIN", 10, 0), ("MAIN", 10, 5)], 0),
        (PromisePolicy(late_until=on(5), ship_complete=True), [("MAIN", 20, 5)], 0),
        (PromisePolicy(on=on(5)), [("MAIN", 20, 5)], 0),
        (PromisePolicy(need_by=on(4)), [("MAIN", 10, 0)], 10),
        (PromisePolicy(minimum_shipment_micros=q(10)), [("MAIN", 10, 0), ("MAIN", 10, 5)], 0),
        (PromisePolicy(minimum_shipment_micros=q(11)), [("MAIN", 20, 5)], 0),
        (PromisePolicy(minimum_shipment_micros=q(50)), [("MAIN", 20, 5)], 0),  # capped at the request
        (PromisePolicy(minimum_shipment_micros=q(11), no_late=True), [], 20),
    ],
)
def test_a_request_of_twenty_with_ten_now_and_ten_on_day_five(
    policy: PromisePolicy, promised: list[tuple[str, int, int]], short: int
) -> None:
    [found] = promise_both(ten_now_ten_later(), TWENTY, policy=policy)
    assert (shipments(found), found.shortage_micros) == (promised, q(short))


def test_the_earliest_pick_day_goes_before_the_order_named() -> None:
    rows = world("X", branches=("EAST", "WEST"))
    rows.stock["X", "EAST"], rows.stock["X", "WEST"] = Stock(q(4), at(0)), Stock(q(5), at(0))
    rows.receipts["X", "WEST"] = [Receipt(q(20), at(2))]
    for branches, expected in [
        ((b"WEST", b"EAST"), [("WEST", 5, 0), ("EAST", 4, 0), ("WEST", 11, 2)]),
        ((b"EAST", b"WEST"), [("EAST", 4, 0), ("WEST", 5, 0), ("WEST", 11, 2)]),
        ((), [("EAST", 4, 0), ("WEST", 5, 0), ("WEST", 11, 2)]),
    ]:
        assert shipments(promise_both(rows, TWENTY, branches=branches)[0]) == expected


@pytest.mark.parametrize(
    ("lanes", "order"),
    [
        ([("A", 3, 1), ("B", 1, 2), ("C", 1, None)], "ABC"),  # rank first, none last
        ([("A", 3, None), ("B", 2, None), ("C", 1, None)], "CBA"),  # then transit days
        ([("C", 1, 1), ("B", 1, 1), ("A", 1, 1)], "ABC"),  # then the branch
        ([("A", 9, 5), ("A", 1, 7), ("B", 1, 6)], "AB"),  # a branch's best lane counts
    ],
)
def test_a_ship_to_takes_branches_and_order_from_the_lanes(
    lanes: list[tuple[str, int, int | None]], order: str
) -> None:
    rows = world(X=1, branches=("A", "B", "C"))
    rows.lanes = [Lane(branch, "ZONE", transit, rank) for branch, transit, rank in lanes]
    [found] = promise_both(rows, TWENTY, ship_to=b"ZONE")
    assert "".join(part.branch for part in found.parts) == order
    transits = {branch: transit for branch, transit, _ in reversed(lanes)}
    assert [part.arrival_day - part.ship_day for part in found.parts] == [transits[b] for b in order]


def test_an_unknown_branch_or_ship_to_promises_nothing() -> None:
    rows = world(X=50)
    for question in ({"branches": (b"MAIN", b"NOWHERE")}, {"ship_to": b"NOWHERE"}):
        [found] = promise_both(rows, TWENTY, **question)
        assert (found.status, found.parts) == (AvailabilityStatus.UNKNOWN_BRANCH, ())


# ---- one request uses up stock


def test_the_same_sku_twice_is_not_promised_twice() -> None:
    rows = ten_now_ten_later()
    first, second, third = promise_both(rows, [("X", q(8), ""), ("X", q(8), ""), ("X", q(8), "")])
    assert shipments(first) == [("MAIN", 8, 0)]
    assert shipments(second) == [("MAIN", 2, 0), ("MAIN", 6, 5)]
    assert (shipments(third), third.shortage_micros) == ([("MAIN", 4, 5)], q(4))


def test_two_kits_that_share_a_component_share_its_stock() -> None:
    rows = world("DESK", "SHELF", BOLT=10, TOP=50)
    rows.kits["DESK"] = [("BOLT", Fraction(3)), ("TOP", Fraction(1))]
    rows.kits["SHELF"] = [("BOLT", Fraction(2)), ("TOP", Fraction(1))]
    rows.receipts["BOLT", "MAIN"] = [Receipt(q(2), at(3))]
    desk, shelf, bolts = promise_both(rows, [("DESK", q(2), ""), ("SHELF", q(3), ""), ("BOLT", q(1), "")])
    assert shipments(desk) == [("MAIN", 2, 0)]  # 6 bolts
    assert shipments(shelf) == [("MAIN", 2, 0), ("MAIN", 1, 3)]  # 4 bolts, then 2
    assert (shipments(bolts), bolts.shortage_micros) == ([], q(1))


def test_a_later_promise_does_not_take_what_an_earlier_line_needs() -> None:
    rows = world(X=10)
    rows.demands["X", "MAIN"] = [Demand(q(6), at(4))]
    first, second = promise_both(rows, [("X", q(3), ""), ("X", q(3), "")])
    assert (shipments(first), shipments(second), second.shortage_micros) == (
        [("MAIN", 3, 0)],
        [("MAIN", 1, 0)],
        q(2),
    )


# ---- no_split, ship_complete, minimum_shipment, substitutes


@pytest.mark.parametrize(
    ("east", "west", "chosen"),
    [
        ({0: 5}, {0: 6}, [("WEST", 6, 0)]),  # the most
        ({0: 5, 3: 5}, {0: 6}, [("EAST", 5, 0), ("EAST", 5, 3)]),
        ({0: 2, 4: 8}, {0: 1, 3: 9}, [("WEST", 1, 0), ("WEST", 9, 3)]),  # then the soonest
        ({0: 6}, {0: 6}, [("EAST", 6, 0)]),  # then the first
        ({}, {}, []),
    ],
)
def test_no_split_takes_one_branch(
    east: dict[int, int], west: dict[int, int], chosen: list[tuple[str, int, int]]
) -> None:
    rows = world(X=0, branches=("EAST", "WEST"))
    for branch, supply in (("EAST", east), ("WEST", west)):
        rows.receipts["X", branch] = [Receipt(q(n), at(day)) for day, n in supply.items()]
    [found] = promise_both(rows, [("X", q(10), "")], policy=PromisePolicy(no_split=True))
    assert shipments(found) == chosen


def test_ship_complete_picks_every_line_in_full_on_one_day() -> None:
    rows = world(X=10, Y=0, branches=("EAST", "WEST"))
    rows.receipts["Y", "EAST"] = [Receipt(q(5), at(2))]
    rows.receipts["Y", "WEST"] = [Receipt(q(5), at(4))]
    lines = [("X", q(12), ""), ("Y", q(7), "")]
    complete = PromisePolicy(ship_complete=True)
    x, y = promise_both(rows, lines, policy=complete)
    assert shipments(x) == [("EAST", 10, 4), ("WEST", 2, 4)]
    assert shipments(y) == [("EAST", 5, 4), ("WEST", 2, 4)]
    for spoilt in ([*lines, ("Y", q(4), "")], [*lines, ("NONE", q(1), "")], [*lines, ("X", 0, "")]):
        assert all(not found.parts for found in promise_both(rows, spoilt, policy=complete))


def test_ship_complete_is_not_met_by_what_an_order_multiple_leaves_over() -> None:
    rows = world(X=100)
    rows.items["X"] = Item("X", "EA", q(6))
    complete = PromisePolicy(ship_complete=True)
    assert shipments(promise_both(rows, [("X", q(18), "")], policy=complete)[0]) == [("MAIN", 18, 0)]
    assert shipments(promise_both(rows, TWENTY, policy=complete)[0]) == []


@pytest.mark.parametrize(
    ("supplies", "asked", "least", "expected"),
    [
        ({"A": {0: 8}, "B": {0: 8}}, 12, 5, [("A", 7, 0), ("B", 5, 0)]),  # the last one too
        ({"A": {0: 8}, "B": {0: 3}}, 12, 5, [("A", 8, 0)]),
        ({"A": {0: 6, 1: 4}}, 10, 5, [("A", 5, 0), ("A", 5, 1)]),
        ({"A": {0: 6, 1: 3, 2: 1}}, 10, 4, [("A", 6, 0), ("A", 4, 2)]),
        ({"A": {0: 4}, "B": {3: 20}}, 10, 5, [("B", 10, 3)]),
        # as much on the first day as leaves the total within reach
        ({"A": {0: 8, 1: 20}, "B": {0: 6}}, 16, 5, [("A", 6, 0), ("B", 5, 0), ("A", 5, 1)]),
        ({"A": {0: 9}, "B": {0: 9}, "C": {0: 9}}, 10, 4, [("A", 6, 0), ("B", 4, 0)]),
        ({"A": {0: 3}}, 3, 5, [("A", 3, 0)]),  # capped at the request
        ({"A": {0: 2}}, 3, 5, []),
    ],
)
def test_every_shipment_is_at_least_the_minimum(
    supplies: dict[str, dict[int, int]], asked: int, least: int, expected: list[tuple[str, int, int]]
) -> None:
    rows = world(X=0, branches=tuple(supplies))
    for branch, supply in supplies.items():
        rows.receipts["X", branch] = [Receipt(q(n), at(day)) for day, n in supply.items()]
    policy = PromisePolicy(minimum_shipment_micros=q(least))
    [found] = promise_both(rows, [("X", q(asked), "")], policy=policy)
    assert shipments(found) == expected


def all_plans(slots: list[Slot], wanted: int, least: int) -> list[tuple[int, ...]]:
    """Every feasible vector of counts, by brute force."""
    plans: list[tuple[int, ...]] = [()]
    for slot in slots:
        longer = []
        for plan in plans:
            used = sum(n for n, earlier in zip(plan, slots, strict=False) if earlier.order == slot.order)
            most = min(slot.capacity - used, wanted - sum(plan))
            longer.extend((*plan, count) for count in (0, *range(least, most + 1)))
        plans = longer
    return plans


def random_slots(dice: random.Random, branches: int, days: int, most: int) -> list[Slot]:
    """Slots of up to so many branches in sourcing order, each with a capacity that rises."""
    slots = []
    for order in range(dice.randint(1, branches)):
        capacity = 0
        for day in sorted(dice.sample(range(days), dice.randint(1, days))):
            capacity += dice.randint(1, most)
            slots.append(Slot(day, order, capacity))
    return sorted(slots, key=lambda slot: (slot.day, slot.order))


def worth(plan: Sequence[int], slots: list[Slot]) -> tuple[int, list[tuple[int, list[int]]]]:
    """The total, then for each day what it ships in all and from the branches in order."""
    days = []
    for day in sorted({slot.day for slot in slots}):
        counts = [count for count, slot in zip(plan, slots, strict=True) if slot.day == day]
        days.append((sum(counts), counts))
    return sum(plan), days


def test_minimum_shipment_plans_are_the_best_of_all_plans() -> None:
    dice = random.Random(7)
    for _ in range(examples(400)):
        slots = random_slots(dice, 3, 3, 4)
        wanted = dice.randint(1, 11)
        least = min(dice.randint(1, 4), wanted)
        chosen = dict(plan_shipments(slots, wanted, least))
        vector = tuple(chosen.get(slot, 0) for slot in slots)
        plans = all_plans(slots, wanted, least)
        assert vector in plans
        assert worth(vector, slots) == max(worth(plan, slots) for plan in plans)


def kernel_plan(slots: list[Slot], wanted: int, least: int) -> list[tuple[Slot, int]]:
    """The compiled plan of the same slots, whose capacities it wants held at what is wanted."""
    branches = 1 + max(slot.order for slot in slots)
    by_branch = [slot for order in range(branches) for slot in slots if slot.order == order]
    kept = []
    for slot in by_branch:
        before = kept[-1].capacity if kept and kept[-1].order == slot.order else 0
        if before < wanted:
            kept.append(Slot(slot.day, slot.order, min(slot.capacity, wanted)))
    orders = np.array([slot.order for slot in kept])
    columns = Slots(
        np.searchsorted(orders, np.arange(branches)).astype(np.int64),
        np.searchsorted(orders, np.arange(branches), side="right").astype(np.int64),
        np.array([slot.day for slot in kept], dtype=np.int32),
        np.array([slot.capacity for slot in kept], dtype=np.int64),
    )
    room = [np.zeros(len(kept), dtype=dtype) for dtype in (np.int32, np.int32, np.int64)]
    plan = Plan(*room, np.zeros(1, dtype=np.int64), np.zeros(len(kept), dtype=np.int64))
    today, day = np.zeros(branches, dtype=np.int64), day_room(branches, LABELS_MAX)
    code = plan_with_least(
        columns, today, 0, branches, wanted, least, plan, day, np.zeros(1, dtype=np.int64), 10**9
    )
    assert code == 0
    found = {(slot.day, slot.order): slot for slot in slots}
    return [
        (found[int(plan.pick[k]), int(plan.origin[k])], int(plan.shipped[k])) for k in range(plan.size[0])
    ]


def test_the_compiled_minimum_shipment_plan_is_the_plain_one() -> None:
    dice = random.Random(8)
    for _ in range(examples(5_000)):
        slots = random_slots(dice, 5, 3, dice.choice([3, 6, 12]))
        wanted = dice.randint(2, 40)
        least = min(dice.randint(2, 8), wanted)
        assert kernel_plan(slots, wanted, least) == plan_shipments(slots, wanted, least)


def test_an_order_too_complex_is_refused_not_worked_on_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = world(X=5, branches=("EAST", "WEST"))
    monkeypatch.setattr("pricegrid.atp.orders.EFFORT_MAX", 0)
    with pytest.raises(TooComplexError, match="too many ways"):
        promise_both(rows, TWENTY)
    monkeypatch.setattr("pricegrid.atp.orders.PROMISE_PAIRS_MAX", 1)
    with pytest.raises(TooComplexError, match="2 pairs, at most 1"):
        promise_both(rows, TWENTY)


def test_substitutes_come_after_the_asked_sku_and_only_when_allowed() -> None:
    rows = world(OLD=3, NEW=4, NEWER=50)
    rows.items["OLD"] = Item("OLD", "EA", superseded_by="NEW")
    rows.items["NEW"] = Item("NEW", "EA", superseded_by="NEWER")
    rows.receipts["OLD", "MAIN"] = [Receipt(q(2), at(9))]
    line = [("OLD", q(12), "")]
    assert shipments(promise_both(rows, line)[0]) == [("MAIN", 3, 0), ("MAIN", 2, 9)]
    allowed = PromisePolicy(allow_substitutes=True)
    [found] = promise_both(rows, line, policy=allowed)
    named = [(part.sku, part.quantity_micros // MICROS) for part in found.parts]
    assert named == [("OLD", 3), ("OLD", 2), ("NEW", 4), ("NEWER", 3)]
    [unseen] = promise_both(rows, line, policy=allowed, hidden_skus=frozenset({b"NEW"}))
    assert [part.sku for part in unseen.parts] == ["OLD", "OLD", "NEWER"]


def test_a_substitute_must_know_the_asked_unit() -> None:
    rows = world(OLD=0, NEW=100)
    rows.items["OLD"] = Item("OLD", "EA", superseded_by="NEW")
    rows.uoms["OLD", "BOX"] = Fraction(12)
    allowed = PromisePolicy(allow_substitutes=True)
    assert promise_both(rows, [("OLD", q(3), "BOX")], policy=allowed)[0].shortage_micros == q(3)
    rows.uoms["NEW", "BOX"] = Fraction(10)
    [found] = promise_both(rows, [("OLD", q(12), "BOX")], policy=allowed)
    assert (shipments(found), found.shortage_micros) == ([("MAIN", 10, 0)], q(2))


def test_branches_in_other_zones_pick_on_their_own_days() -> None:
    from datetime import UTC, datetime

    rows = world(X=5, branches=("AUCKLAND", "HONOLULU"))
    rows.branches["AUCKLAND"] = Branch("AUCKLAND", "Pacific/Auckland")
    rows.branches["HONOLULU"] = Branch("HONOLULU", "Pacific/Honolulu")
    noon = us(datetime(2026, 3, 2, 12, tzinfo=UTC))
    [found] = promise_both(rows, [("X", q(8), "")], as_of_us=noon)
    assert shipments(found) == [("HONOLULU", 5, 0), ("AUCKLAND", 3, 1)]  # Monday there, Tuesday here


# ---- reservations


@pytest.mark.parametrize(
    ("confirmed", "order_ref", "expires", "exclude", "available"),
    [
        (False, "", at(1), "", 70),
        (False, "", at(0), "", 100),  # expires at as_of: half-open
        (False, "", at(1), "R000000000000001", 100),  # the shopper's own
        (True, "O1", 2**62, "", 70),
    ],
)
def test_reservations_hold_stock(
    confirmed: bool, order_ref: str, expires: int, exclude: str, available: int
) -> None:
    rows = world(X=100)
    held = Reservation("R000000000000001", "X", "MAIN", q(30), order_ref, confirmed, expires_us=expires)
    rows.reservations["X", "MAIN"] = [held]
    [found] = check_both(rows, [("X", q(1), "")], exclude_reservation=exclude)
    assert found.available_micros == q(available)


def test_a_confirmed_reservation_and_its_demand_count_once() -> None:
    rows = world(X=100)
    rows.demands["X", "MAIN"] = [Demand(q(40), at(3), "O1")]
    rows.reservations["X", "MAIN"] = [
        Reservation("R000000000000001", "X", "MAIN", q(30), "O1", confirmed=True)
    ]
    [found] = check_both(rows, [("X", q(1), "")])
    assert [(s.balance_micros // MICROS) for s in found.projected] == [70, 60]


@pytest.mark.parametrize("holds_from", [0, 200])
def test_a_confirmed_reservation_left_out_nets_no_demand(holds_from: int) -> None:
    """Also one that holds from a day past the horizon only: its demand is within."""
    rows = world(X=100)
    rows.demands["X", "MAIN"] = [Demand(q(40), at(3), "O1")]
    rows.reservations["X", "MAIN"] = [
        Reservation(
            "R000000000000001", "X", "MAIN", q(30), "O1", confirmed=True, holds_from_us=at(holds_from)
        )
    ]
    [found] = check_both(rows, [("X", q(1), "")], exclude_reservation="R000000000000001")
    assert [(s.balance_micros // MICROS) for s in found.projected] == [100, 60]


def test_a_reservation_holds_from_its_day_on() -> None:
    rows = world(X=10)
    rows.receipts["X", "MAIN"] = [Receipt(q(10), at(4))]
    rows.reservations["X", "MAIN"] = [
        Reservation("R000000000000001", "X", "MAIN", q(10), holds_from_us=at(4))
    ]
    [found] = promise_both(rows, TWENTY)
    assert (shipments(found), found.shortage_micros) == ([("MAIN", 10, 0)], q(10))


@pytest.mark.parametrize("size", [*range(4), SORTED_BY_HAND_MAX, *range(SORTED_BY_HAND_MAX + 1, 60), 1_000])
def test_the_first_of_many_numbers_are_sorted(size: int) -> None:
    values = np.random.default_rng(size).integers(-size, size + 1, size + 2)  # some of them twice
    expected = [*sorted(values[:size].tolist()), *values[size:].tolist()]
    sort_up(values, size)
    assert values.tolist() == expected

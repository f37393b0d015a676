"""The worked examples of A1 to A7 and A11 as tables; every one is asked of the reference and of the engine."""

from fractions import Fraction

import pytest

from pricegrid.atp.model import (
    MICROS,
    PolicyError,
    PromisePolicy,
    SupplyPolicy,
)
from pricegrid.atp.rules.reference import lowest_ahead
from pricegrid.atp.rules.rows import Allocation, Branch, Calendar, Demand, Item, Lane, Receipt, Rows, Stock
from tests.atp_world import (
    TODAY,
    at,
    check_both,
    engine_of,
    line_columns,
    on,
    promise_both,
    q,
    shipments,
    us,
    world,
)

MAIN = ("X", "MAIN")
ONE = [("X", q(1), "")]


def units(steps: object, figure: str) -> list[tuple[int, int]]:
    """(days from today, whole units) of a step function."""
    return [(step.day - TODAY, getattr(step, figure) // MICROS) for step in steps]


# ---- A1, A2: balance and ATP


@pytest.mark.parametrize(
    ("changes", "available"),
    [
        ({1: -5, 2: +1, 3: -6}, 0),
        ({1: -5, 2: +7, 3: -10}, 2),
        ({}, 10),
        ({0: -4}, 6),
        ({0: +5}, 15),  # expected later today counts now
        ({1: +5}, 10),
        ({89: -3}, 7),
        ({90: -3}, 10),  # past the horizon
    ],
)
def test_atp_is_the_lowest_balance_to_the_horizon(changes: dict[int, int], available: int) -> None:
    rows = world(X=10)
    rows.receipts[MAIN] = [Receipt(q(n), at(day, 18)) for day, n in changes.items() if n > 0]
    rows.demands[MAIN] = [Demand(q(-n), at(day, 18)) for day, n in changes.items() if n < 0]
    [found] = check_both(rows, ONE)
    assert found.available_micros == q(available)


def test_supply_against_demand_gives_the_suffix_minimum() -> None:
    supply, demand = (6, 4, 2, 4, 8, 4, 4, 4), (6, 2, 3, 6, 6, 1, 2, 2)
    rows = world(X=0)
    rows.receipts[MAIN] = [Receipt(q(n), at(day)) for day, n in enumerate(supply)]
    rows.demands[MAIN] = [Demand(q(n), at(day)) for day, n in enumerate(demand)]
    [found] = check_both(rows, ONE)
    by_day = dict(units(found.projected, "atp_micros"))
    atp = [max((d, n) for d, n in by_day.items() if d <= day)[1] for day in range(8)]
    assert atp == [-1, -1, -1, -1, 1, 4, 6, 8]
    assert (found.available_micros, found.shortage_micros) == (0, q(1))


def test_two_branches_with_five_and_minus_three_sum_to_five() -> None:
    rows = world("X", branches=("EAST", "WEST"))
    rows.stock["X", "EAST"], rows.stock["X", "WEST"] = Stock(q(5), at(0)), Stock(q(-3), at(0))
    assert [found.atp_micros for found in check_both(rows, ONE)] == [q(5), q(-3)]
    [promised] = promise_both(rows, [("X", q(9), "")])
    assert (shipments(promised), promised.shortage_micros) == ([("EAST", 5, 0)], q(4))


def test_every_figure_of_the_balance_counts_once() -> None:
    rows = world("X")
    rows.stock[MAIN] = Stock(q(100), at(0), unavailable_micros=q(7))
    rows.allocations[MAIN] = [Allocation(q(20), at(0), "O1"), Allocation(q(3), at(0))]
    rows.safety_stock[MAIN] = q(10)
    rows.demands[MAIN] = [Demand(q(25), at(2), "O1"), Demand(q(5), at(3), "O2"), Demand(q(1), at(4))]
    [found] = check_both(rows, ONE)
    # 100 - 7 - 23 - 10 = 60, then the 5 of O1 that are not allocated yet, then 5, then 1
    assert units(found.projected, "balance_micros") == [(0, 60), (2, 55), (3, 50), (4, 49)]
    assert found.available_micros == q(49)


def test_an_allocation_beyond_its_demand_takes_no_other_demand_away() -> None:
    rows = world(X=50)
    rows.allocations[MAIN] = [Allocation(q(20), at(0), "O1")]
    rows.demands[MAIN] = [Demand(q(5), at(1), "O1"), Demand(q(8), at(2), "O2")]
    [found] = check_both(rows, ONE)
    assert found.available_micros == q(22)


def test_an_allocation_nets_the_demands_of_its_order_one_after_the_other() -> None:
    rows = world(X=50)
    rows.allocations[MAIN] = [Allocation(q(6), at(0), "O1")]
    rows.demands[MAIN] = [Demand(q(4), at(2), "O1"), Demand(q(5), at(1), "O1")]
    [found] = check_both(rows, ONE)
    assert units(found.projected, "balance_micros") == [(0, 44), (2, 41)]


@pytest.mark.parametrize(("look_ahead", "available"), [(None, 0), (0, 10), (1, 5), (3, 0)])
def test_other_modes_look_less_far_ahead(look_ahead: int | None, available: int) -> None:
    rows = world(X=10)
    rows.receipts[MAIN] = [Receipt(q(1), at(2))]
    rows.demands[MAIN] = [Demand(q(5), at(1)), Demand(q(6), at(3))]
    [found] = check_both(rows, ONE, supply=SupplyPolicy(look_ahead_days=look_ahead))
    assert found.available_micros == q(available)
    assert lowest_ahead([3, 1, 2], 0) == [3, 1, 2]


# ---- A3, A4: late and doubtful receipts


def late_world() -> Rows:
    rows = world(X=0)
    rows.receipts[MAIN] = [Receipt(q(200), at(-3)), Receipt(q(100), at(10))]
    rows.demands[MAIN] = [Demand(q(75), at(-2))]
    return rows


def test_a_late_receipt_counts_from_tomorrow_and_late_demand_goes_on_consuming() -> None:
    [found] = check_both(late_world(), ONE)
    assert units(found.projected, "atp_micros") == [(0, -75), (1, 125), (10, 225)]
    assert found.available_micros == 0
    [promised] = promise_both(late_world(), [("X", q(150), "")])
    assert shipments(promised) == [("MAIN", 125, 1), ("MAIN", 25, 10)]
    [complete] = promise_both(late_world(), [("X", q(150), "")], policy=PromisePolicy(ship_complete=True))
    assert shipments(complete) == [("MAIN", 150, 10)]


@pytest.mark.parametrize(
    ("days_late", "policy", "tomorrow", "dropped"),
    [
        (30, SupplyPolicy(), 10, 0),
        (31, SupplyPolicy(), 0, 1),
        (1, SupplyPolicy(past_due_max_days=0), 0, 1),
        (1, SupplyPolicy(past_due_offset_days=2), 0, 0),
        (1, SupplyPolicy(), 10, 0),
    ],
)
def test_receipts_too_late_are_dropped_and_reported(
    days_late: int, policy: SupplyPolicy, tomorrow: int, dropped: int
) -> None:
    rows = world(X=0)
    rows.receipts[MAIN] = [Receipt(q(10), at(-days_late))]
    [found] = check_both(rows, ONE, supply=policy)
    steps = dict(units(found.projected, "atp_micros"))
    assert (found.available_micros, steps.get(1, 0), found.dropped_receipts) == (
        0,
        q(tomorrow) // MICROS,
        dropped,
    )


def test_a_late_receipt_can_never_be_made_to_count_now() -> None:
    with pytest.raises(PolicyError, match="never counts"):
        SupplyPolicy(past_due_offset_days=0)


@pytest.mark.parametrize(("least", "available"), [("0", 16), ("0.5", 14), ("0.500001", 10), ("1", 10)])
def test_min_confidence_is_inclusive_and_blank_confidence_is_one(least: str, available: int) -> None:
    rows = world(X=5)
    confident = [(5, MICROS), (4, MICROS // 2), (2, 0)]
    rows.receipts[MAIN] = [Receipt(q(n), at(0), confidence) for n, confidence in confident]
    [found] = check_both(rows, ONE, supply=SupplyPolicy(min_confidence_micros=q(least)))
    assert found.available_micros == q(available)


# ---- A5: local days, cut-off, handling, calendars


@pytest.mark.parametrize(
    ("zone", "expected_at", "first_day"),
    [
        # Clocks go forward in Berlin on 2026-03-29 (23 hours) and back on 2026-10-25 (25 hours).
        ("Europe/Berlin", "2026-03-28T23:00Z", "2026-03-29"),
        ("Europe/Berlin", "2026-03-28T22:59Z", "2026-03-28"),
        ("Europe/Berlin", "2026-03-29T22:00Z", "2026-03-30"),
        ("Europe/Berlin", "2026-03-29T21:59Z", "2026-03-29"),
        ("Europe/Berlin", "2026-10-24T22:00Z", "2026-10-25"),
        ("Europe/Berlin", "2026-10-25T22:59Z", "2026-10-25"),
        ("Europe/Berlin", "2026-10-25T23:00Z", "2026-10-26"),
        # In Cairo midnight of 2026-04-24 does not exist: the day starts at 01:00 summer time.
        ("Africa/Cairo", "2026-04-23T22:00Z", "2026-04-24"),
        ("Africa/Cairo", "2026-04-23T21:59Z", "2026-04-23"),
        ("America/Los_Angeles", "2026-03-08T08:00Z", "2026-03-08"),
        ("America/Los_Angeles", "2026-03-09T07:00Z", "2026-03-09"),
        ("America/Los_Angeles", "2026-03-09T06:59Z", "2026-03-08"),
    ],
)
def test_a_receipt_at_local_midnight_belongs_to_the_day_that_starts(
    zone: str, expected_at: str, first_day: str
) -> None:
    from datetime import date, datetime

    rows = world(X=0)
    rows.branches["MAIN"] = Branch("MAIN", zone)
    rows.receipts[MAIN] = [Receipt(q(5), us(datetime.fromisoformat(expected_at)))]
    as_of = us(datetime.fromisoformat(expected_at)) - 3 * 86_400 * MICROS
    [found] = check_both(rows, ONE, as_of_us=as_of)
    [promised] = promise_both(rows, [("X", q(5), "")], as_of_us=as_of)
    epoch = date(1970, 1, 1).toordinal()
    assert found.projected[1].day + epoch == date.fromisoformat(first_day).toordinal()
    assert promised.parts[0].pick_day == found.projected[1].day


def test_each_branch_has_its_own_today() -> None:
    rows = world(X=0, branches=("AUCKLAND", "HONOLULU"))
    rows.branches["AUCKLAND"] = Branch("AUCKLAND", "Pacific/Auckland")
    rows.branches["HONOLULU"] = Branch("HONOLULU", "Pacific/Honolulu")
    for branch in rows.branches:
        rows.receipts["X", branch] = [Receipt(q(1), at(0, 10, 30))]
    # At noon UTC it is Tuesday in Auckland: the receipt of Monday 23:30 there is late. In Honolulu it is of today.
    shown = [units(found.projected, "atp_micros") for found in check_both(rows, ONE)]
    assert shown == [[(1, 0), (2, 1)], [(0, 1)]]


MONDAY_TO_FRIDAY = Calendar({}, {5: False, 6: False})


@pytest.mark.parametrize(
    ("as_of_us", "policy", "pick", "ship", "arrival"),
    [
        (at(0, 13, 59), PromisePolicy(), 0, 1, 3),
        (at(0, 14), PromisePolicy(), 1, 2, 4),  # at the cut-off: the next working day
        (at(4, 14), PromisePolicy(), 7, 8, 10),  # Friday after the cut-off: Monday
        (at(5, 9), PromisePolicy(), 7, 8, 10),  # Saturday morning: Monday
        (at(5, 15), PromisePolicy(), 7, 8, 10),  # Saturday evening: Monday, not Tuesday
        (at(0, 9), PromisePolicy(on=on(3)), 3, 4, 8),
        (at(0, 15), PromisePolicy(on=on(3)), 3, 4, 8),
        (at(0, 9), PromisePolicy(on=on(-3)), 0, 1, 3),
        (at(0, 9), PromisePolicy(need_by=on(3)), 0, 1, 3),
        (at(0, 9), PromisePolicy(on=on(2), need_by=on(4)), None, None, None),
        (at(0, 15), PromisePolicy(no_late=True), 1, 2, 4),  # the first pick day is never late
        (at(0, 9), PromisePolicy(late_until=on(0)), 0, 1, 3),
        (at(0, 15), PromisePolicy(late_until=on(0)), None, None, None),
    ],
)
def test_pick_ship_and_arrival_in_working_days(
    as_of_us: int, policy: PromisePolicy, pick: int | None, ship: int | None, arrival: int | None
) -> None:
    rows = world(X=10)
    rows.calendars["WEEK"] = MONDAY_TO_FRIDAY
    rows.branches["MAIN"] = Branch("MAIN", "UTC", 14 * 3600, 0, 1, "WEEK")
    rows.lanes = [Lane("MAIN", "NORTH", 2)]
    [found] = promise_both(rows, [("X", q(1), "")], as_of_us=as_of_us, policy=policy, ship_to=b"NORTH")
    days = [(p.pick_day - TODAY, p.ship_day - TODAY, p.arrival_day - TODAY) for p in found.parts]
    assert days == ([] if pick is None else [(pick, ship, arrival)])


def test_the_cut_off_does_not_move_availability() -> None:
    rows = world(X=10)
    rows.branches["MAIN"] = Branch("MAIN", "UTC", 8 * 3600)
    [found] = check_both(rows, ONE)
    assert units(found.projected, "atp_micros") == [(0, 10)]


@pytest.mark.parametrize(
    ("expected_day", "inbound", "usable"),
    [
        (0, 0, 0),
        (0, 1, 1),
        (4, 0, 4),
        (4, 1, 7),  # Friday plus one working day
        (5, 0, 5),  # arrives on a Saturday
        (5, 1, 7),
        (-1, 0, 1),
        (-1, 2, 3),  # handling is added after the late receipt got its new date
    ],
)
def test_inbound_handling_is_in_working_days(expected_day: int, inbound: int, usable: int) -> None:
    rows = world(X=0)
    rows.calendars["WEEK"] = MONDAY_TO_FRIDAY
    rows.branches["MAIN"] = Branch("MAIN", "UTC", None, inbound, 0, "WEEK")
    rows.receipts[MAIN] = [Receipt(q(5), at(expected_day))]
    [found] = check_both(rows, ONE)
    assert units(found.projected, "atp_micros")[-1] == (usable, 5)


def test_a_calendar_that_names_only_working_days_is_free_on_the_others() -> None:
    rows = world(X=1)
    rows.branches["MAIN"] = Branch("MAIN", calendar="C")
    for calendar, pick in [
        (Calendar({}, {2: True}), 2),
        (Calendar({}, {0: False}), 1),
        (Calendar({TODAY: False}), 1),
        (Calendar({TODAY: True}, dict.fromkeys(range(7), False)), 0),
    ]:
        rows.calendars["C"] = calendar
        assert shipments(promise_both(rows, ONE)[0]) == [("MAIN", 1, pick)]
    rows.calendars["C"] = Calendar({}, dict.fromkeys(range(7), False))
    assert promise_both(rows, ONE)[0].shortage_micros == q(1)


# ---- A6: kits and units


def test_a_thousand_bolts_at_four_a_kit_and_a_thousand_panels_make_250() -> None:
    rows = world("KIT", BOLT=1000, PANEL=1000)
    rows.kits["KIT"] = [("BOLT", Fraction(4)), ("PANEL", Fraction(1))]
    rows.stock["KIT", "MAIN"] = Stock(q(7), at(0))  # a kit's own stock is ignored
    [found] = check_both(rows, [("KIT", q(300), "")])
    assert (found.available_micros, found.shortage_micros) == (q(250), q(50))


def test_kits_in_kits_are_opened_and_equal_components_added() -> None:
    rows = world("SET", "PACK", BOLT=100, PANEL=100)
    rows.kits["PACK"] = [("BOLT", Fraction(4)), ("PANEL", Fraction(1))]
    rows.kits["SET"] = [("PACK", Fraction(2)), ("BOLT", Fraction(3))]
    assert check_both(rows, [("SET", q(1), "")])[0].available_micros == q(9)  # 11 bolts each
    rows.demands["SET", "MAIN"] = [Demand(q(5), at(3))]  # an order for kits takes components: 55 bolts
    assert check_both(rows, [("SET", q(1), "")])[0].available_micros == q(4)
    assert check_both(rows, [("BOLT", q(1), "")])[0].available_micros == q(45)


def test_a_kit_follows_its_components_through_time() -> None:
    rows = world("KIT", BOLT=10, PANEL=1)
    rows.kits["KIT"] = [("BOLT", Fraction(4)), ("PANEL", Fraction(1))]
    rows.receipts["PANEL", "MAIN"] = [Receipt(q(5), at(2))]
    rows.receipts["BOLT", "MAIN"] = [Receipt(q(30), at(4))]
    [found] = check_both(rows, [("KIT", q(1), "")])
    assert units(found.projected, "atp_micros") == [(0, 1), (2, 2), (4, 6)]


@pytest.mark.parametrize(
    ("on_hand", "uom", "factor", "asked", "available", "promised"),
    [
        ("30", "BOX", Fraction(12), "3", "2", "2"),
        ("30", "BOX", Fraction(12), "1.5", "2", "1"),
        ("2.5", "", None, "2.25", "2.5", "2.25"),
        ("2.5", "EA", None, "2", "2", "2"),
        ("1", "THIRD", Fraction(1, 3), "5", "3", "3"),
        ("0.999999", "THIRD", Fraction(1, 3), "5", "2", "2"),
        ("10", "ROLL", Fraction(5, 2), "9", "4", "4"),
    ],
)
def test_answers_are_whole_asked_units_converted_exactly(
    on_hand: str, uom: str, factor: Fraction | None, asked: str, available: str, promised: str
) -> None:
    rows = world("X")
    rows.stock[MAIN] = Stock(q(on_hand), at(0))
    if factor:
        rows.uoms["X", uom] = factor
    [found] = check_both(rows, [("X", q(asked), uom)])
    [parted] = promise_both(rows, [("X", q(asked), uom)])
    assert found.available_micros == q(available)
    assert sum(part.quantity_micros for part in parted.parts) == q(promised)


@pytest.mark.parametrize(
    ("multiple", "uom", "asked", "promised"),
    [
        ("6", "", "20", "18"),
        ("6", "", "5", "0"),
        ("6", "BOX", "2", "0"),
        ("6", "BOX", "9", "9"),
        ("0.5", "", "2.25", "2"),
    ],
)
def test_each_shipment_is_a_whole_order_multiple(multiple: str, uom: str, asked: str, promised: str) -> None:
    rows = world(X=100)
    rows.items["X"] = Item("X", "EA", q(multiple))
    rows.uoms["X", "BOX"] = Fraction(4)  # boxes of 4 in sixes: three boxes at a time
    [found] = promise_both(rows, [("X", q(asked), uom)])
    assert sum(part.quantity_micros for part in found.parts) == q(promised)
    assert check_both(rows, ONE)[0].available_micros == q(100)  # not rounded to it


def test_order_multiples_round_at_each_branch() -> None:
    rows = world("X", branches=("EAST", "WEST"))
    rows.items["X"] = Item("X", "EA", q(6))
    rows.stock["X", "EAST"], rows.stock["X", "WEST"] = Stock(q(10), at(0)), Stock(q(11), at(0))
    [found] = promise_both(rows, [("X", q(20), "")])
    assert (shipments(found), found.shortage_micros) == ([("EAST", 6, 0), ("WEST", 6, 0)], q(8))


# ---- explanations


def test_the_explanation_adds_up() -> None:
    rows = late_world()
    rows.receipts[MAIN].append(Receipt(q(9), at(-40), reference="PO1"))
    from pricegrid.atp.model import CheckAsk

    told = engine_of(rows).explain(CheckAsk(at(0), **line_columns(ONE)), 0, b"MAIN")
    [component] = told["components"]
    assert [(r["quantity"], r["usable_on"], r["why"]) for r in component["receipts"]] == [
        ("9", None, "left out: too many days late"),
        ("200", "2026-03-03", "counted"),
        ("100", "2026-03-12", "counted"),
    ]
    assert (told["atp"], component["lowest_balance"], component["lowest_on"]) == ("-75", "-75", "2026-03-02")

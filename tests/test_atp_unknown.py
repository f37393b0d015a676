"""What is unknown, how old the rest is (A11), and what a line's own faults are: as tables."""

from fractions import Fraction

import pytest

from pricegrid.atp.model import (
    MICROS,
    AvailabilityStatus,
    Freshness,
    PolicyError,
    PromiseAsk,
    Source,
)
from pricegrid.atp.rules.rows import Allocation, Feed, Receipt, Stock
from tests.atp_world import (
    TODAY,
    at,
    check_both,
    complete_feed,
    line_columns,
    promise_both,
    q,
    shipments,
    world,
)

MAIN = ("X", "MAIN")
ONE = [("X", q(1), "")]


def units(steps: object, figure: str) -> list[tuple[int, int]]:
    """(days from today, whole units) of a step function."""
    return [(step.day - TODAY, getattr(step, figure) // MICROS) for step in steps]


# ---- A11: what is unknown, and how old the rest is


def test_unknown_is_never_zero() -> None:
    rows = world("X", "Y", "KIT")
    rows.kits["KIT"] = [("X", Fraction(1)), ("Y", Fraction(1))]
    rows.stock["Y", "MAIN"] = Stock(q(5), at(0))
    rows.receipts[MAIN] = [Receipt(q(50), at(0))]
    for line in ("X", "KIT"):
        [found] = check_both(rows, [(line, q(1), "")])
        assert (found.status, found.available_micros) == (AvailabilityStatus.UNKNOWN_STOCK, None)
        [promised] = promise_both(rows, [(line, q(1), "")])
        assert (promised.status, promised.parts) == (AvailabilityStatus.UNKNOWN_STOCK, ())
    rows.feeds["MAIN", Source.ERP] = Feed(at(0), complete=False)
    assert check_both(rows, ONE)[0].status is AvailabilityStatus.UNKNOWN_STOCK
    complete_feed(rows, "MAIN")
    assert check_both(rows, ONE)[0].available_micros == q(50)


@pytest.mark.parametrize(
    ("minutes_old", "stale_after", "expected"),
    [
        (1439, 1440, Freshness.FRESH),
        (1440, 1440, Freshness.STALE),
        (59, 60, Freshness.FRESH),
        (60, 60, Freshness.STALE),
    ],
)
def test_a_source_turns_stale(minutes_old: int, stale_after: int, expected: Freshness) -> None:
    rows = world("X")
    then = at(0) - minutes_old * 60 * MICROS
    for source in Source:
        rows.feeds["MAIN", source] = Feed(then, complete=True, stale_after_min=stale_after)
    [found] = check_both(rows, ONE)
    assert (found.freshness, found.source_as_of_us) == ((expected,) * 3, (then,) * 3)


def test_a_promise_says_the_worst_and_oldest_of_all_it_could_come_from() -> None:
    rows = world("KIT", branches=("EAST", "WEST"), X=5, Y=5)
    rows.kits["KIT"] = [("X", Fraction(1)), ("Y", Fraction(1))]
    for branch in ("EAST", "WEST"):
        complete_feed(rows, branch, Source.TRANSIT)
    rows.stock["Y", "WEST"] = Stock(q(9), at(-3))
    rows.receipts["Y", "WEST"] = [Receipt(q(1), at(-40)), Receipt(q(1), at(-50))]
    rows.receipts["X", "EAST"] = [Receipt(q(1), at(-31))]
    kit, x, none = promise_both(rows, [("KIT", q(1), ""), ("X", q(1), ""), ("NONE", q(1), "")])
    fresh, stale, unknown = Freshness.FRESH, Freshness.STALE, Freshness.UNKNOWN
    assert shipments(kit) == [("EAST", 1, 0)]  # from fresh figures, but it could have come from stale ones
    assert (kit.freshness, kit.source_as_of_us[0], kit.dropped_receipts) == (
        (stale, unknown, fresh),
        at(-3),
        3,
    )
    assert (x.freshness, x.source_as_of_us[0], x.dropped_receipts) == ((fresh, unknown, fresh), at(0), 1)
    assert (none.freshness, none.dropped_receipts) == ((unknown,) * 3, 0)


def test_without_a_feed_only_rows_say_how_old_they_are() -> None:
    rows = world(X=1)
    assert check_both(rows, ONE)[0].freshness == (Freshness.FRESH, Freshness.UNKNOWN, Freshness.UNKNOWN)
    rows.stock[MAIN] = Stock(q(1), at(-2))
    rows.allocations[MAIN] = [Allocation(0, at(0))]
    assert check_both(rows, ONE)[0].freshness == (Freshness.STALE, Freshness.FRESH, Freshness.UNKNOWN)


@pytest.mark.parametrize(
    ("line", "branch", "status"),
    [
        (("X", 0, "NOPE"), b"NOWHERE", AvailabilityStatus.INVALID_QUANTITY),
        (("X", -5, ""), b"MAIN", AvailabilityStatus.INVALID_QUANTITY),
        (("NOPE", q(1), "NOPE"), b"NOWHERE", AvailabilityStatus.UNKNOWN_ITEM),
        (("HIDDEN", q(1), "NOPE"), b"NOWHERE", AvailabilityStatus.NOT_ENTITLED),
        (("X", q(1), "NOPE"), b"NOWHERE", AvailabilityStatus.UNKNOWN_UOM),
        (("X", q(1), ""), b"NOWHERE", AvailabilityStatus.UNKNOWN_BRANCH),
        (("X", q(1), ""), b"MAIN", AvailabilityStatus.UNKNOWN_STOCK),
        (("BIG", q(1), ""), b"MAIN", AvailabilityStatus.OUT_OF_RANGE),
    ],
)
def test_a_bad_line_says_why_and_spoils_no_other(
    line: tuple[str, int, str], branch: bytes, status: AvailabilityStatus
) -> None:
    rows = world("X", "HIDDEN", "BIG", GOOD=5)
    rows.stock["BIG", "MAIN"] = Stock(2**63 - 1, at(0))
    rows.receipts["BIG", "MAIN"] = [Receipt(1, at(1))]
    lines = [line, ("GOOD", q(5), "")]
    asked = {"branches": (branch,), "hidden_skus": frozenset({b"HIDDEN"}), "service_desk": True}
    bad, good = check_both(rows, lines, **asked)
    assert bad.status is status
    assert good.available_micros == (None if branch == b"NOWHERE" else q(5))
    bad_promise, good_promise = promise_both(rows, lines, **asked)
    assert (bad_promise.status, len(bad_promise.parts)) == (status, 0)
    assert len(good_promise.parts) == (branch == b"MAIN")
    asked["service_desk"] = False
    if status is AvailabilityStatus.NOT_ENTITLED:
        assert check_both(rows, lines, **asked)[0].status is AvailabilityStatus.UNKNOWN_ITEM


@pytest.mark.parametrize(
    ("on_hand", "factor", "asked", "status", "promised"),
    [
        # 9,223,372 whole units of 10^6 fit, and so does what is asked: it is just too much
        (2**63 - 1, Fraction(10**6), q(9_223_373), AvailabilityStatus.OK, 9_223_372),
        (2**63 - 1, Fraction(10**6), 2**63 - 1, AvailabilityStatus.OK, 9_223_372),
        (q(5), Fraction(10**12), 2**63 - 1, AvailabilityStatus.OK, 0),
        (q(10**7), Fraction(10**6), q(20), AvailabilityStatus.OK, 10),
    ],
)
def test_a_great_unit_is_out_of_range_only_where_a_figure_does_not_fit(
    on_hand: int, factor: Fraction, asked: int, status: AvailabilityStatus, promised: int
) -> None:
    rows = world("X")
    rows.stock[MAIN] = Stock(on_hand, at(0))
    rows.uoms["X", "LOT"] = factor
    [found] = check_both(rows, [("X", asked, "LOT")])
    [line] = promise_both(rows, [("X", asked, "LOT")])
    assert (found.status, line.status) == (status, status)
    assert sum(part.quantity_micros for part in line.parts) == q(promised)
    assert (found.available_micros, found.shortage_micros) == (q(promised), line.shortage_micros)


def test_branches_and_a_ship_to_exclude_each_other() -> None:
    with pytest.raises(PolicyError, match="not both"):
        PromiseAsk(at(0), **line_columns(ONE), branches=(b"MAIN",), ship_to=b"Z")

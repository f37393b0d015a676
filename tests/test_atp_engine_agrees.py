"""The compiled engine answers exactly what the plain reference answers, over random worlds and questions.

Ordinary runs are short. `PRICEGRID_HYPOTHESIS_PROFILE=long` asks more than 50,000 questions and says how many
lines of promises the kernels answered.
"""

import sys
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pricegrid.atp.engine import AvailabilityEngine
from pricegrid.atp.model import (
    INT64_MAX,
    MICROS,
    CheckAsk,
    PromiseAsk,
    PromisePolicy,
    Reservation,
    Source,
    SupplyPolicy,
)
from pricegrid.atp.rules.rows import (
    Allocation,
    Branch,
    Calendar,
    Demand,
    Feed,
    Item,
    Lane,
    Receipt,
    Rows,
    Stock,
)
from tests.atp_world import (
    TODAY,
    at,
    engine_of,
    line_columns,
    line_promises,
    on,
    pair_answers,
    reference_check,
    reference_promise,
)
from tests.profiles import FAST, LONG, examples

QUESTIONS = 10 if LONG else 5
WORLDS = examples(60, long=5_250)
LINES_ANSWERED: Counter[str] = Counter()
SKUS = ["A", "B", "C", "KIT", "NEST"]
BRANCHES = ["EAST", "MAIN", "WEST"]
ZONES = ["UTC", "Europe/Berlin", "America/Los_Angeles", "Pacific/Auckland", "Africa/Cairo"]


def one_in(chances: int) -> st.SearchStrategy[bool]:
    """True once in so many draws; Hypothesis leans to small integers, not to the first of a list."""
    return st.sampled_from([False] * (chances - 1) + [True])


def up_to(units: int) -> st.SearchStrategy[int]:
    """Micros of whole numbers, more rarely of fine ones."""
    whole = st.sampled_from(range(units + 1)).map(lambda count: count * MICROS)
    return st.one_of(whole, whole, whole, st.sampled_from(range(0, units * MICROS + 1, 333_333)))


HUGE = st.sampled_from([2**62, 2**63 - 1])
DAYS = st.one_of(st.sampled_from(range(-40, 101)), st.sampled_from(range(-3, 9)))


@st.composite
def instants(draw: st.DrawFn) -> int:
    """Around the worked examples' Monday: any minute, often exactly on the hour."""
    hour = draw(st.sampled_from(range(24)))
    return at(draw(DAYS), hour, draw(st.sampled_from([0, 0, 0, 59])))


@st.composite
def worlds(draw: st.DrawFn) -> Rows:
    rows = Rows()
    rare = (
        draw(one_in(4)),
        draw(one_in(4)),
    )  # whether there are reservations, and figures near the end of int64
    multiples = st.sampled_from([None, None, None, 6 * MICROS, MICROS // 2])
    for sku in SKUS:
        rows.items[sku] = Item(
            sku, "EA", draw(multiples), draw(st.sampled_from([None, None, "A", "C", "KIT"]))
        )
        if not draw(one_in(4)):
            rows.uoms[sku, "BOX"] = draw(
                st.sampled_from([Fraction(12), Fraction(5, 2), Fraction(1, 3), Fraction(4)])
            )
    needs = st.sampled_from([Fraction(1), Fraction(4), Fraction(1, 4), Fraction(3, 2)])
    rows.kits["KIT"] = [("A", draw(needs)), ("B", draw(needs))]
    rows.kits["NEST"] = [("KIT", draw(needs)), ("A", draw(needs))][: draw(st.integers(1, 2))]
    rows.calendars["WEEK"] = Calendar({TODAY + draw(DAYS): draw(st.booleans())}, {5: False, 6: False})
    rows.calendars["FEW"] = Calendar({}, {draw(st.integers(0, 6)): True, 2: True})
    rows.calendars["NEVER"] = Calendar({}, dict.fromkeys(range(7), False))
    for branch in BRANCHES[: draw(st.integers(1, 3))]:
        rows.branches[branch] = Branch(
            branch,
            draw(st.sampled_from(ZONES)),
            draw(st.sampled_from([None, None, 12 * 3600, 14 * 3600 + 1800])),
            draw(st.sampled_from([0, 0, 1, 2])),
            draw(st.sampled_from([0, 0, 1, 3])),
            draw(st.sampled_from([None, None, None, "WEEK", "WEEK", "WEEK", "FEW", "FEW", "NEVER"])),
        )
        for source in Source:
            if not draw(one_in(4)):
                stale = draw(st.sampled_from([1440, 60]))
                rows.feeds[branch, source] = Feed(draw(instants()), not draw(one_in(3)), stale)
        for sku in SKUS:
            _fill_pair(draw, rows, sku, branch, *rare)
        for _ in range(draw(st.sampled_from([0, 1, 1, 2]))):
            rank = draw(st.sampled_from([None, 1, 2]))
            rows.lanes.append(Lane(branch, "ZONE", draw(st.integers(0, 3)), rank))
    return rows


def _fill_pair(draw: st.DrawFn, rows: Rows, sku: str, branch: str, held: bool, huge: bool) -> None:
    pair = (sku, branch)
    if not draw(one_in(8)):
        on_hand = (
            draw(HUGE)
            if huge and draw(one_in(12))
            else draw(up_to(60)) * draw(st.sampled_from([1] * 9 + [-1]))
        )
        unavailable = draw(HUGE) if huge and draw(one_in(12)) else draw(st.sampled_from([0, 0, 0, MICROS]))
        rows.stock[pair] = Stock(on_hand, draw(instants()), unavailable)
    if draw(one_in(4)):
        rows.safety_stock[pair] = draw(up_to(4))
    orders = st.sampled_from([None, "O1", "O2"])
    if draw(one_in(3)):
        rows.allocations[pair] = [
            Allocation(draw(up_to(8)), draw(instants()), draw(orders)) for _ in range(draw(st.integers(1, 2)))
        ]
    receipts = draw(st.sampled_from(range(5)))
    confidence = st.sampled_from([MICROS, MICROS, MICROS, 0, MICROS // 2])
    rows.receipts[pair] = [
        Receipt(
            draw(HUGE) if huge and draw(one_in(15)) else draw(up_to(30)), draw(instants()), draw(confidence)
        )
        for _ in range(receipts)
    ]
    rows.demands[pair] = [
        Demand(draw(up_to(12)), draw(instants()), draw(orders))
        for _ in range(draw(st.sampled_from(range(4))))
    ]
    if held and draw(one_in(4)):
        confirmed = draw(st.booleans())
        expires = INT64_MAX if confirmed else draw(st.sampled_from([at(0), 2**62, 2**62]))
        reservation = Reservation(
            "R000000000000001", sku, branch, draw(up_to(9)), "O1", confirmed, draw(instants()), expires
        )
        rows.reservations[pair] = [reservation]


SUPPLIES = st.builds(
    SupplyPolicy,
    horizon_days=st.sampled_from([90, 90, 1, 7]),
    past_due_offset_days=st.sampled_from([1, 1, 2, 95]),
    past_due_max_days=st.sampled_from([30, 30, 0, 3]),
    min_confidence_micros=st.sampled_from([0, 0, MICROS // 2, MICROS]),
)
DATES = st.one_of(*[st.none()] * 5, st.sampled_from(range(-2, 60)).map(on))
POLICIES = st.one_of(
    st.builds(PromisePolicy, on=DATES, need_by=DATES, late_until=DATES, no_late=one_in(5)),
    st.builds(
        PromisePolicy,
        on=DATES,
        need_by=DATES,
        late_until=DATES,
        no_late=one_in(5),
        ship_complete=one_in(3),
        no_split=one_in(3),
        minimum_shipment_micros=st.sampled_from([0, 0, 5 * MICROS, MICROS // 2]),
        allow_substitutes=st.booleans(),
    ),
)
SIZES = st.one_of(
    *[up_to(40).map(lambda micros: micros or 7 * MICROS)] * 12,
    st.sampled_from([0, -1, 1, 2_500_000, 2**63 - 1]),
)
UOMS = st.sampled_from(["", "", "", "", "", "EA", "BOX", "BOX", "CASE"])
LINES = st.lists(st.tuples(st.sampled_from([*SKUS * 4, "NONE"]), SIZES, UOMS), min_size=1, max_size=5)
HIDDEN = st.sampled_from([frozenset()] * 8 + [frozenset({b"A"}), frozenset({b"C"})])


@st.composite
def questions(draw: st.DrawFn) -> CheckAsk | PromiseAsk:
    named = draw(
        st.sampled_from([(), (), (), (), (b"EAST",), (b"MAIN", b"EAST"), (b"EAST", b"WEST", b"EAST")])
    )
    common = {
        "as_of_us": at(
            draw(st.integers(-1, 1)), draw(st.sampled_from(range(24))), draw(st.sampled_from([0, 30]))
        ),
        "supply": draw(SUPPLIES),
        "exclude_reservation": draw(st.sampled_from(["", "", "R000000000000001"])),
        "hidden_skus": draw(HIDDEN),
        "service_desk": draw(st.booleans()),
        **line_columns(draw(LINES)),
    }
    if draw(st.booleans()):
        return CheckAsk(**common, branches=named, projected=draw(st.booleans()))
    ship_to = b"ZONE" if not named and draw(st.booleans()) else b""
    return PromiseAsk(**common, branches=named, ship_to=ship_to, policy=draw(POLICIES))


@settings(max_examples=WORLDS, deadline=None, suppress_health_check=list(HealthCheck), derandomize=not LONG)
@given(worlds(), st.lists(questions(), min_size=QUESTIONS, max_size=QUESTIONS))
def ask_both(rows: Rows, asks: list[CheckAsk | PromiseAsk]) -> None:
    engine = engine_of(rows)
    for ask in asks:
        if isinstance(ask, PromiseAsk):
            before = LINES_ANSWERED["reference"]
            assert line_promises(engine, ask) == reference_promise(rows, ask)
            LINES_ANSWERED["kernels"] += len(ask.skus) - (LINES_ANSWERED["reference"] - before)
            continue
        answers = engine.check(ask)
        expected = reference_check(rows, ask)
        shown = pair_answers(engine, answers)
        clamped = [answer.available_micros or 0 for answer in expected]
        if not ask.projected:
            shown = [_without_steps(answer) for answer in shown]
            expected = [_without_steps(answer) for answer in expected]
        assert shown == expected
        sums = np.array(clamped, dtype=object).reshape(len(ask.skus), -1).sum(axis=1)
        assert answers.total_available_micros.tolist() == [min(total, 2**63 - 1) for total in sums]


def test_the_engine_answers_what_the_reference_answers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def counted(engine: AvailabilityEngine, ask: PromiseAsk, again: object, *others: object) -> object:
        LINES_ANSWERED["reference"] += len(again)
        return promise_again(engine, ask, again, *others)

    promise_again = AvailabilityEngine._promise_again
    monkeypatch.setattr(AvailabilityEngine, "_promise_again", counted)
    ask_both()
    with capsys.disabled():
        sys.stderr.write(f"lines promised: {dict(LINES_ANSWERED)}\n" if LONG else "")
    assert LINES_ANSWERED["kernels"] > 3 * LINES_ANSWERED["reference"]
    assert LINES_ANSWERED["reference"] > 0 or FAST  # so few worlds need not have one


def _without_steps(answer: object) -> tuple[object, ...]:
    names = ("status", "atp_micros", "available_micros", "shortage_micros", "dropped_receipts")
    return tuple(getattr(answer, name) for name in (*names, "freshness", "source_as_of_us"))

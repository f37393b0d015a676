"""Three promises about promises, by themselves: no reference to compare with, only what must always hold (A1, A2)."""

from dataclasses import replace
from fractions import Fraction

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pricegrid.atp.model import MICROS, CheckAsk, PromiseAsk, PromisePolicy
from pricegrid.atp.rules.reference import Moment, pair_days
from pricegrid.atp.rules.rows import Allocation, Branch, Demand, Receipt, Rows, Stock
from tests.atp_world import TODAY, at, engine_of, line_columns, line_promises, q, world
from tests.profiles import LONG, examples

BRANCHES = ("EAST", "WEST")
SKUS = ("X", "Y", "KIT")
FEW = st.sampled_from(range(13)).map(lambda units: units * MICROS)
DAYS = st.sampled_from(range(-5, 15))
SETTINGS = settings(
    max_examples=examples(40, long=5_000),
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=not LONG,
)


@st.composite
def worlds(draw: st.DrawFn) -> Rows:
    """Two branches, two items and a kit of both; supply and demand around today, some of it late."""
    rows = world(*SKUS, branches=BRANCHES)
    rows.kits["KIT"] = [("X", Fraction(2)), ("Y", Fraction(1))]
    for branch in BRANCHES:
        rows.branches[branch] = Branch(branch, inbound_handling_days=draw(st.sampled_from([0, 0, 1])))
        for sku in ("X", "Y"):
            rows.stock[sku, branch] = Stock(draw(FEW) * 2 - 4 * MICROS, at(0))
            rows.receipts[sku, branch] = [
                Receipt(draw(FEW), at(draw(DAYS))) for _ in range(draw(st.integers(0, 3)))
            ]
            orders = st.sampled_from([None, "O1"])
            rows.demands[sku, branch] = [
                Demand(draw(FEW), at(draw(DAYS)), draw(orders)) for _ in range(draw(st.integers(0, 3)))
            ]
            rows.allocations[sku, branch] = [Allocation(draw(FEW) // 4, at(0), draw(orders))]
    return rows


POLICIES = st.builds(
    PromisePolicy,
    ship_complete=st.sampled_from([False, False, True]),
    no_split=st.sampled_from([False, False, True]),
    minimum_shipment_micros=st.sampled_from([0, 0, q(3)]),
)
LINES = st.lists(
    st.tuples(st.sampled_from(SKUS), FEW.map(lambda micros: micros + MICROS), st.just("")),
    min_size=1,
    max_size=5,
)


@SETTINGS
@given(worlds(), st.sampled_from(("X", "Y")), st.sampled_from(BRANCHES), FEW, DAYS)
def test_atp_never_increases_when_demand_is_added(
    rows: Rows, sku: str, branch: str, micros: int, day: int
) -> None:
    ask = CheckAsk(at(0), **line_columns([(name, q(1), "") for name in SKUS]))
    before = engine_of(rows).check(ask).atp_micros
    rows.demands[sku, branch].append(Demand(micros, at(day)))
    after = engine_of(rows).check(ask).atp_micros
    assert (after <= before).all()


def balances_after(
    rows: Rows, taken: dict[tuple[str, str], list[tuple[int, int]]]
) -> list[tuple[list[int], list[int]]]:
    """(balance before, balance after) by day of every base pair."""
    found = []
    for branch in BRANCHES:
        for sku in ("X", "Y"):
            days = pair_days(rows, sku, branch, Moment(at(0)))
            assert days is not None
            gone = [
                sum(micros for day, micros in taken.get((sku, branch), []) if day <= TODAY + offset)
                for offset in range(len(days.balance_micros))
            ]
            after = [balance - used for balance, used in zip(days.balance_micros, gone, strict=True)]
            found.append((days.balance_micros, after))
    return found


def promised(
    rows: Rows, lines: list[tuple[str, int, str]], policy: PromisePolicy
) -> dict[tuple[str, str], list[tuple[int, int]]]:
    """What the engine's promises take of each base pair, day by day."""
    ask = PromiseAsk(at(0), **line_columns(lines), policy=policy)
    taken: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for line in line_promises(engine_of(rows), ask):
        assert (
            line.shortage_micros
            == line.requested_micros - sum(part.quantity_micros for part in line.parts)
            >= 0
        )
        for part in line.parts:
            assert part.quantity_micros > 0
            for component, need in rows.components(part.sku).items():
                taken.setdefault((component, part.branch), []).append(
                    (part.pick_day, int(part.quantity_micros * need))
                )
    return taken


@SETTINGS
@given(worlds(), LINES, POLICIES)
def test_promising_never_makes_an_earlier_commitment_late(
    rows: Rows, lines: list[tuple[str, int, str]], policy: PromisePolicy
) -> None:
    for before, after in balances_after(rows, promised(rows, lines, policy)):
        # a day that could be served before still can; a day that could not is not made worse
        assert all(now >= min(0, was) for was, now in zip(before, after, strict=True))


@SETTINGS
@given(worlds(), LINES, POLICIES)
def test_the_sum_promised_never_exceeds_supply_at_any_time(
    rows: Rows, lines: list[tuple[str, int, str]], policy: PromisePolicy
) -> None:
    taken = promised(rows, lines, policy)
    bare = replace(rows, demands={}, allocations={})
    for before, after in balances_after(bare, taken):
        used = [was - now for was, now in zip(before, after, strict=True)]
        assert all(out <= max(0, was) for was, out in zip(before, used, strict=True))

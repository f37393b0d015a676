"""`quote_lines` says of plain lines what `engine.check` and `engine.promise` say, over the random worlds of their test.

Those two are held to the plain reference in `test_atp_engine_agrees`.
"""

from collections import Counter
from fractions import Fraction

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pricegrid.atp.arrays.quote_window import quote_window
from pricegrid.atp.engine import AvailabilityEngine
from pricegrid.atp.kernels.quote import (
    ASKED_SIZE,
    FREE_AS_OF,
    FREE_DAY,
    FREE_FRESH,
    FREE_SHORTAGE,
    FREE_SIZE,
    FREE_STATUS,
    quote_lines,
)
from pricegrid.atp.model import AvailabilityStatus, CheckAsk
from pricegrid.atp.rules.rows import Rows
from pricegrid.columnar.tables import describe
from pricegrid.service.methods.branch_totals import branch_totals
from pricegrid.service.methods.quotes import promise_days
from tests.atp_world import at, engine_of, line_columns, world
from tests.profiles import examples
from tests.test_atp_engine_agrees import LONG, SIZES, SKUS, UOMS, worlds

PLAIN: Counter[bool] = Counter()
LINES = st.lists(
    st.tuples(st.sampled_from([*SKUS[:3] * 4, "KIT", "NONE"]), SIZES, UOMS), min_size=1, max_size=4
)
QUESTIONS = st.tuples(
    st.tuples(st.integers(-1, 1), st.sampled_from(range(24)), st.sampled_from([0, 30])),
    st.sampled_from([("EAST",), ("MAIN", "EAST"), ("EAST", "WEST", "MAIN"), ("WEST",)]),
    st.one_of(LINES, LINES.map(lambda lines: list({line[0]: line for line in lines}.values()))),
)


def plainly(engine: AvailabilityEngine, ask: CheckAsk) -> np.ndarray | None:
    """The columns of `free`; None: the lines are not plain."""
    lines = engine.resolve(ask)
    asked = np.empty((len(ask.skus), ASKED_SIZE), np.int64)
    for column, values in enumerate(
        (lines.item, ask.quantities_micros, lines.numerator, lines.denominator, lines.is_unit_asked)
    ):
        asked[:, column] = values
    free = np.zeros((len(ask.skus), FREE_SIZE), np.int64)
    free[:, FREE_STATUS] = lines.status
    tables = engine.positions.tables
    window = quote_window(engine.windows, tuple(ask.branches), engine.branches(ask.branches), ask.as_of_us)
    is_plain = quote_lines(describe(tables), window.window, ask.as_of_us, asked, free, True)
    return free if is_plain else None


@settings(
    max_examples=examples(80, long=2_000),
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=not LONG,
)
@given(worlds(), st.lists(QUESTIONS, min_size=5, max_size=5))
def ask_both(rows: Rows, questions: list) -> None:
    engine = engine_of(rows)
    for moment, named, lines in questions:
        branches = [name.encode() for name in named if name in rows.branches]
        if not branches:
            continue
        question = {"as_of_us": at(*moment), "branches": branches, **line_columns(lines)}
        free = plainly(engine, CheckAsk(**question))
        PLAIN[free is not None] += 1
        if free is None:
            continue
        check = CheckAsk(**question)
        totals = branch_totals(engine.check(check), question["quantities_micros"])
        days = promise_days(engine, check, engine.resolve(check))
        shown = np.column_stack([
            totals.status, totals.available_micros, totals.shortage_micros, days,
            totals.freshness, totals.source_as_of_us,
        ])  # fmt: skip
        assert free.tolist() == shown.tolist()


def test_plain_lines_are_quoted_as_the_engine_answers_them() -> None:
    ask_both()
    assert PLAIN[True] > PLAIN[False] > 0


def test_what_is_not_plain_is_left_to_the_engine() -> None:
    rows = world("A", "B", "KIT")
    rows.kits["KIT"] = [("A", Fraction(2))]
    engine = engine_of(rows)
    for lines in ([("A", 1, ""), ("A", 1, "")], [("KIT", 1, "")]):
        assert plainly(engine, CheckAsk(at(0), branches=[b"MAIN"], **line_columns(lines))) is None
    one = plainly(engine, CheckAsk(at(0), branches=[b"MAIN"], **line_columns([("A", 1, "")])))
    assert one is not None
    assert one[0, [FREE_STATUS, FREE_SHORTAGE, FREE_DAY]].tolist() == [
        AvailabilityStatus.UNKNOWN_STOCK, 0, -1
    ]  # fmt: skip
    assert one[0, FREE_FRESH:FREE_AS_OF].tolist() == [2, 2, 2]

"""Live availability against the independent model: random worlds, step by step, everything compared after each.

`PRICEGRID_LONG_TESTS=1` runs 300 worlds of 60 steps, in this process and on a running server with a clock of its own,
whose processes are then forked (`tests.forked_server`); in the short form they are started as users start them.
A failure prints the seed and the number of the world, and the least that shows it.
"""

import itertools
import os
from datetime import timedelta
from fractions import Fraction

import pytest

from pricegrid import UnavailableError
from tests import profiles
from tests.model_availability import Model
from tests.model_run import first_difference, shrunk, told
from tests.model_served import Served
from tests.model_steps import (
    START,
    Confirm,
    LoadAgain,
    Publish,
    Release,
    Reserve,
    Restart,
    Script,
    Step,
    Wait,
    make_script,
)
from tests.model_targets import InProcess, features
from tests.model_world import Ask, Asked, Told

LONG = os.environ.get("PRICEGRID_LONG_TESTS") == "1" or profiles.LONG
SEED = 20_260_302
BEGUN_AGAIN = 2
WORLDS, SERVED_WORLDS, STEPS = (300, 300, 60) if LONG else (profiles.examples(10), 1, 60)


@pytest.fixture
def in_process(tmp_path):
    numbers = itertools.count()

    def make(script, now):
        directory = tmp_path / str(next(numbers))
        directory.mkdir()
        return InProcess(directory, script.tables, now)

    return make


@pytest.fixture
def served(tmp_path):
    numbers = itertools.count()

    def make(script, now):
        directory = tmp_path / str(next(numbers))
        directory.mkdir()
        return Served(directory, script.tables, now, is_forked=LONG)

    return make


def must_agree(make, world: int) -> None:
    script = make_script(SEED, world, STEPS, features())
    for attempt in range(BEGUN_AGAIN + 1):
        try:
            found = first_difference(script, make)
            break
        except (
            UnavailableError
        ):  # the writer had no turn for so long that it was replaced: whatever it did not answer
            if attempt == BEGUN_AGAIN:  # may have been carried out, so the world begins again
                raise
    if found is not None:
        smaller, difference = shrunk(script, make, found)
        pytest.fail(f"seed {SEED}, world {world}: {found}\n{difference}\n{told(smaller)}", pytrace=False)


@pytest.mark.parametrize("world", range(WORLDS))
def test_live_state_is_as_the_design_says(in_process, world):
    must_agree(in_process, world)


@pytest.mark.slow
@pytest.mark.parametrize("world", range(SERVED_WORLDS))
def test_a_running_server_is_as_the_design_says(served, world):
    must_agree(served, world)


# ---- a confirmed reservation survives loads and restarts

FEEDS = [
    {"branch": "B1", "source": source, "as_of": "2026-03-02T06:00:00Z", "complete": "true"}
    for source in ("erp", "wms", "transit")
]
TABLES = {
    "items": [{"sku": "X", "base_uom": "EA"}],
    "branches": [{"branch": "B1"}],
    "feeds": FEEDS,
    "stock": [{"sku": "X", "branch": "B1", "on_hand": "100", "as_of": "2026-03-02T06:00:00Z"}],
    **{name: [] for name in ("allocations", "demands", "receipts", "safety_stock")},
}


def allocated(sequence: int, quantity: int, minute: int, kind: str = "set", line: str = "", **more) -> Told:
    moment = START + timedelta(minutes=minute)
    return Told(
        "wms", sequence, moment, "allocated", kind, "X", "B1", Fraction(quantity), None, "SO1", line, **more
    )


def ask(quantity: int, key: str = "r", order_ref: str = "", ttl_s: int = 3_600, **more) -> Ask:
    return Ask(
        key,
        "",
        (Asked("X", "B1", Fraction(quantity)),),
        timedelta(seconds=ttl_s),
        order_ref=order_ref,
        **more,
    )


def script(*does) -> Script:
    steps = [Step(START + timedelta(minutes=place), each) for place, each in enumerate(does)]
    return Script(TABLES, steps, [("X", "B1")])


REPLAYED = {
    "a confirmation": script(
        Reserve(ask(30, order_ref="SO1")),
        Publish((allocated(1, 10, 1),)),
        Confirm("r", "SO1", ()),
        LoadAgain(TABLES),
        LoadAgain(TABLES),
        *[Wait()] * 60,
        Reserve(ask(71, "q")),
    ),
    "what was given back": script(
        Reserve(ask(30)),
        Confirm("r", "SO1", ()),
        Publish((allocated(1, 10, 2),)),
        Release("r", ((0, Fraction(15)),)),
        Restart(),
        Restart(),
    ),
    "a release": script(
        Reserve(ask(30)),
        Confirm("r", "SO1", ()),
        Publish((allocated(1, 10, 2),)),
        Release("r", ()),
        Restart(),
        LoadAgain(TABLES),
        Restart(),
    ),
}


def with_allocated(quantity: int, minute: int) -> dict:
    moment = (START + timedelta(minutes=minute, seconds=-1)).isoformat()
    row = {"sku": "X", "branch": "B1", "allocated": str(quantity), "as_of": moment, "order_ref": "SO1"}
    feeds = [{**each, "as_of": moment} for each in FEEDS]
    return {**TABLES, "allocations": [{**row, "order_line": "1"}], "feeds": feeds}


@pytest.mark.parametrize("more", [(), (Confirm("r", "SO1", ()),)], ids=["held", "confirmed"])
def test_what_loaded_rows_clear_of_a_new_reservation_is_kept_for_the_next_load(in_process, more):
    steps = script(
        LoadAgain(with_allocated(2, 0)),
        Reserve(ask(1, "first", ttl_s=30)),
        Reserve(ask(2, order_ref="SO1", ttl_s=90)),
        *more,
        Wait(),
        LoadAgain(with_allocated(5, 4 + len(more))),
        Reserve(ask(6, "second", order_ref="SO1")),
        Restart(),
    )
    difference = first_difference(steps, in_process)
    assert difference is None, difference


ENDED = {
    "taken over in time": (Publish((allocated(1, 30, 1),)), Wait(), Wait(), Confirm("r", "SO1", ())),
    "taken over too late": (Wait(), Wait(), Publish((allocated(1, 30, 3),)), Confirm("r", "SO1", ())),
    "taken over in part": (
        Publish((allocated(1, 10, 1),)),
        Wait(),
        Publish((allocated(2, 30, 3),)),
        Confirm("r", "SO1", ()),
        Reserve(ask(71, "q")),
    ),
}


@pytest.mark.parametrize("what", ENDED)
def test_what_is_allocated_counts_for_a_hold_until_its_time_ends(in_process, what):
    steps = script(Reserve(ask(30, order_ref="SO1", ttl_s=110)), *ENDED[what], Restart(), Wait())
    difference = first_difference(steps, in_process)
    assert difference is None, difference


@pytest.mark.parametrize("what", REPLAYED)
def test_loads_and_restarts_never_take_back(in_process, what):
    difference = first_difference(REPLAYED[what], in_process)
    assert difference is None, difference


# ---- the model itself gives the examples of the rules


def model_of(**tables) -> Model:
    return Model({**TABLES, **tables}, START)


def free(model: Model, minute: int = 30) -> Fraction | None:
    return model.available(("X", "B1"), START + timedelta(minutes=minute))


def test_model_commitments_ahead_are_kept():
    def dated(column, days):
        row = {"sku": "X", "branch": "B1"}
        return [
            {**row, "quantity": str(q), column: f"2026-03-{2 + day:02}T09:00:00Z"} for day, q in days.items()
        ]

    stock = [{**TABLES["stock"][0], "on_hand": "10"}]
    first = model_of(
        stock=stock, demands=dated("due_at", {1: 5, 3: 6}), receipts=dated("expected_at", {2: 1})
    )
    second = model_of(
        stock=stock, demands=dated("due_at", {1: 5, 3: 10}), receipts=dated("expected_at", {2: 7})
    )
    assert (free(first), free(second)) == (0, 2)


def test_model_an_allocation_clears_once():
    model = model_of()
    _, hold = model.reserve(ask(30), START)
    assert hold is not None
    assert model.confirm(hold, "SO1", (), START) == "OK"
    model.publish([allocated(1, 20, 1)])
    assert free(model) == 70
    model.publish([allocated(2, 0, 2), allocated(1, 20, 1)])
    assert free(model) == 90


def test_model_a_loaded_row_is_where_deltas_begin():
    row = {"sku": "X", "branch": "B1", "allocated": "10", "as_of": "2026-03-02T06:00:00Z"}
    model = model_of(allocations=[{**row, "order_ref": "SO1"}])
    model.reserve(ask(30, order_ref="SO1"), START)
    assert free(model, 0) == 70
    model.publish([allocated(1, 10, 1, "delta")])
    assert free(model, 1) == 70


def test_model_numbers_decide_not_arrival():
    def on_hand(sequence, kind, quantity):
        moment = START + timedelta(seconds=sequence)
        return Told("erp", sequence, moment, "on_hand", kind, "X", "B1", Fraction(quantity))

    told_all = [on_hand(1, "delta", -2), on_hand(2, "set", 100), on_hand(3, "delta", -1)]
    for order in itertools.permutations(told_all):
        model = model_of()
        model.publish([*order, *order])
        assert free(model) == 99


def test_model_a_line_never_clears_another():
    model = model_of()
    model.publish([allocated(1, 20, 0, line="1"), allocated(2, 0, 1, line="1")])
    _, hold = model.reserve(ask(10), START + timedelta(minutes=2))
    assert hold is not None
    model.confirm(hold, "SO1", ["2"], START + timedelta(minutes=3))
    model.publish([allocated(3, 5, 4, line="1")])
    assert free(model) == 85


def test_model_waves_that_tell_what_shipped():
    model = model_of()
    _, hold = model.reserve(ask(20, order_ref="SO1"), START)
    assert hold is not None
    model.publish([allocated(1, 10, 1), allocated(2, 0, 2, shipped=Fraction(10))])
    model.publish([allocated(3, 10, 3, shipped=Fraction(10))])
    assert model.status(hold, START + timedelta(minutes=5)) == "CONSUMED"

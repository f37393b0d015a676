"""The short way of plain requests gives the bytes that the usual way gives, and leaves the rest to it."""

import sys
from collections import Counter
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pricegrid import v1
from pricegrid.erp.control import NO_FLAGS, ControlState
from pricegrid.pricing_engine.errors import PricingError
from pricegrid.service.erp_overlay.flags import Flagging
from pricegrid.service.errors import RequestRefusedError
from pricegrid.service.fast_path.kernel import EXCEPTIONS_UNUSUAL, QUOTE, SERVICE_DESK
from pricegrid.service.fast_path.path import Lane
from pricegrid.service.methods.pricing import PricingService
from pricegrid.service.methods.quotes import QuoteService
from pricegrid.service.process.snapshots import LoadedSnapshot
from pricegrid.service.rpc.call import Caller
from tests.fakes import OneSnapshot
from tests.lane_worlds import random_flags, random_request, random_snapshot
from tests.profiles import LONG, examples
from tests.runtime_answers import judge_answers  # noqa: F401 - the fixture `judged`

NOW_US = 1_541_500_000_000_000  # in November 2018, like the worlds
ANSWERED: Counter[bool] = Counter()


class Flagged:
    """An operator's word that never changes."""

    def __init__(self, state: ControlState) -> None:
        self._state = state

    def state(self) -> ControlState:
        return self._state


def usual(
    loaded: LoadedSnapshot, raw: bytes, caller: Caller, *, is_quote: bool, flagged: ControlState = NO_FLAGS
) -> bytes | str:
    """The answer of the usual way, or how it refuses."""
    source = OneSnapshot(LoadedSnapshot(
        loaded.version, loaded.created_at_us, loaded.engine, loaded.time_zone, loaded.availability, loaded.branch_of
    ))  # fmt: skip
    flagging = Flagging(Flagged(flagged))
    answer = QuoteService(source, lambda: NOW_US, None, flagging).quote_lines if is_quote else (
        PricingService(source, lambda: NOW_US, None, flagging).price_lines
    )  # fmt: skip
    try:
        return answer(raw, caller).raw
    except (RequestRefusedError, PricingError) as error:
        return repr(error)


@settings(
    max_examples=examples(60, long=3_000),
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=not LONG,
)
@given(st.integers(0, 2**32))
def ask_both(seed: int) -> None:
    rng = Random(seed)
    loaded, zone = random_snapshot(seed)
    for _ in range(20):
        is_quote, service_desk = rng.random() < 0.6, rng.random() < 0.3
        raw = random_request(rng, zone, is_quote=is_quote)
        flags = (QUOTE if is_quote else 0) | (SERVICE_DESK if service_desk else 0)
        flagged = random_flags(rng)
        plain = loaded.lane.answer(raw, flags, NOW_US, "id", flagged)
        ANSWERED[plain is not None] += 1
        expected = usual(loaded, raw, Caller("id", service_desk), is_quote=is_quote, flagged=flagged)
        if plain is not None:
            assert plain.raw == expected, (seed, raw)


def test_the_short_way_answers_as_the_usual_way(judged: list[bytes]) -> None:
    ask_both()
    assert len(judged) >= ANSWERED[True]
    if LONG:
        sys.stderr.write(f"requests answered by the short way: {dict(ANSWERED)}\n")
    assert ANSWERED[True] > 2 * ANSWERED[False] > 0


@pytest.mark.parametrize(
    "column",
    [
        ("branches", "cutoff"),
        ("branches", "time_zone"),
        ("feeds", "complete"),
        ("items", "order_multiple"),
    ],
    ids=".".join,
)
def test_what_the_worlds_hold_is_compared(column: tuple[str, str]) -> None:
    """Without the column the short way answers something otherwise: the comparison above would miss it if ignored."""
    for seed in range(300):
        loaded, zone = random_snapshot(seed)
        bare, _ = random_snapshot(seed, without=column)
        rng = Random(seed)
        for _ in range(20):
            raw = random_request(rng, zone, is_quote=True)
            whole, less = (each.lane.answer(raw, QUOTE, NOW_US, "id") for each in (loaded, bare))
            if whole is not None and less is not None and whole.raw != less.raw:
                return
    pytest.fail(f"{column} changes no answer")


def test_a_line_for_the_erp_is_not_plain_where_there_is_one() -> None:
    for seed in range(examples(200)):
        loaded, zone = random_snapshot(seed)
        raw = random_request(Random(seed), zone, is_quote=False)
        plain, strict = (loaded.lane.answer(raw, flags, NOW_US, "id") for flags in (0, EXCEPTIONS_UNUSUAL))
        if plain is None:
            continue
        marked = any(result.exception for result in v1.PriceLinesResponse.FromString(plain.raw).results)
        ANSWERED[marked] += 1
        assert (strict is None) == marked
    assert ANSWERED[True] > 10


def test_an_answer_longer_than_the_room_gets_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pricegrid.service.fast_path.path.OUT_BYTES", 16)
    loaded, _ = random_snapshot(3)
    lane = Lane(loaded.version, loaded.created_at_us, loaded.engine, loaded.availability)
    lines = [v1.PriceLine(sku=sku, quantity_micros=1_000_000) for sku in "ABC" * 400]
    raw = v1.PriceLinesRequest(lines=lines, currency="EUR").SerializeToString()

    plain = lane.answer(raw, 0, NOW_US, "id")

    assert plain is not None
    assert plain.raw == usual(loaded, raw, Caller("id"), is_quote=False)

"""The fast path answers byte for byte as the general path does, and leaves all other requests to it."""

import sys
from collections import Counter
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pricegrid import v1
from pricegrid.erp.operator_flags import NO_FLAGS, FlagSet
from pricegrid.pricing_engine.errors import PricingError
from pricegrid.service.erp_overlay.flags import Flagging
from pricegrid.service.errors import RequestRefusedError
from pricegrid.service.fast_path.kernel import EXCEPTIONS_NEED_ERP, QUOTE, SERVICE_DESK
from pricegrid.service.fast_path.path import FastPath
from pricegrid.service.methods.pricing import PricingService
from pricegrid.service.methods.quotes import QuoteService
from pricegrid.service.process.snapshots import LoadedSnapshot
from pricegrid.service.rpc.call import Caller
from tests.fakes import OneSnapshot
from tests.fast_path_worlds import random_flags, random_request, random_snapshot
from tests.profiles import LONG, examples
from tests.runtime_answers import judge_answers  # noqa: F401 - the fixture `judged`

NOW_US = 1_541_500_000_000_000  # in November 2018, like the worlds
ANSWERED: Counter[bool] = Counter()


class Flagged:
    """Operator flags that never change."""

    def __init__(self, state: FlagSet) -> None:
        self._state = state

    def state(self) -> FlagSet:
        return self._state


def general_path(
    loaded: LoadedSnapshot, raw: bytes, caller: Caller, *, is_quote: bool, flagged: FlagSet = NO_FLAGS
) -> bytes | str:
    """The response of the general path, or how it refuses."""
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
        response = loaded.fast_path.answer(raw, flags, NOW_US, "id", flagged)
        ANSWERED[response is not None] += 1
        expected = general_path(loaded, raw, Caller("id", service_desk), is_quote=is_quote, flagged=flagged)
        if response is not None:
            assert response.raw == expected, (seed, raw)


def test_the_fast_path_answers_as_the_general_path_does(judged: list[bytes]) -> None:
    ask_both()
    assert len(judged) >= ANSWERED[True]
    if LONG:
        sys.stderr.write(f"requests answered by the fast path: {dict(ANSWERED)}\n")
    # Of such requests 65 in 100 are simple, whatever the seed.
    assert ANSWERED[True] > 1.5 * ANSWERED[False] > 0


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
    """Without the column the fast path answers something otherwise: the comparison above would miss it if ignored."""
    for seed in range(300):
        loaded, zone = random_snapshot(seed)
        bare, _ = random_snapshot(seed, without=column)
        rng = Random(seed)
        for _ in range(20):
            raw = random_request(rng, zone, is_quote=True)
            whole, less = (each.fast_path.answer(raw, QUOTE, NOW_US, "id") for each in (loaded, bare))
            if whole is not None and less is not None and whole.raw != less.raw:
                return
    pytest.fail(f"{column} changes no answer")


def test_a_line_that_the_erp_should_confirm_takes_the_general_path() -> None:
    for seed in range(examples(200)):
        loaded, zone = random_snapshot(seed)
        raw = random_request(Random(seed), zone, is_quote=False)
        response, strict = (
            loaded.fast_path.answer(raw, flags, NOW_US, "id") for flags in (0, EXCEPTIONS_NEED_ERP)
        )
        if response is None:
            continue
        marked = any(result.exception for result in v1.PriceLinesResponse.FromString(response.raw).results)
        ANSWERED[marked] += 1
        assert (strict is None) == marked
    assert ANSWERED[True] > 10


def test_a_response_longer_than_the_buffer_gets_a_larger_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pricegrid.service.fast_path.path.OUT_BYTES", 16)
    loaded, _ = random_snapshot(3)
    fast_path = FastPath(loaded.version, loaded.created_at_us, loaded.engine, loaded.availability)
    lines = [v1.PriceLine(sku=sku, quantity_micros=1_000_000) for sku in "ABC" * 400]
    raw = v1.PriceLinesRequest(lines=lines, currency="EUR").SerializeToString()

    response = fast_path.answer(raw, 0, NOW_US, "id")

    assert response is not None
    assert response.raw == general_path(loaded, raw, Caller("id"), is_quote=False)

"""The fast path answers byte for byte as the general path does; what it leaves, that path ends with the same bytes."""

import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pricegrid import v1
from pricegrid.atp.kernels.availability import RECHECK
from pricegrid.atp.kernels.quote import FREE_STATUS
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
from pricegrid.service.rpc.later import NeedsThread
from tests.fakes import OneSnapshot
from tests.fast_path_worlds import random_flags, random_request, random_snapshot
from tests.profiles import FAST, LONG, examples
from tests.runtime_answers import judge_answers  # noqa: F401 - the fixture `judged`

NOW_US = 1_541_500_000_000_000  # in November 2018, like the worlds
ANSWERED: Counter[bool] = Counter()
WHOLE = 1035, 1036, 1080, 1123
"""Worlds in which the fast path leaves whole orders, which are rare: looked for, so not counted among the others."""
MOVED: Counter[bool] = Counter()
OTHER_THREAD = ThreadPoolExecutor(1)
LEFT: Counter[str] = Counter()
"""Requests that needed the general path, by what the fast path left of them."""


class Flagged:
    """Operator flags that never change."""

    def __init__(self, state: FlagSet) -> None:
        self._state = state

    def state(self) -> FlagSet:
        return self._state


def general_path(
    loaded: LoadedSnapshot, raw: bytes, caller: Caller, *, is_quote: bool, flagged: FlagSet = NO_FLAGS
) -> bytes | str:
    """The response of the general path from the bytes on, or how it refuses."""
    bare = LoadedSnapshot(
        loaded.version, loaded.created_at_us, loaded.engine, loaded.time_zone, loaded.availability, loaded.branch_of
    )  # fmt: skip
    return response_of(bare, raw, caller, is_quote=is_quote, flagged=flagged)


def response_of(
    loaded: LoadedSnapshot, raw: bytes, caller: Caller, *, is_quote: bool, flagged: FlagSet = NO_FLAGS
) -> bytes | str:
    """The response of a service, or how it refuses."""
    source = OneSnapshot(loaded)
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
@example(WHOLE[0])
@example(WHOLE[1])
@example(WHOLE[2])
@example(WHOLE[3])
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
        ANSWERED[response is not None] += seed not in WHOLE
        expected = general_path(loaded, raw, Caller("id", service_desk), is_quote=is_quote, flagged=flagged)
        if response is not None:
            assert response.raw == expected, (seed, raw)
        else:
            note_what_is_left(loaded.fast_path, raw)
        told = response_of(loaded, raw, Caller("id", service_desk), is_quote=is_quote, flagged=flagged)
        assert told == expected, (seed, raw)
        other = random_request(Random(raw), zone, is_quote=not is_quote)
        moved = elsewhere(loaded, raw, other, Caller("id", service_desk), is_quote=is_quote, flagged=flagged)
        assert moved == expected, (seed, raw)


def elsewhere(
    loaded: LoadedSnapshot, raw: bytes, other: bytes, caller: Caller, *, is_quote: bool, flagged: FlagSet
) -> bytes | str:
    """The same where what the fast path leaves goes on in another thread, while this one answers another request."""
    try:
        return response_of(loaded, raw, caller._replace(may_wait=False), is_quote=is_quote, flagged=flagged)
    except NeedsThread as needs:
        MOVED[is_quote] += 1
        response_of(loaded, other, caller, is_quote=not is_quote, flagged=flagged)
        try:
            return OTHER_THREAD.submit(needs.go_on, caller).result().raw
        except (RequestRefusedError, PricingError) as error:
            return repr(error)


def note_what_is_left(fast_path: FastPath, raw: bytes) -> None:
    """Counts how far the fast path came with its last request, and that it looked up no more than it says."""
    try:
        query, resolved, _ = fast_path.left(raw, NOW_US)
    except RequestRefusedError:
        LEFT["decoded"] += 1
        return
    LEFT["undecoded"] += query is None
    LEFT["decoded"] += query is not None and resolved is None
    if resolved is not None and resolved.free is not None:
        assert resolved.window is not None
        is_left = resolved.free[:, FREE_STATUS] == RECHECK
        LEFT["whole"] += bool(is_left.all())
        LEFT["in part"] += bool(is_left.any() and not is_left.all())


def test_the_fast_path_answers_as_the_general_path_does(judged: list[bytes]) -> None:
    ask_both()
    assert len(judged) >= ANSWERED[True]
    if LONG:
        sys.stderr.write(f"requests answered by the fast path: {dict(ANSWERED)}\n")
    # Of such requests 65 in 100 are simple, whatever the seed.
    assert ANSWERED[True] > 1.5 * ANSWERED[False] > 0
    assert MOVED.total() >= ANSWERED[False]
    at_least = 1 if FAST else 11  # the fast profile asks a hundred requests
    assert min(LEFT[what] for what in ("undecoded", "decoded", "whole", "in part")) >= at_least, LEFT


@pytest.mark.slow
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

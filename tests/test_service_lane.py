"""The short way of plain requests gives the bytes that the usual way gives, and leaves the rest to it."""

import os
import sys
from collections import Counter
from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pricegrid import v1
from pricing_engine import kernel as kn
from pricing_engine.errors import PricingError
from service.errors import RequestRefusedError
from service.exchange import Caller
from service.lane import Lane, LaneAsk
from service.limits import FIELD_BYTES_MAX, LINES_MAX, SKU_BYTES_MAX, UOM_BYTES_MAX
from service.pricing_service import PricingService
from service.quote_service import QuoteService
from service.scan_kernel import (
    HEAD_AS_OF,
    HEAD_BRANCH_COUNT,
    HEAD_BRANCHES,
    HEAD_BRANCHES_END,
    HEAD_CURRENCY,
    HEAD_CUSTOMER,
    HEAD_HAS_AS_OF,
    HEAD_SIZE,
    HEAD_VERSION,
    MORE_ROOM,
    UNUSUAL,
    scan_request,
)
from service.snapshots import LoadedSnapshot
from service.wire_request import as_of, check_fields, check_line_count, line_columns
from tests.fakes import OneSnapshot
from tests.lane_worlds import random_request, random_snapshot

LONG = os.environ.get("PRICEGRID_HYPOTHESIS_PROFILE") == "long"
NOW_US = 1_541_500_000_000_000  # in November 2018, like the worlds
LIMITS = (LINES_MAX, SKU_BYTES_MAX, UOM_BYTES_MAX, FIELD_BYTES_MAX)
ANSWERED: Counter[bool] = Counter()


def usual(loaded: LoadedSnapshot, raw: bytes, caller: Caller, *, is_quote: bool) -> bytes | str:
    """The answer of the usual way, or how it refuses."""
    source = OneSnapshot(LoadedSnapshot(
        loaded.version, loaded.created_at_us, loaded.engine, loaded.time_zone, loaded.availability, loaded.branch_of
    ))  # fmt: skip
    answer = QuoteService(source, lambda: NOW_US).quote_lines if is_quote else (
        PricingService(source, lambda: NOW_US).price_lines
    )  # fmt: skip
    try:
        return answer(raw, caller).raw
    except (RequestRefusedError, PricingError) as error:
        return repr(error)


@settings(
    max_examples=3_000 if LONG else 60,
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
        asked = LaneAsk(NOW_US, "id", service_desk, exceptions_unusual=False)
        lane = loaded.lane.quote_lines if is_quote else loaded.lane.price_lines
        plain = lane(raw, asked)
        ANSWERED[plain is not None] += 1
        if plain is not None:
            expected = usual(loaded, raw, Caller("id", service_desk), is_quote=is_quote)
            assert plain.raw == expected, (seed, raw)


def test_the_short_way_answers_as_the_usual_way() -> None:
    ask_both()
    if LONG:
        sys.stderr.write(f"requests answered by the short way: {dict(ANSWERED)}\n")
    assert ANSWERED[True] > 2 * ANSWERED[False] > 0


def test_a_line_for_the_erp_is_not_plain_where_there_is_one() -> None:
    for seed in range(200):
        loaded, zone = random_snapshot(seed)
        raw = random_request(Random(seed), zone, is_quote=False)
        plain = loaded.lane.price_lines(
            raw, LaneAsk(NOW_US, "id", service_desk=False, exceptions_unusual=False)
        )
        strict = loaded.lane.price_lines(
            raw, LaneAsk(NOW_US, "id", service_desk=False, exceptions_unusual=True)
        )
        if plain is None:
            continue
        marked = any(result.exception for result in v1.PriceLinesResponse.FromString(plain.raw).results)
        ANSWERED[marked] += 1
        assert (strict is None) == marked
    assert ANSWERED[True] > 10


def test_an_answer_longer_than_the_room_gets_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.lane.OUT_BYTES", 16)
    loaded, _ = random_snapshot(3)
    lane = Lane(loaded.version, loaded.created_at_us, loaded.engine, loaded.availability)
    lines = [v1.PriceLine(sku=sku, quantity_micros=1_000_000) for sku in "ABC" * 400]
    raw = v1.PriceLinesRequest(lines=lines, currency="EUR").SerializeToString()

    plain = lane.price_lines(raw, LaneAsk(NOW_US, "id", service_desk=False, exceptions_unusual=False))

    assert plain is not None
    assert plain.raw == usual(loaded, raw, Caller("id"), is_quote=False)


# -- fuzzing the scanner: what it accepts, the protobuf runtime reads the same ----------------------------------------


def scanned(raw: bytes, head: np.ndarray, lines: np.ndarray) -> int:
    return int(scan_request(np.frombuffer(raw, np.uint8), head, lines, LIMITS))


def held_equal(raw: bytes, head: np.ndarray, lines: np.ndarray, count: int) -> None:
    """What the scanner read is what the runtime reads, and passes its checks."""
    request = v1.QuoteLinesRequest.FromString(raw)
    check_line_count(len(request.lines))
    check_fields(request, "customer_id", "currency", "snapshot_version")
    columns = line_columns(request.lines)
    text = [raw[at : at + length] for at, length in lines[:count, [kn.LINE_SKU, kn.LINE_SKU_LENGTH]].tolist()]
    uoms = [raw[at : at + length] for at, length in lines[:count, [kn.LINE_UOM, kn.LINE_UOM_LENGTH]].tolist()]
    assert text == columns.skus
    assert uoms == columns.uoms
    assert lines[:count, kn.LINE_QUANTITY].tolist() == columns.quantities_micros.tolist()
    for column, field in (
        (HEAD_CUSTOMER, request.customer_id),
        (HEAD_CURRENCY, request.currency),
        (HEAD_VERSION, request.snapshot_version),
    ):
        assert raw[head[column] : head[column] + head[column + 1]] == field.encode()
    assert head[HEAD_BRANCH_COUNT] == len(request.branches)
    branches = v1.QuoteLinesRequest.FromString(raw[head[HEAD_BRANCHES] : head[HEAD_BRANCHES_END]])
    assert branches == v1.QuoteLinesRequest(branches=request.branches)
    instant = as_of(request)
    assert (int(head[HEAD_AS_OF]) if head[HEAD_HAS_AS_OF] else None) == instant


def mutated(rng: Random, raw: bytes) -> bytes:
    """The message with a few bytes changed, moved, dropped, doubled or put in."""
    changed = bytearray(raw)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        at = rng.randrange(len(changed) + 1)
        match rng.randrange(6):
            case 0:
                changed[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                del changed[at : at + rng.choice([1, 1, 2, 8])]
            case 2:
                changed[at:at] = bytes(
                    [rng.choice([0, 1, 2, 8, 10, 16, 18, 26, 34, 42, 58, 127, 128, 129, 255])]
                )
            case 3:
                end = at + rng.choice([1, 2, 9, 20])
                changed[at:at] = changed[at:end]
            case 4 if at < len(changed):
                changed[at] ^= 1 << rng.randrange(8)
            case _:
                other = rng.randrange(len(changed) + 1)
                low, high = min(at, other), max(at, other)
                changed[low:high] = changed[low:high][::-1] if rng.random() < 0.2 else changed[low:high] * 2
    return bytes(changed[:2_000])


def fuzz(seed: int, messages: int) -> Counter[bool]:
    """Mutated messages through both; how many the scanner accepted."""
    rng, seen = Random(seed), Counter[bool]()
    head, lines = np.zeros(HEAD_SIZE, np.int64), np.zeros((64, kn.LINE_SIZE), np.int64)
    while sum(seen.values()) < messages:
        raw = random_request(rng, "UTC", is_quote=rng.random() < 0.7)
        for _ in range(50):
            message = mutated(rng, raw)
            count = scanned(message, head, lines)
            seen[count > 0] += 1
            if count > 0:
                held_equal(message, head, lines, count)
            else:
                assert count in {UNUSUAL, MORE_ROOM}
    return seen


def test_the_scanner_reads_what_the_runtime_reads() -> None:
    seen = fuzz(20261125, 1_000_000 if LONG else 20_000)
    if LONG:
        sys.stderr.write(f"messages accepted: {dict(seen)}\n")
    assert min(seen[True], seen[False]) > sum(seen.values()) // 20


@pytest.mark.parametrize("is_quote", [False, True])
def test_what_clients_send_is_plain(is_quote: bool) -> None:
    head, lines = np.zeros(HEAD_SIZE, np.int64), np.zeros((8, kn.LINE_SIZE), np.int64)
    rng = Random(1)
    for _ in range(200):
        raw = random_request(rng, "UTC", is_quote=is_quote)
        if raw.isascii() or max(raw) < 0xC3:
            assert scanned(raw, head, lines) > 0, raw

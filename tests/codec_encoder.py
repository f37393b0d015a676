"""Fuzzing the writer: what it writes of random answers, in rooms of every size, is what the protobuf runtime writes."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

import numpy as np
from numba import njit

from pricegrid import v1
from pricegrid.atp.kernels.quote import (
    FREE_AS_OF,
    FREE_AVAILABLE,
    FREE_DAY,
    FREE_FRESH,
    FREE_SHORTAGE,
    FREE_SIZE,
    FREE_STATUS,
    NO_DAY,
)
from pricegrid.atp.model import AS_OF_MAX_US, INT64_MAX, INT64_MIN, NO_INSTANT, AvailabilityStatus
from pricegrid.columnar.tables import describe, table_of
from pricegrid.pricing_engine.arrays.matrix import Matrix
from pricegrid.pricing_engine.kernels import price as kn
from pricegrid.pricing_engine.kernels.matrix_pointer import matrix_of
from pricegrid.pricing_engine.model import NEVER_US, PRICE_PER_MAX, ExceptionReason, LineStatus
from pricegrid.service.codec.encode_kernel import put_header, put_prices, put_quotes
from pricegrid.service.codec.scan_kernel import BUFFER_FULL
from tests.codec_corpus import Corpus
from tests.name_tables import matrix_with

CORPUS = "answers.txt"
TEXT_MAX = 700
"""The greatest length of a case in the corpus."""
EVERY_ROOM_MAX = 700
"""Bytes of an answer that is written into rooms of every size."""
GUARD = 64
"""Guard bytes before and after a buffer, which must not change."""
SLACK = 64
"""A buffer with this many bytes more than the response must be enough."""
UNTOUCHED = 0xA5
NAME_TABLES = ("currency", "book", "layer", "entry_id", "delta_entry_id")
DAY_MAX = date.max.toordinal() - date(1970, 1, 1).toordinal()
LEAP_DAYS = [
    date(year, 2, 29).toordinal() - date(1970, 1, 1).toordinal() for year in (1972, 2000, 2096, 2400, 8000)
]
EDGE_DAYS = np.array([0, 1, 59, DAY_MAX, *LEAP_DAYS, *(day + 1 for day in LEAP_DAYS)])
EXTREMES = np.array(
    [0, 1, 127, 128, 255, 10**6, 2**31, 2**32 - 1, 2**62, INT64_MAX, -1, -(2**31), INT64_MIN, INT64_MIN + 1]
)
AGES = (0, 1, 127, 128, 16_383, 16_384, 2**21, 2**28, 2**35, 2**42, 2**49, 2**56, INT64_MAX)
SIZES = (0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 63, 64, 126, 127, 128, 129)
GREAT_SIZES = (255, 256, 16_383, 16_384, 20_000)
LETTERS = ("A", "z", "é", "€", "𝔸")


# -- a case, and what the runtime writes of it ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Case:
    """Answers and the snapshot's names: everything that the bytes depend on."""

    names: dict[str, list[str]]
    full_load: int
    """Entries of the full load; those of a delta follow."""
    is_quote: bool
    answers: list[list[int]]
    marks: list[list[int]]
    """None, or one a line."""
    free: list[list[int]]
    """None, or one a line."""
    as_of_us: int
    currency: int
    version: str
    age_ms: int
    header_as_of_us: int
    correlation: str


def named(names: Sequence[str], ordinal: int) -> str:
    """A name, '' for none."""
    return names[ordinal] if 0 <= ordinal < len(names) else ""


def price_of(case: Case, answer: Sequence[int], mark: Sequence[int]) -> v1.PriceLineResult:
    """One price as a message."""
    status, exception, until_us = (
        answer[column] for column in (kn.ANSWER_STATUS, kn.ANSWER_EXCEPTION, kn.ANSWER_VALID_UNTIL)
    )
    result = v1.PriceLineResult(status=status + 1, exception=exception)
    if until_us < NEVER_US:
        result.valid_until_us = until_us
    if status == LineStatus.OK:
        result.unit_price_micros = answer[kn.ANSWER_UNIT_PRICE]
        result.extended_price_micros = answer[kn.ANSWER_EXTENDED_PRICE]
        result.price_per = answer[kn.ANSWER_PRICE_PER] if answer[kn.ANSWER_PRICE_PER] > 1 else 0
        result.source = v1.PriceSource.PRICE_SOURCE_MATRIX
        result.floor_lifted = answer[kn.ANSWER_LIFTED] == 1
        result.converted = answer[kn.ANSWER_CONVERTED] == 1
        result.book_id = named(case.names["book"], answer[kn.ANSWER_BOOK])
        result.layer = named(case.names["layer"], answer[kn.ANSWER_LAYER])
        entry = answer[kn.ANSWER_ENTRY]
        if entry < case.full_load:
            result.entry_id = named(case.names["entry_id"], entry)
        else:
            result.entry_id = named(case.names["delta_entry_id"], entry - case.full_load)
    elif status == LineStatus.BELOW_MINIMUM:
        result.minimum_quantity_micros = answer[kn.ANSWER_MINIMUM]
    if mark[0]:
        result.source = mark[0]
    if mark[1] >= 0:
        result.source_age_ms = mark[1]
    return result


def free_of(free: Sequence[int], as_of_us: int) -> v1.QuoteAvailability:
    """One availability as a message."""
    fresh, said = free[FREE_FRESH : FREE_FRESH + 3], free[FREE_AS_OF : FREE_AS_OF + 3]
    freshness = v1.Freshness(erp=fresh[0] + 1, wms=fresh[1] + 1, transit=fresh[2] + 1)
    for field, instant in zip(("erp_age_ms", "wms_age_ms", "transit_age_ms"), said, strict=True):
        if instant != NO_INSTANT:
            setattr(freshness, field, max(0, as_of_us - instant) // 1000)
    result = v1.QuoteAvailability(status=free[FREE_STATUS] + 1, freshness=freshness)
    if free[FREE_STATUS] == AvailabilityStatus.OK:
        result.available_micros, result.shortage_micros = free[FREE_AVAILABLE], free[FREE_SHORTAGE]
    if free[FREE_DAY] < NO_DAY:
        result.limited_by = NO_DAY - free[FREE_DAY]
    elif free[FREE_DAY] != NO_DAY:
        result.promise_date = date.fromordinal(date(1970, 1, 1).toordinal() + free[FREE_DAY]).isoformat()
    return result


def expected(case: Case) -> bytes:
    """The answer as the runtime writes it."""
    marks = case.marks or [[0, -1]] * len(case.answers)
    prices = [price_of(case, answer, mark) for answer, mark in zip(case.answers, marks, strict=True)]
    header: dict[str, Any] = {
        "currency": named(case.names["currency"], case.currency),
        "snapshot_version": case.version,
        "snapshot_age_ms": case.age_ms,
        "as_of_us": case.header_as_of_us,
        "correlation_id": case.correlation,
    }
    if not case.is_quote:
        return v1.PriceLinesResponse(results=prices, **header).SerializeToString(deterministic=True)
    free = [free_of(each, case.as_of_us) for each in case.free] or [None] * len(prices)
    quotes = [v1.QuoteLineResult(price=p, availability=f) for p, f in zip(prices, free, strict=True)]
    return v1.QuoteLinesResponse(results=quotes, **header).SerializeToString(deterministic=True)


# -- the same by the kernels ------------------------------------------------------------------------------------------


@njit(cache=True)
def _put(m, is_quote, answers, marks, free, as_of_us, header, version, correlation, out):
    if is_quote:  # noqa: SIM108 - two calls, not two values
        at = put_quotes(m, answers, marks, free, as_of_us, out)
    else:
        at = put_prices(m, answers, marks, out)
    if at < 0:
        return at
    return put_header(m, out, at, header[0], version, header[1], header[2], correlation)


@njit(cache=True)
def _judge(at, room, expected, memory):
    """0: what was written is right; else what is wrong."""
    for i in range(GUARD):
        if memory[i] != UNTOUCHED or memory[GUARD + room + i] != UNTOUCHED:
            return 1
    if at == BUFFER_FULL:
        return 0 if room < len(expected) + SLACK else 2
    if at != len(expected):
        return 3
    for i in range(len(expected)):
        if memory[GUARD + i] != expected[i]:
            return 4
    return 0


WRONG = ("", "a byte outside its room", "more room asked for than it takes", "another length", "other bytes")


@njit(cache=True)
def put_plainly(
    m, is_quote, answers, marks, free, as_of_us, header, version, correlation, rooms, expected, memory
):
    """(what is wrong, size of the buffer) with numpy arrays, whose bounds are checked."""
    for room in rooms:
        memory[: GUARD + room + GUARD] = UNTOUCHED
        out = memory[GUARD : GUARD + room]
        at = _put(m, is_quote, answers, marks, free, as_of_us, header, version, correlation, out)
        wrong = _judge(at, room, expected, memory)
        if wrong != 0:
            return wrong, room
    return 0, 0


@njit(cache=True)
def put_by_tables(
    descriptor,
    is_quote,
    answers,
    marks,
    free,
    as_of_us,
    header,
    version,
    correlation,
    rooms,
    expected,
    memory,
):
    """As `put_plainly` with tables, as in service; nothing checks their bounds but the guard bytes."""
    m, said, marked, known = matrix_of(descriptor), table_of(answers), table_of(marks), table_of(free)
    named, correlated = table_of(version), table_of(correlation)
    for room in rooms:
        memory[: GUARD + room + GUARD] = UNTOUCHED
        out = table_of(memory[GUARD : GUARD + room])
        at = _put(m, is_quote, said, marked, known, as_of_us, header, named, correlated, out)
        wrong = _judge(at, room, expected, memory)
        if wrong != 0:
            return wrong, room
    return 0, 0


def held_equal(case: Case, matrix: Matrix, rooms: Callable[[int], Sequence[int]]) -> int:
    """Raises AssertionError where a kernel and the runtime differ in any of the rooms, which depend on how long the
    answer is; in how many."""
    raw = expected(case)
    sizes = np.array(rooms(len(raw)), np.int64)
    arguments = (
        case.is_quote,
        np.array(case.answers, np.int64).reshape(-1, kn.ANSWER_SIZE),
        np.array(case.marks, np.int64).reshape(-1, 2),
        np.array(case.free, np.int64).reshape(-1, FREE_SIZE),
        case.as_of_us,
        np.array([case.currency, case.age_ms, case.header_as_of_us], np.int64),
        np.frombuffer(case.version.encode(), np.uint8),
        np.frombuffer(case.correlation.encode(), np.uint8),
        sizes,
        np.frombuffer(raw, np.uint8),
        np.empty(int(sizes.max()) + 2 * GUARD, np.uint8),
    )
    for build, wrong, room in (
        ("plain arrays", *put_plainly(matrix, *arguments)),
        ("tables", *put_by_tables(describe(matrix), *arguments)),
    ):
        if wrong:
            raise AssertionError(f"{WRONG[wrong]} by {build} in {room} bytes, of {len(raw)}: {as_text(case)}")
    return len(sizes)


# -- random cases -----------------------------------------------------------------------------------------------------


def random_names(rng: np.random.Generator) -> dict[str, list[str]]:
    """A few names in each table: blank, long, beyond ASCII."""

    def text() -> str:
        size = int(rng.choice(SIZES) if rng.random() < 0.98 else rng.choice(GREAT_SIZES))
        letter = LETTERS[rng.integers(len(LETTERS))]
        wide = len(letter.encode())
        return letter * (size // wide) + "b" * (size % wide)

    return {table: [text() for _ in range(rng.integers(0, 4))] for table in NAME_TABLES}


def any_numbers(rng: np.random.Generator, shape: int | tuple[int, int]) -> np.ndarray:
    """Of 64 bits, of all sizes, extremes among them."""
    numbers = rng.integers(INT64_MIN, INT64_MAX, shape, endpoint=True) >> rng.integers(0, 64, shape)
    return np.where(rng.random(shape) < 0.3, EXTREMES[rng.integers(0, len(EXTREMES), shape)], numbers)


def random_answers(
    rng: np.random.Generator, lines: int, names: dict[str, list[str]], full_load: int
) -> np.ndarray:
    """(lines, 13) as the price kernel writes them, each column whatever it may hold."""
    answers = any_numbers(rng, (lines, kn.ANSWER_SIZE))
    answers[:, kn.ANSWER_STATUS] = np.where(
        rng.random(lines) < 0.6, 0, rng.integers(0, len(LineStatus), lines)
    )
    answers[:, kn.ANSWER_EXCEPTION] = rng.integers(0, len(ExceptionReason), lines) * (rng.random(lines) < 0.4)
    untils = rng.choice([NEVER_US, NEVER_US - 1, NEVER_US + 1, INT64_MAX, 0, -1], lines)
    answers[:, kn.ANSWER_VALID_UNTIL] = np.where(
        rng.random(lines) < 0.6, untils, answers[:, kn.ANSWER_VALID_UNTIL]
    )
    answers[:, kn.ANSWER_PRICE_PER] = rng.choice([0, 1, 1, 2, 126, 127, 128, 1000, PRICE_PER_MAX], lines)
    for column in (kn.ANSWER_LIFTED, kn.ANSWER_CONVERTED):
        answers[:, column] = rng.integers(0, 2, lines)
    for column, table in ((kn.ANSWER_BOOK, "book"), (kn.ANSWER_LAYER, "layer")):
        answers[:, column] = rng.integers(-1, len(names[table]) + 2, lines)
    entries = full_load + len(names["delta_entry_id"])
    answers[:, kn.ANSWER_ENTRY] = rng.integers(-1, entries + 2, lines)
    return answers


def random_marks(rng: np.random.Generator, lines: int) -> np.ndarray:
    """(lines, 2): price sources of the ERP, of all lines, no line or half of them."""
    ages = np.where(rng.random(lines) < 0.5, rng.choice(AGES, lines), np.abs(any_numbers(rng, lines) // 2))
    ages[rng.random(lines) < 0.4] = -1
    return np.stack([rng.integers(0, len(v1.PriceSource.values()), lines), ages], axis=1)


def random_free(rng: np.random.Generator, lines: int, as_of_us: int) -> np.ndarray:
    """(lines, 10): as the quote kernel writes them; days and ages again and again."""
    free = any_numbers(rng, (lines, FREE_SIZE))
    free[:, FREE_STATUS] = np.where(
        rng.random(lines) < 0.6, 0, rng.integers(0, len(AvailabilityStatus), lines)
    )
    days = np.where(rng.random(lines) < 0.3, rng.choice(EDGE_DAYS, lines), rng.integers(0, DAY_MAX, lines))
    free[:, FREE_DAY] = np.where(
        rng.random(lines) < 0.3, rng.choice([NO_DAY, NO_DAY - 1, NO_DAY - 2], lines), days
    )
    free[:, FREE_FRESH : FREE_FRESH + 3] = rng.integers(0, 3, (lines, 3))
    said = as_of_us - rng.choice(AGES[:-2], (lines, 3)) * rng.choice([-1, 1, 999, 1_000, 1_001], (lines, 3))
    free[:, FREE_AS_OF : FREE_AS_OF + 3] = np.where(rng.random((lines, 3)) < 0.2, NO_INSTANT, said)
    free[rng.random(lines) < 0.02, FREE_AS_OF] = INT64_MAX
    for columns, share in ((slice(FREE_FRESH, FREE_SIZE), 0.6), (slice(FREE_DAY, FREE_DAY + 1), 0.5)):
        for line in np.flatnonzero(rng.random(lines) < share):
            free[line, columns] = free[max(0, line - 1), columns]
    for line in np.flatnonzero(rng.random(lines) < 0.2):  # as the one before but for one figure
        column = rng.integers(FREE_FRESH, FREE_SIZE)
        free[line, FREE_FRESH:] = free[max(0, line - 1), FREE_FRESH:]
        free[line, column] = (free[line, column] + 1) % 3 if column < FREE_AS_OF else as_of_us - 5_000
    return free


def random_case(rng: np.random.Generator, names: dict[str, list[str]], lines: int) -> Case:
    """Answers of so many lines."""
    full_load = len(names["entry_id"]) + int(rng.integers(0, 2))
    is_quote, has_free = rng.random() < 0.7, rng.random() < 0.9
    as_of_us = int(rng.choice([0, AS_OF_MAX_US - 1, 1_541_500_000_000_000, rng.integers(0, AS_OF_MAX_US)]))
    return Case(
        names=names,
        full_load=full_load,
        is_quote=is_quote,
        answers=random_answers(rng, lines, names, full_load).tolist(),
        marks=random_marks(rng, lines).tolist() if rng.random() < 0.5 else [],
        free=random_free(rng, lines, as_of_us).tolist() if is_quote and has_free else [],
        as_of_us=as_of_us,
        currency=int(rng.integers(-1, len(names["currency"]) + 2)),
        version=rng.choice(["", "20180101T000000Z-0123abcd", "v" * 127, "é" * 64]),
        age_ms=int(any_numbers(rng, 1)[0]),
        header_as_of_us=int(any_numbers(rng, 1)[0]),
        correlation=rng.choice(["", "id", "c" * 128, "é" * 64]),
    )


def features(case: Case) -> set[str]:
    """What a case of a few lines shows."""

    def size(what: str, name: str) -> str:
        wide = "beyond ASCII " if not name.isascii() else ""
        return f"no {what}" if not name else f"{wide}{what} {'short' if len(name.encode()) < 128 else 'long'}"

    shown = {"quote" if case.is_quote else "price", "marks" if case.marks else "no marks"}
    shown |= {size("currency", named(case.names["currency"], case.currency)), size("version", case.version)}
    shown.add("availability" if case.free else "no availability")
    for answer, mark in zip(case.answers, case.marks or [[0, -1]] * len(case.answers), strict=True):
        shown |= {LineStatus(answer[kn.ANSWER_STATUS]).name, f"source {mark[0]}"}
        shown |= {"age" if mark[1] >= 0 else "no age", f"exception {answer[kn.ANSWER_EXCEPTION]}"}
        shown.add("an end" if answer[kn.ANSWER_VALID_UNTIL] < NEVER_US else "no end")
        if answer[kn.ANSWER_STATUS] == LineStatus.OK:
            shown.add(size("book", named(case.names["book"], answer[kn.ANSWER_BOOK])))
            shown.add("entry of a delta" if answer[kn.ANSWER_ENTRY] >= case.full_load else "entry")
            shown.add("of many" if answer[kn.ANSWER_PRICE_PER] > 1 else "of one")
            shown |= {f"lifted {answer[kn.ANSWER_LIFTED]}", f"converted {answer[kn.ANSWER_CONVERTED]}"}
            for price in answer[kn.ANSWER_UNIT_PRICE : kn.ANSWER_EXTENDED_PRICE + 1]:
                shown |= {"extreme price"} if price in {INT64_MAX, INT64_MIN} else set()
    for one, free in zip([None, *case.free], case.free, strict=False):
        shown.add(f"availability {AvailabilityStatus(free[FREE_STATUS]).name}")
        shown.add(
            "no day"
            if free[FREE_DAY] < 0
            else "day again"
            if one and one[FREE_DAY] == free[FREE_DAY]
            else "day"
        )
        differing = sum(map(int.__ne__, one[FREE_FRESH:], free[FREE_FRESH:])) if one else FREE_SIZE
        shown.add({0: "as fresh", 1: "nearly as fresh"}.get(differing, "freshness"))
        shown |= {"no instant"} if NO_INSTANT in free[FREE_AS_OF:] else set()
    return shown


# -- the run ----------------------------------------------------------------------------------------------------------


def as_text(case: Case) -> str:
    """A case as one line."""
    return json.dumps(asdict(case), ensure_ascii=False, separators=(",", ":"))


def every_room(length: int) -> range:
    """None is too small, none near what is needed is left out."""
    return range(length + SLACK + 2)


def replay(corpus: Corpus) -> Counter[str]:
    """Every case of the corpus, with every buffer size."""
    seen = Counter[str]()
    for text in corpus:
        case = Case(**json.loads(text))
        held_equal(case, matrix_with(case.names, full_load=case.full_load), every_room)
        seen["lines"] += len(case.answers)
    return seen


def fuzz(seed: int, lines: int, corpus: Corpus) -> Counter[str]:
    """Random cases by kernels and runtime; returns what occurred. Cases with new features join the corpus."""
    rng, seen = np.random.default_rng(seed), Counter[str]()

    def few_rooms(length: int) -> Sequence[int]:
        near = rng.integers(max(0, length - 2 * SLACK), length + SLACK + 2, 8)
        return [0, length, length + SLACK, *near.tolist(), *rng.integers(0, length + 1, 8).tolist()]

    def all_rooms(length: int) -> Sequence[int]:
        return every_room(length) if length < EVERY_ROOM_MAX else few_rooms(length)

    while seen["lines"] < lines:
        names = random_names(rng)
        for _ in range(50):
            is_small = rng.random() < 0.3
            case = random_case(rng, names, int(rng.integers(0, 4) if is_small else rng.integers(4, 120)))
            try:
                seen["rooms"] += held_equal(
                    case,
                    matrix_with(case.names, full_load=case.full_load),
                    all_rooms if is_small else few_rooms,
                )
            except (AssertionError, IndexError) as error:
                raise AssertionError(f"seed {seed}: {error}: {as_text(case)}") from error
            seen["lines"] += len(case.answers)
            seen["answers"] += 1
            if 0 < len(case.answers) < 3 and corpus.is_new(shown := features(case)):
                text = as_text(case)
                if len(text) < TEXT_MAX:
                    corpus.add(shown, text)
    return seen

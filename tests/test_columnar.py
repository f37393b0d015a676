"""The foundation of both domains: each part beside Python's own way to say the same."""

import bisect
import json
import math
import random
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricegrid.columnar.bits import count_ones, lowest_one, word_of
from pricegrid.columnar.decimals import decimal_text
from pricegrid.columnar.exact import (
    add,
    common_divisor,
    common_multiple,
    mul_high,
    mul_low,
    subtract,
    sum_overflows,
)
from pricegrid.columnar.instants import (
    day_date,
    day_number,
    day_start_us,
    instant_of_us,
    instant_text,
    instant_us_text,
    us_of,
)
from pricegrid.columnar.jit import compiled
from pricegrid.columnar.names import (
    IN_ORDER,
    Names,
    find_name,
    name_key,
    name_order_fault,
    slots_for,
    text_and_offsets,
)
from pricegrid.columnar.search import first_at_least, first_row_at_least
from pricegrid.columnar.tables import load_word, store_word

INT64 = st.integers(-(2**63), 2**63 - 1)
NAMES = st.lists(st.binary(max_size=20), unique=True, max_size=40)


def names_of(names: list[bytes]) -> Names:
    return Names(*text_and_offsets(names))


# -- decimals and instants ------------------------------------------------------------------------------------


@given(INT64)
def test_a_decimal_is_exact_and_as_short_as_can_be(micros):
    text = decimal_text(micros)

    assert Decimal(text) * 10**6 == micros
    assert "E" not in text
    assert not text.endswith(".")
    assert "." not in text or not text.endswith("0")


@pytest.mark.parametrize(
    ("micros", "text"),
    [(0, "0"), (-1, "-0.000001"), (12_500_000, "12.5"), (10**8, "100"), (-(2**63), "-9223372036854.775808")],
)
def test_decimals_as_people_write_them(micros, text):
    assert decimal_text(micros) == text


@given(st.datetimes(timezones=st.just(UTC)))
def test_an_instant_comes_back_from_its_number_and_from_its_text(instant):
    assert instant_of_us(us_of(instant)) == instant
    assert datetime.fromisoformat(instant_us_text(us_of(instant))) == instant
    assert instant_us_text(us_of(instant)) == instant_text(instant)


@pytest.mark.parametrize(
    ("instant_us", "timespec", "text"),
    [
        (0, "auto", "1970-01-01T00:00:00Z"),
        (-1, "auto", "1969-12-31T23:59:59.999999Z"),
        (1_500_000, "auto", "1970-01-01T00:00:01.500000Z"),
        (90_000_000, "minutes", "1970-01-01T00:01Z"),
    ],
)
def test_instants_as_people_write_them(instant_us, timespec, text):
    assert instant_us_text(instant_us, timespec) == text


def test_an_instant_outside_the_calendar_is_refused():
    with pytest.raises(OverflowError):
        instant_us_text(2**62)


@given(st.dates())
def test_a_date_comes_back_from_its_number(day):
    assert day_date(day_number(day)) == day


@pytest.mark.parametrize(
    ("zone", "day", "start"),
    [
        ("UTC", date(2026, 3, 2), "2026-03-02T00:00:00+00:00"),
        ("Europe/Berlin", date(2026, 3, 29), "2026-03-29T00:00:00+01:00"),
        ("America/Sao_Paulo", date(2018, 11, 4), "2018-11-04T01:00:00-02:00"),  # no midnight
        ("America/Havana", date(2025, 11, 2), "2025-11-02T00:00:00-04:00"),  # midnight twice
        (
            "America/St_Johns",
            date(2010, 11, 7),
            "2010-11-07T00:00:00-02:30",
        ),  # back to the day before at 00:01
        ("Pacific/Apia", date(2011, 12, 30), "2011-12-31T00:00:00+14:00"),  # no such day
    ],
)
def test_a_day_starts_with_its_first_instant(zone, day, start):
    found = day_start_us(day, ZoneInfo(zone))

    assert found == us_of(datetime.fromisoformat(start))
    assert instant_of_us(found - 1).astimezone(ZoneInfo(zone)).date() < day


# -- names ----------------------------------------------------------------------------------------------------


@given(NAMES, NAMES)
@settings(max_examples=60, deadline=None)  # the first call compiles
def test_names_are_found_by_hash_and_by_order_alike(known, others):
    known = sorted(known)
    names, wanted = names_of(known), [*known, *others]
    slots = slots_for(names.text, names.offsets)
    ordinals = {name: ordinal for ordinal, name in enumerate(known)}
    expected = [ordinals.get(name, -1) for name in wanted]

    assert names.all() == known
    assert names.find_all(wanted).tolist() == expected
    for name, ordinal in zip(wanted, expected, strict=True):
        asked = np.frombuffer(b"<" + name + b">", np.uint8)
        assert find_name(names.text, names.offsets, slots, asked, 1, len(name)) == ordinal


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=9), unique=True, max_size=30))
def test_texts_are_found_in_byte_order(known):
    known = sorted(known, key=str.encode)
    names = names_of([name.encode() for name in known])

    assert [names.find(name) for name in known] == list(range(len(known)))
    assert [names[ordinal] for ordinal in range(len(names))] == known
    assert names.ordinals() == {name: ordinal for ordinal, name in enumerate(known)}
    assert names.find("\U0010ffff\U0010ffff") == -1
    assert names.name(-1) == b""


@given(st.lists(st.binary(max_size=3), max_size=12))
@settings(deadline=None)
def test_the_first_name_out_of_order_is_found(names):
    faults = [at for at in range(1, len(names)) if names[at] <= names[at - 1]]

    assert name_order_fault(*text_and_offsets(names)) == (faults[0] if faults else IN_ORDER)


# -- kernels --------------------------------------------------------------------------------------------------


@given(st.lists(INT64, max_size=30), INT64, st.integers(0, 30), st.integers(0, 30))
@settings(deadline=None)
def test_a_binary_search_finds_what_bisect_finds(values, wanted, low, high):
    values.sort()
    low, high = sorted((min(low, len(values)), min(high, len(values))))
    rows = np.zeros((len(values), 2), np.int64)
    rows[:, 1] = values
    expected = bisect.bisect_left(values, wanted, low, high)

    assert first_at_least(np.array(values, np.int64), wanted, low, high) == expected
    assert first_row_at_least(rows, 1, wanted, low, high) == expected


@given(INT64, INT64)
@settings(deadline=None)
def test_a_sum_overflows_when_python_says_so(one, other):
    assert sum_overflows(one, other) == (not -(2**63) <= one + other < 2**63)


@given(st.integers(1, 2**63 - 1), st.integers(1, 2**63 - 1))
@settings(deadline=None)
def test_divisors_and_multiples_are_those_of_python(one, other):
    multiple = math.lcm(one, other)

    assert common_divisor(one, other) == math.gcd(one, other)
    assert common_multiple(one, other) == (multiple if multiple < 2**63 else 0)


FRACTIONS = st.tuples(
    st.integers(0, 2**127 - 1) | st.integers(0, 2**70), st.integers(1, 2**63 - 1) | st.integers(1, 9)
)


def _halves(number):
    return number >> 64, (number + 2**63) % 2**64 - 2**63


@given(FRACTIONS, FRACTIONS)
@settings(deadline=None)
def test_sums_and_differences_of_fractions_are_exact_or_refused(one, other):
    for operate, expected in (
        (add, Fraction(*one) + Fraction(*other)),
        (subtract, max(Fraction(0), Fraction(*one) - Fraction(*other))),
    ):
        fits, high, low, denominator = operate(*_halves(one[0]), one[1], *_halves(other[0]), other[1])
        if fits:
            assert Fraction((high << 64) + low % 2**64, denominator) == expected
            assert high >= 0
            assert denominator > 0
        else:
            common = math.lcm(one[1], other[1])
            numerators = [each[0] * common // each[1] for each in (one, other)]
            assert common >= 2**63 or max(*numerators, sum(numerators)) >= 2**127


@compiled
def _bits(word):
    return count_ones(word), lowest_one(word)


@given(INT64)
@settings(deadline=None)
def test_bits_are_counted(word):
    assert _bits(word) == ((word % 2**64).bit_count(), 64 if word == 0 else (word & -word).bit_length() - 1)


@given(st.binary(max_size=20), st.integers(0, 20), st.integers(0, 8))
@settings(deadline=None)
def test_eight_bytes_are_a_word_with_the_first_lowest(text, start, length):
    start = min(start, len(text))
    length = min(length, len(text) - start)
    word = word_of(np.frombuffer(text, np.uint8), start, length)

    assert int(word) % 2**64 == int.from_bytes(text[start : start + length], "little")


def test_the_epoch_is_day_zero():
    assert day_number(date(1970, 1, 1)) == 0
    assert us_of(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=1)) == 1_000_000


# -- without numba --------------------------------------------------------------------------------------------

INTERPRETED = """
import json, sys
from pricegrid.service.process.interpreted import interpret_kernels

assert interpret_kernels()
from tests.test_columnar import answers

print(json.dumps(answers(json.load(sys.stdin))))
assert "llvmlite.binding" not in sys.modules
"""


@compiled
def _words(one, other):
    return mul_high(one, other), mul_low(one, other), count_ones(one)


@compiled
def _stored(room, at, word):
    store_word(room, at, word)
    return load_word(room, at)


def answers(asked):
    """What kernels make of names (as hexadecimal digits) and pairs of int64, as JSON has it."""
    names = [bytes.fromhex(name) for name in asked["names"]]
    text, offsets = text_and_offsets(names)
    slots, room = slots_for(text, offsets), np.zeros(16, np.uint8)
    return {
        "words": [[int(each) for each in _words(*map(np.int64, pair))] for pair in asked["pairs"]],
        "stored": [[int(_stored(room, 5, np.int64(one))), room.tobytes().hex()] for one, _ in asked["pairs"]],
        "keys": [int(name_key(text, *span)) for span in zip(offsets, np.diff(offsets), strict=False)],
        "slots": slots.tolist(),
        "found": [
            int(find_name(text, offsets, slots, np.frombuffer(b"-" + name, np.uint8), 1, len(name)))
            for name in names
        ],
        "in order": Names(text, offsets).find_all(names).tolist(),
    }


def test_without_numba_names_and_words_are_the_same():
    drawn = random.Random(14)
    ends = [0, 1, -1, 2**63 - 1, -(2**63)]
    pairs = [(one, other) for one in ends for other in ends]
    pairs += [tuple(drawn.randrange(-(2**63), 2**63) for _ in range(2)) for _ in range(100)]
    names = sorted({drawn.randbytes(length) for length in range(26) for _ in range(3)})
    asked = {"names": [name.hex() for name in names], "pairs": pairs}

    ended = subprocess.run(
        [sys.executable, "-c", INTERPRETED],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout) == answers(asked)

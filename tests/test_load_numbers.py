"""Numbers and dates of the input, read exactly."""

from datetime import UTC, date, datetime, time
from decimal import Decimal
from fractions import Fraction

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricegrid.columnar.instants import day_start_us
from pricegrid.loaders.errors import DatasetError
from pricegrid.loaders.read.instants import InstantReader, time_zone
from pricegrid.loaders.tables import Kind
from pricegrid.loaders.validate.tables import validate_tables
from pricegrid.pricing_engine.model import ALWAYS_US, NEVER_US
from tests.load_tables import DISTRIBUTOR, entries, loaded, rejected, table
from tests.profiles import examples

INT64_MAX = 2**63 - 1


def read_on_hand(values: pl.Series) -> tuple[list[int], list[tuple[int, str]]]:
    """The column `on_hand`, which takes every sign: what was read, and (line, reason) of what wasn't."""
    n = len(values)
    stock = pl.DataFrame(
        {
            "sku": [f"S{i}" for i in range(n)],
            "branch": ["B"] * n,
            "on_hand": values,
            "as_of": ["2026-01-01"] * n,
        }
    )
    items = pl.DataFrame({"sku": stock["sku"], "base_uom": ["EA"] * n})
    branches = pl.DataFrame({"branch": stock["branch"].unique()})
    dataset = validate_tables({"items": items, "branches": branches, "stock": stock})
    return (
        dataset.frames["stock"]["on_hand_micros"]
        .drop_nulls()
        .to_list(),  # a rejected row is there, as unknown
        [(line, reason) for line, _, reason in rejected(dataset, "stock")],
    )


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("0", 0),
        ("-0", 0),
        ("12", 12_000_000),
        ("+12", 12_000_000),
        ("0.1", 100_000),
        (".5", 500_000),
        ("5.", 5_000_000),
        ("007.50", 7_500_000),
        ("0.000001", 1),
        ("-0.000001", -1),
        ("1.10000000000000", 1_100_000),
        ("0.30000000000000000000", 300_000),
        ("1234567.891011", 1_234_567_891_011),
        ("9007199254.740993", 9_007_199_254_740_993),  # 2**53 + 1: lost by a double
        ("9223372036854.775807", INT64_MAX),
        ("-9223372036854.775808", -(2**63)),
        ("  7  ", 7_000_000),
    ],
)
def test_decimals_are_read_to_the_last_digit(text: str, micros: int) -> None:
    assert read_on_hand(pl.Series([text])) == ([micros], [])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1,234.50", '"1,234.50" has a thousands separator'),
        ("1.234,50", '"1.234,50" has a thousands separator or a decimal comma'),
        ("12,50", '"12,50" has a thousands separator or a decimal comma'),
        ("1'234'567", "has a thousands separator"),
        ("0.0000001", '"0.0000001" is finer than 10^-6'),
        ("1.2345678", '"1.2345678" is finer than 10^-6'),
        ("9223372036854.775808", "is out of range"),
        ("-9223372036854.775809", "is out of range"),
        ("99999999999999999999999999999999999999999999", "is out of range"),
        ("1e5", '"1e5" is not a number'),
        ("NaN", '"NaN" is not a number'),
        ("inf", "is not a number"),
        ("12.5 EUR", "is not a number"),
        ("0x10", "is not a number"),
        ("1_000", "is not a number"),
        ("--1", "is not a number"),
        (".", "is not a number"),
        ("١٢", "is not a number"),
    ],
)
def test_what_is_no_exact_decimal_is_rejected_with_its_reason(text: str, reason: str) -> None:
    values, rejects = read_on_hand(pl.Series([text, "1"]))

    assert values == [1_000_000]
    assert [line for line, _ in rejects] == [2]
    assert reason in rejects[0][1]


@settings(max_examples=examples(300), deadline=None)
@given(st.integers(-(2**63), INT64_MAX), st.integers(0, 5))
def test_every_int64_survives_as_text(micros: int, zeros: int) -> None:
    text = f"{Decimal(micros).scaleb(-6):f}"
    text += ("" if "." in text else ".") + "0" * zeros

    assert read_on_hand(pl.Series([text])) == ([micros], [])


@pytest.mark.parametrize(
    ("values", "micros", "bad"),
    [
        (pl.Series([7, -3], dtype=pl.Int32), [7_000_000, -3_000_000], 0),
        (pl.Series([9_223_372_036_854, 9_223_372_036_855], dtype=pl.Int64), [9_223_372_036_854_000_000], 1),
        (pl.Series([2**64 - 1], dtype=pl.UInt64), [], 1),
        (pl.Series([Decimal("1.25"), Decimal("-0.01")], dtype=pl.Decimal(12, 2)), [1_250_000, -10_000], 0),
        (pl.Series([Decimal("1.25000000"), Decimal("0.00000001")], dtype=pl.Decimal(20, 8)), [1_250_000], 1),
        (pl.Series([Decimal(10) ** 30], dtype=pl.Decimal(38, 2)), [], 1),
        (pl.Series([0.1, 12.5, 1e-7, float("nan")]), [100_000, 12_500_000], 2),
    ],
    ids=["int32", "int64", "uint64", "decimal 2", "decimal 8", "decimal wide", "float"],
)
def test_native_parquet_numbers_are_exact_too(values: pl.Series, micros: list[int], bad: int) -> None:
    read, rejects = read_on_hand(values)

    assert read == micros
    assert len(rejects) == bad


def us(year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> int:
    return int(datetime(year, month, day, hour, minute, tzinfo=UTC).timestamp()) * 1_000_000


@pytest.mark.parametrize(
    ("zone", "day", "start"),
    [
        ("UTC", date(2026, 3, 29), us(2026, 3, 29)),
        ("Europe/Berlin", date(2026, 3, 29), us(2026, 3, 28, 23)),
        ("Europe/Berlin", date(2026, 3, 30), us(2026, 3, 29, 22)),
        ("Europe/Berlin", date(2024, 2, 29), us(2024, 2, 28, 23)),
        ("America/New_York", date(2026, 11, 2), us(2026, 11, 2, 5)),
        ("America/Sao_Paulo", date(2018, 11, 4), us(2018, 11, 4, 3)),  # no midnight: the clock jumps to 01:00
        ("America/Havana", date(2025, 11, 2), us(2025, 11, 2, 4)),  # no second midnight: first 00:00, of two
        ("Asia/Beirut", date(2022, 3, 27), us(2022, 3, 26, 22)),  # no midnight
        ("Pacific/Apia", date(2011, 12, 30), us(2011, 12, 30, 10)),  # a day that never was: the next one
        ("Pacific/Apia", date(2011, 12, 31), us(2011, 12, 30, 10)),
        ("America/Toronto", date(1919, 3, 31), us(1919, 3, 31, 4, 30)),  # 23:30 jumped to 00:30
    ],
)
def test_a_day_begins_at_its_first_instant(zone: str, day: date, start: int) -> None:
    assert day_start_us(day, time_zone(zone)) == start


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        (Kind.VALID_FROM, "2026-01-01", us(2025, 12, 31, 23)),
        (Kind.VALID_TO, "2026-01-31", us(2026, 1, 31, 23)),  # inclusive: up to the start of 1 February
        (Kind.VALID_TO, "2026-03-28", us(2026, 3, 28, 23)),
        (Kind.VALID_TO, "2026-03-29", us(2026, 3, 29, 22)),
        (Kind.VALID_TO, "2026-01-31T12:00:00Z", us(2026, 1, 31, 12)),  # an instant is exclusive
        (Kind.VALID_TO, "9999-12-31", NEVER_US),
        (Kind.INSTANT, "2026-01-31T12:00:00+05:30", us(2026, 1, 31, 6, 30)),
        (Kind.INSTANT, "2026-01-31t12:00:00.000001z", us(2026, 1, 31, 12) + 1),
        (Kind.INSTANT, "1969-12-31T23:59:59.5-00:00", -500_000),
        (Kind.INSTANT, "2026-01-31T12:00:00", None),  # whose noon?
        (Kind.INSTANT, "2026-02-29", None),
        (Kind.INSTANT, "2026-01-31T25:00:00Z", None),
        (Kind.INSTANT, "2026-01-31T12:00:00.0000001Z", None),
        (Kind.INSTANT, "2026-01-31T12:00:00+25:00", None),
        (Kind.INSTANT, "20260131", None),
        (Kind.INSTANT, "2026-W05-6", None),
        (Kind.INSTANT, "31.01.2026", None),
        (Kind.INSTANT, "0001-01-01", -62_135_596_800_000_000 - 3_208_000_000),  # local mean time of Berlin
    ],
)
def test_instants_and_inclusive_end_dates(kind: Kind, text: str, expected: int | None) -> None:
    assert InstantReader("Europe/Berlin").read(kind, [text]) == [expected]


def test_blank_windows_are_open() -> None:
    frame = loaded().frames["price_entries"]

    assert frame["valid_from_us"].to_list() == [ALWAYS_US, ALWAYS_US]
    assert frame["valid_to_us"].to_list() == [NEVER_US, NEVER_US]


def test_native_dates_and_datetimes_mean_what_their_text_means() -> None:
    items = table("sku, base_uom\nA, EA")
    for values in (
        pl.Series([date(2026, 7, 1)]),
        pl.Series(
            [datetime.combine(date(2026, 7, 1), time.min)]
        ),  # without a zone: local time of the dataset
        pl.Series([datetime(2026, 6, 30, 22, tzinfo=UTC)], dtype=pl.Datetime("ns", "UTC")),
        pl.Series(["2026-07-01"]),
        pl.Series(["2026-06-30T22:00:00Z"]),
    ):
        costs = pl.DataFrame({"sku": ["A"], "cost": ["1"], "currency": ["EUR"], "valid_from": values})
        dataset = validate_tables({"items": items, "costs": costs}, "Europe/Berlin")
        assert dataset.frames["costs"]["valid_from_us"].to_list() == [us(2026, 6, 30, 22)], values.dtype


def test_a_date_that_cannot_be_read_is_rejected_and_the_window_must_not_be_empty() -> None:
    dataset = loaded(
        entries(
            "LIST, BOLT, , , , , net, 1, , 31/12/2026, , ,",
            "LIST, BOLT, , , , , net, 1, , 2026-02-01, 2026-01-31, ,",
            "LIST, BOLT, , , , , net, 1, , 2026-02-01, 2026-02-01, ,",
        )
    )

    first, second = rejected(dataset, "price_entries")
    assert first[:2] == (2, "valid_from")
    assert '"31/12/2026" is neither a date' in first[2]
    assert second == (3, "valid_to", '"2026-01-31" is before valid_from')
    assert dataset.frames["price_entries"].height == 1


def test_an_unknown_time_zone_stops_the_load() -> None:
    with pytest.raises(DatasetError, match='unknown time zone "Mars/Olympus"'):
        loaded(time_zone="Mars/Olympus")


def test_units_and_rates_are_fractions_in_lowest_terms() -> None:
    dataset = loaded(
        {
            "uoms": """
            sku,  uom,   numerator, denominator
            BOLT, PAIR,  2,
            BOLT, PACK,  2.5,
            BOLT, THIRD, 1,         3
            NUT,  LB,    0.453592,  1
            NUT,  ZERO,  0,         1
            NUT,  NEG,   1,         -2
            BOLT, EA,    1,         1
            NUT,  EA,    2,         2
            DRILL, EA,   2,         1
            """,
            "exchange_rates": """
            from_currency, to_currency, rate, valid_from
            EUR, USD, 1.085, 2026-01-01
            """,
        }
    )

    fractions = dataset.frames["uoms"].select("uom", "numerator", "denominator").rows()
    assert fractions == [
        ("PAIR", 2, 1),
        ("PACK", 5, 2),
        ("THIRD", 1, 3),
        ("LB", 56_699, 125_000),
        ("EA", 1, 1),
        ("EA", 1, 1),
    ]
    assert rejected(dataset, "uoms") == [
        (6, "numerator", '"0" is not above zero'),
        (7, "denominator", '"-2" is not above zero'),
        (10, "numerator", '"EA" is the base unit and must be 1/1'),
    ]
    assert dataset.frames["exchange_rates"].select("numerator", "denominator").rows() == [(217, 200)]


@pytest.mark.parametrize(
    ("numerator", "denominator", "expected"),
    [
        ("0.45359237", "", (45_359_237, 100_000_000)),  # a pound in kg
        ("1.541250015413", "", (1_541_250_015_413, 10**12)),
        ("0.000000000001", "", (1, 10**12)),
        ("1", "2.000000000001", (10**12, 2_000_000_000_001)),
        ("123456789.5", "0.25", (493_827_158, 1)),
        ("9223372036854775807", "", (INT64_MAX, 1)),
        ("30000000.000000000003", "30000000.000000000003", (1, 1)),
    ],
)
def test_a_factor_has_up_to_twelve_decimals(
    numerator: str, denominator: str, expected: tuple[int, int]
) -> None:
    dataset = loaded({"uoms": f"sku, uom, numerator, denominator\nNUT, LB, {numerator}, {denominator}"})

    assert dataset.frames["uoms"].select("numerator", "denominator").rows() == [expected]


@pytest.mark.parametrize(
    ("rate", "reason"),
    [
        ("0.0000000000001", '"0.0000000000001" is finer than 10^-12'),
        ("9223372036854775808", "in lowest terms it needs more than 63 bits"),
        ("10000000.000000000001", "in lowest terms it needs more than 63 bits"),
        ("1" * 40, "is out of range"),
        ("-1", '"-1" is not above zero'),
    ],
)
def test_a_rate_that_is_no_exact_fraction_is_rejected(rate: str, reason: str) -> None:
    rows = f"from_currency, to_currency, rate, valid_from\nEUR, USD, {rate}, 2026-01-01"

    ((_, column, why),) = rejected(loaded({"exchange_rates": rows}), "exchange_rates")

    assert column == "rate"
    assert reason in why


@settings(max_examples=examples(200), deadline=None)
@given(st.integers(1, 10**19), st.integers(1, 10**19))
def test_every_factor_is_read_exactly_or_rejected(over: int, under: int) -> None:
    texts = [f"{Decimal(each).scaleb(-12):f}" for each in (over, under)]

    dataset = loaded({"uoms": f"sku, uom, numerator, denominator\nNUT, LB, {texts[0]}, {texts[1]}"})

    ratio = Fraction(over, under)
    fits = max(ratio.numerator, ratio.denominator) <= INT64_MAX
    expected = [(ratio.numerator, ratio.denominator)] if fits else []
    assert dataset.frames["uoms"].select("numerator", "denominator").rows() == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pl.Series([12, 3], dtype=pl.Int32), [(12, 1), (3, 1)]),
        (
            pl.Series([Decimal("0.45359237"), Decimal(2)], dtype=pl.Decimal(20, 8)),
            [(45_359_237, 10**8), (2, 1)],
        ),
        (pl.Series([Decimal("0.0000000000001"), Decimal(2)], dtype=pl.Decimal(30, 13)), [(2, 1)]),
        (pl.Series([0.45359237, 2.0]), [(45_359_237, 10**8), (2, 1)]),
    ],
    ids=["int32", "decimal 8", "decimal 13", "float"],
)
def test_native_factors_are_exact_too(values: pl.Series, expected: list[tuple[int, int]]) -> None:
    tables = {name: table(text) for name, text in DISTRIBUTOR.items() if name == "items"}
    uoms = pl.DataFrame({"sku": ["NUT", "NUT"], "uom": ["A", "B"], "numerator": values})

    found = validate_tables({**tables, "uoms": uoms}).frames["uoms"]

    assert found.select("numerator", "denominator").rows() == expected


@pytest.mark.parametrize(
    "valid_to",
    ["2026-06-30T23:59:59Z", "2026-06-30T23:59:59.999Z", "2026-06-30 23:59:59+02:00"],
)
def test_an_instant_in_the_last_second_of_a_day_is_a_warning(valid_to: str) -> None:
    dataset = loaded(
        entries(
            "LIST, BOLT, , , , , net, 1, , , 2026-06-30, ,",
            f"LIST, NUT, , , , , net, 1, , , {valid_to}, ,",
            f"LIST, DRILL, , , , , net, 1, , , {valid_to}, ,",
        )
    )

    assert dataset.counts["price_entries"].accepted == 3
    assert dataset.warnings == [
        (
            f'price_entries.csv: 2 rows have a valid_to at 23:59:59, e.g. "{valid_to}", which leaves out what '
            "follows until midnight: write the date alone (lines 3, 4)"
        )
    ]


def test_a_native_instant_in_the_last_second_of_a_day_is_a_warning_too() -> None:
    ends = [datetime(2026, 6, 30, 23, 59, 59, tzinfo=UTC), datetime(2026, 7, 1, tzinfo=UTC)]
    tables = {name: table(text) for name, text in DISTRIBUTOR.items()}
    tables["agreements"] = pl.DataFrame(
        {"book_id": ["LIST", "DEAL"], "everyone": ["true", "true"], "valid_to": ends}
    )

    (warning,) = validate_tables(tables).warnings

    assert warning.startswith("agreements.csv: 1 rows have a valid_to at 23:59:59")

"""Files as people have them: each is read right, or refused with the fix named. A row a file."""

from datetime import date, datetime
from pathlib import Path

import pytest

from pricegrid.loaders.errors import DatasetError
from pricegrid.loaders.read.dialect import Dialect
from pricegrid.loaders.read.tables import read_table
from pricegrid.loaders.tables import TABLES
from pricegrid.loaders.validate.tables import Dataset, validate_alone
from tests.files_as_written import workbook
from tests.load_tables import rejected

READ: dict[str, tuple[str, bytes, list[tuple[object, ...]]]] = {
    "semicolons": ("items.csv", b"sku;base_uom\nA;EA\n", [("A", "EA")]),
    "tabs": ("items.csv", b"sku\tbase_uom\nA\tEA\n", [("A", "EA")]),
    "pipes": ("items.csv", b"sku|base_uom\nA|EA\n", [("A", "EA")]),
    "sep= line": ("items.csv", b"sep=;\r\nsku;base_uom\r\nA;EA\r\n", [("A", "EA")]),
    "commas inside semicolons": ("items.csv", b"sku;base_uom\nA,1;EA\n", [("A,1", "EA")]),
    "semicolons inside commas": ("items.csv", b"sku,base_uom\nA;1;2,EA\n", [("A;1;2", "EA")]),
    "quoted separators": ("items.csv", b'sku;base_uom\n"A;1";"EA"\n', [("A;1", "EA")]),
    "quoted quotes": ("items.csv", b'sku|base_uom\n"3/4"" A"|EA\n', [('3/4" A', "EA")]),
    "stray quotes": ("items.csv", b'sku;base_uom\n3/4" A;EA\n', [('3/4" A', "EA")]),
    "quoted newline": ("items.csv", b'sku;base_uom\n"A\nB";EA\n', [("A\nB", "EA")]),
    "CR line ends": ("items.csv", b"sku;base_uom\rA;EA\rB;EA\r", [("A", "EA"), ("B", "EA")]),
    "CRLF written as text": ("items.csv", b"sku,base_uom\r\r\nA,EA\r\r\n", [("A", "EA")]),
    "no newline at the end": ("items.csv", b"sku,base_uom\nA,EA", [("A", "EA")]),
    "blank rows": ("items.csv", b"sku;base_uom\n\n;\nA;EA\n ; \n", [("A", "EA")]),
    "UTF-8 mark": ("items.csv", "\ufeffsku;base_uom\nÄ;EA\n".encode(), [("Ä", "EA")]),
    "UTF-16 LE mark": ("items.csv", "\ufeffsku;base_uom\nÄ;日\n".encode("utf-16-le"), [("Ä", "日")]),
    "UTF-16 BE mark": ("items.csv", "\ufeffsku\tbase_uom\r\nÄ\tEA\r\n".encode("utf-16-be"), [("Ä", "EA")]),
    "letters of all Latin pages": (
        "items.csv",
        "sku;base_uom\nSchlüssel;Stück\nGröße 3;EA\n".encode("cp1252"),
        [("Schlüssel", "Stück"), ("Größe 3", "EA")],
    ),
    "decimal commas": ("safety_stock.csv", b"sku;branch;quantity\nA;N;12,50\n", [("A", "N", 12_500_000)]),
    "points for thousands": (
        "safety_stock.csv",
        b"sku;branch;quantity\nA;N;1.234\nB;N;1.234.567,5\n",
        [("A", "N", 1_234_000_000), ("B", "N", 1_234_567_500_000)],
    ),
    "commas for thousands": (
        "safety_stock.csv",
        b'sku,branch,quantity\nA,N,"1,234"\nB,N,"1,234.5"\n',
        [("A", "N", 1_234_000_000), ("B", "N", 1_234_500_000)],
    ),
    "three decimals beside others": (
        "safety_stock.csv",
        b"sku,branch,quantity\nA,N,1.234\nB,N,0.5\n",
        [("A", "N", 1_234_000), ("B", "N", 500_000)],
    ),
    "blanks for thousands": (
        "safety_stock.csv",
        "sku;branch;quantity\nA;N;1 234,5\nB;N;12\u00a0345\n".encode(),
        [("A", "N", 1_234_500_000), ("B", "N", 12_345_000_000)],
    ),
    "apostrophes for thousands": (
        "safety_stock.csv",
        b"sku;branch;quantity\nA;N;1'234.5\n",
        [("A", "N", 1_234_500_000)],
    ),
    "dotted dates": ("calendars.csv", b"calendar;date;working\nC;1.3.2026;no\n", [("C", date(2026, 3, 1))]),
    "compact dates": ("calendars.csv", b"calendar;date;working\nC;20260301;no\n", [("C", date(2026, 3, 1))]),
    "year first with slashes": (
        "calendars.csv",
        b"calendar,date,working\nC,2026/03/01,no\n",
        [("C", date(2026, 3, 1))],
    ),
    "day first by its column": (
        "calendars.csv",
        b"calendar,date,working\nC,01/02/2026,no\nC,31/12/2026,no\n",
        [("C", date(2026, 2, 1)), ("C", date(2026, 12, 31))],
    ),
    "month first by its column": (
        "calendars.csv",
        b"calendar,date,working\nC,01/02/2026,no\nC,12/31/2026,no\n",
        [("C", date(2026, 1, 2)), ("C", date(2026, 12, 31))],
    ),
    "workbook": (
        "safety_stock.xlsx",
        workbook([["sku", "branch", "quantity"], ["A", "N", 0.1 + 0.2], [None] * 3, ["B", "N", 7]]),
        [("A", "N", 300_000), ("B", "N", 7_000_000)],
    ),
    "workbook with padded numbers": (
        "items.xlsx",
        workbook([["sku", "base_uom"], [123, "EA"], ["00124", "EA"]], {"A2": "00000"}),
        [("00123", "EA"), ("00124", "EA")],
    ),
    "workbook with dates": (
        "calendars.xlsx",
        workbook([["calendar", "date", "working"], ["C", date(2026, 3, 1), False]]),
        [("C", date(2026, 3, 1))],
    ),
    "workbook with text like numbers": (
        "safety_stock.xlsx",
        workbook([["sku", "branch", "quantity"], ["A", "N", "1.234,50"], ["B", "N", 1.234]]),
        [("A", "N", 1_234_500_000), ("B", "N", 1_234_000)],
    ),
}

REJECTED: dict[str, tuple[str, bytes, int, str, str]] = {
    "1.234 alone": (
        "safety_stock.csv",
        b"sku;branch;quantity\nB;N;7\nA;N;1.234\n",
        *(3, "quantity", "say --decimal point or --decimal comma (either 1.234 or 1234)"),
    ),
    "1,234 alone": (
        "safety_stock.csv",
        b'sku,branch,quantity\nA,N,"1,234"\n',
        *(2, "quantity", "say --decimal point or --decimal comma (either 1.234 or 1234)"),
    ),
    "decimal comma among points": (
        "safety_stock.csv",
        b'sku,branch,quantity\nB,N,1.5\nA,N,"1,5"\n',
        *(3, "quantity", 'write it like "1234.50"'),
    ),
    "decimal comma without quotes": (
        "safety_stock.csv",
        b"sku,branch,quantity\nA,N,12,50\n",
        *(2, "", "a decimal comma needs quotes, or another separator"),
    ),
    "01/02/2026 alone": (
        "calendars.csv",
        b"calendar,date,working\nC,01/02/2026,no\n",
        *(2, "date", "say --dates day-first or --dates month-first (either 2026-02-01 or 2026-01-02)"),
    ),
    "year of two digits": (
        "calendars.csv",
        b"calendar;date;working\nC;01.02.26;no\n",
        *(2, "date", "has a year of two digits: write it like 2026-03-29"),
    ),
    "serial day": (
        "calendars.csv",
        b"calendar;date;working\nC;46110;no\n",
        *(2, "date", "format the column as a date"),
    ),
    "day that is none": (
        "calendars.csv",
        b"calendar;date;working\nC;31.02.2026;no\n",
        *(2, "date", "is not a date like 2026-03-29"),
    ),
    "time without a zone": (
        "feeds.csv",
        b"branch;source;as_of\nN;erp;29.03.2026 14:30\n",
        *(2, "as_of", "write it like 2026-03-29T14:30:00+02:00, or the date alone"),
    ),
    "letters of one Latin page": (
        "items.csv",
        "sku;base_uom\nCrème;EA\n".encode("cp1252"),
        *(2, "sku", "bytes that are not UTF-8"),
    ),
    "scientific notation": (
        "safety_stock.csv",
        b"sku;branch;quantity\nA;N;1,2E+05\n",
        *(2, "quantity", "is not a number"),
    ),
    "currency signs": (
        "safety_stock.csv",
        "sku;branch;quantity\nA;N;€ 12,50\n".encode(),
        *(2, "quantity", "is not a number"),
    ),
    "broken surrogate": (
        "items.csv",
        b"\xff\xfe" + "sku;base_uom\nA".encode("utf-16-le") + b"\x00\xd8" + ";EA\n".encode("utf-16-le"),
        *(2, "sku", "bytes that are not utf-16-le"),
    ),
    "formula without a result": (
        "safety_stock.xlsx",
        workbook([["sku", "branch", "quantity"], ["A", "N", "=1+1"]]),
        *(2, "quantity", "calculate the workbook and save it"),
    ),
    "percentage of a workbook": (
        "safety_stock.xlsx",
        workbook([["sku", "branch", "quantity"], ["A", "N", 0.25]], {"C2": "0%"}),
        *(2, "quantity", "format the column as a number (either 0.25 or 25)"),
    ),
    "name that became a date": (
        "items.xlsx",
        workbook([["sku", "base_uom"], [datetime(2026, 4, 3), "EA"]]),  # noqa: DTZ001 -- as a sheet has it
        *(2, "sku", "format the column as text"),
    ),
    "name of too many digits": (
        "items.xlsx",
        workbook([["sku", "base_uom"], [4_012_345_678_901_234, "EA"]]),
        *(2, "sku", "format the column as text"),
    ),
    "error of a workbook": (
        "items.xlsx",
        workbook([["sku", "base_uom"], ["#N/A", "EA"]]),
        *(2, "sku", "is an error of the spreadsheet"),
    ),
}

REFUSED: dict[str, tuple[str, bytes, str]] = {
    "UTF-16 without a mark": (
        "items.csv",
        "sku;base_uom\nA;EA\n".encode("utf-16-le"),
        "say --encoding utf-16-le",
    ),
    "UTF-32": ("items.csv", "sku;base_uom\nA;EA\n".encode("utf-32"), "save it as UTF-8"),
    "UTF-16 cut off": ("items.csv", "sku;base_uom\nA;EA\n".encode("utf-16")[:-1], "is it cut off?"),
    "separator at the end": ("items.csv", b"sku;base_uom;\nA;EA;\n", "take away the separator"),
    "another separator": ("items.csv", b"sku:base_uom\nA:EA\n", "the header has sku:base_uom"),
    "workbook that is none": ("items.xlsx", b"sku;base_uom\nA;EA\n", "can't be read as .xlsx"),
    "workbook without rows": ("items.xlsx", workbook([]), "a row with the column names is required"),
}


def load(folder: Path, name: str, data: bytes, stated: Dialect | None = None) -> Dataset:
    path = folder / name
    path.write_bytes(data)
    return validate_alone(read_table(path, TABLES[name.partition(".")[0]], stated or Dialect()))


def test_there_are_forty_hazards_at_least() -> None:
    assert len(READ) + len(REJECTED) + len(REFUSED) >= 40


@pytest.mark.parametrize("hazard", READ)
def test_a_file_is_read_right(hazard: str, tmp_path: Path) -> None:
    name, data, expected = READ[hazard]

    dataset = load(tmp_path, name, data)

    frame = dataset.frames[name.partition(".")[0]]
    assert [row[: len(expected[0])] for row in frame.rows()] == expected
    assert dataset.rejects == {}


@pytest.mark.parametrize("hazard", REJECTED)
def test_a_row_is_rejected_with_the_fix_named(hazard: str, tmp_path: Path) -> None:
    name, data, line, column, reason = REJECTED[hazard]

    ((found_line, found_column, found_reason),) = rejected(load(tmp_path, name, data), name.partition(".")[0])

    assert (found_line, found_column) == (line, column)
    assert reason in found_reason


@pytest.mark.parametrize("hazard", REFUSED)
def test_a_file_is_refused_with_the_fix_named(hazard: str, tmp_path: Path) -> None:
    name, data, words = REFUSED[hazard]

    with pytest.raises(DatasetError) as error:
        load(tmp_path, name, data)

    assert words in str(error.value)
    assert str(error.value).startswith(name)


@pytest.mark.parametrize(
    ("hazard", "stated", "expected"),
    [
        ("1.234 alone", Dialect(decimal="point"), 1_234_000),
        ("1.234 alone", Dialect(decimal="comma"), 1_234_000_000),
        ("1,234 alone", Dialect(decimal="point"), 1_234_000_000),
        ("1,234 alone", Dialect(decimal="comma"), 1_234_000),
        ("01/02/2026 alone", Dialect(dates="day-first"), date(2026, 2, 1)),
        ("01/02/2026 alone", Dialect(dates="month-first"), date(2026, 1, 2)),
        ("letters of one Latin page", Dialect(encoding="windows-1252"), "Crème"),
        ("letters of one Latin page", Dialect(encoding="windows-1250"), "Crčme"),
    ],
)
def test_the_fix_that_is_named_works(hazard: str, stated: Dialect, expected: object, tmp_path: Path) -> None:
    name, data, *_ = REJECTED[hazard]

    dataset = load(tmp_path, name, data, stated)

    assert expected in dataset.frames[name.partition(".")[0]].row(-1)
    assert dataset.rejects == {}


@pytest.mark.parametrize("notation", ["12.5", "1,234.5"])
def test_a_number_against_what_is_said_of_its_file_is_rejected(notation: str, tmp_path: Path) -> None:
    data = f"sku;branch;quantity\nA;N;{notation}\nB;N;3,5\n".encode()

    dataset = load(tmp_path, "safety_stock.csv", data, Dialect(decimal="comma"))

    assert dataset.frames["safety_stock"]["quantity_micros"].to_list() == [3_500_000]
    assert [line for line, *_ in rejected(dataset, "safety_stock")] == [2]


def test_what_is_guessed_is_said(tmp_path: Path) -> None:
    data = "sku;order_multiple;base_uom\nGrün;1.000;EA\nB;2,5;EA\n".encode("cp1252")

    text = load(tmp_path, "items.csv", data).dialects["items"].text

    assert text == (
        "items.csv: separated by semicolon, windows-1252, decimal comma (the header; not UTF-8; all Latin code pages "
        'read it alike, e.g. "Grün"; line 3: order_multiple "2,5"; thousands separators: order_multiple "1.000" is '
        "1000)"
    )


def test_an_encoding_that_cannot_be_shown_is_told_in_its_readings(tmp_path: Path) -> None:
    name, data, *_ = REJECTED["letters of one Latin page"]

    (warning,) = load(tmp_path, name, data).warnings

    assert '"Crème;EA" in windows-1252, "Crčme;EA" in windows-1250' in warning
    assert warning.endswith("say --encoding")


def test_a_file_of_both_notations_is_told_by_both_lines(tmp_path: Path) -> None:
    name, data, *_ = REJECTED["decimal comma among points"]

    (warning,) = load(tmp_path, name, data).warnings

    assert 'decimal points (line 2: quantity "1.5") and decimal commas (line 3: quantity "1,5")' in warning


def test_rows_of_one_cause_are_told_as_one(tmp_path: Path) -> None:
    torn = b"".join(b"A%d,N,%d,50\n" % (number, number) for number in range(5))

    (cause,) = load(tmp_path, "safety_stock.csv", b"sku,branch,quantity\n" + torn).causes

    assert cause.text == (
        "5× safety_stock: 4 fields where the header names 3 (a decimal comma needs quotes, or another separator)"
    )

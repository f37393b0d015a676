"""Reading files: every record is read, or set apart with its file, line and reason; nothing is lost."""

import csv
import gzip
import io
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricegrid.loaders.errors import DatasetError
from pricegrid.loaders.read.tables import Source, find_tables, read_table
from pricegrid.loaders.tables import TABLES
from pricegrid.loaders.validate.tables import read_dataset
from tests.load_tables import rejected
from tests.profiles import examples

GROUPS = TABLES["product_groups"]
ITEMS = TABLES["items"]

Write = Callable[[str, bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_file(name: str, data: bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return path

    return write_file


def test_the_three_formats_give_the_same_frames(tmp_path: Path) -> None:
    frame = pl.DataFrame({"sku": ["A", "B"], "base_uom": ["EA", "M"], "order_multiple": ["2.5", None]})
    for ending in ("csv", "csv.gz", "parquet"):
        (tmp_path / ending).mkdir()
    frame.write_csv(tmp_path / "csv" / "items.csv")
    (tmp_path / "csv.gz" / "items.csv.gz").write_bytes(gzip.compress(frame.write_csv().encode()))
    frame.write_parquet(tmp_path / "parquet" / "items.parquet")

    read = [read_dataset(tmp_path / ending).frames["items"] for ending in ("csv", "csv.gz", "parquet")]

    assert read[0].select("sku", "order_multiple_micros").rows() == [("A", 2_500_000), ("B", None)]
    assert read[0].equals(read[1])
    assert read[0].equals(read[2])


@pytest.mark.parametrize("name", ["items.csv", "items.csv.gz"])
def test_lines_are_physical_lines_even_with_line_breaks_in_fields(write: Write, name: str) -> None:
    path = write(
        name,
        b"sku,base_uom,description\n"
        b'A,EA,"two\nlines"\n'
        b"\n"
        b"\xff,EA,bad bytes\n"
        b"B,EA\n"
        b"C,EA,plain\r\n"
        b"D,EA,plain,surplus\n"
        b"E,EA,last line without end",
    )

    raw = read_table(path, ITEMS)

    assert raw.frame["sku"].to_list() == ["A", "C", "E"]
    assert raw.frame["description"].to_list() == ["two\nlines", "plain", "last line without end"]
    assert raw.line_of(pl.Series([0, 1, 2])).to_list() == [2, 7, 9]
    assert raw.broken is not None
    assert raw.broken.select("sku", "file", "line", "column", "reason").rows() == [
        ("\\xff", name, 5, "sku", "bytes that are not UTF-8"),
        ("B", name, 6, "", "2 fields where the header names 3"),
        ("D", name, 8, "", "4 fields where the header names 3; too many: surplus"),
    ]
    assert raw.rows == 6


@pytest.mark.parametrize(
    "bad",
    [
        b"\x80",
        b"\xc0\xaf",
        b"\xc3",
        b"\xe0\x80\x80",
        b"\xed\xa0\x80",
        b"\xf0\x82\x82\xac",
        b"\xf4\x90\x80\x80",
        b"\xfe",
    ],
    ids=["lone", "overlong", "cut", "overlong 3", "surrogate", "overlong 4", "beyond", "never"],
)
def test_bytes_that_are_not_utf8_cost_their_row_only(write: Write, bad: bytes) -> None:
    raw = read_table(
        write("items.csv", b"sku,base_uom\nA,EA\n" + bad + b'B,EA\n"' + bad + b'",EA\nC,EA\n'), ITEMS
    )

    assert raw.frame["sku"].to_list() == ["A", "C"]
    assert raw.broken is not None
    assert raw.broken["line"].to_list() == [3, 4]


@pytest.mark.parametrize("text", ["é", "Ünïcode", "日本", "𝄞", "\U0010ffff", "\u0800", "\ud7ff", "\ue000"])
def test_text_beyond_ascii_is_kept(write: Write, text: str) -> None:
    raw = read_table(write("items.csv", f"sku,base_uom\n{text},EA\n".encode()), ITEMS)

    assert raw.frame["sku"].to_list() == [text]


def test_a_quote_inside_an_unquoted_field_is_text(write: Write) -> None:
    path = write(
        "items.csv", b'sku,base_uom,description\nA,EA,3/4" elbow, \nB,EA,3/4" elbow\nC,EA,"1"" nut"\n'
    )

    raw = read_table(path, ITEMS)

    assert raw.frame.select("sku", "description").rows() == [("B", '3/4" elbow'), ("C", '1" nut')]
    assert raw.line_of(pl.Series([0, 1])).to_list() == [3, 4]


def test_a_lost_quote_costs_its_line_and_not_the_rest_of_the_file(write: Write) -> None:
    lines = [b"sku,base_uom,description", b'A,EA,"open', *[b"B%d,EA,fine" % i for i in range(1_500)]]

    raw = read_table(write("items.csv", b"\n".join(lines)), ITEMS)

    assert raw.frame.height == 1_500
    assert raw.broken is not None
    assert raw.broken.select("line", "reason").rows() == [(2, "a quote is opened and never closed")]


def test_text_after_a_closing_quote_is_rejected(write: Write) -> None:
    raw = read_table(write("items.csv", b'sku,base_uom\n"A"x,EA\n"B",EA\r\n'), ITEMS)

    assert raw.frame["sku"].to_list() == ["B"]
    assert raw.broken is not None
    assert raw.broken.select("line", "reason").rows() == [(2, "text follows a closing quote")]


FIELD = st.text(st.sampled_from('ab ,"\n\ré€'), max_size=6).filter(lambda text: "\r" not in text)


@settings(max_examples=examples(150), deadline=None)
@given(st.lists(st.tuples(FIELD, FIELD, FIELD), min_size=1, max_size=6))
def test_whatever_a_csv_writer_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list
) -> None:
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerows([("sku", "base_uom", "description"), *rows])
    path = tmp_path_factory.mktemp("csv") / "items.csv"
    path.write_text(text.getvalue(), encoding="utf-8", newline="")

    raw = read_table(path, ITEMS)

    assert raw.broken is None
    assert [tuple(v or "" for v in row) for row in raw.frame.rows()] == rows


@settings(max_examples=examples(300), deadline=None)
@given(st.lists(st.binary(max_size=12), max_size=12))
def test_any_bytes_are_read_or_set_apart_and_nothing_is_lost(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]
) -> None:
    good = b"GOOD,\n"
    body = b"".join(line.replace(b"\n", b" ") + b"\n" + good for line in lines)
    path = tmp_path_factory.mktemp("csv") / "product_groups.csv"
    path.write_bytes(b"product_group,parent\n" + good + body)

    raw = read_table(path, GROUPS)

    blank = sum(line.replace(b"\n", b" ") in (b"", b"\r") for line in lines)
    if b'"' not in body:
        assert raw.rows == 1 + 2 * len(lines) - blank
    assert raw.frame["product_group"].to_list()[0] == "GOOD"


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("items.csv", b"", "items.csv: is empty; a header line"),
        ("items.csv", b"\xef\xbb\xbf\n", "items.csv: is empty"),
        (
            "items.csv",
            b"sku:base_uom\nA:EA\n",
            "items.csv: required column sku, base_uom is missing; the header has sku:base",
        ),
        ("items.csv", b"sku,base_uom,sku\n", 'items.csv: the header names column "sku" twice'),
        ("items.csv", b"sku,base_uom,\n", "items.csv: column 3 of the header has no name"),
        ("items.csv", b"sku,base_uom,\xff\n", "items.csv: the header is not UTF-8: say --encoding"),
        ("items.parquet", b"not parquet", "items.parquet: can't be read as Parquet"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(write: Write, name: str, data: bytes, message: str) -> None:
    path = write(name, data)

    with pytest.raises(DatasetError, match=message.replace("(", r"\(")):
        read_table(path, ITEMS)


def test_a_truncated_gzip_is_named(write: Write) -> None:
    path = write("items.csv.gz", b"sku,base_uom\n" + b"A,EA\n" * 1_000)
    path.write_bytes(path.read_bytes()[:-12])

    with pytest.raises(DatasetError, match=r"items\.csv\.gz: can't be unpacked"):
        read_table(path, ITEMS)


def test_a_byte_order_mark_and_an_unknown_column_are_accepted(write: Write) -> None:
    raw = read_table(write("items.csv", b"\xef\xbb\xbfsku, base_uom ,colour\r\nA,EA,red\r\n"), ITEMS)

    assert raw.frame.rows() == [("A", "EA", "red")]
    assert raw.warnings == ('items.csv: unknown column "colour" is ignored',)


def test_a_file_with_a_header_only_has_no_rows(write: Write) -> None:
    assert read_table(write("items.csv", b"sku,base_uom\n"), ITEMS).frame.height == 0
    assert read_table(write("items.csv", b"sku,base_uom"), ITEMS).frame.height == 0


def test_a_nested_parquet_column_is_ignored_with_a_warning(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {"sku": ["A", ""], "base_uom": ["EA", "EA"], "tags": [["x"], []], "raw": [b"\xff", b"ok"]}
    )
    frame.write_parquet(tmp_path / "items.parquet")

    dataset = read_dataset(tmp_path)

    assert dataset.frames["items"]["sku"].to_list() == ["A"]
    assert dataset.warnings[0] == 'items.parquet: column "tags" is nested and is ignored'
    row = dataset.rejects["items"].row(0, named=True)
    assert (row["raw"], row["line"], row["reason"]) == ("ok", 2, "required and blank")


def test_input_columns_keep_their_names_in_the_rejects(write: Write, tmp_path: Path) -> None:
    write("items.csv", b"sku,base_uom,file,line\n,EA,scan.pdf,9\nA,EA\n")

    rejects = read_dataset(tmp_path).rejects["items"]

    assert rejects.columns == [
        *("sku", "base_uom", "file", "line", "file_", "line_"),
        *("column", "reason", "caused_by"),
    ]
    assert rejects.select("file", "line", "file_", "line_").rows() == [
        ("scan.pdf", "9", "items.csv", 2),
        (None, None, "items.csv", 3),
    ]


def test_blanks_around_values_do_not_count_in_small_or_large_files(write: Write, tmp_path: Path) -> None:
    for rows in (3, 70_000):
        lines = "".join(f"S{i},EA,\n" for i in range(rows))
        write("items.csv", f"sku,base_uom,order_multiple\n{lines} PAD\t, EA ,  5 \n   ,EA,\n".encode())
        dataset = read_dataset(tmp_path)
        assert dataset.frames["items"].row(-1, named=True)["sku"] == "PAD"
        assert dataset.frames["items"]["order_multiple_micros"].max() == 5_000_000
        assert rejected(dataset, "items") == [(rows + 3, "sku", "required and blank")]


def test_the_directory_is_checked(write: Write, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="doesn't exist"):
        find_tables(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="is empty"):
        find_tables(tmp_path)
    write("README.md", b"hello")
    write("items.csv", b"sku,base_uom\n")
    assert find_tables(tmp_path) == (
        {"items": Source(tmp_path / "items.csv")},
        ["README.md: ignored, neither .csv, .csv.gz, .parquet nor .xlsx"],
    )
    write("items.parquet", b"")
    with pytest.raises(DatasetError, match=r"table items has two files, items.csv and items.parquet"):
        find_tables(tmp_path)
    (tmp_path / "items.parquet").unlink()
    write("prices.csv", b"sku\n")
    with pytest.raises(DatasetError, match=r'prices.csv: unknown table "prices"'):
        find_tables(tmp_path)


def test_broken_records_and_rejected_rows_come_out_together_in_the_order_of_the_file(
    write: Write, tmp_path: Path
) -> None:
    write("items.csv", b"sku,base_uom,extra\n\xff,EA,1\n,EA,2\nA,EA,3\nB,EA\n")

    dataset = read_dataset(tmp_path)

    assert rejected(dataset, "items") == [
        (2, "sku", "bytes that are not UTF-8"),
        (3, "sku", "required and blank"),
        (5, "", "2 fields where the header names 3"),
    ]
    assert dataset.rejects["items"].columns == [
        "sku",
        "base_uom",
        "extra",
        "file",
        "line",
        "column",
        "reason",
        "caused_by",
    ]
    assert dataset.counts["items"].rows == 4
    assert dataset.counts["items"].accepted == 1
    assert dataset.counts["items"].rejected == 3

"""Price requests and responses: which requests are refused; decoding and encoding agree with the protobuf runtime."""

from dataclasses import replace
from datetime import date

import pytest

from pricegrid import v1
from pricegrid.pricing_engine.engine import PriceAsk
from pricegrid.pricing_engine.kernels.price import NO_AS_OF
from pricegrid.pricing_engine.lines import LineColumns
from pricegrid.service.codec import prices as codec
from pricegrid.service.erp_overlay.price_sources import LineSource
from pricegrid.service.errors import Reason, RequestRefusedError
from pricegrid.service.limits import FIELD_BYTES_MAX, LINES_MAX, SKU_BYTES_MAX, UOM_BYTES_MAX
from tests.fakes import FakeEngine
from tests.runtime_answers import judge_answers  # noqa: F401 - the fixture `judged`

HEADER = codec.ResponseHeader("20260101T000000Z-00000000", snapshot_age_ms=7, as_of_us=8, correlation_id="id")


def request(*skus: str, **fields) -> bytes:
    lines = [v1.PriceLine(sku=sku, quantity_micros=1_000_000) for sku in skus]
    return v1.PriceLinesRequest(lines=lines, **fields).SerializeToString()


def stamp(seconds: int, nanos: int = 0) -> dict[str, dict[str, int]]:
    return {"as_of_time": {"seconds": seconds, "nanos": nanos}}


BAD_REQUESTS = [
    ("no lines", request(), Reason.NO_LINES),
    ("one line too many", request(*["A"] * (LINES_MAX + 1)), Reason.TOO_MANY_LINES),
    ("a SKU of one byte too many", request("A", "B" * (SKU_BYTES_MAX + 1)), Reason.SKU_TOO_LONG),
    ("a SKU of a megabyte", request("A" * 1_000_000), Reason.SKU_TOO_LONG),
    ("a SKU long in bytes, not in characters", request("é" * SKU_BYTES_MAX), Reason.SKU_TOO_LONG),
    (
        "a unit too long",
        v1.PriceLinesRequest(
            lines=[v1.PriceLine(sku="A", uom="U" * (UOM_BYTES_MAX + 1))]
        ).SerializeToString(),
        Reason.UOM_TOO_LONG,
    ),
    ("a customer id too long", request("A", customer_id="C" * (FIELD_BYTES_MAX + 1)), Reason.FIELD_TOO_LONG),
    ("a branch too long", request("A", branch="B" * (FIELD_BYTES_MAX + 1)), Reason.FIELD_TOO_LONG),
    ("a month that does not exist", request("A", as_of_date="2026-13-01"), Reason.INVALID_AS_OF),
    ("a date in short form", request("A", as_of_date="20260101"), Reason.INVALID_AS_OF),
    ("a week date", request("A", as_of_date="2026-W01-1"), Reason.INVALID_AS_OF),
    ("an empty date", request("A", as_of_date=""), Reason.INVALID_AS_OF),
    ("the year 10000", request("A", **stamp(253_402_300_800)), Reason.INVALID_AS_OF),
    ("the year 0", request("A", **stamp(-62_135_596_801)), Reason.INVALID_AS_OF),
    ("negative nanos", request("A", **stamp(0, -1)), Reason.INVALID_AS_OF),
    ("no protobuf", b"\xff\xff\xff", Reason.MALFORMED_REQUEST),
    ("a line cut short", request("ABC")[:-1], Reason.MALFORMED_REQUEST),
    ("text that is not UTF-8", request("AAAA").replace(b"AAAA", b"\xff\xfeAA"), Reason.MALFORMED_REQUEST),
]


@pytest.mark.parametrize(
    ("raw", "reason"), [case[1:] for case in BAD_REQUESTS], ids=[case[0] for case in BAD_REQUESTS]
)
def test_refuses(raw, reason):
    with pytest.raises(RequestRefusedError) as refused:
        codec.decode_price_lines(raw)

    assert refused.value.reason is reason


def test_the_refusal_of_a_long_sku_names_its_line():
    with pytest.raises(RequestRefusedError) as refused:
        codec.decode_price_lines(request("A", "B" * 200))

    assert refused.value.metadata == {"index": "1", "bytes_max": "128"}
    assert "lines[1]" in refused.value.message


def test_takes_as_many_lines_as_it_says():
    query = codec.decode_price_lines(request(*["A" * SKU_BYTES_MAX] * LINES_MAX))

    assert len(query.lines.skus) == LINES_MAX


AS_OF = [
    ({}, None),
    ({"as_of_date": "2024-02-29"}, date(2024, 2, 29)),
    (stamp(0), 0),
    (stamp(1, 1_999), 1_000_001),
    (stamp(-1, 999_999_999), -1),
    (stamp(253_402_300_799, 999_999_999), 253_402_300_799_999_999),
]


@pytest.mark.parametrize(("fields", "as_of"), AS_OF)
def test_reads_the_instant_asked_about(fields, as_of):
    assert codec.decode_price_lines(request("A", **fields)).as_of == as_of


def test_reads_lines_as_columns():
    lines = [
        v1.PriceLine(sku="é", quantity_micros=-(2**63), uom="BOX"),
        v1.PriceLine(sku="", quantity_micros=5),
    ]
    raw = v1.PriceLinesRequest(customer_id="C", currency="EUR", branch="B", lines=lines).SerializeToString()

    query = codec.decode_price_lines(raw)

    assert (query.customer_id, query.currency, query.branch) == ("C", "EUR", "B")
    assert query.lines.skus == ["é".encode(), b""]
    assert query.lines.quantities_micros.tolist() == [-(2**63), 5]
    assert query.lines.uoms == [b"BOX", b""]


def test_an_explanation_needs_a_line():
    with pytest.raises(RequestRefusedError) as refused:
        codec.decode_explain_price(v1.ExplainPriceRequest(customer_id="C").SerializeToString())

    assert refused.value.reason is Reason.NO_LINES


def ask_of(lines: LineColumns) -> PriceAsk:
    return PriceAsk.of(lines, customer_id="C", currency="", branch="", as_of_us=0, service_desk=False)


def encoded(*skus: str) -> v1.PriceLinesResponse:
    query = codec.decode_price_lines(request(*skus))
    engine = FakeEngine()
    answers = engine.price(ask_of(query.lines))
    return v1.PriceLinesResponse.FromString(codec.encode_price_lines(engine, answers, HEADER))


def test_answers_are_dense_and_in_order():
    statuses = [v1.LineStatus.Name(result.status) for result in encoded("A", "?", "min", "A").results]

    assert statuses == [
        "LINE_STATUS_OK",
        "LINE_STATUS_UNKNOWN_ITEM",
        "LINE_STATUS_BELOW_MINIMUM",
        "LINE_STATUS_OK",
    ]


def test_a_line_without_price_carries_none():
    unknown = encoded("?").results[0]

    assert unknown == v1.PriceLineResult(status=v1.LineStatus.LINE_STATUS_UNKNOWN_ITEM)


def test_a_line_below_its_minimum_says_what_it_is():
    below = encoded("min").results[0]

    assert below.minimum_quantity_micros == 5_000_000
    assert not below.HasField("unit_price_micros")


def test_a_price_carries_where_it_comes_from():
    priced = encoded("A").results[0]

    assert (priced.book_id, priced.entry_id, priced.layer) == ("book-0", "entry-0", "layer-0")
    assert priced.source == v1.PriceSource.PRICE_SOURCE_MATRIX
    assert (priced.unit_price_micros, priced.extended_price_micros) == (1_500_000, 1_500_000)
    assert priced.valid_until_us == 1_000_000


def test_the_answer_names_its_snapshot():
    answer = encoded("A")

    assert (answer.snapshot_version, answer.snapshot_age_ms) == ("20260101T000000Z-00000000", 7)
    assert (answer.as_of_us, answer.correlation_id, answer.currency) == (8, "id", "EUR")


def test_lines_that_the_erp_answered_say_so_as_the_runtime_writes_it(judged):
    engine = FakeEngine()
    query = codec.decode_price_lines(request("A", "?", "min", "A"))
    answers = engine.price(ask_of(query.lines))
    sources = {
        0: LineSource(v1.PriceSource.PRICE_SOURCE_ERP, 0),
        3: LineSource(v1.PriceSource.PRICE_SOURCE_ERP_CACHED, 2**40),
    }

    raw = codec.encode_price_lines(engine, answers, HEADER, sources)

    results = v1.PriceLinesResponse.FromString(raw).results
    assert [result.source for result in results] == [sources[0].source, 0, 0, sources[3].source]
    assert [result.source_age_ms for result in results if result.HasField("source_age_ms")] == [0, 2**40]
    assert judged == [raw]


SCANNED = [
    request("A", "B", customer_id="C", currency="EUR", branch="B", snapshot_version="v", **stamp(1, 1_999)),
    request("A"),
    request("A", branch="B") + v1.PriceLinesRequest(branch="C").SerializeToString(),  # the last one counts
    request("é", customer_id="C"),
    request("A", as_of_date="2024-02-29"),
    v1.PriceLinesRequest(
        lines=[
            v1.PriceLine(sku="A", as_of_date="2024-02-29"),
            v1.PriceLine(sku="A", uom="BOX", **stamp(1, 1_999)),
            v1.PriceLine(sku="A"),
        ]
    ).SerializeToString(),
]


def columns_of(lines: LineColumns) -> tuple[list[bytes], list[int], list[bytes], list[int]]:
    """All that they say, also read name by name, and as a kernel reads them."""
    own = [NO_AS_OF] * len(lines.skus) if lines.as_of_us is None else lines.as_of_us.tolist()
    columns = list(lines.skus), lines.quantities_micros.tolist(), list(lines.uoms), own
    text, rows = lines.for_kernel()
    for at, (row, line) in enumerate(zip(rows.tolist(), zip(*columns, strict=True), strict=True)):
        sku, sku_length, quantity, uom, uom_length, as_of_us = row
        named = text[sku : sku + sku_length].tobytes(), quantity, text[uom : uom + uom_length].tobytes()
        assert (*named, as_of_us) == line == (lines.skus[at], quantity, lines.uoms[at], as_of_us)
    return columns


@pytest.mark.parametrize("raw", SCANNED)
def test_scanner_and_runtime_read_the_same_query(raw, monkeypatch):
    query = codec.decode_price_lines(raw)
    monkeypatch.setattr(codec, "scan", lambda *_, **__: None)
    by_runtime = codec.decode_price_lines(raw)

    assert columns_of(query.lines) == columns_of(by_runtime.lines)
    assert replace(query, lines=by_runtime.lines) == by_runtime


def test_scanner_and_runtime_read_the_same_branches(monkeypatch):
    lines = [v1.PriceLine(sku="A", quantity_micros=1)]
    raw = v1.QuoteLinesRequest(lines=lines, branches=["south", "north", "south"]).SerializeToString()
    scanned = codec.decode_quote_lines(raw)
    monkeypatch.setattr(codec, "scan", lambda *_, **__: None)

    assert scanned.branches == codec.decode_quote_lines(raw).branches == (b"south", b"north")

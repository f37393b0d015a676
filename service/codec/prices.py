"""Price requests from bytes to queries, and price answers to response bytes.

A compiled kernel encodes the result lines from arrays, without an object per line; the protobuf runtime encodes the
header that follows them.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pricegrid import v1
from pricegrid.pricing_engine.engine import PriceAnswers, PriceEngine
from pricegrid.pricing_engine.lines import LineColumns
from pricegrid.service.codec.encode_kernel import write_prices
from pricegrid.service.codec.plain_writer import price_results
from pricegrid.service.codec.request import as_of, check_fields, check_line_count, line_columns, parse
from pricegrid.service.codec.scan import ScannedRequest, scan
from pricegrid.service.erp_overlay.price_sources import NO_PRICE_SOURCES, PriceSources
from pricegrid.service.errors import Reason, RequestRefusedError
from pricegrid.service.process.interpreted import are_interpreted
from pricegrid.service.rpc.call import ResponseHeader

_ARE_INTERPRETED: Final = are_interpreted()

_BUFFER_BYTES, _LINE_BYTES = 1 << 10, 192  # the size of the first buffer: fixed, and per line


@dataclass(frozen=True, slots=True)
class PriceQuery:
    """A validated price request, its lines as columns.

    `as_of` is microseconds since the epoch, a date in the dataset's time zone, or None for now.
    """

    customer_id: str
    currency: str
    branch: str
    as_of: int | date | None
    snapshot_version: str
    lines: LineColumns


def decode_price_lines(raw: bytes, scanned: ScannedRequest | None = None) -> PriceQuery:
    """Decodes and validates a `PriceLinesRequest`, `scanned` if it has been scanned already; raises
    `RequestRefusedError` as docs/api.md lists."""
    scanned = scanned or scan(raw)
    if scanned and len(scanned.branches) <= 1:
        return PriceQuery(
            customer_id=scanned.customer_id,
            currency=scanned.currency,
            branch=scanned.branches[0] if scanned.branches else "",
            as_of=scanned.as_of_us,
            snapshot_version=scanned.snapshot_version,
            lines=scanned.lines,
        )
    request = v1.PriceLinesRequest()
    parse(request, raw)
    check_line_count(len(request.lines))
    return _query(request, request.lines)


def decode_explain_price(raw: bytes) -> PriceQuery:
    """Decodes and validates an `ExplainPriceRequest`, a query of one line."""
    request = v1.ExplainPriceRequest()
    parse(request, raw)
    if not request.HasField("line"):
        raise RequestRefusedError(Reason.NO_LINES, "the request has no line")
    return _query(request, [request.line])


def encode_price_lines(
    engine: PriceEngine,
    answers: PriceAnswers,
    header: ResponseHeader,
    sources: PriceSources = NO_PRICE_SOURCES,
) -> bytes:
    """Encodes a `PriceLinesResponse`."""
    return (
        _results(engine, answers, sources)
        + v1.PriceLinesResponse(**header_fields(answers.currency, header)).SerializeToString()
    )


def encode_explain_price(
    engine: PriceEngine,
    answers: PriceAnswers,
    document: dict[str, object],
    header: ResponseHeader,
    sources: PriceSources = NO_PRICE_SOURCES,
) -> bytes:
    """Encodes an `ExplainPriceResponse`; its one result has the field number of those of a `PriceLinesResponse`."""
    return (
        _results(engine, answers, sources)
        + v1.ExplainPriceResponse(
            explanation_json=json.dumps(document, ensure_ascii=False),
            **header_fields(answers.currency, header),
        ).SerializeToString()
    )


def header_fields(currency: str, header: ResponseHeader) -> dict[str, Any]:
    """The fields that follow the results in every response."""
    return {
        "currency": currency,
        "snapshot_version": header.snapshot_version,
        "snapshot_age_ms": header.snapshot_age_ms,
        "as_of_us": header.as_of_us,
        "correlation_id": header.correlation_id,
    }


def encode_with(lines: int, write: Callable[[NDArray[np.uint8]], int]) -> bytes:
    """The bytes that a kernel writes, in a buffer that doubles while the kernel returns BUFFER_FULL."""
    size = _BUFFER_BYTES + lines * _LINE_BYTES
    while True:
        out = np.empty(size, np.uint8)
        end = write(out)
        if end >= 0:
            return out[:end].tobytes()
        size *= 2


def source_rows(sources: PriceSources, lines: int) -> NDArray[np.int64]:
    """The sources as `encode_kernel` takes them, (lines, 2): PriceSource, 0 for the matrices, and the age in ms, -1 for
    none; (0, 2) when all prices are from the matrices."""
    rows = np.zeros((lines if sources else 0, 2), np.int64)
    rows[:, 1] = -1
    for line, own in sources.items():
        rows[line] = own.source, own.age_ms
    return rows


def _results(engine: PriceEngine, answers: PriceAnswers, sources: PriceSources) -> bytes:
    """The results, field 1, with which every response begins."""
    if _ARE_INTERPRETED:
        return v1.PriceLinesResponse(results=price_results(engine, answers, sources)).SerializeToString()
    lines = len(answers.columns)
    rows = source_rows(sources, lines)
    return encode_with(lines, lambda out: write_prices(engine.descriptor, answers.columns, rows, out))


def _query(
    request: v1.PriceLinesRequest | v1.ExplainPriceRequest, lines: Sequence[v1.PriceLine]
) -> PriceQuery:
    check_fields(request, "customer_id", "branch", "currency", "snapshot_version")
    return PriceQuery(
        customer_id=request.customer_id,
        currency=request.currency,
        branch=request.branch,
        as_of=as_of(request),
        snapshot_version=request.snapshot_version,
        lines=line_columns(lines),
    )

"""Prices between the bytes of the wire and queries and answers.

Handlers pass bytes: lines are written from arrays by a compiled kernel, without an object each; what an answer says
besides them by the protobuf runtime.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pricegrid import v1
from pricegrid.pricing_engine.engine import PriceAnswers, PriceEngine
from pricegrid.service.codec.encode_kernel import write_prices
from pricegrid.service.codec.plain_writer import price_results
from pricegrid.service.codec.request import as_of, check_fields, check_line_count, line_columns, parse
from pricegrid.service.codec.scan import scan
from pricegrid.service.erp_overlay.price_sources import NO_MARKS, Marks, mark_rows
from pricegrid.service.errors import Reason, RequestRefusedError
from pricegrid.service.process.interpreted import are_interpreted
from pricegrid.service.rpc.call import AnswerHeader

_ROOM_BYTES, _LINE_BYTES = 1 << 10, 192  # of an answer at first


@dataclass(frozen=True, slots=True)
class PriceQuery:
    """What a request asks, checked; lines as columns.

    `as_of` is microseconds since the epoch, a date in the dataset's time zone, or None for now.
    """

    customer_id: str
    currency: str
    branch: str
    as_of: int | date | None
    snapshot_version: str
    skus: Sequence[bytes]
    quantities_micros: NDArray[np.int64]
    uoms: Sequence[bytes]


def decode_price_lines(raw: bytes) -> PriceQuery:
    """Reads and checks a `PriceLinesRequest`; raises `RequestRefusedError` as docs/api.md lists."""
    scanned = scan(raw)
    if scanned and len(scanned.branches) <= 1:
        return PriceQuery(
            customer_id=scanned.customer_id,
            currency=scanned.currency,
            branch=scanned.branches[0] if scanned.branches else "",
            as_of=scanned.as_of_us,
            snapshot_version=scanned.snapshot_version,
            skus=scanned.lines.skus,
            quantities_micros=scanned.lines.quantities_micros,
            uoms=scanned.lines.uoms,
        )
    request = v1.PriceLinesRequest()
    parse(request, raw)
    check_line_count(len(request.lines))
    return _query(request, request.lines)


def decode_explain_price(raw: bytes) -> PriceQuery:
    """Reads and checks an `ExplainPriceRequest`, a query of one line."""
    request = v1.ExplainPriceRequest()
    parse(request, raw)
    if not request.HasField("line"):
        raise RequestRefusedError(Reason.NO_LINES, "the request has no line")
    return _query(request, [request.line])


def encode_price_lines(
    engine: PriceEngine, answers: PriceAnswers, header: AnswerHeader, marks: Marks = NO_MARKS
) -> bytes:
    """Writes a `PriceLinesResponse`."""
    return (
        _results(engine, answers, marks)
        + v1.PriceLinesResponse(**header_fields(answers.currency, header)).SerializeToString()
    )


def encode_explain_price(
    engine: PriceEngine,
    answers: PriceAnswers,
    document: dict[str, object],
    header: AnswerHeader,
    marks: Marks = NO_MARKS,
) -> bytes:
    """Writes an `ExplainPriceResponse`: its one result stands where those of a `PriceLinesResponse` do."""
    return (
        _results(engine, answers, marks)
        + v1.ExplainPriceResponse(
            explanation_json=json.dumps(document, ensure_ascii=False),
            **header_fields(answers.currency, header),
        ).SerializeToString()
    )


def header_fields(currency: str, header: AnswerHeader) -> dict[str, Any]:
    """What follows the results in every answer."""
    return {
        "currency": currency,
        "snapshot_version": header.snapshot_version,
        "snapshot_age_ms": header.snapshot_age_ms,
        "as_of_us": header.as_of_us,
        "correlation_id": header.correlation_id,
    }


def written(lines: int, write: Callable[[NDArray[np.uint8]], int]) -> bytes:
    """What a kernel writes, which says MORE_ROOM until it has enough."""
    room = _ROOM_BYTES + lines * _LINE_BYTES
    while True:
        out = np.empty(room, np.uint8)
        end = write(out)
        if end >= 0:
            return out[:end].tobytes()
        room *= 2


def _results(engine: PriceEngine, answers: PriceAnswers, marks: Marks) -> bytes:
    """The results as field 1, which is the first one of an answer."""
    if are_interpreted():
        return v1.PriceLinesResponse(results=price_results(engine, answers, marks)).SerializeToString()
    lines = len(answers.columns)
    rows = mark_rows(marks, lines)
    return written(lines, lambda out: write_prices(engine.descriptor, answers.columns, rows, out))


def _query(
    request: v1.PriceLinesRequest | v1.ExplainPriceRequest, lines: Sequence[v1.PriceLine]
) -> PriceQuery:
    check_fields(request, "customer_id", "branch", "currency", "snapshot_version")
    columns = line_columns(lines)
    return PriceQuery(
        customer_id=request.customer_id,
        currency=request.currency,
        branch=request.branch,
        as_of=as_of(request),
        snapshot_version=request.snapshot_version,
        skus=columns.skus,
        quantities_micros=columns.quantities_micros,
        uoms=columns.uoms,
    )

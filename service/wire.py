"""Prices between the bytes of the wire and queries and answers.

Handlers pass bytes, so that a codec without an object a line can take the place of the protobuf runtime.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from pricegrid import v1
from pricing_engine.engine import PriceAnswers, PriceEngine
from pricing_engine.model import NEVER_US, LineStatus
from service.erp_marks import NO_MARKS, Marks, mark_results
from service.errors import Reason, RequestRefusedError
from service.exchange import AnswerHeader
from service.wire_request import as_of, check_fields, check_line_count, line_columns, parse

_STATUS_OFFSET = 1  # the wire's zero is UNSPECIFIED


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
    results = price_results(engine, answers)
    mark_results(results, marks)
    return v1.PriceLinesResponse(
        results=results,
        currency=answers.currency,
        snapshot_version=header.snapshot_version,
        snapshot_age_ms=header.snapshot_age_ms,
        as_of_us=header.as_of_us,
        correlation_id=header.correlation_id,
    ).SerializeToString()


def encode_explain_price(
    engine: PriceEngine,
    answers: PriceAnswers,
    document: dict[str, object],
    header: AnswerHeader,
    marks: Marks = NO_MARKS,
) -> bytes:
    """Writes an `ExplainPriceResponse`."""
    results = price_results(engine, answers)
    mark_results(results, marks)
    return v1.ExplainPriceResponse(
        result=results[0],
        explanation_json=json.dumps(document, ensure_ascii=False),
        currency=answers.currency,
        snapshot_version=header.snapshot_version,
        snapshot_age_ms=header.snapshot_age_ms,
        as_of_us=header.as_of_us,
        correlation_id=header.correlation_id,
    ).SerializeToString()


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


def price_results(engine: PriceEngine, answers: PriceAnswers) -> list[v1.PriceLineResult]:
    """The answers as messages, in line order."""
    books = {book: engine.book_id(book) for book in set(answers.book.tolist()) if book >= 0}
    layers = {layer: engine.layer_name(layer) for layer in set(answers.layer.tolist()) if layer >= 0}
    columns = zip(
        answers.status.tolist(),
        answers.exception.tolist(),
        answers.unit_price_micros.tolist(),
        answers.extended_price_micros.tolist(),
        answers.minimum_quantity_micros.tolist(),
        answers.book.tolist(),
        answers.entry.tolist(),
        answers.layer.tolist(),
        answers.valid_until_us.tolist(),
        answers.floor_lifted.tolist(),
        answers.converted.tolist(),
        strict=True,
    )
    results = []
    for (
        status,
        exception,
        unit,
        extended,
        minimum,
        book,
        entry,
        layer,
        until_us,
        lifted,
        converted,
    ) in columns:
        result = v1.PriceLineResult(status=status + _STATUS_OFFSET, exception=exception)
        if until_us < NEVER_US:
            result.valid_until_us = until_us
        if status == LineStatus.OK:
            result.unit_price_micros = unit
            result.extended_price_micros = extended
            result.source = v1.PriceSource.PRICE_SOURCE_MATRIX
            result.book_id = books.get(book, "")
            result.entry_id = engine.entry_id(entry) if entry >= 0 else ""
            result.layer = layers.get(layer, "")
            result.floor_lifted = lifted
            result.converted = converted
        elif status == LineStatus.BELOW_MINIMUM:
            result.minimum_quantity_micros = minimum
        results.append(result)
    return results

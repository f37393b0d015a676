"""Between the bytes of the wire and queries and answers: what comes in is checked here, once.

Handlers pass bytes, so that a codec without an object a line can take the place of the protobuf runtime.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from pricegrid import v1
from pricing_engine.engine import PriceAnswers, PriceEngine
from pricing_engine.model import NEVER_US, LineStatus
from service.errors import Reason, RequestRefusedError
from service.limits import FIELD_BYTES_MAX, LINES_MAX, SKU_BYTES_MAX, UOM_BYTES_MAX

_SECONDS_MIN = -62_135_596_800  # 0001-01-01T00:00:00Z
_SECONDS_MAX = 253_402_300_799  # 9999-12-31T23:59:59Z
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


@dataclass(frozen=True, slots=True)
class AnswerHeader:
    """What every answer says of itself."""

    snapshot_version: str
    snapshot_age_ms: int
    as_of_us: int
    correlation_id: str


def decode_price_lines(raw: bytes) -> PriceQuery:
    """Reads and checks a `PriceLinesRequest`; raises `RequestRefusedError` as docs/api.md lists."""
    request = v1.PriceLinesRequest()
    _parse(request, raw)
    if not request.lines:
        raise RequestRefusedError(Reason.NO_LINES, "the request has no lines")
    if len(request.lines) > LINES_MAX:
        raise RequestRefusedError(
            Reason.TOO_MANY_LINES,
            f"{len(request.lines)} lines in one request; at most {LINES_MAX}",
            lines=str(len(request.lines)),
            lines_max=str(LINES_MAX),
        )
    return _query(request, request.lines)


def decode_explain_price(raw: bytes) -> PriceQuery:
    """Reads and checks an `ExplainPriceRequest`, a query of one line."""
    request = v1.ExplainPriceRequest()
    _parse(request, raw)
    if not request.HasField("line"):
        raise RequestRefusedError(Reason.NO_LINES, "the request has no line")
    return _query(request, [request.line])


def encode_price_lines(engine: PriceEngine, answers: PriceAnswers, header: AnswerHeader) -> bytes:
    """Writes a `PriceLinesResponse`."""
    return v1.PriceLinesResponse(
        results=_results(engine, answers),
        currency=answers.currency,
        snapshot_version=header.snapshot_version,
        snapshot_age_ms=header.snapshot_age_ms,
        as_of_us=header.as_of_us,
        correlation_id=header.correlation_id,
    ).SerializeToString()


def encode_explain_price(
    engine: PriceEngine, answers: PriceAnswers, document: dict[str, object], header: AnswerHeader
) -> bytes:
    """Writes an `ExplainPriceResponse`."""
    return v1.ExplainPriceResponse(
        result=_results(engine, answers)[0],
        explanation_json=json.dumps(document, ensure_ascii=False),
        currency=answers.currency,
        snapshot_version=header.snapshot_version,
        snapshot_age_ms=header.snapshot_age_ms,
        as_of_us=header.as_of_us,
        correlation_id=header.correlation_id,
    ).SerializeToString()


def _parse(request: v1.PriceLinesRequest | v1.ExplainPriceRequest, raw: bytes) -> None:
    try:
        request.ParseFromString(raw)
    except DecodeError as error:
        raise RequestRefusedError(Reason.MALFORMED_REQUEST, "the bytes are no such message") from error


def _query(
    request: v1.PriceLinesRequest | v1.ExplainPriceRequest, lines: Sequence[v1.PriceLine]
) -> PriceQuery:
    for field in ("customer_id", "branch", "currency", "snapshot_version"):
        if len(getattr(request, field).encode()) > FIELD_BYTES_MAX:
            raise RequestRefusedError(
                Reason.FIELD_TOO_LONG, f"{field} is longer than {FIELD_BYTES_MAX} bytes", field=field
            )
    skus = [line.sku.encode() for line in lines]
    uoms = [line.uom.encode() for line in lines]
    _check_lengths("sku", skus, SKU_BYTES_MAX, Reason.SKU_TOO_LONG)
    _check_lengths("uom", uoms, UOM_BYTES_MAX, Reason.UOM_TOO_LONG)
    return PriceQuery(
        customer_id=request.customer_id,
        currency=request.currency,
        branch=request.branch,
        as_of=_as_of(request),
        snapshot_version=request.snapshot_version,
        skus=skus,
        quantities_micros=np.fromiter((line.quantity_micros for line in lines), np.int64, len(lines)),
        uoms=uoms,
    )


def _check_lengths(field: str, values: list[bytes], bytes_max: int, reason: Reason) -> None:
    if max(map(len, values)) <= bytes_max:
        return
    index = next(i for i, value in enumerate(values) if len(value) > bytes_max)
    message = f"{field} of lines[{index}] has {len(values[index])} bytes; at most {bytes_max}"
    raise RequestRefusedError(reason, message, index=str(index), bytes_max=str(bytes_max))


def _as_of(request: v1.PriceLinesRequest | v1.ExplainPriceRequest) -> int | date | None:
    match request.WhichOneof("as_of"):
        case "as_of_time":
            stamp = request.as_of_time
            if not (_SECONDS_MIN <= stamp.seconds <= _SECONDS_MAX and 0 <= stamp.nanos <= 999_999_999):
                raise RequestRefusedError(
                    Reason.INVALID_AS_OF, "as_of_time is no instant of the years 0001 to 9999"
                )
            return stamp.seconds * 1_000_000 + stamp.nanos // 1000
        case "as_of_date":
            try:
                day = date.fromisoformat(request.as_of_date)
            except ValueError:
                day = None
            if (
                day is None or day.isoformat() != request.as_of_date
            ):  # fromisoformat takes weeks and YYYYMMDD too
                raise RequestRefusedError(Reason.INVALID_AS_OF, "as_of_date is no date YYYY-MM-DD")
            return day
        case _:
            return None


def _results(engine: PriceEngine, answers: PriceAnswers) -> list[v1.PriceLineResult]:
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

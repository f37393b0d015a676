"""Quotes between the bytes of the wire and questions and answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from atp.model import AvailabilityStatus
from pricegrid import v1
from pricing_engine.engine import PriceAnswers, PriceEngine
from service.erp_marks import NO_MARKS, Marks, mark_results
from service.exchange import AnswerHeader
from service.totals import LineTotals
from service.wire import price_results
from service.wire_availability import day_text, freshness_messages
from service.wire_request import (
    LineColumns,
    as_of,
    branch_names,
    check_fields,
    check_line_count,
    line_columns,
    parse,
)

_OFFSET = 1  # the wire's zero is UNSPECIFIED
NO_DAY = -1
"""In place of a promise day: it can't be promised in full."""


@dataclass(frozen=True, slots=True)
class QuoteQuery:
    """What a QuoteLines request asks, checked. `as_of` as in `PriceQuery`."""

    customer_id: str
    lines: LineColumns
    currency: str
    branches: tuple[bytes, ...]
    as_of: int | date | None
    snapshot_version: str


@dataclass(frozen=True, slots=True)
class QuoteAvailability:
    """The availability of all lines, over the branches asked."""

    totals: LineTotals
    promise_days: Sequence[int]
    """One a line, since 1970-01-01; NO_DAY for none."""


def decode_quote_lines(raw: bytes) -> QuoteQuery:
    """Reads and checks a `QuoteLinesRequest`; raises `RequestRefusedError`."""
    request = v1.QuoteLinesRequest()
    parse(request, raw)
    check_line_count(len(request.lines))
    check_fields(request, "customer_id", "currency", "snapshot_version")
    return QuoteQuery(
        customer_id=request.customer_id,
        lines=line_columns(request.lines),
        currency=request.currency,
        branches=branch_names(request.branches),
        as_of=as_of(request),
        snapshot_version=request.snapshot_version,
    )


def encode_quote_lines(
    engine: PriceEngine,
    answers: PriceAnswers,
    availability: QuoteAvailability | None,
    header: AnswerHeader,
    marks: Marks = NO_MARKS,
) -> bytes:
    """Writes a `QuoteLinesResponse`."""
    prices = price_results(engine, answers)
    mark_results(prices, marks)
    free: Sequence[v1.QuoteAvailability | None] = [None] * len(prices)
    if availability is not None:
        free = _availability(availability, header.as_of_us)
    return v1.QuoteLinesResponse(
        results=[
            v1.QuoteLineResult(price=price, availability=each)
            for price, each in zip(prices, free, strict=True)
        ],
        currency=answers.currency,
        snapshot_version=header.snapshot_version,
        snapshot_age_ms=header.snapshot_age_ms,
        as_of_us=header.as_of_us,
        correlation_id=header.correlation_id,
    ).SerializeToString()


def _availability(availability: QuoteAvailability, as_of_us: int) -> list[v1.QuoteAvailability]:
    totals = availability.totals
    columns = zip(
        totals.status.tolist(),
        totals.available_micros.tolist(),
        totals.shortage_micros.tolist(),
        availability.promise_days,
        freshness_messages(totals.freshness, totals.source_as_of_us, as_of_us),
        strict=True,
    )
    results = []
    for status, available, shortage, day, freshness in columns:
        result = v1.QuoteAvailability(status=status + _OFFSET, freshness=freshness)
        if status == AvailabilityStatus.OK:
            result.available_micros, result.shortage_micros = available, shortage
        if day != NO_DAY:
            result.promise_date = day_text(day)
        results.append(result)
    return results

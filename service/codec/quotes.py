"""Quote requests from bytes to queries, and quotes to response bytes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from pricegrid import v1
from pricegrid.atp.kernels.quote import (
    FREE_AS_OF,
    FREE_AVAILABLE,
    FREE_DAY,
    FREE_FRESH,
    FREE_SHORTAGE,
    FREE_SIZE,
    FREE_STATUS,
)
from pricegrid.pricing_engine.engine import PriceAnswers, PriceEngine
from pricegrid.service.codec.encode_kernel import write_quotes
from pricegrid.service.codec.plain_writer import quote_results
from pricegrid.service.codec.prices import encode_with, header_fields
from pricegrid.service.codec.request import (
    LineColumns,
    as_of,
    branch_names,
    check_fields,
    check_line_count,
    line_columns,
    parse,
)
from pricegrid.service.codec.scan import scan
from pricegrid.service.erp_overlay.price_sources import NO_PRICE_SOURCES, PriceSources, source_rows
from pricegrid.service.methods.branch_totals import BranchTotals
from pricegrid.service.process.interpreted import are_interpreted
from pricegrid.service.rpc.call import ResponseHeader


@dataclass(frozen=True, slots=True)
class QuoteQuery:
    """A validated QuoteLines request. `as_of` as in `PriceQuery`."""

    customer_id: str
    lines: LineColumns
    currency: str
    branches: tuple[bytes, ...]
    as_of: int | date | None
    snapshot_version: str


@dataclass(frozen=True, slots=True)
class QuoteAvailability:
    """The availability of all lines over the requested branches."""

    totals: BranchTotals
    promise_days: Sequence[int]
    """One per line, in days since 1970-01-01; NO_DAY (of `atp.kernels.quote`): it can't be promised in full."""


def decode_quote_lines(raw: bytes) -> QuoteQuery:
    """Decodes and validates a `QuoteLinesRequest`; raises `RequestRefusedError`."""
    if scanned := scan(raw):
        return QuoteQuery(
            customer_id=scanned.customer_id,
            lines=scanned.lines,
            currency=scanned.currency,
            branches=branch_names(scanned.branches),
            as_of=scanned.as_of_us,
            snapshot_version=scanned.snapshot_version,
        )
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
    header: ResponseHeader,
    sources: PriceSources = NO_PRICE_SOURCES,
) -> bytes:
    """Encodes a `QuoteLinesResponse`."""
    head = v1.QuoteLinesResponse(**header_fields(answers.currency, header)).SerializeToString()
    if are_interpreted():
        results = quote_results(engine, answers, availability, header.as_of_us, sources)
        return v1.QuoteLinesResponse(results=results).SerializeToString() + head
    lines = len(answers.columns)
    rows, free = source_rows(sources, lines), _free(availability)

    def write(out: NDArray[np.uint8]) -> int:
        return int(write_quotes(engine.descriptor, answers.columns, rows, free, header.as_of_us, out))

    return encode_with(lines, write) + head


def _free(availability: QuoteAvailability | None) -> NDArray[np.int64]:
    """The availability as `put_quotes` takes it: (lines, FREE_SIZE), or (0, FREE_SIZE) for none."""
    if availability is None:
        return np.zeros((0, FREE_SIZE), np.int64)
    totals = availability.totals
    free = np.empty((len(totals.status), FREE_SIZE), np.int64)
    free[:, FREE_STATUS] = totals.status
    free[:, FREE_AVAILABLE], free[:, FREE_SHORTAGE] = totals.available_micros, totals.shortage_micros
    free[:, FREE_DAY] = availability.promise_days
    free[:, FREE_FRESH : FREE_FRESH + 3] = totals.freshness
    free[:, FREE_AS_OF : FREE_AS_OF + 3] = totals.source_as_of_us
    return free

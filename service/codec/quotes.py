"""Quote requests from bytes to queries, and quotes to response bytes."""

from dataclasses import dataclass
from datetime import date
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pricegrid import v1
from pricegrid.atp.kernels.quote import FREE_SIZE
from pricegrid.pricing_engine.engine import PriceAnswers, PriceEngine
from pricegrid.pricing_engine.lines import LineColumns
from pricegrid.service.codec.encode_kernel import write_quotes
from pricegrid.service.codec.plain_writer import quote_results
from pricegrid.service.codec.prices import encode_with, header_fields, source_rows
from pricegrid.service.codec.request import (
    as_of,
    branch_names,
    check_fields,
    check_line_count,
    line_columns,
    parse,
)
from pricegrid.service.codec.scan import ScannedRequest, scan
from pricegrid.service.erp_overlay.price_sources import NO_PRICE_SOURCES, PriceSources
from pricegrid.service.process.interpreted import are_interpreted
from pricegrid.service.rpc.call import ResponseHeader

_ARE_INTERPRETED: Final = are_interpreted()


@dataclass(frozen=True, slots=True)
class QuoteQuery:
    """A validated QuoteLines request. `as_of` as in `PriceQuery`."""

    customer_id: str
    lines: LineColumns
    currency: str
    branches: tuple[bytes, ...]
    as_of: int | date | None
    snapshot_version: str


def decode_quote_lines(raw: bytes, scanned: ScannedRequest | None = None) -> QuoteQuery:
    """Decodes and validates a `QuoteLinesRequest`, `scanned` if it has been scanned already; raises
    `RequestRefusedError`."""
    if scanned := scanned or scan(raw):
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
    free: NDArray[np.int64] | None,
    header: ResponseHeader,
    sources: PriceSources = NO_PRICE_SOURCES,
) -> bytes:
    """Encodes a `QuoteLinesResponse`; `free` (n, FREE_SIZE) is the lines' availability (`atp.kernels.quote`)."""
    head = v1.QuoteLinesResponse(**header_fields(answers.currency, header)).SerializeToString()
    if _ARE_INTERPRETED:
        results = quote_results(engine, answers, free, header.as_of_us, sources)
        return v1.QuoteLinesResponse(results=results).SerializeToString() + head
    lines = len(answers.columns)
    rows, known = source_rows(sources, lines), np.zeros((0, FREE_SIZE), np.int64) if free is None else free

    def write(out: NDArray[np.uint8]) -> int:
        return int(write_quotes(engine.descriptor, answers.columns, rows, known, header.as_of_us, out))

    return encode_with(lines, write) + head

"""Price and quote requests from bytes to queries, and their answers to response bytes.

Both requests have the same fields, which a compiled scanner (`scan_kernel`) decodes without an object per line; the
protobuf runtime decodes what it does not. A compiled kernel encodes the result lines from arrays; the protobuf runtime
encodes the header that follows them.
"""

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pricegrid import v1
from pricegrid.atp.kernels.quote import FREE_SIZE
from pricegrid.pricing_engine.engine import PriceAnswers, PriceEngine
from pricegrid.pricing_engine.kernels.price import LINE_SIZE, NO_AS_OF
from pricegrid.pricing_engine.lines import LineColumns
from pricegrid.pricing_engine.model import INT64_MAX
from pricegrid.service.codec import scan_kernel as kernel
from pricegrid.service.codec.encode_kernel import write_prices, write_quotes
from pricegrid.service.codec.plain_writer import price_results, quote_results
from pricegrid.service.codec.request import (
    as_of,
    branch_names,
    check_fields,
    check_line_count,
    parse,
    price_line_columns,
)
from pricegrid.service.erp_overlay.price_sources import NO_PRICE_SOURCES, PriceSources
from pricegrid.service.errors import Reason, RequestRefusedError
from pricegrid.service.limits import LINES_MAX
from pricegrid.service.process.interpreted import are_interpreted
from pricegrid.service.rpc.call import ResponseHeader

_ARE_INTERPRETED: Final = are_interpreted()

_BUFFER_BYTES, _LINE_BYTES = 1 << 10, 192  # the size of the first buffer: fixed, and per line


@dataclass(frozen=True, slots=True)
class PriceQuery:
    """A validated request for prices or quotes, its lines as columns.

    `as_of` is microseconds since the epoch, a date in the dataset's time zone, or None for now. Those of lines may be
    days yet (`request.dated_lines`).
    """

    customer_id: str
    lines: LineColumns
    currency: str
    branches: tuple[bytes, ...]
    """In the order of the request, without repetitions; of prices at most one."""
    as_of: int | date | None
    snapshot_version: str

    @property
    def branch(self) -> str:
        """The branch whose prices are asked for, '' for none: the first."""
        return self.branches[0].decode() if self.branches else ""


class _Scratch(threading.local):
    """The scanner's buffers for one thread. Memory that is never used stays unmapped."""

    def __init__(self) -> None:
        self.head = np.zeros(kernel.HEAD_SIZE, np.int64)
        self.lines = np.empty((LINES_MAX, LINE_SIZE), np.int64)


_SCRATCH: Final = _Scratch()


def scan(raw: bytes, branches_max: int | None = None) -> PriceQuery | None:
    """Decodes a request; None: the protobuf runtime has to, also where it has more branches than that. Raises
    `RequestRefusedError`."""
    if _ARE_INTERPRETED:
        return None
    head, lines = _SCRATCH.head, _SCRATCH.lines
    count = kernel.scan_arrays(np.frombuffer(raw, np.uint8), head, lines, kernel.LIMITS)
    if count < 0 or (branches_max is not None and head[kernel.HEAD_BRANCH_COUNT] > branches_max):
        return None
    return scanned_query(raw, head, lines[:count])


def scanned_query(
    raw: bytes,
    columns: NDArray[np.int64],
    lines: NDArray[np.int64],
    branches: tuple[bytes, ...] | None = None,
) -> PriceQuery:
    """A request from what `scan_kernel.scan_request` writes of it, (HEAD_SIZE,) and (n, LINE_SIZE), which is copied;
    `branches`, if they are known. Raises `RequestRefusedError`."""
    head = columns.tolist()

    def text(column: int) -> bytes:
        return raw[head[column] : head[column] + head[column + 1]]

    if branches is None:
        match head[kernel.HEAD_BRANCH_COUNT]:
            case 0:
                branches = ()
            case 1:
                branches = (text(kernel.HEAD_BRANCH),)
            case _:
                named = raw[head[kernel.HEAD_BRANCHES] : head[kernel.HEAD_BRANCHES_END]]
                branches = branch_names(v1.QuoteLinesRequest.FromString(named).branches)
    return PriceQuery(
        customer_id=text(kernel.HEAD_CUSTOMER).decode(),
        lines=LineColumns.over(raw, lines.copy()),
        currency=text(kernel.HEAD_CURRENCY).decode(),
        branches=branches,
        as_of=head[kernel.HEAD_AS_OF] if head[kernel.HEAD_HAS_AS_OF] else None,
        snapshot_version=text(kernel.HEAD_VERSION).decode(),
    )


def decode_price_lines(raw: bytes) -> PriceQuery:
    """Decodes and validates a `PriceLinesRequest`; raises `RequestRefusedError` as docs/api.md lists."""
    if query := scan(raw, branches_max=1):  # of several, the runtime takes the last
        return query
    request = v1.PriceLinesRequest()
    parse(request, raw)
    check_line_count(len(request.lines))
    return _query(request, request.lines)


def decode_quote_lines(raw: bytes) -> PriceQuery:
    """Decodes and validates a `QuoteLinesRequest`; raises `RequestRefusedError`."""
    if query := scan(raw):
        return query
    request = v1.QuoteLinesRequest()
    parse(request, raw)
    check_line_count(len(request.lines))
    check_fields(request, "customer_id", "currency", "snapshot_version")
    return PriceQuery(
        customer_id=request.customer_id,
        lines=price_line_columns(request.lines),
        currency=request.currency,
        branches=branch_names(request.branches),
        as_of=as_of(request),
        snapshot_version=request.snapshot_version,
    )


def decode_explain_price(raw: bytes) -> PriceQuery:
    """Decodes and validates an `ExplainPriceRequest`, a query of one line."""
    request = v1.ExplainPriceRequest()
    parse(request, raw)
    if not request.HasField("line"):
        raise RequestRefusedError(Reason.NO_LINES, "the request has no line")
    query = _query(request, [request.line])
    own = as_of(request.line)  # the one line's instant is what is answered about
    if own is None:
        return query
    return replace(query, as_of=own, lines=query.lines.at(np.full(1, NO_AS_OF)))


def encode_price_lines(
    engine: PriceEngine,
    answers: PriceAnswers,
    header: ResponseHeader,
    sources: PriceSources = NO_PRICE_SOURCES,
) -> bytes:
    """Encodes a `PriceLinesResponse`."""
    return (
        _results(engine, answers, sources)
        + v1.PriceLinesResponse(
            mixed_breaks=mixed_messages(answers), **header_fields(answers.currency, header)
        ).SerializeToString()
    )


def encode_quote_lines(
    engine: PriceEngine,
    answers: PriceAnswers,
    free: NDArray[np.int64] | None,
    header: ResponseHeader,
    sources: PriceSources = NO_PRICE_SOURCES,
) -> bytes:
    """Encodes a `QuoteLinesResponse`; `free` (n, FREE_SIZE) is the lines' availability (`atp.kernels.quote`)."""
    head = v1.QuoteLinesResponse(
        mixed_breaks=mixed_messages(answers), **header_fields(answers.currency, header)
    ).SerializeToString()
    if _ARE_INTERPRETED:
        results = quote_results(engine, answers, free, header.as_of_us, sources)
        return v1.QuoteLinesResponse(results=results).SerializeToString() + head
    lines = len(answers.columns)
    rows, known = source_rows(sources, lines), np.zeros((0, FREE_SIZE), np.int64) if free is None else free

    def write(out: NDArray[np.uint8]) -> int:
        return int(write_quotes(engine.descriptor, answers.columns, rows, known, header.as_of_us, out))

    return encode_with(lines, write) + head


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


def mixed_messages(answers: PriceAnswers) -> list[v1.MixedBreak]:
    """Where lines counted together for breaks (P19)."""
    return [
        v1.MixedBreak(
            break_group=each.mixed.break_group,
            quantity_micros=min(INT64_MAX, int(each.mixed.quantity_micros)),
            counted_lines=each.mixed.lines,
            priced_lines=each.priced_lines,
        )
        for each in answers.mixed
    ]


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
        lines=price_line_columns(lines),
        currency=request.currency,
        branches=(request.branch.encode(),) if request.branch else (),
        as_of=as_of(request),
        snapshot_version=request.snapshot_version,
    )

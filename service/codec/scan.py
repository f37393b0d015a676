"""Price and quote requests as the compiled scanner (`scan_kernel`) decodes them, without an object per line."""

import threading
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pricegrid import v1
from pricegrid.pricing_engine.kernels import price as kn
from pricegrid.pricing_engine.lines import LineColumns
from pricegrid.service.codec import scan_kernel as kernel
from pricegrid.service.limits import LINES_MAX
from pricegrid.service.process.interpreted import are_interpreted

_ARE_INTERPRETED: Final = are_interpreted()


class _Scratch(threading.local):
    """The buffers of one thread. Memory that is never used stays unmapped."""

    def __init__(self) -> None:
        self.head = np.zeros(kernel.HEAD_SIZE, np.int64)
        self.lines = np.empty((LINES_MAX, kn.LINE_SIZE), np.int64)


_SCRATCH: Final = _Scratch()


class ScannedRequest(NamedTuple):
    """A decoded PriceLinesRequest or QuoteLinesRequest, within all limits."""

    customer_id: str
    lines: LineColumns
    currency: str
    branches: Sequence[str]
    """As in the request, with repetitions."""
    as_of_us: int | None
    snapshot_version: str


def scan(raw: bytes) -> ScannedRequest | None:
    """Decodes a request; None: the protobuf runtime has to decode it."""
    if _ARE_INTERPRETED:
        return None
    scratch = _SCRATCH
    count = kernel.scan_arrays(np.frombuffer(raw, np.uint8), scratch.head, scratch.lines, kernel.LIMITS)
    return None if count < 0 else scanned_request(raw, scratch.head, scratch.lines[:count])


def scanned_request(raw: bytes, columns: NDArray[np.int64], lines: NDArray[np.int64]) -> ScannedRequest:
    """A request from what `scan_kernel.scan_request` writes of it, (HEAD_SIZE,) and (n, LINE_SIZE), which is copied."""
    head = columns.tolist()

    def text(column: int) -> str:
        return raw[head[column] : head[column] + head[column + 1]].decode()

    branches: Sequence[str] = ()
    if head[kernel.HEAD_BRANCH_COUNT]:
        named = raw[head[kernel.HEAD_BRANCHES] : head[kernel.HEAD_BRANCHES_END]]
        branches = v1.QuoteLinesRequest.FromString(named).branches
    return ScannedRequest(
        customer_id=text(kernel.HEAD_CUSTOMER),
        lines=LineColumns.over(raw, lines.copy()),
        currency=text(kernel.HEAD_CURRENCY),
        branches=branches,
        as_of_us=head[kernel.HEAD_AS_OF] if head[kernel.HEAD_HAS_AS_OF] else None,
        snapshot_version=text(kernel.HEAD_VERSION),
    )

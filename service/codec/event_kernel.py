"""Compiled: decodes inventory events into the rows of `atp.kernels.in_order_streams`, without an object per event.

One pass over the message: each event's fields go into a scratch row by field number, then the row is classified. Events
of the ERP that set or change on-hand or unavailable stock and are valid by themselves can be applied by the kernel
(FIGURE_ONLY); other events of the ERP are decoded by the protobuf runtime (UNUSUAL), and so are those of other sources
(OTHER_SOURCE).

The scanner accepts only the canonical form: fields in ascending order, each at most once, numbers in their shortest
form. Otherwise the runtime decodes the whole message, so the scanner never decides alone what is valid. Names are not
decoded: a pair is recognised only if the same bytes were decoded as text before.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from pricegrid.atp.kernels.in_order_streams import (
    FIGURE_ONLY,
    OTHER_SOURCE,
    ROW_BRANCH,
    ROW_BRANCH_LENGTH,
    ROW_EFFECTIVE,
    ROW_END,
    ROW_FORM,
    ROW_KIND,
    ROW_MEASURE,
    ROW_QUANTITY,
    ROW_SEQUENCE,
    ROW_SKU,
    ROW_SKU_LENGTH,
    ROW_START,
    UNUSUAL,
)
from pricegrid.atp.model import AS_OF_MAX_US, AS_OF_MIN_US, INT64_MIN, Source
from pricegrid.atp.rules.events import Kind, Measure
from pricegrid.columnar.jit import compiled
from pricegrid.service.codec.scan_kernel import read_number

_EVENTS_TAG: Final = 1 << 3 | 2
# Bit sets of field numbers of `InventoryEvent`: texts, and those of an event that its sender could not read.
_TEXTS: Final = (1 << 6) | (1 << 7) | (1 << 10) | (1 << 11) | (1 << 18)
_UNREADABLE: Final = (1 << 13) | (1 << 14)
_FIELDS_MAX: Final = 18
_QUANTITY: Final = 8
_OFFSET: Final = 1  # 0 is UNSPECIFIED in the proto
_ERP, _WMS, _TRANSIT = (source + _OFFSET for source in (Source.ERP, Source.WMS, Source.TRANSIT))
_ON_HAND, _UNAVAILABLE = Measure.ON_HAND + _OFFSET, Measure.UNAVAILABLE + _OFFSET
_SET, _DELTA = Kind.SET + _OFFSET, Kind.DELTA + _OFFSET


@compiled
def _scan_event(
    raw: NDArray[np.uint8], at: int, end: int, values: NDArray[np.int64], row: NDArray[np.int64]
) -> bool:
    """Decode the event in [at, end) into `row`; `values` is scratch, (2, 19). False: not canonical."""
    values[:] = 0
    before, seen = np.int64(0), np.int64(0)
    while at < end:
        field, wire_type = np.int64(raw[at]) >> 3, raw[at] & 7
        at += 1
        if field >= 16:
            if at == end or raw[at] != 1:
                return False
            field = (field & 15) + np.int64(16)
            at += 1
        if field <= before or field > _FIELDS_MAX or _UNREADABLE >> field & 1:
            return False
        if wire_type != (2 if _TEXTS >> field & 1 else 0):
            return False
        before = field
        seen |= 1 << field
        value, at = read_number(raw, at, end)
        if at < 0:
            return False
        values[0, field] = value
        if wire_type == 2:
            if value < 0 or value > end - at:
                return False
            values[1, field] = at
            at += value
    says = values[0]
    row[ROW_SKU], row[ROW_SKU_LENGTH] = values[1, 6], says[6]
    row[ROW_BRANCH], row[ROW_BRANCH_LENGTH] = values[1, 7], says[7]
    row[ROW_SEQUENCE], row[ROW_EFFECTIVE] = says[2], says[3]
    row[ROW_MEASURE], row[ROW_KIND] = says[4] - _OFFSET, says[5] - _OFFSET
    row[ROW_QUANTITY] = says[_QUANTITY]
    if says[1] in (_WMS, _TRANSIT):
        row[ROW_FORM] = OTHER_SOURCE
        return True
    is_plain = (
        says[1] == _ERP
        and says[2] >= 1
        and AS_OF_MIN_US < says[3] < AS_OF_MAX_US
        and says[3] != 0
        and says[4] in (_ON_HAND, _UNAVAILABLE)
        and says[5] in (_SET, _DELTA)
        and seen >> _QUANTITY & 1 == 1
        and says[_QUANTITY] != INT64_MIN
        and not (says[_QUANTITY] < 0 and says[4] == _UNAVAILABLE and says[5] == _SET)
        and seen >> (_QUANTITY + 1) == 0
    )
    row[ROW_FORM] = FIGURE_ONLY if is_plain else UNUSUAL
    return True


@compiled
def scan_events(raw: NDArray[np.uint8], rows: NDArray[np.int64]) -> int:
    """Write the events of a `PublishEventsRequest` to `rows` (n, ROW_COLUMNS), one each; returns how many, -1: the
    protobuf runtime has to decode the message."""
    values = np.zeros((2, _FIELDS_MAX + 1), np.int64)
    at, end, count = 0, len(raw), 0
    while at < end:
        if count == len(rows) or raw[at] != _EVENTS_TAG:
            return -1
        start = at
        length, at = read_number(raw, at + 1, end)
        if at < 0 or length < 0 or length > end - at:
            return -1
        if not _scan_event(raw, at, at + length, values, rows[count]):
            return -1
        at += length
        rows[count, ROW_START], rows[count, ROW_END] = start, at
        count += 1
    return count

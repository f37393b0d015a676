"""Compiled: the ERP's events of pairs whose stream is in order, thousands a call (A10).

A stream is in order when it has received all sequences from its first to its last, of one numbering, in which instants
never go back, and its events carry nothing but a figure. Applying the next event then needs no look at the others.
`streams.Stream` and `streams.stock_of` are the same rules for every stream, and the reference of this.

`find_pairs` loops over the rows of a message and hashes the names of each to the index of its pair. `fold` loops over
the rows in order: the next sequence of a pair changes its figures at once; one received before is compared with the
logged events of the pair, newest first, at most 64 of them; any other is UNDECIDED, and so is everything after it in
the same stream within the message: these are left to `streams`. `publish` then writes each changed pair to the live
positions once. An event costs one probe and one row; nothing is looked ahead at.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from pricegrid.atp.arrays.positions import ERP_AS_OF, FLAGS, GAPS, ON_HAND, UNAVAILABLE
from pricegrid.atp.kernels.atomic import fence, store_release
from pricegrid.atp.kernels.live import free_old_block, live_key, slot_of
from pricegrid.atp.live.layout import CHANGES, DETAIL_BYTES, ROW_WORDS, VERSION, LiveArrays
from pricegrid.atp.model import Source
from pricegrid.atp.rules.events import EventStatus, Kind, Measure
from pricegrid.columnar.exact import mul_low, sum_overflows
from pricegrid.columnar.jit import compiled, inlined
from pricegrid.columnar.names import name_key, same_bytes
from pricegrid.columnar.tables import table_of

# rows (n, ROW_COLUMNS) int64: events by their offsets in the bytes of a message, and their figures
(
    ROW_START,  # of the whole event
    ROW_END,
    ROW_SKU,
    ROW_SKU_LENGTH,
    ROW_BRANCH,
    ROW_BRANCH_LENGTH,
    ROW_SEQUENCE,
    ROW_EFFECTIVE,
    ROW_MEASURE,
    ROW_KIND,
    ROW_QUANTITY,
    ROW_FORM,  # one of the three below
    ROW_COLUMNS,
) = range(13)
OTHER_SOURCE: Final = 0
"""The event is of another source than the ERP."""
FIGURE_ONLY: Final = 1
"""It is the ERP's, in range, and carries nothing but a figure."""
UNUSUAL: Final = 2
"""Any other."""

# pairs (p, PAIR_COLUMNS) int64
(
    PAIR_ITEM,
    PAIR_BRANCH,
    PAIR_TEXT,  # where its SKU begins in the texts; the branch follows
    PAIR_SKU_LENGTH,
    PAIR_BRANCH_LENGTH,
    PAIR_HELD,  # whether reservations touch it, or did
    PAIR_FIRST,
    PAIR_LAST,  # sequences received; 0: its stream is not in order
    PAIR_AFTER,  # events at or before this instant are in what was loaded
    PAIR_LOADED_ON_HAND,
    PAIR_LOADED_KNOWN,
    PAIR_LOADED_UNAVAILABLE,
    PAIR_LOADED_AS_OF,  # of the loaded stock row; NO_INSTANT: there is none
    PAIR_LOADED_UNKNOWN,
    PAIR_ON_HAND,
    PAIR_KNOWN,
    PAIR_UNAVAILABLE,
    PAIR_AS_OF,  # of its on-hand events, PAIR_AFTER when there is none
    PAIR_AS_OF_UNAVAILABLE,  # of the others
    PAIR_EVENT,  # its newest on-hand event in the log, -1: none
    PAIR_EVENT_UNAVAILABLE,
    PAIR_UNDECIDED,  # the last call in which an event of it was undecided
    PAIR_TOUCHED,  # the last call in which one was applied
    PAIR_NEWEST,  # the instant of its last event
    PAIR_COLUMNS,
) = range(25)

# log (k, LOG_COLUMNS) int64: the events that still matter, each linked to the one of the same measure before it
LOG_SEQUENCE, LOG_EFFECTIVE, LOG_KIND, LOG_QUANTITY, LOG_BEFORE, LOG_COLUMNS = range(6)

# head (HEAD_SIZE,) int64
HEAD_CALL, HEAD_FREE, HEAD_NEXT, HEAD_SIZE = range(
    4
)  # free entries of the log: a list ended by -1, and a rest

UNDECIDED: Final = 255
"""Not a status: `streams` decides."""
_STEPS_MAX: Final = 64  # back through the events of a pair, for one that came before

_APPLIED, _DUPLICATE, _OLDER = (
    int(EventStatus.APPLIED),
    int(EventStatus.DUPLICATE),
    int(EventStatus.OLDER),
)
_SET, _ON_HAND_EVENT = int(Kind.SET), int(Measure.ON_HAND)
_ERP_GAP = 1 << int(Source.ERP)


@inlined
def _pair_key(text: NDArray[np.uint8], sku: int, sku_length: int, branch: int, branch_length: int) -> int:
    """A hash of the names of an item and a branch; thrice that of the item, or two equal names would cancel out."""
    of_sku = mul_low(name_key(text, sku, sku_length), np.int64(3))
    return int(of_sku ^ name_key(text, branch, branch_length))


@compiled
def find_pairs(
    raw: NDArray[np.uint8],
    rows: NDArray[np.int64],
    pairs: NDArray[np.int64],
    texts: NDArray[np.uint8],
    slots: NDArray[np.int64],
    indices: NDArray[np.int64],
) -> None:
    """The index in `pairs` of the pair that each row names, -1 when it has none. Slots hold index + 1, 0 is free."""
    mask = len(slots) - 1
    message, known = table_of(raw), table_of(texts)  # a table is read eight bytes at a time
    for i in range(len(rows)):
        sku, sku_length = rows[i, ROW_SKU], rows[i, ROW_SKU_LENGTH]
        branch, branch_length = rows[i, ROW_BRANCH], rows[i, ROW_BRANCH_LENGTH]
        at = _pair_key(message, sku, sku_length, branch, branch_length) & mask
        indices[i] = -1
        while slots[at] != 0:
            pair = slots[at] - 1
            text = pairs[pair, PAIR_TEXT]
            if (
                pairs[pair, PAIR_SKU_LENGTH] == sku_length
                and pairs[pair, PAIR_BRANCH_LENGTH] == branch_length
                and same_bytes(message, sku, known, text, sku_length)
                and same_bytes(message, branch, known, text + sku_length, branch_length)
            ):
                indices[i] = pair
                break
            at = (at + 1) & mask


@compiled
def add_slots(
    pairs: NDArray[np.int64], texts: NDArray[np.uint8], slots: NDArray[np.int64], begin: int, end: int
) -> None:
    """Add the pairs [begin, end) to the slots, a power of two, more than there are pairs."""
    mask, known = len(slots) - 1, table_of(texts)
    for pair in range(begin, end):
        text, sku_length = pairs[pair, PAIR_TEXT], pairs[pair, PAIR_SKU_LENGTH]
        at = _pair_key(known, text, sku_length, text + sku_length, pairs[pair, PAIR_BRANCH_LENGTH]) & mask
        while slots[at] != 0:
            at = (at + 1) & mask
        slots[at] = pair + 1


@inlined
def _free_events(log: NDArray[np.int64], head: NDArray[np.int64], event: int) -> None:
    """Free the entries of an event and of those linked to it."""
    while event >= 0:
        before = log[event, LOG_BEFORE]
        log[event, LOG_BEFORE] = head[HEAD_FREE]
        head[HEAD_FREE] = event
        event = before


@inlined
def _log_event(
    log: NDArray[np.int64],
    head: NDArray[np.int64],
    sequence: int,
    effective: int,
    kind: int,
    quantity: int,
    before: int,
) -> int:
    event = head[HEAD_FREE]
    if event >= 0:
        head[HEAD_FREE] = log[event, LOG_BEFORE]
    else:
        event = head[HEAD_NEXT]
        head[HEAD_NEXT] = event + 1
    log[event, LOG_SEQUENCE], log[event, LOG_EFFECTIVE] = sequence, effective
    log[event, LOG_KIND], log[event, LOG_QUANTITY], log[event, LOG_BEFORE] = kind, quantity, before
    return int(event)


@inlined
def _apply_next(
    pair: NDArray[np.int64],
    log: NDArray[np.int64],
    head: NDArray[np.int64],
    sequence: int,
    effective: int,
    is_on_hand: bool,
    kind: int,
    quantity: int,
) -> bool:
    """Apply the event that follows on the last one; False: a figure would leave int64, and nothing is changed."""
    figure = PAIR_ON_HAND if is_on_hand else PAIR_UNAVAILABLE
    loaded = PAIR_LOADED_ON_HAND if is_on_hand else PAIR_LOADED_UNAVAILABLE
    as_of = PAIR_AS_OF if is_on_hand else PAIR_AS_OF_UNAVAILABLE
    newest = PAIR_EVENT if is_on_hand else PAIR_EVENT_UNAVAILABLE
    counts = effective > pair[PAIR_AFTER]
    if kind == _SET:
        # before a set nothing of the figure matters any more, also when what was loaded is newer than the set
        _free_events(log, head, pair[newest])
        pair[newest] = -1
        pair[figure] = quantity if counts else pair[loaded]
        pair[as_of] = effective if counts else pair[PAIR_AFTER]
        if is_on_hand:
            pair[PAIR_KNOWN] = 1 if counts else pair[PAIR_LOADED_KNOWN]
    elif counts:
        if not is_on_hand or pair[PAIR_KNOWN]:
            if sum_overflows(pair[figure], quantity):
                return False
            pair[figure] += quantity
        pair[as_of] = max(pair[as_of], effective)
    pair[newest] = _log_event(log, head, sequence, effective, kind, quantity, pair[newest])
    pair[PAIR_LAST], pair[PAIR_NEWEST] = sequence, effective
    return True


@inlined
def _status_of_received(pair: NDArray[np.int64], log: NDArray[np.int64], row: NDArray[np.int64]) -> int:
    """The status of an event whose sequence was received already."""
    status = UNDECIDED
    for is_on_hand in (True, False):
        is_own = is_on_hand == (row[ROW_MEASURE] == _ON_HAND_EVENT)
        event = pair[PAIR_EVENT if is_on_hand else PAIR_EVENT_UNAVAILABLE]
        steps = 0
        while event >= 0 and log[event, LOG_SEQUENCE] > row[ROW_SEQUENCE]:
            if is_own and log[event, LOG_KIND] == _SET and log[event, LOG_EFFECTIVE] >= row[ROW_EFFECTIVE]:
                status = _DUPLICATE  # a later set that is no older has replaced it
            event = log[event, LOG_BEFORE]
            steps += 1
            if steps > _STEPS_MAX:
                return UNDECIDED
        if event >= 0 and log[event, LOG_SEQUENCE] == row[ROW_SEQUENCE]:
            is_same = (
                is_own
                and log[event, LOG_EFFECTIVE] == row[ROW_EFFECTIVE]
                and log[event, LOG_KIND] == row[ROW_KIND]
                and log[event, LOG_QUANTITY] == row[ROW_QUANTITY]
            )
            return _DUPLICATE if is_same else UNDECIDED
    return status


@compiled
def fold(
    rows: NDArray[np.int64],
    indices: NDArray[np.int64],
    pairs: NDArray[np.int64],
    log: NDArray[np.int64],
    head: NDArray[np.int64],
    status: NDArray[np.uint8],
    touched: NDArray[np.int64],
) -> int:
    """Apply the events of streams in order; writes (n,) status, or UNDECIDED, and the changed pairs to `touched`.

    Returns how many pairs were changed. The log must have room for one entry a row.
    """
    head[HEAD_CALL] += 1
    call, count = head[HEAD_CALL], 0
    for i in range(len(rows)):
        status[i] = UNDECIDED
        if indices[i] < 0:
            continue
        row, pair = rows[i], pairs[indices[i]]
        if row[ROW_FORM] == OTHER_SOURCE:
            continue
        last = pair[PAIR_LAST]
        if last == 0 or pair[PAIR_UNDECIDED] == call:
            continue
        sequence, effective = row[ROW_SEQUENCE], row[ROW_EFFECTIVE]
        if row[ROW_FORM] == FIGURE_ONLY:
            if sequence == last + 1 and effective >= pair[PAIR_NEWEST]:
                is_on_hand, kind = row[ROW_MEASURE] == _ON_HAND_EVENT, row[ROW_KIND]
                if _apply_next(pair, log, head, sequence, effective, is_on_hand, kind, row[ROW_QUANTITY]):
                    status[i] = _APPLIED if effective > pair[PAIR_AFTER] else _OLDER
            elif pair[PAIR_FIRST] <= sequence <= last:
                status[i] = _status_of_received(pair, log, row)
        if status[i] == UNDECIDED:
            pair[PAIR_UNDECIDED] = call
        elif pair[PAIR_TOUCHED] != call:
            pair[PAIR_TOUCHED] = call
            touched[count] = indices[i]
            count += 1
    return count


@compiled
def adopt(
    pair: NDArray[np.int64], log: NDArray[np.int64], head: NDArray[np.int64], events: NDArray[np.int64]
) -> bool:
    """Adopt the (n, 5) events of a stream: sequence, instant, measure, kind, quantity. False: a figure leaves int64.
    The pair's loaded figures and first sequence are set; its last one is for the caller to write."""
    pair[PAIR_ON_HAND], pair[PAIR_KNOWN] = pair[PAIR_LOADED_ON_HAND], pair[PAIR_LOADED_KNOWN]
    pair[PAIR_UNAVAILABLE] = pair[PAIR_LOADED_UNAVAILABLE]
    pair[PAIR_AS_OF] = pair[PAIR_AS_OF_UNAVAILABLE] = pair[PAIR_AFTER]
    pair[PAIR_EVENT] = pair[PAIR_EVENT_UNAVAILABLE] = -1
    for i in range(len(events)):
        is_on_hand = events[i, 2] == _ON_HAND_EVENT
        if not _apply_next(
            pair, log, head, events[i, 0], events[i, 1], is_on_hand, events[i, 3], events[i, 4]
        ):
            drop(pair, log, head)
            return False
    return True


@compiled
def drop(pair: NDArray[np.int64], log: NDArray[np.int64], head: NDArray[np.int64]) -> None:
    """Drop the stream of a pair: it is not in order any more."""
    _free_events(log, head, pair[PAIR_EVENT])
    _free_events(log, head, pair[PAIR_EVENT_UNAVAILABLE])
    pair[PAIR_EVENT] = pair[PAIR_EVENT_UNAVAILABLE] = -1
    pair[PAIR_LAST] = 0


@compiled
def publish(live: LiveArrays, pairs: NDArray[np.int64], indices: NDArray[np.int64]) -> int:
    """Write the stock of pairs in order to their live rows, where all else is already; returns how many were written:
    fewer than all when the next one is not live."""
    rows = live.live_rows
    for i in range(len(indices)):
        pair = pairs[indices[i]]
        key = live_key(pair[PAIR_ITEM], pair[PAIR_BRANCH])
        slot = slot_of(live.live_slots, key)
        if live.live_slots[2 * slot] != key:
            return i
        current = live.live_slots[2 * slot + 1]
        row = current ^ 1
        at, old = row * ROW_WORDS, current * ROW_WORDS
        version = rows[at + VERSION]
        store_release(rows, at + VERSION, version | 1)
        fence()
        free_old_block(live, row)
        for k in range(DETAIL_BYTES + 1):
            if k != VERSION:
                rows[at + k] = rows[old + k]
        as_of = max(pair[PAIR_AS_OF], pair[PAIR_AS_OF_UNAVAILABLE])
        if pair[PAIR_KNOWN] and as_of != pair[PAIR_AFTER]:
            rows[at + ON_HAND] = pair[PAIR_ON_HAND]
            rows[at + UNAVAILABLE] = max(0, pair[PAIR_UNAVAILABLE])
            rows[at + ERP_AS_OF] = as_of
            rows[at + FLAGS] = 0
        else:
            rows[at + ON_HAND] = pair[PAIR_LOADED_ON_HAND]
            rows[at + UNAVAILABLE] = pair[PAIR_LOADED_UNAVAILABLE]
            rows[at + ERP_AS_OF] = pair[PAIR_LOADED_AS_OF]
            rows[at + FLAGS] = pair[PAIR_LOADED_UNKNOWN]
        rows[at + GAPS] &= ~_ERP_GAP
        store_release(rows, at + VERSION, (version | 1) + 1)
        store_release(live.live_slots, 2 * slot + 1, row)
    store_release(live.live_head, CHANGES, live.live_head[CHANGES] + 1)
    return len(indices)

"""Compiled: the ERP's events of pairs whose stream is plain, thousands a call.

A plain stream has received all sequences from its first to its last, in which instants never go back, of one
numbering, and its events say nothing but a figure. What
the next event makes of it needs no look at the others. `streams.Stream` and `streams.stock_of` are the same rules for
every stream; whatever is unusual is left to them, and everything that follows it in the same stream.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from pricegrid.atp.arrays.positions import ERP_AS_OF, FLAGS, GAPS, ON_HAND, UNAVAILABLE
from pricegrid.atp.kernels.atomic import fence, store_release
from pricegrid.atp.kernels.jit import compiled, inlined
from pricegrid.atp.kernels.live import free_old_block, live_key, slot_of
from pricegrid.atp.live.layout import CHANGES, DETAIL_BYTES, ROW_WORDS, VERSION, LiveArrays
from pricegrid.atp.model import INT64_MAX, Source
from pricegrid.atp.rules.events import EventStatus, Kind, Measure

# rows (n, ROW_COLUMNS) int64: events as they stand in the bytes of a message
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
    ROW_SAYS,  # one of the three below
    ROW_COLUMNS,
) = range(13)
OTHER: Final = 0
"""It is of another source than the ERP."""
PLAIN: Final = 1
"""It is the ERP's, in range, and says nothing but a figure."""
UNUSUAL: Final = 2

# pairs (p, PAIR_COLUMNS) int64
(
    PAIR_ITEM,
    PAIR_BRANCH,
    PAIR_TEXT,  # where its SKU begins in the texts; the branch follows
    PAIR_SKU_LENGTH,
    PAIR_BRANCH_LENGTH,
    PAIR_HELD,  # whether reservations touch it, or did
    PAIR_FIRST,
    PAIR_LAST,  # sequences received; 0: its stream is not plain
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
    PAIR_LEFT,  # the last call in which an event of it was left
    PAIR_TOUCHED,  # the last call in which one was taken in
    PAIR_NEWEST,  # the instant of its last event
    PAIR_COLUMNS,
) = range(25)

# log (k, LOG_COLUMNS) int64: the events that still matter, each linked to the one of the same measure before it
LOG_SEQUENCE, LOG_EFFECTIVE, LOG_KIND, LOG_QUANTITY, LOG_BEFORE, LOG_COLUMNS = range(6)

# head (HEAD_SIZE,) int64
HEAD_CALL, HEAD_FREE, HEAD_NEXT, HEAD_SIZE = range(
    4
)  # free entries of the log: a list ended by -1, and a rest

LEFT: Final = 255
"""Not a status: `streams` must say what becomes of it."""
_STEPS_MAX: Final = 64  # back through the events of a pair, for one that came before

_APPLIED, _DUPLICATE, _OLDER = (
    int(EventStatus.APPLIED),
    int(EventStatus.DUPLICATE),
    int(EventStatus.OLDER),
)
_SET, _ON_HAND_EVENT = int(Kind.SET), int(Measure.ON_HAND)
_ERP_GAP = 1 << int(Source.ERP)
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


@inlined
def _mixed(state: np.uint64, word: np.uint64) -> np.uint64:
    state = (state ^ word) * _MULTIPLIER
    return state ^ (state >> np.uint64(29))


@inlined
def _hashed(text: NDArray[np.uint8], start: int, length: int, state: np.uint64) -> np.uint64:
    word = np.uint64(length)
    for i in range(length):
        if i & 7 == 0:
            state = _mixed(state, word)
            word = np.uint64(0)
        word = (word << np.uint64(8)) | np.uint64(text[start + i])
    return _mixed(_mixed(state, word), np.uint64(0))


@inlined
def _same(one: NDArray[np.uint8], at: int, other: NDArray[np.uint8], start: int, length: int) -> bool:
    for i in range(length):  # noqa: SIM110 -- all() is none of the kernels' words
        if one[at + i] != other[start + i]:
            return False
    return True


@compiled
def find_places(
    raw: NDArray[np.uint8],
    rows: NDArray[np.int64],
    pairs: NDArray[np.int64],
    texts: NDArray[np.uint8],
    slots: NDArray[np.int64],
    places: NDArray[np.int64],
) -> None:
    """The place in `pairs` of the pair that each row names, -1 when it has none. Slots hold place + 1, 0 is free."""
    mask = len(slots) - 1
    for i in range(len(rows)):
        sku, sku_length = rows[i, ROW_SKU], rows[i, ROW_SKU_LENGTH]
        branch, branch_length = rows[i, ROW_BRANCH], rows[i, ROW_BRANCH_LENGTH]
        state = _hashed(raw, branch, branch_length, _hashed(raw, sku, sku_length, np.uint64(0)))
        at = np.int64(state >> np.uint64(32)) & mask
        places[i] = -1
        while slots[at] != 0:
            pair = slots[at] - 1
            text = pairs[pair, PAIR_TEXT]
            if (
                pairs[pair, PAIR_SKU_LENGTH] == sku_length
                and pairs[pair, PAIR_BRANCH_LENGTH] == branch_length
                and _same(raw, sku, texts, text, sku_length)
                and _same(raw, branch, texts, text + sku_length, branch_length)
            ):
                places[i] = pair
                break
            at = (at + 1) & mask


@compiled
def add_slots(
    pairs: NDArray[np.int64], texts: NDArray[np.uint8], slots: NDArray[np.int64], begin: int, end: int
) -> None:
    """Let the pairs [begin, end) be found; the slots are a power of two, more than there are pairs."""
    mask = len(slots) - 1
    for pair in range(begin, end):
        text, sku_length = pairs[pair, PAIR_TEXT], pairs[pair, PAIR_SKU_LENGTH]
        state = _hashed(texts, text, sku_length, np.uint64(0))
        state = _hashed(texts, text + sku_length, pairs[pair, PAIR_BRANCH_LENGTH], state)
        at = np.int64(state >> np.uint64(32)) & mask
        while slots[at] != 0:
            at = (at + 1) & mask
        slots[at] = pair + 1


@inlined
def _overflows(one: int, other: int) -> bool:
    if other >= 0:
        return one > INT64_MAX - other
    return one < -INT64_MAX - 1 - other


@inlined
def _forget(log: NDArray[np.int64], head: NDArray[np.int64], event: int) -> None:
    """Let an event and those linked to it be used again."""
    while event >= 0:
        before = log[event, LOG_BEFORE]
        log[event, LOG_BEFORE] = head[HEAD_FREE]
        head[HEAD_FREE] = event
        event = before


@inlined
def _keep(
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
def _take_in(
    pair: NDArray[np.int64],
    log: NDArray[np.int64],
    head: NDArray[np.int64],
    sequence: int,
    effective: int,
    is_on_hand: bool,
    kind: int,
    quantity: int,
) -> bool:
    """Add the event that follows on the last one; False: a figure would leave int64, and nothing is changed."""
    figure = PAIR_ON_HAND if is_on_hand else PAIR_UNAVAILABLE
    loaded = PAIR_LOADED_ON_HAND if is_on_hand else PAIR_LOADED_UNAVAILABLE
    as_of = PAIR_AS_OF if is_on_hand else PAIR_AS_OF_UNAVAILABLE
    newest = PAIR_EVENT if is_on_hand else PAIR_EVENT_UNAVAILABLE
    counts = effective > pair[PAIR_AFTER]
    if kind == _SET:
        # before a set nothing of the figure matters any more, also when what was loaded is newer than the set
        _forget(log, head, pair[newest])
        pair[newest] = -1
        pair[figure] = quantity if counts else pair[loaded]
        pair[as_of] = effective if counts else pair[PAIR_AFTER]
        if is_on_hand:
            pair[PAIR_KNOWN] = 1 if counts else pair[PAIR_LOADED_KNOWN]
    elif counts:
        if not is_on_hand or pair[PAIR_KNOWN]:
            if _overflows(pair[figure], quantity):
                return False
            pair[figure] += quantity
        pair[as_of] = max(pair[as_of], effective)
    pair[newest] = _keep(log, head, sequence, effective, kind, quantity, pair[newest])
    pair[PAIR_LAST], pair[PAIR_NEWEST] = sequence, effective
    return True


@inlined
def _before(pair: NDArray[np.int64], log: NDArray[np.int64], row: NDArray[np.int64]) -> int:
    """What becomes of an event whose sequence was received already."""
    status = LEFT
    for is_on_hand in (True, False):
        is_own = is_on_hand == (row[ROW_MEASURE] == _ON_HAND_EVENT)
        event = pair[PAIR_EVENT if is_on_hand else PAIR_EVENT_UNAVAILABLE]
        steps = 0
        while event >= 0 and log[event, LOG_SEQUENCE] > row[ROW_SEQUENCE]:
            if is_own and log[event, LOG_KIND] == _SET and log[event, LOG_EFFECTIVE] >= row[ROW_EFFECTIVE]:
                status = _DUPLICATE  # a later set that is no older has all that it says
            event = log[event, LOG_BEFORE]
            steps += 1
            if steps > _STEPS_MAX:
                return LEFT
        if event >= 0 and log[event, LOG_SEQUENCE] == row[ROW_SEQUENCE]:
            is_same = (
                is_own
                and log[event, LOG_EFFECTIVE] == row[ROW_EFFECTIVE]
                and log[event, LOG_KIND] == row[ROW_KIND]
                and log[event, LOG_QUANTITY] == row[ROW_QUANTITY]
            )
            return _DUPLICATE if is_same else LEFT
    return status


@compiled
def fold(
    rows: NDArray[np.int64],
    places: NDArray[np.int64],
    pairs: NDArray[np.int64],
    log: NDArray[np.int64],
    head: NDArray[np.int64],
    status: NDArray[np.uint8],
    touched: NDArray[np.int64],
) -> int:
    """Take in the events of plain streams, in order; (n,) status, or LEFT. How many pairs were touched, which stand
    in `touched`. The log must have room for one entry a row."""
    head[HEAD_CALL] += 1
    call, count = head[HEAD_CALL], 0
    for i in range(len(rows)):
        status[i] = LEFT
        if places[i] < 0:
            continue
        row, pair = rows[i], pairs[places[i]]
        if row[ROW_SAYS] == OTHER:
            continue
        last = pair[PAIR_LAST]
        if last == 0 or pair[PAIR_LEFT] == call:
            continue
        sequence, effective = row[ROW_SEQUENCE], row[ROW_EFFECTIVE]
        if row[ROW_SAYS] == PLAIN:
            if sequence == last + 1 and effective >= pair[PAIR_NEWEST]:
                is_on_hand, kind = row[ROW_MEASURE] == _ON_HAND_EVENT, row[ROW_KIND]
                if _take_in(pair, log, head, sequence, effective, is_on_hand, kind, row[ROW_QUANTITY]):
                    status[i] = _APPLIED if effective > pair[PAIR_AFTER] else _OLDER
            elif pair[PAIR_FIRST] <= sequence <= last:
                status[i] = _before(pair, log, row)
        if status[i] == LEFT:
            pair[PAIR_LEFT] = call
        elif pair[PAIR_TOUCHED] != call:
            pair[PAIR_TOUCHED] = call
            touched[count] = places[i]
            count += 1
    return count


@compiled
def adopt(
    pair: NDArray[np.int64], log: NDArray[np.int64], head: NDArray[np.int64], events: NDArray[np.int64]
) -> bool:
    """Take over the (n, 5) events of a stream: sequence, instant, measure, kind, quantity. False: a figure leaves
    int64. The pair's loaded figures and its first sequence are there; its last one is for the caller to say."""
    pair[PAIR_ON_HAND], pair[PAIR_KNOWN] = pair[PAIR_LOADED_ON_HAND], pair[PAIR_LOADED_KNOWN]
    pair[PAIR_UNAVAILABLE] = pair[PAIR_LOADED_UNAVAILABLE]
    pair[PAIR_AS_OF] = pair[PAIR_AS_OF_UNAVAILABLE] = pair[PAIR_AFTER]
    pair[PAIR_EVENT] = pair[PAIR_EVENT_UNAVAILABLE] = -1
    for i in range(len(events)):
        is_on_hand = events[i, 2] == _ON_HAND_EVENT
        if not _take_in(pair, log, head, events[i, 0], events[i, 1], is_on_hand, events[i, 3], events[i, 4]):
            give_back(pair, log, head)
            return False
    return True


@compiled
def give_back(pair: NDArray[np.int64], log: NDArray[np.int64], head: NDArray[np.int64]) -> None:
    """Forget the stream of a pair: it is not plain any more."""
    _forget(log, head, pair[PAIR_EVENT])
    _forget(log, head, pair[PAIR_EVENT_UNAVAILABLE])
    pair[PAIR_EVENT] = pair[PAIR_EVENT_UNAVAILABLE] = -1
    pair[PAIR_LAST] = 0


@compiled
def show(live: LiveArrays, pairs: NDArray[np.int64], places: NDArray[np.int64]) -> int:
    """Show the stock of plain pairs, all else of which is shown already; how many were: fewer than all when the next
    one is not live."""
    rows = live.live_rows
    for i in range(len(places)):
        pair = pairs[places[i]]
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
    return len(places)

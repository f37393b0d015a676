"""Compiled: how one layer settles the offers of its books (P2, P3, P6), and which entries would have answered (P13)."""

from numba import njit

from pricegrid.pricing_engine.arrays import matrix as mx
from pricegrid.pricing_engine.kernels.cursor import (
    BLOCKED,
    BY_PRICE,
    COMPETE,
    ENTRY,
    MISSED_INPUT,
    NOTHING,
    WINDOWED,
    compare_breaks,
    note_offer,
    start_book,
)
from pricegrid.pricing_engine.kernels.entries import (
    WORK_CURRENCY,
    WORK_ESCALATE,
    WORK_LEVELS,
    WORK_MINIMUM,
    WORK_MISSED,
    book_valid,
    find_cell,
    first_record,
    level_flag,
    record_at,
    records_of,
    value_of,
)
from pricegrid.pricing_engine.kernels.exact import INT64_MAX, compare
from pricegrid.pricing_engine.kernels.offers import (
    OFFER_CLASS_RANK,
    OFFER_CLOUDED,
    OFFER_DENOMINATOR,
    OFFER_FORM,
    OFFER_HIGH,
    OFFER_LEVEL,
    OFFER_LOW,
    OFFER_NEWEST,
    OFFER_PRESENT,
    OFFER_SLOT,
    RANK_SIZE,
    find_rate,
    next_offer,
)
from pricegrid.pricing_engine.kernels.stack import (
    STACK_ATTACHMENT,
    STACK_DISTANCE,
    STACK_LAYER,
    priority_of,
)
from pricegrid.pricing_engine.model import (
    Ladder,
    Mode,
    Windows,
)

# rows of the offers array: the one just made, the best in the order of candidates, the best, the blocked; then of
# entries that lack an input, and of those whose price is zero, the best and the best in the order of candidates
NOW, FIRST, BEST, STOP, LACKING, _, ZERO, _, OFFER_ROWS = range(9)

_MODE_FIRST, _MODE_LOWEST = int(Mode.FIRST), int(Mode.LOWEST)
_MODE_HIGHEST, _MODE_NEWEST = int(Mode.HIGHEST), int(Mode.NEWEST)
_MERGE, _REPLACE = int(Ladder.MERGE), int(Windows.REPLACE)
MISSED_INPUT_BIT, MISSED_ZERO_BIT = 1, 2  # of WORK_MISSED


@njit(cache=True)
def _ranks_before(a, b):  # type: ignore[no-untyped-def]
    for i in range(RANK_SIZE):
        if a[i] != b[i]:
            return a[i] < b[i]
    return False


@njit(cache=True)
def _rank(offer, mode, distance, priority):  # type: ignore[no-untyped-def]
    """Write the offer's place in the order of candidates (P2) into its first seven numbers; book stands last."""
    shift = 1 if mode == _MODE_NEWEST else 0
    offer[shift] = distance
    offer[shift + 1] = priority
    offer[shift + 2] = offer[OFFER_LEVEL]
    offer[shift + 3] = offer[OFFER_CLASS_RANK]
    offer[shift + 4] = offer[OFFER_FORM]
    offer[0 if shift else 5] = -offer[OFFER_NEWEST]


@njit(cache=True)
def _better(work, a, b, mode):  # type: ignore[no-untyped-def]
    """Whether offer a settles before offer b: by price in `lowest` and `highest`, then by rank (P2)."""
    if mode in (_MODE_LOWEST, _MODE_HIGHEST):
        fits, sign = compare(
            a[OFFER_HIGH],
            a[OFFER_LOW],
            a[OFFER_DENOMINATOR],
            b[OFFER_HIGH],
            b[OFFER_LOW],
            b[OFFER_DENOMINATOR],
        )
        if not fits:
            work[WORK_ESCALATE] = 1
        if sign != 0:
            return (sign < 0) == (mode == _MODE_LOWEST)
    return _ranks_before(a, b)


@njit(cache=True)
def _compare_slots(work, a, b):  # type: ignore[no-untyped-def]
    """The sign of the break of offer a minus that of offer b, in the asked unit (P5)."""
    one, other = a[OFFER_SLOT], b[OFFER_SLOT]
    if a[OFFER_FORM] == b[OFFER_FORM] or one < 0 or other < 0:
        return (one > other) - (one < other)
    if a[OFFER_FORM] == 0:
        return compare_breaks(work, one, other)
    return -compare_breaks(work, other, one)


@njit(cache=True)
def _settles_before(work, a, b, mode, ladder):  # type: ignore[no-untyped-def]
    """Whether offer a answers rather than offer b (P2, P6)."""
    if ladder == _MERGE:
        order = _compare_slots(work, a, b)
        if order != 0:
            return order > 0
    return _better(work, a, b, mode)


@njit(cache=True)
def _take(work, offers, best, first, mode, ladder):  # type: ignore[no-untyped-def]
    """Let the offer just made take over where it is better; by `mode` and `ladder`, and in the order of candidates."""
    now = offers[NOW]
    now[OFFER_PRESENT] = 1
    if offers[first, OFFER_PRESENT] == 0 or _ranks_before(now, offers[first]):
        offers[first] = now
    if offers[best, OFFER_PRESENT] == 0 or _settles_before(work, now, offers[best], mode, ladder):
        offers[best] = now


@njit(cache=True)
def _walk_of(m, book, mode, ladder):  # type: ignore[no-untyped-def]
    """How the rows of a book are visited: bits of FRAME_WALK (P4, P5)."""
    if mode in (_MODE_LOWEST, _MODE_HIGHEST):
        return COMPETE | BY_PRICE | (0 if ladder == _MERGE else WINDOWED)
    walk = COMPETE if ladder == _MERGE else 0
    return walk | WINDOWED if m.books[book, mx.BOOK_WINDOWS] == _REPLACE else walk


@njit(cache=True)
def _consider(m, work, keys, frames, offers, stack, row, book, standing):  # type: ignore[no-untyped-def]
    """Ask one book of the stack for its offers (P3, P5) and let them compete."""
    currency = m.books[book, mx.BOOK_CURRENCY]
    if (currency == work[WORK_CURRENCY]) != (standing == 0):
        return
    priority = priority_of(m, work, stack, row, book)
    if priority == INT64_MAX or not book_valid(m, work, book):
        return
    has_rate = standing == 0 or find_rate(m, work, currency, work[WORK_CURRENCY])[1] != 0
    minimum = work[WORK_MINIMUM]
    mode = m.layers[stack[row, STACK_LAYER], mx.LAYER_MODE]
    ladder = m.layers[stack[row, STACK_LAYER], mx.LAYER_LADDER]
    walk = _walk_of(m, book, mode, ladder)
    start_book(frames[0], book, walk)
    while True:
        said = next_offer(m, work, keys, frames, offers[NOW])
        if said == NOTHING or (said == BLOCKED and not has_rate):
            break
        _rank(offers[NOW], mode, stack[row, STACK_DISTANCE], priority)
        if said == ENTRY:
            _take(work, offers, BEST, FIRST, mode, ladder)
            if walk & COMPETE == 0:
                break
            note_offer(m, frames[0])
        elif said == BLOCKED:
            if offers[STOP, OFFER_PRESENT] == 0 or _ranks_before(offers[NOW], offers[STOP]):
                offers[STOP] = offers[NOW]
                offers[STOP, OFFER_PRESENT] = 1
            break
        else:
            best = LACKING if said == MISSED_INPUT else ZERO
            _take(work, offers, best, best + 1, _MODE_FIRST, ladder)
    if not has_rate:
        work[WORK_MINIMUM] = minimum  # it has no price at any quantity


@njit(cache=True)
def has_book(m, cell, book):  # type: ignore[no-untyped-def]
    """Whether a cell of records has any of a book."""
    first, end = records_of(value_of(m, cell))
    at = first_record(m, first, end, book << 32)
    return at < end and record_at(m, at, mx.RECORD_BOOK_CLASS) >> 32 == book


@njit(cache=True)
def _speaks_of_item(m, work, keys, bundle):  # type: ignore[no-untyped-def]
    for level in range(work[WORK_LEVELS]):  # noqa: SIM110 - numba compiles no generators
        if find_cell(m, bundle, keys[level], level_flag(work, level)) >= 0:
            return True
    return False


@njit(cache=True)
def _consider_bundle(m, work, keys, frames, offers, stack, row, standing):  # type: ignore[no-untyped-def]
    """Ask every book of a stack row's bundle that speaks of the item at any level, each once."""
    bundle = m.attachments[stack[row, STACK_ATTACHMENT], mx.ATTACHMENT_BUNDLE]
    book = m.bundles[bundle, mx.BUNDLE_BOOK]
    if book >= 0:
        if _speaks_of_item(
            m, work, keys, bundle
        ):  # else its dates are no edge of this line's validity either
            _consider(m, work, keys, frames, offers, stack, row, book, standing)
        return
    for level in range(work[WORK_LEVELS]):
        cell = find_cell(m, bundle, keys[level], level_flag(work, level))
        if cell < 0:
            continue
        at, end = records_of(value_of(m, cell))
        while at < end:
            book = record_at(m, at, mx.RECORD_BOOK_CLASS) >> 32
            seen = False
            for before in range(level):
                other = find_cell(m, bundle, keys[before], level_flag(work, before))
                if other >= 0 and has_book(m, other, book):
                    seen = True
            if not seen:
                _consider(m, work, keys, frames, offers, stack, row, book, standing)
            at = first_record(m, at, end, (book + 1) << 32)


@njit(cache=True)
def settle(m, work, keys, frames, offers, stack, first, end, standing):  # type: ignore[no-untyped-def]
    """The layer's answer among books of one currency standing: its row in `offers`, STOP, or -1 (P2, P6)."""
    for row in range(OFFER_ROWS):
        offers[row, OFFER_PRESENT] = 0
    layer = stack[first, STACK_LAYER]
    mode, ladder = m.layers[layer, mx.LAYER_MODE], m.layers[layer, mx.LAYER_LADDER]
    nearest_wins = mode == _MODE_FIRST and ladder != _MERGE
    for row in range(first, end):
        found = offers[FIRST, OFFER_PRESENT] == 1 or offers[STOP, OFFER_PRESENT] == 1
        if found and nearest_wins and stack[row, STACK_DISTANCE] != stack[row - 1, STACK_DISTANCE]:
            break
        _consider_bundle(m, work, keys, frames, offers, stack, row, standing)
        if work[WORK_ESCALATE] == 1:
            return -1
    answer = -1
    if offers[FIRST, OFFER_PRESENT] == 1:
        answer = BEST
    if offers[STOP, OFFER_PRESENT] == 1 and (answer < 0 or _ranks_before(offers[STOP], offers[FIRST])):
        answer = STOP
    for best, bit in ((LACKING, MISSED_INPUT_BIT), (ZERO, MISSED_ZERO_BIT)):
        if offers[best, OFFER_PRESENT] == 1 and _would_answer(work, offers, best, answer, mode, ladder):
            work[WORK_MISSED] |= bit
    if answer == BEST and offers[BEST, OFFER_CLOUDED] == 1:
        work[WORK_MISSED] |= MISSED_INPUT_BIT
    return answer


@njit(cache=True)
def _would_answer(work, offers, best, answer, mode, ladder):  # type: ignore[no-untyped-def]
    """Whether an entry without a price would have been the answer, or might have been (P13)."""
    if answer == STOP:
        return _ranks_before(offers[best + 1], offers[STOP])
    if answer < 0 or mode in (_MODE_LOWEST, _MODE_HIGHEST):
        return True
    if ladder == _MERGE:
        order = _compare_slots(work, offers[best], offers[answer])
        if order != 0:
            return order > 0
    return not _ranks_before(offers[answer], offers[best])

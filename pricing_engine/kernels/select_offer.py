"""Compiled: which offer of a layer's books is selected (P2, P3, P6), which entries would have been (P13), and
what is added to it (P16).

`select_offer` loops over the rows of the customer's stack in one layer, nearest first, and over the books of each row's
bundle that have a cell of the item; every offer of a book is compared with the best so far, so nothing is sorted. In
mode `first` it stops at the first distance at which a book has answered; in all other modes every book is visited. It
is called for books in the asked currency (currency rank 0) and, if none of them answers, for the others (rank 1).
Beside the best offer it keeps the best blocked book and the best entry without a price, to tell whether either of them
ranks before the offer.
"""

from pricegrid.columnar.exact import INT64_MAX, compare
from pricegrid.columnar.jit import compiled
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
    STATE_CURRENCY,
    STATE_ESCALATE,
    STATE_LEVELS,
    STATE_MINIMUM,
    STATE_MISSED,
    book_valid,
    find_cell,
    first_record,
    level_flag,
    record_at,
    records_of,
    value_of,
)
from pricegrid.pricing_engine.kernels.offers import (
    OFFER_BASIS_MISSED,
    OFFER_DENOMINATOR,
    OFFER_FORM,
    OFFER_HIGH,
    OFFER_LEVEL,
    OFFER_LOW,
    OFFER_NARROWNESS,
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
from pricegrid.pricing_engine.kernels.surcharges import (
    MISSED_INPUT_BIT,
    MISSED_ZERO_BIT,
    add_surcharges,
    note_surcharge,
    start_surcharges,
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
_MODE_ADD, _MERGE, _REPLACE = int(Mode.ADD), int(Ladder.MERGE), int(Windows.REPLACE)


@compiled
def _ranks_before(a, b):  # type: ignore[no-untyped-def]
    for i in range(RANK_SIZE):
        if a[i] != b[i]:
            return a[i] < b[i]
    return False


@compiled
def _rank(offer, mode, distance, priority):  # type: ignore[no-untyped-def]
    """Write the offer's rank in the order of candidates (P2) to its first seven numbers; the book is the last."""
    shift = 1 if mode == _MODE_NEWEST else 0
    offer[shift] = distance
    offer[shift + 1] = priority
    offer[shift + 2] = offer[OFFER_LEVEL]
    offer[shift + 3] = offer[OFFER_NARROWNESS]
    offer[shift + 4] = offer[OFFER_FORM]
    offer[0 if shift else 5] = -offer[OFFER_NEWEST]


@compiled
def _better(state, a, b, mode):  # type: ignore[no-untyped-def]
    """Whether offer a is better than offer b: by price in `lowest` and `highest`, then by rank (P2)."""
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
            state[STATE_ESCALATE] = 1
        if sign != 0:
            return (sign < 0) == (mode == _MODE_LOWEST)
    return _ranks_before(a, b)


@compiled
def _compare_slots(state, a, b):  # type: ignore[no-untyped-def]
    """The sign of the break of offer a minus that of offer b, in the asked unit (P5)."""
    one, other = a[OFFER_SLOT], b[OFFER_SLOT]
    if a[OFFER_FORM] == b[OFFER_FORM] or one < 0 or other < 0:
        return (one > other) - (one < other)
    if a[OFFER_FORM] == 0:
        return compare_breaks(state, one, other)
    return -compare_breaks(state, other, one)


@compiled
def _is_selected_before(state, a, b, mode, ladder):  # type: ignore[no-untyped-def]
    """Whether offer a answers rather than offer b (P2, P6)."""
    if ladder == _MERGE:
        order = _compare_slots(state, a, b)
        if order != 0:
            return order > 0
    return _better(state, a, b, mode)


@compiled
def _keep_better(state, offers, best, first, mode, ladder):  # type: ignore[no-untyped-def]
    """Keep the offer just made where it is better: by `mode` and `ladder`, and in the order of candidates."""
    now = offers[NOW]
    now[OFFER_PRESENT] = 1
    if offers[first, OFFER_PRESENT] == 0 or _ranks_before(now, offers[first]):
        offers[first] = now
    if offers[best, OFFER_PRESENT] == 0 or _is_selected_before(state, now, offers[best], mode, ladder):
        offers[best] = now


@compiled
def _visit_of(m, book, mode, ladder):  # type: ignore[no-untyped-def]
    """How the rows of a book are visited: bits of CURSOR_VISIT (P4, P5)."""
    if mode in (_MODE_LOWEST, _MODE_HIGHEST):
        return COMPETE | BY_PRICE | (0 if ladder == _MERGE else WINDOWED)
    visit = COMPETE if ladder == _MERGE else 0
    return visit | WINDOWED if m.books[book, mx.BOOK_WINDOWS] == _REPLACE else visit


@compiled
def _is_held_nearer(m, state, stack, row, book):  # type: ignore[no-untyped-def]
    """Whether an earlier row of the stack in the same layer holds a book too: what it adds is added once."""
    layer, attachment = stack[row, STACK_LAYER], stack[row, STACK_ATTACHMENT]
    bundle = m.attachments[attachment, mx.ATTACHMENT_BUNDLE]
    for other in range(row - 1, -1, -1):
        if stack[other, STACK_LAYER] != layer:
            return False
        is_of_bundle = m.attachments[stack[other, STACK_ATTACHMENT], mx.ATTACHMENT_BUNDLE] == bundle
        if is_of_bundle and priority_of(m, state, stack, other, book) != INT64_MAX:
            return True
    return False


@compiled
def _collect_offers(m, state, keys, cursors, offers, stack, row, book, currency_rank):  # type: ignore[no-untyped-def]
    """Compare the offers of one book of the stack with the best so far (P3, P5)."""
    currency = m.books[book, mx.BOOK_CURRENCY]
    if (currency == state[STATE_CURRENCY]) != (currency_rank == 0):
        return
    priority = priority_of(m, state, stack, row, book)
    if priority == INT64_MAX or not book_valid(m, state, book):
        return
    if m.books[book, mx.BOOK_BREAKS] != 0:
        state[STATE_ESCALATE] = 1
        return
    mode = m.layers[stack[row, STACK_LAYER], mx.LAYER_MODE]
    if mode == _MODE_ADD:
        if not _is_held_nearer(m, state, stack, row, book):
            note_surcharge(m, state, keys, cursors, offers[NOW], book)
        return
    has_rate = currency_rank == 0 or find_rate(m, state, currency, state[STATE_CURRENCY])[1] != 0
    minimum = state[STATE_MINIMUM]
    ladder = m.layers[stack[row, STACK_LAYER], mx.LAYER_LADDER]
    visit = _visit_of(m, book, mode, ladder)
    start_book(cursors[0], book, visit)
    while True:
        outcome = next_offer(m, state, keys, cursors, offers[NOW])
        if outcome == NOTHING or (outcome == BLOCKED and not has_rate):
            break
        _rank(offers[NOW], mode, stack[row, STACK_DISTANCE], priority)
        if outcome == ENTRY:
            _keep_better(state, offers, BEST, FIRST, mode, ladder)
            if visit & COMPETE == 0:
                break
            note_offer(m, cursors[0])
        elif outcome == BLOCKED:
            if offers[STOP, OFFER_PRESENT] == 0 or _ranks_before(offers[NOW], offers[STOP]):
                offers[STOP] = offers[NOW]
                offers[STOP, OFFER_PRESENT] = 1
            break
        else:
            best = LACKING if outcome == MISSED_INPUT else ZERO
            _keep_better(state, offers, best, best + 1, _MODE_FIRST, ladder)
    if not has_rate:
        state[STATE_MINIMUM] = minimum  # it has no price at any quantity


@compiled
def has_book(m, cell, book):  # type: ignore[no-untyped-def]
    """Whether a cell of records has any of a book."""
    first, end = records_of(value_of(m, cell))
    at = first_record(m, first, end, book << 32)
    return at < end and record_at(m, at, mx.RECORD_BOOK_CLASS) >> 32 == book


@compiled
def _has_cell_of_item(m, state, keys, bundle):  # type: ignore[no-untyped-def]
    for level in range(state[STATE_LEVELS]):  # noqa: SIM110 - numba compiles no generators
        if find_cell(m, bundle, keys[level], level_flag(state, level)) >= 0:
            return True
    return False


@compiled
def _collect_bundle_offers(m, state, keys, cursors, offers, stack, row, currency_rank):  # type: ignore[no-untyped-def]
    """The same for every book of a stack row's bundle that has an entry of the item at any level, each once."""
    bundle = m.attachments[stack[row, STACK_ATTACHMENT], mx.ATTACHMENT_BUNDLE]
    book = m.bundles[bundle, mx.BUNDLE_BOOK]
    if book >= 0:
        if _has_cell_of_item(
            m, state, keys, bundle
        ):  # else its dates are no edge of this line's validity either
            _collect_offers(m, state, keys, cursors, offers, stack, row, book, currency_rank)
        return
    for level in range(state[STATE_LEVELS]):
        cell = find_cell(m, bundle, keys[level], level_flag(state, level))
        if cell < 0:
            continue
        at, end = records_of(value_of(m, cell))
        while at < end:
            book = record_at(m, at, mx.RECORD_BOOK_CLASS) >> 32
            seen = False
            for before in range(level):
                other = find_cell(m, bundle, keys[before], level_flag(state, before))
                if other >= 0 and has_book(m, other, book):
                    seen = True
            if not seen:
                _collect_offers(m, state, keys, cursors, offers, stack, row, book, currency_rank)
            at = first_record(m, at, end, (book + 1) << 32)


@compiled
def select_offer(m, state, keys, cursors, offers, stack, first, end, currency_rank):  # type: ignore[no-untyped-def]
    """The layer's answer among books of one currency rank: its row in `offers`, STOP, or -1 (P2, P6)."""
    for row in range(OFFER_ROWS):
        offers[row, OFFER_PRESENT] = 0
    layer = stack[first, STACK_LAYER]
    mode, ladder = m.layers[layer, mx.LAYER_MODE], m.layers[layer, mx.LAYER_LADDER]
    nearest_wins = mode == _MODE_FIRST and ladder != _MERGE
    for row in range(first, end):
        found = offers[FIRST, OFFER_PRESENT] == 1 or offers[STOP, OFFER_PRESENT] == 1
        if found and nearest_wins and stack[row, STACK_DISTANCE] != stack[row - 1, STACK_DISTANCE]:
            break
        _collect_bundle_offers(m, state, keys, cursors, offers, stack, row, currency_rank)
        if state[STATE_ESCALATE] == 1:
            return -1
    answer = -1
    if offers[FIRST, OFFER_PRESENT] == 1:
        answer = BEST
    if offers[STOP, OFFER_PRESENT] == 1 and (answer < 0 or _ranks_before(offers[STOP], offers[FIRST])):
        answer = STOP
    for best, bit in ((LACKING, MISSED_INPUT_BIT), (ZERO, MISSED_ZERO_BIT)):
        if offers[best, OFFER_PRESENT] == 1 and _would_answer(state, offers, best, answer, mode, ladder):
            state[STATE_MISSED] |= bit
    if answer == BEST and offers[BEST, OFFER_BASIS_MISSED] == 1:
        state[STATE_MISSED] |= MISSED_INPUT_BIT
    return answer


@compiled
def has_surcharges(m, stack):  # type: ignore[no-untyped-def]
    """Whether the stack has a layer of mode `add`: they are its last."""
    return len(stack) > 0 and m.layers[stack[len(stack) - 1, STACK_LAYER], mx.LAYER_MODE] == _MODE_ADD


@compiled
def surcharge(m, state, keys, cursors, offers, stack, first, answer):  # type: ignore[no-untyped-def]
    """Add the surcharges of the layers from a row of the stack on to the answer, a row of `offers` (P16)."""
    total, is_found = offers[NOW], False
    start_surcharges(total)
    while first < len(stack):
        layer, end = stack[first, STACK_LAYER], first
        while end < len(stack) and stack[end, STACK_LAYER] == layer:
            end += 1
        if m.layers[layer, mx.LAYER_MODE] == _MODE_ADD:
            total[OFFER_PRESENT] = 0
            for currency_rank in range(2):
                if total[OFFER_PRESENT] == 0:
                    for row in range(first, end):
                        _collect_bundle_offers(m, state, keys, cursors, offers, stack, row, currency_rank)
            is_found |= total[OFFER_PRESENT] == 1
        first = end
    if is_found:
        add_surcharges(m, state, total, offers[answer])


@compiled
def _would_answer(state, offers, best, answer, mode, ladder):  # type: ignore[no-untyped-def]
    """Whether an entry without a price would have been the answer, or might have been (P13)."""
    if answer == STOP:
        return _ranks_before(offers[best + 1], offers[STOP])
    if answer < 0 or mode in (_MODE_LOWEST, _MODE_HIGHEST):
        return True
    if ladder == _MERGE:
        order = _compare_slots(state, offers[best], offers[answer])
        if order != 0:
            return order > 0
    return not _ranks_before(offers[answer], offers[best])

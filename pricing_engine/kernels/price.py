"""Compiled: one request's lines to answers over the arrays of `pricing_engine.arrays.matrix` (P1-P14, P16-P20).

`price_batch` gathers the customer's stack once: the bundles attached to the customer, its ancestors, its classes and
everyone, in the order of search. Lines are then taken in blocks of 32. For each block `_look_ahead` finds the items and
fetches what the lines will read, in five steps (probe slot, item row, page or ranks, cell, breaks), each for all lines
before the next, so that the waits for memory overlap. Then each line is answered in the order given: quantity, item,
entitlement, unit; then its single offer (`single_offer`), or, where it has none, or a date of its own (P20), a search
of its layers: for each layer in order `select_offer` among the books in the asked currency, then among the others,
until one answers. What the search read also says when the answer could next change; it is made again at those instants
until it does, at most UNTIL_STEPS_MAX times. A lookup probes each bundle once for each item level, however many books
and customers there are.
"""

import numpy as np

from pricegrid.columnar.exact import INT64_MAX
from pricegrid.columnar.jit import compiled, inlined
from pricegrid.columnar.names import find_name, likely_ordinal, name_key
from pricegrid.columnar.tables import fetch, table_of
from pricegrid.pricing_engine.arrays import matrix as mx
from pricegrid.pricing_engine.kernels.cursor import CURSOR_SIZE, CURSORS
from pricegrid.pricing_engine.kernels.entries import (
    STATE_AS_OF,
    STATE_BRANCH,
    STATE_CLASS,
    STATE_CLASS_COUNT,
    STATE_CLASSES,
    STATE_CURRENCY,
    STATE_CUSTOMER_BRANCH,
    STATE_DENOMINATOR,
    STATE_ESCALATE,
    STATE_HORIZON,
    STATE_ITEM,
    STATE_LEVELS,
    STATE_MINIMUM,
    STATE_MINOR,
    STATE_MISSED,
    STATE_NUMERATOR,
    STATE_PRICE_BRANCH,
    STATE_QUANTITY,
    STATE_SIGNED_QUANTITY,
    STATE_SIZE,
    find_cell,
    level_flag,
)
from pricegrid.pricing_engine.kernels.items import find_item, item_levels, unit_factor
from pricegrid.pricing_engine.kernels.matrix_pointer import matrix_of
from pricegrid.pricing_engine.kernels.offers import (
    OFFER_BOOK,
    OFFER_ENTRY,
    OFFER_LIFTED,
    OFFER_MINIMUM,
    OFFER_PRICE_PER,
    OFFER_ROUNDED,
    OFFER_SIZE,
)
from pricegrid.pricing_engine.kernels.rounding import extended
from pricegrid.pricing_engine.kernels.select_offer import (
    OFFER_ROWS,
    STOP,
    has_book,
    has_surcharges,
    select_offer,
    surcharge,
)
from pricegrid.pricing_engine.kernels.single_offer import (
    MEMO_GROUPS_MAX,
    MEMO_SIZE,
    ROW_BOOK,
    ROW_LAYER,
    ROW_SIZE,
    fetch_breaks,
    fetch_cells,
    fetch_pages,
    rows_of,
    single_offer_price,
    single_offer_rows,
)
from pricegrid.pricing_engine.kernels.stack import (
    STACK_ATTACHMENT,
    STACK_INHERITED,
    STACK_LAYER,
    entitled,
    entitlement_owners,
    gather_stack,
    priority_of,
)
from pricegrid.pricing_engine.kernels.surcharges import MISSED_INPUT_BIT
from pricegrid.pricing_engine.model import (
    GROUP_DEPTH_MAX,
    MICROS,
    NEVER_US,
    ExceptionReason,
    LineStatus,
    Mode,
)

# ask (9): the request; ordinals are -1 where blank and -2 where the snapshot doesn't know the name
(
    ASK_CUSTOMER,
    ASK_CURRENCY,
    ASK_BRANCH,
    ASK_AS_OF,
    ASK_MINOR,
    ASK_GRACE,
    ASK_THRESHOLD,  # extended prices above it are exceptions; INT64_MAX: none are
    ASK_FLAGGED,  # 1: every line of this customer is an exception
    ASK_SERVICE_DESK,  # 1: the caller may see NOT_ENTITLED
    ASK_SIZE,
) = range(10)
# lines (n, 6): one line; names are [start, start + length) of the request's text
(
    LINE_SKU,
    LINE_SKU_LENGTH,
    LINE_QUANTITY,
    LINE_UOM,
    LINE_UOM_LENGTH,
    LINE_AS_OF,  # the instant of this line (P20); NO_AS_OF: that of the request
    LINE_SIZE,
) = range(7)
NO_AS_OF = -(2**63)
# answers (n, 13)
(
    ANSWER_STATUS,  # a LineStatus, or NEEDS_REFERENCE
    ANSWER_UNIT_PRICE,
    ANSWER_EXTENDED_PRICE,
    ANSWER_BOOK,
    ANSWER_LAYER,
    ANSWER_ENTRY,
    ANSWER_MINIMUM,
    ANSWER_VALID_UNTIL,
    ANSWER_LIFTED,
    ANSWER_ITEM,
    ANSWER_EXCEPTION,  # an ExceptionReason
    ANSWER_CONVERTED,
    ANSWER_PRICE_PER,  # the unit price is of so many units (P14); 0 without a price
    ANSWER_SIZE,
) = range(14)
NEEDS_REFERENCE = -1
# scratch of `_look_ahead` until a line is priced
_KEY, _CELL, _OWN = ANSWER_UNIT_PRICE, ANSWER_UNIT_PRICE, ANSWER_BOOK
BLOCK = 32  # lines looked ahead at a time: what they need stays in the nearest caches
UNTIL_STEPS_MAX = 64  # instants tried for valid_until before the line goes to the reference


_OK, _NO_PRICE, _BELOW_MINIMUM = int(LineStatus.OK), int(LineStatus.NO_PRICE), int(LineStatus.BELOW_MINIMUM)
_OUT_OF_RANGE, _INVALID_QUANTITY = int(LineStatus.OUT_OF_RANGE), int(LineStatus.INVALID_QUANTITY)
_UNKNOWN_ITEM, _NOT_ENTITLED = int(LineStatus.UNKNOWN_ITEM), int(LineStatus.NOT_ENTITLED)
_UNKNOWN_UOM, _ERP_UNAVAILABLE = int(LineStatus.UNKNOWN_UOM), int(LineStatus.ERP_UNAVAILABLE)
_PRICE_SOURCE_ERP, _REASON_NO_PRICE = int(ExceptionReason.PRICE_SOURCE_ERP), int(ExceptionReason.NO_PRICE)
_OVER_THRESHOLD, _FLAGGED = int(ExceptionReason.OVER_THRESHOLD), int(ExceptionReason.FLAGGED)
_AGREEMENT_EXPIRED = int(ExceptionReason.AGREEMENT_EXPIRED)
_ADD = int(Mode.ADD)
_MISSING_INPUT, _ZERO_PRICE = int(ExceptionReason.MISSING_INPUT), int(ExceptionReason.ZERO_PRICE)


# -- the layers ----------------------------------------------------------------------------------------------------


@compiled
def _price_at(m, state, keys, cursors, offers, stack, answer):  # type: ignore[no-untyped-def]
    """Search the layers at STATE_AS_OF; write the price (P1), and whether another entry lacked its input (P13)."""
    state[STATE_HORIZON] = NEVER_US
    state[STATE_MINIMUM] = INT64_MAX
    state[STATE_MISSED] = 0
    answer[ANSWER_UNIT_PRICE] = answer[ANSWER_EXTENDED_PRICE] = answer[ANSWER_MINIMUM] = 0
    answer[ANSWER_BOOK] = answer[ANSWER_LAYER] = answer[ANSWER_ENTRY] = -1
    answer[ANSWER_LIFTED] = answer[ANSWER_PRICE_PER] = 0
    _search_layers(m, state, keys, cursors, offers, stack, answer)
    missed = state[STATE_MISSED]
    answer[ANSWER_EXCEPTION] = (
        0 if missed == 0 else _MISSING_INPUT if missed & MISSED_INPUT_BIT != 0 else _ZERO_PRICE
    )


@compiled
def _search_layers(m, state, keys, cursors, offers, stack, answer):  # type: ignore[no-untyped-def]
    first = 0
    while first < len(stack):
        end = first
        while end < len(stack) and stack[end, STACK_LAYER] == stack[first, STACK_LAYER]:
            end += 1
        if m.layers[stack[first, STACK_LAYER], mx.LAYER_MODE] == _ADD:
            break
        for currency_rank in range(2):
            row = select_offer(m, state, keys, cursors, offers, stack, first, end, currency_rank)
            if state[STATE_ESCALATE] == 1:
                return
            if row == STOP:
                answer[ANSWER_STATUS] = _BELOW_MINIMUM
                answer[ANSWER_MINIMUM] = offers[STOP, OFFER_MINIMUM]
                return
            if row >= 0:
                if has_surcharges(m, stack):
                    surcharge(m, state, keys, cursors, offers, stack, end, row)
                _write_answer(m, state, offers[row], stack[first, STACK_LAYER], answer)
                return
        first = end
    if state[STATE_MINIMUM] == INT64_MAX:
        answer[ANSWER_STATUS] = _NO_PRICE
    else:
        answer[ANSWER_STATUS] = _BELOW_MINIMUM
        answer[ANSWER_MINIMUM] = state[STATE_MINIMUM]


@compiled
def _write_price(state, unit_price, price_per, book, layer, entry, answer):  # type: ignore[no-untyped-def]
    """Write a price of so many units, extended to the quantity (P9, P14); False: it is OUT_OF_RANGE."""
    answer[ANSWER_STATUS] = _OUT_OF_RANGE
    if unit_price < 0:
        return False
    minor = state[STATE_MINOR]
    fits, multiple = extended(unit_price, state[STATE_SIGNED_QUANTITY], MICROS * minor * price_per)
    if not fits or multiple > INT64_MAX // minor:
        return False
    answer[ANSWER_STATUS] = _OK
    answer[ANSWER_UNIT_PRICE] = unit_price
    answer[ANSWER_PRICE_PER] = price_per
    answer[ANSWER_EXTENDED_PRICE] = (
        multiple * minor if state[STATE_SIGNED_QUANTITY] > 0 else -multiple * minor
    )
    answer[ANSWER_BOOK] = book
    answer[ANSWER_LAYER] = layer
    answer[ANSWER_ENTRY] = entry
    return True


@compiled
def _write_answer(m, state, offer, layer, answer):  # type: ignore[no-untyped-def]
    book, price_per = offer[OFFER_BOOK], offer[OFFER_PRICE_PER]
    if _write_price(state, offer[OFFER_ROUNDED], price_per, book, layer, offer[OFFER_ENTRY], answer):
        answer[ANSWER_LIFTED] = offer[OFFER_LIFTED]
        answer[ANSWER_CONVERTED] = m.books[book, mx.BOOK_CURRENCY] != state[STATE_CURRENCY]


@compiled
def _price_single_offer(m, state, rows, own, above, adding, memo, answer):  # type: ignore[no-untyped-def]
    """Write the answer of a line with a single offer, which nothing ends; False: it has none."""
    if state[STATE_NUMERATOR] != 1 or state[STATE_DENOMINATOR] != 1:
        return False
    found, unit_price, row, entry = single_offer_price(m, state, rows, own, above, adding, memo)
    if found:
        book, layer = rows[row, ROW_BOOK], rows[row, ROW_LAYER]
        _write_price(state, unit_price, np.int64(1), book, layer, entry, answer)
    return found


@compiled
def _price_line(m, state, keys, cursors, offers, stack, answer, later, as_of):  # type: ignore[no-untyped-def]
    """The answer at `as_of`, and the first later instant at which it would be another (P10)."""
    state[STATE_AS_OF] = as_of
    state[STATE_ESCALATE] = 0
    _price_at(m, state, keys, cursors, offers, stack, answer)
    answer[ANSWER_VALID_UNTIL] = NEVER_US
    steps = 0
    while state[STATE_ESCALATE] == 0 and state[STATE_HORIZON] < NEVER_US:
        state[STATE_AS_OF] = state[STATE_HORIZON]
        _price_at(m, state, keys, cursors, offers, stack, later)
        same = (
            later[ANSWER_STATUS] == answer[ANSWER_STATUS]
            and later[ANSWER_UNIT_PRICE] == answer[ANSWER_UNIT_PRICE]
            and later[ANSWER_PRICE_PER] == answer[ANSWER_PRICE_PER]
            and later[ANSWER_ENTRY] == answer[ANSWER_ENTRY]
            and later[ANSWER_MINIMUM] == answer[ANSWER_MINIMUM]
        )
        if not same:
            answer[ANSWER_VALID_UNTIL] = state[STATE_AS_OF]
            break
        steps += 1
        if steps == UNTIL_STEPS_MAX:
            state[STATE_ESCALATE] = 1
    state[STATE_AS_OF] = as_of
    if state[STATE_ESCALATE] == 1:
        answer[ANSWER_STATUS] = NEEDS_REFERENCE


# -- one line -------------------------------------------------------------------------------------------------------


@compiled
def _expired_lately(m, state, keys, stack, grace):  # type: ignore[no-untyped-def]
    """Whether a book with an entry for the item left the stack within the grace period (P13)."""
    now = state[STATE_AS_OF]
    for row in range(len(stack)):
        attachment = stack[row, STACK_ATTACHMENT]
        for at in range(
            m.attachments[attachment, mx.ATTACHMENT_START], m.attachments[attachment, mx.ATTACHMENT_END]
        ):
            end = m.agreements[at, mx.AGREEMENT_TO]
            inherited = stack[row, STACK_INHERITED] == 0 or m.agreements[at, mx.AGREEMENT_INHERIT] == 1
            if not (inherited and end <= now < end + grace):
                continue
            book = m.agreements[at, mx.AGREEMENT_BOOK]
            bundle = m.books[book, mx.BOOK_BUNDLE]
            still = False
            for other in range(len(stack)):
                if m.attachments[stack[other, STACK_ATTACHMENT], mx.ATTACHMENT_BUNDLE] == bundle:
                    still |= priority_of(m, state, stack, other, book) != INT64_MAX
            if still:
                continue
            for level in range(state[STATE_LEVELS]):
                cell = find_cell(m, bundle, keys[level], level_flag(state, level))
                if cell >= 0 and (m.bundles[bundle, mx.BUNDLE_BOOK] == book or has_book(m, cell, book)):
                    return True
    return False


@compiled
def _mark_exception(m, ask, state, keys, stack, answer):  # type: ignore[no-untyped-def]
    """P13, but for flagged SKUs; an item of the ERP's without a price is ERP_UNAVAILABLE."""
    status = answer[ANSWER_STATUS]
    if status == _OUT_OF_RANGE:
        answer[ANSWER_EXCEPTION] = 0
        return
    if mx.is_erp_item(m.items[state[STATE_ITEM], mx.ITEM_NAMES]) != 0:
        answer[ANSWER_EXCEPTION] = _PRICE_SOURCE_ERP
        if status != _OK:
            answer[ANSWER_STATUS] = _ERP_UNAVAILABLE
    elif answer[ANSWER_EXCEPTION] != 0:
        return  # an entry that lacks its input, or is zero
    elif status == _NO_PRICE:
        answer[ANSWER_EXCEPTION] = _REASON_NO_PRICE
    elif status == _OK and abs(answer[ANSWER_EXTENDED_PRICE]) > ask[ASK_THRESHOLD]:
        answer[ANSWER_EXCEPTION] = _OVER_THRESHOLD
    elif ask[ASK_GRACE] > 0 and _expired_lately(m, state, keys, stack, ask[ASK_GRACE]):
        answer[ANSWER_EXCEPTION] = _AGREEMENT_EXPIRED
    elif ask[ASK_FLAGGED] == 1:
        answer[ANSWER_EXCEPTION] = _FLAGGED


@compiled
def _look_ahead(m, text, lines, rows, answers, first, end):  # type: ignore[no-untyped-def]
    """Write ANSWER_ITEM and _OWN of the lines [first, end), and bring into the cache what they are about to read."""
    for i in range(first, end):
        key = name_key(text, lines[i, LINE_SKU], lines[i, LINE_SKU_LENGTH])
        answers[i, _KEY] = key
        fetch(m.sku_slots, key & (len(m.sku_slots) - 1))
    for i in range(first, end):
        likely = likely_ordinal(m.sku_slots, answers[i, _KEY])
        answers[i, ANSWER_ITEM] = likely
        if likely >= 0:
            fetch(m.items, likely)
    for i in range(first, end):
        start, length, likely = lines[i, LINE_SKU], lines[i, LINE_SKU_LENGTH], answers[i, ANSWER_ITEM]
        item = find_item(m, text, start, length, answers[i, _KEY], likely)
        answers[i, ANSWER_ITEM] = item
        if item >= 0:
            answers[i, _OWN] = rows_of(m, rows, item)
            fetch_pages(m, rows, item, answers[i, _OWN])
    for i in range(first, end):
        item = answers[i, ANSWER_ITEM]
        if item >= 0:
            answers[i, _CELL] = fetch_cells(m, rows, item, answers[i, _OWN])
    for i in range(first, end):
        if answers[i, ANSWER_ITEM] >= 0 and answers[i, _CELL] >= 0:
            fetch_breaks(m, answers[i, _CELL])


@compiled
def _price_lines(m, ask, text, lines, scratch, answers):  # type: ignore[no-untyped-def]
    """The lines of one request; `scratch` is (stack, rows, memo, owners, state, keys, cursors, offers, later)."""
    stack, rows, memo, owners, state, keys, cursors, offers, later = scratch
    customer = ask[ASK_CUSTOMER]
    run = m.customers[customer, mx.CUSTOMER_CLASSES] if customer >= 0 else np.int64(0)
    state[STATE_CLASSES], state[STATE_CLASS_COUNT] = mx.run_start(run), mx.run_end(run) - mx.run_start(run)
    state[STATE_CLASS] = -1
    if state[STATE_CLASS_COUNT] == 1:
        state[STATE_CLASS] = m.customer_classes[mx.run_start(run), mx.CLASS_NAME]
    state[STATE_CUSTOMER_BRANCH] = m.customers[customer, mx.CUSTOMER_BRANCH] if customer >= 0 else -1
    state[STATE_BRANCH] = ask[ASK_BRANCH]
    state[STATE_PRICE_BRANCH] = ask[ASK_BRANCH] if ask[ASK_BRANCH] != -1 else state[STATE_CUSTOMER_BRANCH]
    state[STATE_CURRENCY] = ask[ASK_CURRENCY]
    state[STATE_MINOR] = ask[ASK_MINOR]
    state[STATE_AS_OF] = ask[ASK_AS_OF]
    above, adding = single_offer_rows(m, state, stack, rows)
    needs_levels = len(owners) > 0 or ask[ASK_GRACE] > 0
    for i in range(len(lines)):
        if i % BLOCK == 0:
            _look_ahead(m, text, lines, rows, answers, i, min(i + BLOCK, len(lines)))
        answer, own = answers[i], answers[i, _OWN]
        _clear(answer)
        quantity = lines[i, LINE_QUANTITY]
        if quantity == 0 or quantity == -INT64_MAX - 1:
            answer[ANSWER_STATUS] = _INVALID_QUANTITY
            continue
        item = answer[ANSWER_ITEM]
        if item < 0:
            answer[ANSWER_STATUS] = _UNKNOWN_ITEM
            continue
        state[STATE_ITEM] = item
        if needs_levels:
            state[STATE_LEVELS] = item_levels(m, item, keys)
        if len(owners) > 0 and not entitled(m, owners, keys, state[STATE_LEVELS]):
            answer[ANSWER_STATUS] = _NOT_ENTITLED if ask[ASK_SERVICE_DESK] == 1 else _UNKNOWN_ITEM
            continue
        uom = np.int64(-1)
        length = lines[i, LINE_UOM_LENGTH]
        if length > 0:
            uom = find_name(m.uom_bytes, m.uom_offsets, m.uom_slots, text, lines[i, LINE_UOM], length)
        state[STATE_SIGNED_QUANTITY] = quantity
        state[STATE_QUANTITY] = abs(quantity)
        if (uom < 0 and length > 0) or not unit_factor(m, state, uom):
            answer[ANSWER_STATUS] = _UNKNOWN_UOM
            continue
        if len(m.item_groups) > 0 and m.item_groups[item] > 0:  # other lines may count with it (P19)
            answer[ANSWER_STATUS] = NEEDS_REFERENCE
            continue
        as_of = lines[i, LINE_AS_OF]
        is_dated = as_of != NO_AS_OF  # single offers are those of the request's instant
        if is_dated or not _price_single_offer(m, state, rows, own, above, adding, memo, answer):
            if not needs_levels:
                state[STATE_LEVELS] = item_levels(m, item, keys)
            at = as_of if is_dated else ask[ASK_AS_OF]
            _price_line(m, state, keys, cursors, offers, stack, answer, later, at)
        if answer[ANSWER_STATUS] != NEEDS_REFERENCE:
            _mark_exception(m, ask, state, keys, stack, answer)
        state[STATE_AS_OF] = ask[ASK_AS_OF]


@compiled
def _clear(answer):  # type: ignore[no-untyped-def]
    for column in range(ANSWER_SIZE):
        if column != ANSWER_ITEM:
            answer[column] = 0
    answer[ANSWER_BOOK] = answer[ANSWER_LAYER] = answer[ANSWER_ENTRY] = -1
    answer[ANSWER_VALID_UNTIL] = NEVER_US


@inlined
def _groups_noted(lines):  # type: ignore[no-untyped-def]
    """Rows of the memo of a request."""
    groups = 1
    while groups < min(lines, MEMO_GROUPS_MAX):
        groups *= 2
    return groups


@compiled
def price_into(m, ask, text, lines, answers):  # type: ignore[no-untyped-def]
    """`price_batch` for other kernels: `m` as `matrix_of` gives it, all others tables."""
    stack = gather_stack(m, ask[ASK_CUSTOMER])
    owners = entitlement_owners(m, ask[ASK_CUSTOMER])
    state = np.zeros(STATE_SIZE + GROUP_DEPTH_MAX + 2 + ANSWER_SIZE, dtype=np.int64)
    cursors = np.zeros((CURSORS, CURSOR_SIZE), dtype=np.int64)
    offers = np.zeros((OFFER_ROWS, OFFER_SIZE), dtype=np.int64)
    rows = np.empty((len(stack), ROW_SIZE), dtype=np.int64)
    memo = np.zeros((_groups_noted(len(lines)), MEMO_SIZE), dtype=np.int64)
    scratch = (
        table_of(stack),
        table_of(rows),
        table_of(memo),
        table_of(owners),
        table_of(state),
        table_of(state[STATE_SIZE:]),
        table_of(cursors),
        table_of(offers),
        table_of(state[STATE_SIZE + GROUP_DEPTH_MAX + 2 :]),
    )
    _price_lines(m, ask, text, lines, scratch, answers)
    # tables don't keep arrays alive
    return len(stack) + len(rows) + len(memo) + len(owners) + len(state) + len(cursors) + len(offers)


@compiled
def price_batch(descriptor, ask, text, lines, answers):  # type: ignore[no-untyped-def]
    """Answer the lines of one request.

    `descriptor` is `tables.describe` of a matrix; `ask` (9,) int64; `text` u8, the names of the lines; `lines` (n, 6)
    int64; `answers` (n, 13) int64, written. A line whose numbers need more than 127 bits gets status NEEDS_REFERENCE.
    """
    return price_into(
        matrix_of(descriptor), table_of(ask), table_of(text), table_of(lines), table_of(answers)
    )


@compiled
def price_batch_checked(m, ask, text, lines, answers):  # type: ignore[no-untyped-def]
    """`price_batch` over a `Matrix` of plain arrays: slower, for runs in which numba checks every bound."""
    stack = gather_stack(m, ask[ASK_CUSTOMER])
    scratch = (
        stack,
        np.empty((len(stack), ROW_SIZE), dtype=np.int64),
        np.zeros((_groups_noted(len(lines)), MEMO_SIZE), dtype=np.int64),
        entitlement_owners(m, ask[ASK_CUSTOMER]),
        np.zeros(STATE_SIZE, dtype=np.int64),
        np.zeros(GROUP_DEPTH_MAX + 2, dtype=np.int64),
        np.zeros((CURSORS, CURSOR_SIZE), dtype=np.int64),
        np.zeros((OFFER_ROWS, OFFER_SIZE), dtype=np.int64),
        np.zeros(ANSWER_SIZE, dtype=np.int64),
    )
    _price_lines(m, ask, text, lines, scratch, answers)

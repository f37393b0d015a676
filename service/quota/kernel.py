"""Compiled: charges a call to its caller's account, which several processes charge at the same time.

An account is a slot of eight words in mapped memory. Calls and lines each have a *theoretical arrival time* (GCRA):
when the next one would come of a caller who keeps exactly to the rate. A charge moves it on by the cost of the call,
and is refused when that would take it further than the tolerance beyond now. So a caller who was quiet may send a
burst, and a word is all there is to keep. It is moved by compare-and-swap: of two processes that read the same time one
begins again.

A host that shares quotas with others has a *share* of each: calls and lines cost so many times more, while they may be
the same time ahead, so rate and burst are both the share of the whole; but a few requests may always come at once, as
far as the whole burst goes. What was tried is counted by what it costs of the whole, so demand is known without the
rates.
"""

from typing import Any

import numpy as np

from pricegrid.columnar.jit import compiled, inlined, intrinsic, types

SLOT_WORDS = 8
"""64 bytes, a line of the processor's cache: accounts don't slow each other down."""
KEY, CALLS, LINES, SEEN, CALLS_WANTED, LINES_WANTED, CALLS_SHARE, LINES_SHARE = range(8)
"""Words of a slot: whose it is, the two arrival times, when it was charged last, how many nanoseconds all calls and
lines that were tried would have cost of the whole quotas, and the shares of these in 1/WHOLE."""
WHOLE = 1 << 20
LEAST_SHARE = 1 << 8
"""What is no share from here to below WHOLE means all, as the 0 of an empty slot does."""
OWNER, CALL_NS, CALLS_AHEAD_NS, LINE_NS, LINES_AHEAD_NS, TERMS = range(6)
"""Terms of an account: its key; of calls and of lines what one costs (0: no limit) and how far ahead they may be."""
DOUBT_NS = 600_000_000_000
"""What is further ahead than may be and so much more is no arrival time."""
OWED_NS = DOUBT_NS // 2
"""How much further than may be ahead a charge goes at most: what one call costs of a small share. The rest is for a
process that charges by a clock that it read long ago."""
FEW = 4
"""Requests that may come at once whatever the share: they do not come as evenly as a part of a burst would have it."""
MOST_NS = 1 << 62
LOST = np.iinfo(np.int64).min
"""The slot is another's by now."""


def _word(context: Any, builder: Any, array_type: Any, array: Any, index_type: Any, index: Any) -> Any:
    value = context.make_array(array_type)(context, builder, array)
    at = context.cast(builder, index, index_type, types.intp)
    return builder.gep(value.data, [at], inbounds=True)


@intrinsic
def _swap(_: Any, array: Any, index: Any, expected: Any, new: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        of = signature.args
        word = _word(context, builder, of[0], args[0], of[1], args[1])
        old = context.cast(builder, args[2], of[2], types.int64)
        value = context.cast(builder, args[3], of[3], types.int64)
        return builder.extract_value(builder.cmpxchg(word, old, value, "seq_cst", "seq_cst"), 1)

    return types.boolean(array, index, expected, new), codegen


@intrinsic
def _add(_: Any, array: Any, index: Any, amount: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        of = signature.args
        word = _word(context, builder, of[0], args[0], of[1], args[1])
        value = context.cast(builder, args[2], of[2], types.int64)
        return builder.atomic_rmw("add", word, value, "seq_cst")

    return types.int64(array, index, amount), codegen


@intrinsic
def _load(_: Any, array: Any, index: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        of = signature.args
        word = _word(context, builder, of[0], args[0], of[1], args[1])
        return builder.load_atomic(word, ordering="acquire", align=8)

    return types.int64(array, index), codegen


# numba passes the typing context itself: to a type checker these take the other arguments
swap: Any = _swap
"""`swap(words, index, expected, new)`: whether the word was `expected`, and is `new` now."""
add: Any = _add
load: Any = _load


@inlined
def _part(share):  # type: ignore[no-untyped-def]
    """What a word says of a share, in 1/WHOLE."""
    return share if LEAST_SHARE <= share < WHOLE else np.int64(WHOLE)


@inlined
def _scaled(ns, to, of):  # type: ignore[no-untyped-def]
    """`ns * to / of`, rounded up, at most MOST_NS; `ns` >= 0, `to` and `of` in 1..WHOLE."""
    whole, rest = ns // of, ns % of
    if whole > MOST_NS // WHOLE:
        return np.int64(MOST_NS)
    return whole * to + (rest * to + of - 1) // of


@compiled
def _take(slot, word, share_word, now_ns, cost_ns, ahead_ns):  # type: ignore[no-untyped-def]
    """Above 0: after how many nanoseconds the cost of the whole could be charged. Else it was, and that is how many
    nanoseconds it took, negative."""
    while True:
        part = _part(load(slot, share_word))
        own_ns, own_ahead_ns = cost_ns, ahead_ns
        if part != WHOLE:
            own_ns = _scaled(cost_ns, np.int64(WHOLE), part)
            few_ns = min(FEW, ahead_ns // cost_ns) * min(own_ns, OWED_NS)
            own_ahead_ns = max(ahead_ns, min(few_ns, ahead_ns + OWED_NS))
        seen = load(slot, word)
        if seen > now_ns + ahead_ns + DOUBT_NS:  # a damaged file must not lock anybody out
            swap(slot, word, seen, now_ns + ahead_ns)
            continue
        due = max(seen, now_ns)
        # What costs more than may ever be ahead is let in when nothing is owed, and owed afterwards.
        wait_ns = due + min(own_ns, own_ahead_ns) - own_ahead_ns - now_ns
        if wait_ns > 0:
            return wait_ns
        next_due = min(due + own_ns, now_ns + ahead_ns + OWED_NS)
        if swap(slot, word, seen, next_due):
            return due - next_due


@compiled
def _use_share(slot, word, share_word, share, now_ns):  # type: ignore[no-untyped-def]
    """Writes a share; what is owed stays the same number of calls or lines."""
    before, after = _part(load(slot, share_word)), _part(share)
    slot[share_word] = share
    if before == after:
        return
    while True:
        due = load(slot, word)
        if due <= now_ns:
            return
        if swap(slot, word, due, min(now_ns + _scaled(due - now_ns, before, after), MOST_NS)):
            return


@compiled
def use_shares(slots, places, keys, shares, now_ns):  # type: ignore[no-untyped-def]
    """Gives the accounts at `places` (n,) of `slots` (m, SLOT_WORDS), if they are still those of `keys` (n,), their
    `shares` (n, 2) of calls and of lines, all int64. Of one process."""
    for at in range(len(places)):
        slot = slots[places[at]]
        if load(slot, KEY) == keys[at]:
            _use_share(slot, CALLS, CALLS_SHARE, shares[at, 0], now_ns)
            _use_share(slot, LINES, LINES_SHARE, shares[at, 1], now_ns)


@inlined
def _number(raw, at):  # type: ignore[no-untyped-def]
    """(value, start of what follows) of the varint at `at`, also of one that is longer than it need be, which the
    protobuf runtime reads; start -1: it has no end."""
    value, shift = np.int64(0), np.int64(0)
    while at < len(raw) and shift < 70:
        byte = np.int64(raw[at])
        at += 1
        if shift < 64:
            value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    return value, -1


@compiled
def count_lines(raw, tag):  # type: ignore[no-untyped-def]
    """How many fields of a message (n,) uint8 have this tag, as far as the protobuf runtime could read it.

    Fields inside of groups count too, which only whoever wants to hide lines would send.
    """
    at, end, count = 0, len(raw), 0
    while 0 <= at < end:
        key, at = _number(raw, at)
        if at < 0:
            return count
        kind = key & 7
        if kind == 0:
            _, at = _number(raw, at)
        elif kind == 1:
            at += 8
        elif kind == 2:
            length, at = _number(raw, at)
            if at < 0 or length < 0 or length > end - at:
                return count
            at += length
        elif kind == 5:
            at += 4
        elif kind > 5:
            return count
        count += key == tag
    return count


@compiled
def charge(slot, terms, raw, tag, now_ns):  # type: ignore[no-untyped-def]
    """Charges one call, and its lines, to the account in `slot` (SLOT_WORDS,) by its `terms` (TERMS,), both int64.

    0: it was charged. Above 0: nothing was, and one call more could be after so many nanoseconds; below 0: the same,
    for the lines. LOST: `slot` is another's. Lines are the fields of the request `raw` (n,) uint8 with the tag `tag`, 0
    for none; more than may ever come at once count as so many.
    """
    if load(slot, KEY) != terms[OWNER]:
        return LOST
    slot[SEEN] = now_ns
    lines_ns, charged_ns = np.int64(0), np.int64(0)
    if terms[LINE_NS] > 0 and tag > 0:
        lines_ns = min(terms[LINE_NS] * count_lines(raw, tag), terms[LINES_AHEAD_NS])
    if lines_ns > 0:
        add(slot, LINES_WANTED, lines_ns)
    if terms[CALL_NS] > 0:
        add(slot, CALLS_WANTED, terms[CALL_NS])
    if lines_ns > 0:
        charged_ns = _take(slot, LINES, LINES_SHARE, now_ns, lines_ns, terms[LINES_AHEAD_NS])
        if charged_ns > 0:
            return -charged_ns
    if terms[CALL_NS] > 0:
        wait_ns = _take(slot, CALLS, CALLS_SHARE, now_ns, terms[CALL_NS], terms[CALLS_AHEAD_NS])
        if wait_ns > 0:
            if charged_ns < 0:
                add(slot, LINES, charged_ns)
            return wait_ns
    return np.int64(0)

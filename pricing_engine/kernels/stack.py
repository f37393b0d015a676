"""Compiled: which bundles of books a customer's stack holds, and which items it may see (P1, P2, P11, P18).

`gather_stack` merges, once a request, the attachments of the customer, its ancestors, its classes and everyone, each of
which is sorted by layer: for each layer it takes from each audience in order of distance. It costs one pass over their
attachments, and one over the layers for each audience. Priorities and dates of agreements are read later, only where a
bundle has something for a line: `priority_of` searches the agreements of a bundle for the book.
"""

import numpy as np

from pricegrid.columnar.exact import INT64_MAX
from pricegrid.columnar.jit import compiled
from pricegrid.columnar.search import first_row_at_least
from pricegrid.pricing_engine.arrays import matrix as mx
from pricegrid.pricing_engine.kernels.entries import valid_now
from pricegrid.pricing_engine.model import CLASSES_MAX, CUSTOMER_DEPTH_MAX

STACK_LAYER, STACK_DISTANCE, STACK_ATTACHMENT, STACK_INHERITED, STACK_SIZE = range(5)


_CHAIN_MAX = CUSTOMER_DEPTH_MAX + 1 + CLASSES_MAX + 1


@compiled
def _audiences(m, customer, chain, distances):  # type: ignore[no-untyped-def]
    """Fill `chain` with the customer, its ancestors, its classes and everyone, and `distances` with how near each is
    (P1, P18); how many ancestors-or-self, and how many in all."""
    customers, classes = len(m.customers), len(m.audience_starts) - 2 - len(m.customers)
    length = 0
    each = customer
    while each >= 0 and length <= CUSTOMER_DEPTH_MAX:
        chain[length], distances[length] = each, length
        length += 1
        each = m.customers[each, mx.CUSTOMER_PARENT]
    own, rank = length, np.int64(0)
    run = m.customers[customer, mx.CUSTOMER_CLASSES] if customer >= 0 else np.int64(0)
    for row in range(mx.run_start(run), mx.run_end(run)):
        rank = m.customer_classes[row, mx.CLASS_RANK]
        chain[length], distances[length] = customers + m.customer_classes[row, mx.CLASS_NAME], own + rank
        length += 1
    chain[length], distances[length] = customers + classes, own + rank + 1
    return own, length + 1


@compiled
def gather_stack(m, customer):  # type: ignore[no-untyped-def]
    """The customer's stack (P1): rows of layer, distance, attachment, inherited; by layer, then distance."""
    chain, distances = np.empty(_CHAIN_MAX, dtype=np.int64), np.empty(_CHAIN_MAX, dtype=np.int64)
    own, audiences = _audiences(m, customer, chain, distances)
    cursor = np.zeros(audiences, dtype=np.int64)
    end = np.zeros(audiences, dtype=np.int64)
    total = 0
    for place in range(audiences):
        cursor[place] = m.audience_starts[chain[place]]
        end[place] = m.audience_starts[chain[place] + 1]
        total += end[place] - cursor[place]
    stack = np.empty((total, STACK_SIZE), dtype=np.int64)
    rows = 0
    for layer in range(len(m.layers)):
        for place in range(audiences):
            at = cursor[place]
            while at < end[place] and m.attachments[at, mx.ATTACHMENT_LAYER] == layer:
                stack[rows, STACK_LAYER] = layer
                stack[rows, STACK_DISTANCE] = distances[place]
                stack[rows, STACK_ATTACHMENT] = at
                stack[rows, STACK_INHERITED] = 0 < place < own
                rows += 1
                at += 1
            cursor[place] = at
    return stack


@compiled
def priority_of(m, state, stack, row, book):  # type: ignore[no-untyped-def]
    """The best priority among the valid agreements of a stack row with a book (P2), INT64_MAX if there is none."""
    attachment = stack[row, STACK_ATTACHMENT]
    end = m.attachments[attachment, mx.ATTACHMENT_END]
    start = m.attachments[attachment, mx.ATTACHMENT_START]
    at = first_row_at_least(m.agreements, mx.AGREEMENT_BOOK, book, start, end)
    best = INT64_MAX
    while at < end and m.agreements[at, mx.AGREEMENT_BOOK] == book:
        usable = stack[row, STACK_INHERITED] == 0 or m.agreements[at, mx.AGREEMENT_INHERIT] == 1
        if usable and valid_now(
            state, m.agreements[at, mx.AGREEMENT_FROM], m.agreements[at, mx.AGREEMENT_TO]
        ):
            best = min(best, m.agreements[at, mx.AGREEMENT_PRIORITY])
        at += 1
    return best


@compiled
def _find_entitlement(m, key):  # type: ignore[no-untyped-def]
    """The first entitlement row whose key is not below `key`."""
    return first_row_at_least(m.entitlements, mx.ENTITLEMENT_KEY, key, 0, len(m.entitlements))


@compiled
def entitled(m, owners, keys, levels):  # type: ignore[no-untyped-def]
    """P11 for the owners that have any rows, nearest first."""
    key_space = len(m.items) + len(m.group_parents) + 1
    for index in range(len(owners)):
        for level in range(levels):
            key = owners[index] * key_space + keys[level]
            row = _find_entitlement(m, key)
            if row < len(m.entitlements) and m.entitlements[row, mx.ENTITLEMENT_KEY] == key:
                return m.entitlements[row, mx.ENTITLEMENT_ALLOWED] == 1
    return True


@compiled
def entitlement_owners(m, customer):  # type: ignore[no-untyped-def]
    """Those of the customer, its ancestors and its classes that have entitlement rows."""
    chain, distances = np.empty(_CHAIN_MAX, dtype=np.int64), np.empty(_CHAIN_MAX, dtype=np.int64)
    _, audiences = _audiences(m, customer, chain, distances)
    key_space = len(m.items) + len(m.group_parents) + 1
    owners = np.empty(audiences, dtype=np.int64)
    count = 0
    for index in range(audiences - 1):
        owner = chain[index]
        if customer >= 0:
            row = _find_entitlement(m, owner * key_space)
            if (
                row < len(m.entitlements)
                and m.entitlements[row, mx.ENTITLEMENT_KEY] < (owner + 1) * key_space
            ):
                owners[count] = owner
                count += 1
    return owners[:count]

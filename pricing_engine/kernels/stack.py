"""Compiled: which bundles of books a customer's stack holds, and which items it may see (P1, P2, P11)."""

import numpy as np
from numba import njit

from pricegrid.pricing_engine.arrays import matrix as mx
from pricegrid.pricing_engine.kernels.entries import valid_now
from pricegrid.pricing_engine.kernels.exact import INT64_MAX
from pricegrid.pricing_engine.model import CUSTOMER_DEPTH_MAX

STACK_LAYER, STACK_DISTANCE, STACK_ATTACHMENT, STACK_INHERITED, STACK_SIZE = range(5)


@njit(cache=True)
def _audiences(m, customer, chain):  # type: ignore[no-untyped-def]
    """Fill `chain` with the customer, its ancestors, its class (or -1) and everyone; how many ancestors-or-self."""
    customers, classes = len(m.customers), len(m.audience_starts) - 2 - len(m.customers)
    length = 0
    each = customer
    while each >= 0 and length <= CUSTOMER_DEPTH_MAX:
        chain[length] = each
        length += 1
        each = m.customers[each, mx.CUSTOMER_PARENT]
    price_class = m.customers[customer, mx.CUSTOMER_CLASS] if customer >= 0 else -1
    chain[length] = customers + price_class if price_class >= 0 else -1
    chain[length + 1] = customers + classes
    return length


@njit(cache=True)
def gather_stack(m, customer):  # type: ignore[no-untyped-def]
    """The customer's stack (P1): rows of layer, distance, attachment, inherited; by layer, then distance."""
    chain = np.empty(CUSTOMER_DEPTH_MAX + 3, dtype=np.int64)
    own = _audiences(m, customer, chain)
    cursor = np.zeros(own + 2, dtype=np.int64)
    end = np.zeros(own + 2, dtype=np.int64)
    total = 0
    for distance in range(own + 2):
        if chain[distance] >= 0:
            cursor[distance] = m.audience_starts[chain[distance]]
            end[distance] = m.audience_starts[chain[distance] + 1]
            total += end[distance] - cursor[distance]
    stack = np.empty((total, STACK_SIZE), dtype=np.int64)
    rows = 0
    for layer in range(len(m.layers)):
        for distance in range(own + 2):
            at = cursor[distance]
            while at < end[distance] and m.attachments[at, mx.ATTACHMENT_LAYER] == layer:
                stack[rows, STACK_LAYER] = layer
                stack[rows, STACK_DISTANCE] = distance
                stack[rows, STACK_ATTACHMENT] = at
                stack[rows, STACK_INHERITED] = 0 < distance < own
                rows += 1
                at += 1
            cursor[distance] = at
    return stack


@njit(cache=True)
def _first_agreement(m, low, high, book):  # type: ignore[no-untyped-def]
    while low < high:
        middle = (low + high) >> 1
        if m.agreements[middle, mx.AGREEMENT_BOOK] < book:
            low = middle + 1
        else:
            high = middle
    return low


@njit(cache=True)
def priority_of(m, work, stack, row, book):  # type: ignore[no-untyped-def]
    """The best priority among the valid agreements of a stack row with a book (P2), INT64_MAX if there is none."""
    attachment = stack[row, STACK_ATTACHMENT]
    end = m.attachments[attachment, mx.ATTACHMENT_END]
    at = _first_agreement(m, m.attachments[attachment, mx.ATTACHMENT_START], end, book)
    best = INT64_MAX
    while at < end and m.agreements[at, mx.AGREEMENT_BOOK] == book:
        usable = stack[row, STACK_INHERITED] == 0 or m.agreements[at, mx.AGREEMENT_INHERIT] == 1
        if usable and valid_now(work, m.agreements[at, mx.AGREEMENT_FROM], m.agreements[at, mx.AGREEMENT_TO]):
            best = min(best, m.agreements[at, mx.AGREEMENT_PRIORITY])
        at += 1
    return best


@njit(cache=True)
def _find_entitlement(m, key):  # type: ignore[no-untyped-def]
    """Place of the first entitlement row whose key is not below `key`."""
    low, high = 0, len(m.entitlements)
    while low < high:
        middle = (low + high) >> 1
        if m.entitlements[middle, mx.ENTITLEMENT_KEY] < key:
            low = middle + 1
        else:
            high = middle
    return low


@njit(cache=True)
def entitled(m, owners, keys, levels):  # type: ignore[no-untyped-def]
    """P11 for the owners that have any rows, nearest first."""
    key_space = len(m.items) + len(m.group_parents) + 1
    for place in range(len(owners)):
        for level in range(levels):
            key = owners[place] * key_space + keys[level]
            row = _find_entitlement(m, key)
            if row < len(m.entitlements) and m.entitlements[row, mx.ENTITLEMENT_KEY] == key:
                return m.entitlements[row, mx.ENTITLEMENT_ALLOWED] == 1
    return True


@njit(cache=True)
def entitlement_owners(m, customer):  # type: ignore[no-untyped-def]
    """Those of the customer, its ancestors and its class that have entitlement rows."""
    chain = np.empty(CUSTOMER_DEPTH_MAX + 3, dtype=np.int64)
    own = _audiences(m, customer, chain)
    key_space = len(m.items) + len(m.group_parents) + 1
    owners = np.empty(own + 1, dtype=np.int64)
    count = 0
    for place in range(own + 1):
        owner = chain[place]
        if customer >= 0 and owner >= 0:
            row = _find_entitlement(m, owner * key_space)
            if (
                row < len(m.entitlements)
                and m.entitlements[row, mx.ENTITLEMENT_KEY] < (owner + 1) * key_space
            ):
                owners[count] = owner
                count += 1
    return owners[:count]

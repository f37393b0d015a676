"""Compiled: how a price becomes a number of micros, and how it is extended to a quantity (P9, P16).

Both divide an exact fraction once and round by the remainder, which costs one 128-bit division; where the result does
not fit int64 they say so, and the line is out of range or goes to the reference. The reference is `rules.money`.
"""

import numpy as np

from pricegrid.columnar.exact import INT64_MAX, divide, less, product_fits, times
from pricegrid.columnar.jit import compiled


@compiled
def round_to_increment(high, low, denominator, increment, ending, mode):  # type: ignore[no-untyped-def]
    """(fits, micros) of a price rounded by a `RoundingMode` to its increment (P9), or to a price of its ending
    (P16), at least the ending itself; micros -1: beyond int64."""
    if not product_fits(denominator, increment):
        return False, np.int64(0)
    if ending != 0:
        if high == 0 and low == 0:
            return True, np.int64(0)
        _, ending_high, ending_low = times(np.int64(0), ending, denominator)
        high, low = less(high, low, ending_high, ending_low)
        if high < 0:
            return True, ending
    divisor = denominator * increment
    whole_high, whole, rest = divide(high, low, divisor)
    other = divisor - rest
    up = False
    if mode == 0:
        up = rest >= other
    elif mode == 1:
        up = rest > other or (rest == other and whole & 1 == 1)
    elif mode == 2:
        up = rest > other
    elif mode == 3:
        up = rest > 0
    most = (INT64_MAX - ending) // increment
    if whole_high != 0 or whole < 0 or whole > most or (up and whole == most):
        return True, np.int64(-1)
    return True, (whole + 1 if up else whole) * increment + ending


@compiled
def extended(unit_price, quantity, scale_micros):  # type: ignore[no-untyped-def]
    """(fits, multiple) of |unit_price * quantity| in units of `scale_micros`, rounded half up (P9).

    `scale_micros` is 10^6 times the currency's minor unit in micros times the price unit (P14), so it is even.
    """
    magnitude = abs(quantity)
    _, high, low = times(np.int64(0), unit_price, magnitude)
    whole_high, whole, rest = divide(high, low, scale_micros)
    up = rest >= scale_micros - rest
    if whole_high != 0 or whole < 0 or (up and whole == INT64_MAX):
        return False, np.int64(0)
    return True, whole + 1 if up else whole

"""Exact arithmetic for kernels: non-negative fractions of a 127-bit numerator and a 63-bit denominator.

A fraction is (high, low, denominator): three int64, the numerator being high * 2^64 + unsigned(low). Every function
that could leave these bounds returns a flag first; the caller then gives the line to the exact resolver instead.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

INT64_MIN = np.int64(-(2**63))
INT64_MAX = np.int64(2**63 - 1)


@intrinsic
def _mul_high(typing_context: Any, a: Any, b: Any) -> Any:  # noqa: ARG001 - numba passes the typing context
    """The high 64 bits of the product of two unsigned 64-bit numbers held in int64."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001
        wide = ir.IntType(128)
        product = builder.mul(builder.zext(args[0], wide), builder.zext(args[1], wide))
        return builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), ir.IntType(64))

    return types.int64(types.int64, types.int64), codegen


@intrinsic
def _mul_low(typing_context: Any, a: Any, b: Any) -> Any:  # noqa: ARG001 - numba passes the typing context
    """The low 64 bits of a product; plain `*` on int64 promises the compiler not to overflow."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001
        return builder.mul(args[0], args[1])

    return types.int64(types.int64, types.int64), codegen


# numba passes the typing context itself: to a type checker these take two arguments
mul_high: Any = _mul_high
mul_low: Any = _mul_low


@njit(cache=True, inline="always")
def unsigned_less(a, b):  # type: ignore[no-untyped-def]
    """Whether a < b when both are read as unsigned."""
    return (a ^ INT64_MIN) < (b ^ INT64_MIN)


@njit(cache=True, inline="always")
def product_fits(a, b):  # type: ignore[no-untyped-def]
    """Whether the product of two non-negative int64 is below 2^63; asked before multiplying, never after:
    a signed overflow is undefined to the compiler, which then drops the check."""
    return mul_high(a << 1, b) == 0


@njit(cache=True)
def times(high, low, factor):  # type: ignore[no-untyped-def]
    """(fits, high, low) of a numerator times a non-negative int64."""
    if high == 0 and low >= 0 and low < 2147483648 and factor < 2147483648:
        return True, np.int64(0), low * factor
    carry = mul_high(low, factor)
    if not product_fits(high, factor) or carry > INT64_MAX - high * factor:
        return False, np.int64(0), np.int64(0)
    return True, high * factor + carry, mul_low(low, factor)


@njit(cache=True)
def divide(high, low, divisor):  # type: ignore[no-untyped-def]
    """(quotient high, quotient low, remainder) of a numerator by a positive int64."""
    if high == 0 and low >= 0:
        quotient = low // divisor
        return np.int64(0), quotient, low - quotient * divisor
    quotient_high = high // divisor
    rest = high - quotient_high * divisor
    quotient_low = np.int64(0)
    for bit in range(63, -1, -1):
        rest = (rest << 1) | ((low >> bit) & 1)  # rest < 2^63 before, so this is below 2^64
        quotient_low <<= 1
        if not unsigned_less(rest, divisor):
            rest -= divisor
            quotient_low |= 1
    return quotient_high, quotient_low, rest


@njit(cache=True)
def common_divisor(a, b):  # type: ignore[no-untyped-def]
    """The greatest common divisor of two non-negative int64."""
    while b != 0:
        a, b = b, a % b
    return a


@njit(cache=True)
def scale(high, low, denominator, numerator_by, denominator_by):  # type: ignore[no-untyped-def]
    """(fits, high, low, denominator) of a fraction times numerator_by / denominator_by, both non-negative int64."""
    if denominator != 1:
        common = common_divisor(denominator, numerator_by)
        if common > 1:
            denominator //= common
            numerator_by //= common
    fits, high, low = times(high, low, numerator_by)
    if not fits:
        return False, high, low, denominator
    if denominator_by != 1:
        _, _, rest = divide(high, low, denominator_by)
        common = common_divisor(denominator_by, rest)
        if common > 1:
            denominator_by //= common
            high, low, _ = divide(high, low, common)
        if not product_fits(denominator, denominator_by):
            return False, high, low, denominator
        denominator *= denominator_by
    return True, high, low, denominator


@njit(cache=True)
def compare(high_a, low_a, denominator_a, high_b, low_b, denominator_b):  # type: ignore[no-untyped-def]
    """(fits, sign) of fraction a minus fraction b."""
    fits_a, left_high, left_low = times(high_a, low_a, denominator_b)
    fits_b, right_high, right_low = times(high_b, low_b, denominator_a)
    if not (fits_a and fits_b):
        return False, 0
    if left_high != right_high:
        return True, 1 if left_high > right_high else -1
    if left_low == right_low:
        return True, 0
    return True, -1 if unsigned_less(left_low, right_low) else 1


@njit(cache=True)
def round_to_increment(high, low, denominator, increment, mode):  # type: ignore[no-untyped-def]
    """(fits, micros) of a price rounded to its increment by a `RoundingMode` (P9); micros -1: beyond int64."""
    if not product_fits(denominator, increment):
        return False, np.int64(0)
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
    most = INT64_MAX // increment
    if whole_high != 0 or whole < 0 or whole > most or (up and whole == most):
        return True, np.int64(-1)
    return True, (whole + 1 if up else whole) * increment


@njit(cache=True)
def extended(unit_price, quantity, scale_micros):  # type: ignore[no-untyped-def]
    """(fits, multiple) of |unit_price * quantity| in units of `scale_micros`, rounded half up (P9).

    `scale_micros` is 10^6 times the currency's minor unit in micros, so it is even.
    """
    magnitude = abs(quantity)
    _, high, low = times(np.int64(0), unit_price, magnitude)
    whole_high, whole, rest = divide(high, low, scale_micros)
    up = rest >= scale_micros - rest
    if whole_high != 0 or whole < 0 or (up and whole == INT64_MAX):
        return False, np.int64(0)
    return True, whole + 1 if up else whole

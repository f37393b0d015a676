"""Exact arithmetic for kernels: sums that may leave int64, divisors and multiples, and wide fractions.

A fraction is not negative, with a 127-bit numerator and a 63-bit denominator: (high, low, denominator), three int64,
the numerator being high * 2^64 + unsigned(low). Whatever could leave these bounds is asked before it is done, since a
signed overflow is undefined to the compiler, and a function that may refuse returns a flag first: its caller then
leaves the line to the reference, which computes with Python's unbounded integers.
"""

from typing import Any

import numpy as np

from pricegrid.columnar.jit import compiled, inlined, intrinsic, ir, types

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


@intrinsic
def _add_low(typing_context: Any, a: Any, b: Any) -> Any:  # noqa: ARG001 - numba passes the typing context
    """The low 64 bits of a sum; plain `+` on int64 promises the compiler not to overflow."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001
        return builder.add(args[0], args[1])

    return types.int64(types.int64, types.int64), codegen


# numba passes the typing context itself: to a type checker these take two arguments
mul_high: Any = _mul_high
mul_low: Any = _mul_low
add_low: Any = _add_low


@inlined
def unsigned_less(a, b):  # type: ignore[no-untyped-def]
    """Whether a < b when both are read as unsigned."""
    return (a ^ INT64_MIN) < (b ^ INT64_MIN)


@inlined
def product_fits(a, b):  # type: ignore[no-untyped-def]
    """Whether the product of two non-negative int64 is below 2^63."""
    return mul_high(a << 1, b) == 0


@inlined
def sum_overflows(one, other):  # type: ignore[no-untyped-def]
    """Whether one + other leaves int64."""
    if other >= 0:
        return one > INT64_MAX - other
    return one < INT64_MIN - other


@compiled
def times(high, low, factor):  # type: ignore[no-untyped-def]
    """(fits, high, low) of a numerator times a non-negative int64."""
    if high == 0 and low >= 0 and low < 2147483648 and factor < 2147483648:
        return True, np.int64(0), low * factor
    carry = mul_high(low, factor)
    if not product_fits(high, factor) or carry > INT64_MAX - high * factor:
        return False, np.int64(0), np.int64(0)
    return True, high * factor + carry, mul_low(low, factor)


@compiled
def less(high, low, high_off, low_off):  # type: ignore[no-untyped-def]
    """(high, low) of a numerator less another; high is below 0 where the other is the greater."""
    rest = add_low(low, add_low(~low_off, np.int64(1)))
    return high - high_off - (1 if unsigned_less(low, low_off) else 0), rest


@compiled
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


@compiled
def common_divisor(a, b):  # type: ignore[no-untyped-def]
    """The greatest common divisor of two non-negative int64."""
    while b != 0:
        a, b = b, a % b
    return a


@compiled
def common_multiple(a, b):  # type: ignore[no-untyped-def]
    """The least common multiple of two positive int64; 0: it leaves int64."""
    part = a // common_divisor(a, b)
    return 0 if part > INT64_MAX // b else part * b


@compiled
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


@compiled
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


@compiled
def _on_one_denominator(high_a, low_a, denominator_a, high_b, low_b, denominator_b):  # type: ignore[no-untyped-def]
    """(fits, numerator a, numerator b, denominator) of two fractions, each numerator (high, low)."""
    common = common_divisor(denominator_a, denominator_b)
    by_a, by_b = denominator_b // common, denominator_a // common
    fits_a, high_a, low_a = times(high_a, low_a, by_a)
    fits_b, high_b, low_b = times(high_b, low_b, by_b)
    if not (fits_a and fits_b and product_fits(denominator_a, by_a)):
        return False, (high_a, low_a), (high_b, low_b), denominator_a
    return True, (high_a, low_a), (high_b, low_b), denominator_a * by_a


@compiled
def add(high_a, low_a, denominator_a, high_b, low_b, denominator_b):  # type: ignore[no-untyped-def]
    """(fits, high, low, denominator) of the sum of two fractions."""
    fits, a, b, denominator = _on_one_denominator(high_a, low_a, denominator_a, high_b, low_b, denominator_b)
    low = add_low(a[1], b[1])
    carry = np.int64(1) if unsigned_less(low, b[1]) else np.int64(0)
    if not fits or a[0] > INT64_MAX - carry - b[0]:
        return False, high_a, low_a, denominator_a
    return True, a[0] + b[0] + carry, low, denominator


@compiled
def subtract(high_a, low_a, denominator_a, high_b, low_b, denominator_b):  # type: ignore[no-untyped-def]
    """(fits, high, low, denominator) of fraction a less fraction b, 0 where b is the greater."""
    fits, a, b, denominator = _on_one_denominator(high_a, low_a, denominator_a, high_b, low_b, denominator_b)
    if not fits:
        return False, high_a, low_a, denominator_a
    high, low = less(a[0], a[1], b[0], b[1])
    return (True, high, low, denominator) if high >= 0 else (True, np.int64(0), np.int64(0), np.int64(1))

"""Kernels that take and give what those of the product do, and raise exceptions; and what comes of calls to them.

Not to be imported by this name: tests/test_kernel_extension.py gives it one of the product, since an extension has no
others.
"""

import threading
from typing import NamedTuple

import numpy as np

from pricegrid.atp.kernels.atomic import load_acquire
from pricegrid.columnar.exact import mul_high
from pricegrid.columnar.jit import compiled

SPINS = 20_000_000_000
"""For a minute: a kernel that is never told ends all the same."""


class Pair(NamedTuple):
    one: np.ndarray
    other: np.ndarray


class Triad(NamedTuple):
    one: np.ndarray
    other: np.ndarray


@compiled
def total(values):
    found = np.int64(0)
    for i in range(len(values)):
        found += np.int64(values[i])
    return found


@compiled
def fill(values, start):
    for i in range(len(values)):
        values[i] = start + i


@compiled
def doubled(values):
    return values * 2


@compiled
def of_pair(pair, limits, is_negative):
    low, high = limits
    found = pair.one[0] + 10 * pair.other[0, 0] + 100 * low + 1000 * high
    return -found if is_negative else found, mul_high(found << 40, found << 40)


@compiled
def first(text):
    return text[0]


@compiled
def checked(number):
    if number < 0:
        raise ValueError("negative")
    if number > 9:
        raise OverflowError("too large", 9)
    return number


@compiled
def shaped(values, count):
    room = np.zeros(count, np.int64)
    room[:] = values
    return room


@compiled
def awaited(flag):
    for _ in range(SPINS):  # noqa: SIM110 - numba compiles no generators
        if load_acquire(flag, 0) != 0:
            return True
    return False


def _said(kernel, *arguments):
    try:
        found = kernel(*arguments)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is to be the same
        return f"{type(error).__name__}{error.args}"
    if isinstance(found, np.ndarray):
        return [str(found.dtype), found.tolist(), found.flags.writeable]
    return found


def _runs_beside_python():
    flag, answers = np.zeros(1, np.int64), []
    thread = threading.Thread(target=lambda: answers.append(awaited(flag)))
    thread.start()
    flag[0] = 1
    thread.join()
    return answers == [True]


def same():
    """What must be the same either way."""
    words, table = np.arange(5), np.arange(6).reshape(2, 3)
    readonly, halves = words.copy(), np.arange(4, dtype=np.int32)
    readonly.flags.writeable = False
    room = np.zeros(3, np.int64)
    fill(room, 7)
    return [
        _said(total, words),
        _said(total, readonly),
        _said(total, halves),
        room.tolist(),
        _said(doubled, words),
        _said(of_pair, Pair(words + 3, table + 4), (5, 6), True),
        _said(of_pair, Triad(words + 3, table + 4), (5, 6), True),
        _said(first, b"A"),
        _said(first, b""),
        *(_said(checked, number) for number in (-1, 5, 12)),
        _said(shaped, words, 5),
        _said(shaped, words, 4),
        _said(shaped, words, -1),
        _runs_beside_python(),
    ]


def refused():
    """What an extension has no kernel for, and says so."""
    words = np.arange(6)
    locked = np.zeros(3, np.int64)
    locked.flags.writeable = False
    swapped = words.astype(">i8")
    return [
        _said(total, words.reshape(2, 3)),
        _said(total, words[::2]),
        _said(total, words.astype(np.float64)),
        _said(total, swapped),
        _said(total, None),
        _said(total),
        _said(fill, locked, 1),
        _said(fill, words, 1.5),
        _said(fill, words, 2**63),
        _said(of_pair, (words, words.reshape(2, 3)), (5, 6), True),
        _said(of_pair, Pair(words, words.reshape(2, 3)), (5, 6, 7), True),
    ]


def taken():
    """What fits a kernel without being just what it is compiled for."""
    numbers = [np.int64(3), np.int32(3), np.uint8(3), True, np.bool_(True)]
    return [_said(checked, number) for number in numbers]

"""Kernels that call each other: machine code only where Python calls them, references counted only where need be."""

import gc
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from numba import typeof
from numba.core.event import install_recorder
from numba.core.targetconfig import ConfigStack

from pricegrid.columnar.dispatcher import KernelDispatcher
from pricegrid.columnar.jit import compiled, inlined, kernel
from pricegrid.columnar.tables import table_of

ROOT = Path(__file__).parent.parent


class Both(NamedTuple):
    one: np.ndarray
    other: np.ndarray


@compiled
def total(values):
    """Borrows its array."""
    found = 0
    for value in values:
        found += value
    return found


@inlined
def total_from(values, first):
    return total(values[first:])


@compiled
def total_of_both(both):
    return total_from(both.one, 1) + total_from(both.other, 1)


@compiled
def tail(values, first):
    """Hands an array over."""
    return values[first:]


@compiled
def total_of_tail(values, first):
    """Takes an array from a call."""
    return total(tail(values, first))


@compiled
def total_of_copy(values):
    """Makes an array."""
    copy = values.copy()
    copy[:] = values[::-1]
    return total(copy)


@kernel(nogil=True)
def at(values, index):
    if index >= len(values):
        raise IndexError("there are not so many values")
    return values[index]


@compiled
def first_and(values, index):
    return at(values, 0) + at(values, index)


@compiled
def added(one, other):
    return one + other


@compiled
def counted(values):
    """Adds constants, and what numba knows to begin at 0 before it knows more."""
    count = 0
    for value in values:
        count = added(count, added(1, 2) if value else added(3, other=4))
    return count


@compiled
def moved_rows(values, narrow):
    """Takes rows and elements of tables by numbers of several kinds, and lays a row over another of a wider type."""
    table, line = table_of(values), table_of(narrow)
    table[np.uint8(1), 2] = line[3]
    table[len(table) - 1] = line
    first, total = table[0], 0
    for row in range(len(table)):
        total += table[row, 0] + table[row][np.int32(1)]
    line[0] = 255
    return total + first[2] + len(first)


def fresh(dispatcher, *arguments):
    """The machine code of a kernel as LLVM has it, compiled anew: nothing can be seen of what the cache has."""
    assert isinstance(dispatcher, KernelDispatcher)
    result = dispatcher._compiler.compile(tuple(map(typeof, arguments)), None)
    return result.library.get_llvm_str()


def test_kernels_call_each_other():
    values = np.arange(10)

    assert total_of_both(Both(values, values[::2])) == 45 + 20
    assert total_of_tail(values, 8) == 17
    assert total_of_copy(values) == 45
    assert first_and(values, 3) == 3


def test_what_is_handed_over_outlives_its_owner():
    kept = tail(np.arange(100_000), 5)
    gc.collect()
    others = [np.zeros(100_000, np.int64) for _ in range(20)]

    assert int(kept.sum()) == 100_000 * 99_999 // 2 - 10
    assert not any(other.any() for other in others)


@pytest.mark.parametrize("call", [total, tail, total_of_tail, total_of_copy], ids=lambda call: call.__name__)
def test_no_reference_is_lost_or_kept(call):
    values = np.arange(10)
    arguments = (values, 2) if call in {tail, total_of_tail} else (values,)
    call(*arguments)
    before = sys.getrefcount(values)

    for _ in range(100):
        call(*arguments)

    assert sys.getrefcount(values) == before


@pytest.mark.slow
def test_references_are_counted_only_where_arrays_are_made_or_handed_over():
    values = np.arange(10)

    borrows = fresh(total_of_both, Both(values, values))
    assert "NRT_incref(" not in borrows
    assert "NRT_decref(" not in borrows
    assert "NRT_decref(" in fresh(total_of_copy, values)
    assert "NRT_incref(" in fresh(tail, values, 2)


def test_what_kernels_call_is_not_compiled_for_python():
    fresh(first_and, np.arange(10, dtype=np.int32), 3)

    kept = [result.library for args, result in at.callee.overloads.items() if args[0].dtype.name == "int32"]
    assert kept
    assert all(library.get_pointer_to_function("anything") == 0 for library in kept)
    assert not [args for args in at.overloads if args[0].dtype.name == "int32"]


def test_a_kernel_is_compiled_once_for_all_constants():
    assert counted(np.array([True, False])) == 10
    fresh(counted, np.array([True]))

    assert len(added.callee.overloads) == 1


def test_tables_are_read_and_written_as_arrays_are():
    values, narrow = np.arange(12).reshape(3, 4).copy(), np.array([250, 251, 252, 253], np.uint8)

    assert moved_rows(values, narrow) == (0 + 1) + (4 + 5) + (250 + 251) + 2 + 4
    assert values.tolist() == [[0, 1, 2, 3], [4, 5, 253, 7], [250, 251, 252, 253]]
    assert narrow.tolist() == [255, 251, 252, 253]


def test_nothing_is_compiled_for_an_operation_on_a_table():
    with install_recorder("numba:run_pass") as passes:
        fresh(moved_rows, np.zeros((3, 4), np.int16), np.zeros(4, np.uint8))

    assert {event.data["qualname"] for _, event in passes.buffer} == {"moved_rows"}


def test_kernels_of_the_same_flags_share_them(monkeypatch):
    seen = []
    monkeypatch.setattr(
        ConfigStack, "enter", lambda self, flags: seen.append(flags) or self._stk.enter(flags)
    )

    for each in (total, tail):
        fresh(each, *((np.zeros(1, np.uint16), 0) if each is tail else (np.zeros(1, np.uint16),)))

    assert seen[0] is seen[1]
    assert seen[0] == seen[1].__class__(seen[0])
    assert seen[0].error_model == "numpy"


REFUSED = """
import numpy as np
from tests.test_dispatcher import first_and

for _ in range(2):
    try:
        first_and(np.arange(10), 10)
    except IndexError as error:
        print(error)
print(sum(first_and.stats.cache_hits.values()))
"""


@pytest.mark.slow
def test_an_error_of_a_callee_is_told_when_it_is_compiled_and_when_it_is_kept(tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    environment["PRICEGRID_KERNEL_CACHE"] = str(tmp_path)
    run = [sys.executable, "-c", "import os\nfrom pricegrid.service.process.kernel_cache import use_kernel_cache\n"
           "use_kernel_cache(os.environ)\n" + REFUSED]  # fmt: skip

    compiled_now, kept = (
        subprocess.run(run, env=environment, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    )

    told = "there are not so many values\n"
    assert compiled_now == told * 2 + "0\n"
    assert kept == told * 2 + "1\n"

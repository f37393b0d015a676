"""A price engine that is limited to some customers, over random name tables."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricegrid.columnar.names import find_name
from pricegrid.pricing_engine.arrays.limited import LimitedNames, customers_below, limited_slots
from tests.profiles import examples

NAMES = st.lists(
    st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), min_size=1, max_size=12),
    unique=True,
    max_size=40,
)


def table(names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    encoded = [name.encode() for name in names]
    offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    return np.frombuffer(b"".join(encoded) or b"\0", np.uint8).copy(), offsets


def found_by_kernel(text: np.ndarray, offsets: np.ndarray, slots: np.ndarray, name: str) -> int:
    wanted = np.frombuffer(name.encode(), np.uint8)
    return int(find_name(text, offsets, slots, wanted, 0, len(wanted)))


@settings(max_examples=examples(200, 5_000), deadline=None)
@given(NAMES, st.data())
def test_kernels_and_python_find_those_that_are_known_and_no_other(names, data):
    names = sorted(names, key=str.encode)
    chosen = data.draw(st.sets(st.sampled_from(range(len(names))))) if names else set()
    text, offsets = table(names)
    known = np.array(sorted(chosen), dtype=np.int64)
    slots, limited = limited_slots(text, offsets, known), LimitedNames(text, offsets, known)

    for ordinal, name in enumerate(names):
        wanted = ordinal if ordinal in chosen else -1
        assert limited.find(name) == wanted
        assert found_by_kernel(text, offsets, slots, name) == wanted
        assert limited[ordinal] == name
    for name in ("", "nobody", *(f"{name}x" for name in names)):
        if name not in names:
            assert limited.find(name) == found_by_kernel(text, offsets, slots, name) == -1


class Customers:
    """As much of a `Matrix` as `customers_below` reads."""

    def __init__(self, parents: list[int]) -> None:
        self.customers = np.array([(parent, -1, 0, -1) for parent in parents], np.int64).reshape(-1, 4)


@settings(max_examples=examples(200, 5_000), deadline=None)
@given(st.data(), st.integers(0, 40))
def test_who_is_below_has_a_root_among_the_ancestors(data, count):
    """Parents in any order: a customer's ordinal says nothing about its place in the tree."""
    order = data.draw(st.permutations(range(count)))
    parents = [-1] * count
    for place, customer in enumerate(order):
        above = data.draw(st.integers(-1, place - 1))
        parents[customer] = order[above] if above >= 0 else -1
    roots = sorted(data.draw(st.sets(st.sampled_from(range(count)), max_size=3)) if count else [])

    found = customers_below(Customers(parents), np.array(roots, np.int64)).tolist()  # type: ignore[arg-type]

    def ancestors(customer: int) -> set[int]:
        above = set()
        while customer >= 0:
            above.add(customer)
            customer = parents[customer]
        return above

    assert found == [customer for customer in range(count) if ancestors(customer) & set(roots)]


@pytest.mark.parametrize("count", [0, 1, 5])
def test_nobody_known_is_nobody_found(count):
    names = [f"C{number}" for number in range(count)]
    text, offsets = table(names)
    none = np.zeros(0, np.int64)
    slots = limited_slots(text, offsets, none)

    assert {found_by_kernel(text, offsets, slots, name) for name in (*names, "C9")} == {-1}

"""How a lookup gets to an item and its cells, beside plain dictionaries."""

from dataclasses import replace

import numpy as np
import pytest

from bench import datasets as data
from bench.kernel import Questions
from pricegrid.columnar.names import likely_ordinal, name_key, slots_for
from pricegrid.loaders.compile.decode import cell_places
from pricegrid.loaders.compile.ordinals import string_table
from pricegrid.loaders.compile.prices import compile_prices
from pricegrid.pricing_engine.arrays import matrix as mx
from pricegrid.pricing_engine.arrays.matrix import matrix_from_arrays
from pricegrid.pricing_engine.engine import PriceEngine
from pricegrid.pricing_engine.kernels.entries import find_cells
from pricegrid.pricing_engine.kernels.items import find_item, put_skus
from tests.name_tables import matrix_with
from tests.profiles import examples

# a list for everyone, class books, a matrix on product groups, and more contracts than ITEM_BUNDLES has bits
WORLD = data.Size(items=1_500, class_entries=40, customers=150, contract_entries=20)


@pytest.fixture(scope="module")
def arrays():
    return compile_prices(data.frames(WORLD))


@pytest.fixture(scope="module")
def cells(arrays):
    m = matrix_from_arrays(arrays)
    bundle, key = cell_places(m)  # read off the pages, in the order of the cells
    return m, {place: cell for cell, place in enumerate(zip(bundle.tolist(), key.tolist(), strict=True))}


def found(m):
    keys = len(m.items) + len(m.group_parents) + 1
    bundle, key = (grid.ravel() for grid in np.indices((len(m.bundles), keys)))
    cells = np.empty(len(key), np.int64)
    find_cells(m, bundle, key, cells)
    return dict(zip(zip(bundle.tolist(), key.tolist(), strict=True), cells.tolist(), strict=True))


def test_a_lookup_finds_every_cell_and_no_other(cells):
    m, places = cells

    answers = found(m)
    assert answers == {place: places.get(place, -1) for place in answers}
    ranked = m.bundles[:, [mx.BUNDLE_RANKS, mx.BUNDLE_ABOVE]] != mx.NO_RANKS
    assert ranked.any(axis=0).all()  # of items, and of what is above them
    assert not ranked.all(axis=1).any()
    assert len(m.bundles) > 64
    assert len(m.items) > 64 * 20


def test_a_page_finds_what_a_rank_finds(cells):
    m, places = cells
    bundles = m.bundles.copy()
    bundles[:, [mx.BUNDLE_RANKS, mx.BUNDLE_ABOVE]] = mx.NO_RANKS

    by_pages = found(m._replace(bundles=bundles))

    assert by_pages == {place: places.get(place, -1) for place in by_pages}


@pytest.mark.parametrize("lines", [2, 3, 40, 300])
def test_many_lines_are_priced_as_each_alone(arrays, lines):
    """Half of the hundred product groups have discounts of their own, which are sought once a group and request."""
    engine = PriceEngine(arrays)
    questions = Questions(WORLD, seed=lines)
    for _ in range(-(-examples(2_000) // lines)):
        ask = questions.ask(lines, "mixed")
        together = engine.price(ask)
        for place in range(lines):
            one = slice(place, place + 1)
            line = {name: getattr(ask, name)[one] for name in ("skus", "quantities_micros", "uoms")}
            alone = engine.price(replace(ask, **line))
            assert alone.unit_price_micros[0] == together.unit_price_micros[place]
            assert (alone.book[0], alone.entry[0]) == (together.book[place], together.entry[place])


FAMILIES = ["", "ABCDEFGH", "ABCDEFGHIJKLMNOPQRSTUVWX", "ABCDEFGHIJKLMNOPQRSTUVWXYZ01234", "é" * 16]
TAILS = ["A", "B", "AB", "12345678", "123456789" * 3, "1" * 31, "1" * 32]
SKUS = sorted((family + tail for family in FAMILIES for tail in TAILS), key=str.encode)


def sku_matrix():
    """A matrix of nothing but these items."""
    table, items = string_table("sku", SKUS), np.zeros((len(SKUS), mx.TABLES["items"]), np.int64)
    text, offsets = table["sku_bytes"], table["sku_offsets"]
    put_skus(text, offsets, items)
    nothing = dict.fromkeys(("currency", "book", "layer", "entry_id", "delta_entry_id"), ())
    return matrix_with(nothing, full_load=0)._replace(
        sku_bytes=text, sku_offsets=offsets, sku_slots=slots_for(text, offsets), items=items
    )


def item_of(m, text: bytes, room: bytes, like: bytes) -> int:
    """The item of a SKU that has `room` behind it in its message, and the hash of another."""
    wanted, hashed = (np.frombuffer(b"xy" + each + room, np.uint8) for each in (text, like))
    key = name_key(hashed, 2, len(like))
    return int(find_item(m, wanted, 2, len(text), key, likely_ordinal(m.sku_slots, key)))


@pytest.mark.parametrize("room", [b"", b"z", b"z" * 40])
def test_an_item_is_found_by_its_whole_sku_and_nothing_else(room):
    m, places = sku_matrix(), {sku.encode(): place for place, sku in enumerate(SKUS)}
    for sku, place in places.items():
        near = {sku[:-1], sku + b"A", sku + b"\0", sku[:-1] + b"\x7f", b"\x7f" + sku[1:]}

        assert item_of(m, sku, room, sku) == place
        assert {item_of(m, text, room, text) for text in near - places.keys()} <= {-1}
        assert {item_of(m, text, room, sku) for text in near} == {-1}  # were their hashes the same
    assert min(map(len, places)) < 8
    assert {mx.SKU_INLINE_MAX, mx.SKU_INLINE_MAX + 1} <= set(map(len, places))


def test_probing_ends_in_a_table_without_a_free_slot():
    """No loader writes one: `pricing_engine.arrays.verify` refuses it, and what reads it regardless comes to an end."""
    m = sku_matrix()
    full = m._replace(sku_slots=np.full_like(m.sku_slots, 1))

    assert item_of(full, b"no such item", b"", b"no such item") == -1
    assert item_of(full, b"1" * 40, b"", b"1" * 40) == -1

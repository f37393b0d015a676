"""Compile the price side: validated frames in, the arrays of `pricing_engine.arrays.matrix` out.

The same frames give the same bytes: names become ordinals in byte order, every sort is total. Entries are stored once
however many customers share their book: an agreement is a row, not a copy (see `docs/snapshot-format.md`).
"""

from math import gcd

import numpy as np
import polars as pl

from pricegrid.columnar.names import slots_for
from pricegrid.loaders.compile.customers import customer_rows
from pricegrid.loaders.compile.entries import entry_arrays
from pricegrid.loaders.compile.ordinals import (
    Arrays,
    Frames,
    Int64s,
    Ordinals,
    codes,
    columns,
    numbers,
    ranges,
    string_table,
)
from pricegrid.pricing_engine.arrays import matrix as mx
from pricegrid.pricing_engine.kernels.items import put_skus
from pricegrid.pricing_engine.model import (
    GROUP_DEPTH_MAX,
    MICROS,
    PRIORITY_LAST,
    BelowMinimum,
    BreakMode,
    BreakOn,
    Ladder,
    Mode,
    RoundingMode,
    Windows,
)


def compile_prices(frames: Frames) -> Arrays:
    """All price-side arrays of a snapshot from the normalised frames of `loaders.validate.tables`."""
    ordinals = Ordinals.from_frames(frames)
    arrays: Arrays = {}
    for table, names in ordinals.names.items():
        arrays.update(string_table(table, names))
    for table in ("sku", "customer", "uom"):
        arrays[f"{table}_slots"] = slots_for(
            arrays[f"{table}_bytes"].view(np.uint8), arrays[f"{table}_offsets"].view(np.int64)
        )
    arrays.update(_item_arrays(frames, ordinals))
    items = arrays["items"].view(np.int64)
    put_skus(arrays["sku_bytes"].view(np.uint8), arrays["sku_offsets"].view(np.int64), items)
    arrays["customers"], arrays["customer_classes"] = customer_rows(frames, ordinals)
    arrays["rates"] = _rate_rows(frames["exchange_rates"], ordinals)
    arrays["entitlements"] = _entitlement_rows(frames["entitlements"], ordinals)
    arrays["layers"] = _layer_rows(frames["layers"], ordinals)
    books = _book_rows(frames["price_books"], ordinals)
    arrays.update(_agreement_arrays(frames["agreements"], books, ordinals))
    arrays["books"] = books
    bundles = arrays["bundles"].view(np.int64)
    arrays.update(entry_arrays(frames["price_entries"], books, bundles, items, ordinals))
    return arrays


def _item_arrays(frames: Frames, ordinals: Ordinals) -> Arrays:
    items, uoms, costs = frames["items"], frames["uoms"], frames["costs"]
    count = ordinals.count("sku")
    uom_item = ordinals.of("sku", uoms, "sku")
    uom_rows = columns(
        ordinals.of("uom", uoms, "uom"), numbers(uoms, "numerator"), numbers(uoms, "denominator")
    )
    order = np.lexsort((uom_rows[:, mx.UOM_NAME], uom_item))
    uom_start, uom_end = ranges(uom_item[order], count)
    cost_item = ordinals.of("sku", costs, "sku")
    cost_rows = columns(
        ordinals.of("branch", costs, "branch"),
        numbers(costs, "valid_from_us"),
        numbers(costs, "cost_micros"),
        ordinals.of("currency", costs, "currency"),
    )
    cost_order = np.lexsort((cost_rows[:, mx.COST_FROM], cost_rows[:, mx.COST_BRANCH], cost_item))
    cost_start, cost_end = ranges(cost_item[cost_order], count)
    place = ordinals.place("sku", items, "sku")
    rows = np.zeros((count, 8), dtype=np.int64)
    rows[:, mx.ITEM_NAMES] = (
        (ordinals.of("product_group", items, "product_group")[place] + 1)
        | (items["price_source"] == "erp").to_numpy()[place].astype(np.int64) << mx.ERP_SHIFT
        | ordinals.of("uom", items, "base_uom")[place] << mx.BASE_UOM_SHIFT
    )
    rows[:, mx.ITEM_UNITS] = _runs("units of measure", uom_start, uom_end)
    rows[:, mx.ITEM_COSTS] = _runs("costs", cost_start, cost_end)
    groups = frames["product_groups"]
    group_rows = ordinals.of("product_group", items, "product_group")[place]
    group_place = ordinals.place("product_group", groups, "product_group")
    return {
        "items": rows,
        "item_groups": _break_groups(frames, ordinals, group_rows, place),
        "uoms": uom_rows[order],
        "costs": cost_rows[cost_order],
        "group_parents": ordinals.of("product_group", groups, "parent")[group_place],
    }


def _break_groups(frames: Frames, ordinals: Ordinals, group_of: Int64s, place: Int64s) -> Int64s:
    """The break group + 1 of each item: its own, else that of its nearest product group that has one; (0,) where no
    item has any (P19). `group_of` is the product group of each item, by ordinal; `place` puts rows in that order."""
    groups = frames["product_groups"]
    group_place = ordinals.place("product_group", groups, "product_group")
    of_groups = ordinals.of("break_group", groups, "break_group")[group_place]
    parent = ordinals.of("product_group", groups, "parent")[group_place]
    found = ordinals.of("break_group", frames["items"], "break_group")[place]
    above = group_of.copy()
    for _ in range(GROUP_DEPTH_MAX):
        open_items = (found < 0) & (above >= 0)
        found[open_items] = of_groups[above[open_items]]
        above[open_items] = parent[above[open_items]]
    return found + 1 if (found >= 0).any() else np.zeros(0, dtype=np.int64)


def _runs(what: str, start: Int64s, end: Int64s) -> Int64s:
    count = end - start
    if len(count) and count.max() > mx.RUN_MAX:
        raise ValueError(f"more than {mx.RUN_MAX} {what} of one item")
    return start << mx.RUN_BITS | count


def _rate_rows(rates: pl.DataFrame, ordinals: Ordinals) -> Int64s:
    pair = ordinals.of("currency", rates, "from_currency") << 32 | ordinals.of(
        "currency", rates, "to_currency"
    )
    rows = columns(
        pair, numbers(rates, "valid_from_us"), numbers(rates, "numerator"), numbers(rates, "denominator")
    )
    return rows[np.lexsort((rows[:, mx.RATE_FROM], pair))]


def _entitlement_rows(entitlements: pl.DataFrame, ordinals: Ordinals) -> Int64s:
    customer = ordinals.of("customer", entitlements, "customer_id")
    price_class = ordinals.of("price_class", entitlements, "price_class")
    owner = np.where(customer >= 0, customer, ordinals.count("customer") + price_class)
    key = owner * ordinals.key_space + ordinals.item_keys(entitlements)
    rows = columns(key, entitlements["allowed"].to_numpy())
    return rows[np.argsort(key, kind="stable")]


def _layer_rows(layers: pl.DataFrame, ordinals: Ordinals) -> Int64s:
    rows = columns(
        codes(layers, "mode", [m.name.lower() for m in Mode]),
        codes(layers, "ladder", [m.name.lower() for m in Ladder]),
    )
    return rows[ordinals.place("layer", layers, "layer")]


def _book_rows(books: pl.DataFrame, ordinals: Ordinals) -> Int64s:
    margins = books["floor_margin_micros"].to_list()
    floor = [_floor_ratio(margin) for margin in margins]
    rows = columns(
        ordinals.of("layer", books, "layer"),
        ordinals.of("currency", books, "currency"),
        numbers(books, "valid_from_us"),
        numbers(books, "valid_to_us"),
        codes(books, "below_minimum", [m.name.lower() for m in BelowMinimum]),
        _increments(books),
        codes(books, "rounding_mode", [m.name.lower() for m in RoundingMode]),
        np.array([n for n, _ in floor], dtype=np.int64),
        np.array([d for _, d in floor], dtype=np.int64),
        np.full(len(books), -1),
        codes(books, "windows", [m.name.lower() for m in Windows]),
        numbers(books, "price_ending_micros", 0),
        mx.GRADUATED * codes(books, "break_mode", [m.name.lower() for m in BreakMode])
        + mx.ON_AMOUNT * codes(books, "break_on", [m.name.lower() for m in BreakOn])
        + mx.GROUPED * books["break_group"].is_not_null().to_numpy(),
        ordinals.of("break_group", books, "break_group"),
    )
    return rows[ordinals.place("book", books, "book_id")]


def _increments(books: pl.DataFrame) -> Int64s:
    """Rounding increments; that of a book with a price ending and none of its own is the next power of ten (P16)."""
    increment, ending = numbers(books, "rounding_increment_micros"), numbers(books, "price_ending_micros", 0)
    power = np.array([10 ** len(str(each)) for each in ending.tolist()], dtype=np.int64)
    return np.where((ending > 0) & (increment == 1), power, increment)


def _floor_ratio(margin_micros: int | None) -> tuple[int, int]:
    """1 / (1 - f/100) as a reduced ratio (P8); 0/0 says the book has no floor."""
    if margin_micros is None:
        return 0, 0
    numerator, denominator = 100 * MICROS, 100 * MICROS - margin_micros
    common = gcd(numerator, denominator)
    return numerator // common, denominator // common


# -- agreements and bundles -----------------------------------------------------------------------------------------


def _agreement_arrays(agreements: pl.DataFrame, books: Int64s, ordinals: Ordinals) -> Arrays:
    """Bundles of books that always appear together, and for each audience the bundles attached to it (P1).

    Audiences are the customers, then the price classes, then everyone.
    """
    customers, classes = ordinals.count("customer"), ordinals.count("price_class")
    customer = ordinals.of("customer", agreements, "customer_id")
    price_class = ordinals.of("price_class", agreements, "price_class")
    audience = np.where(
        customer >= 0, customer, np.where(price_class >= 0, customers + price_class, customers + classes)
    )
    book = ordinals.of("book", agreements, "book_id")
    bundles = _bundle_books(audience, book, books)
    layer, bundle = books[book, mx.BOOK_LAYER], books[book, mx.BOOK_BUNDLE]
    priority = numbers(agreements, "priority", PRIORITY_LAST)
    start, end = numbers(agreements, "valid_from_us"), numbers(agreements, "valid_to_us")
    inherit = agreements["inherit"].to_numpy().astype(np.int64)
    order = np.lexsort((inherit, end, start, priority, book, bundle, layer, audience))
    audience, layer, bundle = audience[order], layer[order], bundle[order]
    rows = columns(book, priority, start, end, inherit)[order]
    first = np.flatnonzero(np.diff(audience, prepend=-1) | np.diff(bundle, prepend=-1))
    attachments = columns(layer[first], bundle[first], first, np.append(first[1:], len(rows))[: len(first)])
    return {
        "agreements": rows,
        "attachments": attachments,
        "audience_starts": np.searchsorted(audience[first], np.arange(customers + classes + 2), "left"),
        "bundles": bundles,
    }


def _bundle_books(audience: Int64s, book: Int64s, books: Int64s) -> Int64s:
    """Number the bundles, note each book's in `books`, and return their rows without entries yet; (bundles, 8).

    Books of one layer with equal audiences always appear together; from BUNDLE_MERGE_MIN on they share one bundle, so
    that a stack has few of them.
    """
    order = np.lexsort((audience, book))
    sorted_book, sorted_audience = book[order], audience[order]
    start, end = ranges(sorted_book, len(books))
    together: dict[tuple[int, bytes], list[int]] = {}
    for ordinal in range(len(books)):
        own = np.unique(sorted_audience[start[ordinal] : end[ordinal]])
        signature = own.tobytes() if len(own) else b"book %d" % ordinal
        together.setdefault((int(books[ordinal, mx.BOOK_LAYER]), signature), []).append(ordinal)
    single: list[int] = []
    for members in together.values():
        if len(members) >= mx.BUNDLE_MERGE_MIN:
            books[members, mx.BOOK_BUNDLE] = len(single)
            single.append(-1)
        else:
            for member in members:
                books[member, mx.BOOK_BUNDLE] = len(single)
                single.append(member)
    bundles = np.zeros((len(single), 8), dtype=np.int64)
    bundles[:, mx.BUNDLE_BOOK] = single
    return bundles

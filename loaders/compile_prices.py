"""Compile the price side: validated frames in, the arrays of `pricing_engine.matrix` out.

The same frames give the same bytes: names become ordinals in byte order, every sort is total. Entries are stored once
however many customers share their book: an agreement is a row, not a copy (see `docs/snapshot-format.md`).
"""

from collections.abc import Mapping, Sequence
from math import gcd

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pricing_engine import matrix as mx
from pricing_engine.model import (
    ALWAYS_US,
    COST,
    MICROS,
    NEVER_US,
    PRIORITY_LAST,
    BelowMinimum,
    Ladder,
    Method,
    Mode,
    RoundingMode,
)
from pricing_engine.strings import slots_for

Frames = Mapping[str, pl.DataFrame]
Arrays = dict[str, NDArray[np.generic]]
Int64s = NDArray[np.int64]

_METHODS = [m.name.lower() for m in Method]


def compile_prices(frames: Frames) -> Arrays:
    """All price-side arrays of a snapshot from the normalised frames of `loaders.validate`."""
    ordinals = _Ordinals(frames)
    arrays: Arrays = {}
    for table, names in ordinals.names.items():
        arrays.update(string_table(table, names))
    for table in ("sku", "customer", "uom"):
        arrays[f"{table}_slots"] = slots_for(
            arrays[f"{table}_bytes"].view(np.uint8), arrays[f"{table}_offsets"].view(np.int64)
        )
    arrays.update(_item_arrays(frames, ordinals))
    arrays["customers"] = _columns(
        ordinals.of("customer", frames["customers"], "parent_id"),
        ordinals.of("price_class", frames["customers"], "price_class"),
        ordinals.of("currency", frames["customers"], "currency"),
        ordinals.of("branch", frames["customers"], "branch"),
    )[ordinals.place("customer", frames["customers"], "customer_id")]
    arrays["rates"] = _rate_rows(frames["exchange_rates"], ordinals)
    arrays["entitlements"] = _entitlement_rows(frames["entitlements"], ordinals)
    arrays["layers"] = _layer_rows(frames["layers"], ordinals)
    books = _book_rows(frames["price_books"], ordinals)
    arrays.update(_agreement_arrays(frames["agreements"], books, ordinals))
    arrays["books"] = books
    arrays.update(_entry_arrays(frames["price_entries"], books, arrays["bundles"].view(np.int64), ordinals))
    return arrays


def string_table(table: str, names: Sequence[str] | pl.Series) -> Arrays:
    """`TABLE_bytes` (u8) and `TABLE_offsets` (int64, n + 1) of names in the order given."""
    series = pl.Series("name", names, dtype=pl.Utf8)
    offsets = np.zeros(len(series) + 1, dtype=np.int64)
    np.cumsum(series.str.len_bytes().to_numpy(), out=offsets[1:])
    text = series.str.join("").item() if len(series) else ""
    return {
        f"{table}_bytes": np.frombuffer(text.encode(), dtype=np.uint8).copy(),
        f"{table}_offsets": offsets,
    }


class _Ordinals:
    """Every name's place in its table: byte order, but for layers, which stand in the order of search."""

    def __init__(self, frames: Frames) -> None:
        entries, customers = frames["price_entries"], frames["customers"]
        everything = {
            "sku": [frames["items"]["sku"]],
            "uom": [frames["items"]["base_uom"], frames["uoms"]["uom"], entries["uom"]],
            "customer": [customers["customer_id"]],
            "product_group": [frames["product_groups"]["product_group"]],
            "price_class": [
                customers["price_class"],
                entries["price_class"],
                frames["agreements"]["price_class"],
                frames["entitlements"]["price_class"],
            ],
            "currency": [
                customers["currency"],
                frames["price_books"]["currency"],
                frames["costs"]["currency"],
                frames["exchange_rates"]["from_currency"],
                frames["exchange_rates"]["to_currency"],
            ],
            "branch": [customers["branch"], frames["costs"]["branch"]],
            "book": [frames["price_books"]["book_id"]],
        }
        self.names: dict[str, list[str]] = {
            table: pl.concat([c.alias("name").cast(pl.Utf8) for c in columns])
            .drop_nulls()
            .unique()
            .sort()
            .to_list()
            for table, columns in everything.items()
        }
        if len(self.names["uom"]) > mx.UOM_NAMES_MAX:
            raise ValueError(f"more than {mx.UOM_NAMES_MAX} distinct units of measure")
        self.names["layer"] = frames["layers"].sort("rank", "layer")["layer"].to_list()
        self._maps = {
            table: pl.DataFrame(
                {"name": names, "ordinal": range(len(names))}, schema={"name": pl.Utf8, "ordinal": pl.Int64}
            )
            for table, names in self.names.items()
        }

    def of(self, table: str, frame: pl.DataFrame, column: str) -> Int64s:
        """The ordinals of a column's names, -1 for null; (rows,) int64."""
        names = frame.select(pl.col(column).cast(pl.Utf8).alias("name"))
        joined = names.join(self._maps[table], on="name", how="left", maintain_order="left")
        return joined["ordinal"].fill_null(-1).to_numpy().astype(np.int64)

    def place(self, table: str, frame: pl.DataFrame, column: str) -> Int64s:
        """The permutation that puts a frame's rows in the order of its names."""
        return np.argsort(self.of(table, frame, column), kind="stable")

    @property
    def key_space(self) -> int:
        """Item keys: items, then product groups, then one key for every item."""
        return len(self.names["sku"]) + len(self.names["product_group"]) + 1

    def item_keys(self, frame: pl.DataFrame) -> Int64s:
        """The key that each row speaks of by `sku`, `product_group` or neither; (rows,) int64."""
        sku = self.of("sku", frame, "sku")
        group = self.of("product_group", frame, "product_group")
        items = len(self.names["sku"])
        every = self.key_space - 1
        return np.where(sku >= 0, sku, np.where(group >= 0, items + group, every))


def _columns(*columns: NDArray[np.generic]) -> Int64s:
    return np.stack([np.asarray(c, dtype=np.int64) for c in columns], axis=1)


def _numbers(frame: pl.DataFrame, column: str, blank: int | None = None) -> Int64s:
    values = frame[column]
    return (values if blank is None else values.fill_null(blank)).to_numpy().astype(np.int64)


def _codes(frame: pl.DataFrame, column: str, words: Sequence[str]) -> Int64s:
    """Each word's place in `words`; (rows,) int64."""
    codes = frame[column].replace_strict(words, range(len(words)), return_dtype=pl.Int64)
    return codes.to_numpy().astype(np.int64)


def _ranges(owners: Int64s, count: int) -> tuple[Int64s, Int64s]:
    """Start and end of each owner's rows in an array sorted by owner."""
    wanted = np.arange(count, dtype=np.int64)
    return np.searchsorted(owners, wanted, "left"), np.searchsorted(owners, wanted, "right")


def _item_arrays(frames: Frames, ordinals: _Ordinals) -> Arrays:
    items, uoms, costs = frames["items"], frames["uoms"], frames["costs"]
    count = len(ordinals.names["sku"])
    uom_item = ordinals.of("sku", uoms, "sku")
    uom_rows = _columns(
        ordinals.of("uom", uoms, "uom"), _numbers(uoms, "numerator"), _numbers(uoms, "denominator")
    )
    order = np.lexsort((uom_rows[:, mx.UOM_NAME], uom_item))
    uom_start, uom_end = _ranges(uom_item[order], count)
    cost_item = ordinals.of("sku", costs, "sku")
    cost_rows = _columns(
        ordinals.of("branch", costs, "branch"),
        _numbers(costs, "valid_from_us"),
        _numbers(costs, "cost_micros"),
        ordinals.of("currency", costs, "currency"),
    )
    cost_order = np.lexsort((cost_rows[:, mx.COST_FROM], cost_rows[:, mx.COST_BRANCH], cost_item))
    cost_start, cost_end = _ranges(cost_item[cost_order], count)
    place = ordinals.place("sku", items, "sku")
    rows = _columns(
        ordinals.of("product_group", items, "product_group")[place],
        ordinals.of("uom", items, "base_uom")[place],
        (items["price_source"] == "erp").to_numpy()[place] * mx.ITEM_FLAG_ERP,
        uom_start,
        uom_end,
        cost_start,
        cost_end,
        np.zeros(count),
    )
    groups = frames["product_groups"]
    group_place = ordinals.place("product_group", groups, "product_group")
    return {
        "items": rows,
        "uoms": uom_rows[order],
        "costs": cost_rows[cost_order],
        "group_parents": ordinals.of("product_group", groups, "parent")[group_place],
    }


def _rate_rows(rates: pl.DataFrame, ordinals: _Ordinals) -> Int64s:
    pair = ordinals.of("currency", rates, "from_currency") << 32 | ordinals.of(
        "currency", rates, "to_currency"
    )
    rows = _columns(
        pair, _numbers(rates, "valid_from_us"), _numbers(rates, "numerator"), _numbers(rates, "denominator")
    )
    return rows[np.lexsort((rows[:, mx.RATE_FROM], pair))]


def _entitlement_rows(entitlements: pl.DataFrame, ordinals: _Ordinals) -> Int64s:
    customer = ordinals.of("customer", entitlements, "customer_id")
    price_class = ordinals.of("price_class", entitlements, "price_class")
    owner = np.where(customer >= 0, customer, len(ordinals.names["customer"]) + price_class)
    key = owner * ordinals.key_space + ordinals.item_keys(entitlements)
    rows = _columns(key, entitlements["allowed"].to_numpy())
    return rows[np.argsort(key, kind="stable")]


def _layer_rows(layers: pl.DataFrame, ordinals: _Ordinals) -> Int64s:
    rows = _columns(
        _codes(layers, "mode", [m.name.lower() for m in Mode]),
        _codes(layers, "ladder", [m.name.lower() for m in Ladder]),
    )
    return rows[ordinals.place("layer", layers, "layer")]


def _book_rows(books: pl.DataFrame, ordinals: _Ordinals) -> Int64s:
    margins = books["floor_margin_micros"].to_list()
    floor = [_floor_ratio(margin) for margin in margins]
    rows = _columns(
        ordinals.of("layer", books, "layer"),
        ordinals.of("currency", books, "currency"),
        _numbers(books, "valid_from_us"),
        _numbers(books, "valid_to_us"),
        _codes(books, "below_minimum", [m.name.lower() for m in BelowMinimum]),
        _numbers(books, "rounding_increment_micros"),
        _codes(books, "rounding_mode", [m.name.lower() for m in RoundingMode]),
        np.array([n for n, _ in floor], dtype=np.int64),
        np.array([d for _, d in floor], dtype=np.int64),
        np.full(len(books), -1),
    )
    return rows[ordinals.place("book", books, "book_id")]


def _floor_ratio(margin_micros: int | None) -> tuple[int, int]:
    """1 / (1 - f/100) as a reduced ratio (P8); 0/0 says the book has no floor."""
    if margin_micros is None:
        return 0, 0
    numerator, denominator = 100 * MICROS, 100 * MICROS - margin_micros
    common = gcd(numerator, denominator)
    return numerator // common, denominator // common


# -- agreements and bundles -----------------------------------------------------------------------------------------


def _agreement_arrays(agreements: pl.DataFrame, books: Int64s, ordinals: _Ordinals) -> Arrays:
    """Bundles of books that always appear together, and for each audience the bundles attached to it (P1).

    Audiences are the customers, then the price classes, then everyone.
    """
    customers, classes = len(ordinals.names["customer"]), len(ordinals.names["price_class"])
    customer = ordinals.of("customer", agreements, "customer_id")
    price_class = ordinals.of("price_class", agreements, "price_class")
    audience = np.where(
        customer >= 0, customer, np.where(price_class >= 0, customers + price_class, customers + classes)
    )
    book = ordinals.of("book", agreements, "book_id")
    bundles = _bundle_books(audience, book, books)
    layer, bundle = books[book, mx.BOOK_LAYER], books[book, mx.BOOK_BUNDLE]
    priority = _numbers(agreements, "priority", PRIORITY_LAST)
    start, end = _numbers(agreements, "valid_from_us"), _numbers(agreements, "valid_to_us")
    inherit = agreements["inherit"].to_numpy().astype(np.int64)
    order = np.lexsort((inherit, end, start, priority, book, bundle, layer, audience))
    audience, layer, bundle = audience[order], layer[order], bundle[order]
    rows = _columns(book, priority, start, end, inherit)[order]
    first = np.flatnonzero(np.diff(audience, prepend=-1) | np.diff(bundle, prepend=-1))
    attachments = _columns(layer[first], bundle[first], first, np.append(first[1:], len(rows))[: len(first)])
    return {
        "agreements": rows,
        "attachments": attachments,
        "audience_starts": np.searchsorted(audience[first], np.arange(customers + classes + 2), "left"),
        "bundles": bundles,
    }


def _bundle_books(audience: Int64s, book: Int64s, books: Int64s) -> Int64s:
    """Number the bundles, note each book's in `books`, and return their rows without entries yet; (bundles, 7).

    Books of one layer with equal audiences always appear together; from BUNDLE_MERGE_MIN on they share one bundle, so
    that a stack has few of them.
    """
    order = np.lexsort((audience, book))
    sorted_book, sorted_audience = book[order], audience[order]
    start, end = _ranges(sorted_book, len(books))
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
    bundles = np.zeros((len(single), 7), dtype=np.int64)
    bundles[:, mx.BUNDLE_BOOK] = single
    return bundles


# -- entries --------------------------------------------------------------------------------------------------------


def _entry_arrays(entries: pl.DataFrame, books: Int64s, bundles: Int64s, ordinals: _Ordinals) -> Arrays:
    """Cells (one for each bundle and item key), their directory, and the records and ladders behind them."""
    book = ordinals.of("book", entries, "book_id")
    rows = _sorted_entries(entries, book, books, ordinals)
    position = rows.pop("position")
    cells = _cells(rows, bundles, ordinals)
    entry_ids = entries["entry_id"]
    named = entry_ids.null_count() < len(entry_ids)
    ids = entry_ids.gather(position).fill_null("") if named else entry_ids.clear()
    return {**cells, **string_table("entry_id", ids)}


def _sorted_entries(
    entries: pl.DataFrame, book: Int64s, books: Int64s, ordinals: _Ordinals
) -> dict[str, Int64s]:
    """Columns of all entries in the order of cells; inside a cell by book, class, unit, newest, then highest break."""
    price_class = ordinals.of("price_class", entries, "price_class")
    uom = ordinals.of("uom", entries, "uom")
    start = _numbers(entries, "valid_from_us")
    basis_book = ordinals.of("book", entries, "basis")
    on_cost = (entries["basis"] == COST).fill_null(value=False).to_numpy()
    basis = np.where(
        basis_book >= 0, basis_book + mx.BASIS_BOOK, np.where(on_cost, mx.BASIS_COST, mx.BASIS_NONE)
    )
    method = _codes(entries, "method", _METHODS)
    columns = {
        "bundle": books[book, mx.BOOK_BUNDLE],
        "key": ordinals.item_keys(entries),
        "book_class": book << 32 | (price_class + 1),
        "uom": uom + 1,
        "newest": -np.maximum(start, books[book, mx.BOOK_FROM]),
        "minimum": -_numbers(entries, "min_quantity_micros"),
        "start": -start,
        "end": _numbers(entries, "valid_to_us"),
        "value": _numbers(entries, "value_micros"),
        "method": method,
        "zero": entries["explicit_zero"].to_numpy().astype(np.int64),
        "basis": basis,
    }
    order = pl.DataFrame(columns).with_row_index("position").sort(*list(columns)[:8], "position")
    del columns
    out = {name: order[name].to_numpy().astype(np.int64) for name in order.columns}
    for name in ("minimum", "start"):
        np.negative(out[name], out=out[name])
    return out


def _cells(rows: dict[str, Int64s], bundles: Int64s, ordinals: _Ordinals) -> Arrays:
    """One value a cell: a price, or where its ladder or records stand (see `pricing_engine.matrix`)."""
    bundle, key = rows["bundle"], rows["key"]
    count = len(bundle)
    first = np.flatnonzero(np.diff(bundle, prepend=-1) | np.diff(key, prepend=-1))
    size = np.diff(first, append=count)
    if len(size) and size.max() > mx.CELL_COUNT_MAX:
        raise ValueError(
            f"more than {mx.CELL_COUNT_MAX} entries for one item in books that always appear together"
        )
    single = bundles[:, mx.BUNDLE_BOOK] >= 0
    plain_entry = (
        single[bundle]
        & (rows["method"] == Method.NET)
        & (rows["book_class"] & 0xFFFFFFFF == 0)
        & (rows["uom"] == 0)
        & (rows["start"] == ALWAYS_US)
        & (rows["end"] == NEVER_US)
        & (rows["zero"] == (rows["value"] == 0))
    )
    plain = np.logical_and.reduceat(plain_entry, first) if count else plain_entry
    cell_bundle = bundle[first]
    _simple_minimums(rows["minimum"][first], plain & (size == 1), cell_bundle, bundles)
    simple = plain & (size == 1) & (rows["minimum"][first] == bundles[cell_bundle, mx.BUNDLE_SIMPLE_MINIMUM])
    as_ladder = plain & ~simple
    as_records = ~plain
    in_ladder, in_records = np.repeat(as_ladder, size), np.repeat(as_records, size)
    offset = np.zeros(len(first), dtype=np.int64)
    for kind in (as_ladder, as_records):
        ends = np.cumsum(size * kind)
        offset[kind] = (ends - size)[kind]
    value = -1 - (offset << (mx.CELL_COUNT_BITS + 1) | size << 1 | as_records)
    value[simple] = rows["value"][first][simple]
    return {
        "cell_value": value,
        "cell_entry": first,
        "ladders": _columns(rows["minimum"][in_ladder], rows["value"][in_ladder]),
        "records": _records({name: column[in_records] for name, column in rows.items()}),
        **_directory(cell_bundle, key[first], bundles, ordinals),
    }


def _simple_minimums(minimum: Int64s, candidate: NDArray[np.bool_], bundle: Int64s, bundles: Int64s) -> None:
    """Each bundle's commonest first break among its one-break cells: those cells need not store it."""
    if not candidate.any():
        return
    counted = (
        pl.DataFrame({"bundle": bundle[candidate], "minimum": minimum[candidate]})
        .group_by("bundle", "minimum")
        .len()
        .sort("bundle", "len", "minimum", descending=[False, True, False])
        .unique("bundle", keep="first", maintain_order=True)
    )
    bundles[counted["bundle"].to_numpy(), mx.BUNDLE_SIMPLE_MINIMUM] = counted["minimum"].to_numpy()


def _records(rows: dict[str, Int64s]) -> Int64s:
    """Entries that need all their fields; (n, 8) int64, 64 bytes each."""
    method, value = rows["method"], rows["value"]
    hundred = np.int64(100 * MICROS)
    numerator = np.ones_like(value)
    denominator = np.ones_like(value)
    for code, (over, under) in {
        Method.DISCOUNT_PCT: (hundred - value, np.full_like(value, hundred)),
        Method.MULTIPLIER: (value, np.full_like(value, MICROS)),
        Method.MARKUP_PCT: (hundred + value, np.full_like(value, hundred)),
        Method.MARGIN_PCT: (np.full_like(value, hundred), hundred - value),
    }.items():
        chosen = method == code
        numerator[chosen], denominator[chosen] = over[chosen], under[chosen]
    common = np.gcd(numerator, denominator)
    packed = (
        rows["uom"]
        | method << mx.PACKED_METHOD_SHIFT
        | rows["zero"] << mx.PACKED_ZERO_SHIFT
        | rows["basis"] << mx.PACKED_BASIS_SHIFT
    )
    return _columns(
        rows["minimum"],
        value,
        rows["start"],
        rows["end"],
        rows["book_class"],
        packed,
        numerator // common,
        denominator // common,
    )


def _directory(bundle: Int64s, key: Int64s, bundles: Int64s, ordinals: _Ordinals) -> Arrays:
    """Each bundle's pages of item keys, sized to hold few cells, and the low bits of the keys in them."""
    cell_start, cell_end = _ranges(bundle, len(bundles))
    cells = cell_end - cell_start
    pages_wanted = np.maximum(1, cells // mx.DIRECTORY_CELLS_PER_PAGE)
    keys_per_page = np.maximum(1, ordinals.key_space // pages_wanted)
    shift = np.minimum(mx.DIRECTORY_SHIFT_MAX, [int(k).bit_length() - 1 for k in keys_per_page]).astype(
        np.int64
    )
    pages = ((ordinals.key_space - 1) >> shift) + 1
    starts = np.cumsum(pages + 1) - (pages + 1)
    page = starts[bundle] + (key >> shift[bundle])
    ends = np.cumsum(np.bincount(page + 1, minlength=int((pages + 1).sum())))
    items, every = len(ordinals.names["sku"]), ordinals.key_space - 1
    for flag, has in (
        (mx.LEVEL_ITEM, key < items),
        (mx.LEVEL_GROUP, (key >= items) & (key < every)),
        (mx.LEVEL_EVERY, key == every),
    ):
        bundles[np.unique(bundle[has]), mx.BUNDLE_LEVELS] |= flag
    bundles[:, mx.BUNDLE_SHIFT] = shift
    bundles[:, mx.BUNDLE_DIRECTORY] = starts
    bundles[:, mx.BUNDLE_CELLS] = cell_start
    bundles[:, mx.BUNDLE_CELL_COUNT] = cells
    return {
        "cell_directory": (ends - np.repeat(cell_start, pages + 1)).astype(np.uint32),
        "cell_low": (key & ((np.int64(1) << shift[bundle]) - 1)).astype(np.uint16),
    }

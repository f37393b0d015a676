"""Checks across tables: names that must exist, hierarchies, chains of basis books, kits (P1, P5, P7, A6).

The checks of a table run after those of the tables it names, so that rejections cascade: an entry of a rejected item
names an unknown SKU.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Final

import numpy as np
import polars as pl

from pricegrid.loaders.read.columns import ROW, decimal_text, quoted
from pricegrid.loaders.tables import CUSTOMER_LEVELS_MAX, GROUP_LEVELS_MAX
from pricegrid.loaders.validate.causes import NAME_SEPARATOR
from pricegrid.loaders.validate.graphs import NO_PARENT, UNKNOWN_PARENT, cyclic_edges, examine, long_edges
from pricegrid.loaders.validate.rules import SURCHARGES
from pricegrid.loaders.validate.state import Validation
from pricegrid.loaders.validate.windows import warn_overlaps
from pricegrid.pricing_engine.model import BASIS_LINKS_MAX, CLASSES_MAX, COST

_UNIT_PAIR: Final = ("sku", "uom")


@dataclass(frozen=True, slots=True)
class KnownNames:
    """The names that price entries may refer to; for a delta those of its base snapshot that it uses."""

    skus: pl.Series
    groups: pl.Series
    books: pl.Series
    classes: pl.Series
    units: pl.DataFrame
    """sku, uom: the base unit and every other unit of each item."""
    uoms: pl.Series
    """All units that any item has."""
    branches: pl.Series | None = None
    """None: the dataset has no branches, and prices may name any."""
    rounding: pl.DataFrame | None = None
    """book_id, rounding_increment_micros, rounding_mode: of the books that round to a multiple of more than 10^-6."""
    by_amount: pl.Series | None = None
    """The books whose breaks are amounts."""
    adding: pl.Series | None = None
    """The books of layers with mode `add`."""
    basis_edges: pl.DataFrame | None = None
    """source, target: books of the base snapshot whose entries have that basis book."""
    closed: bool = False
    """Whether price classes must be among `classes` too: a delta can't add any name to its base snapshot."""
    deletions_of_nothing: Callable[[pl.DataFrame], pl.Series] | None = None
    """Which rows of a delta delete an entry that the base snapshot doesn't have."""


@dataclass(frozen=True, slots=True)
class _Reference:
    column: str
    known: pl.Series
    noun: str

    @property
    def refers(self) -> tuple[str, pl.Expr] | None:
        """The table that has these names, and the name."""
        table = _TABLE_OF.get(self.noun.partition(":")[0])
        return None if table is None else (table, pl.col(self.column))


_TABLE_OF: Final = {
    "SKU": "items",
    "basis": "price_books",
    "branch": "branches",
    "calendar": "calendars",
    "customer": "customers",
    "layer": "layers",
    "price book": "price_books",
    "product group": "product_groups",
}


def _names(state: Validation, table: str, column: str) -> pl.Series:
    return state.frames[table][column]


def _check_names(state: Validation, table: str, references: Sequence[_Reference]) -> None:
    """Rejects rows that name something unknown."""
    frame = state.frames[table]
    references = [each for each in references if frame[each.column].null_count() < frame.height]
    if not references:
        return

    def unknown(reference: _Reference) -> pl.Expr:
        return (~pl.col(reference.column).is_in(reference.known.implode())).alias(reference.column)

    found = frame.select(unknown(r).any() for r in references)
    for reference, any_unknown in zip(references, found.row(0), strict=True):
        if any_unknown:
            broken = state.frames[table].select(unknown(reference)).to_series()
            reason = quoted(reference.column, f"is an unknown {reference.noun}")
            state.reject(table, broken, reference.column, reason, reference.refers)


def _branches(state: Validation, column: str = "branch") -> list[_Reference]:
    """A dataset without branches (prices only) may still name them where prices do."""
    return _stocking_branches(state, column) if state.given("branches") else []


def _stocking_branches(state: Validation, column: str = "branch") -> list[_Reference]:
    """Availability needs the branches themselves."""
    noun = "branch" if state.given("branches") else "branch: the dataset has no table branches"
    return [_Reference(column, _names(state, "branches", "branch"), noun)]


def _warn_classes(state: Validation, table: str, classes: pl.Series) -> None:
    """Classes have no table: one is known when a customer is in it, and naming another is only odd."""
    column = state.frames[table]["price_class"]
    if column.null_count() == len(column):
        return
    named = column.drop_nulls().unique()
    unknown = named.filter(~named.is_in(classes.implode()))
    state.warn_values(table, unknown.to_list(), "price classes that no customer is in")


def _check_hierarchy(
    state: Validation, table: str, child: str, parent: str, noun: str, depth_max: int | None
) -> None:
    frame = state.frames[table]
    if frame[parent].null_count() == frame.height:
        return
    index = pl.int_range(frame.height, dtype=pl.Int64, eager=True)
    found = frame[parent].replace_strict(frame[child], index, default=UNKNOWN_PARENT, return_dtype=pl.Int64)
    parents = pl.select(pl.when(frame[parent].is_null()).then(NO_PARENT).otherwise(found)).to_series()
    fault = examine(parents.to_numpy().astype(np.int64), depth_max)
    broken = fault.unknown | fault.cyclic | fault.deep | fault.below
    if not broken.any():
        return
    marked = pl.select(
        unknown=pl.lit(pl.Series(fault.unknown)), cyclic=pl.Series(fault.cyclic), deep=pl.Series(fault.deep)
    )
    state.frames[table] = frame.hstack(marked.select(pl.all().name.prefix("_")))
    reason = (
        pl.when(pl.col("_unknown"))
        .then(quoted(parent, f"is an unknown {noun}"))
        .when(pl.col("_cyclic"))
        .then(quoted(parent, f"leads back to this {noun}: a cycle"))
        .when(pl.col("_deep"))
        .then(quoted(parent, f"is too far down: more than {depth_max} levels"))
        .otherwise(quoted(parent, f"is rejected itself, or a {noun} above it is"))
    )
    state.reject(table, pl.Series(broken), parent, reason, (table, pl.col(parent)))
    state.frames[table] = state.frames[table].drop("_unknown", "_cyclic", "_deep")


def _groups(state: Validation) -> None:
    _check_hierarchy(state, "product_groups", "product_group", "parent", "product group", GROUP_LEVELS_MAX)


def _items(state: Validation) -> None:
    groups = _names(state, "product_groups", "product_group")
    _check_names(state, "items", [_Reference("product_group", groups, "product group")])
    _check_hierarchy(state, "items", "sku", "superseded_by", "item", None)


def _uoms(state: Validation) -> None:
    items = state.frames["items"]
    _check_names(state, "uoms", [_Reference("sku", items["sku"], "SKU")])
    frame = state.frames["uoms"].select(ROW, *_UNIT_PAIR, "numerator", "denominator")
    base = frame.join(items.select("sku", uom="base_uom"), on=_UNIT_PAIR, how="semi")
    other = base.filter(pl.col("numerator") != pl.col("denominator"))[ROW]
    if len(other):
        broken = state.frames["uoms"][ROW].is_in(other.implode())
        state.reject("uoms", broken, "numerator", quoted("uom", "is the base unit and must be 1/1"))


def _customers(state: Validation) -> None:
    _check_names(state, "customers", _branches(state))
    _check_hierarchy(state, "customers", "customer_id", "parent_id", "customer", CUSTOMER_LEVELS_MAX)


def _customer_classes(state: Validation) -> None:
    customers = _Reference("customer_id", _names(state, "customers", "customer_id"), "customer")
    _check_names(state, "customer_classes", [customers])
    frame = state.frames["customer_classes"]
    many = frame.select(pl.len().over("customer_id") >= CLASSES_MAX).to_series()
    words = f"has more than {CLASSES_MAX - 1} price classes"
    state.reject("customer_classes", many, "customer_id", quoted("customer_id", words))


def _classes(state: Validation) -> pl.Series:
    """Every price class that a customer is in."""
    tables = ("customers", "customer_classes")
    return pl.concat([_names(state, table, "price_class").drop_nulls() for table in tables]).unique()


def _books(state: Validation) -> None:
    if state.given("layers"):
        _check_names(state, "price_books", [_Reference("layer", _names(state, "layers", "layer"), "layer")])
    layers = state.frames["layers"]
    is_one_ladder = (pl.col("ladder") == "merge") | (pl.col("mode") == "add")
    books, unlike = state.frames["price_books"], layers.filter(is_one_ladder)["layer"].implode()
    for column, word in (("break_mode", "graduated"), ("break_on", "amount")):
        broken = books.select((pl.col(column) == word) & pl.col("layer").is_in(unlike)).to_series()
        if broken.any():
            words = "can't be in a layer of mode add or with merged ladders"
            state.reject("price_books", broken, column, quoted(column, words))
            books = state.frames["price_books"]


def _agreements(state: Validation) -> None:
    references = [
        _Reference("book_id", _names(state, "price_books", "book_id"), "price book"),
        _Reference("customer_id", _names(state, "customers", "customer_id"), "customer"),
    ]
    _check_names(state, "agreements", references)
    _warn_classes(state, "agreements", _classes(state))


def _costs(state: Validation) -> None:
    skus = _Reference("sku", _names(state, "items", "sku"), "SKU")
    _check_names(state, "costs", [skus, *_branches(state)])


def _entitlements(state: Validation) -> None:
    references = [
        _Reference("customer_id", _names(state, "customers", "customer_id"), "customer"),
        _Reference("sku", _names(state, "items", "sku"), "SKU"),
        _Reference("product_group", _names(state, "product_groups", "product_group"), "product group"),
    ]
    _check_names(state, "entitlements", references)
    _warn_classes(state, "entitlements", _classes(state))


def known_names(state: Validation) -> KnownNames:
    """The names of a full dataset, after the tables that define them have been checked."""
    items, uoms = state.frames["items"], state.frames["uoms"]
    return KnownNames(
        items["sku"],
        _names(state, "product_groups", "product_group"),
        _names(state, "price_books", "book_id"),
        _classes(state),
        units=pl.concat([items.select("sku", uom="base_uom"), uoms.select("sku", "uom")]),
        uoms=pl.concat([items["base_uom"].unique(), uoms["uom"].unique()]),
        branches=_names(state, "branches", "branch") if state.given("branches") else None,
        rounding=state.frames["price_books"]
        .filter((pl.col("rounding_increment_micros") > 1) & (pl.col("price_ending_micros").fill_null(0) == 0))
        .select("book_id", "rounding_increment_micros", "rounding_mode"),
        by_amount=state.frames["price_books"].filter(pl.col("break_on") == "amount")["book_id"],
        adding=_names(state, "price_books", "book_id").filter(
            _names(state, "price_books", "layer").is_in(
                state.frames["layers"].filter(pl.col("mode") == "add")["layer"].implode()
            )
        ),
    )


def check_entries(state: Validation, known: KnownNames) -> None:
    """Rejects entries that name something unknown, have a unit their items don't have, are rounded to zero by their
    book, or lie on a cycle or a too long chain of basis books (P5, P7, P9)."""
    table = "price_entries"
    references = [
        _Reference("book_id", known.books, "price book"),
        _Reference("sku", known.skus, "SKU"),
        _Reference("product_group", known.groups, "product group"),
    ]
    if known.branches is not None:
        references.append(_Reference("branch", known.branches, "branch"))
    if known.closed:
        references.append(_Reference("price_class", known.classes, "price class"))
        references.append(_Reference("uom", known.uoms, "unit of measure"))
    _check_names(state, table, references)
    if state.frames[table]["basis"].null_count() < state.frames[table].height:
        bases = pl.concat([known.books, pl.Series([COST])])
        _check_names(state, table, [_Reference("basis", bases, "basis: neither a price book nor cost")])
    _warn_classes(state, table, known.classes)
    _check_entry_units(state, known)
    _check_surcharges(state, known.adding)
    _check_amounts(state, known.by_amount)
    _check_rounded_to_zero(state, known.rounding)
    _check_basis_graph(state, known.basis_edges)


def _check_entry_units(state: Validation, known: KnownNames) -> None:
    frame = state.frames["price_entries"]
    if frame["uom"].null_count() == frame.height:
        return
    named = frame.filter(pl.col("uom").is_not_null()).select(ROW, *_UNIT_PAIR)
    of_items = named.filter(pl.col("sku").is_not_null()).join(known.units, on=_UNIT_PAIR, how="anti")
    of_groups = named.filter(pl.col("sku").is_null() & ~pl.col("uom").is_in(known.uoms.implode()))
    unknown = pl.concat([of_items[ROW], of_groups[ROW]])
    if len(unknown):
        broken = frame[ROW].is_in(unknown.implode())
        reason = (
            pl.when(pl.col("sku").is_not_null())
            .then(pl.format('"{}" is an unknown unit of item "{}"', "uom", "sku"))
            .otherwise(quoted("uom", "is a unit that no item has"))
        )
        unit = pl.concat_str("sku", "uom", separator=NAME_SEPARATOR)
        state.reject("price_entries", broken, "uom", reason, ("uoms", unit))


def _check_surcharges(state: Validation, adding: pl.Series | None) -> None:
    """Books of layers with mode `add` hold surcharges alone, no others do, and none is a basis (P16)."""
    table, books = "price_entries", (pl.Series([], dtype=pl.Utf8) if adding is None else adding).implode()
    is_surcharge, is_adding = pl.col("method").is_in(list(SURCHARGES)), pl.col("book_id").is_in(books)
    known_method = pl.col("method").is_not_null()
    needs = quoted("method", "needs a book in a layer of mode add")
    other = quoted("method", "is in a book of surcharges: its layer has mode add")
    basis = quoted("basis", "is a book of surcharges: its layer has mode add")
    for broken, column, reason in (
        (is_surcharge & ~is_adding, "method", needs),
        (~is_surcharge & known_method & is_adding, "method", other),
        (pl.col("basis").is_in(books), "basis", basis),
    ):
        rows = state.frames[table].select(broken.fill_null(value=False)).to_series()
        if rows.any():
            state.reject(table, rows, column, reason)


def _check_amounts(state: Validation, books: pl.Series | None) -> None:
    """Breaks that are amounts are compared with what the line costs by the entry's basis book (P19)."""
    if books is None or books.is_empty():
        return
    frame = state.frames["price_entries"]
    of_basis = pl.col("basis").is_not_null() & (pl.col("basis") != COST)
    is_break = pl.col("book_id").is_in(books.implode()) & (pl.col("min_quantity_micros") > 0)
    rows = frame.select(is_break & ~of_basis & pl.col("method").is_not_null()).to_series()
    if rows.any():
        words = "is an amount, and the entry has no basis book that says what a line amounts to"
        reason = pl.format('"{}" ' + words, decimal_text(pl.col("min_quantity_micros"), 6))
        state.reject("price_entries", rows, "min_quantity", reason)


def _check_rounded_to_zero(state: Validation, rounding: pl.DataFrame | None) -> None:
    """A net price is never zero without `explicit_zero`, after rounding either (P9)."""
    if rounding is None or rounding.is_empty():
        return
    value, increment, mode = (
        pl.col("value_micros"),
        pl.col("rounding_increment_micros"),
        pl.col("rounding_mode"),
    )
    to_zero = (
        pl.when(mode == "up")
        .then(value == 0)
        .when(mode == "down")
        .then(value < increment)
        .when(mode == "half_up")
        .then(value < increment - value)
        .otherwise(value <= increment - value)
    )
    frame = state.frames["price_entries"]
    net = frame.filter((pl.col("method") == "net") & ~pl.col("explicit_zero")).select(
        ROW, "book_id", "value_micros"
    )
    rows = net.join(rounding, on="book_id").filter(to_zero)[ROW]
    if len(rows):
        words = "is rounded to zero by its book's increment, without explicit_zero"
        reason = pl.format('"{}" ' + words, decimal_text(value, 6))
        state.reject("price_entries", frame[ROW].is_in(rows.implode()), "value", reason)


def _check_basis_graph(state: Validation, base_edges: pl.DataFrame | None) -> None:
    frame = state.frames["price_entries"]
    if frame["basis"].null_count() == frame.height:
        return
    edges = frame.select(source="book_id", target="basis").filter(pl.col("target") != COST)
    edges = edges.unique(maintain_order=True)
    if edges.is_empty():
        return
    if base_edges is not None:
        edges = pl.concat([base_edges.select("source", "target"), edges]).unique(maintain_order=True)
    cyclic = cyclic_edges(edges)
    _reject_edges(state, cyclic, "leads back to this book: a cycle of basis books")
    acyclic = edges.join(cyclic, on=["source", "target"], how="anti")
    words = f"begins a chain of more than {BASIS_LINKS_MAX} basis books"
    _reject_edges(state, long_edges(acyclic, BASIS_LINKS_MAX), words)


def _reject_edges(state: Validation, edges: pl.DataFrame, words: str) -> None:
    if edges.is_empty():
        return
    frame = state.frames["price_entries"]
    rows = frame.join(edges, left_on=["book_id", "basis"], right_on=["source", "target"], how="semi")[ROW]
    state.reject("price_entries", frame[ROW].is_in(rows.implode()), "basis", quoted("basis", words))


def _branch_table(state: Validation) -> None:
    calendars = _names(state, "calendars", "calendar")
    _check_names(state, "branches", [_Reference("calendar", calendars, "calendar")])


def _lanes(state: Validation) -> None:
    references = [*_stocking_branches(state, "from_branch"), *_stocking_branches(state, "to_branch")]
    _check_names(state, "lanes", references)


def _supply(table: str) -> Callable[[Validation], None]:
    def check(state: Validation) -> None:
        skus = _Reference("sku", _names(state, "items", "sku"), "SKU")
        _check_names(state, table, [skus, *_stocking_branches(state)])

    return check


def _feeds(state: Validation) -> None:
    _check_names(state, "feeds", _stocking_branches(state))
    frame = state.frames["feeds"]
    named = frame.filter(pl.col("measure").is_not_null())
    owners = named.group_by("branch", "measure").agg(pl.col("source").n_unique())
    disputed = owners.filter(pl.col("source") > 1)
    hit = frame.join(disputed, on=["branch", "measure"], how="semi")[ROW]
    words = "has another source at this branch too: no event of it could be told apart"
    state.reject("feeds", frame[ROW].is_in(hit.implode()), "measure", quoted("measure", words))


def _kits(state: Validation) -> None:
    """A kit that lost one component would promise too much, so the rows of a kit stand and fall together, and with them
    those of the kits it is part of (A6)."""
    skus = _names(state, "items", "sku")
    whole = state.frames["kits"]
    lost_before = _lost_kits(state)
    _check_names(
        state, "kits", [_Reference("kit_sku", skus, "SKU"), _Reference("component_sku", skus, "SKU")]
    )
    cyclic = cyclic_edges(whole.select(source="kit_sku", target="component_sku").unique(maintain_order=True))
    frame = state.frames["kits"]
    on_cycle = frame.join(
        cyclic, left_on=["kit_sku", "component_sku"], right_on=["source", "target"], how="semi"
    )
    broken = frame[ROW].is_in(on_cycle[ROW].implode())
    state.reject("kits", broken, "component_sku", quoted("component_sku", "contains this kit: a cycle"))
    lost = pl.concat([whole.join(state.frames["kits"], on=ROW, how="anti")["kit_sku"], lost_before]).unique()
    while len(lost):
        frame = state.frames["kits"]
        hit = [pl.col(c).is_in(lost.implode()) for c in ("kit_sku", "component_sku")]
        broken = frame.select(reduce(or_, hit)).to_series()
        lost_now, lost = lost, frame.filter(broken)["kit_sku"].unique()
        words = "another component of this kit, or a kit in it, is rejected"
        lost_kit = (
            pl.when(pl.col("component_sku").is_in(lost_now.implode()))
            .then("component_sku")
            .otherwise("kit_sku")
        )
        state.reject("kits", broken, "kit_sku", quoted("kit_sku", words), ("kits", lost_kit))


def _lost_kits(state: Validation) -> pl.Series:
    """Kits of which a row was rejected before the checks across tables."""
    raw = state.raws["kits"]
    parts = [raw.frame[state.rejected_rows("kits")]["kit_sku"]]
    if raw.broken is not None:
        parts.append(raw.broken["kit_sku"])
    return pl.concat([part.cast(pl.String).str.strip_chars() for part in parts]).drop_nulls()


def _entries(state: Validation) -> None:
    check_entries(state, known_names(state))
    warn_overlaps(state)


_CHECKS: Final[Mapping[str, Callable[[Validation], None]]] = {
    "product_groups": _groups,
    "items": _items,
    "uoms": _uoms,
    "branches": _branch_table,
    "customers": _customers,
    "customer_classes": _customer_classes,
    "price_books": _books,
    "agreements": _agreements,
    "price_entries": _entries,
    "costs": _costs,
    "entitlements": _entitlements,
    "lanes": _lanes,
    "stock": _supply("stock"),
    "allocations": _supply("allocations"),
    "receipts": _supply("receipts"),
    "demands": _supply("demands"),
    "safety_stock": _supply("safety_stock"),
    "feeds": _feeds,
    "kits": _kits,
}


def check_references(state: Validation) -> None:
    """Runs the checks of every table that the dataset has; `state.frames` holds a frame for each table, empty for those
    it hasn't."""
    for table, check in _CHECKS.items():
        if state.given(table) and state.frames[table].height:
            check(state)

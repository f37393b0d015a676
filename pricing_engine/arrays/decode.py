"""From a snapshot's arrays back to rows: the part of a dataset that one customer and one item need.

The explanation and the reference read the same arrays as the kernel, so all of them answer from the snapshot alone.
"""

import copy
from collections.abc import Iterator, Mapping
from fractions import Fraction

import numpy as np

from pricegrid.columnar.names import Names
from pricegrid.pricing_engine.arrays import matrix as mx
from pricegrid.pricing_engine.kernels.entries import (
    find_cell,
    first_entry_of,
    first_record,
    full_load_entries,
    ladder_at,
    record_at,
    records_of,
    value_of,
)
from pricegrid.pricing_engine.kernels.stack import STACK_ATTACHMENT, gather_stack
from pricegrid.pricing_engine.model import (
    ALWAYS_US,
    BASIS_LINKS_MAX,
    COST,
    CUSTOMER_DEPTH_MAX,
    GROUP_DEPTH_MAX,
    NEVER_US,
    Agreement,
    BelowMinimum,
    Book,
    BreakMode,
    BreakOn,
    Cost,
    Customer,
    CustomerClass,
    Entitlement,
    Entry,
    Item,
    Ladder,
    Layer,
    Method,
    Mode,
    PriceData,
    Rate,
    RoundingMode,
    Windows,
)


class Decoder:
    """Reads rows out of a `Matrix` and its name tables."""

    def __init__(self, matrix: mx.Matrix, names: Mapping[str, Names]) -> None:
        self._m = matrix
        self._names = names
        self._full_load = int(full_load_entries(matrix))
        self._layers = {
            names["layer"][i]: Layer(names["layer"][i], i, Mode(mode), Ladder(ladder))
            for i, (mode, ladder) in enumerate(matrix.layers.tolist())
        }

    def with_names(self, names: Mapping[str, Names]) -> "Decoder":
        """The same rows by other name tables."""
        other = copy.copy(self)
        other._names = names  # noqa: SLF001 -- its own
        return other

    def layer_ordinal(self, name: str) -> int:
        """A layer's index in the order of search."""
        return self._layers[name].rank

    def price_data(self, customer_id: str, sku: str) -> PriceData:
        """The rows that can matter to one customer and one item; unknown names leave their part empty."""
        m, names = self._m, self._names
        customers = self._ancestry(names["customer"].find(customer_id) if customer_id else -1)
        item = names["sku"].find(sku)
        if item < 0:
            return PriceData(customers=customers, layers=self._layers)
        row = m.items[item]
        units, costs = row[mx.ITEM_UNITS], row[mx.ITEM_COSTS]
        groups = list(self._groups(int(mx.item_group(row[mx.ITEM_NAMES]))))
        group_names = [names["product_group"][g] for g in groups]
        customer = names["customer"].find(customer_id) if customer_id else -1
        agreements = self._agreements(customer)
        levels = [item, *(len(m.items) + g for g in groups), len(m.items) + len(m.group_parents)]
        books, entries = self._books_and_entries(agreements, levels, sku, group_names)
        base_uom = names["uom"][mx.item_base_uom(row[mx.ITEM_NAMES])]
        return PriceData(
            items={
                sku: Item(
                    sku,
                    base_uom,
                    group_names[0] if group_names else None,
                    bool(mx.is_erp_item(row[mx.ITEM_NAMES])),
                    self._name("break_group", int(m.item_groups[item]) - 1) if len(m.item_groups) else None,
                )
            },
            group_parent=dict(zip(group_names, [*group_names[1:], None], strict=False)),
            uoms={
                (sku, names["uom"][u]): Fraction(n, d)
                for u, n, d in m.uoms[mx.run_start(units) : mx.run_end(units)].tolist()
            },
            customers=customers,
            layers=self._layers,
            books=books,
            agreements=agreements,
            entries=entries,
            costs={sku: tuple(self._costs(sku, int(mx.run_start(costs)), int(mx.run_end(costs))))},
            rates=tuple(self._rates()),
            entitlements=tuple(self._entitlements(customer, levels, sku, group_names)),
            customer_classes={
                customer_id: tuple(
                    CustomerClass(customer_id, names["price_class"][each], rank)
                    for each, rank in self._classes(customer)
                )
            },
        )

    def _name(self, table: str, ordinal: int) -> str | None:
        return self._names[table][ordinal] if ordinal >= 0 else None

    def _ancestry(self, customer: int) -> dict[str, Customer]:
        found: dict[str, Customer] = {}
        for _ in range(CUSTOMER_DEPTH_MAX + 1):
            if customer < 0:
                break
            parent, _, currency, branch = self._m.customers[customer].tolist()
            customer_id = self._names["customer"][customer]
            found[customer_id] = Customer(
                customer_id,
                self._names["currency"][currency],
                self._name("customer", parent),
                None,
                self._name("branch", branch),
            )
            customer = parent
        return found

    def _classes(self, customer: int) -> list[list[int]]:
        """(class, rank) of the customer's classes in order: its own or those it has from an ancestor (P18)."""
        if customer < 0:
            return []
        run = self._m.customers[customer, mx.CUSTOMER_CLASSES]
        return self._m.customer_classes[mx.run_start(run) : mx.run_end(run)].tolist()  # type: ignore[no-any-return]

    def _groups(self, group: int) -> Iterator[int]:
        for _ in range(GROUP_DEPTH_MAX):
            if group < 0:
                break
            yield group
            group = int(self._m.group_parents[group])

    def _agreements(self, customer: int) -> dict[str, tuple[Agreement, ...]]:
        """Every agreement of the customer's stack, by book, whatever its dates."""
        m = self._m
        found: dict[str, list[Agreement]] = {}
        customers, classes = len(m.customers), len(m.audience_starts) - 2 - len(m.customers)
        for attachment in gather_stack(m, customer)[:, STACK_ATTACHMENT].tolist():
            audience = int(np.searchsorted(m.audience_starts, attachment, "right")) - 1
            is_of_class = customers <= audience < customers + classes
            start, end = m.attachments[attachment, mx.ATTACHMENT_START :].tolist()
            for book, priority, valid_from, valid_to, inherit in m.agreements[start:end].tolist():
                book_id = self._names["book"][book]
                found.setdefault(book_id, []).append(
                    Agreement(
                        book_id,
                        self._names["customer"][audience] if audience < customers else None,
                        self._names["price_class"][audience - customers] if is_of_class else None,
                        audience == customers + classes,
                        priority,
                        valid_from,
                        valid_to,
                        bool(inherit),
                    )
                )
        return {book_id: tuple(rows) for book_id, rows in found.items()}

    def _book(self, ordinal: int) -> Book:
        row = self._m.books[ordinal].tolist()
        over, under = row[mx.BOOK_FLOOR_NUMERATOR], row[mx.BOOK_FLOOR_DENOMINATOR]
        return Book(
            self._names["book"][ordinal],
            self._names["layer"][row[mx.BOOK_LAYER]],
            self._names["currency"][row[mx.BOOK_CURRENCY]],
            row[mx.BOOK_FROM],
            row[mx.BOOK_TO],
            BelowMinimum(row[mx.BOOK_BELOW_MINIMUM]),
            row[mx.BOOK_INCREMENT],
            RoundingMode(row[mx.BOOK_ROUNDING]),
            1 - Fraction(under, over) if under else None,
            Windows(row[mx.BOOK_WINDOWS]),
            row[mx.BOOK_ENDING],
            BreakMode(row[mx.BOOK_BREAKS] & mx.GRADUATED),
            BreakOn.AMOUNT if row[mx.BOOK_BREAKS] & mx.ON_AMOUNT else BreakOn.QUANTITY,
            self._name("break_group", row[mx.BOOK_GROUP]),
        )

    def _books_and_entries(
        self, agreements: Mapping[str, object], levels: list[int], sku: str, groups: list[str]
    ) -> tuple[dict[str, Book], dict[str, tuple[Entry, ...]]]:
        """The books of the stack and those their entries are based on, with their entries for the item's levels."""
        books: dict[str, Book] = {}
        entries: dict[str, tuple[Entry, ...]] = {}
        wanted = set(agreements)
        for _ in range(BASIS_LINKS_MAX + 1):
            for book_id in sorted(wanted - set(books)):
                ordinal = self._names["book"].find(book_id)
                books[book_id] = self._book(ordinal)
                entries[book_id] = tuple(self._entries(ordinal, book_id, levels, sku, groups))
            wanted = {e.basis for rows in entries.values() for e in rows if e.basis and e.basis != COST}
        for book_id in wanted - set(books):  # beyond the longest chain: named, never asked
            books[book_id] = self._book(self._names["book"].find(book_id))
        return books, entries

    def _entries(
        self, book: int, book_id: str, levels: list[int], sku: str, groups: list[str]
    ) -> Iterator[Entry]:
        m = self._m
        bundle = int(m.books[book, mx.BOOK_BUNDLE])
        targets = [(sku, None), *((None, group) for group in groups), (None, None)]
        flags = [mx.LEVEL_ITEM, *[mx.LEVEL_GROUP] * len(groups), mx.LEVEL_EVERY]
        for key, flag, (of_sku, of_group) in zip(levels, flags, targets, strict=True):
            cell = find_cell(m, bundle, np.int64(key), flag)
            if cell < 0:
                continue
            ordinal, value = int(first_entry_of(m, cell)), int(value_of(m, cell))
            if value >= 0:
                minimum = int(m.bundles[bundle, mx.BUNDLE_SIMPLE_MINIMUM])
                yield self._plain(book_id, of_sku, of_group, minimum, value, ordinal)
                continue
            first, end = records_of(value)
            if -(value + 1) & 1 == 0:
                for at in range(first, end):
                    minimum, price = (int(ladder_at(m, at, column)) for column in range(2))
                    yield self._plain(book_id, of_sku, of_group, minimum, price, ordinal + at - first)
                continue
            low = first_record(m, first, end, book << 32)
            high = first_record(m, first, end, (book + 1) << 32)
            for at in range(low, high):
                yield self._record(at, book_id, of_sku, of_group, ordinal + at - first)

    def _plain(
        self, book_id: str, sku: str | None, group: str | None, minimum: int, price: int, ordinal: int
    ) -> Entry:
        return Entry(
            book_id,
            sku,
            group,
            None,
            None,
            minimum,
            Method.NET,
            price,
            explicit_zero=price == 0,
            entry_id=self.entry_id(ordinal),
            ordinal=ordinal,
            valid_from_us=ALWAYS_US,
            valid_to_us=NEVER_US,
        )

    def _record(self, at: int, book_id: str, sku: str | None, group: str | None, ordinal: int) -> Entry:
        minimum, value, start, end, book_class, packed = (int(record_at(self._m, at, c)) for c in range(6))
        basis = packed >> mx.PACKED_BASIS_SHIFT
        return Entry(
            book_id,
            sku,
            group,
            self._name("price_class", (book_class >> mx.CLASS_SHIFT & mx.CLASS_MASK) - 1),
            self._name("uom", (packed & 0xFFFF) - 1),
            minimum,
            Method(packed >> mx.PACKED_METHOD_SHIFT & 15),
            value,
            COST if basis == mx.BASIS_COST else self._name("book", basis - mx.BASIS_BOOK),
            start,
            end,
            bool(packed >> mx.PACKED_ZERO_SHIFT & 1),
            self.entry_id(ordinal),
            ordinal,
            packed >> mx.PACKED_PER_SHIFT & mx.PER_MASK,
            self._name("branch", (book_class & mx.BRANCH_MASK) - 1),
        )

    def entry_id(self, ordinal: int) -> str:
        """An entry's id by its ordinal, '' if the dataset gave none."""
        if ordinal < self._full_load:
            names, index = self._names["entry_id"], ordinal
        else:
            names, index = self._names["delta_entry_id"], ordinal - self._full_load
        return names[index] if index < len(names) else ""

    def _costs(self, sku: str, start: int, end: int) -> Iterator[Cost]:
        for branch, valid_from, cost, currency in self._m.costs[start:end].tolist():
            yield Cost(sku, cost, self._names["currency"][currency], self._name("branch", branch), valid_from)

    def _rates(self) -> Iterator[Rate]:
        currency = self._names["currency"]
        for pair, valid_from, numerator, denominator in self._m.rates.tolist():
            yield Rate(
                currency[pair >> 32],
                currency[pair & 0xFFFFFFFF],
                Fraction(numerator, denominator),
                valid_from,
            )

    def _entitlements(
        self, customer: int, levels: list[int], sku: str, groups: list[str]
    ) -> Iterator[Entitlement]:
        m = self._m
        if customer < 0:
            return
        owners: list[tuple[int, str | None, str | None]] = [
            (self._names["customer"].find(each), each, None) for each in self._ancestry(customer)
        ]
        for price_class, _ in self._classes(customer):
            owners.append((len(m.customers) + price_class, None, self._names["price_class"][price_class]))
        targets = [(sku, None), *((None, group) for group in groups), (None, None)]
        key_space = len(m.items) + len(m.group_parents) + 1
        for owner, of_customer, of_class in owners:
            for key, (of_sku, of_group) in zip(levels, targets, strict=True):
                wanted = owner * key_space + key
                at = int(np.searchsorted(m.entitlements[:, mx.ENTITLEMENT_KEY], wanted))
                if at < len(m.entitlements) and m.entitlements[at, mx.ENTITLEMENT_KEY] == wanted:
                    allowed = bool(m.entitlements[at, mx.ENTITLEMENT_ALLOWED])
                    yield Entitlement(of_customer, of_class, of_sku, of_group, allowed)

"""Turn the UCI "Online Retail" invoices into a Pricegrid dataset.

    python examples/online_retail/build.py --data ../shared/data/online-retail --out DATASET

The invoices are all we have, so the price books are read back from them, from the general to the special:

1. `retail`: what lines without a customer paid (the shop's web orders, VAT included): everyone's price.
2. `list`: what lines with a customer paid in most cases, with the quantity breaks they show; agreed with every country.
3. a book for each country, where several of its customers paid the same other price.
4. a book for each customer who paid something else again: windows from the invoice that shows a price to the
   first invoice that shows another, with a quantity break where the price depends on quantity.

A price that the books above already give is never repeated in a book below. Prices are int64 micros, instants
int64 microseconds UTC; invoice times are taken as Europe/London local time.
"""

import argparse
import json
import lzma
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby, pairwise
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

MICROS = 1_000_000
ALWAYS_US = -(2**62)
NEVER_US = 2**62
TIME_ZONE = "Europe/London"
CURRENCY = "GBP"
SOURCE = "online-retail-by-day.csv.xz"

# Codes whose amount a clerk types: postage of web orders, fees, discounts, samples, corrections. Not list prices.
TYPED_BY_HAND = ("AMAZONFEE", "B", "BANK CHARGES", "CRUK", "D", "DOT", "M", "S", "m")

# Lines a change of price must explain better before it counts as a change: low where nothing below can correct it.
LIST_SWITCH_COST = 4
RETAIL_SWITCH_COST = 1
COUNTRY_SWITCH_COST = 3
BREAK_MIN_GAIN = 5  # lines that a quantity break must explain better than one price
COUNTRY_MIN_CUSTOMERS = 2

LAYERS = (("contract", 10), ("country", 20), ("list", 90), ("retail", 95))


ENTRY_SCHEMA = dict.fromkeys(
    ("book_id", "sku", "min_quantity", "method", "value", "valid_from", "valid_to", "entry_id"), pl.Utf8
)


@dataclass(frozen=True, slots=True)
class Window:
    """One price ladder of one key, valid in [from_us, to_us). `steps` are (minimum quantity, price) upward."""

    from_us: int
    to_us: int
    steps: tuple[tuple[int, int], ...]

    def price(self, quantity: int) -> int | None:
        """Price in micros at a whole quantity, or None below the first step."""
        found = None
        for minimum, price in self.steps:
            if minimum > quantity:
                break
            found = price
        return found


Book = dict[str, list[Window]]  # sku -> windows in order of time, not overlapping


def price_at(windows: Sequence[Window], at_us: int, quantity: int) -> int | None:
    """What a book's windows of one SKU give at an instant and whole quantity."""
    for window in windows:
        if window.from_us <= at_us < window.to_us:
            return window.price(quantity)
    return None


# ---------------------------------------------------------------------------------------------- reading


def read_lines(data: Path) -> pl.DataFrame:
    """All invoice lines in file order: invoice, sku, description, quantity, at_us, price_micros, customer, country."""
    with lzma.open(data / SOURCE) as packed:
        raw = pl.read_csv(packed.read(), infer_schema=False, encoding="utf8-lossy")
    local = pl.col("InvoiceDate").str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us")
    # A time that the clock skipped or showed twice raises here: the shop is shut at night, so there is none.
    instant = local.dt.replace_time_zone(TIME_ZONE, ambiguous="raise", non_existent="raise")
    return raw.select(
        invoice=pl.col("InvoiceNo"),
        sku=pl.col("StockCode"),
        description=pl.col("Description").str.strip_chars(),
        quantity=pl.col("Quantity").cast(pl.Int64),
        at_us=instant.dt.epoch("us"),
        price_micros=(pl.col("UnitPrice").cast(pl.Decimal(24, 6)) * MICROS).cast(pl.Int64),
        customer=pl.col("CustomerID").str.strip_suffix(".0").fill_null(""),
        country=pl.col("Country"),
    )


def priced_lines(lines: pl.DataFrame) -> pl.DataFrame:
    """Lines that can show a price: positive, and not an amount typed by hand; with the size of the quantity."""
    return lines.filter((pl.col("price_micros") > 0) & ~pl.col("sku").is_in(TYPED_BY_HAND)).with_columns(
        size=pl.col("quantity").abs()
    )


# ---------------------------------------------------------------------------------------------- windows

Sighting = tuple[int, int, int]  # (instant, price, lines that show it)


def dominant_prices(sightings: Iterable[Sighting], switch_cost: int) -> list[tuple[int, int]]:
    """The price history [(from_us, price)] that explains most lines, each change costing `switch_cost` lines.

    Sightings come in order of time. Best path over states = prices: only the prices seen at an instant gain, so one
    step per sighting is enough; the other paths are brought up to date when their price is seen again.
    """
    score: dict[int, int] = {}
    path: dict[int, tuple[int, int, Any]] = {}  # price -> (from_us, price, path before)
    best, best_path = 0, None
    for at_us, group in groupby(sightings, key=itemgetter(0)):
        seen = []
        for _, price, count in group:
            kept, trail = score.get(price, 0), path.get(price, (ALWAYS_US, price, None))
            if best_path is not None and best - switch_cost > kept:
                kept, trail = best - switch_cost, (at_us, price, best_path)
            seen.append((price, kept + count, trail))
        for price, total, trail in seen:
            score[price], path[price] = total, trail
            if total > best:
                best, best_path = total, trail
    history: list[tuple[int, int]] = []
    while best_path is not None:
        history.append((best_path[0], best_path[1]))
        best_path = best_path[2]
    return history[::-1]


def quantity_breaks(sizes: np.ndarray, prices: np.ndarray, counts: np.ndarray) -> list[int]:
    """Quantities from which a lower price is usual: splits that explain at least BREAK_MIN_GAIN lines more."""
    quantities, rows = np.unique(sizes, return_inverse=True)
    levels, columns = np.unique(prices, return_inverse=True)
    table = np.zeros((len(quantities), len(levels)), dtype=np.int64)
    np.add.at(table, (rows, columns), counts)

    def split(low: int, high: int) -> list[int]:
        if high - low < 2:
            return []
        below = np.cumsum(table[low:high], axis=0)
        above = below[-1] - below
        gain = below.max(axis=1) + above.max(axis=1) - below[-1].max()
        gain[below.argmax(axis=1) <= above.argmax(axis=1)] = 0  # a break lowers the price
        at = int(gain.argmax())
        if gain[at] < BREAK_MIN_GAIN:
            return []
        middle = low + at + 1
        return [*split(low, middle), int(quantities[middle]), *split(middle, high)]

    return split(0, len(quantities))


def ladder_windows(rows: Sequence[tuple[int, int, int]], switch_cost: int) -> list[Window]:
    """Windows of one SKU from its (instant, size, price) lines in order of time."""
    at, sizes, prices = (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
    breaks = [0, *quantity_breaks(sizes, prices, np.ones_like(sizes))]
    bands = np.searchsorted(breaks, sizes, side="right") - 1
    histories = []
    for band in range(len(breaks)):
        mine = bands == band
        histories.append(dominant_prices(count_sightings(at[mine], prices[mine]), switch_cost))
    starts = sorted({from_us for history in histories for from_us, _ in history})
    windows: list[Window] = []
    for index, start in enumerate(starts):
        steps: list[tuple[int, int]] = []
        for minimum, history in zip(breaks, histories, strict=True):
            price = [value for from_us, value in history if from_us <= start][-1]
            if not steps or price < steps[-1][1]:
                steps.append((minimum, price))
        end = starts[index + 1] if index + 1 < len(starts) else NEVER_US
        if windows and windows[-1].steps == tuple(steps):
            windows[-1] = Window(windows[-1].from_us, end, windows[-1].steps)
        else:
            windows.append(Window(start, end, tuple(steps)))
    return windows


def count_sightings(at: np.ndarray, prices: np.ndarray) -> Iterator[Sighting]:
    """Equal (instant, price) pairs counted, in order of time, the price seen most first."""
    pairs: dict[tuple[int, int], int] = {}
    for pair in zip(at.tolist(), prices.tolist(), strict=True):
        pairs[pair] = pairs.get(pair, 0) + 1
    ordered = sorted(pairs.items(), key=lambda item: (item[0][0], -item[1], item[0][1]))
    return ((at_us, price, count) for (at_us, price), count in ordered)


def derive_book(lines: pl.DataFrame, switch_cost: int) -> Book:
    """One book for all SKUs of these lines."""
    book: Book = {}
    ordered = lines.sort("sku", "at_us", maintain_order=True).select("sku", "at_us", "size", "price_micros")
    for sku, rows in groupby(ordered.iter_rows(), key=itemgetter(0)):
        book[sku] = ladder_windows([row[1:] for row in rows], switch_cost)
    return book


def derive_country(lines: pl.DataFrame) -> Book:
    """What a country's customers pay other than `base_micros`, where at least two of them do."""
    book: Book = {}
    ordered = lines.sort("sku", "at_us", maintain_order=True)
    columns = ("sku", "at_us", "customer", "price_micros", "base_micros")
    for sku, group in groupby(ordered.select(columns).iter_rows(), key=itemgetter(0)):
        rows = list(group)
        # A line at the base price stands for "no price of the country": state 0.
        states = np.array([0 if price == base else price for *_, price, base in rows], dtype=np.int64)
        at = np.array([row[1] for row in rows], dtype=np.int64)
        history = [*dominant_prices(count_sightings(at, states), COUNTRY_SWITCH_COST), (NEVER_US, 0)]
        windows = []
        for (start, price), (end, _) in pairwise(history):
            payers = {row[2] for row in rows if start <= row[1] < end and row[3] == price}
            if price and len(payers) >= COUNTRY_MIN_CUSTOMERS:
                windows.append(Window(start, end, ((0, price),)))
        if windows:
            book[sku] = windows
    return book


# ---------------------------------------------------------------------------------------------- contracts

Paid = tuple[int, int, int]  # (size, price, base price) of one line


def contract_steps(lines: Sequence[Paid]) -> tuple[tuple[int, int], ...] | None:
    """The one ladder that prices these lines, or None if there is none.

    It begins at the smallest line with a price of its own, and from there on each quantity has one price that never
    rises. Smaller lines are at the base price: then the ladder's first break is that smallest line, otherwise 0.
    """
    special = [size for size, price, base in lines if price != base]
    if not special:
        return None
    first = min(special)
    prices: dict[int, int] = {}
    for size, price, _ in lines:
        if size >= first and prices.setdefault(size, price) != price:
            return None
    steps = [(first if any(size < first for size, _, _ in lines) else 0, prices[first])]
    for size in sorted(prices):
        if prices[size] > steps[-1][1]:
            return None
        if prices[size] < steps[-1][1]:
            steps.append((size, prices[size]))
    return tuple(steps)


def consistent_lines(lines: Sequence[Paid]) -> list[Paid]:
    """Of the lines of one instant those that one ladder can price, the most frequent first."""
    if contract_steps(lines) is not None or all(price == base for _, price, base in lines):
        return list(lines)
    kept: list[Paid] = []
    for line in sorted(set(lines), key=lambda line: (-lines.count(line), line[1] != line[2], line)):
        trial = [*kept, line]
        if contract_steps(trial) is not None or all(price == base for _, price, base in trial):
            kept = trial
    return kept


def contract_windows(rows: Iterable[tuple[int, int, int, int]]) -> list[Window]:
    """Windows of one customer and SKU from (instant, size, price, base price) in order of time.

    A window opens at the first line with a price of its own and stays open while one ladder prices all its lines.
    """
    windows: list[Window] = []
    opened, lines = 0, list[Paid]()
    steps: tuple[tuple[int, int], ...] | None = None
    for at_us, group in groupby(rows, key=itemgetter(0)):
        now = consistent_lines([row[1:] for row in group])
        longer = contract_steps([*lines, *now]) if steps else None
        if longer:
            lines, steps = [*lines, *now], longer
            continue
        if steps:
            windows.append(Window(opened, at_us, steps))
        opened, lines, steps = at_us, now, contract_steps(now)
    if steps:
        windows.append(Window(opened, NEVER_US, steps))
    return windows


def derive_contracts(lines: pl.DataFrame) -> dict[str, Book]:
    """A book for each customer who ever paid something other than `base_micros`."""
    ordered = lines.sort("customer", "sku", "at_us", maintain_order=True)
    columns = ("customer", "sku", "at_us", "size", "price_micros", "base_micros")
    books: dict[str, Book] = {}
    for (customer, sku), group in groupby(ordered.select(columns).iter_rows(), key=itemgetter(0, 1)):
        windows = contract_windows(row[2:] for row in group)
        if windows:
            books.setdefault(customer, {})[sku] = windows
    return books


# ---------------------------------------------------------------------------------------------- the dataset


@dataclass(frozen=True, slots=True)
class Books:
    """All derived books: everyone's, the trade list, by country, by customer; and each customer's country."""

    retail: Book
    trade_list: Book
    countries: dict[str, Book]
    contracts: dict[str, Book]
    country_of: dict[str, str]

    def price(self, customer: str, sku: str, at_us: int, size: int) -> int | None:
        """The price in micros that the dataset gives, layer by layer; '' asks as everyone."""
        stack = [self.retail]
        if customer:
            country = self.countries.get(self.country_of[customer], {})
            stack = [self.contracts.get(customer, {}), country, self.trade_list, self.retail]
        answers = (price_at(book.get(sku, ()), at_us, size) for book in stack)
        return next((price for price in answers if price is not None), None)


def with_base(lines: pl.DataFrame, books: Books) -> pl.DataFrame:
    """`lines` with `base_micros`: what the books so far would ask."""
    asked = lines.select("customer", "sku", "at_us", "size").iter_rows()
    return lines.with_columns(base_micros=pl.Series([books.price(*ask) for ask in asked], dtype=pl.Int64))


def derive_books(lines: pl.DataFrame) -> Books:
    """All books from all invoice lines, from the general to the special."""
    seen = priced_lines(lines)
    named = seen.filter(pl.col("customer") != "")
    home = (
        lines.filter(pl.col("customer") != "")
        .group_by("customer", "country")
        .len()
        .sort("customer", "len", "country", descending=[False, True, False])
        .unique("customer", keep="first", maintain_order=True)
    )
    country_of = dict(home.select("customer", "country").iter_rows())
    retail = derive_book(seen.filter(pl.col("customer") == ""), RETAIL_SWITCH_COST)
    books = Books(retail, derive_book(named, LIST_SWITCH_COST), {}, {}, country_of)
    named = with_base(named, books).with_columns(country=pl.col("customer").replace_strict(country_of))
    for (country,), rows in sorted(named.partition_by("country", as_dict=True, maintain_order=True).items()):
        if book := derive_country(rows):
            books.countries[country] = book
    books.contracts.update(derive_contracts(with_base(named, books)))
    return books


def decimal_text(micros: int) -> str:
    """10^-6 units as the shortest decimal."""
    whole, part = divmod(micros, MICROS)
    return f"{whole}.{part:06d}".rstrip("0").rstrip(".")


def instant_text(at_us: int) -> str:
    """RFC 3339 in UTC; blank for an open end."""
    if at_us in {ALWAYS_US, NEVER_US}:
        return ""
    return datetime.fromtimestamp(at_us // MICROS, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def book_entries(book_id: str, book: Book) -> Iterator[tuple[str | None, ...]]:
    """`price_entries` rows of one book, in order of SKU, time and quantity."""
    for sku, windows in sorted(book.items()):
        steps = ((window, minimum, price) for window in windows for minimum, price in window.steps)
        for number, (window, minimum, price) in enumerate(steps, 1):
            dates = (instant_text(window.from_us), instant_text(window.to_us))
            yield (
                book_id,
                sku,
                str(minimum),
                "net",
                decimal_text(price),
                *dates,
                f"{book_id}/{sku}/{number}",
            )


def dataset_tables(lines: pl.DataFrame, books: Books) -> dict[str, pl.DataFrame]:
    """The dataset's tables, as text columns."""
    named = [(f"country/{country}", "country", book) for country, book in sorted(books.countries.items())]
    named += [
        (f"customer/{customer}", "contract", book) for customer, book in sorted(books.contracts.items())
    ]
    named = [("retail", "retail", books.retail), ("list", "list", books.trade_list), *named]
    entries = [row for book_id, _, book in named for row in book_entries(book_id, book)]
    countries = sorted(set(books.country_of.values()))
    agreements = [("retail", "", "", "true"), *(("list", "", country, "") for country in countries)]
    agreements += [(f"country/{country}", "", country, "") for country in sorted(books.countries)]
    agreements += [(f"customer/{customer}", customer, "", "") for customer in sorted(books.contracts)]
    described = lines.filter(pl.col("description").str.len_chars() > 0)
    items = (
        lines.select("sku")
        .unique()
        .join(
            described.group_by("sku", "description")
            .len()
            .sort("sku", "len", "description", descending=[False, True, False])
            .unique("sku", keep="first", maintain_order=True)
            .select("sku", "description"),
            on="sku",
            how="left",
        )
    )
    return {
        "items": items.sort("sku").select("sku", base_uom=pl.lit("EA"), description="description"),
        "customers": pl.DataFrame(
            [(customer, CURRENCY, country) for customer, country in sorted(books.country_of.items())],
            schema=["customer_id", "currency", "price_class"],
            orient="row",
        ),
        "layers": pl.DataFrame(
            [(layer, str(rank), "first", "owner") for layer, rank in LAYERS],
            schema=["layer", "rank", "mode", "ladder"],
            orient="row",
        ),
        "price_books": pl.DataFrame(
            [(book_id, layer, CURRENCY) for book_id, layer, _ in named],
            schema=["book_id", "layer", "currency"],
            orient="row",
        ),
        "agreements": pl.DataFrame(
            agreements, schema=["book_id", "customer_id", "price_class", "everyone"], orient="row"
        ),
        "price_entries": pl.DataFrame(entries, schema=ENTRY_SCHEMA, orient="row"),
    }


def summary(lines: pl.DataFrame, books: Books, tables: dict[str, pl.DataFrame]) -> dict[str, int]:
    """Counts for the report: what was derived, and how many lines it prices as invoiced."""
    asked = lines.select("customer", "sku", "at_us", pl.col("quantity").abs(), "price_micros")
    exact = sum(books.price(*ask) == paid for *ask, paid in asked.iter_rows())
    special = [window for book in books.contracts.values() for windows in book.values() for window in windows]
    resting = Counter(contract_window(books, *row) for row in asked.iter_rows())
    by_layer = tables["price_entries"].join(tables["price_books"], on="book_id").group_by("layer").len()
    return {
        "lines": lines.height,
        "lines priced as invoiced": exact,
        "items": tables["items"].height,
        "customers": tables["customers"].height,
        "country books": len(books.countries),
        "customer books": len(books.contracts),
        "customer windows": len(special),
        "customer windows that rest on one line": sum(
            count == 1 for window, count in resting.items() if window
        ),
        "lines in customer windows": sum(count for window, count in resting.items() if window),
        **{f"entries in layer {layer}": count for layer, count in by_layer.sort("layer").iter_rows()},
    }


def contract_window(
    books: Books, customer: str, sku: str, at_us: int, size: int, paid_micros: int
) -> tuple[str, str, int] | None:
    """Names the customer's own window that prices a line as paid, or None."""
    for window in books.contracts.get(customer, {}).get(sku, ()):
        if window.from_us <= at_us < window.to_us and window.price(size) == paid_micros:
            return customer, sku, window.from_us
    return None


def build(data: Path, out: Path) -> dict[str, int]:
    """Read the invoices in `data`, write the dataset to `out`, return the counts of the report."""
    lines = read_lines(data)
    books = derive_books(lines)
    tables = dataset_tables(lines, books)
    out.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        table.write_csv(out / f"{name}.csv")
    return summary(lines, books, tables)


def main() -> None:
    parser = argparse.ArgumentParser(description="Turn the Online Retail invoices into a Pricegrid dataset.")
    parser.add_argument("--data", type=Path, required=True, help=f"folder that holds {SOURCE}")
    parser.add_argument("--out", type=Path, required=True, help="dataset folder to write")
    parser.add_argument("--json", action="store_true", help="print the counts as JSON")
    args = parser.parse_args()
    counts = build(args.data, args.out)
    print(
        json.dumps(counts)
        if args.json
        else "\n".join(f"{value:>9,}  {name}" for name, value in counts.items())
    )


if __name__ == "__main__":
    main()

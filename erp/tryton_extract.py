"""The nightly extract of Tryton: items, units, customers, price lists, exchange rates, stock and open moves as tables.

Every price list becomes a price book, and every customer gets an agreement with its book, or with that of list prices.
An item that a list prices in a way that a dataset can't represent gets `price_source` `erp`: its prices are requested
in real time.
"""

from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from pricegrid.columnar.instants import instant_us_text
from pricegrid.erp.instants import business_date
from pricegrid.erp.protocol import ErpAnswerError, Extract, Refusal
from pricegrid.erp.tryton_prices import (
    PRICE_STEP,
    ListedItem,
    ListLine,
    NotExtractableError,
    PriceList,
    Rung,
    ladders,
)
from pricegrid.erp.tryton_rpc import TrytonRpc, TrytonSettings
from pricegrid.erp.tryton_stock import open_moves, quantities

LAYER: Final = "price_list"
LIST_BOOK: Final = "LIST"
_FACTOR_MAX: Final = 9_000_000_000_000
_RATE_DENOMINATOR_MAX: Final = 1000
"""An inch is exactly 0.0254 m; its rate, 39.370078740157, is rounded and not a ratio for a table."""
Row = dict[str, str]
Rows = list[dict[str, Any]]


class _Reading:
    """Reads the records of one extract and makes the tables."""

    def __init__(self, rpc: TrytonRpc, settings: TrytonSettings, as_of_us: int, deadline_s: float) -> None:
        self._rpc = rpc
        self._settings = settings
        self._deadline_s = deadline_s
        self._today = business_date(as_of_us, settings.time_zone)
        self._as_of = instant_us_text(as_of_us)
        self.tables: dict[str, list[Row]] = {}
        self.remarks: list[str] = []
        self._products: dict[int, dict[str, Any]] = {}
        self._from_erp: set[int] = set()

    async def _rows(self, model: str, fields: list[str], domain: list[object] | None = None) -> Rows:
        return await self._rpc.rows(self._deadline_s, model, domain or [], fields)

    async def read(self) -> None:
        """Reads everything and fills `tables`."""
        self._uoms = {
            row["id"]: row
            for row in await self._rows("product.uom", ["symbol", "name", "category", "factor", "rate"])
        }
        self._factors = {record: unit_factor(row) for record, row in self._uoms.items()}
        await self._read_products()
        currency, config_list = await self._read_money()
        await self._read_customers(currency, config_list)
        await self._read_prices(currency)
        self._fill_items()
        await self._read_stock()

    async def _read_products(self) -> None:
        fields = ["code", "default_uom", "sale_uom", "list_price_used", "cost_price", "type", "template.name"]
        fields.append("template.categories_all")
        for row in await self._rows("product.product", fields):
            if row["code"]:
                self._products[row["id"]] = row
            else:
                self.remarks.append(f"item {row['template.']['name']!r} has no code and is left out")
        self._parents = {row["id"]: row["parent"] for row in await self._rows("product.category", ["parent"])}

    def _fill_items(self) -> None:
        self.tables["items"] = [
            {
                "sku": row["code"],
                "base_uom": self._uom(row["default_uom"]),
                "description": row["template."]["name"],
                "price_source": "erp" if record in self._from_erp else "matrix",
            }
            for record, row in self._products.items()
        ]
        self.tables["uoms"] = uoms = []
        for row in self._products.values():
            own = self._factors[row["default_uom"]]
            for record, other in self._uoms.items():
                if (
                    other["category"] != self._uoms[row["default_uom"]]["category"]
                    or record == row["default_uom"]
                ):
                    continue
                factor = self._factors[record] / own
                if max(factor.numerator, factor.denominator) > _FACTOR_MAX:
                    self.remarks.append(
                        f"unit {self._uom(record)} of {row['code']} is beyond what a table holds"
                    )
                    continue
                uoms.append(
                    {
                        "sku": row["code"],
                        "uom": self._uom(record),
                        "numerator": str(factor.numerator),
                        "denominator": str(factor.denominator),
                    }
                )

    def _uom(self, record: int) -> str:
        return str(self._uoms[record][self._settings.uom])

    async def _read_money(self) -> tuple[str, int | None]:
        """Fills the exchange rates; returns (the company's currency, the default price list)."""
        companies = await self._rows("company.company", ["currency"], [["id", "=", self._rpc.company]])
        self._currencies = {row["id"]: row["code"] for row in await self._rows("currency.currency", ["code"])}
        own = companies[0]["currency"]
        rates: dict[int, list[tuple[date, Decimal]]] = {}
        for row in await self._rows("currency.currency.rate", ["currency", "date", "rate"]):
            rates.setdefault(row["currency"], []).append((row["date"], row["rate"]))
        self.tables["exchange_rates"] = list(self._exchange_rates(own, rates))
        configured = await self._rpc.model(
            self._deadline_s, "sale.configuration", "read", [1], ["sale_price_list"]
        )
        return self._currencies[own], configured[0]["sale_price_list"]

    def _exchange_rates(self, own: int, rates: Mapping[int, list[tuple[date, Decimal]]]) -> Iterable[Row]:
        base = sorted(rates.get(own, ()))
        for currency, dated in rates.items():
            if currency == own:
                continue
            for day in sorted({day for day, _ in (*dated, *base)}):
                ours, theirs = _rate_at(base, day), _rate_at(sorted(dated), day)
                if not theirs or (base and not ours):
                    continue
                rate = theirs / (ours or 1)
                if rate != round(rate, 12):
                    self.remarks.append(
                        f"the rate to {self._currencies[currency]} of {day} is cut to 12 decimals"
                    )
                yield {
                    "from_currency": self._currencies[own],
                    "to_currency": self._currencies[currency],
                    "rate": f"{round(rate, 12):f}",
                    "valid_from": day.isoformat(),
                }

    async def _read_customers(self, currency: str, config_list: int | None) -> None:
        fields = ["code", "name", "sale_price_list", "customer_currency"]
        self.tables["customers"], self.tables["agreements"] = customers, agreements = [], []
        for row in await self._rows("party.party", fields):
            code = row["code"]
            if not code:
                self.remarks.append(f"customer {row['name']!r} has no code and is left out")
                continue
            theirs = self._currencies.get(row["customer_currency"], currency)
            customers.append({"customer_id": code, "currency": theirs, "name": row["name"] or ""})
            price_list = row["sale_price_list"] or config_list
            book = book_id(price_list) if price_list else LIST_BOOK
            agreements.append({"book_id": book, "customer_id": code})

    async def _price_lists(self) -> list[PriceList]:
        lines: dict[int, list[dict[str, Any]]] = {}
        fields = [
            "price_list",
            "sequence",
            "product",
            "category",
            "quantity",
            "formula",
            "start_date",
            "end_date",
        ]
        for row in await self._rows("product.price_list.line", fields):
            lines.setdefault(row["price_list"], []).append(row)
        company: list[object] = [["company", "=", self._rpc.company]]
        rows = {
            row["id"]: row
            for row in await self._rows(
                "product.price_list", ["name", "unit", "price", "parent", "tax_included"], company
            )
        }
        made: dict[int, PriceList] = {}

        def make(record: int, below: frozenset[int]) -> PriceList:
            if record in made:
                return made[record]
            row = rows[record]
            parent = row["parent"]
            if parent in below:
                raise ErpAnswerError(Refusal.SCHEMA, f"price list {row['name']} is its own ancestor")
            made[record] = PriceList(
                record=record,
                name=row["name"],
                in_sale_unit=row["unit"] == "product_sale",
                unit_price=row["price"],
                lines=[_line(each) for each in sorted(lines.get(record, ()), key=_line_order)],
                parent=make(parent, below | {record}) if parent else None,
            )
            if row["tax_included"]:
                self.remarks.append(
                    f"price list {row['name']} includes taxes; its prices are taken as they are"
                )
            return made[record]

        return [make(record, frozenset({record})) for record in rows]

    async def _read_prices(self, currency: str) -> None:
        self.tables["layers"] = [{"layer": LAYER, "rank": "1"}]
        price_lists = await self._price_lists()
        items = {record: self._listed(record) for record in self._products}
        self.tables["price_books"] = [
            _book(book, name, currency)
            for book, name in [
                (LIST_BOOK, "List prices"),
                *((book_id(p.record), p.name) for p in price_lists),
            ]
        ]
        self.tables["price_entries"] = entries = []
        for record, item in items.items():
            sku = self._products[record]["code"]
            if item.list_price is not None:
                price = item.list_price.quantize(PRICE_STEP)
                entries.append(_entry(LIST_BOOK, sku, Rung(Decimal(0), price, 0, None, None)))
        for price_list in price_lists:
            for record, item in items.items():
                sku = self._products[record]["code"]
                try:
                    rungs = ladders(price_list, item)
                except NotExtractableError as error:
                    self._from_erp.add(record)
                    self.remarks.append(f"{sku} is asked from the ERP: {error}")
                    continue
                entries += [_entry(book_id(price_list.record), sku, rung) for rung in rungs]

    def _listed(self, record: int) -> ListedItem:
        row = self._products[record]
        categories = set()
        for category in row["template."]["categories_all"]:
            above: int | None = category
            while above is not None and above not in categories:
                categories.add(above)
                above = self._parents.get(above)
        sale, own = row["sale_uom"] or row["default_uom"], row["default_uom"]
        return ListedItem(
            record=record,
            list_price=row["list_price_used"],
            cost_price=row["cost_price"] if row["cost_price"] is not None else Decimal(0),
            categories=frozenset(categories),
            sale_unit=self._factors[sale] / self._factors[own],
        )

    async def _read_stock(self) -> None:
        warehouses = {
            row["id"]: row["code"]
            for row in await self._rows("stock.location", ["code", "name"], [["type", "=", "warehouse"]])
            if row["code"]
        }
        goods = [record for record, row in self._products.items() if row["type"] == "goods"]
        zone = self._settings.time_zone.key
        self.tables["branches"] = [{"branch": code, "time_zone": zone} for code in warehouses.values()]
        self.tables["feeds"] = [
            {"branch": code, "source": source, "as_of": self._as_of, "complete": "true"}
            for code in warehouses.values()
            for source in ("erp", "wms", "transit")
        ]
        self.tables["stock"] = stock = []
        for record, code in warehouses.items():
            found = await quantities(self._rpc, goods, record, self._today, self._deadline_s)
            stock += [
                {
                    "sku": self._products[product]["code"],
                    "branch": code,
                    "on_hand": f"{quantity:f}",
                    "as_of": self._as_of,
                }
                for product, quantity in found.items()
            ]
        await self._read_moves(warehouses)

    async def _read_moves(self, warehouses: Mapping[int, str]) -> None:
        self.tables["receipts"], self.tables["demands"], self.tables["allocations"] = [], [], []
        days = self._settings.stock_days
        for move in await open_moves(self._rpc, self._today, days, self._deadline_s):
            if move.product not in self._products:
                continue
            sku, quantity = self._products[move.product]["code"], f"{move.quantity:f}"
            name = f"move-{move.record}"
            if move.day < self._today:
                self.remarks.append(
                    f"{name} of {sku} is late since {move.day}: rule A3 re-dates it, Tryton's forecast ignores it"
                )
            if (target := warehouses.get(move.target or 0)) is not None:
                kind = "transfer" if move.source else "purchase"
                row = {"sku": sku, "branch": target, "quantity": quantity, "kind": kind}
                self.tables["receipts"].append(row | {"expected_at": move.day.isoformat(), "reference": name})
            if (source := warehouses.get(move.source or 0)) is None:
                continue
            if move.assigned:
                row = {"sku": sku, "branch": source, "allocated": quantity, "as_of": self._as_of}
                self.tables["allocations"].append(row | {"order_ref": name})
            else:
                row = {"sku": sku, "branch": source, "quantity": quantity, "order_ref": name}
                self.tables["demands"].append(row | {"due_at": move.day.isoformat()})


async def extract(rpc: TrytonRpc, settings: TrytonSettings, as_of_us: int, deadline_s: float) -> Extract:
    """Reads all tables as of now. Raises `ErpError`."""
    reading = _Reading(rpc, settings, as_of_us, deadline_s)
    await reading.read()
    return Extract(reading.tables, settings.time_zone.key, tuple(dict.fromkeys(reading.remarks)))


def book_id(price_list: int) -> str:
    """The book of a price list."""
    return f"PL-{price_list}"


def unit_factor(row: Mapping[str, Any]) -> Fraction:
    """The base units of its category in one unit, from the more exact of Tryton's factor and rate that fits a table."""
    factor, rate = Fraction(row["factor"]), Fraction(row["rate"])
    if factor <= 0 or rate <= 0:
        raise ErpAnswerError(Refusal.SCHEMA, f"unit {row['name']!r} has a factor of {row['factor']}")
    return 1 / rate if rate > factor and rate.denominator <= _RATE_DENOMINATOR_MAX else factor


def _rate_at(dated: list[tuple[date, Decimal]], day: date) -> Decimal | None:
    return next((rate for since, rate in reversed(dated) if since <= day), None)


def _line_order(row: Mapping[str, Any]) -> tuple[bool, int, int]:
    """Tryton's order of lines: by sequence, lines without one first, then by id."""
    sequence = row["sequence"]
    return sequence is not None, sequence or 0, row["id"]


def _line(row: Mapping[str, Any]) -> ListLine:
    quantity = row["quantity"]
    return ListLine(
        record=row["id"],
        formula=row["formula"],
        product=row["product"],
        category=row["category"],
        quantity=None if quantity is None else Decimal(quantity),
        start=row["start_date"],
        end=row["end_date"],
    )


def _book(book: str, name: str, currency: str) -> Row:
    return {
        "book_id": book,
        "layer": LAYER,
        "currency": currency,
        "rounding_increment": f"{PRICE_STEP:f}",
        "rounding_mode": "half_even",
        "name": name,
    }


def _entry(book: str, sku: str, rung: Rung) -> Row:
    return {
        "book_id": book,
        "sku": sku,
        "min_quantity": f"{rung.minimum:f}",
        "method": "net",
        "value": f"{rung.price:f}",
        "valid_from": rung.start.isoformat() if rung.start else "",
        "valid_to": rung.end.isoformat() if rung.end else "",
        "explicit_zero": "false" if rung.price else "true",
        "entry_id": f"line-{rung.line}" if rung.line else "list-price",
    }

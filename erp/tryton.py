"""The Tryton adapter: prices and stock in real time; `erp.tryton_extract` reads the tables at night.

One call of `product.product.read` returns the prices of many items for one customer, quantity, unit, currency and date,
so questions are batched by these. Tryton echoes the item; the customer is looked up separately. It does not echo
currency and unit, which are passed by id.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from time import monotonic
from typing import Any, Final

from pricegrid.columnar.instants import day_start_us
from pricegrid.erp.batching import batches_of
from pricegrid.erp.http_client import JsonClient
from pricegrid.erp.instants import business_date
from pricegrid.erp.protocol import (
    ErpUnavailableError,
    Extract,
    LineFailure,
    PriceReply,
    Refusal,
    StockQuestion,
    StockReply,
)
from pricegrid.erp.settings import ErpSettings
from pricegrid.erp.tryton_rpc import TrytonRpc, TrytonSettings, encode_date, records
from pricegrid.erp.tryton_stock import OpenMove, lowest_balance, open_moves, quantities
from pricegrid.pricing_engine.model import MICROS, PriceQuestion

_ANONYMOUS: Final = ""
PRODUCTS: Final = "product.product"


@dataclass(frozen=True, slots=True)
class _Item:
    record: int
    uom: int
    uom_category: int


@dataclass(frozen=True, slots=True)
class _Customer:
    record: int | None
    price_list: int | None


@dataclass(slots=True)
class _Names:
    """Ids by name as of `read_at_s`; items are added when they are first requested."""

    read_at_s: float
    uoms: Mapping[tuple[int, str], int]
    """By category and name."""
    uom_categories: Mapping[int, int]
    currencies: Mapping[str, int]
    warehouses: Mapping[str, int]
    default_price_list: int | None
    items: dict[str, _Item | None] = field(default_factory=dict)


class TrytonAdapter:
    """See `erp.protocol.ErpAdapter`. Made in the event loop that uses it."""

    def __init__(self, settings: ErpSettings) -> None:
        self.name = settings.name
        self._settings = TrytonSettings.read(settings.source)
        self.time_zone = self._settings.time_zone
        self._client = JsonClient(
            answer_bytes_max=settings.limits.answer_bytes_max,
            connections_max=settings.limits.concurrent_max + 1,
            ca_file=self._settings.ca_file,
        )
        self._rpc = TrytonRpc(self._settings, self._client)
        self._known: _Names | None = None

    def price_batches(self, questions: Sequence[PriceQuestion]) -> list[list[int]]:
        """By customer, quantity, unit, currency and date, with no item twice in a batch."""
        keys = [self._price_key(question) for question in questions]
        return batches_of(keys, [question.sku for question in questions], self._settings.batch_lines_max)

    def _price_key(self, question: PriceQuestion) -> tuple[str, int, str, str, date]:
        day = business_date(question.as_of_us, self._settings.time_zone)
        return question.customer_id, abs(question.quantity_micros), question.uom, question.currency, day

    async def prices(
        self, questions: Sequence[PriceQuestion], deadline_s: float
    ) -> list[PriceReply | LineFailure]:
        """See `ErpAdapter`."""
        first = questions[0]
        day = business_date(first.as_of_us, self._settings.time_zone)
        names = await self._names(deadline_s)
        customer = await self._customer(names, first.customer_id, deadline_s)
        items = await self._items(names, [question.sku for question in questions], deadline_s)
        if customer is None:
            failure = LineFailure(Refusal.OTHER_CUSTOMER, f"Tryton has no customer {first.customer_id}")
            return [failure] * len(questions)
        asked = {
            index: (item, uom)
            for index, question in enumerate(questions)
            if (item := items.get(question.sku)) is not None
            and (uom := names.uoms.get((item.uom_category, question.uom))) is not None
        }
        currency = names.currencies.get(first.currency)
        found: dict[int, Mapping[str, Any]] = {}
        for uom in (
            {uom for _, uom in asked.values()} if currency is not None else ()
        ):  # one, but for namesakes
            context = {
                "customer": customer.record,
                "price_list": customer.price_list,
                "quantity": Decimal(abs(first.quantity_micros)) / MICROS,
                "currency": currency,
                "date": encode_date(day),
                "sale_date": encode_date(day),
                "company": self._rpc.company,
                "uom": uom,
            }
            ids = [item.record for item, unit in asked.values() if unit == uom]
            rows = await self._rpc.model(
                deadline_s, PRODUCTS, "read", ids, ["code", "sale_price_uom"], context=context
            )
            found |= {row["id"]: row for row in records(rows)}
        until_us = day_start_us(day + timedelta(days=1), self._settings.time_zone)
        return [
            self._reply(
                question, asked.get(index), found, known_currency=currency is not None, until_us=until_us
            )
            for index, question in enumerate(questions)
        ]

    @staticmethod
    def _reply(
        question: PriceQuestion,
        asked: tuple[_Item, int] | None,
        found: Mapping[int, Mapping[str, Any]],
        *,
        known_currency: bool,
        until_us: int,
    ) -> PriceReply | LineFailure:
        if not known_currency:
            return LineFailure(Refusal.CURRENCY, f"Tryton has no currency {question.currency}")
        if asked is None:
            return LineFailure(
                Refusal.OTHER_ITEM, f"Tryton has no item {question.sku} with a unit {question.uom}"
            )
        row = found.get(asked[0].record)
        if row is None:
            return LineFailure(Refusal.OTHER_ITEM, f"Tryton's answer leaves {question.sku} out")
        price = row.get("sale_price_uom")
        if price is not None and not isinstance(price, Decimal):
            return LineFailure(Refusal.SCHEMA, f"the price of {question.sku} is {price!r}")
        return PriceReply(
            sku=row.get("code"),
            customer_id=question.customer_id,
            uom=None,
            currency=None,
            unit_price=price,
            valid_until_us=until_us,
        )

    def stock_batches(self, questions: Sequence[StockQuestion]) -> list[list[int]]:
        """By warehouse, because Tryton adds up the warehouses of a call."""
        batches: dict[tuple[str, int], list[int]] = {}
        counts: dict[str, int] = {}
        for index, question in enumerate(questions):
            number = counts.get(question.branch, 0)
            counts[question.branch] = number + 1
            key = (question.branch, number // self._settings.batch_lines_max)
            batches.setdefault(key, []).append(index)
        return list(batches.values())

    async def stock(
        self, questions: Sequence[StockQuestion], deadline_s: float
    ) -> list[StockReply | LineFailure]:
        """Today's on-hand quantity, and the lowest balance after the open moves of the next `stock_days`."""
        names = await self._names(deadline_s)
        items = await self._items(names, [question.sku for question in questions], deadline_s)
        branch = questions[0].branch
        warehouse = names.warehouses.get(branch)
        if warehouse is None:
            return [LineFailure(Refusal.OTHER_BRANCH, f"Tryton has no warehouse {branch}")] * len(questions)
        ids = sorted({item.record for q in questions if (item := items.get(q.sku)) is not None})
        today = business_date(questions[0].as_of_us, self._settings.time_zone)
        on_hand: Mapping[int, Decimal] = {}
        moves: Sequence[OpenMove] = ()
        if ids:
            on_hand = await quantities(self._rpc, ids, warehouse, today, deadline_s)
            moves = await open_moves(self._rpc, today, self._settings.stock_days, deadline_s, products=ids)
        replies: list[StockReply | LineFailure] = []
        for question in questions:
            item = items.get(question.sku)
            if item is None or item.record not in on_hand:
                replies.append(LineFailure(Refusal.OTHER_ITEM, f"Tryton has no item {question.sku}"))
                continue
            there = on_hand[item.record]
            lowest = lowest_balance(there, (m for m in moves if m.product == item.record), warehouse, today)
            replies.append(StockReply(question.sku, branch, there, lowest))
        return replies

    async def extract(self, as_of_us: int, deadline_s: float) -> Extract:
        """See `ErpAdapter`."""
        from pricegrid.erp.tryton_extract import extract

        return await extract(self._rpc, self._settings, as_of_us, deadline_s)

    async def ping(self, deadline_s: float) -> None:
        """Counts currencies, which needs a session, the database and the server."""
        await self._rpc.model(deadline_s, "currency.currency", "search_count", [])

    async def close(self) -> None:
        """Closes the connections; the session expires by itself."""
        await self._client.close()

    async def _names(self, deadline_s: float) -> _Names:
        known = self._known
        if known is not None and monotonic() - known.read_at_s < self._settings.names_ttl_s:
            return known
        at_s = monotonic()
        uoms = await self._rpc.rows(deadline_s, "product.uom", [], ["symbol", "name", "category"])
        currencies = await self._rpc.rows(deadline_s, "currency.currency", [], ["code"])
        warehouses = await self._rpc.rows(
            deadline_s, "stock.location", [["type", "=", "warehouse"]], ["code"]
        )
        configured = await self._rpc.model(deadline_s, "sale.configuration", "read", [1], ["sale_price_list"])
        known = _Names(
            read_at_s=at_s,
            uoms={(row["category"], row[self._settings.uom]): row["id"] for row in uoms},
            uom_categories={row["id"]: row["category"] for row in uoms},
            currencies={row["code"]: row["id"] for row in currencies},
            warehouses={row["code"]: row["id"] for row in warehouses if row["code"]},
            default_price_list=records(configured)[0].get("sale_price_list"),
        )
        self._known = known
        return known

    async def _items(
        self, names: _Names, skus: Sequence[str], deadline_s: float
    ) -> Mapping[str, _Item | None]:
        missing = sorted({sku for sku in skus if names.items.get(sku) is None})
        if missing:
            rows = await self._rpc.rows(
                deadline_s, PRODUCTS, [["code", "in", missing]], ["code", "default_uom"]
            )
            for row in rows:
                category = names.uom_categories.get(row["default_uom"])
                if category is None:
                    raise ErpUnavailableError("Tryton has a unit that it did not list a moment ago")
                names.items[row["code"]] = _Item(row["id"], row["default_uom"], category)
        return names.items

    async def _customer(self, names: _Names, customer_id: str, deadline_s: float) -> _Customer | None:
        """Read each time, so that a change of a customer's price list takes effect as soon as a change of a price."""
        if customer_id == _ANONYMOUS:
            return _Customer(None, names.default_price_list)
        rows = await self._rpc.rows(
            deadline_s, "party.party", [["code", "=", customer_id]], ["code", "sale_price_list"]
        )
        found = [
            _Customer(row["id"], row["sale_price_list"] or names.default_price_list)
            for row in rows
            if row["code"] == customer_id
        ]
        return found[0] if found else None

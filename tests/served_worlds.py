"""A shop in several versions in which every figure differs, requests of it, and their answers by the plain references.

Nothing here asks the loader, the arrays or the kernels: an expected answer is what `pricing_engine.rules.reference`,
`atp.rules.reference` and `atp.rules.promising` say of the rows, put into the messages of the contract field by field.
"""

from collections import defaultdict
from dataclasses import dataclass
from datetime import date, datetime
from fractions import Fraction
from functools import cache
from random import Random

from pricegrid import v1
from pricegrid.atp.model import MICROS, AvailabilityStatus, Freshness, Source
from pricegrid.atp.rules.limited import LineTerms, whole_limit
from pricegrid.atp.rules.promising import OrderLine, Request, promise
from pricegrid.atp.rules.reference import Moment, check_pair, unit_factor
from pricegrid.atp.rules.rows import Branch, Feed, Item, Receipt, Stock
from pricegrid.atp.rules.rows import Rows as PlainSupply
from pricegrid.columnar.instants import day_date
from pricegrid.pricing_engine.model import NEVER_US, LineStatus, PriceData, PriceQuestion
from pricegrid.pricing_engine.rules.reference import resolve
from tests.atp_world import NOON, us
from tests.datasets import Rows
from tests.plain_prices import plain_data
from tests.stores import SKUS, stocked_rows

AS_OF_US = us(NOON)

# -- the shop ---------------------------------------------------------------------------------------------------------


def shop(number: int) -> Rows:
    """Version `number` of the shop of `stocked_rows`: list, contract, costs, rate, breaks and stock depend on it."""
    price = f"{10 + number}.{number + 1}7"
    rows = stocked_rows()
    for entry in rows["price_entries"]:
        entry["value"] = {"10": price, "9.5": f"{9 + number}.5", "1.25": f"1.{number + 1}5"}[entry["value"]]
    rows["price_entries"] += [
        {"book_id": "LIST", "sku": sku, "method": "net", "value": price}
        for sku in ("KIT", "BOLT", "PANEL", "OLD")
    ]
    rows["price_entries"] += [
        {"book_id": "LIST", "sku": "S0", "method": "net", "value": f"{8 + number}", "min_quantity": "100"},
        {"book_id": "LIST", "sku": "S2", "uom": "BOX", "method": "net", "value": f"{100 + number}.99"},
        {
            "book_id": "C1",
            "sku": "S7",
            "method": "discount_pct",
            "value": f"{12 + number}.5",
            "basis": "LIST",
        },
        {"book_id": "C1", "sku": "S8", "method": "markup_pct", "value": "33.333333", "basis": "cost"},
        {"book_id": "C1", "sku": "S9", "method": "discount_pct", "value": "60", "basis": "LIST"},
    ]
    rows["price_books"][1] |= {"floor_margin_pct": "20", "rounding_increment": "0.05", "rounding_mode": "up"}
    rows["costs"] = [
        {"sku": sku, "cost": f"{7 + number}.{number}1", "currency": "EUR"} for sku in ("S8", "S9")
    ]
    rows["exchange_rates"][0]["rate"] = f"16{number}.5"
    rows["uoms"].append({"sku": "S10", "uom": "THIRD", "numerator": "1", "denominator": "3"})
    stocked = {(row["sku"], row["branch"]) for row in rows["stock"]}
    rows["stock"] += [
        {"sku": sku, "branch": branch, "on_hand": str(at + 3 * number), "as_of": "2026-03-02T06:00:00Z"}
        for branch, first in (("HAM", 7), ("RTM", 12))
        for at, sku in enumerate(SKUS[first:], 5)
        if (sku, branch) not in stocked
    ]
    for row in rows["stock"]:
        if row["sku"] in {"S4", "S5", "BOLT"}:
            row["on_hand"] = str(int(row["on_hand"]) + number)
    rows["receipts"][0]["quantity"] = str(10 + number)
    return rows


def plain_prices(rows: Rows) -> PriceData:
    """The price tables as the reference takes them."""
    whole: defaultdict[str, list[dict[str, str]]] = defaultdict(list)
    for table, records in rows.items():
        whole[table] = [defaultdict(str, record) for record in records]
    return plain_data(whole, "UTC")


def plain_supply(rows: Rows) -> PlainSupply:
    """The supply tables as the reference takes them. Branches are in UTC, and receipts are due at midnight."""
    return PlainSupply(
        items={row["sku"]: Item(row["sku"], row["base_uom"]) for row in rows["items"]},
        uoms={
            (row["sku"], row["uom"]): Fraction(row["numerator"]) / Fraction(row["denominator"])
            for row in rows["uoms"]
        },
        branches={row["branch"]: Branch(row["branch"]) for row in rows["branches"]},
        stock={
            (row["sku"], row["branch"]): Stock(int(row["on_hand"]) * MICROS, _instant_us(row["as_of"]))
            for row in rows["stock"]
        },
        receipts={
            (row["sku"], row["branch"]): [
                Receipt(int(row["quantity"]) * MICROS, _instant_us(f"{row['expected_at']}T00:00:00Z"))
            ]
            for row in rows["receipts"]
        },
        feeds={
            (row["branch"], Source[row["source"].upper()]): Feed(_instant_us(row["as_of"]), complete=True)
            for row in rows["feeds"]
        },
        kits={
            kit: [
                (row["component_sku"], Fraction(row["quantity"]))
                for row in rows["kits"]
                if row["kit_sku"] == kit
            ]
            for kit in {row["kit_sku"] for row in rows["kits"]}
        },
    )


def _instant_us(text: str) -> int:
    return us(datetime.fromisoformat(text))


# -- the requests -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, and whether it is a simple one, which the fast path answers (`service.fast_path`)."""

    message: v1.PriceLinesRequest | v1.QuoteLinesRequest
    is_simple: bool

    @property
    def is_quote(self) -> bool:
        """Whether QuoteLines is asked; otherwise PriceLines."""
        return isinstance(self.message, v1.QuoteLinesRequest)


QUANTITIES = (
    *("1", "2", "4.5", "5", "9.999999", "10", "12", "99", "100", "250", "0.000001", "2000000"),
    *("-1", "-10", "-0.5", "0"),
)
UNITS = ("", "", "", "EA", "BOX", "THIRD", "PALLET")
CUSTOMERS = (("C1", ""), ("C2", ""), ("", "EUR"), ("C2", "EUR"), ("C1", "JPY"))
ITEMS = (*SKUS, "E1", "N1", "X1", "BOLT", "PANEL", "OLD", *(f"nothing {number}" for number in range(20)))


def random_requests(rng: Random, *, lines: int) -> list[Asked]:
    """Forty requests: prices of `lines` lines now and on a day; quotes of every item, simple or not."""
    asked = []
    for customer, currency in CUSTOMERS:
        who = {"customer_id": customer, "currency": currency}
        prices = v1.PriceLinesRequest(**who, lines=[_line(rng, rng.choice(ITEMS)) for _ in range(lines)])
        asked.append(Asked(prices, is_simple=True))
        prices = v1.PriceLinesRequest(**who, lines=[_line(rng, rng.choice(ITEMS)) for _ in range(lines)])
        prices.as_of_time.FromMicroseconds(AS_OF_US)
        asked.append(Asked(prices, is_simple=True))
        for branches in (["HAM"], ["RTM", "HAM"], []):
            once = rng.sample(ITEMS, len(ITEMS))  # an item twice, and a kit, take the general path
            twice = [rng.choice([*ITEMS, "KIT"]) for _ in range(lines)] + ["KIT", "S4", "S4"]
            for skus in (once, twice):
                quotes = v1.QuoteLinesRequest(
                    **who, branches=branches, lines=[_line(rng, sku) for sku in skus]
                )
                quotes.as_of_time.FromMicroseconds(AS_OF_US)
                is_stocked = bool(branches) or customer == "C1"
                asked.append(Asked(quotes, is_simple=skus is once or not is_stocked))
    return asked


def _line(rng: Random, sku: str) -> v1.PriceLine:
    return v1.PriceLine(
        sku=sku, quantity_micros=int(Fraction(rng.choice(QUANTITIES)) * MICROS), uom=rng.choice(UNITS)
    )


# -- the answers ------------------------------------------------------------------------------------------------------


class Expected:
    """What the references answer of one version of the shop."""

    def __init__(self, rows: Rows) -> None:
        self._prices, self._supply = plain_prices(rows), plain_supply(rows)
        self._price = cache(self._price_of)

    def answer(
        self, asked: Asked, snapshot_version: str, now_us: int
    ) -> v1.PriceLinesResponse | v1.QuoteLinesResponse:
        """The answer but for `snapshot_age_ms` and `correlation_id`."""
        request = asked.message
        as_of_us = request.as_of_time.ToMicroseconds() if request.HasField("as_of_time") else now_us
        own = self._prices.customers.get(request.customer_id)
        head = {
            "currency": request.currency or own.currency,
            "snapshot_version": snapshot_version,
            "as_of_us": as_of_us,
        }
        prices = [
            self._price(
                request.customer_id, request.currency, line.sku, line.quantity_micros, line.uom, as_of_us
            )
            for line in request.lines
        ]
        if isinstance(request, v1.PriceLinesRequest):
            return v1.PriceLinesResponse(results=prices, **head)
        branches = tuple(request.branches) or ((own.branch,) if own and own.branch else ())
        free = self._free(request, branches, as_of_us) if branches else [None] * len(prices)
        results = [
            v1.QuoteLineResult(price=price, availability=each)
            for price, each in zip(prices, free, strict=True)
        ]
        return v1.QuoteLinesResponse(results=results, **head)

    def _price_of(
        self, customer: str, currency: str, sku: str, quantity_micros: int, uom: str, as_of_us: int
    ) -> v1.PriceLineResult:
        found = resolve(
            self._prices,
            PriceQuestion(customer, sku, quantity_micros, as_of_us, uom, currency),
        )
        status = LineStatus.UNKNOWN_ITEM if found.status is LineStatus.NOT_ENTITLED else found.status
        result = v1.PriceLineResult(status=f"LINE_STATUS_{status.name}", converted=found.converted)
        if found.exception:
            result.exception = v1.ExceptionReason.Value(f"EXCEPTION_REASON_{found.exception.name}")
        if found.valid_until_us != NEVER_US:
            result.valid_until_us = found.valid_until_us
        if status is LineStatus.BELOW_MINIMUM:
            result.minimum_quantity_micros = found.minimum_quantity_micros
        if status is LineStatus.OK:
            result.source = v1.PriceSource.PRICE_SOURCE_MATRIX
            result.unit_price_micros = found.unit_price_micros
            result.extended_price_micros = found.extended_price_micros
            result.price_per = found.price_per if found.price_per > 1 else 0
            result.floor_lifted = found.offer.lifted
            result.book_id, result.entry_id = found.offer.book.book_id, found.offer.entry.entry_id
            result.layer = found.layer
        return result

    def _free(
        self, request: v1.QuoteLinesRequest, branches: tuple[str, ...], as_of_us: int
    ) -> list[v1.QuoteAvailability]:
        hidden = {
            line.sku: False
            for line in request.lines
            if line.sku in self._prices.items
            and resolve(
                self._prices,
                PriceQuestion(request.customer_id, line.sku, MICROS, as_of_us, "", request.currency),
            ).status
            is LineStatus.NOT_ENTITLED
        }
        moment = Moment(as_of_us)
        order = [OrderLine(line.sku, line.quantity_micros, line.uom) for line in request.lines]
        promised = promise(self._supply, order, Request(moment, branches=branches, hidden=hidden))
        results = []
        for line, its_promise in zip(order, promised, strict=True):
            pairs = [
                check_pair(self._supply, line.sku, line.quantity_micros, line.uom, branch, moment, hidden)
                for branch in branches
            ]
            status = pairs[0].status
            assert {pair.status for pair in pairs} == {status}  # all extracts are complete: no branch differs
            ages = [
                _oldest_age_ms([pair.source_as_of_us[source] for pair in pairs], as_of_us)
                for source in Source
            ]
            states = [max(pair.freshness[source] for pair in pairs) for source in Source]
            result = v1.QuoteAvailability(
                status=f"AVAILABILITY_STATUS_{status.name}", freshness=_freshness(states, ages)
            )
            if status is AvailabilityStatus.OK:
                free = sum(pair.available_micros for pair in pairs)
                result.available_micros, result.shortage_micros = free, max(0, line.quantity_micros - free)
                if not its_promise.shortage_micros:
                    last = max(part.pick_day for part in its_promise.parts)
                    result.promise_date = date.isoformat(day_date(last))
                result.limited_by = int(whole_limit(self._terms(line)))
            results.append(result)
        return results

    def _terms(self, line: v1.PriceLine) -> LineTerms:
        units = unit_factor(self._supply, line.sku, line.uom) if line.uom else Fraction(1)
        multiple = self._supply.items[line.sku].order_multiple_micros or 0
        return LineTerms(line.quantity_micros, units, bool(line.uom), multiple)


def _oldest_age_ms(instants_us: list[int], as_of_us: int) -> int:
    return max(0, as_of_us - min(instants_us)) // 1000


def _freshness(states: list[Freshness], ages_ms: list[int]) -> v1.Freshness:
    erp, wms, transit = (f"FRESHNESS_STATE_{state.name}" for state in states)
    result = v1.Freshness(erp=erp, wms=wms, transit=transit)
    for source, state, age in zip(("erp", "wms", "transit"), states, ages_ms, strict=True):
        if state is not Freshness.UNKNOWN:
            setattr(result, f"{source}_age_ms", age)
    return result

"""The adapter for ERPs with a JSON interface over HTTP (OData and the like), mapped by a TOML file: see docs/erp.md.

`examples/erp` has mappings for two ERPs. For prices, stock and each table a mapping has the URL, the body, the path to
the rows of the answer, and the paths to the members of a row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from urllib.parse import urljoin, urlsplit
from zoneinfo import ZoneInfo

from pricegrid.columnar.instants import day_start_us, us_of
from pricegrid.erp.batching import batches_of
from pricegrid.erp.http_client import JsonClient
from pricegrid.erp.http_login import Login, LoginSettings
from pricegrid.erp.instants import business_date
from pricegrid.erp.protocol import (
    ErpAnswerError,
    ErpConfigError,
    Extract,
    LineFailure,
    PriceReply,
    Refusal,
    StockQuestion,
    StockReply,
)
from pricegrid.erp.settings import ErpSettings, Section
from pricegrid.erp.templates import (
    MISSING,
    at_path,
    check_template,
    fill_body,
    fill_url,
    placeholders,
    put_at,
    text_of,
)
from pricegrid.pricing_engine.model import MICROS, PriceQuestion

_PRICE_VALUES: Final = ("sku", "skus", "customer_id", "uom", "currency", "quantity", "date")
_STOCK_VALUES: Final = ("sku", "skus", "branch", "date")
_PRICE_FIELDS: Final = (
    "sku",
    "customer_id",
    "uom",
    "currency",
    "unit_price",
    "valid_until",
    "min_quantity",
    "valid_from",
)
_STOCK_FIELDS: Final = ("sku", "branch", "on_hand", "available", "committed")
_OPTIONAL: Final = frozenset({"min_quantity", "valid_from", "valid_until"})
"""Members that may be missing from a row, which means no limit."""
PAGES_MAX: Final = 100_000

Values = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """How to ask one kind of question and read its answer."""

    path: str
    """After `base_url`."""
    method: str = "GET"
    body: Mapping[str, Any] | None = None
    line: Mapping[str, Any] | None = None
    """The template of a line, for a body with many lines."""
    lines: str = ""
    """The path of the lines in the body."""
    rows: str = ""
    """The path of the rows in the answer; an object there counts as one row."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """Paths into a row, by our names."""
    absent: str = "failure"
    """The meaning of an answer without a row: `failure` or `no_price`."""
    next: str = ""
    """For tables: the path of the URL of the next page."""
    constants: Mapping[str, str] = field(default_factory=dict)
    """For tables: columns with the same text in every row."""

    @property
    def shared(self) -> set[str]:
        """The values that all lines of a call share."""
        return placeholders(self.path) | placeholders(self.body)

    @classmethod
    def read(cls, section: Section, values: Sequence[str], fields: Sequence[str] | None) -> "Endpoint":
        """Reads the table; `fields` None allows any column. Raises ErpConfigError."""
        endpoint = cls(
            path=section.text("path"),
            method=section.word("method", ("GET", "POST", "PUT"), "GET"),
            body=section.table("body"),
            line=section.table("line"),
            lines=section.optional("lines") or "",
            rows=section.optional("rows") or "",
            fields=section.texts("fields"),
            absent=section.word("absent", ("failure", "no_price"), "failure"),
            next=section.optional("next") or "",
            constants=section.texts("constants"),
        )
        for key in ("path", "body", "line"):
            check_template(section.name(key), getattr(endpoint, key), values)
        unknown = sorted(endpoint.fields.keys() - set(fields or endpoint.fields))
        if unknown:
            raise ErpConfigError(
                f"{section.name('fields')}.{unknown[0]} is not known; known are {', '.join(fields or ())}"
            )
        if (endpoint.line is None) != (not endpoint.lines):
            raise ErpConfigError(f"{section.name('line')} and {section.name('lines')} go together")
        section.done()
        return endpoint


@dataclass(frozen=True, slots=True)
class HttpJsonSettings:
    """`[http_json]`."""

    base_url: str
    login: LoginSettings
    time_zone: ZoneInfo
    batch_lines_max: int
    prices: Endpoint
    stock: Endpoint | None
    tables: Mapping[str, Endpoint]
    ping: str
    headers: Mapping[str, str]
    uoms: Mapping[str, str | int] | None
    """The ERP's names of our units; None: the same names. Lines with an unmapped unit are not asked."""
    ca_file: str | None

    @classmethod
    def read(cls, section: Section) -> "HttpJsonSettings":
        """Reads the table; raises ErpConfigError."""
        base_url = section.text("base_url")
        if not base_url.startswith(("http://", "https://")):
            raise ErpConfigError(f"{section.name('base_url')} must begin with http:// or https://")
        prices = Endpoint.read(section.section("prices"), _PRICE_VALUES, _PRICE_FIELDS)
        stock = None
        if "stock" in section:
            stock = Endpoint.read(section.section("stock"), _STOCK_VALUES, _STOCK_FIELDS)
        tables = section.section("tables")
        settings = cls(
            base_url=base_url,
            login=LoginSettings.read(section.section("authentication")),
            time_zone=section.zone("time_zone"),
            batch_lines_max=section.integer("batch_lines_max", 1, low=1, high=10_000),
            prices=prices,
            stock=stock,
            tables={name: Endpoint.read(tables.section(name), (), None) for name in tables.names()},
            ping=section.text("ping", prices.path.partition("?")[0]),
            headers=section.texts("headers"),
            uoms=_uoms(section),
            ca_file=section.optional("ca_file"),
        )
        check_template(section.name("ping"), settings.ping, ())
        for endpoint, name, needed in (
            (prices, "prices", "unit_price"),
            (stock, "stock", "on_hand"),
        ):
            if endpoint and needed not in endpoint.fields:
                raise ErpConfigError(f"{section.name(name)}.fields.{needed} is missing")
            if endpoint and settings.batch_lines_max > 1 and "sku" not in endpoint.fields:
                raise ErpConfigError(
                    f"{section.name(name)}.fields.sku is missing: without it batch_lines_max must be 1"
                )
        section.done()
        return settings


def _uoms(section: Section) -> Mapping[str, str | int] | None:
    uoms = section.table("uoms")
    for name, value in (uoms or {}).items():
        if not isinstance(value, (str, int)) or isinstance(value, bool) or value == "":
            raise ErpConfigError(f"{section.name('uoms')}.{name} must be a text or a whole number")
    return uoms


class HttpJsonAdapter:
    """See `erp.protocol.ErpAdapter`. Made in the event loop that uses it."""

    def __init__(self, settings: ErpSettings) -> None:
        self.name = settings.name
        self._settings = HttpJsonSettings.read(settings.source)
        self.time_zone = self._settings.time_zone
        self._client = JsonClient(
            answer_bytes_max=settings.limits.answer_bytes_max,
            connections_max=settings.limits.concurrent_max + 1,
            ca_file=self._settings.ca_file,
            cookies=self._settings.login.kind == "session",
            headers=self._settings.headers,
        )
        self._login = Login(self._settings.login, self._settings.base_url, self._client)

    def price_batches(self, questions: Sequence[PriceQuestion]) -> list[list[int]]:
        """Questions with equal values of everything that the lines of a call share."""
        return self._batches(self._settings.prices, [self._price_values(q) for q in questions])

    def stock_batches(self, questions: Sequence[StockQuestion]) -> list[list[int]]:
        """As `price_batches`; empty if the mapping has no stock."""
        endpoint = self._settings.stock
        return self._batches(endpoint, [self._stock_values(q) for q in questions]) if endpoint else []

    def _batches(self, endpoint: Endpoint, values: Sequence[Values]) -> list[list[int]]:
        shared = sorted(endpoint.shared - {"skus"})
        keys = [tuple(each[name] for name in shared) for each in values]
        return batches_of(keys, [each["sku"] for each in values], self._settings.batch_lines_max)

    def _price_values(self, question: PriceQuestion) -> Values:
        return {
            "sku": question.sku,
            "customer_id": question.customer_id,
            "uom": self._uom(question),
            "currency": question.currency,
            "quantity": (Decimal(abs(question.quantity_micros)) / MICROS).normalize() + 0,
            "date": business_date(question.as_of_us, self._settings.time_zone).isoformat(),
        }

    def _uom(self, question: PriceQuestion) -> str | int:
        uoms = self._settings.uoms
        return question.uom if uoms is None else uoms.get(question.uom, "")

    def _stock_values(self, question: StockQuestion) -> Values:
        day = business_date(question.as_of_us, self._settings.time_zone)
        return {"sku": question.sku, "branch": question.branch, "date": day.isoformat()}

    async def prices(
        self, questions: Sequence[PriceQuestion], deadline_s: float
    ) -> list[PriceReply | LineFailure]:
        """See `ErpAdapter`."""
        asked = [question for question in questions if self._uom(question) != ""]
        rows: Sequence[Any] = ()
        if asked:
            values = [self._price_values(question) for question in asked]
            rows = await self._ask(self._settings.prices, values, deadline_s)
        return [
            self._price(question, rows)
            if self._uom(question) != ""
            else LineFailure(Refusal.UNIT, f"the mapping has no unit {question.uom}")
            for question in questions
        ]

    async def stock(
        self, questions: Sequence[StockQuestion], deadline_s: float
    ) -> list[StockReply | LineFailure]:
        """See `ErpAdapter`."""
        endpoint = self._settings.stock
        if endpoint is None:
            raise ErpConfigError(f"{self.name} has no mapping for stock")
        rows = await self._ask(endpoint, [self._stock_values(question) for question in questions], deadline_s)
        return [_stock(endpoint, question, rows) for question in questions]

    async def _ask(self, endpoint: Endpoint, values: Sequence[Values], deadline_s: float) -> list[Any]:
        common = {**values[0], "skus": [each["sku"] for each in values]}
        body = fill_body(endpoint.body, common) if endpoint.body is not None else None
        if endpoint.line is not None:
            body = body or {}
            put_at(body, endpoint.lines, [fill_body(endpoint.line, each) for each in values])
        url = self._settings.base_url + fill_url(endpoint.path, common)
        return rows_of(endpoint, await self._login.call(endpoint.method, url, body, deadline_s))

    def _price(self, question: PriceQuestion, rows: Sequence[Any]) -> PriceReply | LineFailure:
        endpoint, zone = self._settings.prices, self._settings.time_zone
        try:
            day = business_date(question.as_of_us, zone)
            row = _price_row(endpoint, question, rows, day, text_of(self._uom(question)))
            if row is None:
                return _no_row(endpoint, question)
            until = _member(endpoint, row, "valid_until")
            return PriceReply(
                sku=_echo(endpoint, row, "sku"),
                customer_id=_echo(endpoint, row, "customer_id"),
                uom=self._our_uom(question, _echo(endpoint, row, "uom")),
                currency=_echo(endpoint, row, "currency"),
                unit_price=_number(endpoint, row, "unit_price"),
                valid_until_us=None if until in {None, ""} else _until_us(str(until), zone),
            )
        except _UnreadableError as error:
            return LineFailure(error.reason, str(error))

    def _our_uom(self, question: PriceQuestion, echoed: str | None) -> str | None:
        return question.uom if echoed == text_of(self._uom(question)) else echoed

    async def extract(self, as_of_us: int, deadline_s: float) -> Extract:
        """Reads every mapped table, page by page."""
        tables = {
            name: await self._table(endpoint, deadline_s) for name, endpoint in self._settings.tables.items()
        }
        if not tables:
            raise ErpConfigError(f"{self.name} has no [http_json.tables]: nothing to extract")
        del as_of_us  # rows have the ERP's own instants
        return Extract(tables, self._settings.time_zone.key)

    async def _table(self, endpoint: Endpoint, deadline_s: float) -> list[dict[str, str]]:
        found: list[dict[str, str]] = []
        url = self._settings.base_url + fill_url(endpoint.path, {})
        for _ in range(PAGES_MAX):
            answer = await self._login.call(endpoint.method, url, endpoint.body, deadline_s)
            for row in rows_of(endpoint, answer):
                texts = {}
                for column, path in endpoint.fields.items():
                    value = at_path(row, path)
                    texts[column] = "" if value is MISSING or value is None else text_of(value)
                found.append({**texts, **endpoint.constants})
            following = at_path(answer, endpoint.next) if endpoint.next else MISSING
            if not isinstance(following, str) or not following:
                return found
            url = urljoin(url, following)
            if urlsplit(url)[:2] != urlsplit(self._settings.base_url)[:2]:
                raise ErpAnswerError(Refusal.REDIRECT, f"the next page is on another server: {url[:200]}")
        raise ErpAnswerError(Refusal.SIZE, f"more than {PAGES_MAX} pages")

    async def ping(self, deadline_s: float) -> None:
        """GETs the `ping` path."""
        await self._login.call(
            "GET", self._settings.base_url + fill_url(self._settings.ping, {}), None, deadline_s
        )

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.close()


class _UnreadableError(Exception):
    """A row does not match the mapping."""

    def __init__(self, reason: Refusal, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def rows_of(endpoint: Endpoint, answer: Any) -> list[Any]:
    """The rows of an answer; raises ErpAnswerError."""
    found = at_path(answer, endpoint.rows)
    if isinstance(found, dict):
        return [found]
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        where = f"at {endpoint.rows!r}" if endpoint.rows else "in the answer"
        raise ErpAnswerError(Refusal.SCHEMA, f"there are no rows {where}", repr(answer)[:2000])
    return found


def _member(endpoint: Endpoint, row: Any, name: str) -> Any:
    """A member of a row, None if it is not mapped; raises _UnreadableError if it is missing."""
    if name not in endpoint.fields:
        return None
    value = at_path(row, endpoint.fields[name])
    if value is MISSING and name in _OPTIONAL:
        return None
    if value is MISSING:
        raise _UnreadableError(Refusal.SCHEMA, f"the answer has no {endpoint.fields[name]!r} ({name})")
    return value


def _echo(endpoint: Endpoint, row: Any, name: str) -> str | None:
    value = _member(endpoint, row, name)
    return None if value is None else text_of(value).strip()


def _number(endpoint: Endpoint, row: Any, name: str) -> Decimal | None:
    value = _member(endpoint, row, name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, str, Decimal)):
        raise _UnreadableError(Refusal.NOT_A_NUMBER, f"{name} is {value!r}")
    try:
        return Decimal(value)
    except InvalidOperation:
        raise _UnreadableError(Refusal.NOT_A_NUMBER, f"{name} is {value[:80]!r}") from None  # type: ignore[index]


def _until_us(text: str, zone: ZoneInfo) -> int:
    """When a price ends: after a date, or at an instant, which is local time without an offset."""
    try:
        if len(text) == 10:
            return day_start_us(date.fromisoformat(text) + timedelta(days=1), zone)
        instant = datetime.fromisoformat(text)
        return us_of(instant if instant.tzinfo else instant.replace(tzinfo=zone))
    except (ValueError, OverflowError):
        raise _UnreadableError(Refusal.SCHEMA, f"valid_until is {text[:80]!r}") from None


def _price_row(endpoint: Endpoint, question: PriceQuestion, rows: Sequence[Any], day: date, uom: str) -> Any:
    """The row with the answer: of the item and unit, valid on the day, with the highest break that is reached.

    If no row is of the item, the first row is returned, and its validation reports what is wrong with it.
    """
    mine = [row for row in rows if _echo(endpoint, row, "sku") in {None, question.sku}]
    if not mine:
        return rows[0] if rows else None
    for name, wanted in (("uom", uom), ("currency", question.currency)):
        mine = [row for row in mine if _echo(endpoint, row, name) in {None, wanted}] or mine
    if "valid_from" in endpoint.fields:
        mine = [row for row in mine if _date(endpoint, row, "valid_from", date.min) <= day]
    if "valid_until" in endpoint.fields and len(mine) > 1:
        mine = [row for row in mine if _date(endpoint, row, "valid_until", date.max) >= day]
    if "min_quantity" in endpoint.fields:
        breaks = [(_number(endpoint, row, "min_quantity") or Decimal(0), row) for row in mine]
        quantity = Decimal(abs(question.quantity_micros)) / MICROS
        mine = [row for least, row in sorted(breaks, key=lambda each: each[0]) if least <= quantity]
        return mine[-1] if mine else None
    return mine[0] if mine else None


def _date(endpoint: Endpoint, row: Any, name: str, blank: date) -> date:
    text = _echo(endpoint, row, name)
    try:
        return date.fromisoformat(text[:10]) if text else blank
    except ValueError:
        raise _UnreadableError(Refusal.SCHEMA, f"{name} is {text!r}") from None


def _no_row(endpoint: Endpoint, question: PriceQuestion) -> PriceReply | LineFailure:
    if endpoint.absent == "no_price":
        return PriceReply(question.sku, None, None, None, None)
    return LineFailure(Refusal.SCHEMA, f"the answer has no row for {question.sku}")


def _stock(endpoint: Endpoint, question: StockQuestion, rows: Sequence[Any]) -> StockReply | LineFailure:
    try:
        mine = [row for row in rows if _echo(endpoint, row, "sku") in {None, question.sku}] or list(rows[:1])
        mine = [row for row in mine if _echo(endpoint, row, "branch") in {None, question.branch}] or mine[:1]
        if not mine:
            return LineFailure(Refusal.SCHEMA, f"the answer has no row for {question.sku}")
        on_hand = _number(endpoint, mine[0], "on_hand")
        available = _number(endpoint, mine[0], "available") if "available" in endpoint.fields else on_hand
        committed = _number(endpoint, mine[0], "committed") if "committed" in endpoint.fields else Decimal(0)
        if on_hand is None or available is None or committed is None:
            return LineFailure(Refusal.SCHEMA, f"the answer has no quantity for {question.sku}")
        available -= committed
        echoed = (_echo(endpoint, mine[0], "sku"), _echo(endpoint, mine[0], "branch"))
        return StockReply(*echoed, on_hand, available)
    except _UnreadableError as error:
        return LineFailure(error.reason, str(error))

"""What the client hands out: frozen values in `Decimal` and `datetime`, read from the messages of the wire."""

import enum
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from pricegrid import v1

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INSTANT_US_MIN = (datetime.min.replace(tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)
_INSTANT_US_MAX = (datetime.max.replace(tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)


class LineStatus(enum.Enum):
    """Outcome of one line; failures in order of precedence."""

    OK = "OK"
    INVALID_QUANTITY = "INVALID_QUANTITY"
    UNKNOWN_ITEM = "UNKNOWN_ITEM"
    NOT_ENTITLED = "NOT_ENTITLED"
    UNKNOWN_UOM = "UNKNOWN_UOM"
    NO_PRICE = "NO_PRICE"
    BELOW_MINIMUM = "BELOW_MINIMUM"
    OUT_OF_RANGE = "OUT_OF_RANGE"
    ERP_UNAVAILABLE = "ERP_UNAVAILABLE"
    AMBIGUOUS_ITEM = "AMBIGUOUS_ITEM"
    """The part number names several items or packs, which are listed."""


class PriceSource(enum.Enum):
    """Where a price comes from: the snapshot, the ERP now, or an earlier ERP answer."""

    MATRIX = "MATRIX"
    ERP = "ERP"
    ERP_CACHED = "ERP_CACHED"


class ExceptionReason(enum.Enum):
    """Why a line should be confirmed by the ERP and was not."""

    PRICE_SOURCE_ERP = "PRICE_SOURCE_ERP"
    NO_PRICE = "NO_PRICE"
    OVER_THRESHOLD = "OVER_THRESHOLD"
    AGREEMENT_EXPIRED = "AGREEMENT_EXPIRED"
    FLAGGED = "FLAGGED"
    MISSING_INPUT = "MISSING_INPUT"
    ZERO_PRICE = "ZERO_PRICE"


@dataclass(frozen=True, slots=True)
class NamedItem:
    """What a part number names."""

    sku: str
    uom: str
    """The unit where the number names a pack, else ''."""
    scheme: str
    """The scheme in which it was found; `sku` where the code is a SKU."""


@dataclass(frozen=True, slots=True)
class LinePrice:
    """The answer to one line.

    Prices are in the currency of the `PriceResult`; they are None unless `status` is OK.
    """

    status: LineStatus
    unit_price: Decimal | None
    """Price of `price_per` units asked, up to 6 decimals."""
    extended_price: Decimal | None
    """Unit price times quantity over `price_per`, rounded to the currency's minor unit; negative for a return."""
    source: PriceSource | None
    exception: ExceptionReason | None
    """Why the ERP should confirm this line; None: nothing to confirm."""
    valid_until: datetime | None
    """First instant (UTC) at which the answer could be different; None: no change is known."""
    minimum_quantity: Decimal | None
    """With BELOW_MINIMUM: the least quantity that has a price, in the unit asked."""
    floor_lifted: bool
    """The price was lifted to the floor above cost."""
    converted: bool
    """The answering book is in another currency."""
    source_age: timedelta | None
    """How long ago the ERP gave this price; None: it is not the ERP's."""
    book_id: str
    entry_id: str
    layer: str
    price_per: int = 1
    """For how many units asked `unit_price` is: 1000 for a price per thousand."""
    named_items: tuple[NamedItem, ...] = ()
    """What the part number of the line names: one item, or several with AMBIGUOUS_ITEM."""
    counted_lines: tuple[int, ...] = ()
    """The lines that counted together for the break of this price, by their places from 0, this one among them; ():
    it counted alone."""


@dataclass(frozen=True, slots=True)
class PriceResult:
    """The answer to a batch: `lines[i]` answers the i-th line asked."""

    lines: tuple[LinePrice, ...]
    currency: str
    snapshot_version: str
    snapshot_age: timedelta
    as_of: datetime
    """The instant (UTC) the prices are for."""
    correlation_id: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a price is what it is: the answer, and the JSON document that accounts for it."""

    line: LinePrice
    document: dict[str, object]
    """Members `question`, `answer`, `layers`, `steps`; decimals are strings."""
    currency: str
    snapshot_version: str
    snapshot_age: timedelta
    as_of: datetime
    correlation_id: str


def decimal_from_micros(micros: int) -> Decimal:
    """The exact decimal of an integer in 10^-6."""
    sign, digits, _ = Decimal(micros).as_tuple()
    return Decimal((sign, digits, -6))


def instant_from_us(instant_us: int) -> datetime:
    """The UTC instant of microseconds since the epoch, held inside the years 1 to 9999."""
    return EPOCH + timedelta(microseconds=min(max(instant_us, _INSTANT_US_MIN), _INSTANT_US_MAX))


def price_result(message: v1.PriceLinesResponse) -> PriceResult:
    """Reads a `PriceLinesResponse`."""
    return PriceResult(
        lines=mixed_prices(map(line_price, message.results), message.mixed_breaks),
        currency=message.currency,
        snapshot_version=message.snapshot_version,
        snapshot_age=timedelta(milliseconds=message.snapshot_age_ms),
        as_of=instant_from_us(message.as_of_us),
        correlation_id=message.correlation_id,
    )


def mixed_prices(prices: Iterable[LinePrice], mixed: Iterable[v1.MixedBreak]) -> tuple[LinePrice, ...]:
    """The prices of a response, each with the lines that counted with it."""
    counted = {line: tuple(each.counted_lines) for each in mixed for line in each.priced_lines}
    return tuple(
        replace(price, counted_lines=counted[place]) if place in counted else price
        for place, price in enumerate(prices)
    )


def line_price(message: v1.PriceLineResult) -> LinePrice:
    """Reads a `PriceLineResult`."""

    def decimal_or_none(field: str) -> Decimal | None:
        return decimal_from_micros(getattr(message, field)) if message.HasField(field) else None

    source = v1.PriceSource.Name(message.source).removeprefix("PRICE_SOURCE_")
    exception = v1.ExceptionReason.Name(message.exception).removeprefix("EXCEPTION_REASON_")
    return LinePrice(
        status=LineStatus(v1.LineStatus.Name(message.status).removeprefix("LINE_STATUS_")),
        unit_price=decimal_or_none("unit_price_micros"),
        extended_price=decimal_or_none("extended_price_micros"),
        source=None if source == "UNSPECIFIED" else PriceSource(source),
        exception=None if exception == "UNSPECIFIED" else ExceptionReason(exception),
        valid_until=instant_from_us(message.valid_until_us) if message.HasField("valid_until_us") else None,
        minimum_quantity=decimal_or_none("minimum_quantity_micros"),
        floor_lifted=message.floor_lifted,
        converted=message.converted,
        source_age=timedelta(milliseconds=message.source_age_ms)
        if message.HasField("source_age_ms")
        else None,
        book_id=message.book_id,
        entry_id=message.entry_id,
        layer=message.layer,
        price_per=max(1, message.price_per),
        named_items=named_items(message.named_items),
    )


def named_items(messages: Iterable[v1.NamedItem]) -> tuple[NamedItem, ...]:
    """Reads what a part number names."""
    return tuple(NamedItem(each.sku, each.uom, each.scheme) for each in messages)

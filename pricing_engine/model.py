"""The terms and numbers of prices: statuses, scales, and the rows of a dataset as values.

Prices are integers in 10^-6 of the currency unit (`..._micros`), quantities integers in 10^-6 of the unit, instants
integers in microseconds since 1970-01-01T00:00Z (`..._us`), intervals half-open. Unit factors and exchange rates are
exact fractions. Source of every rule: docs/pricing.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from fractions import Fraction

MICROS = 1_000_000
INT64_MAX = 2**63 - 1
ALWAYS_US = -(2**62)  # a blank valid_from
NEVER_US = 2**62  # a blank valid_to
PRIORITY_LAST = 2**62  # a blank agreement priority sorts last (P2)
PRIORITY_FIRST = -(2**62)  # of the class in a customer's own row, before those of `customer_classes` (P18)
BASIS_LINKS_MAX = 3  # P7
PRICE_PER_MAX = 1_000_000  # P14; with it 10^6 minor units of any currency still fit 63 bits
CUSTOMER_DEPTH_MAX = 32  # ancestors above a customer
GROUP_DEPTH_MAX = 16  # product groups above an item
CLASSES_MAX = 64  # price classes of a customer (P18)
COST = "cost"  # the basis that is not a price book


class LineStatus(IntEnum):
    """Outcome of one line; failures in order of precedence (docs/pricing.md, "Statuses")."""

    OK = 0
    INVALID_QUANTITY = 1
    UNKNOWN_ITEM = 2
    NOT_ENTITLED = 3
    UNKNOWN_UOM = 4
    NO_PRICE = 5
    BELOW_MINIMUM = 6
    OUT_OF_RANGE = 7
    ERP_UNAVAILABLE = 8
    AMBIGUOUS_ITEM = 9
    """A part number names several items or packs (P15); the engine, which knows SKUs, never says it."""


class ExceptionReason(IntEnum):
    """Why the matrices may not answer a line alone (P13).

    One is named: PRICE_SOURCE_ERP, then what is wrong with the data (MISSING_INPUT, ZERO_PRICE), then the others in
    the order of their numbers.
    """

    NONE = 0
    PRICE_SOURCE_ERP = 1
    NO_PRICE = 2
    OVER_THRESHOLD = 3
    AGREEMENT_EXPIRED = 4
    FLAGGED = 5
    MISSING_INPUT = 6  # an entry would have answered but for a missing cost, basis or rate
    ZERO_PRICE = 7  # an entry would have answered, but its computed price is zero or rounds to it (P9)


class Mode(IntEnum):
    """How a layer selects among several candidates (P2)."""

    FIRST = 0
    LOWEST = 1
    HIGHEST = 2
    NEWEST = 3
    ADD = 4  # its books price nothing: their surcharges come on top of what answers (P16)


class Ladder(IntEnum):
    """Whether a layer's books answer breaks by themselves or together (P6)."""

    OWNER = 0
    MERGE = 1


class BelowMinimum(IntEnum):
    """What a book gives below its first break (P6)."""

    FALL_THROUGH = 0
    NO_PRICE = 1
    FIRST_BREAK = 2


class Windows(IntEnum):
    """Which of a book's windows of validity answers where several are open, in `first` and `newest` (P4)."""

    EACH_BREAK = 0
    REPLACE = 1


class BreakMode(IntEnum):
    """Whether all units have the price of the break reached, or each slice its own (P19)."""

    VOLUME = 0
    GRADUATED = 1


class BreakOn(IntEnum):
    """What a book's breaks are compared with: the quantity, or what it costs by the entry's basis book (P19)."""

    QUANTITY = 0
    AMOUNT = 1


class RoundingMode(IntEnum):
    """How a book rounds to its increment (P9)."""

    HALF_UP = 0
    HALF_EVEN = 1
    HALF_DOWN = 2
    UP = 3
    DOWN = 4


class Method(IntEnum):
    """How an entry makes a price, or what it adds to one (P7, P16)."""

    NET = 0
    DISCOUNT_PCT = 1
    MULTIPLIER = 2
    MARKUP_PCT = 3
    MARGIN_PCT = 4
    AMOUNT_OFF = 5
    SURCHARGE_PCT = 6
    SURCHARGE_AMOUNT = 7


class Form(IntEnum):
    """Unit form of an entry: in exactly the asked unit, or per base unit (P5); the lower ranks first."""

    EXACT = 0
    BASE = 1


# Minor-unit digits that differ from 2: ISO 4217, list one.
_CURRENCY_EXPONENTS = {
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF"), 0),
    **dict.fromkeys(("UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
}


def currency_exponent(currency: str) -> int:
    """Digits after the point of a currency's minor unit: 0, 2, 3 or 4 (ISO 4217)."""
    return _CURRENCY_EXPONENTS.get(currency, 2)


def minor_unit_micros(currency: str) -> int:
    """One minor unit of the currency, in micros: 10_000 for EUR, 1_000_000 for JPY, 1_000 for KWD."""
    return int(MICROS // 10 ** currency_exponent(currency))


@dataclass(frozen=True, slots=True)
class Item:
    """A row of `items` with what prices need of it."""

    sku: str
    base_uom: str
    product_group: str | None = None
    price_source_erp: bool = False
    break_group: str | None = None
    """Which lines of a request count with it for breaks (P19); None: as its nearest product group says."""


@dataclass(frozen=True, slots=True)
class Customer:
    """A row of `customers`."""

    customer_id: str
    currency: str
    parent_id: str | None = None
    price_class: str | None = None
    branch: str | None = None


@dataclass(frozen=True, slots=True)
class CustomerClass:
    """A row of `customer_classes`: one of a customer's price classes (P18)."""

    customer_id: str
    price_class: str
    priority: int = PRIORITY_LAST


@dataclass(frozen=True, slots=True)
class Layer:
    """A row of `layers`; layers are searched by (rank, name) (P1)."""

    name: str
    rank: int
    mode: Mode = Mode.FIRST
    ladder: Ladder = Ladder.OWNER


@dataclass(frozen=True, slots=True)
class Book:
    """A row of `price_books`; `floor_margin` is the margin as a fraction of the price (0.25 for 25 %)."""

    book_id: str
    layer: str
    currency: str
    valid_from_us: int = ALWAYS_US
    valid_to_us: int = NEVER_US
    below_minimum: BelowMinimum = BelowMinimum.FALL_THROUGH
    rounding_increment_micros: int = 1
    rounding_mode: RoundingMode = RoundingMode.HALF_UP
    floor_margin: Fraction | None = None
    windows: Windows = Windows.EACH_BREAK
    price_ending_micros: int = 0
    """What its prices end in, within each increment (P16); 0: they are multiples of it."""
    break_mode: BreakMode = BreakMode.VOLUME
    break_on: BreakOn = BreakOn.QUANTITY
    break_group: str | None = None
    """Which lines of a request count together for its breaks (P19); None: those of the item's group."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """A row of `agreements`: exactly one of customer, class and everyone."""

    book_id: str
    customer_id: str | None = None
    price_class: str | None = None
    everyone: bool = False
    priority: int = PRIORITY_LAST
    valid_from_us: int = ALWAYS_US
    valid_to_us: int = NEVER_US
    inherit: bool = True


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of `price_entries`; `value_micros` is a price, a percentage, an amount or a multiplier, times 10^6.

    `min_quantity_micros` is an amount where the breaks of its book are amounts (P19). `price_per` is for how many units
    a price is (P14); 0, of an entry that is computed: for as many as its basis is.
    """

    book_id: str
    sku: str | None
    product_group: str | None
    price_class: str | None
    uom: str | None
    min_quantity_micros: int
    method: Method
    value_micros: int
    basis: str | None = None
    valid_from_us: int = ALWAYS_US
    valid_to_us: int = NEVER_US
    explicit_zero: bool = False
    entry_id: str = ""
    ordinal: int = -1  # its ordinal in the snapshot, for answers that name it
    price_per: int = 1
    branch: str | None = None  # whose price it is (P17)


@dataclass(frozen=True, slots=True)
class Cost:
    """A row of `costs`: per base unit."""

    sku: str
    cost_micros: int
    currency: str
    branch: str | None = None
    valid_from_us: int = ALWAYS_US


@dataclass(frozen=True, slots=True)
class Rate:
    """A row of `exchange_rates`: one `from_currency` is `rate` `to_currency`."""

    from_currency: str
    to_currency: str
    rate: Fraction
    valid_from_us: int = ALWAYS_US


@dataclass(frozen=True, slots=True)
class Entitlement:
    """A row of `entitlements`: of a customer or a class, about an item, a product group or every item (P11)."""

    customer_id: str | None
    price_class: str | None
    sku: str | None
    product_group: str | None
    allowed: bool


@dataclass(frozen=True, slots=True)
class PriceData:
    """The price side of a dataset, or the part of it that one question needs, as rows."""

    items: Mapping[str, Item] = field(default_factory=dict)
    group_parent: Mapping[str, str | None] = field(default_factory=dict)
    uoms: Mapping[tuple[str, str], Fraction] = field(default_factory=dict)
    customers: Mapping[str, Customer] = field(default_factory=dict)
    layers: Mapping[str, Layer] = field(default_factory=dict)
    books: Mapping[str, Book] = field(default_factory=dict)
    agreements: Mapping[str, tuple[Agreement, ...]] = field(default_factory=dict)
    entries: Mapping[str, tuple[Entry, ...]] = field(default_factory=dict)
    costs: Mapping[str, tuple[Cost, ...]] = field(default_factory=dict)
    rates: tuple[Rate, ...] = ()
    entitlements: tuple[Entitlement, ...] = ()
    customer_classes: Mapping[str, tuple[CustomerClass, ...]] = field(default_factory=dict)
    """By customer."""
    group_breaks: Mapping[str, str] = field(default_factory=dict)
    """The break group of each product group that has one (P19)."""


@dataclass(frozen=True, slots=True)
class Mixed:
    """The lines of a request that count together for breaks, and their quantities in base units (P19)."""

    break_group: str
    quantity_micros: Fraction
    lines: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PriceQuestion:
    """One line of one customer at one instant; `currency` '' is the customer's, `uom` '' the base unit."""

    customer_id: str
    sku: str
    quantity_micros: int
    as_of_us: int
    uom: str = ""
    currency: str = ""
    branch: str = ""
    mixed: Mapping[tuple[str, bool], Mixed] = field(default_factory=dict)
    """By break group and whether it is of returns, of the request that the line is in (P19)."""


@dataclass(frozen=True, slots=True)
class ExceptionPolicy:
    """When a matrix price is an exception that the ERP should confirm (P13).

    `extended_price_above_micros` maps a currency to the extended price (magnitude, micros) from which on, exclusive, a
    line is one; `grace_us` is how long after its end an agreement makes its lines one (0: never).
    """

    extended_price_above_micros: Mapping[str, int] = field(default_factory=dict)
    grace_us: int = 0
    flagged_customers: frozenset[str] = frozenset()
    flagged_skus: frozenset[str] = frozenset()

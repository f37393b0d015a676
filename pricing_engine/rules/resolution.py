"""The result of the reference for one line: the answer, and every offer it considered (P12)."""

from dataclasses import dataclass
from fractions import Fraction

from pricegrid.pricing_engine.model import NEVER_US, Book, Entry, ExceptionReason, Form, LineStatus, Mixed

Rank = tuple[int | str, ...]
Narrowness = tuple[int, int]
"""Which of the customer's price classes an entry is of, CLASSES_MAX for all; 0 for one of a branch, else 1 (P4, P17,
P18)."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a price: what was done and the price after it, in micros of `currency`."""

    name: str
    detail: str
    operand: Fraction
    price_micros: Fraction
    currency: str


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of the quantity with a price of its own (P19)."""

    quantity_micros: Fraction  # in the asked unit
    price_micros: Fraction  # of one unit asked, exact
    price_per: int  # it is rounded for so many units
    lifted: bool
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Offer:
    """What one book offers for the line, before the layer selects an offer."""

    book: Book
    entry: Entry
    form: Form
    level: int  # 0 sku, then product groups nearest first, then every item
    narrowness: Narrowness
    newest_us: int  # the latest begin that ranks it (P2)
    slot_micros: Fraction  # its break in the asked unit; -1 for a first price given below the first break
    price_micros: Fraction  # of one unit asked, exact
    rounded_micros: int  # of `price_per` units asked (P14)
    lifted: bool
    steps: tuple[Step, ...]
    passed_over: tuple[str, ...] = ()  # its book's entries before it, and why each gave no price
    is_basis_missed: bool = False  # an earlier entry of a basis book lacked an input
    price_per: int = 1
    rank: Rank = ()
    slices: tuple[Slice, ...] = ()
    """Of a graduated ladder; `price_micros` and `rounded_micros` are then the average."""
    total_micros: Fraction = Fraction(0)
    """What the slices cost together, before the rounding to the minor unit."""


@dataclass(frozen=True, slots=True)
class Missed:
    """An entry that gave no price, with the rank that its offer would have had (P13)."""

    book: Book
    level: int
    narrowness: Narrowness
    form: Form
    newest_us: int
    slot_micros: Fraction
    exception: ExceptionReason  # MISSING_INPUT or ZERO_PRICE
    why: str
    rank: Rank = ()


@dataclass(frozen=True, slots=True)
class Blocked:
    """A book with `no_price` below its first break, with the rank its first entry would have had."""

    book: Book
    level: int
    narrowness: Narrowness
    form: Form
    newest_us: int
    minimum_quantity_micros: int
    rank: Rank = ()


@dataclass(frozen=True, slots=True)
class Considered:
    """One book of one layer, and what became of it."""

    layer: str
    book_id: str
    distance: int
    reason: str
    offer: Offer | None = None
    answers: bool = False
    adds: bool = False
    """Whether it is a surcharge on the price that answers (P16)."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """The answer to one line. Prices are in micros of `currency`, 0 where there is none; the unit price is that of
    `price_per` units."""

    status: LineStatus
    currency: str = ""
    unit_price_micros: int = 0
    extended_price_micros: int = 0
    offer: Offer | None = None
    layer: str = ""
    minimum_quantity_micros: int = 0
    valid_until_us: int = NEVER_US
    exception: ExceptionReason = ExceptionReason.NONE
    converted: bool = False
    considered: tuple[Considered, ...] = ()
    missed: ExceptionReason = ExceptionReason.NONE  # of an entry that would have answered instead
    mixed: Mixed | None = None
    """The lines that counted for the breaks of the book that answered (P19)."""

    @property
    def price_per(self) -> int:
        """For how many units asked the unit price is (P14), 0 where there is none."""
        return self.offer.price_per if self.offer else 0

    @property
    def identity(self) -> tuple[object, ...]:
        """What must stay the same for the answer to be the same (P10)."""
        entry = self.offer.entry if self.offer else None
        prices = self.unit_price_micros, self.price_per, self.extended_price_micros
        return self.status, *prices, entry, self.minimum_quantity_micros

"""What the rules of orders work with. Money and quantities are int64 in 10^-6, or exact fractions of them."""

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from fractions import Fraction


class Severity(IntEnum):
    """How grave a difference is; a verdict is the gravest."""

    INFO = 1
    WARNING = 2
    HOLD = 3
    REJECT = 4


class Kind(IntEnum):
    """What differs, in the order of the checks (O2)."""

    ITEM = 1
    AMBIGUOUS_ITEM = 2
    UNIT = 3
    QUANTITY = 4
    MULTIPLE = 5
    NO_PRICE = 6
    UNCONFIRMED = 7
    PRICE_MISSING = 8
    PRICE = 9
    SHORT = 10
    INCOMPLETE = 11
    HOLD = 12
    TOTAL = 13
    VALUE = 14
    DUPLICATE_ORDER = 15


class Beyond(StrEnum):
    """What is done about a price beyond the tolerances."""

    HOLD = "hold"
    REPRICE = "reprice"
    REJECT = "reject"


class Rounding(StrEnum):
    """What is done about a quantity that is not made of whole order multiples."""

    REJECT = "reject"
    DOWN = "down"
    UP = "up"
    NEAREST = "nearest"


class Short(StrEnum):
    """What is done where less can be promised than is asked."""

    CUT = "cut"
    BACKORDER_REST = "backorder_rest"
    BACKORDER_LINE = "backorder_line"
    REJECT_LINE = "reject_line"
    SHIP_COMPLETE = "ship_complete"


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far expected less ours may go; None is no limit."""

    up_micros: int | None = None
    down_micros: int | None = None

    @property
    def is_set(self) -> bool:
        """Whether there is any limit."""
        return self.up_micros is not None or self.down_micros is not None

    def holds(self, difference_micros: Fraction) -> bool:
        """Whether a difference is within, boundaries included."""
        limit = self.up_micros if difference_micros > 0 else self.down_micros
        return limit is None or abs(difference_micros) <= limit


@dataclass(frozen=True, slots=True)
class Policy:
    """What is done about differences; of a partner's profile."""

    unit: Tolerance = Tolerance()
    percent: Tolerance = Tolerance()
    """In 10^-6 per cent of our price."""
    line: Tolerance = Tolerance()
    order: Tolerance = Tolerance()
    accepts_theirs: bool = False
    """Within the tolerances the buyer's price holds."""
    beyond: Beyond = Beyond.HOLD
    rounding: Rounding = Rounding.REJECT
    short: Short = Short.CUT
    minimum_total_micros: int = 0
    maximum_total_micros: int = 0
    """0: none."""
    small_order_fee_micros: int = 0
    unconfirmed: Severity = Severity.WARNING


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that differs."""

    kind: Kind
    severity: Severity
    rule: str
    expected: str = ""
    ours: str = ""


@dataclass(frozen=True, slots=True)
class Price:
    """A price of `per` units."""

    micros: int
    per: int = 1

    @property
    def unit_micros(self) -> Fraction:
        """The price of one unit, exact."""
        return Fraction(self.micros, self.per)


@dataclass(frozen=True, slots=True)
class LineFacts:
    """What the snapshot says of one line, for the quantity that is accepted."""

    status: str
    """Of the price, as `LineStatus` names it."""
    ours: Price | None = None
    floor_lifted: bool = False
    is_unconfirmed: bool = False
    minimum_quantity_micros: int | None = None


@dataclass(slots=True)
class Line:
    """One line as it is checked."""

    asked_micros: int
    expected: Price | None
    quantity_micros: int
    """What is accepted."""
    ours: Price | None = None
    agreed: Price | None = None
    confirmed_micros: int = 0
    backordered_micros: int = 0
    differences: list[Difference] = field(default_factory=list)

    @property
    def verdict(self) -> Severity:
        """The gravest of its differences."""
        return max((each.severity for each in self.differences), default=Severity.INFO)

    @property
    def is_rejected(self) -> bool:
        """Whether nothing of it is accepted."""
        return self.verdict is Severity.REJECT

    def reject(self, kind: Kind, rule: str, expected: str = "", ours: str = "") -> None:
        """Notes that it is not accepted, and takes back what was."""
        self.differences.append(Difference(kind, Severity.REJECT, rule, expected, ours))
        self.quantity_micros = self.confirmed_micros = self.backordered_micros = 0
        self.agreed = None

    def note(self, kind: Kind, severity: Severity, rule: str, expected: str = "", ours: str = "") -> None:
        """Notes a difference."""
        self.differences.append(Difference(kind, severity, rule, expected, ours))

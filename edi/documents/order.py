"""Purchase orders of partners: 850 of X12, ORDERS of EDIFACT, as plain values ready to be validated.

A line that is not understood stays in its order with the reason: the order gets its answer all the same, and the
line is rejected in it.
"""

from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Final

from pricegrid.edi.documents.catalogue import item_numbers, lin_numbers
from pricegrid.edi.documents.sets import Document
from pricegrid.edi.documents.values import ValueRefusedError, day, number
from pricegrid.edi.profile import PRICE_PER_MAX, Profile
from pricegrid.edi.syntax.model import Segment

KINDS: Final = frozenset({"850", "ORDERS"})
LINES_MAX: Final = 10_000
"""Lines of an order, as of a request."""
_REQUESTED_X12: Final = frozenset({"002", "010"})
_REQUESTED_EDIFACT: Final = frozenset({"2", "10"})
_PO1_NUMBERS: Final = 6
"""The element of a PO1 at which qualifiers and numbers begin."""


@dataclass(frozen=True, slots=True)
class ExpectedPrice:
    """What the partner thinks a unit costs: `value` for `per` units."""

    value: Decimal
    per: int
    uom: str
    """Our unit; "" for that of the line."""


@dataclass(frozen=True, slots=True)
class OrderLine:
    """One line."""

    reference: str
    part_numbers: tuple[tuple[str, str], ...]
    """(scheme, code), the most trusted first."""
    quantity: Decimal
    uom: str
    price: ExpectedPrice | None
    """None: they say none, and get ours."""
    requested: str
    """The day on which it is wanted, as 2026-03-29; "" for any."""
    places: tuple[tuple[str, Decimal], ...]
    """How much of it goes to which place of theirs; empty: all to the order's."""
    fault: str
    """Why the line can't be validated; "" for a good one."""


@dataclass(frozen=True, slots=True)
class Order:
    """One order."""

    number: str
    release: str
    purpose: str
    """00, 01, 05 … of a BEG; 9, 1, 5 … of a BGM."""
    day: str
    currency: str
    ship_to: str
    """Their code of where it goes."""
    lines: tuple[OrderLine, ...]
    fault: str
    """Why the order as a whole can't be validated; "" for a good one."""


@dataclass(slots=True)
class _Raw:
    """A line while its segments come in."""

    reference: str
    numbers: list[tuple[str, str]]
    quantity: str = ""
    unit: str = ""
    price: str = ""
    basis: str = ""
    per: str = ""
    price_unit: str = ""
    requested: str = ""
    places: list[tuple[str, str, str]] = field(default_factory=list)
    """(place, quantity, unit)."""


def read_order(document: Document, profile: Profile) -> Order:
    """The order of a document."""
    reader = _Order850(profile) if document.kind == "850" else _OrderEdifact(profile)
    for segment in document.segments:
        reader.take(segment)
    return reader.order()


class _OrderReader:
    """What both families have in common."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._raw: _Raw | None = None
        self._lines: list[OrderLine] = []
        self._faults: list[str] = []
        self.number = self.release = self.purpose = self.day = self.currency = self.ship_to = ""
        self.requested = ""

    def take(self, segment: Segment) -> None:
        """One segment."""
        raise NotImplementedError

    def order(self) -> Order:
        """All of it."""
        self._finish_line()
        if not self.number.strip():
            self._faults.append("the order has no number")
        if not self._lines:
            self._faults.append("the order has no line")
        told = self._day(self.day)
        return Order(
            number=self.number.strip(),
            release=self.release.strip(),
            purpose=self.purpose.strip(),
            day=told,
            currency=self.currency.strip() or self._profile.currency,
            ship_to=self.ship_to.strip(),
            lines=tuple(self._lines),
            fault="; ".join(self._faults),
        )

    def _begin_line(self, raw: _Raw) -> None:
        self._finish_line()
        self._raw = raw

    def _finish_line(self) -> None:
        if self._raw is None:
            return
        if len(self._lines) < LINES_MAX:
            self._lines.append(_line(self._raw, self.requested, self._profile))
        elif len(self._lines) == LINES_MAX and not self._faults:
            self._faults.append(f"the order has more than {LINES_MAX:,} lines")
        self._raw = None

    def _day(self, text: str) -> str:
        try:
            return day(text, "the order's date") if text.strip() else ""
        except ValueRefusedError as error:
            self._faults.append(str(error))
            return ""


class _Order850(_OrderReader):
    def take(self, segment: Segment) -> None:
        tag, get, raw = segment.tag, segment.get, self._raw
        if tag == "PO1":
            numbers = lin_numbers(segment, _PO1_NUMBERS)
            self._begin_line(_Raw(get(1).strip(), list(numbers), get(2), get(3), get(4), basis=get(5)))
        elif tag == "SDQ" and raw is not None:
            places = [
                (get(at), get(at + 1), get(1)) for at in range(3, len(segment.elements) + 1, 2) if get(at)
            ]
            raw.places += places
        elif tag == "DTM" and get(1).strip() in _REQUESTED_X12:
            if raw is None:
                self.requested = get(2)
            else:
                raw.requested = get(2)
        elif tag == "BEG":
            self.purpose, self.number, self.release, self.day = get(1), get(3), get(4), get(5)
        elif tag == "CUR":
            self.currency = get(2)
        elif tag == "N1" and get(1).strip() == "ST" and raw is None:
            self.ship_to = get(4)
        elif tag == "CTT":
            self._finish_line()


class _OrderEdifact(_OrderReader):
    def __init__(self, profile: Profile) -> None:
        super().__init__(profile)
        self._place = ""

    def take(self, segment: Segment) -> None:
        tag, get, raw = segment.tag, segment.get, self._raw
        if tag == "LIN":
            self._place = ""
            self._begin_line(_Raw(get(1).strip(), item_numbers(segment)))
        elif tag == "UNS":
            self._finish_line()
        elif raw is not None:
            self._take_of_line(segment, raw)
        elif tag == "BGM":
            self.number, self.purpose = get(2), get(3)
        elif tag == "DTM":
            if get(1).strip() == "137":
                self.day = get(1, 2)
            elif get(1).strip() in _REQUESTED_EDIFACT:
                self.requested = get(1, 2)
        elif tag == "CUX":
            self.currency = get(1, 2)
        elif tag == "NAD" and get(1).strip() in {"DP", "ST"}:
            self.ship_to = get(2)

    def _take_of_line(self, segment: Segment, raw: _Raw) -> None:
        tag, get = segment.tag, segment.get
        if tag == "PIA":
            raw.numbers += item_numbers(segment)
        elif tag == "QTY" and get(1).strip() == "21":
            raw.quantity, raw.unit = get(1, 2), get(1, 3)
        elif tag == "LOC" and get(1).strip() == "7":
            self._place = get(2)
        elif tag == "QTY" and get(1).strip() == "11" and self._place:
            raw.places.append((self._place, get(1, 2), get(1, 3)))
        elif tag == "PRI":
            raw.price, raw.per, raw.price_unit = get(1, 2), get(1, 5), get(1, 6)
        elif tag == "DTM" and get(1).strip() in _REQUESTED_EDIFACT:
            raw.requested = get(1, 2)


def _line(raw: _Raw, requested: str, profile: Profile) -> OrderLine:
    """A line of which everything is understood, or one with its fault."""
    blank = OrderLine(raw.reference, _part_numbers(raw, profile), Decimal(0), "", None, "", (), "")
    try:
        if not blank.part_numbers:
            raise ValueRefusedError("no part number of the profile is given")
        uom = _unit(raw.unit, profile)
        quantity = number(raw.quantity, "the quantity")
        if quantity <= 0:
            raise ValueRefusedError(f"the quantity is {raw.quantity!r}, not above 0")
        wanted = raw.requested.strip() or requested.strip()
        return replace(
            blank,
            quantity=quantity,
            uom=uom,
            price=_price(raw, profile),
            requested=day(wanted, "the requested date") if wanted else "",
            places=_places(raw, quantity),
        )
    except ValueRefusedError as error:
        return replace(blank, fault=str(error))


def _part_numbers(raw: _Raw, profile: Profile) -> tuple[tuple[str, str], ...]:
    given = {qualifier.strip(): code.strip() for qualifier, code in raw.numbers}
    return tuple((scheme, given[name]) for name, scheme in profile.part_numbers if given.get(name))


def _unit(code: str, profile: Profile) -> str:
    code = code.strip()
    if code and code not in profile.units:
        raise ValueRefusedError(f"the unit {code!r} is not in the profile")
    return profile.units[code] if code else ""


def _price(raw: _Raw, profile: Profile) -> ExpectedPrice | None:
    if not raw.price.strip():
        return None
    value = number(raw.price, "the price")
    if value < 0:
        raise ValueRefusedError(f"the price is {raw.price!r}, below 0")
    per, basis = 1, raw.basis.strip()
    if basis:
        if basis not in profile.price_basis:
            raise ValueRefusedError(f"the price basis {basis!r} is not in the profile")
        per = profile.price_basis[basis]
    if raw.per.strip():
        said = number(raw.per, "the unit price basis")
        if said != said.to_integral_value() or not 1 <= said <= PRICE_PER_MAX:
            raise ValueRefusedError(f"the unit price basis is {raw.per!r}, no whole number from 1")
        per = int(said)
    return ExpectedPrice(value, per, _unit(raw.price_unit, profile))


def _places(raw: _Raw, quantity: Decimal) -> tuple[tuple[str, Decimal], ...]:
    found = tuple((place.strip(), number(text, f"the quantity of {place}")) for place, text, _ in raw.places)
    other = next((unit for _, _, unit in raw.places if unit.strip() not in {"", raw.unit.strip()}), None)
    if other is not None:
        raise ValueRefusedError(f"quantities by place are in {other!r}, and the line in {raw.unit!r}")
    total = sum((each for _, each in found), Decimal(0))
    if found and total != quantity:
        raise ValueRefusedError(f"quantities by place add up to {total}, and the line is {quantity}")
    return found

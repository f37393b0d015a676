"""A partner's profile: what they call things, and how what goes to them is written (docs/edi.md, "Profiles").

It is a TOML file, one a partner. Whatever is wrong in it is refused with the name of its field, and nothing in it is
guessed: a code that it does not list has no meaning, even where it is spelled like one of ours.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pricegrid.edi.envelope.model import CheckedInterchange, Problem
from pricegrid.edi.syntax.model import EDIFACT_SEPARATORS, X12_SEPARATORS, Dialect, Separators

SCHEMES: Final = ("sku", "gtin", "customer", "vendor", "maker", "legacy")
"""What a part number of a qualifier is: our SKU, or a scheme of the table `part_numbers`."""
PRICE_BASIS: Final[Mapping[str, int]] = MappingProxyType({"PE": 1, "CA": 1, "HP": 100, "TP": 1000})
"""For how many units a price is, by the code of X12, where a profile does not say it."""
PRICE_PER_MAX: Final = 1_000_000
VERSIONS: Final = {Dialect.X12: "004010", Dialect.EDIFACT: "D96A"}
_NAME_BYTES_MAX: Final = 128
_SIGNS: Final = ("element", "component", "terminator", "repetition", "release")


class ProfileError(ValueError):
    """A profile that can't be used; the message names the file and the field."""


@dataclass(frozen=True, slots=True)
class Party:
    """Who an interchange is from or for: an id, and the code of who gave it."""

    qualifier: str
    identity: str

    def __str__(self) -> str:
        return f"{self.qualifier}:{self.identity}" if self.qualifier else self.identity


@dataclass(frozen=True, slots=True)
class Profile:
    """What is agreed with one partner."""

    partner: str
    version: int
    dialect: Dialect
    ours: Party
    theirs: Party
    standard: str
    """The version that is written: 004010, 005010, D96A …"""
    separators: Separators
    customer: str
    part_numbers: tuple[tuple[str, str], ...]
    """(qualifier, scheme), the most trusted first."""
    units: Mapping[str, str]
    """Their code → our unit; the first code of a unit is the one that is written."""
    price_basis: Mapping[str, int]
    branches: Mapping[str, str]
    """Their code of a place → our branch."""
    time_zone: str
    """Of times of day in their documents."""
    book: str
    layer: str
    currency: str
    """Where a document names none."""
    price_codes: tuple[str, ...]
    """Which prices of an item count; empty: all."""

    def unit_code(self, uom: str) -> str | None:
        """Their code of one of our units."""
        return next((code for code, unit in self.units.items() if unit == uom), None)

    def branch_code(self, branch: str) -> str | None:
        """Their code of one of our branches."""
        return next((code for code, ours in self.branches.items() if ours == branch), None)


def check_parties(found: CheckedInterchange, profile: Profile) -> None:
    """Rejects an interchange that is not from this partner, or not for us."""
    header, is_x12 = found.header.segment, found.header.dialect is Dialect.X12
    if is_x12:
        sender, receiver = (Party(header.get(at).strip(), header.get(at + 1).strip()) for at in (5, 7))
    else:
        sender, receiver = (Party(header.get(at, 2).strip(), header.get(at).strip()) for at in (2, 3))
    if sender != profile.theirs or found.header.dialect is not profile.dialect:
        found.problems.append(Problem.SENDER)
    elif receiver != profile.ours:
        found.problems.append(Problem.RECEIVER)


def read_profile(path: Path) -> Profile:
    """The profile of a file; ProfileError."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ProfileError(f"{path}: {error}") from error
    try:
        return _profile(_Table("", document))
    except ProfileError as error:
        raise ProfileError(f"{path}: {error}") from None


class _Table:
    """A table of the document; what is taken from it is checked, and what is left over is refused."""

    def __init__(self, name: str, values: Any) -> None:
        if not isinstance(values, dict):
            raise ProfileError(f"{name} is no table")
        self._name = name
        self._values = dict(values)

    def field(self, key: str) -> str:
        """The full name of a field."""
        return f"{self._name}.{key}" if self._name else key

    def text(self, key: str, default: str | None = None) -> str:
        """A text that is not blank, unless it may be missing."""
        value = self._values.pop(key, default)
        if value is None:
            raise ProfileError(f"{self.field(key)} is missing")
        return value if value == default else _name(self.field(key), value)

    def raw(self, key: str, default: str) -> Any:
        """Whatever stands there."""
        return self._values.pop(key, default)

    def whole(self, key: str) -> int:
        """A number from 1 on."""
        value = self._values.pop(key, None)
        if value is None:
            raise ProfileError(f"{self.field(key)} is missing")
        return _whole(self.field(key), value)

    def table(self, key: str) -> "_Table":
        """A table in the table; an empty one where there is none."""
        return _Table(self.field(key), self._values.pop(key, {}))

    def array(self, key: str) -> list[Any]:
        """A list; an empty one where there is none."""
        value = self._values.pop(key, [])
        if not isinstance(value, list):
            raise ProfileError(f"{self.field(key)} is no list")
        return value

    def texts(self) -> dict[str, str]:
        """The whole table as texts by code."""
        found = {_name(self._name, key): _name(self.field(key), value) for key, value in self._values.items()}
        self._values = {}
        return found

    def wholes(self) -> dict[str, int]:
        """The whole table as numbers by code."""
        found = {
            _name(self._name, key): _whole(self.field(key), value) for key, value in self._values.items()
        }
        self._values = {}
        return found

    def finish(self) -> None:
        """Refuses what was not taken."""
        for key in self._values:
            raise ProfileError(f"{self.field(key)} is no field of a profile")


def _name(field: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ProfileError(f"{field} is {value!r}, no text")
    if not value.strip() or value != value.strip() or not value.isprintable():
        raise ProfileError(f"{field} is {value!r}: blank, or with blanks around it or control characters")
    if len(value.encode()) > _NAME_BYTES_MAX:
        raise ProfileError(f"{field} has more than {_NAME_BYTES_MAX} bytes")
    return value


def _whole(field: str, value: Any) -> int:
    if type(value) is not int or not 1 <= value <= PRICE_PER_MAX:
        raise ProfileError(f"{field} is {value!r}, no whole number from 1 to {PRICE_PER_MAX:,}")
    return value


def _profile(document: _Table) -> Profile:
    partner, version = document.text("partner"), document.whole("version")
    dialect = _one_of("dialect", document.text("dialect"), [each.value for each in Dialect])
    family = Dialect(dialect)
    ids, out, prices = document.table("ids"), document.table("out"), document.table("prices")
    basis = document.table("price_basis").wholes()
    found = Profile(
        partner,
        version,
        family,
        ours=_party(ids, "ours"),
        theirs=_party(ids, "theirs"),
        standard=out.text("version", VERSIONS[family]),
        separators=_separators(out, family),
        customer=document.text("customer", ""),
        part_numbers=tuple(_part_number(at, each) for at, each in enumerate(document.array("part_numbers"))),
        units=MappingProxyType(document.table("units").texts()),
        price_basis=MappingProxyType(basis or dict(PRICE_BASIS)),
        branches=MappingProxyType(document.table("branches").texts()),
        time_zone=_zone(document.text("time_zone", "UTC")),
        book=prices.text("book", partner),
        layer=prices.text("layer", "default"),
        currency=prices.text("currency", ""),
        price_codes=tuple(_name("prices.codes", each) for each in prices.array("codes")),
    )
    for table in (ids, out, prices, document):
        table.finish()
    if not found.part_numbers:
        raise ProfileError("part_numbers is missing: no item could be found")
    if found.currency and not (
        len(found.currency) == 3 and found.currency.isalpha() and found.currency.isupper()
    ):
        raise ProfileError(f"prices.currency is {found.currency!r}, no three upper-case letters")
    return found


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, ZoneInfoNotFoundError):
        raise ProfileError(f"time_zone is {name!r}, no time zone") from None
    return name


def _one_of(field: str, value: str, allowed: list[str]) -> str:
    if value not in allowed:
        raise ProfileError(f"{field} is {value!r}, not one of {', '.join(allowed)}")
    return value


def _party(ids: _Table, key: str) -> Party:
    qualifier, colon, identity = ids.text(key).partition(":")
    return Party(qualifier, identity) if colon else Party("", qualifier)


def _part_number(at: int, value: Any) -> tuple[str, str]:
    table = _Table(f"part_numbers[{at}]", value)
    qualifier = table.text("qualifier")
    scheme = _one_of(table.field("scheme"), table.text("scheme"), list(SCHEMES))
    table.finish()
    return qualifier, scheme


def _separators(out: _Table, dialect: Dialect) -> Separators:
    standard = X12_SEPARATORS if dialect is Dialect.X12 else EDIFACT_SEPARATORS
    signs = {}
    for key in _SIGNS:
        default = getattr(standard, key).decode("ascii")
        value = out.raw(key, default)
        if (
            not isinstance(value, str)
            or len(value) > 1
            or not value.isascii()
            or value.isalnum()
            or value == " "
        ):
            raise ProfileError(f"{out.field(key)} is {value!r}, not one character that separates")
        signs[key] = value
    used = [each for each in signs.values() if each]
    if len(set(used)) < len(used) or not all(signs[key] for key in ("element", "component", "terminator")):
        raise ProfileError("out has two separators that are the same, or none")
    return Separators(**{key: value.encode("ascii") for key, value in signs.items()})

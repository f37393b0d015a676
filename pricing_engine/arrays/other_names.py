"""How others call items, units, customers and places, as a snapshot's arrays hold it (P15; docs/snapshot-format.md).

The arrays are there only if the dataset has the tables. Part numbers are a name table of keys in byte order, each with
its rows; all else leads from one text to another: two name tables, keys in byte order and a value for each.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from numpy.typing import NDArray

from pricegrid.columnar.names import Names
from pricegrid.pricing_engine.arrays import matrix as mx
from pricegrid.pricing_engine.rules.part_numbers import SCHEMES, Audience, PartRow

Arrays = Mapping[str, NDArray[Any]]

PART_ITEM, PART_UOM, PART_CUSTOMER, PART_CLASS, PART_FROM, PART_TO, PART_SIZE = range(7)
"""Columns of `part_rows`; a unit, a customer and a class are -1 for none."""
MAPS: Final = ("unit_code", "ship_to", "party_code")
_FEW: Final = 24
SEPARATOR: Final = "\0"
"""Between the parts of a key or a value of `MAPS`; no name has one."""
ZONE, BRANCH, CUSTOMER, SHIP_TO = "zone", "branch", "customer", "ship_to"
"""What a place or a party is: the first part of a value of `ship_to` and `party_code`."""


def part_key(scheme: str, code: str, *, any_case: bool = False) -> str:
    """The key of a part number: a digit for its scheme, a letter where letter case does not count, and the code."""
    place = SCHEMES.index(scheme)
    return f"{'abcde'[place]}{code.casefold()}" if any_case else f"{place}{code}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a ship-to is."""

    ship_to: str
    """A ship zone or a branch, as lanes name it."""
    name: str


@dataclass(frozen=True, slots=True)
class Party:
    """Who or what a party code names."""

    kind: str
    """CUSTOMER, SHIP_TO or BRANCH."""
    name: str


class PartNumbers:
    """The part numbers of a snapshot."""

    def __init__(self, arrays: Arrays) -> None:
        self._keys = Names(arrays["part_bytes"], arrays["part_offsets"])
        self._starts, self._rows = arrays["part_starts"], arrays["part_rows"]
        self._skus = Names(arrays["sku_bytes"], arrays["sku_offsets"])
        self._uoms = Names(arrays["uom_bytes"], arrays["uom_offsets"])
        self.has_any_case = self._keys.name(len(self._keys) - 1)[:1] >= b"a"
        """Whether letter case is of no account for any of them."""

    def rows(self, keys: Sequence[str]) -> list[list[PartRow]]:
        """The rows of each key."""
        found = _found(self._keys, keys)
        return [[] if key < 0 else self._rows_of(key) for key in found]

    def _rows_of(self, key: int) -> list[PartRow]:
        rows = self._rows[self._starts[key] : self._starts[key + 1]].tolist()
        return [
            PartRow(self._skus[row[PART_ITEM]], self._uom(row[PART_UOM]), *row[PART_CUSTOMER:])
            for row in rows
        ]

    def _uom(self, ordinal: int) -> str:
        return self._uoms[ordinal] if ordinal >= 0 else ""


def _found(table: Names, names: Sequence[str]) -> list[int]:
    """The ordinals of some names, -1 for none; of few without a kernel, which a command would wait for."""
    if len(names) <= _FEW:
        return [table.find(name) for name in names]
    ordinals: list[int] = table.find_all([name.encode() for name in names]).tolist()
    return ordinals


class _TextMap:
    """One text to another."""

    def __init__(self, arrays: Arrays, name: str) -> None:
        self._keys = Names(arrays[f"{name}_bytes"], arrays[f"{name}_offsets"])
        self._values = Names(arrays[f"{name}_value_bytes"], arrays[f"{name}_value_offsets"])

    def get(self, *key: str) -> str | None:
        """The value of a key of these parts."""
        found = self._keys.find(SEPARATOR.join(key))
        return self._values[found] if found >= 0 else None


class OtherNames:
    """How others call what a snapshot has."""

    def __init__(self, arrays: Arrays) -> None:
        self.part_numbers = PartNumbers(arrays) if "part_rows" in arrays else None
        """None: the dataset has none."""
        self._skus = Names(arrays["sku_bytes"], arrays["sku_offsets"])
        self._customers = Names(arrays["customer_bytes"], arrays["customer_offsets"])
        self._customer_rows, self._classes = arrays["customers"], arrays["customer_classes"]
        self.has_entitlements = len(arrays["entitlements"]) > 0
        """Whether any item is hidden from anybody (P11)."""
        self._maps = {name: _TextMap(arrays, name) for name in MAPS if f"{name}_bytes" in arrays}

    def audience(self, customer_id: str) -> Audience:
        """Whose numbers a customer may use: its own, those of its ancestors, those of its classes."""
        chain: list[int] = []
        customer = self._customers.find(customer_id) if customer_id else -1
        run = int(self._customer_rows[customer, mx.CUSTOMER_CLASSES]) if customer >= 0 else 0
        classes = self._classes[int(mx.run_start(run)) : int(mx.run_end(run))].tolist()
        while customer >= 0:
            chain.append(customer)
            customer = int(self._customer_rows[customer, mx.CUSTOMER_PARENT])
        return Audience(tuple(chain), tuple((name, rank) for name, rank in classes))

    def known_skus(self, names: Sequence[str]) -> list[bool]:
        """Which of some names are SKUs."""
        return [found >= 0 for found in _found(self._skus, names)]

    def uom(self, system: str, code: str, sku: str) -> str | None:
        """The unit that a code of another system means for an item; None: it is not mapped."""
        units = self._maps.get("unit_code")
        if units is None:
            return None
        own = units.get(system, code, sku)
        return units.get(system, code, "") if own is None else own

    def place(self, customer_id: str, ship_to: str) -> Place | None:
        """Where a customer's ship-to is; None: they have none of that name."""
        places = self._maps.get("ship_to")
        found = None if places is None else places.get(customer_id, ship_to)
        if found is None:
            return None
        _, where, name = found.split(SEPARATOR, 2)
        return Place(where, name)

    def party(self, scheme: str, code: str) -> Party | None:
        """Whom a code names; None: nobody."""
        parties = self._maps.get("party_code")
        found = None if parties is None else parties.get(scheme, code)
        return None if found is None else Party(*found.split(SEPARATOR, 1))

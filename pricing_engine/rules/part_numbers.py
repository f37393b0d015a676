"""What a part number names: the plain rule (P15), and the only one.

A code without a scheme is tried as a SKU first, then in each scheme in order; one with a scheme in that scheme alone.
The first in which a row counts answers. A row counts where it is of this customer, of an ancestor, of their class or of
everyone, on its dates, and of an item that the customer may see. The nearest owner's rows stand before the others': a
customer's own number is no guess. If several items or packs are left they are all named, and none is chosen.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

SCHEMES: Final = ("customer", "gtin", "vendor", "maker", "legacy")
"""In the order in which a code without a scheme is tried."""
SKU_SCHEME: Final = "sku"
"""What an answer says where the code was a SKU."""
GTIN_DIGITS: Final = 14
GTIN_DIGITS_MIN: Final = 8


@dataclass(frozen=True, slots=True)
class PartRow:
    """One row of the table `part_numbers`; customer and class are ordinals, -1 for none."""

    sku: str
    uom: str
    """The pack that the number names, '' for none."""
    customer: int
    price_class: int
    valid_from_us: int
    valid_to_us: int


@dataclass(frozen=True, slots=True)
class Audience:
    """Whose part numbers a customer may use."""

    customers: tuple[int, ...]
    """The customer and its ancestors upward."""
    price_classes: tuple[tuple[int, int], ...] = ()
    """Each with its rank: classes of equal rank are equally near (P18)."""

    def distance(self, row: PartRow) -> int | None:
        """How near the owner of a row is, from 0; None: it is not for this customer."""
        if row.customer >= 0:
            return self.customers.index(row.customer) if row.customer in self.customers else None
        if row.price_class >= 0:
            ranks = [rank for name, rank in self.price_classes if name == row.price_class]
            return len(self.customers) + ranks[0] if ranks else None
        return len(self.customers) + max((rank + 1 for _, rank in self.price_classes), default=0)


@dataclass(frozen=True, slots=True)
class Named:
    """An item that a part number names."""

    sku: str
    uom: str
    scheme: str


def gtin_of(code: str) -> str:
    """A GTIN as 14 digits; what can't be one stays as it is."""
    return code.zfill(GTIN_DIGITS) if is_gtin(code) else code


def is_gtin(code: str) -> bool:
    """Whether a code has the form of a GTIN, whatever its check digit: 8 to 14 digits."""
    return code.isascii() and code.isdigit() and GTIN_DIGITS_MIN <= len(code) <= GTIN_DIGITS


def named(
    schemes: Iterable[tuple[str, Sequence[PartRow]]],
    audience: Audience,
    as_of_us: int,
    is_visible: Callable[[str], bool],
) -> tuple[Named, ...]:
    """What a code names, by the rows that each scheme has of it: none, one, or all that it could mean."""
    for scheme, rows in schemes:
        near: dict[int, set[tuple[str, str]]] = {}
        for row in rows:
            distance = audience.distance(row)
            if (
                distance is not None
                and row.valid_from_us <= as_of_us < row.valid_to_us
                and is_visible(row.sku)
            ):
                near.setdefault(distance, set()).add((row.sku, row.uom))
        if near:
            return tuple(Named(sku, uom, scheme) for sku, uom in sorted(near[min(near)]))
    return ()

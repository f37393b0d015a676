"""Which ERP owns which entity, while an old and a new one run side by side.

A TOML file: `default = "old"`, then a table of owners by entity, `[owners]` with `prices = "new"`. An entity is one of
those below or a table of the dataset; a table named itself beats the entity it belongs to.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

from pricegrid.erp.protocol import ErpConfigError

ENTITIES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "items": ("items", "product_groups", "uoms", "kits", "entitlements"),
        "customers": ("customers",),
        "prices": ("layers", "price_books", "agreements", "price_entries", "costs", "exchange_rates"),
        "stock": ("branches", "lanes", "stock", "safety_stock", "calendars", "feeds"),
        "allocations": ("allocations",),
        "moves": ("receipts", "demands"),
    }
)
"""Entities, and the tables of a dataset that hold them."""

_ENTITY_OF: Final = MappingProxyType({table: name for name, tables in ENTITIES.items() for table in tables})


@dataclass(frozen=True, slots=True)
class Mastering:
    """Owners by entity or table."""

    default: str | None = None
    """Of what is not named; None: whoever has it."""
    owners: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> "Mastering":
        """Reads the file; raises ErpConfigError, which names the field."""
        try:
            members = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ErpConfigError(f"{path}: {error}") from None
        owners = members.pop("owners", {})
        default = members.pop("default", None)
        if members:
            raise ErpConfigError(f"{path}: {next(iter(members))} is not known; known are default and owners")
        if not isinstance(owners, dict) or not isinstance(default, str | None):
            raise ErpConfigError(f"{path}: owners must be a table, default a text")
        for entity, owner in owners.items():
            if entity not in ENTITIES and entity not in _ENTITY_OF:
                known = ", ".join((*ENTITIES, *_ENTITY_OF))
                raise ErpConfigError(f"{path}: owners.{entity} is no entity; there are {known}")
            if not isinstance(owner, str) or not owner:
                raise ErpConfigError(f"{path}: owners.{entity} must be the name of an ERP")
        return cls(default, owners)

    def owner(self, table: str) -> str | None:
        """Who owns a table or entity; None: nobody in particular."""
        entity = _ENTITY_OF.get(table, table)
        return self.owners.get(table) or self.owners.get(entity) or self.default

    def takes(self, table: str, erp: str) -> bool:
        """Whether a table is read from that ERP."""
        return self.owner(table) in {None, erp}


NO_MASTERING: Final = Mastering()

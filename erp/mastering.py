"""The mastering table: which ERP owns which entity, while an old and a new one run in parallel.

It is a TOML file with `default = "old"` and a table `[owners]`, for example `prices = "new"`. The keys are the entities
below or tables of the dataset; the key of a table takes precedence over that of its entity.
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
        "customers": ("customers", "customer_classes"),
        "prices": ("layers", "price_books", "agreements", "price_entries", "costs", "exchange_rates"),
        "stock": ("branches", "lanes", "stock", "safety_stock", "calendars", "feeds"),
        "allocations": ("allocations",),
        "moves": ("receipts", "demands"),
    }
)
"""The entities, with their tables of a dataset."""

_ENTITY_OF: Final = MappingProxyType({table: name for name, tables in ENTITIES.items() for table in tables})


@dataclass(frozen=True, slots=True)
class Mastering:
    """Owners by entity or table."""

    default: str | None = None
    """The owner of all other entities; None: any ERP that has them."""
    owners: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> "Mastering":
        """Reads the file; raises ErpConfigError, whose text names the field."""
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
                raise ErpConfigError(f"{path}: owners.{entity} is not an entity; there are {known}")
            if not isinstance(owner, str) or not owner:
                raise ErpConfigError(f"{path}: owners.{entity} must be the name of an ERP")
        return cls(default, owners)

    def owner(self, table: str) -> str | None:
        """The owner of a table or entity; None: not specified."""
        entity = _ENTITY_OF.get(table, table)
        return self.owners.get(table) or self.owners.get(entity) or self.default

    def takes(self, table: str, erp: str) -> bool:
        """Whether to read a table from that ERP."""
        return self.owner(table) in {None, erp}


NO_MASTERING: Final = Mastering()

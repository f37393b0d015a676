"""What the part numbers of a request name, in one snapshot, for one customer (P15)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pricegrid.pricing_engine.arrays.other_names import part_key
from pricegrid.pricing_engine.model import ALWAYS_US, NEVER_US
from pricegrid.pricing_engine.rules.part_numbers import (
    SCHEMES,
    SKU_SCHEME,
    Named,
    PartRow,
    gtin_of,
    is_gtin,
    named,
)
from pricegrid.service.codec.request import trimmed
from pricegrid.service.errors import Reason, RequestRefusedError
from pricegrid.service.limits import FIELD_BYTES_MAX
from pricegrid.service.methods.entitlement import hidden_skus
from pricegrid.service.process.snapshots import LoadedSnapshot

if TYPE_CHECKING:
    from pricegrid.pricing_engine.arrays.other_names import OtherNames, PartNumbers


@dataclass(frozen=True, slots=True)
class PartAsk:
    """A code to look up."""

    scheme: str
    """'' for any."""
    code: str
    as_of_us: int
    is_sku: bool = False
    """It is a SKU, and names itself."""


def check_line(at: int, line: Any) -> None:
    """Refuses a line whose part number can't be one."""
    if len(line.uom_system.encode()) > FIELD_BYTES_MAX:
        message = f"uom_system of lines[{at}] is longer than {FIELD_BYTES_MAX} bytes"
        raise RequestRefusedError(Reason.FIELD_TOO_LONG, message, field="uom_system", index=str(at))
    if not line.HasField("part_number"):
        return
    scheme, code = trimmed(line.part_number.scheme), trimmed(line.part_number.code)
    if line.sku:
        raise _invalid(at, "stands beside a sku: give one of them")
    if scheme and scheme not in SCHEMES:
        raise _invalid(at, f"has a scheme that is none of {', '.join(SCHEMES)}")
    if not 1 <= len(code.encode()) <= FIELD_BYTES_MAX:
        raise _invalid(at, f"has a code of {len(code.encode())} bytes, not 1 to {FIELD_BYTES_MAX}")


def _invalid(at: int, words: str) -> RequestRefusedError:
    return RequestRefusedError(
        Reason.INVALID_PART_NUMBER, f"part_number of lines[{at}] {words}", index=str(at)
    )


def resolve(
    loaded: LoadedSnapshot, customer_id: str, asks: Sequence[PartAsk], *, service_desk: bool
) -> list[tuple[Named, ...]]:
    """What each code names; nothing for one that names itself. Raises UnknownCustomerError."""
    names = loaded.names
    if names is None:
        return [() for _ in asks]
    hits = [() if ask.is_sku else found for ask, found in zip(asks, _hits(names, asks), strict=True)]
    skus = sorted({row.sku for schemes in hits for _, rows in schemes for row in rows})
    is_visible = _visible(loaded, names, customer_id, skus, service_desk=service_desk)
    audience = names.audience(customer_id)
    return [
        named(schemes, audience, ask.as_of_us, is_visible) for ask, schemes in zip(asks, hits, strict=True)
    ]


def _visible(
    loaded: LoadedSnapshot, names: OtherNames, customer_id: str, skus: Sequence[str], *, service_desk: bool
) -> Callable[[str], bool]:
    """Which of the items the caller may see (P11); who works at the service desk is told why they can't be bought."""
    if service_desk or not names.has_entitlements:
        return lambda _: True
    hidden = hidden_skus(loaded.engine, customer_id, [sku.encode() for sku in skus])
    return lambda sku: sku.encode() not in hidden


def _hits(names: OtherNames, asks: Sequence[PartAsk]) -> list[list[tuple[str, list[PartRow]]]]:
    """The rows of each code by scheme, in the order in which the schemes answer."""
    are_skus = names.known_skus([ask.code for ask in asks])
    found: list[list[tuple[str, list[PartRow]]]] = [
        [(SKU_SCHEME, [_sku_row(ask.code)])] if is_sku and not ask.scheme else []
        for ask, is_sku in zip(asks, are_skus, strict=True)
    ]
    if names.part_numbers is not None:
        _add_rows(names.part_numbers, asks, found)
    return found


def _sku_row(sku: str) -> PartRow:
    return PartRow(sku, "", -1, -1, ALWAYS_US, NEVER_US)


def _add_rows(
    numbers: PartNumbers, asks: Sequence[PartAsk], found: list[list[tuple[str, list[PartRow]]]]
) -> None:
    keys: list[str] = []
    owners: list[tuple[int, str]] = []
    for at, ask in enumerate(asks):
        for scheme in (ask.scheme,) if ask.scheme else SCHEMES:
            if scheme == "gtin" and not is_gtin(ask.code):
                continue
            code = gtin_of(ask.code) if scheme == "gtin" else ask.code
            keys.append(part_key(scheme, code))
            owners.append((at, scheme))
            if numbers.has_any_case:
                keys.append(part_key(scheme, code, any_case=True))
                owners.append((at, scheme))
    for (at, scheme), rows in zip(owners, numbers.rows(keys), strict=True):
        if rows:
            before = found[at][-1] if found[at] and found[at][-1][0] == scheme else None
            if before is None:
                found[at].append((scheme, rows))
            else:
                before[1].extend(rows)

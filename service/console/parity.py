"""The page of parity: how ordinary prices compare with the ERP's, by book and one by one."""

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Final

from pricegrid.erp.operator_flags import OperatorFlags
from pricegrid.erp.parity import BookParity, Mismatch, ParityFile
from pricegrid.loaders.store.book_ages import BookAges, readable_ages
from pricegrid.pricing_engine.model import MICROS
from pricegrid.service.cli.text import decimal_text
from pricegrid.service.clock import instant_of_us, instant_text
from pricegrid.service.console.asked import Asked, FormError
from pricegrid.service.console.html import Element, Node, tag
from pricegrid.service.console.layout import ask, badge, field, link, moment, section, table
from pricegrid.service.console.snapshots import may_list, unchanged_since

PATH = "/parity"
_SHOWN: Final = 200


def form(asked: Asked) -> Element:
    """Asks for the comparisons of a snapshot."""
    return ask(
        PATH,
        field("Snapshot", "snapshot", asked.text("snapshot"), hint="empty: the active one", wide=True),
        field("Book", "book", asked.text("book"), hint="empty: all"),
        field("At most", "limit", asked.text("limit"), hint=f"prices that differ; empty: {_SHOWN}"),
        button="Show parity",
    )


def answer(asked: Asked) -> Node:
    """What the servers' samples and `pricegrid parity` have compared."""
    if asked.store is None:
        return None
    may_list(asked)
    limit = asked.count("limit", "At most", _SHOWN)
    version, book = _version(asked, asked.store), asked.text("book")
    file = ParityFile(asked.store)
    books = {name: each for (_, name), each in file.books(version).items() if book in {"", name}}
    found = [each for each in reversed(file.mismatches(version)) if book in {"", each.book_id}]
    if not books:
        told = f"Nothing of snapshot {version} was compared with an ERP."
        how = "A server with --erp-config compares a sample of the prices it answers; pricegrid parity compares now."
        return [tag("p", told, class_="lead"), tag("p", how, class_="hint")]
    flagged = OperatorFlags(asked.store).read().flagged("book", version)
    return [_books(version, books, flagged, readable_ages(asked.store, version)), _mismatches(found, limit)]


def _version(asked: Asked, store: Path) -> str:
    from pricegrid.loaders.store.commands import snapshots_list

    rows = snapshots_list(store)
    named = asked.text("snapshot")
    for row in rows:
        if row["version"] == named or (not named and row["active"]):
            return str(row["version"])
    raise FormError("snapshot", f"Snapshot: the store holds none called {named[:80]!r}")


def _books(
    version: str, books: Mapping[str, BookParity], flagged: frozenset[str], ages: BookAges | None
) -> Element:
    worst = sorted(books.items(), key=lambda each: (-each[1].mismatch_pct, each[0]))
    rows = [
        (
            link(name, PATH, {"book": name, "snapshot": version}) if name else "(none)",
            f"{each.checked:,}",
            f"{each.mismatched:,}",
            f"{each.mismatch_pct:.2f}",
            unchanged_since(None if ages is None else ages.since(name)),
            badge("flagged") if name in flagged else "",
        )
        for name, each in worst
    ]
    header = ("Book", "Compared", "Of them differ", "Percent", "Unchanged since", "State")
    return section(
        "By book",
        table(
            f"Prices of snapshot {version}, the book that differs most first", header, rows, right=(1, 2, 3)
        ),
        tag("p", "Prices of a flagged book are exceptions until the next load.", class_="hint")
        if flagged
        else None,
    )


def _mismatches(found: list[Mismatch], limit: int) -> Element:
    if not found:
        return section("Prices that differ", tag("p", "None: all that were compared are equal."))
    rows = [
        (
            each.customer_id or "(everyone)",
            each.sku,
            f"{_decimal(each.quantity_micros)} {each.uom}",
            each.book_id,
            each.entry_id,
            _decimal(each.ours_micros),
            _decimal(each.theirs_micros),
            _difference(each),
            each.currency,
            moment(instant_of_us(each.at_us)),
            link("How ours comes about", "/price", _question(each)),
        )
        for each in found[:limit]
    ]
    header = (
        "Customer", "Item", "Quantity", "Book", "Entry", "Ours", "The ERP's", "Ours less", "Currency", "Compared at",
        "Explained",
    )  # fmt: skip
    more = len(found) - len(rows)
    return section(
        f"Prices that differ: {len(found):,}",
        table("The newest first", header, rows, right=(2, 5, 6, 7)),
        tag("p", f"and {more:,} more", class_="hint") if more else None,
    )


def _question(each: Mismatch) -> dict[str, str]:
    return {
        "customer": each.customer_id,
        "sku": each.sku,
        "quantity": _decimal(each.quantity_micros),
        "uom": each.uom,
        "currency": each.currency,
        "branch": each.branch,
        "as_of": instant_text(instant_of_us(each.as_of_us)),
        "snapshot": each.snapshot_version,
    }


def _difference(each: Mismatch) -> str:
    if each.ours_micros is None or each.theirs_micros is None:
        return ""
    return _decimal(each.ours_micros - each.theirs_micros)


def _decimal(micros: int | None) -> str:
    """An amount or a quantity; where the ERP has no price, that."""
    return "no price" if micros is None else decimal_text(Decimal(micros) / MICROS)

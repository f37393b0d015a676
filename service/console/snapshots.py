"""The page of snapshots: what the store holds, what changed, what the last load rejected, going back."""

import csv
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

from pricegrid.loaders.store.book_ages import readable_ages
from pricegrid.service.clock import instant_of_us, now_us
from pricegrid.service.console.asked import Asked, FormError
from pricegrid.service.console.html import Element, Node, tag
from pricegrid.service.console.layout import (
    ask,
    badge,
    field,
    hidden,
    link,
    moment,
    notice,
    post,
    section,
    table,
)
from pricegrid.service.console.price import text

PATH = "/snapshots"
ACTIVATE = "/snapshots/activate"
_ROWS_SHOWN: Final = 100
_BOOKS_SHOWN: Final = 10
_REJECTS_SHOWN: Final = 50
_WHY: Final = frozenset({"line", "column", "reason"})
"""What of a reject is read first."""
_KINDS: Final = ("added", "removed", "changed")
_NOBODY: Final = "console: may dead letters be managed?"
"""No dead letter is called so: asking to replay it changes nothing, and is refused to who may not manage them."""


def may_read(asked: Asked) -> None:
    """Raises the server's refusal for a caller who may not see what all customers have."""
    asked.client.dead_letters(limit=1)


def may_list(asked: Asked) -> None:
    """Raises the server's refusal for a caller who may not ask for every customer."""
    asked.client.reservations(limit=1)


def may_manage(asked: Asked) -> None:
    """Raises the server's refusal for a caller who is no operator."""
    asked.client.replay_dead_letters([_NOBODY])


def form(asked: Asked) -> Element:
    """Asks what changed between two snapshots."""
    return ask(
        PATH,
        field("Old snapshot", "old", asked.text("old"), hint="a version of the list", wide=True),
        field("New snapshot", "new", asked.text("new"), hint="empty: the active one", wide=True),
        button="Compare",
    )


def answer(asked: Asked) -> Node:
    """What the store holds; what changed, where two are named; one to be activated, where it is to be confirmed."""
    may_read(asked)
    if asked.text("activate"):
        return _confirmation(asked, asked.text("activate"))
    store = _store(asked)
    compared = _diff(store, asked.text("old"), asked.text("new") or "current") if asked.text("old") else None
    return [compared, _list(store), _books(store), _rejects(store)]


def activate(asked: Asked) -> Node:
    """Serves another snapshot, when the confirmation names it."""
    version = asked.text("version")
    if not version or asked.text("confirmed") != version:
        raise FormError("confirmed", "Activate: the confirmation does not name the snapshot")
    may_manage(asked)
    from pricegrid.loaders.store.commands import snapshots_activate

    snapshots_activate(_store(asked), version)
    told = f"Snapshot {version} is the active one now; servers of this store take it up by themselves."
    return [notice(told, kind="good"), _list(_store(asked))]


def _store(asked: Asked) -> Path:
    assert asked.store is not None  # noqa: S101 -- without a store these pages are not there
    return asked.store


def _known(store: Path, version: str) -> None:
    from pricegrid.loaders.store.commands import snapshots_list

    if version not in {row["version"] for row in snapshots_list(store)}:
        raise FormError("activate", f"Snapshot: the store holds none called {version[:80]!r}")


def _list(store: Path) -> Element:
    from pricegrid.loaders.store.commands import snapshots_list

    found: list[dict[str, Any]] = list(reversed(snapshots_list(store)))
    rows = []
    for at, row in enumerate(found):
        version, older = row["version"], found[at + 1]["version"] if at + 1 < len(found) else ""
        actions: Node = badge("active") if row["active"] else link("Activate", PATH, {"activate": version})
        compare = link("What changed", PATH, {"old": older, "new": version}) if older else ""
        rows.append(
            (
                version,
                row["created_at"],
                f"{row['size_bytes']:,}",
                f"{row['shared_bytes']:,}",
                f"{row['counts'].get('price_entries', 0):,}",
                compare,
                actions,
            )
        )
    header = (
        "Version",
        "Made at",
        "Bytes",
        "Of them shared",
        "Price entries",
        "Since the one before",
        "State",
    )
    return section("Snapshots", table("The newest first", header, rows, right=(2, 3, 4)))


def _books(store: Path) -> Node:
    """How long the books that are served are unchanged."""
    from pricegrid.loaders.store.commands import snapshots_list

    version = next((str(row["version"]) for row in snapshots_list(store) if row["active"]), "")
    ages, now = readable_ages(store, version), now_us()
    if ages is None:
        return None
    span = ages.span(now)
    if span is None:
        told = f"Snapshot {version} does not say since when its books are unchanged; the next full load notes it."
        return section("Price books by age", tag("p", told, class_="hint"))
    counts = [(age, f"{count:,}") for age, count in ages.counts(now).items() if count]
    longest = [(name, unchanged_since(since)) for name, since in islice(ages.oldest(now), _BOOKS_SHOWN)]
    note = "A book may be older than it looks: this counts from the first load that noted what it said."
    return section(
        "Price books by age",
        tag("p", "The last change of a book: ", unchanged_since(span[1]), class_="lead"),
        table(
            "Books in force, by how long they are unchanged", ("Unchanged for", "Books"), counts, right=(1,)
        ),
        table(f"Unchanged for longest, {len(longest)} of them", ("Book", "Unchanged since"), longest),
        tag("p", note, class_="hint"),
    )


def unchanged_since(since_us: int | None) -> Node:
    """An instant; empty where it is not known."""
    return "" if since_us is None else moment(instant_of_us(since_us))


def _confirmation(asked: Asked, version: str) -> Node:
    _known(_store(asked), version)
    return section(
        f"Activate {version}?",
        tag(
            "p",
            "All servers of this store will answer from it, for every customer. Its bytes are verified first.",
        ),
        post(
            ACTIVATE,
            hidden(version=version, confirmed=version),
            tag("button", f"Activate {version}", type="submit", class_="primary"),
        ),
        tag("p", link("No, back to the snapshots", PATH), class_="more"),
    )


def _diff(store: Path, old: str, new: str) -> Node:
    from pricegrid.loaders.publish import default_functions
    from pricegrid.loaders.store.commands import snapshots_diff

    found: dict[str, Any] = snapshots_diff(store, old, new, default_functions().tools, now_us(), _ROWS_SHOWN)
    return section(
        f"What changed from {found['old']} to {found['new']}",
        _sample(found["sample"]),
        [notice(note) for note in found["notes"]],
        _tables(found),
        _entries(found.get("rows", ())),
    )


def _sample(sample: Mapping[str, Any] | None) -> Node:
    if sample is None:
        return None
    from pricegrid.loaders.gates.sample_change import example_text

    examples = [tag("li", f"{each['change']}: {example_text(each)}") for each in sample["examples"]]
    return [tag("p", sample["text"], class_="lead"), tag("ul", examples) if examples else None]


def _tables(found: Mapping[str, Any]) -> Node:
    tables: dict[str, Mapping[str, Any]] = dict(found["tables"])
    if "added" in found:
        tables["price_entries"] = found
    rows: list[Sequence[Node]] = []
    same = [name for name, each in tables.items() if not any(each.get(kind, 1) for kind in _KINDS)]
    for name, each in tables.items():
        if name in same:
            continue
        counts = [f"{each[kind]:,}" if kind in each else "?" for kind in _KINDS]
        sizes = ["" if each.get(kind) is None else f"{each[kind]:,}" for kind in ("old_rows", "new_rows")]
        examples = [tag("li", _example(example)) for example in each.get("examples", ())]
        rows.append((name, *sizes, *counts, tag("ul", examples) if examples else ""))
    header = ("Table", "Rows before", "Rows after", "Added", "Removed", "Changed", "Such as")
    unchanged = tag("p", f"Unchanged: {', '.join(same)}.", class_="hint") if same else None
    return [table("Rows by table", header, rows, right=range(1, 6)) if rows else None, unchanged]


def _example(example: Mapping[str, Any]) -> str:
    line = f"{example['change']} {_cells(example['row'])}"
    if example["change"] == "changed":
        line += f": {_cells(example['old'])} → {_cells(example['new'])}"
    return line


def _cells(row: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in row.items()) or "blank"


def _entries(found: Sequence[Mapping[str, Any]]) -> Node:
    if not found:
        return None
    rows = []
    for row in found:
        sides = [f"{side['method']} {side['value']}" if side else "" for side in (row["old"], row["new"])]
        target = row["sku"] or row["product_group"] or "every item"
        rows.append(
            (row["book_id"], target, text(row["entry_id"]), row["min_quantity"], row["change"], *sides)
        )
    header = ("Book", "Item or group", "Entry", "From quantity", "Change", "Before", "After")
    return table(f"Price entries, the first {_ROWS_SHOWN}", header, rows, right=(3, 5, 6))


def _rejects(store: Path) -> Element:
    parts: list[Node] = []
    for path in sorted((store / "rejects").glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            lines = csv.reader(file)
            header = next(lines, [])
            rows = [row for row, _ in zip(lines, range(_REJECTS_SHOWN), strict=False)]
            more = sum(1 for _ in lines)
        if rows:
            count = f"{len(rows) + more:,}"
            filled = [at for at in range(len(header)) if any(row[at] for row in rows)]
            places = sorted(filled, key=lambda at: header[at] not in _WHY)
            shown = [[row[at] for at in places] for row in rows]
            parts.append(table(f"{path.stem}, rows rejected: {count}", [header[at] for at in places], shown))
            parts.append(tag("p", f"and {more:,} more in {path.name}", class_="hint") if more else None)
    return section("Rejects of the last load", parts or tag("p", "The last load rejected no row."))

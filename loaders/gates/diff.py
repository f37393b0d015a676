"""What changed between two snapshots: every table, row by row, and what customers will see of it."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import date
from typing import Any, Final

import polars as pl

from pricegrid.columnar.decimals import decimal_text
from pricegrid.loaders.gates.gates import compare, edge_text
from pricegrid.loaders.gates.limits import Limits
from pricegrid.loaders.gates.running import Side, Tools, compare_sample, why_not_asked
from pricegrid.loaders.gates.sample_change import example_text
from pricegrid.loaders.store.kept import ENTRIES, row_key
from pricegrid.loaders.tables import TABLES

EXAMPLES_MAX: Final = 3
"""Rows of each kind of change that are shown of a table."""


def diff(
    old: Side, new: Side, tools: Tools, limits: Limits, as_of_us: int, rows_max: int
) -> dict[str, object]:
    """JSON-able: counts and the first `rows_max` rows of price entries (`added`, `removed`, `changed`, `books`,
    `rows`); `tables` with counts and examples of each other table, `sample`, and `notes` on what
    could not be compared."""
    notes: list[str] = []
    answer: dict[str, object] = {"old": old.version, "new": new.version}
    if old.arrays is None or new.arrays is None:
        side = old if old.arrays is None else new
        notes.append(f"price entries: snapshot {side.version} has a format that this release doesn't read")
    else:
        answer.update(compare(tools.decode(old.arrays), tools.decode(new.arrays), rows_max))
    names = [name for name in TABLES if name != ENTRIES and (name in old.kept.rows or name in new.kept.rows)]
    answer["tables"] = {name: _table(name, old, new, notes) for name in names}
    notes += [
        f"snapshot {side.version} keeps no tables: only their numbers of rows can be compared"
        for side in (old, new)
        if side.kept.sample() is None
    ]
    change = compare_sample(old, new, tools, limits, as_of_us)
    answer["sample"] = None if change is None else {**asdict(change), "text": change.text}
    if change is None:
        notes.append("sample: " + why_not_asked(old, tools))
    answer["notes"] = notes
    return answer


def _table(name: str, old: Side, new: Side, notes: list[str]) -> dict[str, object]:
    before, after = old.kept.table(name), new.kept.table(name)
    rows: dict[str, object] = {"old_rows": old.kept.rows.get(name), "new_rows": new.kept.rows.get(name)}
    for side, frame in ((old, before), (new, after)):
        if frame is None and name not in side.kept.rows:
            notes.append(f"table {name} is absent in {side.version}")
    if before is None and after is None:
        return rows
    if before is None or after is None:
        is_absent = name not in (old if before is None else new).kept.rows
        if not is_absent:
            return rows
        left = before if after is None else after
        assert left is not None  # noqa: S101 -- one of the two is there
        before, after = (left, left.clear()) if after is None else (left.clear(), left)
    return rows | _changes(name, before, after)


def _changes(name: str, old: pl.DataFrame, new: pl.DataFrame) -> dict[str, object]:
    common = [column for column in new.columns if column in old.columns]
    old, new = old.select(common), new.select(common)
    key = [column for column in row_key(name) if column in common] or common
    content = [column for column in common if column not in key]
    added = new.join(old, on=key, how="anti", nulls_equal=True)
    removed = old.join(new, on=key, how="anti", nulls_equal=True)
    both = old.join(new, on=key, how="inner", nulls_equal=True, suffix="~new")
    same = [pl.col(column).eq_missing(pl.col(column + "~new")) for column in content]
    changed = both.filter(~pl.all_horizontal(same)) if same else both.clear()
    examples = [
        *({"change": "added", "row": _shown(row)} for row in _first(added, key)),
        *({"change": "removed", "row": _shown(row)} for row in _first(removed, key)),
        *(_changed(row, key, content) for row in _first(changed, key)),
    ]
    return {"added": added.height, "removed": removed.height, "changed": changed.height, "examples": examples}


def _first(frame: pl.DataFrame, key: list[str]) -> list[dict[str, Any]]:
    return frame.sort(key, maintain_order=True).head(EXAMPLES_MAX).to_dicts()


def _changed(row: Mapping[str, Any], key: list[str], content: list[str]) -> dict[str, object]:
    other = [column for column in content if row[column] != row[column + "~new"]]
    return {
        "change": "changed",
        "row": _shown({column: row[column] for column in key}),
        "old": _shown({column: row[column] for column in other}),
        "new": _shown({column: row[column + "~new"] for column in other}),
    }


def _shown(row: Mapping[str, Any]) -> dict[str, object]:
    """The cells that say something, as they are written in files."""
    shown: dict[str, object] = {}
    for column, value in row.items():
        if column.endswith("_micros") and value is not None:
            shown[column.removesuffix("_micros")] = decimal_text(value)
        elif column.endswith("_us") and value is not None:
            text = edge_text(value)
            if text is not None:
                shown[column.removesuffix("_us")] = text
        elif value is not None:
            shown[column] = value.isoformat() if isinstance(value, date) else value
    return shown


def diff_text(answer: Mapping[str, Any]) -> list[str]:
    """The lines for people."""
    lines = []
    if answer["sample"] is not None:
        lines.append(answer["sample"]["text"])
        lines += [
            f"  {example['change']}: {example_text(example)}" for example in answer["sample"]["examples"]
        ]
    for name, table in answer["tables"].items():
        if "added" not in table:
            lines.append(f"{name}: {table['old_rows']} rows, then {table['new_rows']}")
        elif table["added"] or table["removed"] or table["changed"]:
            counts = f"{table['added']} added, {table['removed']} removed, {table['changed']} changed"
            lines.append(f"{name}: {counts} ({table['old_rows'] or 0} rows, then {table['new_rows'] or 0})")
            lines += [f"  {_example(each)}" for each in table["examples"]]
    if "added" in answer:
        counts = f"{answer['added']} added, {answer['removed']} removed, {answer['changed']} changed"
        lines.append(f"{ENTRIES}: {counts}")
    for row in answer.get("rows", ()):
        old, new = (f"{side['method']} {side['value']}" if side else "-" for side in (row["old"], row["new"]))
        target = row["sku"] or row["product_group"] or "every item"
        start = f"  {row['change']:<8} {row['book_id']} {target} from {row['min_quantity']}"
        lines.append(f"{start}: {old} -> {new}")
    return lines + [f"note: {words}" for words in answer["notes"]]


def _example(example: Mapping[str, Any]) -> str:
    def cells(row: Mapping[str, Any]) -> str:
        return ", ".join(f"{name} {value}" for name, value in row.items()) or "blank"

    line = f"{example['change']:<8} {cells(example['row'])}"
    if example["change"] == "changed":
        line += f": {cells(example['old'])} -> {cells(example['new'])}"
    return line

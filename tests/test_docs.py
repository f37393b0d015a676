"""What the documents say is what the code does."""

import re
from pathlib import Path

import pytest

from pricegrid.loaders.tables import TABLES

DATASET = Path("docs/dataset.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_every_table_and_column_is_documented(table) -> None:
    row = re.search(rf"^\| `{table.name}` \| (.*) \|$", DATASET, re.MULTILINE)
    assert row, f"docs/dataset.md has no row for {table.name}"
    for column in table.columns:
        pattern = rf"\*\*{column.name}\*\*" if column.required else rf"\b{column.name}\b"
        assert re.search(pattern, row[1]), f"{table.name}.{column.name}"

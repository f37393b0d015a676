"""Small datasets of CSV files, loaded as a user loads them and asked as a user asks.

Unless a dataset says otherwise it is one item X at MAIN (beside a branch B), in UTC, whose complete extracts are of
2026-03-02, a Monday, the day asked about. Days are written as their distance from it.
"""

import json
from collections.abc import Mapping
from datetime import date, timedelta
from types import MappingProxyType

import pytest

from pricegrid.service.cli.main import main
from tests.written import write_tables

TODAY = date(2026, 3, 2)
NOON = "2026-03-02T12:00:00Z"
FEEDS = "branch,source,as_of,complete\n" + "".join(
    f"{branch},{source},2026-03-02T06:00:00Z,true\n"
    for branch in ("MAIN", "B")
    for source in ("erp", "wms", "transit")
)
NOTHING: Mapping[int, int] = MappingProxyType({})


def day(distance: int) -> str:
    return (TODAY + timedelta(days=distance)).isoformat()


def dated(column: str, rows: Mapping[int, int], sku: str = "X", branch: str = "MAIN") -> str:
    lines = [f"{sku},{branch},{quantity},{day(distance)}" for distance, quantity in rows.items()]
    return "\n".join([f"sku,branch,quantity,{column}", *lines]) if lines else ""


def supply(
    on_hand: int | None = 10, receipts: Mapping[int, int] = NOTHING, demands: Mapping[int, int] = NOTHING
) -> dict[str, str]:
    """Tables of one item X at MAIN."""
    stock = "" if on_hand is None else f"X,MAIN,{on_hand},2026-03-02T06:00:00Z"
    return {
        "items": "sku,base_uom\nX,EA",
        "branches": "branch\nMAIN\nB",
        "feeds": FEEDS,
        "stock": f"sku,branch,on_hand,as_of\n{stock}",
        "receipts": dated("expected_at", receipts),
        "demands": dated("due_at", demands),
    }


class Stores:
    """Writes tables as files and loads them, the same ones once."""

    def __init__(self, factory: pytest.TempPathFactory) -> None:
        self._factory = factory
        self._made: dict[tuple[tuple[str, str], ...], str] = {}

    def __call__(self, **tables: str) -> str:
        """The store."""
        key = tuple(sorted(tables.items()))
        if key not in self._made:
            dataset, store = (self._factory.mktemp(name) for name in ("dataset", "store"))
            write_tables(dataset, tables)
            # of tables so small, one rejected row is much
            assert main(["load", str(dataset), "--store", str(store), "--max-reject-pct", "100"]) == 0
            self._made[key] = str(store)
        return self._made[key]


class Asking:
    """Asks a store and reads the JSON; `code` is what the command must end with."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(
        self, store: str, command: str, *words: str, as_of: str = NOON, code: int = 0
    ) -> list[dict[str, object]]:
        """The rows."""
        self._capsys.readouterr()
        ended = main([command, "--store", store, "--as-of", as_of, "--json", *words])
        printed = self._capsys.readouterr()
        assert ended == code, printed.err
        return json.loads(printed.out)


def shipments(row: dict[str, object]) -> list[tuple[str, str, str]]:
    return [(part["branch"], part["quantity"], part["pick_date"]) for part in row["promised"]]


def steps(row: dict[str, object]) -> list[tuple[str, str, str]]:
    return [(step["date"], step["atp"], step["balance"]) for step in row["projected"]]

"""A console over a store in this process, and one who asks it."""

import asyncio
import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from aiohttp.test_utils import TestClient, TestServer

from pricegrid import (
    Client,
    InventoryEvent,
    InventoryEventKind,
    InventoryMeasure,
    InventorySource,
    ReserveLine,
)
from pricegrid.erp.operator_flags import Flag, OperatorFlags
from pricegrid.erp.parity import Mismatch, ParityFile
from pricegrid.pricing_engine.model import ExceptionPolicy
from pricegrid.service.cli.main import main
from pricegrid.service.clock import instant_of_us, now_us
from pricegrid.service.console.app import Console, application
from pricegrid.service.rpc.in_process import store_client
from tests.datasets import as_frames
from tests.stores import stocked_rows

EVIL = "<script>alert('x')</script>"
AS_OF = "2026-03-02T10:00:00Z"


@dataclass
class Direct:
    """A server in this process, that asks nobody who they are."""

    found: Client

    def client(self, token: str | None) -> Client:
        return self.found

    def health(self, token: str | None) -> Mapping[str, str]:
        return {"server": "SERVING", "AvailabilityService": "NOT_SERVING"}


@dataclass
class Answer:
    status: int
    text: str
    headers: Mapping[str, str]


@dataclass
class World:
    console: Console
    client: Client
    versions: tuple[str, ...] = ()

    def get(self, path: str, *, cookies: Mapping[str, str] | None = None, **headers: str) -> Answer:
        return asyncio.run(self._ask("GET", path, None, cookies or {}, headers))

    def post(
        self, path: str, data: Mapping[str, str], *, cookies: Mapping[str, str] | None = None, **headers: str
    ) -> Answer:
        return asyncio.run(self._ask("POST", path, data, cookies or {}, headers))

    async def _ask(
        self,
        method: str,
        path: str,
        data: Mapping[str, str] | None,
        cookies: Mapping[str, str],
        headers: Mapping[str, str],
    ) -> Answer:
        async with TestClient(TestServer(application(self.console)), cookies=dict(cookies)) as asking:
            own = str(asking.make_url("/")).rstrip("/")
            sent = {name.replace("_", "-"): value.replace("OWN", own) for name, value in headers.items()}
            async with asking.request(method, path, data=data, headers=sent, allow_redirects=False) as got:
                return Answer(got.status, await got.text(), dict(got.headers))


def _compared(store: Path, version: str) -> None:
    """What a server's sampler has found: one price of C1 that differs, one that the ERP does not have, of a book that
    is flagged for it and is in no agreement."""
    file = ParityFile(store)
    for sku, book, ours, theirs in (
        ("S3", "C1", 1_250_000, 1_300_000),
        ("S4", "LIST", 11_000_000, 11_000_000),
        ("S5", "OLD", 10_000_000, None),
    ):
        question = ("C1", sku, 4_000_000, "EA", "EUR", "HAM", 1_772_445_600_000_000)
        differs = Mismatch(version, book, "", *question, ours, theirs, 1_772_445_601_000_000)
        file.add(version, book, None if ours == theirs else differs)
    OperatorFlags(store).flag(Flag("book", "OLD", 1_772_445_602_000_000, "differs", version))


@contextlib.contextmanager
def console_world(folder: Path) -> Iterator[World]:
    """The shop of tests.stores with an item of an evil name, loaded twice; the second time at another price."""
    rows = stocked_rows()
    rows["items"].append({"sku": EVIL, "base_uom": "EA", "description": EVIL})
    rows["price_entries"].append({"book_id": "LIST", "sku": EVIL, "method": "net", "value": "7.5"})
    many = {"book_id": "LIST", "sku": EVIL, "method": "net", "value": "7", "min_quantity": "1717"}
    rows["price_entries"].append(many)
    rows["price_entries"].append({"book_id": "LIST", "sku": "NONE", "method": "net", "value": "1"})
    due = {"due_at": "2026-03-09T12:00:00Z", "order_ref": "SO-9"}
    rows["demands"] = [{"sku": "PANEL", "branch": "HAM", "quantity": "250", **due}]
    store = folder / "store"
    versions = []
    for number, price in enumerate(("10", "11")):
        for row in rows["price_entries"]:
            if row["sku"] == "S4":
                row["value"] = price
        dataset = folder / f"dataset-{number}"
        dataset.mkdir()
        for name, frame in as_frames(rows).items():
            frame.write_csv(dataset / f"{name}.csv")
        assert main(["load", str(dataset), "--store", str(store), "--force"]) == 0
        versions.append((store / "current").read_text().strip())
    with store_client(store, ExceptionPolicy(), changes_live_state=True) as client:
        client.publish_events(
            [
                InventoryEvent(
                    source=InventorySource.WMS,
                    sequence=1,
                    effective=instant_of_us(now_us()),
                    measure=InventoryMeasure.ALLOCATED,
                    kind=InventoryEventKind.SET,
                    sku=EVIL + "?",
                    branch="HAM",
                    quantity=1,
                    order_ref="SO-1",
                )
            ]
        )
        _compared(store, versions[-1])
        client.reserve([ReserveLine("BOLT", 7, "HAM")], key="k", customer_id="C2")
        yield World(Console(Direct(client), "Server of tests", store), client, tuple(versions))

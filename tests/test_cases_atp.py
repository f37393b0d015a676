"""Stock and reservation cases from the field (`cases/atp`), each run step by step with a clock of its own.

A case drives live state over the embedded cache: `load` goes over to a snapshot of the dataset made at that step,
`restart` ends the process and reads again what is durable. Only the fields that a case expects must hold.
"""

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from pricegrid.atp.engine import AvailabilityEngine
from pricegrid.atp.live.positions import LiveWriter
from pricegrid.atp.model import MICROS, AvailabilityStatus, CheckAsk
from pricegrid.atp.rules.events import EventStatus
from pricegrid.atp.rules.reservations import ReserveAsk, ReserveLine
from pricegrid.cache.embedded import EmbeddedStateCache
from pricegrid.loaders.compile.positions import compile_positions
from pricegrid.loaders.validate.tables import read_dataset
from pricegrid.service.codec.event_json import event_from_json
from pricegrid.service.codec.events import encode_events
from pricegrid.service.errors import RequestRefusedError
from pricegrid.service.live.api import Release
from pricegrid.service.live.state import LiveState
from tests.atp_world import q, us

CASES = Path(__file__).parent / "cases" / "atp"
FIRST_LOAD = "2026-03-02T06:00:00Z"
TTL_S = 900


def instant(text: str) -> int:
    return us(datetime.fromisoformat(text))


def decimal(micros: int) -> str:
    return f"{micros / MICROS:.6f}".rstrip("0").rstrip(".")


class Place:
    """What a case acts on."""

    def __init__(self, dataset: Path, directory: Path) -> None:
        self.dataset, self.directory = dataset, directory
        self.now_us = instant(FIRST_LOAD)
        self.loaded_us = self.now_us
        self.ids: dict[str, str] = {}
        self.start()

    def start(self) -> None:
        self.cache = EmbeddedStateCache(self.directory)
        self.engine = self._engine()
        self.live = LiveState(
            self.cache, self.engine, self._version(), self.loaded_us, _room, lambda: self.now_us
        )

    def _engine(self) -> AvailabilityEngine:
        return AvailabilityEngine(compile_positions(read_dataset(self.dataset).frames))

    def _version(self) -> str:
        return f"20260302T060000Z-{self.loaded_us & 0xFFFFFFFF:08x}"

    def step(self, step: dict) -> dict:
        self.now_us = instant(step["at"])
        run: Callable[[dict], dict] = getattr(self, step["op"])
        try:
            return {"ok": True, **run(step)}
        except RequestRefusedError as refused:
            return {"ok": False, "reason": refused.reason.value}

    def reserve(self, step: dict) -> dict:
        lines = [
            ReserveLine(
                line["sku"],
                q(line["quantity"]),
                line["branch"],
                line.get("uom", ""),
                order_line=line.get("order_line", ""),
            )
            for line in step["lines"]
        ]
        ask = ReserveAsk(
            step["key"],
            "C1",
            lines,
            step.get("ttl_seconds", TTL_S) * MICROS,
            step.get("allow_partial", False),
            step.get("all_or_nothing", False),
            step.get("order_ref", ""),
            exclude_reservation=self.ids.get(step.get("exclude", ""), ""),
            replace_reservation=self.ids.get(step.get("replace", ""), ""),
        )
        held = self.live.reserve(ask).reservation
        if held.reservation_id:
            self.ids[step["key"]] = held.reservation_id
        reserved = [decimal(line.held_micros) for line in held.lines]
        return {"ok": bool(held.reservation_id), "reserved": reserved}

    def confirm(self, step: dict) -> dict:
        lines = [step["order_line"]] if step.get("order_line") else []
        self.live.confirm("C1", self.ids[step["key"]], step["order_ref"], lines)
        return {}

    def release(self, step: dict) -> dict:
        parts = [Release(part["line"], q(part["quantity"])) for part in step.get("parts", ())]
        self.live.release("C1", self.ids[step["key"]], parts)
        return {}

    def extend(self, step: dict) -> dict:
        self.live.extend("C1", self.ids[step["key"]], step["ttl_seconds"] * MICROS)
        return {}

    def events(self, step: dict) -> dict:
        events = [event_from_json(json.dumps(each)) for each in step["events"]]
        counts = self.live.publish(encode_events(events)).counts
        return {"dead_letter": counts.get(EventStatus.DEAD_LETTER, 0)}

    def erp_allocation(self, step: dict) -> dict:
        return self._publish("allocated", "wms", step["allocated"], step)

    def set_on_hand(self, step: dict) -> dict:
        return self._publish("on_hand", "erp", step["quantity"], step)

    def _publish(self, measure: str, source: str, quantity: str, step: dict) -> dict:
        self.sequences = getattr(self, "sequences", {})
        key = (source, step["sku"], step["branch"])
        self.sequences[key] = self.sequences.get(key, 0) + 1
        event = {
            "source": source,
            "sequence": self.sequences[key],
            "effective_time": step["at"],
            "measure": measure,
            "kind": "set",
            "quantity": quantity,
            **{name: step[name] for name in ("sku", "branch", "order_ref", "order_line") if step.get(name)},
        }
        return self.events({"events": [event]})

    def availability(self, step: dict) -> dict:
        ask = CheckAsk(
            self.now_us,
            [step["sku"].encode()],
            np.array([q(step.get("quantity", 1))]),
            [step.get("uom", "").encode()],
            [step["branch"].encode()],
            exclude_reservation=self.ids.get(step.get("exclude", ""), ""),
        )
        found = self.engine.check(ask)
        is_known = found.status[0] == AvailabilityStatus.OK
        return {"available": decimal(int(found.available_micros[0])) if is_known else None}

    def reservations(self, step: dict) -> dict:
        return {"keys": sorted(held.key for held in self.live.reservations())}

    def load(self, step: dict) -> dict:
        self.dataset = self.dataset.parent / step["folder"]
        self.loaded_us = self.now_us
        self.engine = self._engine()
        self.live.use(self.engine, self._version(), self.loaded_us, _room)
        return {}

    def restart(self, step: dict) -> dict:
        self.cache.close()
        self.start()
        return {}


def _room(grown: int) -> LiveWriter:
    return LiveWriter.in_memory(2 << grown, 1 << 6 + grown)


def cases() -> list:
    found = []
    for file in sorted(CASES.glob("*/cases.jsonl")):
        for line in file.read_text().splitlines():
            case = json.loads(line)
            found.append(pytest.param(file.parent / "dataset", case, id=case["case"]))
    return found


@pytest.mark.parametrize(("dataset", "case"), cases())
def test_case(dataset, case, tmp_path):
    place = Place(dataset, tmp_path)

    for number, (step, expected) in enumerate(
        zip(case["args"]["steps"], case["expected"]["steps"], strict=True)
    ):
        found = place.step(step)
        assert {name: found.get(name) for name in expected} == expected, (number, step)

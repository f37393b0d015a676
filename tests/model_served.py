"""A running server as a target of the independent model: two kinds of restart, its own clock, all over gRPC."""

import contextlib
import os
import signal
import struct
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

from pricegrid import (
    Client,
    InventoryEvent,
    InventoryEventKind,
    InventoryMeasure,
    InventorySource,
    Line,
    PricegridError,
    Release,
    ReserveLine,
)
from pricegrid.loaders.publish import compile_dataset
from pricegrid.loaders.store.snapshot import activate, write_snapshot
from tests.datasets import as_frames
from tests.forked_server import running_forked
from tests.model_steps import CUSTOMER
from tests.model_targets import Refused, Reserved, Seen, us
from tests.model_world import Ask, Pair, Tables, Told
from tests.servers import DEADLINE_S, running, until
from tests.written import accepted

ENTRY = str(Path(__file__).with_name("clocked_server.py"))


def decimal(quantity: Fraction) -> Decimal:
    return Decimal(quantity.numerator) / quantity.denominator


class Served:
    """A server with one worker and a writer over a store of its own."""

    late_s = 60.0
    """How long a busy machine may keep its writer from a turn; answers say STALE meanwhile."""

    def __init__(self, directory: Path, tables: Tables, now: datetime, *, is_forked: bool = False) -> None:
        self.store, self.clock = directory / "store", directory / "clock"
        self.is_forked = is_forked
        self.restarts = 0
        self.set_clock(now)
        self._publish_snapshot(tables)
        self._start()

    def set_clock(self, now: datetime) -> None:
        self.now = now
        if not self.clock.exists():
            self.clock.write_bytes(struct.pack("<q", us(now)))
            return
        with self.clock.open("r+b") as file:  # the same bytes, as everybody maps them
            file.write(struct.pack("<q", us(now)))

    def _publish_snapshot(self, tables: Tables) -> None:
        raw = {name: [dict(row) for row in rows] for name, rows in tables.items()}
        dataset = accepted(as_frames(raw))
        arrays = compile_dataset(dataset.frames, "UTC")
        self.version = write_snapshot(self.store, arrays, {"time_zone": "UTC"}, created_at=self.now)
        activate(self.store, self.version)

    def _start(self) -> None:
        self.stack = contextlib.ExitStack()
        if self.is_forked:
            self.server = self.stack.enter_context(running_forked(self.store, self.clock))
        else:
            with clock_named(self.clock):
                options = ("--workers", "1")
                self.server = self.stack.enter_context(running(self.store, *options, entry=(ENTRY,)))
        self.client = self.stack.enter_context(Client(self.server.address))

    def load(self, tables: Tables) -> None:
        self._publish_snapshot(tables)
        until(lambda: self._asked_version() == self.version, "the server takes the new snapshot")

    def _asked_version(self) -> str:
        return self.client.check_availability([Line("X", 1)], timeout_s=DEADLINE_S).snapshot_version

    def restart(self) -> None:
        """By turns the whole server, and its writer killed."""
        self.restarts += 1
        if self.restarts % 2:
            self.stack.close()
            self._start()
            return
        (writer,) = self.server.writer()
        os.kill(writer, signal.SIGKILL)
        until(lambda: self.server.writer() not in ([], [writer]) and self._takes_changes(), "the next writer")

    def _takes_changes(self) -> bool:
        try:
            self.client.release_reservation("none", customer_id=CUSTOMER)
        except PricegridError as error:
            return error.reason == "RESERVATION_NOT_FOUND"
        raise AssertionError

    def publish(self, events: Sequence[Told]) -> Mapping[str, int]:
        found = self.client.publish_events(map(event_of, events), timeout_s=DEADLINE_S)
        counts = {"APPLIED": found.applied, "DUPLICATE": found.duplicate, "OLDER": found.older}
        return {**counts, "DEAD_LETTER": found.dead_letter}

    def reserve(self, ask: Ask, exclude: str, replace: str) -> Reserved:
        lines = [
            ReserveLine(e.sku, decimal(e.quantity), e.branch, e.uom, e.from_date, e.order_line)
            for e in ask.lines
        ]
        names = {"exclude_reservation": exclude, "replace_reservation": replace}
        with as_refusal():
            held = self.client.reserve(
                lines,
                key=ask.key,
                customer_id=CUSTOMER,
                ttl=ask.ttl,
                allow_partial=ask.allow_partial,
                all_or_nothing=ask.all_or_nothing,
                order_ref=ask.order_ref,
                timeout_s=DEADLINE_S,
                **{name: value for name, value in names.items() if value},
            ).reservation
        return Reserved(held.reservation_id, tuple(Fraction(line.granted) for line in held.lines))

    def confirm(self, name: str, order_ref: str, order_lines: Sequence[str]) -> None:
        with as_refusal():
            self.client.confirm_reservation(name, order_ref, order_lines=order_lines, timeout_s=DEADLINE_S)

    def release(self, name: str, parts: Sequence[tuple[int, Fraction]]) -> None:
        given = [Release(line, decimal(quantity)) for line, quantity in parts]
        with as_refusal():
            self.client.release_reservation(name, parts=given, timeout_s=DEADLINE_S)

    def extend(self, name: str, ttl: timedelta) -> None:
        with as_refusal():
            self.client.extend_reservation(name, ttl=ttl, timeout_s=DEADLINE_S)

    def look(self, pairs: Sequence[Pair]) -> Mapping[Pair, Seen]:
        skus = list(dict.fromkeys(sku for sku, _ in pairs))
        asked = [Line(sku, 1) for sku in skus]
        result = self.client.check_availability(asked, as_of=self.now, projected=True, timeout_s=DEADLINE_S)
        found = {}
        for sku, line in zip(skus, result.lines, strict=True):
            for at in line.branches:
                assert at.status.name in {"OK", "UNKNOWN_STOCK"}, at
                steps = tuple(
                    (step.date, Fraction(step.atp), Fraction(step.balance)) for step in at.projected
                )
                fresh = at.freshness
                states = tuple(each.state.name for each in (fresh.erp, fresh.wms, fresh.transit))
                known = None if at.available is None else Fraction(at.available)
                found[sku, at.branch] = Seen(known, steps, states)
        return found

    def reservations(self) -> Mapping[str, str]:
        found = self.client.reservations(limit=10_000, timeout_s=DEADLINE_S)
        return {held.reservation_id: held.status.name for held in found}

    def close(self) -> None:
        self.stack.close()


@contextlib.contextmanager
def clock_named(path: Path):
    """For the processes that are started meanwhile."""
    os.environ["PRICEGRID_TEST_CLOCK"] = str(path)
    try:
        yield
    finally:
        del os.environ["PRICEGRID_TEST_CLOCK"]


@contextlib.contextmanager
def as_refusal():
    try:
        yield
    except PricegridError as error:
        if error.reason == "LIVE_STATE_UNAVAILABLE":
            raise
        raise Refused(error.reason) from None


def event_of(told: Told) -> InventoryEvent:
    more = {}
    if told.shipped is not None:
        more["shipped"] = decimal(told.shipped)
    if told.supersedes:
        more["supersedes"] = told.supersedes
    return InventoryEvent(
        InventorySource[told.source.upper()],
        told.sequence,
        told.effective,
        InventoryMeasure[told.measure.upper()],
        InventoryEventKind[told.kind.upper()],
        told.sku,
        told.branch,
        decimal(told.quantity),
        told.expected_at,
        told.order_ref,
        told.order_line,
        told.version,
        **more,
    )

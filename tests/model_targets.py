"""What the independent model is held against: live state in this process, behind one small protocol.

Everything is asked and answered in the model's own words: names of statuses, fractions, dates.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import numpy as np

from pricegrid.atp.engine import AvailabilityEngine
from pricegrid.atp.live.positions import LiveWriter
from pricegrid.atp.model import MICROS, AvailabilityStatus, CheckAsk, Source
from pricegrid.atp.rules.events import Event, EventStatus, Kind, Measure
from pricegrid.atp.rules.reservations import ReserveAsk, ReserveLine
from pricegrid.cache.embedded import EmbeddedStateCache
from pricegrid.columnar.instants import day_date
from pricegrid.loaders.compile.positions import compile_positions
from pricegrid.loaders.tables import TABLES
from pricegrid.service.codec.events import encode_events
from pricegrid.service.errors import RequestRefusedError
from pricegrid.service.live.api import Release
from pricegrid.service.live.state import LiveState
from pricegrid.v1 import InventoryEvent
from tests.atp_world import pair_answers
from tests.datasets import as_frames
from tests.model_steps import CUSTOMER, Features
from tests.model_world import Ask, Pair, Tables, Told
from tests.written import accepted


@dataclass(frozen=True)
class Seen:
    """What is free of a pair: None where nobody knows, else (from this day, ATP, balance) as a step function."""

    available: Fraction | None
    steps: tuple[tuple[date, Fraction, Fraction], ...]
    freshness: tuple[str, str, str]


@dataclass(frozen=True)
class Reserved:
    """What a reservation came to: its name, '' when nothing is held, and what each line was granted."""

    name: str
    granted: tuple[Fraction, ...]


class Refused(Exception):  # noqa: N818 -- an answer, not a fault
    """A refusal, with its reason."""


class Target(Protocol):
    """A product under test, with a clock that the test sets."""

    def set_clock(self, now: datetime) -> None: ...
    def load(self, tables: Tables) -> None: ...
    def restart(self) -> None: ...
    def publish(self, events: Sequence[Told]) -> Mapping[str, int]: ...
    def reserve(self, ask: Ask, exclude: str, replace: str) -> Reserved: ...
    def confirm(self, name: str, order_ref: str, order_lines: Sequence[str]) -> None: ...
    def release(self, name: str, parts: Sequence[tuple[int, Fraction]]) -> None: ...
    def extend(self, name: str, ttl: timedelta) -> None: ...
    def look(self, pairs: Sequence[Pair]) -> Mapping[Pair, Seen]: ...
    def reservations(self) -> Mapping[str, str]: ...
    def close(self) -> None: ...


def features() -> Features:
    """What this product has of what the rules ask for."""
    columns = {name: {column.name for column in spec.columns} for name, spec in TABLES.items()}
    told = {each.name for each in fields(Event)}
    asked = {each.name for each in fields(ReserveAsk)}
    return Features(
        order_lines="order_line" in columns["allocations"],
        table_lines="order_line" in columns["allocations"] and "shipped" in columns["allocations"],
        supersedes="supersedes" in columns["receipts"],
        decrease_means="decrease_means" in columns["feeds"],
        event_shipped="shipped_micros" in told
        and "shipped_micros" in InventoryEvent.DESCRIPTOR.fields_by_name,
        kit_demands=hasattr(Kind, "RESET"),
        resets=hasattr(Kind, "RESET"),
        replace="replace_reservation" in asked,
        extend=hasattr(LiveState, "extend"),
    )


def micros(quantity: Fraction) -> int:
    whole = quantity * MICROS
    assert whole.denominator == 1
    return whole.numerator


def us(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def event_of(told: Told) -> Event:
    """An event as the product has it; of the fields that it may lack, those that it has."""
    known = {each.name for each in fields(Event)}
    more = {}
    if "shipped_micros" in known and told.shipped is not None:
        more["shipped_micros"] = micros(told.shipped)
    return Event(
        Source[told.source.upper()],
        told.sequence,
        us(told.effective),
        Measure[told.measure.upper()],
        Kind[told.kind.upper()],
        told.sku,
        told.branch,
        micros(told.quantity),
        None if told.expected_at is None else us(told.expected_at),
        told.order_ref,
        told.order_line,
        told.version,
        **more,
    )


class InProcess:
    """`LiveState` over the embedded cache, in this process."""

    open_cache: Callable[[Path], EmbeddedStateCache] = staticmethod(EmbeddedStateCache)

    def __init__(self, directory: Path, tables: Tables, now: datetime) -> None:
        self.directory, self.now_us, self.loads = directory, us(now), 0
        self._take(tables)
        self._start()

    def _take(self, tables: Tables) -> None:
        dataset = accepted(as_frames({name: list(map(dict, rows)) for name, rows in tables.items()}))
        self.arrays = compile_positions(dataset.frames, time_zone="UTC")
        self.loaded_us = self.now_us
        self.loads += 1
        self.version = f"20260302T060000Z-{self.loads:08x}"

    def _snapshot(self) -> tuple[AvailabilityEngine, str, int, Callable[[int], LiveWriter]]:
        self.engine = AvailabilityEngine(self.arrays)
        return (
            self.engine,
            self.version,
            self.loaded_us,
            lambda grown: LiveWriter.in_memory(2 << grown, 1 << 6 + grown),
        )

    def _start(self) -> None:
        self.cache = self.open_cache(self.directory)
        self.live = LiveState(self.cache, *self._snapshot(), lambda: self.now_us)

    def set_clock(self, now: datetime) -> None:
        self.now_us = us(now)

    def load(self, tables: Tables) -> None:
        self._take(tables)
        self.live.use(*self._snapshot())

    def restart(self) -> None:
        self.cache.close()
        self._start()

    def publish(self, events: Sequence[Told]) -> Mapping[str, int]:
        found = self.live.publish(encode_events([event_of(told) for told in events]))
        return {EventStatus(status).name: count for status, count in found.counts.items()}

    def reserve(self, ask: Ask, exclude: str, replace: str) -> Reserved:
        lines = [
            ReserveLine(
                line.sku, micros(line.quantity), line.branch, line.uom, line.from_date, line.order_line
            )
            for line in ask.lines
        ]
        more = {"exclude_reservation": exclude, "replace_reservation": replace} if exclude or replace else {}
        asked = ReserveAsk(
            ask.key,
            ask.customer,
            lines,
            ask.ttl // timedelta(microseconds=1),
            ask.allow_partial,
            ask.all_or_nothing,
            ask.order_ref,
            **more,
        )
        held = self._or_refused(lambda: self.live.reserve(asked)).reservation
        return Reserved(
            held.reservation_id, tuple(Fraction(each.granted_micros, MICROS) for each in held.lines)
        )

    def confirm(self, name: str, order_ref: str, order_lines: Sequence[str]) -> None:
        self._or_refused(lambda: self.live.confirm(CUSTOMER, name, order_ref, order_lines))

    def release(self, name: str, parts: Sequence[tuple[int, Fraction]]) -> None:
        given = [Release(line, micros(quantity)) for line, quantity in parts]
        self._or_refused(lambda: self.live.release(CUSTOMER, name, given))

    def extend(self, name: str, ttl: timedelta) -> None:
        self._or_refused(lambda: self.live.extend(CUSTOMER, name, ttl // timedelta(microseconds=1)))

    def look(self, pairs: Sequence[Pair]) -> Mapping[Pair, Seen]:
        found = {}
        for branch in sorted({branch for _, branch in pairs}):
            skus = [sku for sku, at in pairs if at == branch]
            ask = CheckAsk(
                self.now_us,
                [sku.encode() for sku in skus],
                np.full(len(skus), MICROS),
                [b""] * len(skus),
                [branch.encode()],
                projected=True,
            )
            for sku, pair in zip(skus, pair_answers(self.engine, self.engine.check(ask)), strict=True):
                is_known = pair.status is AvailabilityStatus.OK
                assert is_known or pair.status is AvailabilityStatus.UNKNOWN_STOCK, pair
                found[sku, branch] = Seen(
                    Fraction(pair.available_micros, MICROS) if is_known else None,
                    tuple(
                        (
                            day_date(step.day),
                            Fraction(step.atp_micros, MICROS),
                            Fraction(step.balance_micros, MICROS),
                        )
                        for step in pair.projected
                    ),
                    tuple(state.name for state in pair.freshness),
                )
        return found

    def reservations(self) -> Mapping[str, str]:
        return {held.reservation_id: held.status.name for held in self.live.reservations(limit=10_000)}

    def close(self) -> None:
        self.cache.close()

    def _or_refused(self, call):
        try:
            return call()
        except RequestRefusedError as error:
            raise Refused(error.reason.name) from None

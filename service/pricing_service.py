"""PricingService: bytes in, bytes out, answered from one snapshot; knows nothing of gRPC calls."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Protocol
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from loaders.instants import day_start_us
from pricing_engine.engine import PriceAsk
from service import wire
from service.snapshots import LoadedSnapshot


class SnapshotSource(Protocol):
    """Where the snapshot of a request comes from."""

    def get(self, version: str) -> LoadedSnapshot:
        """The snapshot of that version, '' for the active one; raises `RequestRefusedError`."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: what names the exchange, and what they may see (P11)."""

    correlation_id: str
    service_desk: bool = False


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer and the statuses of its lines, for the counters."""

    raw: bytes
    status: NDArray[np.uint8]


class PricingService:
    """Answers `PriceLines` and `ExplainPrice`; safe to call from many threads."""

    def __init__(self, snapshots: SnapshotSource, now_us: Callable[[], int]) -> None:
        self._snapshots = snapshots
        self._now_us = now_us

    def price_lines(self, raw: bytes, caller: Caller) -> Answered:
        """Answers a `PriceLinesRequest`; raises `RequestRefusedError` and `PricingError`."""
        query = wire.decode_price_lines(raw)
        loaded = self._snapshots.get(query.snapshot_version)
        ask, header = self._ask(query, loaded, caller)
        answers = loaded.engine.price(ask)
        return Answered(wire.encode_price_lines(loaded.engine, answers, header), answers.status)

    def explain_price(self, raw: bytes, caller: Caller) -> Answered:
        """Answers an `ExplainPriceRequest`; raises `RequestRefusedError` and `PricingError`."""
        query = wire.decode_explain_price(raw)
        loaded = self._snapshots.get(query.snapshot_version)
        ask, header = self._ask(query, loaded, caller)
        answers = loaded.engine.price(ask)
        document = {**loaded.engine.explain(ask, 0), "snapshot_version": loaded.version}
        return Answered(wire.encode_explain_price(loaded.engine, answers, document, header), answers.status)

    def _ask(
        self, query: wire.PriceQuery, loaded: LoadedSnapshot, caller: Caller
    ) -> tuple[PriceAsk, wire.AnswerHeader]:
        now_us = self._now_us()
        as_of_us = _as_of_us(query.as_of, loaded.time_zone, now_us)
        ask = PriceAsk(
            customer_id=query.customer_id,
            currency=query.currency,
            branch=query.branch,
            as_of_us=as_of_us,
            skus=query.skus,
            quantities_micros=query.quantities_micros,
            uoms=query.uoms,
            service_desk=caller.service_desk,
        )
        age_ms = max(0, now_us - loaded.created_at_us) // 1000
        return ask, wire.AnswerHeader(loaded.version, age_ms, as_of_us, caller.correlation_id)


def _as_of_us(as_of: int | date | None, time_zone: str, now_us: int) -> int:
    if as_of is None:
        return now_us
    return as_of if isinstance(as_of, int) else day_start_us(as_of, ZoneInfo(time_zone))

"""The short way of plain requests over one snapshot: bytes to bytes in compiled kernels (`lane_kernel`).

Whatever is not plain gets None, and is answered the usual way. Nothing is decided here that is not decided there: both
give the same bytes, and tests hold them equal.
"""

import threading
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from atp.engine import AvailabilityEngine
from atp.model import AS_OF_MAX_US, AS_OF_MIN_US
from atp.positions import Tables
from atp.quote_kernel import FREE_SIZE, FREE_STATUS
from atp.quote_window import QuoteWindow, quote_window
from pricegrid import v1
from pricing_engine import kernel as kn
from pricing_engine.engine import PriceEngine
from pricing_engine.tables import describe
from service import lane_kernel as kernel
from service import scan_kernel as scan
from service.errors import RequestRefusedError
from service.limits import LINES_MAX, PAIRS_MAX
from service.wire_request import branch_names

WINDOWS_MAX: Final = 4_096
"""Kept, each for the branches of a request and one second; all are dropped when there are more."""
OUT_BYTES: Final = 1 << 16
"""Room for an answer at first."""


class _Room(threading.local):
    """Scratch of one thread. What is not used stays unmapped."""

    def __init__(self) -> None:
        self.head = np.zeros(scan.HEAD_SIZE, np.int64)
        self.lines = np.empty((LINES_MAX, kn.LINE_SIZE), np.int64)
        self.answers = np.empty((LINES_MAX, kn.ANSWER_SIZE), np.int64)
        self.free = np.empty((LINES_MAX, FREE_SIZE), np.int64)
        self.out = np.empty(OUT_BYTES, np.uint8)


@dataclass(frozen=True, slots=True)
class _Described:
    """The positions as they stand, live ones included, and where they are."""

    tables: Tables | None
    addresses: NDArray[np.int64]


_NOTHING: Final = _Described(None, np.zeros((0, 3), np.int64))
_NO_WINDOW: Final = QuoteWindow(np.zeros(0, np.int64), 0, ())


class LaneAsk(NamedTuple):
    """What holds for a request besides its bytes."""

    now_us: int
    correlation_id: str
    service_desk: bool
    exceptions_unusual: bool
    """A line that the ERP should confirm makes it one that is not plain."""


class LaneAnswer(NamedTuple):
    """An answer, and the statuses of its lines (see `Answered`): these hold until the thread asks again."""

    raw: bytes
    status: NDArray[np.int64]
    availability: NDArray[np.int64]


class Lane:
    """Answers the plain requests of one snapshot; safe to call from many threads."""

    def __init__(
        self, version: str, created_at_us: int, prices: PriceEngine, availability: AvailabilityEngine | None
    ) -> None:
        self._prices, self._availability = prices, availability
        self._terms = prices.kernel_terms()
        self._version = np.frombuffer(version.encode(), np.uint8)
        self._room = _Room()
        self._created_at_us = created_at_us
        self._windows: dict[tuple[bytes | int, int], QuoteWindow | None] = {}
        self._multiples = np.zeros(0, np.int64)
        self._described: _Described | None = None
        if availability is not None:
            self._multiples = availability.positions.arrays["item_multiple"].astype(np.int64, copy=False)

    def price_lines(self, raw: bytes, asked: LaneAsk) -> LaneAnswer | None:
        """Answers a `PriceLinesRequest` if it is plain."""
        room = self._room
        request = np.frombuffer(raw, np.uint8)
        count, _ = kernel.scan(self._terms.descriptor, request, room.head, room.lines)
        if count < 0 or room.head[scan.HEAD_BRANCH_COUNT] > 1:
            return None
        return self._answer(request, int(count), asked, _NOTHING, _NO_WINDOW, is_quote=False)

    def quote_lines(self, raw: bytes, asked: LaneAsk) -> LaneAnswer | None:
        """Answers a `QuoteLinesRequest` if it is plain."""
        room = self._room
        request = np.frombuffer(raw, np.uint8)
        count, own_branch = kernel.scan(self._terms.descriptor, request, room.head, room.lines)
        if count < 0:
            return None
        described, window = self._window(raw, room.head.tolist(), int(own_branch), asked.now_us)
        if window is None or count * window.branches > PAIRS_MAX:
            return None
        return self._answer(request, int(count), asked, described, window, is_quote=True)

    def _answer(
        self,
        request: NDArray[np.uint8],
        count: int,
        asked: LaneAsk,
        described: _Described,
        window: QuoteWindow,
        *,
        is_quote: bool,
    ) -> LaneAnswer | None:
        room, terms = self._room, self._terms
        while True:
            end = kernel.answer(
                terms.descriptor,
                terms.currencies,
                terms.flagged_customers,
                terms.flagged_items,
                terms.grace_us,
                self._created_at_us,
                asked.now_us,
                asked.service_desk,
                asked.exceptions_unusual,
                request,
                room.head,
                room.lines,
                room.answers,
                self._version,
                np.frombuffer(asked.correlation_id.encode(), np.uint8),
                room.out,
                described.addresses,
                window.window,
                self._multiples,
                room.free,
                is_quote,
            )
            if end >= 0:
                free = room.free[: count if window.branches else 0, FREE_STATUS]
                return LaneAnswer(room.out[:end].tobytes(), room.answers[:count, kn.ANSWER_STATUS], free)
            if end != scan.MORE_ROOM:
                return None
            room.out = np.empty(2 * len(room.out), np.uint8)

    def _window(
        self, raw: bytes, head: list[int], own_branch: int, now_us: int
    ) -> tuple[_Described, QuoteWindow | None]:
        """The positions, and the days of the branches asked: None for branches that are not plain, and empty where
        there is no availability."""
        engine = self._availability
        as_of_us = head[scan.HEAD_AS_OF] if head[scan.HEAD_HAS_AS_OF] else now_us
        named = raw[head[scan.HEAD_BRANCHES] : head[scan.HEAD_BRANCHES_END]]
        if (
            engine is None
            or not len(engine.positions.branches)
            or not (named or own_branch >= 0)
            or not AS_OF_MIN_US <= as_of_us < AS_OF_MAX_US
        ):
            return _NOTHING, _NO_WINDOW
        key = named or own_branch, as_of_us // 1_000_000
        window = self._windows.get(key)
        if window is None and key not in self._windows:
            window = self._make_window(engine, named, own_branch, as_of_us)
            if len(self._windows) >= WINDOWS_MAX:
                self._windows = {}
            self._windows[key] = window
        return self._now(engine), window

    def _make_window(
        self, engine: AvailabilityEngine, named: bytes, own_branch: int, as_of_us: int
    ) -> QuoteWindow | None:
        try:
            asked = v1.QuoteLinesRequest.FromString(named).branches
            names = branch_names(asked) if named else (self._prices.branch(own_branch).encode(),)
        except (DecodeError, RequestRefusedError):
            return None
        branches = engine.branches(names)
        return None if -1 in branches else quote_window(engine.windows, branches, as_of_us)

    def _now(self, engine: AvailabilityEngine) -> _Described:
        """The positions as they stand: `follow` replaces their tables."""
        tables, described = engine.positions.tables, self._described
        if described is None or described.tables is not tables:
            described = self._described = _Described(tables, describe(tables))
        return described

"""The fast path: simple requests over one snapshot, bytes to bytes in compiled kernels (`kernel`).

Whatever is not plain gets None, and is answered the usual way. Nothing is decided here that is not decided there: both
give the same bytes, and tests hold them equal.
"""

import threading
from typing import Any, Final

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from pricegrid import v1
from pricegrid.atp.arrays.positions import Tables
from pricegrid.atp.arrays.quote_window import QuoteWindow, quote_window
from pricegrid.atp.engine import AvailabilityEngine
from pricegrid.atp.kernels.quote import ASKED_SIZE, FREE_SIZE, FREE_STATUS
from pricegrid.columnar.tables import describe
from pricegrid.erp.control import NO_FLAGS, ControlState, Flag
from pricegrid.pricing_engine.engine import KernelTerms, PriceEngine
from pricegrid.pricing_engine.kernels import price as kn
from pricegrid.service.codec import scan_kernel as scan
from pricegrid.service.codec.request import branch_names
from pricegrid.service.errors import RequestRefusedError
from pricegrid.service.fast_path import kernel
from pricegrid.service.limits import LINES_MAX
from pricegrid.service.rpc.response import COUNTS, Answered

WINDOWS_MAX: Final = 4_096
"""Kept, each for the branches of a request and one second; all are dropped when there are more."""
OUT_BYTES: Final = 1 << 16
"""Room for an answer at first."""


class _Desk:
    """What the kernel works with for one thread and one snapshot. What is not used of it stays unmapped."""

    def __init__(self, terms: KernelTerms, created_at_us: int, version: bytes) -> None:
        self.words = np.zeros(kernel.DESK_SIZE, np.int64)
        self.head = np.zeros(scan.HEAD_SIZE, np.int64)
        self.answers = np.empty((LINES_MAX, kn.ANSWER_SIZE), np.int64)
        self.free = np.empty((LINES_MAX, FREE_SIZE), np.int64)
        self.windows = np.full((kernel.WINDOWS, kernel.KNOWN_SIZE), -1, np.int64)
        self.counts = np.zeros((2, COUNTS), np.int64)
        """As in `Answered`."""
        self.known: list[object] = [None] * kernel.WINDOWS
        """What the addresses in `windows` lead to."""
        self.tables: Tables | None = None
        """The positions that DESK_DESCRIBED leads to."""
        self._held: dict[int, NDArray[Any]] = {
            kernel.DESK_DESCRIPTOR: terms.descriptor,
            kernel.DESK_CURRENCIES: terms.currencies,
            kernel.DESK_VERSION: np.frombuffer(version, np.uint8),
            kernel.DESK_WINDOWS: self.windows,
            kernel.DESK_COUNTS: self.counts,
            kernel.DESK_HEAD: self.head,
            kernel.DESK_ASK: np.zeros(kn.ASK_SIZE, np.int64),
            kernel.DESK_LINES: np.empty((LINES_MAX, kn.LINE_SIZE), np.int64),
            kernel.DESK_ANSWERS: self.answers,
            kernel.DESK_ASKED: np.empty((LINES_MAX, ASKED_SIZE), np.int64),
            kernel.DESK_FREE: self.free,
        }
        for column, array in self._held.items():
            self.words[column] = array.ctypes.data
        self.words[kernel.DESK_CURRENCY_COUNT] = len(terms.currencies)
        self.flag((), terms.flagged_customers, terms.flagged_items)
        self.words[kernel.DESK_GRACE] = terms.grace_us
        self.words[kernel.DESK_CREATED] = created_at_us
        self.words[kernel.DESK_VERSION_LENGTH] = len(version)
        self.give_room(OUT_BYTES)

    def flag(self, flags: tuple[Flag, ...], customers: NDArray[np.int64], items: NDArray[np.int64]) -> None:
        """Mark the lines of these customers and items, sorted ordinals, from now on."""
        self.flags = flags
        for column, count, ordinals in (
            (kernel.DESK_FLAGGED_CUSTOMERS, kernel.DESK_FLAGGED_CUSTOMER_COUNT, customers),
            (kernel.DESK_FLAGGED_ITEMS, kernel.DESK_FLAGGED_ITEM_COUNT, items),
        ):
            self._held[column] = ordinals
            self.words[column], self.words[count] = ordinals.ctypes.data, len(ordinals)

    def give_room(self, size: int) -> None:
        """Room for an answer of so many bytes."""
        out = np.empty(size, np.uint8)
        self.room = out.data
        self.words[kernel.DESK_OUT], self.words[kernel.DESK_OUT_LENGTH] = out.ctypes.data, size

    def statuses(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """`LineStatus` and `AvailabilityStatus` of the lines that were answered last."""
        count, free_count = self.words[kernel.DESK_COUNT : kernel.DESK_FREE_COUNT + 1].tolist()
        return self.answers[:count, kn.ANSWER_STATUS], self.free[:free_count, FREE_STATUS]

    def look(self, tables: Tables) -> None:
        """Work with these positions from now on."""
        self.tables = tables
        described = self._held[kernel.DESK_DESCRIBED] = describe(tables)
        self.words[kernel.DESK_DESCRIBED] = described.ctypes.data

    def learn(self, second: int, named: bytes, window: QuoteWindow | None) -> None:
        """Note the window that the kernel needed; None: the branches are not plain."""
        name, slot = np.frombuffer(named, np.uint8), int(self.words[kernel.DESK_SLOT])
        own_branch, address = self.words[kernel.DESK_OWN_BRANCH], window.window.ctypes.data if window else 0
        self.windows[slot] = (second, own_branch, name.ctypes.data, len(named), address)
        self.known[slot] = (name, window)


class _Desks(threading.local):
    desk: _Desk | None = None


class Lane:
    """Answers the plain requests of one snapshot; safe to call from many threads."""

    def __init__(
        self, version: str, created_at_us: int, prices: PriceEngine, availability: AvailabilityEngine | None
    ) -> None:
        self._prices = prices
        self._availability = availability if availability and len(availability.positions.branches) else None
        self._terms = prices.kernel_terms()
        self._version = version.encode()
        self._desks = _Desks()
        self._created_at_us = created_at_us
        self._windows: dict[tuple[bytes | int, int], QuoteWindow | None] = {}

    def answer(
        self,
        raw: bytes,
        flags: int,
        now_us: int,
        correlation_id: str,
        flagged: ControlState = NO_FLAGS,
    ) -> Answered | None:
        """Answers a `PriceLinesRequest`, with QUOTE a `QuoteLinesRequest`, if it is plain.

        `flags` as `lane_kernel.answer` takes them. With COUNT the lines are counted; else they come as statuses, which
        hold until the thread asks again. `flagged` is what operators flagged, no book among it.
        """
        desk = self._desks.desk or self._new_desk()
        if self._availability is not None and self._availability.positions.tables is not desk.tables:
            desk.look(self._availability.positions.tables)  # `follow` replaced them
        if flagged.flags != desk.flags:
            desk.flag(flagged.flags, *self._flagged(flagged))
        correlation = correlation_id.encode()
        while True:
            end = kernel.answer(desk.words, raw, correlation, now_us, flags)
            if end >= 0:
                answer = desk.room[:end].tobytes()
                if flags & kernel.COUNT:
                    return Answered(answer, None, None, desk.counts)
                return Answered(answer, *desk.statuses())
            if end == scan.MORE_ROOM:
                desk.give_room(2 * len(desk.room))
            elif end == kernel.NEED_WINDOW:
                self._make_known(desk, raw, now_us)
            else:
                return None

    def _flagged(self, state: ControlState) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The flagged customers and items, by the policy and by operators, as `KernelTerms` has them."""
        version, prices = self._version.decode(), self._prices
        customers = prices.ordinals("customer", state.flagged("customer", version))
        items = prices.ordinals("sku", state.flagged("sku", version))
        terms = self._terms
        return np.union1d(terms.flagged_customers, customers), np.union1d(terms.flagged_items, items)

    def _new_desk(self) -> _Desk:
        desk = self._desks.desk = _Desk(self._terms, self._created_at_us, self._version)
        return desk

    def _make_known(self, desk: _Desk, raw: bytes, now_us: int) -> None:
        """Work out the window that a request needs, unless another thread did."""
        head, own_branch = desk.head, int(desk.words[kernel.DESK_OWN_BRANCH])
        named = raw[head[scan.HEAD_BRANCHES] : head[scan.HEAD_BRANCHES_END]]
        as_of_us = int(head[scan.HEAD_AS_OF]) if head[scan.HEAD_HAS_AS_OF] else now_us
        second = as_of_us // 1_000_000
        key = named or own_branch, second
        windows = self._windows
        if key not in windows:
            if len(windows) >= WINDOWS_MAX:
                windows = self._windows = {}
            windows[key] = self._make_window(named, own_branch, as_of_us)
        desk.learn(second, named, windows[key])

    def _make_window(self, named: bytes, own_branch: int, as_of_us: int) -> QuoteWindow | None:
        engine = self._availability
        if engine is None:
            return None
        try:
            asked = v1.QuoteLinesRequest.FromString(named).branches
            names = branch_names(asked) if named else (self._prices.branch(own_branch).encode(),)
        except (DecodeError, RequestRefusedError):
            return None
        branches = engine.branches(names)
        return None if -1 in branches else quote_window(engine.windows, branches, as_of_us)

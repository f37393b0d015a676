"""The fast path: simple requests over one snapshot, bytes to bytes in compiled kernels (`kernel`).

`try_fast_path` leaves out requests by flags and caller; the kernel decides about the rest, by days, branches and lines.
`FastPath.answer` returns None when one needs the general path, which answers every request: `FastPath.left` is what
that goes on with. Both return the same bytes for a simple request;
tests compare them.
"""

from __future__ import annotations

import copy
import threading
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from pricegrid import v1
from pricegrid.atp.arrays.positions import Tables
from pricegrid.atp.arrays.quote_window import QuoteWindow, quote_window
from pricegrid.atp.engine import AvailabilityEngine
from pricegrid.atp.kernels.quote import ASKED_SIZE, FREE_SIZE, FREE_STATUS
from pricegrid.columnar.tables import describe
from pricegrid.erp.operator_flags import NO_FLAGS, Flag, FlagSet
from pricegrid.pricing_engine.engine import KernelTerms, PriceEngine
from pricegrid.pricing_engine.kernels import price as kn
from pricegrid.service.codec import scan_kernel as scan
from pricegrid.service.codec.prices import PriceQuery, scanned_query
from pricegrid.service.codec.request import branch_names
from pricegrid.service.erp_overlay.flags import Flagging
from pricegrid.service.errors import RequestRefusedError
from pricegrid.service.fast_path import kernel
from pricegrid.service.limits import LINES_MAX
from pricegrid.service.rpc.call import Caller
from pricegrid.service.rpc.response import COUNTS, Response

if TYPE_CHECKING:
    from pricegrid.service.erp_overlay.prices import ErpPrices

WINDOWS_MAX: Final = 4_096
"""Windows memoized per snapshot, each for the branches of a request and one second; beyond, all are dropped."""
OUT_BYTES: Final = 1 << 16
"""The size of the first response buffer."""


class ResolvedLines(NamedTuple):
    """What the kernel has computed of a request's n lines; the arrays are copies."""

    currency: int
    """An ordinal."""
    prices: NDArray[np.int64]
    """(n, ANSWER_SIZE); NEEDS_REFERENCE is left to the reference. NOT_ENTITLED is hidden only if nothing is left."""
    asked: NDArray[np.int64]
    """(n, ASKED_SIZE): items and units, looked up; only with `free`."""
    free: NDArray[np.int64] | None
    """(n, FREE_SIZE), RECHECK is left to the engine; None: there is no availability, or it is not asked for."""
    window: QuoteWindow | None
    """Of the branches of `free`: those that the quote names, or the customer's own."""


class Left(NamedTuple):
    """A request that needs the general path, as far as the fast path came with it."""

    query: PriceQuery | None = None
    """None: it has not been decoded yet."""
    resolved: ResolvedLines | None = None
    """What has been computed of its lines, from the active snapshot; None: nothing."""
    is_due: bool = False
    """Its prices are due to be compared with the ERP's."""


_UNTRIED: Final = Left()


class _Workspace:
    """The kernel's arguments and buffers for one thread and one snapshot. Memory that is never used stays unmapped."""

    def __init__(self, terms: KernelTerms, created_at_us: int, version: bytes) -> None:
        self.columns = np.zeros(kernel.WS_SIZE, np.int64)
        self.head = np.zeros(scan.HEAD_SIZE, np.int64)
        self.ask = np.zeros(kn.ASK_SIZE, np.int64)
        self.lines = np.empty((LINES_MAX, kn.LINE_SIZE), np.int64)
        self.answers = np.empty((LINES_MAX, kn.ANSWER_SIZE), np.int64)
        self.asked = np.empty((LINES_MAX, ASKED_SIZE), np.int64)
        self.free = np.empty((LINES_MAX, FREE_SIZE), np.int64)
        self.windows = np.full((kernel.WINDOWS, kernel.MEMO_SIZE), -1, np.int64)
        self.counts = np.zeros((2, COUNTS), np.int64)
        """See `Response.counts`."""
        self.memos: list[object] = [None] * kernel.WINDOWS
        """The objects whose addresses are in `windows`, kept alive."""
        self.tables: Tables | None = None
        """The positions that WS_DESCRIBED describes."""
        self.descriptor = terms.descriptor
        self._held: dict[int, NDArray[Any]] = {
            kernel.WS_DESCRIPTOR: terms.descriptor,
            kernel.WS_CURRENCIES: terms.currencies,
            kernel.WS_VERSION: np.frombuffer(version, np.uint8),
            kernel.WS_WINDOWS: self.windows,
            kernel.WS_COUNTS: self.counts,
            kernel.WS_HEAD: self.head,
            kernel.WS_ASK: self.ask,
            kernel.WS_LINES: self.lines,
            kernel.WS_ANSWERS: self.answers,
            kernel.WS_ASKED: self.asked,
            kernel.WS_FREE: self.free,
        }
        for column, array in self._held.items():
            self.columns[column] = array.ctypes.data
        self.columns[kernel.WS_CURRENCY_COUNT] = len(terms.currencies)
        self.flag((), terms.flagged_customers, terms.flagged_items)
        self.columns[kernel.WS_GRACE] = terms.grace_us
        self.columns[kernel.WS_CREATED] = created_at_us
        self.columns[kernel.WS_VERSION_LENGTH] = len(version)
        self.resize_out(OUT_BYTES)

    def flag(self, flags: tuple[Flag, ...], customers: NDArray[np.int64], items: NDArray[np.int64]) -> None:
        """From now on, make exceptions of the lines of these customers and items (sorted ordinals)."""
        self.flags = flags
        for column, count, ordinals in (
            (kernel.WS_FLAGGED_CUSTOMERS, kernel.WS_FLAGGED_CUSTOMER_COUNT, customers),
            (kernel.WS_FLAGGED_ITEMS, kernel.WS_FLAGGED_ITEM_COUNT, items),
        ):
            self._held[column] = ordinals
            self.columns[column], self.columns[count] = ordinals.ctypes.data, len(ordinals)

    def resize_out(self, size: int) -> None:
        """Replace the response buffer by one of that size, in bytes."""
        out = np.empty(size, np.uint8)
        self.out = out.data
        self.columns[kernel.WS_OUT], self.columns[kernel.WS_OUT_LENGTH] = out.ctypes.data, size

    def statuses(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """`LineStatus` and `AvailabilityStatus` of the lines of the last response."""
        count, free_count = self.columns[kernel.WS_COUNT : kernel.WS_FREE_COUNT + 1].tolist()
        return self.answers[:count, kn.ANSWER_STATUS], self.free[:free_count, FREE_STATUS]

    def read(self, descriptor: NDArray[np.int64]) -> None:
        """Read the matrix of this descriptor from now on: the same arrays, but for the customers that are known."""
        self.descriptor = self._held[kernel.WS_DESCRIPTOR] = descriptor
        self.columns[kernel.WS_DESCRIPTOR] = descriptor.ctypes.data

    def attach(self, tables: Tables) -> None:
        """Read these positions from now on."""
        self.tables = tables
        described = self._held[kernel.WS_DESCRIBED] = describe(tables)
        self.columns[kernel.WS_DESCRIBED] = described.ctypes.data

    def memoize(self, second: int, named: bytes, window: QuoteWindow | None) -> None:
        """Store the window that the kernel asked for; None: its branches need the general path."""
        name, slot = np.frombuffer(named, np.uint8), int(self.columns[kernel.WS_SLOT])
        own_branch, address = self.columns[kernel.WS_OWN_BRANCH], window.window.ctypes.data if window else 0
        self.windows[slot] = (second, own_branch, name.ctypes.data, len(named), address)
        self.memos[slot] = (name, window)


class _Workspaces(threading.local):
    workspace: _Workspace | None = None


class FastPath:
    """Answers the simple requests of one snapshot; safe to call from many threads."""

    def __init__(
        self, version: str, created_at_us: int, prices: PriceEngine, availability: AvailabilityEngine | None
    ) -> None:
        self._prices = prices
        self._availability = availability if availability and len(availability.positions.branches) else None
        self._terms = prices.kernel_terms()
        self._descriptor = self._terms.descriptor
        self._limited: PriceEngine | None = None
        self._version = version.encode()
        self._workspaces = _Workspaces()
        self._created_at_us = created_at_us
        self._windows: dict[tuple[bytes | int, int], QuoteWindow | None] = {}

    def limited_to(self, prices: PriceEngine) -> FastPath:
        """This fast path for a caller who may ask for the customers that `prices` knows, which is limited to them."""
        limited = copy.copy(self)
        limited._limited = prices  # noqa: SLF001 -- its own; it owns what the descriptor points to
        limited._descriptor = prices.descriptor  # noqa: SLF001
        return limited

    def answer(
        self,
        raw: bytes,
        flags: int,
        now_us: int,
        correlation_id: str,
        flagged: FlagSet = NO_FLAGS,
    ) -> Response | None:
        """Answers a `PriceLinesRequest`, with QUOTE a `QuoteLinesRequest`; None when it needs the general path.

        `flags` as in `kernel.answer`. With COUNT the kernel counts the lines; without it the response has their
        statuses, which are valid until this thread calls again. `flagged` are the operator flags, none of a book.
        """
        workspace = self._workspaces.workspace or self._new_workspace()
        if workspace.descriptor is not self._descriptor:
            workspace.read(self._descriptor)
        if self._availability is not None and self._availability.positions.tables is not workspace.tables:
            workspace.attach(self._availability.positions.tables)  # live positions were remapped
        if flagged.flags != workspace.flags:
            workspace.flag(flagged.flags, *self._flagged(flagged))
        correlation = correlation_id.encode()
        while True:
            end = kernel.answer(workspace.columns, raw, correlation, now_us, flags)
            if end >= 0:
                answer = workspace.out[:end].tobytes()
                if flags & kernel.COUNT:
                    return Response(answer, None, None, workspace.counts)
                return Response(answer, *workspace.statuses())
            if end == scan.BUFFER_FULL:
                workspace.resize_out(2 * len(workspace.out))
            elif end == kernel.NEEDS_WINDOW:
                workspace.memoize(*self._window(workspace, raw, now_us))
            else:
                return None
            flags |= kernel.IS_DECODED

    def left(self, raw: bytes, now_us: int) -> Left:
        """What this thread's last `answer`, to the same arguments, has left of a request. Raises
        `RequestRefusedError`."""
        workspace = self._workspaces.workspace
        if workspace is None or workspace.columns[kernel.WS_STAGE] == kernel.NOT_DECODED:
            return _UNTRIED
        columns = workspace.columns
        count = int(columns[kernel.WS_COUNT])
        head, lines = workspace.head, workspace.lines[:count]
        if columns[kernel.WS_STAGE] != kernel.RESOLVED:
            return Left(scanned_query(raw, head, lines))
        free_count = int(columns[kernel.WS_FREE_COUNT])
        window = self._window(workspace, raw, now_us)[2] if free_count else None
        named = window.branches if window is not None and head[scan.HEAD_BRANCH_COUNT] else None
        resolved = ResolvedLines(
            int(workspace.ask[kn.ASK_CURRENCY]),
            workspace.answers[:count].copy(),
            workspace.asked[:free_count].copy(),
            workspace.free[:free_count].copy() if free_count else None,
            window,
        )
        return Left(scanned_query(raw, head, lines, named), resolved)

    def _flagged(self, state: FlagSet) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The customers and items flagged by the policy or by operators, as sorted ordinals."""
        version, prices = self._version.decode(), self._prices
        customers = prices.ordinals("customer", state.flagged("customer", version))
        items = prices.ordinals("sku", state.flagged("sku", version))
        terms = self._terms
        return np.union1d(terms.flagged_customers, customers), np.union1d(terms.flagged_items, items)

    def _new_workspace(self) -> _Workspace:
        workspace = self._workspaces.workspace = _Workspace(self._terms, self._created_at_us, self._version)
        return workspace

    def _window(
        self, workspace: _Workspace, raw: bytes, now_us: int
    ) -> tuple[int, bytes, QuoteWindow | None]:
        """(the second, the bytes that name branches, the window that a request needs), made unless another thread has;
        None: its branches need the general path."""
        head, own_branch = workspace.head, int(workspace.columns[kernel.WS_OWN_BRANCH])
        named = raw[head[scan.HEAD_BRANCHES] : head[scan.HEAD_BRANCHES_END]]
        as_of_us = int(head[scan.HEAD_AS_OF]) if head[scan.HEAD_HAS_AS_OF] else now_us
        second = as_of_us // 1_000_000
        key = named or own_branch, second
        windows = self._windows
        if key not in windows:
            if len(windows) >= WINDOWS_MAX:
                windows = self._windows = {}
            windows[key] = self._make_window(named, own_branch, as_of_us)
        return second, named, windows[key]

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
        return None if -1 in branches else quote_window(engine.windows, names, branches, as_of_us)


def try_fast_path(
    fast_path: FastPath | None,
    flags: int,
    raw: bytes,
    caller: Caller,
    now_us: int,
    erp: ErpPrices | None,
    flagging: Flagging | None,
) -> Response | Left:
    """The response, or what the general path begins with.

    `flags` is QUOTE or 0. With an ERP, a request is simple only if the ERP has nothing to add: no line to confirm, no
    unknown stock, nothing flagged. Without one, no request is simple while a book is flagged.
    """
    if fast_path is None or (erp is not None and erp.has_flags()):
        return _UNTRIED
    if caller.service_desk:
        flags |= kernel.SERVICE_DESK
    flags |= kernel.COUNT if erp is None else kernel.EXCEPTIONS_NEED_ERP
    flagged = flagging.state_at(now_us) if flagging is not None and erp is None else NO_FLAGS
    if flagged.flags and flagged.has_books:
        return _UNTRIED
    response = fast_path.answer(raw, flags, now_us, caller.correlation_id, flagged)
    if response is None:
        return fast_path.left(raw, now_us)
    if erp is not None and response.status is not None and erp.is_due(len(response.status)):
        return fast_path.left(raw, now_us)._replace(is_due=True)
    return response

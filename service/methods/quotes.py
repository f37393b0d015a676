"""QuoteService: price, availability and promise date of the same lines, from one snapshot at one instant."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pricegrid.atp.kernels.balance import RECHECK
from pricegrid.atp.kernels.quote import (
    ASKED_DENOMINATOR,
    ASKED_IS_UNIT,
    ASKED_ITEM,
    ASKED_NUMERATOR,
    FREE_AS_OF,
    FREE_AVAILABLE,
    FREE_DAY,
    FREE_FRESH,
    FREE_SHORTAGE,
    FREE_SIZE,
    FREE_STATUS,
    NO_DAY,
)
from pricegrid.atp.lines import Lines
from pricegrid.atp.model import (
    AS_OF_MAX_US,
    AS_OF_MIN_US,
    AvailabilityStatus,
    CheckAsk,
    PromiseAsk,
)
from pricegrid.pricing_engine.engine import PriceAsk
from pricegrid.pricing_engine.model import LineStatus
from pricegrid.service.codec import prices as codec
from pricegrid.service.codec.request import dated_lines
from pricegrid.service.erp_overlay.flags import Flagging
from pricegrid.service.erp_overlay.price_sources import NO_PRICE_SOURCES
from pricegrid.service.fast_path.kernel import QUOTE
from pricegrid.service.fast_path.path import Left, ResolvedLines, try_fast_path
from pricegrid.service.methods.availability import check_pairs
from pricegrid.service.methods.branch_totals import branch_totals
from pricegrid.service.methods.other_names import may_name_others
from pricegrid.service.process.snapshots import LoadedSnapshot
from pricegrid.service.rpc.call import Caller, Method, SnapshotSource, header_of, in_exchange
from pricegrid.service.rpc.later import NeedsThread
from pricegrid.service.rpc.response import Response

if TYPE_CHECKING:
    from pricegrid.atp.arrays.quote_window import QuoteWindow
    from pricegrid.atp.engine import AvailabilityEngine
    from pricegrid.service.erp_overlay.fallback import ErpFallback


class QuoteService:
    """Answers `QuoteLines`; safe to call from many threads."""

    def __init__(
        self,
        snapshots: SnapshotSource,
        now_us: Callable[[], int],
        erp: ErpFallback | None = None,
        flagging: Flagging | None = None,
        taking_names: Callable[[str, Method], Method] | None = None,
    ) -> None:
        self._snapshots = snapshots
        self._now_us = now_us
        self._erp = erp
        self._flagging = flagging
        self._named = taking_names and taking_names("QuoteLines", self._quote_skus)

    def quote_lines(self, raw: bytes, caller: Caller) -> Response:
        """Answers a `QuoteLinesRequest`; raises `RequestRefusedError` and `PricingError`."""
        return self._quote_lines(raw, caller, self._named)

    def _quote_skus(self, raw: bytes, caller: Caller) -> Response:
        return self._quote_lines(raw, caller, None)

    def _quote_lines(self, raw: bytes, caller: Caller, named: Method | None) -> Response:
        now_us = self._now_us()
        active, erp = caller.snapshot(self._snapshots, ""), self._erp.prices if self._erp else None
        active.live()
        tried = try_fast_path(active.fast_path, QUOTE, raw, caller, now_us, erp, self._flagging)
        if isinstance(tried, Response):
            return tried
        if named and tried.query is None and may_name_others(raw):
            return named(raw, caller)
        if not caller.may_wait:
            raise NeedsThread(partial(self._go_on, raw, now_us, active, tried))
        return self._go_on(raw, now_us, active, tried, caller)

    @in_exchange
    def _go_on(
        self, raw: bytes, now_us: int, active: LoadedSnapshot, tried: Left, caller: Caller
    ) -> Response:
        """The general path, from where the fast path has left a request."""
        erp = self._erp.prices if self._erp else None
        query, resolved = tried.query or codec.decode_quote_lines(raw), tried.resolved
        loaded = caller.snapshot(self._snapshots, query.snapshot_version) if resolved is None else active
        header = header_of(loaded, query.as_of, now_us, caller)
        ask = PriceAsk.of(
            dated_lines(query.lines, loaded.time_zone),
            customer_id=query.customer_id,
            currency=query.currency,
            branch=query.branch,
            as_of_us=header.as_of_us,
            service_desk=True,  # NOT_ENTITLED must hide the availability too; it is hidden itself below
        )
        if resolved is None:
            prices = loaded.engine.price(ask, caller.check_deadline)
        else:
            prices = loaded.engine.finish(ask, resolved.currency, resolved.prices, caller.check_deadline)
        denied = prices.status == LineStatus.NOT_ENTITLED
        if self._erp:
            caller = self._erp.bounded(caller)
        sources = NO_PRICE_SOURCES
        if erp is not None:
            sources = erp.overlay(loaded, ask, prices, caller, is_due=tried.is_due)
        elif self._flagging:
            self._flagging.flag_lines(loaded, ask, prices)
        if resolved is None:
            free = _availability(loaded, query, ask, denied, caller, self._erp)
        else:
            free = _finish(loaded, query, resolved, ask.as_of_us, caller, self._erp)
        if not caller.service_desk:
            prices.status[denied] = LineStatus.UNKNOWN_ITEM
        caller.check_deadline()
        encoded = codec.encode_quote_lines(loaded.engine, prices, free, header, sources)
        return Response(encoded, prices.status, None if free is None else free[:, FREE_STATUS])


def _availability(
    loaded: LoadedSnapshot,
    query: codec.PriceQuery,
    ask: PriceAsk,
    denied: NDArray[np.bool_],
    caller: Caller,
    erp: ErpFallback | None,
) -> NDArray[np.int64] | None:
    """The availability of all lines, (n, FREE_SIZE); None: there is none."""
    engine = loaded.availability
    own = loaded.branch_of(query.customer_id).encode()
    branches = query.branches or ((own,) if own else ())
    if (
        engine is None
        or not branches
        or not len(engine.positions.branches)
        or not AS_OF_MIN_US <= ask.as_of_us < AS_OF_MAX_US
    ):
        return None
    check_pairs(len(ask.skus) * len(branches))
    loaded.live()
    hidden = frozenset(ask.skus[line] for line in np.flatnonzero(denied).tolist())
    question = (ask.as_of_us, ask.skus, ask.quantities_micros, ask.uoms)
    check = CheckAsk(*question, branches=branches, hidden_skus=hidden, service_desk=caller.service_desk)
    return _quote(loaded, engine, check, engine.resolve(check), caller, erp)


def _finish(
    loaded: LoadedSnapshot,
    query: codec.PriceQuery,
    resolved: ResolvedLines,
    as_of_us: int,
    caller: Caller,
    erp: ErpFallback | None,
) -> NDArray[np.int64] | None:
    """As `_availability`, where the fast path has left some lines: those are answered, and with them the lines that
    draw on the same stock, in the order of the request."""
    engine, free, asked, window = loaded.availability, resolved.free, resolved.asked, resolved.window
    if engine is None or free is None or window is None:
        return None
    left = free[:, FREE_STATUS] == RECHECK
    if not left.any():
        return free
    shared = np.isin(asked[:, ASKED_ITEM], engine.drawn_on(asked[left, ASKED_ITEM]))
    lines = np.flatnonzero(left | (shared & (free[:, FREE_STATUS] == AvailabilityStatus.OK)))
    skus, uoms = ([names[line] for line in lines.tolist()] for names in (query.lines.skus, query.lines.uoms))
    check = CheckAsk(as_of_us, skus, query.lines.quantities_micros[lines], uoms, branches=window.branches)
    found = Lines(
        np.full(len(lines), AvailabilityStatus.OK, np.uint8),
        asked[lines, ASKED_ITEM].astype(np.int32),
        asked[lines, ASKED_NUMERATOR],
        asked[lines, ASKED_DENOMINATOR],
        asked[lines, ASKED_IS_UNIT].astype(np.bool_),
    )
    free[lines] = _quote(loaded, engine, check, found, caller, erp, window)
    return free


def _quote(
    loaded: LoadedSnapshot,
    engine: AvailabilityEngine,
    check: CheckAsk,
    lines: Lines,
    caller: Caller,
    erp: ErpFallback | None,
    window: QuoteWindow | None = None,
) -> NDArray[np.int64]:
    """What is free of the lines in total, and when all of each can be picked: (n, FREE_SIZE)."""
    checked = engine.check_lines(check, lines, window, caller.check_deadline)
    if erp:
        erp.stock.overlay(loaded, check, checked, caller)
    totals = branch_totals(checked, check.quantities_micros)
    free = np.empty((len(lines.item), FREE_SIZE), np.int64)
    free[:, FREE_STATUS] = totals.status
    free[:, FREE_AVAILABLE], free[:, FREE_SHORTAGE] = totals.available_micros, totals.shortage_micros
    free[:, FREE_FRESH : FREE_FRESH + 3] = totals.freshness
    free[:, FREE_AS_OF : FREE_AS_OF + 3] = totals.source_as_of_us
    free[:, FREE_DAY] = NO_DAY
    if (
        checked.branches.min() >= 0
    ):  # of an unknown branch the lines have that status, and nothing is promised
        free[:, FREE_DAY] = promise_days(engine, check, lines, window, caller.check_deadline)
    return free


def promise_days(
    engine: AvailabilityEngine,
    check: CheckAsk,
    lines: Lines,
    window: QuoteWindow | None = None,
    between: Callable[[], None] = lambda: None,
) -> list[int]:
    """The last pick day of each line that is promised in full; NO_DAY - limit of a line that can't be, with its
    `Limit`."""
    question = (check.as_of_us, check.skus, check.quantities_micros, check.uoms)
    ask = PromiseAsk(*question, branches=check.branches, hidden_skus=check.hidden_skus)
    promised = engine.promise_lines(ask, lines, window, between)
    starts, picks = promised.part_start.tolist(), promised.pick_day.tolist()
    is_ok = promised.status == AvailabilityStatus.OK
    is_short = (is_ok & (promised.shortage_micros != 0)).tolist()
    limits = engine.whole_limits(ask, lines) if any(is_short) else []
    days = []
    for line, ok in enumerate(is_ok.tolist()):
        if is_short[line]:
            days.append(NO_DAY - limits[line])
        else:
            days.append(max(picks[starts[line] : starts[line + 1]], default=NO_DAY) if ok else NO_DAY)
    return days

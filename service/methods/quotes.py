"""QuoteService: price, availability and promise date of the same lines, from one snapshot at one instant."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pricegrid.atp.kernels.quote import NO_DAY
from pricegrid.atp.model import (
    AS_OF_MAX_US,
    AS_OF_MIN_US,
    AvailabilityStatus,
    CheckAsk,
    Limit,
    PromiseAnswers,
    PromiseAsk,
)
from pricegrid.pricing_engine.engine import PriceAsk
from pricegrid.pricing_engine.model import LineStatus
from pricegrid.service.codec import quotes as codec
from pricegrid.service.erp_overlay.flags import Flagging
from pricegrid.service.erp_overlay.price_sources import NO_PRICE_SOURCES
from pricegrid.service.fast_path.choice import try_fast_path
from pricegrid.service.fast_path.kernel import QUOTE
from pricegrid.service.methods.availability import check_pairs
from pricegrid.service.methods.branch_totals import branch_totals
from pricegrid.service.process.snapshots import LoadedSnapshot
from pricegrid.service.rpc.call import Caller, SnapshotSource, header_of
from pricegrid.service.rpc.response import Response

if TYPE_CHECKING:
    from pricegrid.service.erp_overlay.fallback import ErpFallback


class QuoteService:
    """Answers `QuoteLines`; safe to call from many threads."""

    def __init__(
        self,
        snapshots: SnapshotSource,
        now_us: Callable[[], int],
        erp: ErpFallback | None = None,
        flagging: Flagging | None = None,
    ) -> None:
        self._snapshots = snapshots
        self._now_us = now_us
        self._erp = erp
        self._flagging = flagging

    def quote_lines(self, raw: bytes, caller: Caller) -> Response:
        """Answers a `QuoteLinesRequest`; raises `RequestRefusedError` and `PricingError`."""
        now_us = self._now_us()
        active, erp = self._snapshots.get(""), self._erp.prices if self._erp else None
        active.live()
        response, is_due = try_fast_path(active.fast_path, QUOTE, raw, caller, now_us, erp, self._flagging)
        if response is not None:
            return response
        query = codec.decode_quote_lines(raw)
        loaded = self._snapshots.get(query.snapshot_version)
        header = header_of(loaded, query.as_of, now_us, caller)
        ask = PriceAsk(
            customer_id=query.customer_id,
            currency=query.currency,
            branch=query.branches[0].decode() if query.branches else "",
            as_of_us=header.as_of_us,
            skus=query.lines.skus,
            quantities_micros=query.lines.quantities_micros,
            uoms=query.lines.uoms,
            service_desk=True,  # NOT_ENTITLED must hide the availability too; it is hidden itself below
        )
        prices = loaded.engine.price(ask)
        denied = prices.status == LineStatus.NOT_ENTITLED
        if self._erp:
            caller = self._erp.bounded(caller)
        sources = NO_PRICE_SOURCES
        if erp is not None:
            sources = erp.overlay(loaded, ask, prices, caller, is_due=is_due)
        elif self._flagging:
            self._flagging.flag_lines(loaded, ask, prices)
        availability = _availability(loaded, query, ask, denied, caller, self._erp)
        if not caller.service_desk:
            prices.status[denied] = LineStatus.UNKNOWN_ITEM
        encoded = codec.encode_quote_lines(loaded.engine, prices, availability, header, sources)
        if availability is None:
            return Response(encoded, prices.status)
        return Response(encoded, prices.status, availability.totals.status)


def _availability(
    loaded: LoadedSnapshot,
    query: codec.QuoteQuery,
    ask: PriceAsk,
    denied: NDArray[np.bool_],
    caller: Caller,
    erp: ErpFallback | None,
) -> codec.QuoteAvailability | None:
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
    checked = engine.check(check)
    if erp:
        erp.stock.overlay(loaded, check, checked, caller)
    totals = branch_totals(checked, ask.quantities_micros)
    if checked.branches.min() < 0:  # an unknown branch: the lines have that status, and nothing is promised
        return codec.QuoteAvailability(totals, [NO_DAY] * len(ask.skus))
    promised = engine.promise(PromiseAsk(*question, branches=branches, hidden_skus=hidden))
    return codec.QuoteAvailability(totals, promise_days(promised, engine.whole_limits(check)))


def promise_days(promised: PromiseAnswers, limits: Sequence[Limit]) -> list[int]:
    """The last pick day of each line that is promised in full; NO_DAY - limit of a line that can't be, with its
    `Limit`."""
    starts, picks = promised.part_start.tolist(), promised.pick_day.tolist()
    ok = (promised.status == AvailabilityStatus.OK).tolist()
    shortages = promised.shortage_micros.tolist()
    days = []
    for line, limit in enumerate(limits):
        if ok[line] and shortages[line] == 0:
            days.append(max(picks[starts[line] : starts[line + 1]], default=NO_DAY))
        else:
            days.append(NO_DAY - limit if ok[line] else NO_DAY)
    return days

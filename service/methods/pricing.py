"""PricingService: request bytes to response bytes, answered from one snapshot, without gRPC."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from pricegrid.pricing_engine.engine import PriceAsk
from pricegrid.pricing_engine.model import ExceptionReason
from pricegrid.service.codec import prices as codec
from pricegrid.service.codec.request import dated_lines
from pricegrid.service.erp_overlay.flags import Flagging
from pricegrid.service.erp_overlay.price_sources import NO_PRICE_SOURCES
from pricegrid.service.fast_path.path import Left, try_fast_path
from pricegrid.service.methods.other_names import may_name_others
from pricegrid.service.process.snapshots import LoadedSnapshot
from pricegrid.service.rpc.call import Caller, Method, ResponseHeader, SnapshotSource, header_of, in_exchange
from pricegrid.service.rpc.later import NeedsThread
from pricegrid.service.rpc.response import Response

if TYPE_CHECKING:
    from pricegrid.service.erp_overlay.prices import ErpPrices


class PricingService:
    """Answers `PriceLines` and `ExplainPrice`; safe to call from many threads."""

    def __init__(
        self,
        snapshots: SnapshotSource,
        now_us: Callable[[], int],
        erp: ErpPrices | None = None,
        flagging: Flagging | None = None,
        taking_names: Callable[[str, Method], Method] | None = None,
    ) -> None:
        self._snapshots = snapshots
        self._now_us = now_us
        self._erp = erp
        self._flagging = flagging
        self._named = taking_names and taking_names("PriceLines", self._price_skus)

    def price_lines(self, raw: bytes, caller: Caller) -> Response:
        """Answers a `PriceLinesRequest`; raises `RequestRefusedError` and `PricingError`."""
        return self._price_lines(raw, caller, self._named)

    def _price_skus(self, raw: bytes, caller: Caller) -> Response:
        return self._price_lines(raw, caller, None)

    def _price_lines(self, raw: bytes, caller: Caller, named: Method | None) -> Response:
        active = caller.snapshot(self._snapshots, "")
        tried = try_fast_path(active.fast_path, 0, raw, caller, self._now_us(), self._erp, self._flagging)
        if isinstance(tried, Response):
            return tried
        if named and tried.query is None and may_name_others(raw):
            return named(raw, caller)
        if not caller.may_wait:
            raise NeedsThread(partial(self._go_on, raw, active, tried))
        return self._go_on(raw, active, tried, caller)

    @in_exchange
    def _go_on(self, raw: bytes, active: LoadedSnapshot, tried: Left, caller: Caller) -> Response:
        """The general path, from where the fast path has left a request."""
        query = tried.query or codec.decode_price_lines(raw)
        resolved = tried.resolved
        loaded = caller.snapshot(self._snapshots, query.snapshot_version) if resolved is None else active
        ask, header = self._ask(query, loaded, caller)
        if resolved is None:
            answers = loaded.engine.price(ask, caller.check_deadline)
        else:
            answers = loaded.engine.finish(ask, resolved.currency, resolved.prices, caller.check_deadline)
        sources = NO_PRICE_SOURCES
        if self._erp:
            sources = self._erp.overlay(loaded, ask, answers, caller, is_due=tried.is_due)
        elif self._flagging:
            self._flagging.flag_lines(loaded, ask, answers)
        caller.check_deadline()
        return Response(codec.encode_price_lines(loaded.engine, answers, header, sources), answers.status)

    def explain_price(self, raw: bytes, caller: Caller) -> Response:
        """Answers an `ExplainPriceRequest`; raises `RequestRefusedError` and `PricingError`."""
        query = codec.decode_explain_price(raw)
        loaded = caller.snapshot(self._snapshots, query.snapshot_version)
        ask, header = self._ask(query, loaded, caller)
        answers = loaded.engine.price(ask, caller.check_deadline)
        explained = loaded.engine.explain(ask, 0)
        document = {**explained, "snapshot_version": loaded.version}
        sources = NO_PRICE_SOURCES
        if self._erp:
            from pricegrid.service.erp_overlay.prices import erp_document

            sources = self._erp.overlay(loaded, ask, answers, caller)
            document["erp"] = erp_document(answers, sources)
        elif self._flagging:
            self._flagging.flag_lines(loaded, ask, answers)
            exception = ExceptionReason(answers.exception[0]).name
            document["answer"] = {**dict(explained["answer"]), "exception": exception}  # type: ignore[call-overload]
        encoded = codec.encode_explain_price(loaded.engine, answers, document, header, sources)
        return Response(encoded, answers.status)

    def _ask(
        self, query: codec.PriceQuery, loaded: LoadedSnapshot, caller: Caller
    ) -> tuple[PriceAsk, ResponseHeader]:
        header = header_of(loaded, query.as_of, self._now_us(), caller)
        ask = PriceAsk.of(
            dated_lines(query.lines, loaded.time_zone),
            customer_id=query.customer_id,
            currency=query.currency,
            branch=query.branch,
            as_of_us=header.as_of_us,
            service_desk=caller.service_desk,
        )
        return ask, header

"""PricingService: bytes in, bytes out, answered from one snapshot; knows nothing of gRPC calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pricegrid.pricing_engine.engine import PriceAsk
from pricegrid.pricing_engine.model import ExceptionReason
from pricegrid.service.codec import prices as wire
from pricegrid.service.erp_overlay.flags import Flagging
from pricegrid.service.erp_overlay.price_sources import NO_MARKS
from pricegrid.service.fast_path.choice import answer_plainly
from pricegrid.service.process.snapshots import LoadedSnapshot
from pricegrid.service.rpc.call import AnswerHeader, Caller, SnapshotSource, header_of
from pricegrid.service.rpc.response import Answered

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
    ) -> None:
        self._snapshots = snapshots
        self._now_us = now_us
        self._erp = erp
        self._flagging = flagging

    def price_lines(self, raw: bytes, caller: Caller) -> Answered:
        """Answers a `PriceLinesRequest`; raises `RequestRefusedError` and `PricingError`."""
        lane = self._snapshots.get("").lane
        plain, is_due = answer_plainly(lane, 0, raw, caller, self._now_us(), self._erp, self._flagging)
        if plain is not None:
            return plain
        query = wire.decode_price_lines(raw)
        loaded = self._snapshots.get(query.snapshot_version)
        ask, header = self._ask(query, loaded, caller)
        answers = loaded.engine.price(ask)
        marks = NO_MARKS
        if self._erp:
            marks = self._erp.lay_over(loaded, ask, answers, caller, is_due=is_due)
        elif self._flagging:
            self._flagging.mark(loaded, ask, answers)
        return Answered(wire.encode_price_lines(loaded.engine, answers, header, marks), answers.status)

    def explain_price(self, raw: bytes, caller: Caller) -> Answered:
        """Answers an `ExplainPriceRequest`; raises `RequestRefusedError` and `PricingError`."""
        query = wire.decode_explain_price(raw)
        loaded = self._snapshots.get(query.snapshot_version)
        ask, header = self._ask(query, loaded, caller)
        answers = loaded.engine.price(ask)
        explained = loaded.engine.explain(ask, 0)
        document = {**explained, "snapshot_version": loaded.version}
        marks = NO_MARKS
        if self._erp:
            from pricegrid.service.erp_overlay.prices import erp_document

            marks = self._erp.lay_over(loaded, ask, answers, caller)
            document["erp"] = erp_document(answers, marks)
        elif self._flagging:
            self._flagging.mark(loaded, ask, answers)
            exception = ExceptionReason(answers.exception[0]).name
            document["answer"] = {**dict(explained["answer"]), "exception": exception}  # type: ignore[call-overload]
        encoded = wire.encode_explain_price(loaded.engine, answers, document, header, marks)
        return Answered(encoded, answers.status)

    def _ask(
        self, query: wire.PriceQuery, loaded: LoadedSnapshot, caller: Caller
    ) -> tuple[PriceAsk, AnswerHeader]:
        header = header_of(loaded, query.as_of, self._now_us(), caller)
        ask = PriceAsk(
            customer_id=query.customer_id,
            currency=query.currency,
            branch=query.branch,
            as_of_us=header.as_of_us,
            skus=query.skus,
            quantities_micros=query.quantities_micros,
            uoms=query.uoms,
            service_desk=caller.service_desk,
        )
        return ask, header

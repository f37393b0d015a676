"""PricingService: bytes in, bytes out, answered from one snapshot; knows nothing of gRPC calls."""

from collections.abc import Callable

from pricing_engine.engine import PriceAsk
from service import wire
from service.exchange import Answered, AnswerHeader, Caller, SnapshotSource, header_of
from service.snapshots import LoadedSnapshot


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

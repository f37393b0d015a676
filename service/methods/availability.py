"""AvailabilityService: request bytes to response bytes, answered from one snapshot, without gRPC."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from pricegrid import v1
from pricegrid.atp.model import AS_OF_MAX_US, AS_OF_MIN_US, CheckAsk, PromiseAsk
from pricegrid.service.codec import availability as codec
from pricegrid.service.errors import Reason, RequestRefusedError, not_permitted
from pricegrid.service.limits import EXPLAINED_PAIRS_MAX, PAIRS_MAX, PROJECTED_PAIRS_MAX
from pricegrid.service.methods.branch_totals import branch_totals
from pricegrid.service.methods.entitlement import hidden_skus
from pricegrid.service.process.snapshots import LoadedSnapshot
from pricegrid.service.rpc.call import Caller, Method, ResponseHeader, SnapshotSource, header_of
from pricegrid.service.rpc.response import Response

if TYPE_CHECKING:
    from pricegrid.atp.engine import AvailabilityEngine
    from pricegrid.service.erp_overlay.stock import ErpStock


class AvailabilityService:
    """Answers `CheckAvailability` and `PromiseOrder`; safe to call from many threads."""

    def __init__(
        self,
        snapshots: SnapshotSource,
        now_us: Callable[[], int],
        erp: ErpStock | None = None,
        get_reservation: Method | None = None,
    ) -> None:
        self._snapshots = snapshots
        self._now_us = now_us
        self._erp = erp
        self._get_reservation = get_reservation

    def check_availability(self, raw: bytes, caller: Caller) -> Response:
        """Answers a `CheckAvailabilityRequest`; raises `RequestRefusedError`, `PricingError` and `PolicyError`."""
        query = codec.decode_check_availability(raw)
        loaded = caller.snapshot(self._snapshots, query.snapshot_version)
        check_explained(caller, explained=query.explain)
        engine = positions_of(loaded)
        header = _header(loaded, query, self._now_us(), caller)
        branches = query.branches or tuple(engine.positions.branches.all())
        if not branches:
            raise RequestRefusedError(Reason.NO_AVAILABILITY_DATA, "the snapshot holds no branches")
        check_pairs(len(query.lines.skus) * len(branches), projected=query.projected, explained=query.explain)
        ask = CheckAsk(
            as_of_us=header.as_of_us,
            skus=query.lines.skus,
            quantities_micros=query.lines.quantities_micros,
            uoms=query.lines.uoms,
            branches=branches,
            supply=query.supply,
            projected=query.projected,
            hidden_skus=hidden_skus(loaded.engine, query.customer_id, query.lines.skus),
            exclude_reservation=self._excluded(query, caller),
            service_desk=caller.service_desk,
        )
        answers = engine.check(ask, caller.check_deadline)
        if self._erp:
            self._erp.overlay(loaded, ask, answers, caller)
        totals = branch_totals(answers, query.lines.quantities_micros)
        explanations = {}
        if query.explain:
            explain = _Explainer(loaded, engine, query.customer_id, caller)
            pairs = ((line, branch) for line in range(len(ask.skus)) for branch in branches)
            explanations = {at: _json(explain(ask, *pair)) for at, pair in enumerate(pairs)}
        encoded = codec.encode_check_availability(branches, answers, totals, explanations, header)
        return Response(encoded, availability=totals.status)

    def promise_order(self, raw: bytes, caller: Caller) -> Response:
        """Answers a `PromiseOrderRequest`; raises `RequestRefusedError`, `PricingError` and `PolicyError`."""
        query = codec.decode_promise_order(raw)
        loaded = caller.snapshot(self._snapshots, query.snapshot_version)
        check_explained(caller, explained=query.explain)
        engine = positions_of(loaded)
        header = _header(loaded, query, self._now_us(), caller)
        skus = query.lines.skus
        offered = skus
        if query.policy.allow_substitutes:
            offered = [*skus, *(other for sku in dict.fromkeys(skus) for other in engine.substitutes(sku))]
        ask = PromiseAsk(
            as_of_us=header.as_of_us,
            skus=skus,
            quantities_micros=query.lines.quantities_micros,
            uoms=query.lines.uoms,
            branches=query.branches,
            ship_to=query.ship_to,
            supply=query.supply,
            policy=query.policy,
            hidden_skus=hidden_skus(loaded.engine, query.customer_id, offered),
            exclude_reservation=self._excluded(query, caller),
            service_desk=caller.service_desk,
        )
        answers = engine.promise(ask, caller.check_deadline)
        explanations = {}
        if query.explain:
            branches = query.branches or _origins(engine, query.ship_to)
            check_pairs(len(skus) * len(branches), explained=True)
            explain = _Explainer(loaded, engine, query.customer_id, caller)
            explanations = {
                line: _json({"branches": [explain(ask, line, branch) for branch in branches]})
                for line in range(len(skus))
            }
        encoded = codec.encode_promise_order(engine, answers, explanations, header)
        return Response(encoded, availability=answers.status)

    def _excluded(self, query: codec.CheckQuery | codec.PromiseQuery, caller: Caller) -> str:
        """The reservation that does not count. One that is not the customer's own is like one that does not exist, if
        the caller may not ask for everybody: what it holds is nobody else's business."""
        named = query.exclude_reservation
        if not named or caller.customers is None:
            return named
        if self._get_reservation is None or not query.customer_id:
            return ""
        own = v1.GetReservationRequest(customer_id=query.customer_id, reservation_id=named)
        try:
            self._get_reservation(own.SerializeToString(), caller)
        except RequestRefusedError as refused:
            if refused.reason is not Reason.RESERVATION_NOT_FOUND:
                raise
            return ""
        return named


def check_explained(caller: Caller, *, explained: bool) -> None:
    """Refuses to explain to a caller who may not see the orders of others."""
    if explained and not caller.sees_orders:
        raise not_permitted()


def positions_of(loaded: LoadedSnapshot) -> AvailabilityEngine:
    """The availability engine of a snapshot, STALE unless its live positions are proven. Raises NO_AVAILABILITY_DATA if
    it has none."""
    if loaded.availability is None:
        raise RequestRefusedError(Reason.NO_AVAILABILITY_DATA, "the snapshot has no positions")
    loaded.live()
    return loaded.availability


def check_pairs(pairs: int, *, projected: bool = False, explained: bool = False) -> None:
    """Refuses requests whose response would be too large."""
    pairs_max = EXPLAINED_PAIRS_MAX if explained else PROJECTED_PAIRS_MAX if projected else PAIRS_MAX
    if pairs > pairs_max:
        raise RequestRefusedError(
            Reason.TOO_MANY_PAIRS,
            f"lines times branches is {pairs}; at most {pairs_max} in such a request",
            pairs=str(pairs),
            pairs_max=str(pairs_max),
        )


def _header(
    loaded: LoadedSnapshot, query: codec.CheckQuery | codec.PromiseQuery, now_us: int, caller: Caller
) -> ResponseHeader:
    header = header_of(loaded, query.as_of, now_us, caller)
    if not AS_OF_MIN_US <= header.as_of_us < AS_OF_MAX_US:
        raise RequestRefusedError(Reason.INVALID_AS_OF, "availability is known for the years 1970 to 8999")
    return header


def _origins(engine: AvailabilityEngine, ship_to: bytes) -> Sequence[bytes]:
    """The branches that may ship to the destination when a request names none."""
    positions = engine.positions
    if not ship_to:
        return positions.branches.all()
    destination = int(positions.destinations.find_all([ship_to])[0])
    lanes = positions.span("lane_start", destination) if destination >= 0 else ()
    return list(
        dict.fromkeys(positions.branches.name(positions.integer("lane_from", lane)) for lane in lanes)
    )


class _Explainer:
    """Explains pairs to one caller, without the names of components that the customer may not see (P11)."""

    def __init__(
        self, loaded: LoadedSnapshot, engine: AvailabilityEngine, customer_id: str, caller: Caller
    ) -> None:
        self._prices, self._engine = loaded.engine, engine
        self._customer_id, self._caller = customer_id, caller

    def __call__(self, ask: CheckAsk | PromiseAsk, line: int, branch: bytes) -> dict[str, object]:
        self._caller.check_deadline()
        explained = self._engine.explain(ask, line, branch)
        components: Any = explained.get("components", [])
        if not self._caller.service_desk:
            skus = [str(component["sku"]).encode() for component in components]
            hidden = hidden_skus(self._prices, self._customer_id, skus)
            for component, sku in zip(components, skus, strict=True):
                component["sku"] = None if sku in hidden else component["sku"]
        return explained


def _json(document: dict[str, object]) -> str:
    return json.dumps(document, ensure_ascii=False)

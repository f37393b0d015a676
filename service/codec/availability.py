"""CheckAvailability and PromiseOrder: requests from bytes to queries, answers to response bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pricegrid import v1
from pricegrid.atp.model import (
    NO_INSTANT,
    AvailabilityStatus,
    CheckAnswers,
    PromiseAnswers,
    PromisePolicy,
    Source,
    Steps,
    SupplyPolicy,
)
from pricegrid.columnar.instants import day_date
from pricegrid.pricing_engine.lines import LineColumns
from pricegrid.service.codec.request import (
    as_of,
    branch_names,
    check_fields,
    check_line_count,
    line_columns,
    optional_date,
    parse,
)
from pricegrid.service.methods.branch_totals import BranchTotals
from pricegrid.service.rpc.call import ResponseHeader

if TYPE_CHECKING:
    from pricegrid.atp.engine import AvailabilityEngine

_OFFSET = 1  # 0 is UNSPECIFIED in the proto


@dataclass(frozen=True, slots=True)
class CheckQuery:
    """A validated CheckAvailability request. `as_of` as in `PriceQuery`."""

    customer_id: str
    lines: LineColumns
    branches: tuple[bytes, ...]
    as_of: int | date | None
    snapshot_version: str
    supply: SupplyPolicy
    projected: bool
    explain: bool
    exclude_reservation: str


@dataclass(frozen=True, slots=True)
class PromiseQuery:
    """A validated PromiseOrder request. `as_of` as in `PriceQuery`."""

    customer_id: str
    lines: LineColumns
    branches: tuple[bytes, ...]
    ship_to: bytes
    as_of: int | date | None
    snapshot_version: str
    supply: SupplyPolicy
    policy: PromisePolicy
    explain: bool
    exclude_reservation: str


def decode_check_availability(raw: bytes) -> CheckQuery:
    """Decodes and validates a `CheckAvailabilityRequest`; raises `RequestRefusedError` and `PolicyError`."""
    request = v1.CheckAvailabilityRequest()
    parse(request, raw)
    check_line_count(len(request.lines))
    check_fields(request, "customer_id", "snapshot_version", "exclude_reservation")
    return CheckQuery(
        customer_id=request.customer_id,
        lines=line_columns(request.lines),
        branches=branch_names(request.branches),
        as_of=as_of(request),
        snapshot_version=request.snapshot_version,
        supply=_supply(request.supply),
        projected=request.projected,
        explain=request.explain,
        exclude_reservation=request.exclude_reservation,
    )


def decode_promise_order(raw: bytes) -> PromiseQuery:
    """Decodes and validates a `PromiseOrderRequest`; raises `RequestRefusedError` and `PolicyError`."""
    request = v1.PromiseOrderRequest()
    parse(request, raw)
    check_line_count(len(request.lines))
    check_fields(request, "customer_id", "ship_to", "snapshot_version", "exclude_reservation")
    return PromiseQuery(
        customer_id=request.customer_id,
        lines=line_columns(request.lines),
        branches=branch_names(request.branches),
        ship_to=request.ship_to.encode(),
        as_of=as_of(request),
        snapshot_version=request.snapshot_version,
        supply=_supply(request.supply),
        policy=_policy(request.policy),
        explain=request.explain,
        exclude_reservation=request.exclude_reservation,
    )


def _supply(message: v1.SupplyPolicy) -> SupplyPolicy:
    fields = ("horizon_days", "past_due_offset_days", "past_due_max_days")
    given = {field: getattr(message, field) for field in fields if message.HasField(field)}
    return SupplyPolicy(min_confidence_micros=message.min_confidence_micros, **given)


def _policy(message: v1.PromisePolicy) -> PromisePolicy:
    return PromisePolicy(
        on=optional_date("on_date", message.on_date),
        need_by=optional_date("need_by_date", message.need_by_date),
        late_until=optional_date("late_until_date", message.late_until_date),
        no_late=message.no_late,
        ship_complete=message.ship_complete,
        no_split=message.no_split,
        minimum_shipment_micros=message.minimum_shipment_micros,
        allow_substitutes=message.allow_substitutes,
    )


def encode_check_availability(
    names: tuple[bytes, ...],
    answers: CheckAnswers,
    totals: BranchTotals,
    explanations: Mapping[int, str],
    header: ResponseHeader,
) -> bytes:
    """Encodes a `CheckAvailabilityResponse`; `names` are the branches, `explanations` are by index of the pair."""
    branches = [name.decode() for name in names]
    pairs = _branch_results(branches, answers, explanations, header.as_of_us)
    results = []
    lines = zip(
        totals.status.tolist(), totals.available_micros.tolist(), totals.shortage_micros.tolist(), strict=True
    )
    for line, (status, available, shortage) in enumerate(lines):
        result = v1.LineAvailability(
            status=status + _OFFSET, branches=pairs[line * len(branches) : (line + 1) * len(branches)]
        )
        if status == AvailabilityStatus.OK:
            result.available_micros, result.shortage_micros = available, shortage
        results.append(result)
    return v1.CheckAvailabilityResponse(
        results=results,
        snapshot_version=header.snapshot_version,
        snapshot_age_ms=header.snapshot_age_ms,
        as_of_us=header.as_of_us,
        correlation_id=header.correlation_id,
    ).SerializeToString()


def _branch_results(
    branches: list[str], answers: CheckAnswers, explanations: Mapping[int, str], as_of_us: int
) -> list[v1.BranchAvailability]:
    columns = zip(
        answers.status.tolist(),
        answers.available_micros.tolist(),
        answers.shortage_micros.tolist(),
        answers.dropped_receipts.tolist(),
        freshness_messages(answers.freshness, answers.source_as_of_us, as_of_us),
        _limits(answers),
        strict=True,
    )
    results = []
    for at, (status, available, shortage, dropped, freshness, limit) in enumerate(columns):
        result = v1.BranchAvailability(
            branch=branches[at % len(branches)],
            status=status + _OFFSET,
            dropped_receipts=dropped,
            freshness=freshness,
            explanation_json=explanations.get(at, ""),
            limited_by=limit,
        )
        if status == AvailabilityStatus.OK:
            result.available_micros, result.shortage_micros = available, shortage
        if answers.projected is not None:
            result.projected.extend(_steps(answers.projected, at))
        results.append(result)
    return results


def _limits(answers: CheckAnswers | PromiseAnswers) -> list[Any]:
    """The `PromiseLimit` of each result."""
    return [0] * len(answers.status) if answers.limit is None else answers.limit.tolist()


def _steps(steps: Steps, at: int) -> list[v1.AvailabilityStep]:
    own = slice(int(steps.start[at]), int(steps.start[at + 1]))
    columns = (steps.day[own], steps.atp_micros[own], steps.balance_micros[own])
    return [
        v1.AvailabilityStep(date=day_text(day), atp_micros=atp, balance_micros=balance)
        for day, atp, balance in zip(*(column.tolist() for column in columns), strict=True)
    ]


def freshness_messages(
    states: NDArray[np.integer[Any]], source_as_of_us: NDArray[np.int64], as_of_us: int
) -> list[v1.Freshness]:
    """The freshness of each result, from its states and the instants of its sources, both (n, 3) by `Source`."""
    messages = []
    for state, instants in zip(states.tolist(), source_as_of_us.tolist(), strict=True):
        message = v1.Freshness(
            erp=state[Source.ERP] + _OFFSET,
            wms=state[Source.WMS] + _OFFSET,
            transit=state[Source.TRANSIT] + _OFFSET,
        )
        if instants[Source.ERP] != NO_INSTANT:
            message.erp_age_ms = max(0, as_of_us - instants[Source.ERP]) // 1000
        if instants[Source.WMS] != NO_INSTANT:
            message.wms_age_ms = max(0, as_of_us - instants[Source.WMS]) // 1000
        if instants[Source.TRANSIT] != NO_INSTANT:
            message.transit_age_ms = max(0, as_of_us - instants[Source.TRANSIT]) // 1000
        messages.append(message)
    return messages


def encode_promise_order(
    engine: AvailabilityEngine,
    answers: PromiseAnswers,
    explanations: Mapping[int, str],
    header: ResponseHeader,
) -> bytes:
    """Encodes a `PromiseOrderResponse`; `explanations` are by line."""
    parts = _parts(engine, answers)
    starts = answers.part_start.tolist()
    columns = zip(
        answers.status.tolist(),
        answers.shortage_micros.tolist(),
        answers.dropped_receipts.tolist(),
        freshness_messages(answers.freshness, answers.source_as_of_us, header.as_of_us),
        _limits(answers),
        strict=True,
    )
    results = []
    for line, (status, shortage, dropped, freshness, limit) in enumerate(columns):
        result = v1.LinePromise(
            status=status + _OFFSET,
            promised=parts[starts[line] : starts[line + 1]],
            explanation_json=explanations.get(line, ""),
            freshness=freshness,
            dropped_receipts=dropped,
            limited_by=limit,
        )
        if status != AvailabilityStatus.INVALID_QUANTITY:
            result.shortage_micros = shortage
        results.append(result)
    return v1.PromiseOrderResponse(
        results=results,
        snapshot_version=header.snapshot_version,
        snapshot_age_ms=header.snapshot_age_ms,
        as_of_us=header.as_of_us,
        correlation_id=header.correlation_id,
    ).SerializeToString()


def _parts(engine: AvailabilityEngine, answers: PromiseAnswers) -> list[v1.PromisedPart]:
    columns = zip(
        answers.part_item.tolist(),
        answers.part_branch.tolist(),
        answers.part_quantity_micros.tolist(),
        answers.pick_day.tolist(),
        answers.ship_day.tolist(),
        answers.arrival_day.tolist(),
        strict=True,
    )
    return [
        v1.PromisedPart(
            sku=engine.sku(item),
            branch=engine.branch(branch),
            quantity_micros=quantity,
            pick_date=day_text(pick),
            ship_date=day_text(ship),
            arrival_date=day_text(arrival),
        )
        for item, branch, quantity, pick, ship, arrival in columns
    ]


@lru_cache(maxsize=4096)
def day_text(day: int) -> str:
    """A day since 1970-01-01 as YYYY-MM-DD."""
    return day_date(day).isoformat()

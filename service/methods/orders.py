"""OrderService: an order is checked by the rules, kept, and its stock held (O1 to O10, docs/orders.md).

    decode ─▶ known key? ─▶ names ─▶ prices ─▶ rules ─▶ promise ─▶ rules ─▶ keep ─▶ hold ─▶ keep, final ─▶ answer

Prices and promises are those of the other services, asked for one snapshot and one instant. An answer that needs a
hold is kept before the hold, and the hold has a key of its own: whoever is interrupted between goes on from what is
kept, and there is one hold and one answer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from pricegrid import v1
from pricegrid.pricing_engine.model import LineStatus, minor_unit_micros
from pricegrid.service.codec import orders as codec
from pricegrid.service.codec.request import as_of
from pricegrid.service.errors import Reason, RequestRefusedError
from pricegrid.service.limits import RESERVE_LINES_MAX
from pricegrid.service.methods.other_names import names_others, rename_lines
from pricegrid.service.methods.resolve_names import check_line
from pricegrid.service.orders import rules
from pricegrid.service.orders.model import (
    Difference,
    Kind,
    Line,
    LineFacts,
    Policy,
    Price,
    Severity,
    Short,
)
from pricegrid.service.process.snapshots import LoadedSnapshot
from pricegrid.service.rpc.call import Caller, Method, SnapshotSource, header_of
from pricegrid.service.rpc.response import Response

_DAY_US: Final = 86_400_000_000
_HOLD_KEY: Final = "order:"


@dataclass(frozen=True, slots=True)
class OrderPorts:
    """What orders ask of the other services, and of live state."""

    price: Method
    promise: Method
    reserve: Method
    confirm: Method
    keep: Method
    find: Method


@dataclass(frozen=True, slots=True)
class _Asked:
    """An order that is being worked out."""

    request: v1.ValidateOrderRequest
    loaded: LoadedSnapshot
    as_of_us: int
    policy: Policy
    lines: list[Line]
    items: list[v1.PriceLine]
    """The lines by SKU and unit, with the quantities that are accepted."""
    ambiguous: frozenset[int]


class OrderService:
    """Answers `ValidateOrder` and `GetOrderAnswer`; safe to call from many threads."""

    def __init__(self, snapshots: SnapshotSource, now_us: Callable[[], int], ports: OrderPorts) -> None:
        self._snapshots = snapshots
        self._now_us = now_us
        self._ports = ports

    def get_order_answer(self, raw: bytes, caller: Caller) -> Response:
        """Answers a `GetOrderAnswerRequest`."""
        record = self._found(codec.decode_get_order_answer(raw), caller)
        if record is None or not record.is_final:
            raise RequestRefusedError(Reason.ORDER_NOT_FOUND, "this customer has no such order")
        answer = v1.GetOrderAnswerResponse(answer=record.answer)
        answer.request.ParseFromString(record.request)
        return Response(answer.SerializeToString())

    def validate_order(self, raw: bytes, caller: Caller) -> Response:
        """Answers a `ValidateOrderRequest`; raises `RequestRefusedError` and `PricingError`."""
        request = codec.decode_validate_order(raw)
        content = request.SerializeToString(deterministic=True)
        digest = hashlib.sha256(content).hexdigest()
        by_key = v1.GetOrderAnswerRequest(
            customer_id=request.customer_id, idempotency_key=request.idempotency_key
        )
        record = self._found(by_key, caller)
        if record is None:
            record = self._kept(self._worked_out(request, content, digest, caller), caller)
        if record.request_sha256 != digest:
            raise RequestRefusedError(Reason.KEY_REUSED, "this idempotency key was used for another order")
        if not record.is_final:
            record = self._kept(self._held(record, caller), caller)
        return Response(record.answer)

    # ---- the journal

    def _found(self, request: v1.GetOrderAnswerRequest, caller: Caller) -> v1.OrderRecord | None:
        record = v1.OrderRecord.FromString(self._ports.find(request.SerializeToString(), caller).raw)
        return record if record.idempotency_key else None

    def _kept(self, record: v1.OrderRecord, caller: Caller) -> v1.OrderRecord:
        """What is kept under the key: this, or what was there before."""
        return v1.OrderRecord.FromString(self._ports.keep(record.SerializeToString(), caller).raw)

    # ---- the answer

    def _worked_out(
        self, request: v1.ValidateOrderRequest, content: bytes, digest: str, caller: Caller
    ) -> v1.OrderRecord:
        asked = self._asked(request, caller)
        currency = self._check_prices(asked, caller)
        promised = self._check_promises(asked, caller)
        rules.spoil_incomplete(asked.lines, asked.policy)
        differences = self._duplicates(request, digest, caller)
        answer = _answer(asked, currency, promised, differences, caller)
        record = v1.OrderRecord(
            customer_id=request.customer_id,
            idempotency_key=request.idempotency_key,
            request_sha256=digest,
            request=content,
            is_final=True,
            made_us=self._now_us(),
            order_ref=request.order_ref,
            correlation_id=caller.correlation_id,
        )
        reserve = _reserve(request, answer)
        if reserve is not None:
            record.reserve, record.is_final = reserve.SerializeToString(), False
        record.answer = answer.SerializeToString(deterministic=True)
        return record

    def _asked(self, request: v1.ValidateOrderRequest, caller: Caller) -> _Asked:
        """The order by SKUs and units, with the quantities that its policy makes of those asked (O5)."""
        loaded = caller.snapshot(self._snapshots, "")
        instant_us = header_of(loaded, as_of(request), self._now_us(), caller).as_of_us
        items, policy = codec.price_lines(request), codec.policy_of(request.policy)
        named = [at for at, line in enumerate(items) if names_others(line)]
        for at in named:
            check_line(at, items[at])
        found = rename_lines([items[at] for at in named], loaded, request.customer_id, instant_us, caller)
        lines = [codec.line_of(line) for line in request.lines]
        for line, item in zip(lines, items, strict=True):
            rules.round_quantity(line, _multiple(loaded, item), policy.rounding)
            if line.quantity_micros:
                item.quantity_micros = line.quantity_micros
        ambiguous = frozenset(at for at, items_of in zip(named, found, strict=True) if len(items_of) > 1)
        return _Asked(request, loaded, instant_us, policy, lines, items, ambiguous)

    def _check_prices(self, asked: _Asked, caller: Caller) -> str:
        """Prices all lines; the currency."""
        ask = v1.PriceLinesRequest(
            customer_id=asked.request.customer_id,
            lines=asked.items,
            currency=asked.request.currency,
            branch=asked.request.branches[0] if asked.request.branches else "",
            snapshot_version=asked.loaded.version,
        )
        ask.as_of_time.FromMicroseconds(asked.as_of_us)
        priced = v1.PriceLinesResponse.FromString(self._ports.price(ask.SerializeToString(), caller).raw)
        for at, (line, found) in enumerate(zip(asked.lines, priced.results, strict=True)):
            rules.check_price(line, _facts(found, is_ambiguous=at in asked.ambiguous), asked.policy)
        return priced.currency

    def _check_promises(self, asked: _Asked, caller: Caller) -> list[Sequence[v1.PromisedPart]]:
        """Promises the accepted lines; the shipments of each line."""
        promised: list[Sequence[v1.PromisedPart]] = [() for _ in asked.lines]
        open_lines = [at for at, line in enumerate(asked.lines) if not line.is_rejected]
        if not open_lines:
            return promised
        now = self._promise(asked, open_lines, caller, is_dated=False)
        dated = now
        if asked.policy.short in {Short.BACKORDER_REST, Short.SHIP_COMPLETE}:
            dated = self._promise(asked, open_lines, caller, is_dated=True)
        for at, at_once, later in zip(open_lines, now, dated, strict=True):
            line = asked.lines[at]
            rules.check_short(line, _total(at_once), _total(later), asked.policy)
            if line.confirmed_micros or line.backordered_micros:
                promised[at] = _parts_for(later, line, asked.policy)
        return promised

    def _promise(
        self, asked: _Asked, lines: Sequence[int], caller: Caller, *, is_dated: bool
    ) -> list[Sequence[v1.PromisedPart]]:
        request = asked.request
        names = asked.loaded.names
        place = names.place(request.customer_id, request.ship_to) if names and request.ship_to else None
        ask = v1.PromiseOrderRequest(
            customer_id=request.customer_id,
            lines=[
                v1.AvailabilityLine(
                    sku=asked.items[at].sku,
                    quantity_micros=asked.lines[at].quantity_micros,
                    uom=asked.items[at].uom,
                )
                for at in lines
            ],
            branches=request.branches,
            ship_to=place.ship_to if place else request.ship_to,
            snapshot_version=asked.loaded.version,
            policy=v1.PromisePolicy(
                no_late=not is_dated,
                ship_complete=is_dated and asked.policy.short is Short.SHIP_COMPLETE,
                allow_substitutes=request.policy.allow_substitutes,
            ),
        )
        ask.as_of_time.FromMicroseconds(asked.as_of_us)
        found = v1.PromiseOrderResponse.FromString(self._ports.promise(ask.SerializeToString(), caller).raw)
        return [result.promised for result in found.results]

    def _duplicates(self, request: v1.ValidateOrderRequest, digest: str, caller: Caller) -> list[Difference]:
        """O7: the same reference with another content, not long ago."""
        days = request.policy.duplicate_days
        if not (days and request.order_ref):
            return []
        by_ref = v1.GetOrderAnswerRequest(customer_id=request.customer_id, order_ref=request.order_ref)
        before = self._found(by_ref, caller)
        if (
            before is None
            or before.made_us < self._now_us() - days * _DAY_US
            or before.request_sha256 == digest
        ):
            return []
        told = f"answered before under the key {before.idempotency_key}"
        return [Difference(Kind.DUPLICATE_ORDER, Severity.HOLD, "O7", request.order_ref, told)]

    # ---- the hold

    def _held(self, record: v1.OrderRecord, caller: Caller) -> v1.OrderRecord:
        """The record with its answer after its stock is held (O9); asked again, the same hold is found."""
        reserve = v1.ReserveRequest.FromString(record.reserve)
        request = v1.ValidateOrderRequest.FromString(record.request)
        answer = v1.ValidateOrderResponse.FromString(record.answer)
        held = v1.ReserveResponse.FromString(self._ports.reserve(record.reserve, caller).raw).reservation
        if held.reservation_id and request.hold == v1.OrderHold.ORDER_HOLD_CONFIRMED:
            confirm = v1.ConfirmReservationRequest(
                customer_id=record.customer_id,
                reservation_id=held.reservation_id,
                order_ref=record.order_ref or record.idempotency_key,
            )
            self._ports.confirm(confirm.SerializeToString(), caller)
        elif held.reservation_id:
            answer.expires_us = held.expires_us
        answer.reservation_id = held.reservation_id
        for asked, line in zip(reserve.lines, held.lines, strict=True):
            if line.held_micros < asked.quantity_micros:
                _note_not_held(answer, asked, line)
        final = v1.OrderRecord()
        final.CopyFrom(record)
        final.answer, final.is_final = answer.SerializeToString(deterministic=True), True
        return final


def _multiple(loaded: LoadedSnapshot, item: v1.PriceLine) -> Fraction | None:
    """The order multiple of an item in the unit asked, in micros of it; None: there is none."""
    engine = loaded.availability
    if engine is None or not item.sku:
        return None
    place = engine.positions.skus.find(item.sku)
    multiple = engine.positions.integer("item_multiple", place) if place >= 0 else 0
    if not multiple:
        return None
    factor = loaded.engine.unit_factor(item.sku, item.uom) if item.uom else Fraction(1)
    return multiple / factor if factor else None


def _facts(found: v1.PriceLineResult, *, is_ambiguous: bool) -> LineFacts:
    status = v1.LineStatus.Name(found.status).removeprefix("LINE_STATUS_")
    if is_ambiguous and status == LineStatus.UNKNOWN_ITEM.name:
        status = LineStatus.AMBIGUOUS_ITEM.name
    has_price = found.HasField("unit_price_micros")
    return LineFacts(
        status=status,
        ours=Price(found.unit_price_micros, max(1, found.price_per)) if has_price else None,
        floor_lifted=found.floor_lifted,
        is_unconfirmed=bool(found.exception),
        minimum_quantity_micros=found.minimum_quantity_micros
        if found.HasField("minimum_quantity_micros")
        else None,
    )


def _total(parts: Sequence[v1.PromisedPart]) -> int:
    return sum(part.quantity_micros for part in parts)


def _parts_for(parts: Sequence[v1.PromisedPart], line: Line, policy: Policy) -> Sequence[v1.PromisedPart]:
    """The shipments of what is accepted: none of a line that waits as a whole."""
    return () if policy.short is Short.BACKORDER_LINE and line.backordered_micros else parts


def _answer(
    asked: _Asked,
    currency: str,
    promised: Sequence[Sequence[v1.PromisedPart]],
    differences: list[Difference],
    caller: Caller,
) -> v1.ValidateOrderResponse:
    minor_micros = minor_unit_micros(currency)
    extended = [rules.extended_micros(line, minor_micros) for line in asked.lines]
    request = asked.request
    expected = request.expected_total_micros if request.HasField("expected_total_micros") else None
    fee_micros, of_total = rules.check_total(sum(extended), expected, asked.policy)
    differences += of_total
    return v1.ValidateOrderResponse(
        verdict=codec.severity_name(rules.order_verdict(asked.lines, differences)),
        lines=[
            codec.encode_line(of, line, item, amount, () if line.is_rejected else parts)
            for of, line, item, amount, parts in zip(
                request.lines, asked.lines, asked.items, extended, promised, strict=True
            )
        ],
        differences=[codec.encode_difference(each) for each in differences],
        total_micros=sum(extended) + fee_micros,
        small_order_fee_micros=fee_micros,
        currency=currency,
        snapshot_version=asked.loaded.version,
        as_of_us=asked.as_of_us,
        correlation_id=caller.correlation_id,
        profile_version=request.policy.profile_version,
    )


def _reserve(request: v1.ValidateOrderRequest, answer: v1.ValidateOrderResponse) -> v1.ReserveRequest | None:
    """The hold of what is promised; None: nothing is to be held. An order that a person must look at holds too."""
    if not request.hold or answer.verdict == v1.OrderSeverity.ORDER_SEVERITY_REJECT:
        return None
    first_days = [min((part.pick_date for part in line.promised), default="") for line in answer.lines]
    lines = [
        v1.ReserveLine(
            sku=part.sku,
            quantity_micros=part.quantity_micros,
            uom=line.uom,
            branch=part.branch,
            from_date="" if part.pick_date == first else part.pick_date,
            order_line=line.line_ref,
        )
        for line, first in zip(answer.lines, first_days, strict=True)
        for part in line.promised
    ]
    if not lines:
        return None
    if len(lines) > RESERVE_LINES_MAX:
        message = f"the order is shipped in {len(lines)} parts; at most {RESERVE_LINES_MAX} can be held"
        raise RequestRefusedError(Reason.TOO_MANY_LINES, message, lines_max=str(RESERVE_LINES_MAX))
    return v1.ReserveRequest(
        customer_id=request.customer_id,
        idempotency_key=_HOLD_KEY + request.idempotency_key,
        lines=lines,
        ttl_ms=request.ttl_ms,
        order_ref=request.order_ref,
    )


def _note_not_held(answer: v1.ValidateOrderResponse, asked: v1.ReserveLine, held: v1.ReservedLine) -> None:
    """Somebody else was quicker: a person must look at the line."""
    hold = v1.OrderSeverity.ORDER_SEVERITY_HOLD
    line = next(each for each in answer.lines if each.line_ref == asked.order_line)
    told = Difference(Kind.HOLD, Severity.HOLD, "O9", *map(_text, (asked.quantity_micros, held.held_micros)))
    line.differences.append(codec.encode_difference(told))
    line.verdict, answer.verdict = max(line.verdict, hold), max(answer.verdict, hold)


def _text(micros: int) -> str:
    return rules.exact_text(Fraction(micros))

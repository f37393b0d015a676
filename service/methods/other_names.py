"""Requests that name items and units as others call them (P15): each is asked with SKUs and units instead, and the
answer says what was found.

A request without such a name passes as it came: the tags of the two fields hold a byte that no ASCII text has, so to
look for them costs next to nothing, and a chance hit no more than one decoding. Where there is a fast path, it comes
first: it leaves every request that has a field it does not know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from types import MappingProxyType
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np

from pricegrid import v1
from pricegrid.atp.model import AvailabilityStatus
from pricegrid.columnar.instants import day_start_us
from pricegrid.pricing_engine.model import LineStatus
from pricegrid.pricing_engine.rules.part_numbers import Named
from pricegrid.service.codec.request import as_of, parse, trimmed
from pricegrid.service.errors import RequestRefusedError
from pricegrid.service.methods.resolve_names import PartAsk, check_line, resolve
from pricegrid.service.process.snapshots import LoadedSnapshot
from pricegrid.service.rpc.call import Caller, Method, SnapshotSource, in_exchange
from pricegrid.service.rpc.later import NeedsThread
from pricegrid.service.rpc.response import Response

PART_NUMBER_TAG: Final = b"\xa2\x06"
UOM_SYSTEM_TAG: Final = b"\xaa\x06"
"""As they begin the fields `part_number` and `uom_system` of a line, of any request."""
_UNMAPPED: Final = "\0"
"""A unit that no item has."""
_OFFSET: Final = 1  # 0 is UNSPECIFIED in the protos
_UNKNOWN: Final = LineStatus.UNKNOWN_ITEM + _OFFSET  # the same of availability
_AMBIGUOUS_PRICE: Final = LineStatus.AMBIGUOUS_ITEM + _OFFSET
_AMBIGUOUS_STOCK: Final = AvailabilityStatus.AMBIGUOUS_ITEM + _OFFSET


@dataclass(frozen=True, slots=True)
class Shape:
    """Where a method's messages have their lines."""

    request: Callable[[], Any]
    response: Callable[[], Any]
    lines: Callable[[Any], Sequence[Any]]
    results: Callable[[Any], Sequence[Any]]
    """Of a response, one for each line."""
    note: Callable[[Any, Any, Sequence[Named]], None]
    """Puts what the line of a request names into its result."""


def taking_names(snapshots: SnapshotSource, now_us: Callable[[], int]) -> Callable[[str, Method], Method]:
    """Makes a method, by its name in the protos, one that also takes the names of others."""

    def taking(name: str, method: Method) -> Method:
        renamed = _Renamed(method, SHAPES[name], snapshots, now_us)

        def call(raw: bytes, caller: Caller) -> Response:
            if not may_name_others(raw):
                return method(raw, caller)
            if not caller.may_wait:
                raise NeedsThread(partial(renamed.answer, raw))
            return renamed.answer(raw, caller)

        return call

    return taking


def may_name_others(raw: bytes) -> bool:
    """Whether a request may have a line that `names_others`."""
    return PART_NUMBER_TAG in raw or UOM_SYSTEM_TAG in raw


def names_others(line: Any) -> bool:
    """Whether a line names its item or its unit as others do."""
    return line.HasField("part_number") or bool(line.uom_system)


def rename_lines(
    lines: Sequence[Any], loaded: LoadedSnapshot, customer_id: str, as_of_us: int, caller: Caller
) -> list[tuple[Named, ...]]:
    """Puts SKUs and units into lines that `names_others`; what each part number names."""
    asks = [_part_ask(line, loaded, as_of_us) for line in lines]
    found = resolve(loaded, customer_id, asks, service_desk=caller.service_desk)
    for line, named in zip(lines, found, strict=True):
        _rewrite(line, named, loaded)
    return found


class _Renamed:
    """Answers the requests of one method that name something as others do."""

    def __init__(
        self, method: Method, shape: Shape, snapshots: SnapshotSource, now_us: Callable[[], int]
    ) -> None:
        self._method = method
        self._shape = shape
        self._snapshots = snapshots
        self._now_us = now_us

    @in_exchange
    def answer(self, raw: bytes, caller: Caller) -> Response:
        """The answer to a request; raises as the method does, and INVALID_PART_NUMBER."""
        shape, request = self._shape, self._shape.request()
        parse(request, raw)
        lines = shape.lines(request)
        asked = [at for at, line in enumerate(lines) if names_others(line)]
        if not asked:
            return self._method(raw, caller)
        for at in asked:
            check_line(at, lines[at])
        has_version = "snapshot_version" in request.DESCRIPTOR.fields_by_name
        loaded = caller.snapshot(self._snapshots, request.snapshot_version if has_version else "")
        if has_version:
            request.snapshot_version = loaded.version  # the snapshot that the names are of answers
        general_us = _instant_us(request, loaded, self._now_us())
        named = [lines[at] for at in asked]
        found = rename_lines(named, loaded, trimmed(request.customer_id), general_us, caller)
        response = self._method(request.SerializeToString(), caller)
        original = shape.request()
        original.ParseFromString(raw)
        return self._noted(response, shape.lines(original), dict(zip(asked, found, strict=True)))

    def _noted(
        self, response: Response, lines: Sequence[Any], found: dict[int, tuple[Named, ...]]
    ) -> Response:
        message = self._shape.response()
        message.ParseFromString(response.raw)
        results = self._shape.results(message)
        for at, named in found.items():
            if at < len(results):
                self._shape.note(results[at], lines[at], named)
        ambiguous = [at for at, named in found.items() if len(named) > 1]
        return response._replace(
            raw=message.SerializeToString(),
            status=_told(response.status, ambiguous, LineStatus.UNKNOWN_ITEM, LineStatus.AMBIGUOUS_ITEM),
            availability=_told(
                response.availability,
                ambiguous,
                AvailabilityStatus.UNKNOWN_ITEM,
                AvailabilityStatus.AMBIGUOUS_ITEM,
            ),
        )


def _told(statuses: Any, ambiguous: Sequence[int], unknown: int, now: int) -> Any:
    """The statuses that the metrics count."""
    if statuses is None or not ambiguous:
        return statuses
    told = np.array(statuses)
    places = np.array(ambiguous)
    told[places[told[places] == unknown]] = now
    return told


def _part_ask(line: Any, loaded: LoadedSnapshot, general_us: int) -> PartAsk:
    if not line.HasField("part_number"):
        return PartAsk("", trimmed(line.sku), general_us, is_sku=True)
    own_us = _instant_us(line, loaded, general_us) if isinstance(line, v1.PriceLine) else general_us
    return PartAsk(trimmed(line.part_number.scheme), trimmed(line.part_number.code), own_us)


def _instant_us(message: Any, loaded: LoadedSnapshot, otherwise_us: int) -> int:
    """The instant that a request or a line asks about; one that is none is refused by the method itself."""
    if "as_of" not in message.DESCRIPTOR.oneofs_by_name:
        return otherwise_us
    try:
        found: int | date | None = as_of(message)
    except RequestRefusedError:
        return otherwise_us
    if isinstance(found, date):
        return day_start_us(found, ZoneInfo(loaded.time_zone))
    return otherwise_us if found is None else found


def _rewrite(line: Any, named: Sequence[Named], loaded: LoadedSnapshot) -> None:
    """The line as it would be asked by who knows SKUs. Nothing and several are an empty SKU, which is no item.

    For several it is a blank, which is trimmed: such a request takes the general path, whose lines are counted here.
    """
    one = named[0] if len(named) == 1 else None
    if line.HasField("part_number"):
        line.sku = one.sku if one else " " if named else ""
        line.ClearField("part_number")
    uom = trimmed(line.uom)
    if line.uom_system and uom:
        mapped = loaded.names.uom(trimmed(line.uom_system), uom, line.sku) if loaded.names else None
        uom = _UNMAPPED if mapped is None else mapped
    if one and one.uom:
        uom = one.uom if uom in {"", one.uom} else _UNMAPPED
    line.uom = uom
    line.ClearField("uom_system")


# ---- what each method's messages look like


def _items(named: Iterable[Named]) -> list[v1.NamedItem]:
    return [v1.NamedItem(sku=each.sku, uom=each.uom, scheme=each.scheme) for each in named]


def _note(result: Any, line: Any, named: Sequence[Named], ambiguous: int) -> None:
    """An item that the customer may not see was not found, so what is found may be told."""
    if not line.HasField("part_number"):
        return
    result.named_items.extend(_items(named))
    _mark(result, named, ambiguous)


def _mark(result: Any, named: Sequence[Named], ambiguous: int) -> None:
    if len(named) > 1 and result.status == _UNKNOWN:
        result.status = ambiguous


def _note_price(result: Any, line: Any, named: Sequence[Named]) -> None:
    _note(result, line, named, _AMBIGUOUS_PRICE)


def _note_quote(result: Any, line: Any, named: Sequence[Named]) -> None:
    _note_price(result.price, line, named)
    if result.HasField("availability"):
        _mark(result.availability, named, _AMBIGUOUS_STOCK)


def _note_stock(result: Any, line: Any, named: Sequence[Named]) -> None:
    _note(result, line, named, _AMBIGUOUS_STOCK)
    if isinstance(result, v1.LineAvailability):
        for branch in result.branches:
            _mark(branch, named, _AMBIGUOUS_STOCK)


def _note_held(result: Any, line: Any, named: Sequence[Named]) -> None:
    _note(result, line, named, _AMBIGUOUS_STOCK)
    result.line.CopyFrom(line)


def _lines(request: Any) -> Sequence[Any]:
    return request.lines  # type: ignore[no-any-return]


def _line(request: Any) -> Sequence[Any]:
    return [request.line] if request.HasField("line") else []


def _results(response: Any) -> Sequence[Any]:
    return response.results  # type: ignore[no-any-return]


SHAPES: Final[Mapping[str, Shape]] = MappingProxyType(
    {
        "PriceLines": Shape(v1.PriceLinesRequest, v1.PriceLinesResponse, _lines, _results, _note_price),
        "ExplainPrice": Shape(
            v1.ExplainPriceRequest, v1.ExplainPriceResponse, _line, lambda found: [found.result], _note_price
        ),
        "QuoteLines": Shape(v1.QuoteLinesRequest, v1.QuoteLinesResponse, _lines, _results, _note_quote),
        "CheckAvailability": Shape(
            v1.CheckAvailabilityRequest, v1.CheckAvailabilityResponse, _lines, _results, _note_stock
        ),
        "PromiseOrder": Shape(v1.PromiseOrderRequest, v1.PromiseOrderResponse, _lines, _results, _note_stock),
        "Reserve": Shape(
            v1.ReserveRequest, v1.ReserveResponse, _lines, lambda found: found.reservation.lines, _note_held
        ),
    }
)
"""By the names of methods in the protos; WatchAvailability asks CheckAvailability."""

"""One order through the kernels: what may be offered, what its pairs hold, and the parts that are promised; and the
reference's answers put among them.

What is bounded here is the work of one request: the pairs it may touch, and the steps its policy may take over them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pricegrid.atp.arrays.pair_rows import reservation_number
from pricegrid.atp.arrays.positions import Positions
from pricegrid.atp.arrays.quote_window import QuoteWindow
from pricegrid.atp.arrays.windows import Windows
from pricegrid.atp.kernels import availability as kernel
from pricegrid.atp.kernels.balance import RECHECK
from pricegrid.atp.kernels.ledger import empty_ledger, lay_out_pairs, nothing_consumed
from pricegrid.atp.kernels.offers import LineFreshness, Offers, open_kits, resolve_lines
from pricegrid.atp.kernels.promise import (
    FULL,
    Parts,
    Rules,
    Workspace,
    promise_order,
)
from pricegrid.atp.kernels.sourcing import LABELS_MAX, TOO_COMPLEX, Plan, Slots, day_room
from pricegrid.atp.lines import Lines
from pricegrid.atp.model import (
    NO_INSTANT,
    AvailabilityStatus,
    Freshness,
    LinePromise,
    PromiseAnswers,
    PromiseAsk,
    TooComplexError,
)

PROMISE_PAIRS_MAX: Final = 250_000
"""Branches times what the lines may draw on: each item, substitute, or component of a kit in their place."""
EFFORT_MAX: Final = 200_000_000
"""Steps of one request: one is a day that is read, or two choices compared; about a second in all."""

Factor = Callable[[int, bytes], tuple[int, int] | None]
"""(item, unit) to base units in one of it."""


class Orders:
    """Promises over one snapshot's arrays; keeps nothing of a request but day windows."""

    def __init__(self, positions: Positions, windows: Windows, factor: Factor) -> None:
        self._positions, self._windows, self._factor = positions, windows, factor

    def promise(
        self, ask: PromiseAsk, lines: Lines, origins: Mapping[int, int], window: QuoteWindow | None = None
    ) -> PromiseAnswers:
        """Promise what the kernels can; the lines they can't, and those that share stock with them, are RECHECK.

        `origins` maps branch ordinals to transit days in sourcing order; `window` as in
        `AvailabilityEngine.check_lines`. Raises TooComplexError.
        """
        status = lines.status.copy()
        asked = np.asarray(ask.quantities_micros, dtype=np.int64)
        requested = np.where(status == AvailabilityStatus.INVALID_QUANTITY, 0, asked)
        answers = no_parts(status, requested, requested.copy())
        if not (status == AvailabilityStatus.OK).any():
            return answers
        offers, components = self._offers(ask, lines, status, len(origins))
        workspace = self._workspace(ask, asked, offers, components, origins, window)
        freshness = LineFreshness(answers.freshness, answers.source_as_of_us, answers.dropped_receipts)
        resolve_lines(self._positions.tables, offers, workspace.ledger, len(origins), status, freshness)
        part_end = np.zeros(len(asked), dtype=np.int64)
        if ask.policy.ship_complete:
            if (status == RECHECK).any():
                status[status == AvailabilityStatus.OK] = RECHECK
            if (
                status != AvailabilityStatus.OK
            ).any():  # a line at fault keeps all others from being complete
                return answers
        workspace = self._run(ask, workspace, answers, part_end)
        return add_parts(answers, workspace, part_end, tuple(origins))

    def _run(
        self, ask: PromiseAsk, workspace: Workspace, answers: PromiseAnswers, part_end: NDArray[np.int64]
    ) -> Workspace:
        """Run the kernel, with more room whenever there was too little."""
        days = _pick_days(workspace) if ask.policy.ship_complete else np.empty(0, dtype=np.int64)
        while True:
            code = promise_order(workspace, days, answers.status, answers.shortage_micros, part_end)
            if code == TOO_COMPLEX:
                raise TooComplexError(
                    "the policy leaves too many ways to ship this order; ask for fewer lines or branches at a time"
                )
            if code != FULL:
                return workspace
            workspace = _with_more_room(workspace)

    # ---- what may be offered

    def _offers(
        self,
        ask: PromiseAsk,
        lines: Lines,
        status: NDArray[np.uint8],
        branches: int,
    ) -> tuple[Offers, NDArray[np.int32]]:
        """(offers, the distinct base items they draw on)."""
        is_open = status == AvailabilityStatus.OK
        start = np.zeros(len(status) + 1, dtype=np.int64)
        if ask.policy.allow_substitutes:
            found, counts = self._chains(ask, lines, np.flatnonzero(is_open).tolist(), branches)
            np.cumsum(counts, out=start[1:])
            columns = np.array(found, dtype=np.int64).reshape(-1, 3)
            item, numerator, denominator = columns[:, 0].astype(np.int32), columns[:, 1], columns[:, 2]
        else:
            np.cumsum(is_open, out=start[1:])
            item, numerator, denominator = (
                lines.item[is_open],
                lines.numerator[is_open],
                lines.denominator[is_open],
            )
        line = np.repeat(np.arange(len(status)), np.diff(start))
        _check_pairs(len(item), branches)
        part_start = np.zeros(len(item) + 1, dtype=np.int64)
        drawn, need, per = open_kits(self._positions.tables, item, part_start)
        _check_pairs(len(drawn), branches)
        components, component = np.unique(drawn, return_inverse=True)
        offers = Offers(
            start,
            item,
            np.ascontiguousarray(numerator),
            np.ascontiguousarray(denominator),
            lines.is_unit_asked[line],
            self._positions.arrays["item_multiple"][item].astype(np.int64),
            np.ones(len(item), dtype=np.int64),
            part_start,
            component.astype(np.int32),
            need,
            per,
        )
        return offers, components

    def _chains(
        self, ask: PromiseAsk, lines: Lines, open_lines: list[int], branches: int
    ) -> tuple[list[tuple[int, int, int]], NDArray[np.int64]]:
        """(item, numerator, denominator) of every offer with substitutes, and how many each line has.

        The asked SKU, then what superseded it, as far as the customer may see it and the unit exists.
        """
        hidden = (
            set(self._positions.skus.find_all(sorted(ask.hidden_skus)).tolist()) if ask.hidden_skus else set()
        )
        known: dict[tuple[int, bytes], list[tuple[int, int, int]]] = {}
        counts = np.zeros(len(lines.status), dtype=np.int64)
        found: list[tuple[int, int, int]] = []
        for line in open_lines:
            key = int(lines.item[line]), ask.uoms[line]
            if key not in known:
                offered = [(item, self._factor_of(item, *key)) for item in self._chain(key[0])]
                known[key] = [
                    (item, *factor) for item, factor in offered if factor is not None and item not in hidden
                ]
            found.extend(known[key])
            counts[line] = len(known[key])
            _check_pairs(len(found), branches)
        return found, counts

    def _chain(self, item: int) -> list[int]:
        chain, following = [item], self._positions.integer("item_superseded_by", item)
        seen = {item, -1}
        while following not in seen:
            seen.add(following)
            chain.append(following)
            following = self._positions.integer("item_superseded_by", following)
        return chain

    def _factor_of(self, item: int, asked_item: int, uom: bytes) -> tuple[int, int] | None:
        """Base units of `item` in one asked unit; a substitute must know the unit by the same name."""
        base = self._positions.integer("item_base_uom", item)
        asked_base = self._positions.integer("item_base_uom", asked_item)
        if not uom and base != asked_base:
            uom = self._positions.uoms.name(asked_base)
        return self._factor(item, uom) if uom else (1, 1)

    # ---- room

    def _workspace(
        self,
        ask: PromiseAsk,
        asked: NDArray[np.int64],
        offers: Offers,
        components: NDArray[np.int32],
        origins: Mapping[int, int],
        window: QuoteWindow | None,
    ) -> Workspace:
        """The request's pairs laid out, and scratch space."""
        branches, horizon = tuple(origins), ask.supply.horizon_days
        if window is None:
            excluded = reservation_number(ask.exclude_reservation)
            supply = self._windows.supply(branches, ask.as_of_us, ask.supply, excluded)
            transits = tuple(origins.values())
            picks = self._windows.picks(branches, transits, ask.as_of_us, horizon, ask.policy)
        else:
            supply, picks = window.supply._replace(as_of_us=ask.as_of_us), window.picks
        tables, pairs = self._positions.tables, len(components) * len(branches)
        ledger = empty_ledger(pairs, int(kernel.step_room(tables, supply.branch, components).sum()))
        lay_out_pairs(tables, supply, components, ledger)
        slots = len(branches) * horizon
        policy = ask.policy
        return Workspace(
            supply,
            picks,
            Rules(policy.no_split, policy.ship_complete, policy.minimum_shipment_micros, EFFORT_MAX),
            ledger,
            nothing_consumed(pairs, 8 * len(asked) + 64),
            offers,
            asked,
            _parts(8 * len(asked) + 64),
            Slots(
                np.zeros(len(branches), dtype=np.int64),
                np.zeros(len(branches), dtype=np.int64),
                np.empty(slots, dtype=np.int32),
                np.empty(slots, dtype=np.int64),
            ),
            Plan(
                np.empty(slots, dtype=np.int32),
                np.empty(slots, dtype=np.int32),
                np.empty(slots, dtype=np.int64),
                np.zeros(1, dtype=np.int64),
                np.empty(slots, dtype=np.int64),
            ),
            day_room(len(branches), LABELS_MAX if policy.minimum_shipment_micros else 0),
            np.empty(3 * horizon + 8, dtype=np.int32),
            np.empty(3 * horizon + 8, dtype=np.int64),
            np.zeros(len(branches), dtype=np.int64),
            np.zeros(1, dtype=np.int64),
        )


def _check_pairs(drawn: int, branches: int) -> None:
    if drawn * branches > PROMISE_PAIRS_MAX:
        raise TooComplexError(
            f"the lines, their substitutes and components draw on {drawn} items at {branches} branches: "
            f"{drawn * branches} pairs, at most {PROMISE_PAIRS_MAX}; ask for fewer lines or branches at a time"
        )


def _parts(room: int) -> Parts:
    return Parts(
        np.empty(room, dtype=np.int32),
        np.empty(room, dtype=np.int32),
        np.empty(room, dtype=np.int64),
        np.empty(room, dtype=np.int32),
        np.zeros(1, dtype=np.int64),
    )


def _with_more_room(workspace: Workspace) -> Workspace:
    """Four times the room for parts and takes, with nothing promised yet."""
    workspace.effort[0] = 0
    consumed = nothing_consumed(len(workspace.consumed.head), 4 * len(workspace.consumed.day))
    return workspace._replace(consumed=consumed, parts=_parts(4 * len(workspace.parts.origin)))


def _pick_days(workspace: Workspace) -> NDArray[np.int64]:
    """The local days on which any branch may pick, ascending."""
    origin, pick = np.nonzero(
        workspace.picks.next_pick == np.arange(workspace.supply.horizon_days, dtype=np.int32)
    )
    return np.unique(workspace.supply.today[origin] + pick)


# -- answers


def no_parts(
    status: NDArray[np.uint8], requested: NDArray[np.int64], shortage: NDArray[np.int64]
) -> PromiseAnswers:
    """Answers without a promise and without freshness."""
    lines = len(status)
    nothing = np.empty(0, dtype=np.int32)
    return PromiseAnswers(
        status=status,
        requested_micros=requested,
        shortage_micros=shortage,
        dropped_receipts=np.zeros(lines, dtype=np.int32),
        freshness=np.full((lines, 3), Freshness.UNKNOWN, dtype=np.uint8),
        source_as_of_us=np.full((lines, 3), NO_INSTANT, dtype=np.int64),
        part_start=np.zeros(lines + 1, dtype=np.int64),
        part_item=nothing,
        part_branch=nothing,
        part_quantity_micros=np.empty(0, dtype=np.int64),
        pick_day=nothing,
        ship_day=nothing,
        arrival_day=nothing,
    )


def add_parts(
    answers: PromiseAnswers, workspace: Workspace, part_end: NDArray[np.int64], branches: Sequence[int]
) -> PromiseAnswers:
    """The parts that the kernels wrote: origins become branch ordinals, day offsets local days."""
    parts, size = workspace.parts, int(workspace.parts.size[0])
    origin, offer, pick = parts.origin[:size], parts.offer[:size], parts.pick[:size]
    today = workspace.supply.today[origin].astype(np.int32)
    return PromiseAnswers(
        status=answers.status,
        requested_micros=answers.requested_micros,
        shortage_micros=answers.shortage_micros,
        dropped_receipts=answers.dropped_receipts,
        freshness=answers.freshness,
        source_as_of_us=answers.source_as_of_us,
        part_start=np.concatenate([np.zeros(1, dtype=np.int64), part_end]),
        part_item=workspace.offers.item[offer],
        part_branch=np.array(branches, dtype=np.int32)[origin],
        part_quantity_micros=parts.shipped[:size] * workspace.offers.unit[offer],
        pick_day=today + pick,
        ship_day=today + workspace.picks.ship[origin, pick],
        arrival_day=today + workspace.picks.arrival[origin, pick],
    )


def merge_parts(
    fast: PromiseAnswers, answers: Mapping[int, LinePromise], ordinals: Callable[[str, str], tuple[int, int]]
) -> PromiseAnswers:
    """Put the reference's answers in place of those lines."""
    counts = np.diff(fast.part_start)
    for line, answer in answers.items():
        counts[line] = len(answer.parts)
        fast.status[line] = answer.status
        fast.requested_micros[line] = answer.requested_micros
        fast.shortage_micros[line] = answer.shortage_micros
        fast.dropped_receipts[line] = answer.dropped_receipts
        fast.freshness[line], fast.source_as_of_us[line] = answer.freshness, answer.source_as_of_us
    start = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=start[1:])
    columns = ("part_item", "part_branch", "part_quantity_micros", "pick_day", "ship_day", "arrival_day")
    merged = {name: np.empty(int(start[-1]), dtype=getattr(fast, name).dtype) for name in columns}
    kept = np.repeat(~np.isin(np.arange(len(counts)), list(answers)), counts)
    for name in columns:
        merged[name][kept] = getattr(fast, name)
    for line, answer in answers.items():
        for at, part in enumerate(answer.parts, start=int(start[line])):
            merged["part_item"][at], merged["part_branch"][at] = ordinals(part.sku, part.branch)
            merged["part_quantity_micros"][at] = part.quantity_micros
            merged["pick_day"][at] = part.pick_day
            merged["ship_day"][at] = part.ship_day
            merged["arrival_day"][at] = part.arrival_day
    return PromiseAnswers(
        fast.status,
        fast.requested_micros,
        fast.shortage_micros,
        fast.dropped_receipts,
        fast.freshness,
        fast.source_as_of_us,
        start,
        **merged,
    )

"""One order through the kernels: what may be offered, what its pairs hold, and the parts that are promised.

What is bounded here is the work of one request: the pairs it may touch, and the steps its policy may take over them.
"""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pricegrid.atp.arrays.pair_rows import reservation_number
from pricegrid.atp.arrays.parts import add_parts, no_parts
from pricegrid.atp.arrays.positions import Positions
from pricegrid.atp.arrays.windows import Windows
from pricegrid.atp.kernels import availability as kernel
from pricegrid.atp.kernels.balance import RECHECK
from pricegrid.atp.kernels.ledger import empty_ledger, lay_out_pairs, nothing_consumed
from pricegrid.atp.kernels.offers import LineFreshness, Offers, open_kits, resolve_lines
from pricegrid.atp.kernels.promise import (
    FULL,
    Parts,
    Picks,
    Rules,
    Workspace,
    promise_order,
)
from pricegrid.atp.kernels.sourcing import LABELS_MAX, TOO_COMPLEX, Plan, Slots, day_room
from pricegrid.atp.lines import Lines
from pricegrid.atp.model import AvailabilityStatus, PromiseAnswers, PromiseAsk, TooComplexError

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

    def promise(self, ask: PromiseAsk, lines: Lines, origins: Mapping[int, int]) -> PromiseAnswers:
        """Promise what the kernels can; the lines they can't, and those that share stock with them, are RECHECK.

        `origins` maps branch ordinals to transit days in sourcing order. Raises TooComplexError.
        """
        status = lines.status.copy()
        asked = np.asarray(ask.quantities_micros, dtype=np.int64)
        requested = np.where(status == AvailabilityStatus.INVALID_QUANTITY, 0, asked)
        answers = no_parts(status, requested, requested.copy())
        if not (status == AvailabilityStatus.OK).any():
            return answers
        offers, components = self._offers(ask, lines, status, len(origins))
        workspace = self._workspace(ask, asked, offers, components, origins)
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
    ) -> Workspace:
        """The request's pairs laid out, and scratch space."""
        branches, horizon = tuple(origins), ask.supply.horizon_days
        excluded = reservation_number(ask.exclude_reservation)
        supply = self._windows.supply(branches, ask.as_of_us, ask.supply, excluded)
        picks: Picks = self._windows.picks(
            branches, tuple(origins.values()), ask.as_of_us, horizon, ask.policy
        )
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

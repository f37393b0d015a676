"""`AvailabilityEngine`: questions in, dense arrays out. The compiled kernels answer; step functions of kits and units,
and what leaves int64 on the way are answered by the reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pricegrid.atp.arrays.decode import decode_lanes, decode_rows
from pricegrid.atp.arrays.pair_rows import reservation_number
from pricegrid.atp.arrays.positions import Positions
from pricegrid.atp.arrays.quote_window import QuoteWindow
from pricegrid.atp.arrays.windows import Windows
from pricegrid.atp.kernels import availability as kernel
from pricegrid.atp.kernels.balance import OK, RECHECK, Supply
from pricegrid.atp.lines import Lines
from pricegrid.atp.model import (
    INT64_MAX,
    NO_INSTANT,
    AvailabilityStatus,
    CheckAnswers,
    CheckAsk,
    Freshness,
    Limit,
    LinePromise,
    PairAvailability,
    PromiseAnswers,
    PromiseAsk,
    Steps,
    TooComplexError,
)
from pricegrid.atp.orders import Orders, merge_parts, no_parts
from pricegrid.atp.rules.explain import explain_pair
from pricegrid.atp.rules.limited import Terms, whole_limit, with_check_limits, with_promise_limits
from pricegrid.atp.rules.promising import OrderLine, Request, promise
from pricegrid.atp.rules.reference import USUAL_SUPPLY, Moment, check_pair
from pricegrid.atp.rules.rows import Rows

REFERENCE_PAIRS_MAX: Final = 1_000
"""Lines times branches of one promise that the reference may answer: about a millisecond each."""
Between = Callable[[], None]
"""Called before each part of the work; what it raises ends it."""


def _go_on() -> None:
    """Nobody asks whether the work goes on."""


class AvailabilityEngine:
    """Answers over one snapshot's arrays. Threads may share it; it keeps nothing of a question but day windows.

    With `by_reference` the reference answers every pair: the same answers, for a few pairs without compiled kernels.
    """

    def __init__(self, arrays: Mapping[str, NDArray[np.generic]], *, by_reference: bool = False) -> None:
        self._by_reference = by_reference
        self.positions = _PlainPositions(arrays) if by_reference else Positions(arrays)
        self.windows = Windows(self.positions)
        self._orders = None if by_reference else Orders(self.positions, self.windows, self._factor)
        self._uom_of = {name: ordinal for ordinal, name in enumerate(self.positions.uoms.all())}
        self._branch_of = {name: ordinal for ordinal, name in enumerate(self.positions.branches.all())}
        self._destination_of = {name: i for i, name in enumerate(self.positions.destinations.all())}

    def sku(self, item: int) -> str:
        """The SKU of an item ordinal."""
        return self.positions.skus.name(item).decode()

    def branch(self, branch: int) -> str:
        """The name of a branch ordinal; '' for -1."""
        return self.positions.branches.name(branch).decode()

    def branches(self, names: Sequence[bytes]) -> tuple[int, ...]:
        """The ordinals of branches, -1 for what does not exist; all of them where none is named."""
        if not names:
            return tuple(range(len(self.positions.branches)))
        return tuple(self._branch_of.get(name, -1) for name in names)

    def check(self, ask: CheckAsk, between: Between = _go_on) -> CheckAnswers:
        """How much of each line is free at each branch (A2). `between` is called before each part of the work; what it
        raises ends it."""
        lines = self.resolve(ask)
        found = self.check_lines(ask, lines, between=between)
        terms = self._terms(ask, lines)
        again = partial(self.check, between=between)
        return with_check_limits(found, ask, terms, again) if terms.is_bound.any() else found

    def check_lines(
        self,
        ask: CheckAsk,
        lines: Lines,
        window: QuoteWindow | None = None,
        between: Between = _go_on,
    ) -> CheckAnswers:
        """As `check`, of lines that are resolved, and without limits. `window`, if there is one, is of the branches and
        the second of the question, which has the usual policies and excludes no reservation."""
        between()
        branches = self.branches(ask.branches)
        if window is None:
            excluded = reservation_number(ask.exclude_reservation)
            supply = self.windows.supply(branches, ask.as_of_us, ask.supply, excluded)
        else:
            supply = window.supply._replace(as_of_us=ask.as_of_us)
        results = len(lines.item) * len(branches)
        status = np.repeat(lines.status, len(branches))
        atp = np.zeros(results, dtype=np.int64)
        dropped = np.zeros(results, dtype=np.int32)
        fresh = np.full((results, 3), Freshness.UNKNOWN, dtype=np.uint8)
        as_of = np.full((results, 3), NO_INSTANT, dtype=np.int64)
        if self._by_reference:
            is_known = np.tile(supply.branch >= 0, len(lines.item))
            asked_for = status == AvailabilityStatus.OK
            status[asked_for] = np.where(is_known[asked_for], RECHECK, AvailabilityStatus.UNKNOWN_BRANCH)
        else:
            kernel.check_lines(
                self.positions.tables,
                supply,
                lines.item,
                lines.numerator,
                lines.denominator,
                lines.is_unit_asked,
                status,
                atp,
                dropped,
                fresh,
                as_of,
            )
        steps, again = None, status == RECHECK
        if ask.projected:
            between()
            again |= np.repeat(self._has_slow_steps(ask, lines), len(branches)) & (
                status == AvailabilityStatus.OK
            )
            wanted = ~again & (status == AvailabilityStatus.OK)
            steps = self._project(supply, lines, wanted, status, atp, dropped, fresh, as_of)
            again |= status == RECHECK
        answers = self._check_again(ask, again, lines, branches, between)
        for at, answer in answers.items():
            status[at] = answer.status
            atp[at] = answer.atp_micros or 0
            dropped[at] = answer.dropped_receipts
            fresh[at], as_of[at] = answer.freshness, answer.source_as_of_us
        ok = status == AvailabilityStatus.OK
        available = np.where(ok, np.maximum(atp, 0), 0)
        asked = np.repeat(np.asarray(ask.quantities_micros, dtype=np.int64), len(branches))
        return CheckAnswers(
            branches=supply.branch,
            status=status,
            atp_micros=atp,
            available_micros=available,
            shortage_micros=np.where(ok, np.maximum(asked - available, 0), 0),
            dropped_receipts=dropped,
            freshness=fresh,
            source_as_of_us=as_of,
            total_available_micros=_saturating_sums(available, len(lines.item), len(branches)),
            projected=_insert_steps(steps, answers) if steps is not None and answers else steps,
        )

    def promise(self, ask: PromiseAsk, between: Between = _go_on) -> PromiseAnswers:
        """When, from where and how much of each line can be shipped (A7). `between` as in `check`."""
        lines = self.resolve(ask)
        answers = self.promise_lines(ask, lines, between=between)
        terms = self._terms(ask, lines, ask.policy.minimum_shipment_micros)
        if not terms.is_bound.any():
            return answers
        names = [self.positions.branches.name(branch) for branch in self._origins(ask)]
        return with_promise_limits(answers, ask, names, terms, partial(self.check, between=between))

    def promise_lines(
        self,
        ask: PromiseAsk,
        lines: Lines,
        window: QuoteWindow | None = None,
        between: Between = _go_on,
    ) -> PromiseAnswers:
        """As `promise`, of lines that are resolved, and without limits; `window` as in `check_lines`."""
        between()
        origins = self._origins(ask)
        if not origins or -1 in origins:
            lines.status[lines.status == AvailabilityStatus.OK] = AvailabilityStatus.UNKNOWN_BRANCH
        if self._orders is None:
            answers = self._nothing_promised(ask, lines)
        else:
            answers = self._orders.promise(ask, lines, origins, window)
        again = np.flatnonzero(answers.status == RECHECK)
        if not len(again):
            return answers
        if ask.policy.ship_complete:
            again = np.arange(len(answers.status))  # a line at fault keeps all others from being complete
        between()
        found = self._promise_again(ask, again, lines, tuple(origins), between)
        return merge_parts(answers, found, self.ordinals)

    def _nothing_promised(self, ask: PromiseAsk, lines: Lines) -> PromiseAnswers:
        """Answers in which the reference has yet to promise whatever can be."""
        status = lines.status.copy()
        asked = np.asarray(ask.quantities_micros, dtype=np.int64)
        requested = np.where(status == AvailabilityStatus.INVALID_QUANTITY, 0, asked)
        status[status == AvailabilityStatus.OK] = RECHECK
        return no_parts(status, requested, requested.copy())

    def _terms(self, ask: CheckAsk | PromiseAsk, lines: Lines, minimum_micros: int = 0) -> Terms:
        """What each line may be promised in."""
        multiple = np.zeros(len(lines.item), dtype=np.int64)
        known = lines.item >= 0
        multiple[known] = np.asarray(self.positions.arrays["item_multiple"], np.int64)[lines.item[known]]
        quantities = np.asarray(ask.quantities_micros, dtype=np.int64)
        columns = (lines.numerator, lines.denominator, lines.is_unit_asked, multiple)
        return Terms(quantities, *columns, minimum_micros)

    def whole_limits(self, ask: CheckAsk | PromiseAsk, lines: Lines) -> list[Limit]:
        """Why the quantity of each line can never be promised in full: it is not made of whole units or multiples."""
        terms = self._terms(ask, lines)
        bound = terms.is_bound.tolist()
        return [whole_limit(terms.line(at)) if bound[at] else Limit.NONE for at in range(len(bound))]

    def explain(
        self,
        ask: CheckAsk | PromiseAsk,
        line: int,
        branch: bytes,
    ) -> dict[str, object]:
        """What decided the availability of one line at one branch, as JSON-able values (strings for decimals)."""
        sku = _text(ask.skus[line])
        item = self.find_item(sku)
        ordinal = self._branch_of.get(branch, -1)
        items, branches = ([item], [ordinal]) if ordinal >= 0 else ([item], [])
        rows = decode_rows(self.positions, items, branches)
        moment = Moment(ask.as_of_us, ask.supply, ask.exclude_reservation)
        asked = OrderLine(sku, int(ask.quantities_micros[line]), _text(ask.uoms[line]))
        return explain_pair(rows, asked, _text(branch), moment, self._hidden(ask))

    def free_from(
        self, item: int, branch: int, as_of_us: int, first_day: int, exclude_reservation: str = ""
    ) -> tuple[int, int, int]:
        """(code of `project_balance`, micros, day) of what can be held of a base item from a local day on.

        A day that is over counts as today. The micros may be negative.
        """
        excluded = reservation_number(exclude_reservation)
        supply = self.windows.supply((branch,), as_of_us, USUAL_SUPPLY, excluded)
        today = int(supply.today[0])
        day = max(today, first_day)
        if day >= today + supply.horizon_days:
            return OK, 0, day
        code, micros = kernel.free_from(self.positions.tables, supply, item, day - today)
        return code, micros, day

    def find_item(self, sku: str) -> int:
        """The ordinal of a SKU, -1 if it is none."""
        return int(self.positions.skus.find_all([sku.encode(errors="surrogateescape")])[0])

    def ordinals(self, sku: str, branch: str) -> tuple[int, int]:
        """The ordinals of an item and a branch, -1 for what does not exist."""
        return self.find_item(sku), self._branch_of.get(branch.encode(), -1)

    def substitutes(self, sku: bytes) -> list[bytes]:
        """What superseded an item, nearest first: the caller checks that the customer may see them."""
        chain, item = [], self.find_item(_text(sku))
        seen = {-1}
        while item not in seen:
            seen.add(item)
            item = self.positions.integer("item_superseded_by", item)
            if item not in seen:
                chain.append(self.positions.skus.name(item))
        return chain

    # ---- names to ordinals

    def _hidden(self, ask: CheckAsk | PromiseAsk) -> dict[str, bool]:
        return {_text(sku): ask.service_desk for sku in ask.hidden_skus}

    def resolve(self, ask: CheckAsk | PromiseAsk) -> Lines:
        """Find items and units; the line's own faults in order of precedence."""
        item = self.positions.skus.find_all(ask.skus)
        count = len(item)
        numerator, denominator = np.ones(count, dtype=np.int64), np.ones(count, dtype=np.int64)
        is_unit_asked = np.zeros(count, dtype=np.bool_)
        status = np.where(item < 0, AvailabilityStatus.UNKNOWN_ITEM, AvailabilityStatus.OK).astype(np.uint8)
        for line, uom in enumerate(ask.uoms) if any(ask.uoms) else ():
            if uom and item[line] >= 0:
                is_unit_asked[line] = True
                factor = self._factor(int(item[line]), uom)
                if factor is None:
                    status[line] = AvailabilityStatus.UNKNOWN_UOM
                else:
                    numerator[line], denominator[line] = factor
        if ask.hidden_skus:
            shown_as = (
                AvailabilityStatus.NOT_ENTITLED if ask.service_desk else AvailabilityStatus.UNKNOWN_ITEM
            )
            hidden = np.isin(item, self.positions.skus.find_all(sorted(ask.hidden_skus)))
            status[hidden & (item >= 0)] = shown_as
        status[np.asarray(ask.quantities_micros) <= 0] = AvailabilityStatus.INVALID_QUANTITY
        return Lines(status, item, numerator, denominator, is_unit_asked)

    def _factor(self, item: int, uom: bytes) -> tuple[int, int] | None:
        wanted = self._uom_of.get(uom, -1)
        if wanted < 0:
            return None
        if self.positions.integer("item_base_uom", item) == wanted:
            return 1, 1
        for k in self.positions.span("uom_start", item):
            if self.positions.integer("uom_name", k) == wanted:
                return self.positions.integer("uom_numerator", k), self.positions.integer(
                    "uom_denominator", k
                )
        return None

    def _origins(self, ask: PromiseAsk) -> dict[int, int]:
        """Branch ordinal to transit days, in sourcing order (A7)."""
        if not ask.ship_to:
            return dict.fromkeys(self.branches(ask.branches), 0)
        found: dict[int, int] = {}
        destination = self._destination_of.get(ask.ship_to, -1)
        for lane in self.positions.span("lane_start", destination) if destination >= 0 else ():
            branch = self.positions.integer("lane_from", lane)
            found.setdefault(branch, self.positions.integer("lane_transit_days", lane))
        return found

    def drawn_on(self, items: NDArray[np.int64]) -> NDArray[np.int32]:
        """The base items that items are made of: the components of a kit, any other item itself."""
        tables, kits = self.positions.tables, self._is_kit(items)
        spans = (slice(tables.kit_start[kit], tables.kit_start[kit + 1]) for kit in np.unique(items[kits]))
        return np.concatenate(
            [items[~kits].astype(np.int32), *(tables.kit_component[span] for span in spans)]
        )

    # ---- availability

    def _has_slow_steps(self, ask: CheckAsk, lines: Lines) -> NDArray[np.bool_]:
        """Lines whose step functions only the reference can work out."""
        return lines.is_unit_asked | self._is_kit(lines.item) | (ask.supply.look_ahead_days is not None)

    def _is_kit(self, items: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
        start = self.positions.tables.kit_start
        is_kit = np.zeros(len(items), dtype=np.bool_)
        known = items >= 0
        is_kit[known] = start[items[known] + 1] > start[items[known]]
        return is_kit

    def _check_again(
        self,
        ask: CheckAsk,
        again: NDArray[np.bool_],
        lines: Lines,
        branches: tuple[int, ...],
        between: Between,
    ) -> dict[int, PairAvailability]:
        moment = Moment(ask.as_of_us, ask.supply, ask.exclude_reservation)
        answers = {}
        for at in np.flatnonzero(again).tolist():
            between()
            line, branch = at // len(branches), branches[at % len(branches)]
            rows = decode_rows(self.positions, [int(lines.item[line])], [branch])
            sku, uom = _text(ask.skus[line]), _text(ask.uoms[line])
            quantity = int(ask.quantities_micros[line])
            answers[at] = check_pair(rows, sku, quantity, uom, self.branch(branch), moment)
        return answers

    def _project(
        self,
        supply: Supply,
        lines: Lines,
        wanted: NDArray[np.bool_],
        status: NDArray[np.uint8],
        now_atp: NDArray[np.int64],
        dropped: NDArray[np.int32],
        fresh: NDArray[np.uint8],
        as_of: NDArray[np.int64],
    ) -> Steps:
        """The kernel's step functions; figures and freshness of these results are written again, of the same states."""
        tables, results = self.positions.tables, len(wanted)
        if self._by_reference:  # nothing is wanted of kernels
            return Steps(np.zeros(results + 1, np.int64), np.empty(0, np.int32), *np.empty((2, 0), np.int64))
        room = int(kernel.step_room(tables, supply.branch, lines.item).sum())
        start, day = np.zeros(results + 1, dtype=np.int64), np.empty(room, dtype=np.int32)
        atp, balance = np.empty(room, dtype=np.int64), np.empty(room, dtype=np.int64)
        rewritten = (status, now_atp, dropped, fresh, as_of)
        end = kernel.project_lines(tables, supply, lines.item, wanted, *rewritten, start, day, atp, balance)
        return Steps(start, day[:end], atp[:end], balance[:end])

    # ---- promises

    def _promise_again(
        self,
        ask: PromiseAsk,
        again: NDArray[np.int64],
        lines: Lines,
        branches: Sequence[int],
        between: Between,
    ) -> dict[int, LinePromise]:
        """The reference's answers, in line order; it is slow, so few may ask for it."""
        pairs = len(again) * len(branches)
        if pairs > REFERENCE_PAIRS_MAX:
            raise TooComplexError(
                f"{len(again)} lines at {len(branches)} branches have figures near the end of 64 bits: {pairs} pairs, "
                f"at most {REFERENCE_PAIRS_MAX}; ask for fewer lines or branches at a time"
            )
        rows = decode_rows(self.positions, (int(lines.item[line]) for line in again), branches)
        between()
        request = Request(
            Moment(ask.as_of_us, ask.supply, ask.exclude_reservation),
            ask.policy,
            [self.branch(branch) for branch in branches],
            hidden=self._hidden(ask),
        )
        if ask.ship_to:
            self._use_lanes(rows, request, ask)
        asked = [
            OrderLine(_text(ask.skus[line]), int(ask.quantities_micros[line]), _text(ask.uoms[line]))
            for line in again.tolist()
        ]
        return dict(zip(again.tolist(), promise(rows, asked, request), strict=True))

    def _use_lanes(self, rows: Rows, request: Request, ask: PromiseAsk) -> None:
        request.branches, request.ship_to = (), ask.ship_to.decode()
        decode_lanes(self.positions, rows, self._destination_of[ask.ship_to], request.ship_to)


class _PlainPositions(Positions):
    """Without the look at every offset that kernels need, which check no bounds: NumPy does, and their file's hash says
    that they are as they were written."""

    def _check_lengths(self) -> None:
        pass


def _text(name: bytes) -> str:
    """A name as text; what is no UTF-8 stays distinct and is known to nobody."""
    return name.decode(errors="surrogateescape")


def _saturating_sums(available: NDArray[np.int64], lines: int, branches: int) -> NDArray[np.int64]:
    """Sum over branches of what is not negative, at most INT64_MAX."""
    totals = np.zeros(lines, dtype=np.int64)
    for column in available.reshape(lines, branches).T:
        totals = np.where(
            column > INT64_MAX - totals, INT64_MAX, totals + np.minimum(column, INT64_MAX - totals)
        )
    return totals


def _insert_steps(steps: Steps, answers: Mapping[int, PairAvailability]) -> Steps:
    """Put the reference's step functions in place of those results."""
    counts = np.diff(steps.start)
    for at, answer in answers.items():
        counts[at] = len(answer.projected)
    start = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=start[1:])
    total = int(start[-1])
    merged = Steps(
        start,
        np.empty(total, dtype=np.int32),
        np.empty(total, dtype=np.int64),
        np.empty(total, dtype=np.int64),
    )
    for at in range(len(counts)):
        span = slice(int(start[at]), int(start[at + 1]))
        if at in answers:
            found = answers[at].projected
            merged.day[span] = [step.day for step in found]
            merged.atp_micros[span] = [step.atp_micros for step in found]
            merged.balance_micros[span] = [step.balance_micros for step in found]
        else:
            source = slice(int(steps.start[at]), int(steps.start[at + 1]))
            merged.day[span] = steps.day[source]
            merged.atp_micros[span] = steps.atp_micros[source]
            merged.balance_micros[span] = steps.balance_micros[source]
    return merged

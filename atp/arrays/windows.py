"""The days of a request at each of its branches, as arrays for the kernels; worked out once and kept (A5)."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from pricegrid.atp.arrays.days import add_working, calendar_days, local_moment, working_days
from pricegrid.atp.arrays.positions import Positions
from pricegrid.atp.kernels.balance import Supply
from pricegrid.atp.kernels.promise import Picks
from pricegrid.atp.model import PromisePolicy, SupplyPolicy
from pricegrid.columnar.instants import day_number

KEPT_MAX: Final = 512
"""Windows kept of each kind; all are dropped when there are more."""
NO_LIMIT: Final = 2**31
V = TypeVar("V")


@dataclass(slots=True)
class _Kept:
    """A bounded memo. Threads may compute a value twice; they never see half of one."""

    values: dict[Hashable, object] = field(default_factory=dict)

    def get(self, key: Hashable, make: Callable[[], V]) -> V:
        value = self.values.get(key)
        if value is None:
            value = make()
            if len(self.values) >= KEPT_MAX:
                self.values = {}
            self.values[key] = value
        return value  # type: ignore[return-value]


class Windows:
    """Day windows over the branches of one snapshot."""

    def __init__(self, positions: Positions) -> None:
        self._positions = positions
        self._supplies = _Kept()
        self._picks = _Kept()
        self._worked = _Kept()

    def moments(self, branches: tuple[int, ...], as_of_us: int) -> list[tuple[int, int]]:
        """(local day, seconds since local midnight) at each branch; (0, 0) for an unknown one."""
        by_zone: dict[int, tuple[int, int]] = {-1: (0, 0)}
        result = []
        for branch in branches:
            zone = -1 if branch < 0 else self._positions.integer("branch_zone", branch)
            if zone not in by_zone:
                by_zone[zone] = local_moment(as_of_us, self._positions.zones[zone])
            result.append(by_zone[zone])
        return result

    def supply(
        self, branches: tuple[int, ...], as_of_us: int, policy: SupplyPolicy, exclude_reservation: int = 0
    ) -> Supply:
        """The kernels' form of a supply policy at an instant."""
        todays = tuple(day for day, _ in self.moments(branches, as_of_us))
        horizon = policy.horizon_days
        arrays = self._supplies.get(
            (branches, todays, horizon), lambda: self._supply_arrays(branches, todays, horizon)
        )
        look_days = horizon if policy.look_ahead_days is None else min(horizon, policy.look_ahead_days + 1)
        return Supply(
            as_of_us,
            horizon,
            look_days,
            policy.past_due_offset_days,
            policy.past_due_max_days,
            policy.min_confidence_micros,
            *arrays,
            exclude_reservation,
        )

    def _supply_arrays(
        self, branches: tuple[int, ...], todays: tuple[int, ...], horizon: int
    ) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int32]]:
        usable = np.zeros((len(branches), horizon), dtype=np.int32)
        for origin, (branch, today) in enumerate(zip(branches, todays, strict=True)):
            if branch >= 0:
                handling = self._positions.integer("branch_inbound_days", branch)
                usable[origin] = add_working(
                    self.worked(branch, today, horizon), np.arange(horizon), handling
                )
        return np.array(branches, dtype=np.int32), np.array(todays, dtype=np.int64), usable

    def worked(self, branch: int, today: int, horizon: int) -> NDArray[np.bool_]:
        """Which days from the as_of day to the calendar's end a branch works."""
        calendar = self._positions.integer("branch_calendar", branch)
        days = calendar_days(horizon)
        if calendar < 0:
            return np.ones(days, dtype=np.bool_)
        return self._worked.get((calendar, today, days), lambda: self._calendar(calendar, today, days))

    def _calendar(self, calendar: int, today: int, days: int) -> NDArray[np.bool_]:
        arrays, span = self._positions.arrays, self._positions.span("calendar_start", calendar)
        rows = slice(span.start, span.stop)
        weekdays: NDArray[np.bool_] = arrays["calendar_weekdays"][calendar].astype(np.bool_)
        dates = arrays["calendar_day"][rows].astype(np.int32)
        return working_days(today, days, weekdays, dates, arrays["calendar_working"][rows].astype(np.bool_))

    def picks(
        self,
        branches: tuple[int, ...],
        transits: tuple[int, ...],
        as_of_us: int,
        horizon: int,
        policy: PromisePolicy,
    ) -> Picks:
        """When each branch can pick under a policy, and when that is shipped and arrives."""
        moments = self.moments(branches, as_of_us)
        firsts = tuple(
            (today, today + self._is_past_cutoff(branch, second))
            for branch, (today, second) in zip(branches, moments, strict=True)
        )
        key = (branches, transits, firsts, horizon, policy)
        return self._picks.get(key, lambda: self._make_picks(branches, transits, firsts, horizon, policy))

    def _is_past_cutoff(self, branch: int, second: int) -> bool:
        cutoff_s = self._positions.integer("branch_cutoff_s", branch)
        return 0 <= cutoff_s <= second

    def _make_picks(
        self,
        branches: tuple[int, ...],
        transits: tuple[int, ...],
        firsts: tuple[tuple[int, int], ...],
        horizon: int,
        policy: PromisePolicy,
    ) -> Picks:
        shape = (len(branches), horizon)
        picks = Picks(*(np.full(shape, 2**30, dtype=np.int32) for _ in range(3)))
        for origin, (branch, (today, first)) in enumerate(zip(branches, firsts, strict=True)):
            worked = self.worked(branch, today, horizon)
            start = max(first, day_number(policy.on) if policy.on else first) - today
            pick = np.arange(horizon)
            allowed = worked[:horizon] & (pick >= start)
            if policy.no_late:
                allowed &= np.cumsum(allowed) == 1
            outbound = self._positions.integer("branch_outbound_days", branch)
            ship = add_working(worked, pick, outbound)
            arrival = np.where(ship < len(worked), add_working(worked, ship, transits[origin]), 2**30)
            latest = day_number(policy.late_until) - today if policy.late_until else NO_LIMIT
            need_by = day_number(policy.need_by) - today if policy.need_by else NO_LIMIT
            allowed &= (arrival < len(worked)) & (pick <= latest) & (arrival <= need_by)
            following = np.where(allowed, pick, 2**30)
            picks.next_pick[origin] = np.minimum.accumulate(following[::-1])[::-1]
            picks.ship[origin] = ship
            picks.arrival[origin] = arrival
        return picks

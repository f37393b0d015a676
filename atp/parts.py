"""Collecting promised parts: the buffer kernels write to, and the merge with the reference's answers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atp.model import LinePromise, PromiseAnswers


@dataclass(slots=True)
class PartBuffer:
    """Parts of line i end at `end[i]`; `days` has pick, ship and arrival day."""

    end: NDArray[np.int64]
    place: NDArray[np.int32]
    quantity_micros: NDArray[np.int64]
    days: NDArray[np.int32]

    @classmethod
    def empty(cls, lines: int) -> "PartBuffer":
        """Room for two parts a line to begin with."""
        room = 2 * lines + 8
        return cls(
            np.zeros(lines, dtype=np.int64),
            np.empty(room, dtype=np.int32),
            np.empty(room, dtype=np.int64),
            np.empty((room, 3), dtype=np.int32),
        )

    def grow(self, more: int) -> None:
        """Twice the room, and at least `more`; what is written stays."""
        room = len(self.place)
        extra = room + more
        self.place = np.concatenate([self.place, np.empty(extra, dtype=np.int32)])
        self.quantity_micros = np.concatenate([self.quantity_micros, np.empty(extra, dtype=np.int64)])
        self.days = np.concatenate([self.days, np.empty((extra, 3), dtype=np.int32)])

    def answers(
        self,
        status: NDArray[np.uint8],
        requested: NDArray[np.int64],
        shortage: NDArray[np.int64],
        items: NDArray[np.int32],
        branches: Sequence[int],
    ) -> PromiseAnswers:
        """The buffer as answers: places become branch ordinals, each part names its line's item."""
        start = np.concatenate([np.zeros(1, dtype=np.int64), self.end])
        parts = int(start[-1])
        branch = (
            np.array(branches, dtype=np.int32)[self.place[:parts]] if parts else np.empty(0, dtype=np.int32)
        )
        return PromiseAnswers(
            status=status,
            requested_micros=requested,
            shortage_micros=shortage,
            part_start=start,
            part_item=np.repeat(items, np.diff(start)),
            part_branch=branch,
            part_quantity_micros=self.quantity_micros[:parts],
            pick_day=self.days[:parts, 0],
            ship_day=self.days[:parts, 1],
            arrival_day=self.days[:parts, 2],
        )


def merge_parts(
    fast: PromiseAnswers, answers: Mapping[int, LinePromise], ordinals: Callable[[str, str], tuple[int, int]]
) -> PromiseAnswers:
    """Put the reference's answers in the places of their lines."""
    counts = np.diff(fast.part_start)
    for line, answer in answers.items():
        counts[line] = len(answer.parts)
        fast.status[line] = answer.status
        fast.requested_micros[line] = answer.requested_micros
        fast.shortage_micros[line] = answer.shortage_micros
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
    return PromiseAnswers(fast.status, fast.requested_micros, fast.shortage_micros, start, **merged)

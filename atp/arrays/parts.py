"""Promised parts as answers: what the kernels wrote, and the reference's answers put among them."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pricegrid.atp.kernels.promise import Workspace
from pricegrid.atp.model import NO_INSTANT, Freshness, LinePromise, PromiseAnswers


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

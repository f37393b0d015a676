"""What `feeds` says of each branch: which source owns which measure, and how old and how complete its last extract is.

A row that names no measure speaks of what its source owns unless another row says otherwise: on hand and unavailable
of the ERP, allocations of the WMS, receipts and demands of transit. A row that names one makes its source the owner.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pricegrid.atp.model import INT64_MAX, MICROS, NO_INSTANT, STALE_AFTER_MIN, Source
from pricegrid.atp.rules.events import SOURCE_OF, Measure

_SPEAKS: Mapping[Source, Sequence[Measure]] = {
    Source.ERP: (Measure.ON_HAND,),
    Source.WMS: (Measure.ALLOCATED,),
    Source.TRANSIT: (Measure.RECEIPT, Measure.DEMAND),
}
"""The measures whose extracts say how old the figures are that answers show under the name of each source."""


def feed_columns(
    feeds: pl.DataFrame, branch_of: NDArray[np.int32], branches: int
) -> dict[str, NDArray[np.generic]]:
    """The arrays `feed_...` of a snapshot, from the rows and the ordinal of the branch of each."""
    as_of = np.full((branches, len(Source)), NO_INSTANT, dtype=np.int64)
    complete = np.zeros(as_of.shape, dtype=np.bool_)
    stale_us = np.full(as_of.shape, STALE_AFTER_MIN * 60 * MICROS, dtype=np.int64)
    owner = np.tile(np.array([SOURCE_OF[measure] for measure in Measure], dtype=np.uint8), (branches, 1))
    shipped = np.zeros(branches, dtype=np.bool_)
    said: dict[int, dict[Measure, dict[str, Any]]] = {}
    rows = sorted(
        zip(branch_of.tolist(), feeds.iter_rows(named=True), strict=True),
        key=lambda each: each[1]["measure"] is not None,
    )
    for branch, row in rows:
        for measure in _measures(row):
            said.setdefault(branch, {})[measure] = row
            owner[branch, measure] = Source[row["source"].upper()]
    for branch, by_measure in said.items():
        allocated = by_measure.get(Measure.ALLOCATED)
        shipped[branch] = allocated is not None and allocated["decrease_means"] == "shipped"
        for source, measures in _SPEAKS.items():
            found = [by_measure[measure] for measure in measures if measure in by_measure]
            if found:
                place = branch, source
                as_of[place] = min(row["as_of_us"] for row in found)
                complete[place] = len(found) == len(measures) and all(row["complete"] for row in found)
                stale_us[place] = min(_stale_us(row) for row in found)
    return {
        "feed_as_of": as_of,
        "feed_complete": complete,
        "feed_stale_us": stale_us,
        "feed_owner": owner,
        "feed_decrease_shipped": shipped,
    }


def _measures(row: Mapping[str, Any]) -> Sequence[Measure]:
    """What a row speaks of."""
    if row["measure"] is not None:
        return (Measure[row["measure"].upper()],)
    source = Source[row["source"].upper()]
    return [measure for measure, owner in SOURCE_OF.items() if owner is source]


def _stale_us(row: Mapping[str, Any]) -> int:
    minutes = STALE_AFTER_MIN if row["stale_after_min"] is None else row["stale_after_min"]
    return min(int(minutes) * 60 * MICROS, INT64_MAX)

"""Positions as arrays: what a snapshot holds of availability, and how to find things in it.

Items, branches, units and references are ordinals into name tables sorted bytewise (`atp_NAME_text` uint8,
`atp_NAME_offsets` int64). The pairs (item, branch) of an item lie together, ascending by branch; receipts and demands
of a pair lie together, ascending by local day. Figures of one pair share one record of eight int64: one cache line.
What kernels read of its receipts and demands shares one block, as that of a live pair does (`atp.live.layout`).
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pricegrid.atp.live.layout import DEMAND_WORDS, NOTHING_LIVE, RECEIPT_WORDS, LiveArrays
from pricegrid.atp.model import Source
from pricegrid.atp.rules.events import Measure
from pricegrid.columnar.jit import compiled
from pricegrid.columnar.names import Names

ON_HAND: Final = 0
UNAVAILABLE: Final = 1
ALLOCATED: Final = 2
SAFETY: Final = 3
ERP_AS_OF: Final = 4
"""NO_INSTANT: the pair has no stock row."""
WMS_AS_OF: Final = 5
"""The newest allocation row's instant; NO_INSTANT: there is none."""
GAPS: Final = 6
"""Bit `1 << source` is set while events of that source are missing (A10): the data counts as STALE."""
FLAGS: Final = 7
UNKNOWN_STOCK_ROW: Final = 1
"""A bit of FLAGS: there is a stock row that could not be used, so not even a complete feed says how much there is
(A11)."""
BLOCK_SHIFT: Final = 8
"""FLAGS from this bit on, in a snapshot: 1 + the first word of the pair's block in `pair_blocks`; 0: it has no receipts
and no demands."""
DEMANDS_SHIFT: Final = 32
"""The first word of a block: how many receipts it has, and from this bit on how many demands."""
RECORD_COLUMNS: Final = 8

ITEM_PAIRS, ITEM_PAIRS_END, ITEM_MULTIPLE, ITEM_IS_KIT, ITEM_COLUMNS = range(5)
"""Columns of `item_record`: what a quote reads of an item, half a cache line."""

PREFIX: Final = "atp_"
NAME_TABLES: Final = ("sku", "uom", "branch", "zone", "destination", "order", "reference")
COLUMNS: Final = {
    "item_base_uom": np.int32,
    "item_multiple": np.int64,  # micros of the base unit, 0: none
    "item_superseded_by": np.int32,  # -1: none
    "uom_start": np.int64,  # items + 1
    "uom_name": np.int32,
    "uom_numerator": np.int64,
    "uom_denominator": np.int64,
    "branch_zone": np.int32,
    "branch_cutoff_s": np.int32,  # -1: none
    "branch_inbound_days": np.int32,
    "branch_outbound_days": np.int32,
    "branch_calendar": np.int32,  # -1: every day is worked
    "calendar_weekdays": np.bool_,  # (calendars, 7), Monday first
    "calendar_start": np.int64,  # calendars + 1
    "calendar_day": np.int32,
    "calendar_working": np.bool_,
    "lane_start": np.int64,  # destinations + 1
    "lane_from": np.int32,  # in sourcing order
    "lane_transit_days": np.int32,
    "feed_as_of": np.int64,  # (branches, 3 sources), NO_INSTANT: no feed
    "feed_complete": np.bool_,
    "feed_stale_us": np.int64,
    "feed_owner": np.uint8,  # (branches, 5 measures): the source of each
    "feed_decrease_shipped": np.bool_,  # (branches,): less allocated means that it was shipped
    "item_record": np.int64,  # (items, 4): pair_start of it and the next, item_multiple, 1 for a kit
    "pair_start": np.int64,  # items + 1
    "pair_branch": np.int32,
    "pair_record": np.int64,  # (pairs, 8)
    "pair_blocks": np.int64,  # counts, then (day, quantity, confidence) of receipts, then (day, net) of demands
    "receipt_start": np.int64,  # pairs + 1
    "receipt_quantity": np.int64,
    "receipt_confidence": np.int32,  # micros
    "receipt_at": np.int64,
    "receipt_kind": np.uint8,  # see KINDS
    "receipt_reference": np.int32,  # -1: none
    "receipt_line": np.int32,  # a reference too, as the next
    "receipt_supersedes": np.int32,
    "demand_start": np.int64,  # pairs + 1
    "demand_quantity": np.int64,
    "demand_at": np.int64,
    "demand_order": np.int32,  # -1: none
    "demand_line": np.int32,  # of that order, among their names; -1: none
    "demand_kit": np.int32,  # the item it was reported for, whose component the pair's is; -1: the pair's own
    "allocation_start": np.int64,  # pairs + 1
    "allocation_quantity": np.int64,
    "allocation_as_of": np.int64,
    "allocation_order": np.int32,  # -1: none
    "allocation_line": np.int32,  # as demand_line
    "allocation_shipped": np.int64,
    "kit_start": np.int64,  # items + 1
    "kit_component": np.int32,  # base components, kits in kits opened
    "kit_numerator": np.int64,  # base units of the component in a base unit of the kit
    "kit_denominator": np.int64,  # 0: the need does not fit int64
}
TWO_DIMENSIONAL: Final = frozenset(
    {
        "calendar_weekdays",
        "feed_as_of",
        "feed_complete",
        "feed_owner",
        "feed_stale_us",
        "item_record",
        "pair_record",
    }
)
KINDS: Final = ("purchase", "transfer", "asn")
_RECEIPT_COLUMNS: Final = [
    name for name in COLUMNS if name.startswith("receipt_") and name != "receipt_start"
]


class Tables(NamedTuple):
    """What the kernels read."""

    pair_start: NDArray[np.int64]
    pair_branch: NDArray[np.int32]
    pair_record: NDArray[np.int64]
    pair_blocks: NDArray[np.int64]
    kit_start: NDArray[np.int64]
    kit_component: NDArray[np.int32]
    kit_numerator: NDArray[np.int64]
    kit_denominator: NDArray[np.int64]
    feed_as_of: NDArray[np.int64]
    feed_complete: NDArray[np.bool_]
    feed_stale_us: NDArray[np.int64]
    live_head: NDArray[np.int64]
    live_slots: NDArray[np.int64]
    live_rows: NDArray[np.int64]
    live_blocks: NDArray[np.int64]
    item_record: NDArray[np.int64]
    live_doubt: NDArray[np.int64]


def pair_blocks(
    receipt_start: NDArray[np.int64],
    receipts: Sequence[NDArray[np.generic]],
    demand_start: NDArray[np.int64],
    demands: Sequence[NDArray[np.generic]],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(what BLOCK_SHIFT has of each pair, `pair_blocks`), from (pairs + 1,) offsets and the columns they lead to."""
    counts = [np.diff(receipt_start), np.diff(demand_start)]
    sizes = np.where(counts[0] + counts[1] > 0, 1 + RECEIPT_WORDS * counts[0] + DEMAND_WORDS * counts[1], 0)
    starts = np.where(sizes > 0, 1 + np.cumsum(sizes) - sizes, 0)
    blocks = np.zeros(sizes.sum(), dtype=np.int64)
    blocks[starts[starts > 0] - 1] = (counts[0] | counts[1] << DEMANDS_SHIFT)[starts > 0]
    first = starts
    for count, columns in zip(counts, (receipts, demands), strict=True):
        within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        at = np.repeat(first, count) + len(columns) * within
        for column_at, column in enumerate(columns):
            blocks[at + column_at] = column
        first = starts + len(columns) * count
    return starts, blocks


@compiled
def _rises(offsets: NDArray[np.int64], owners: int) -> bool:
    """Whether these are offsets of so many owners, from 0 and never falling."""
    if len(offsets) != owners + 1 or offsets[0] != 0:
        return False
    for i in range(owners):  # noqa: SIM110 - numba compiles no generators
        if offsets[i + 1] < offsets[i]:
            return False
    return True


@compiled
def _has_blocks(
    record: NDArray[np.int64],
    blocks: NDArray[np.int64],
    receipt_start: NDArray[np.int64],
    demand_start: NDArray[np.int64],
) -> bool:
    """Whether the block of each pair is where its record says, one behind the other, and has as many rows."""
    at = 0
    for pair in range(len(record)):
        receipts = receipt_start[pair + 1] - receipt_start[pair]
        demands = demand_start[pair + 1] - demand_start[pair]
        has_block = receipts + demands > 0
        if record[pair, FLAGS] >> BLOCK_SHIFT != (at + 1 if has_block else 0):
            return False
        if has_block:
            if at >= len(blocks) or blocks[at] != receipts | demands << DEMANDS_SHIFT:
                return False
            at += 1 + RECEIPT_WORDS * receipts + DEMAND_WORDS * demands
    return at == len(blocks)


class Positions:
    """The arrays of one snapshot by name, with their name tables.

    Raises KeyError when an array is missing, ValueError when one has another type or length than it should.
    """

    def __init__(self, arrays: Mapping[str, NDArray[np.generic]]) -> None:
        self.arrays: dict[str, NDArray[np.generic]] = {}
        for column, dtype in COLUMNS.items():
            array = arrays[PREFIX + column]
            if array.dtype != np.dtype(dtype):
                raise ValueError(f"{PREFIX}{column} is {array.dtype}, not {np.dtype(dtype)}")
            if array.ndim != (2 if column in TWO_DIMENSIONAL else 1) or not array.flags.c_contiguous:
                raise ValueError(f"{PREFIX}{column} has {array.ndim} dimensions, or is not in C order")
            self.arrays[column] = array
        tables = {name: _names(arrays, name) for name in NAME_TABLES}
        self.skus, self.uoms, self.branches = tables["sku"], tables["uom"], tables["branch"]
        self.zones = [zone.decode() for zone in tables["zone"].all()]
        self.destinations, self.orders = tables["destination"], tables["order"]
        self.references = tables["reference"]
        self._check_lengths()
        self._check_feeds()
        columns = {column: self.arrays[column] for column in Tables._fields if column in self.arrays}
        self.tables = Tables(**columns, **NOTHING_LIVE._asdict())  # type: ignore[arg-type]

    def _check_feeds(self) -> None:
        branches = len(self.branches)
        for column in ("feed_as_of", "feed_complete", "feed_stale_us"):
            if self.arrays[column].shape != (branches, 3):
                raise ValueError(
                    f"{PREFIX}{column} must have a row for each branch and a column for each source"
                )
        owner: NDArray[np.uint8] = np.asarray(self.arrays["feed_owner"], np.uint8)
        if owner.shape != (branches, len(Measure)) or bool((owner >= len(Source)).any()):
            raise ValueError(f"{PREFIX}feed_owner must name a source for each branch and measure")
        if self.arrays["feed_decrease_shipped"].shape != (branches,):
            raise ValueError(f"{PREFIX}feed_decrease_shipped must have a row for each branch")

    def _check_lengths(self) -> None:
        """The kernels check no bounds: every offset must lead to what is there."""
        items, branches = len(self.skus), len(self.branches)
        pairs = len(self.arrays["pair_branch"])
        starts = {
            "uom_start": (items, "uom_name uom_numerator uom_denominator"),
            "pair_start": (items, "pair_branch pair_record"),
            "kit_start": (items, "kit_component kit_numerator kit_denominator"),
            "receipt_start": (pairs, " ".join(_RECEIPT_COLUMNS)),
            "demand_start": (pairs, "demand_quantity demand_at demand_order demand_line demand_kit"),
            "allocation_start": (
                pairs,
                "allocation_quantity allocation_as_of allocation_order allocation_line allocation_shipped",
            ),
            "lane_start": (len(self.destinations), "lane_from lane_transit_days"),
            "calendar_start": (len(self.arrays["calendar_weekdays"]), "calendar_day calendar_working"),
        }
        for start, (owners, columns) in starts.items():
            offsets: NDArray[np.int64] = np.asarray(self.arrays[start], np.int64)
            if not _rises(offsets, owners) or any(
                len(self.arrays[column]) != int(offsets[-1]) for column in columns.split()
            ):
                raise ValueError(f"{PREFIX}{start} does not fit its columns")
        for column, below in (("pair_branch", branches), ("kit_component", items)):
            values = self.arrays[column]
            if len(values) and not (int(values.min()) >= 0 and int(values.max()) < below):
                raise ValueError(f"{PREFIX}{column} points outside")
        if self.arrays["pair_record"].shape != (pairs, RECORD_COLUMNS):
            raise ValueError(f"{PREFIX}pair_record must have {RECORD_COLUMNS} columns")
        figures, blocks, receipt_start, demand_start = (
            np.asarray(self.arrays[name], np.int64)
            for name in ("pair_record", "pair_blocks", "receipt_start", "demand_start")
        )
        if not _has_blocks(figures, blocks, receipt_start, demand_start):
            raise ValueError(f"{PREFIX}pair_blocks does not fit its pairs")
        pair_start, record = self.arrays["pair_start"], self.arrays["item_record"]
        if record.shape != (items, ITEM_COLUMNS) or not (
            np.array_equal(record[:, ITEM_PAIRS], pair_start[:-1])
            and np.array_equal(record[:, ITEM_PAIRS_END], pair_start[1:])
        ):
            raise ValueError(f"{PREFIX}item_record does not fit {PREFIX}pair_start")

    def attach(self, live: LiveArrays) -> None:
        """From now on, live pairs come before those of the snapshot. Requests under way keep what they have."""
        self.tables = self.tables._replace(**live._asdict())

    @property
    def live(self) -> LiveArrays:
        """What is live now."""
        return LiveArrays(*(getattr(self.tables, name) for name in LiveArrays._fields))

    def integer(self, column: str, index: int) -> int:
        """One element of a column as a Python int."""
        return int(self.arrays[column][index])

    def span(self, start: str, owner: int) -> range:
        """The rows of an owner: `start[owner]` to `start[owner + 1]`."""
        return range(self.integer(start, owner), self.integer(start, owner + 1))


def _names(arrays: Mapping[str, NDArray[np.generic]], table: str) -> Names:
    text = np.ascontiguousarray(arrays[f"{PREFIX}{table}_text"], dtype=np.uint8)
    offsets = np.ascontiguousarray(arrays[f"{PREFIX}{table}_offsets"], dtype=np.int64)
    if text.ndim != 1 or offsets.ndim != 1:
        raise ValueError(f"{PREFIX}{table} is not a name table")
    if not len(offsets) or offsets[0] != 0 or offsets[-1] != len(text) or np.any(np.diff(offsets) < 0):
        raise ValueError(f"{PREFIX}{table}_offsets does not fit its text")
    return Names(text, offsets)

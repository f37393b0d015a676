"""Compile the availability side: validated frames in, the arrays of `atp.arrays.positions` out.

The same frames give the same bytes: names become ordinals in byte order, every sort is total. Kits are opened to base
components; a kit's own stock, receipts and safety stock are left out, its demands and allocations become those of its
components (A6). Demands are stored net of what is allocated for the same order (A1).
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pricegrid.atp.arrays.days import local_days
from pricegrid.atp.arrays.positions import (
    BLOCK_SHIFT,
    COLUMNS,
    FLAGS,
    KINDS,
    PREFIX,
    pair_blocks,
)
from pricegrid.atp.model import INT64_MAX, MICROS, NO_INSTANT
from pricegrid.columnar.instants import day_number
from pricegrid.columnar.names import text_and_offsets
from pricegrid.loaders.compile.feeds import feed_columns
from pricegrid.loaders.compile.kits import open_kits
from pricegrid.loaders.compile.net_demands import net_of_allocations
from pricegrid.loaders.compile.net_receipts import net_column
from pricegrid.loaders.compile.ordinals import Names, sorted_names

Frames = Mapping[str, pl.DataFrame]
Arrays = dict[str, NDArray[np.generic]]
FAR_RANK = INT64_MAX

_SCHEMAS: Mapping[str, Mapping[str, pl.DataType]] = {
    "items": {
        "sku": pl.String(),
        "base_uom": pl.String(),
        "order_multiple_micros": pl.Int64(),
        "superseded_by": pl.String(),
    },
    "uoms": {"sku": pl.String(), "uom": pl.String(), "numerator": pl.Int64(), "denominator": pl.Int64()},
    "branches": {
        "branch": pl.String(),
        "time_zone": pl.String(),
        "cutoff_s": pl.Int64(),
        "inbound_handling_days": pl.Int64(),
        "outbound_handling_days": pl.Int64(),
        "calendar": pl.String(),
    },
    "lanes": {
        "from_branch": pl.String(),
        "to_branch": pl.String(),
        "ship_zone": pl.String(),
        "transit_days": pl.Int64(),
        "rank": pl.Int64(),
    },
    "stock": {
        "sku": pl.String(),
        "branch": pl.String(),
        "on_hand_micros": pl.Int64(),
        "as_of_us": pl.Int64(),
        "unavailable_micros": pl.Int64(),
    },
    "allocations": {
        "sku": pl.String(),
        "branch": pl.String(),
        "allocated_micros": pl.Int64(),
        "as_of_us": pl.Int64(),
        "order_ref": pl.String(),
        "order_line": pl.String(),
        "shipped_micros": pl.Int64(),
    },
    "receipts": {
        "sku": pl.String(),
        "branch": pl.String(),
        "quantity_micros": pl.Int64(),
        "expected_at_us": pl.Int64(),
        "kind": pl.String(),
        "confidence_micros": pl.Int64(),
        "reference": pl.String(),
        "line": pl.String(),
        "supersedes": pl.String(),
    },
    "demands": {
        "sku": pl.String(),
        "branch": pl.String(),
        "quantity_micros": pl.Int64(),
        "due_at_us": pl.Int64(),
        "order_ref": pl.String(),
        "order_line": pl.String(),
    },
    "safety_stock": {"sku": pl.String(), "branch": pl.String(), "quantity_micros": pl.Int64()},
    "calendars": {
        "calendar": pl.String(),
        "date": pl.Date(),
        "weekday": pl.Int64(),
        "working": pl.Boolean(),
    },
    "feeds": {
        "branch": pl.String(),
        "source": pl.String(),
        "measure": pl.String(),
        "as_of_us": pl.Int64(),
        "complete": pl.Boolean(),
        "stale_after_min": pl.Int64(),
        "decrease_means": pl.String(),
    },
    "kits": {"kit_sku": pl.String(), "component_sku": pl.String(), "quantity_micros": pl.Int64()},
}


class _Names:
    """The ordinals of one kind of name, in byte order."""

    def __init__(self, table: str, *columns: pl.Series) -> None:
        self.table = table
        self._names = Names(sorted_names(columns))

    def __len__(self) -> int:
        return len(self._names)

    def arrays(self) -> Arrays:
        text, offsets = text_and_offsets([name.encode() for name in self._names.series])
        return {f"{PREFIX}{self.table}_text": text, f"{PREFIX}{self.table}_offsets": offsets}

    def of(self, column: pl.Series) -> NDArray[np.int32]:
        """The ordinal of each name; -1 for null and for a name that is none."""
        return self._names.places(column).astype(np.int32)


class _Compiler:
    """Frames with every expected column, and the name tables over them."""

    def __init__(self, frames: Frames, time_zone: str) -> None:
        self.frames = {table: _frame(frames, table) for table in _SCHEMAS}
        branches = self.frames["branches"]
        self.frames["branches"] = branches.with_columns(
            pl.col("time_zone").fill_null(time_zone).replace("", time_zone)
        )
        lanes = self.frames["lanes"]
        self.sku = _Names("sku", self.frames["items"]["sku"])
        self.uom = _Names("uom", self.frames["items"]["base_uom"], self.frames["uoms"]["uom"])
        self.branch = _Names("branch", branches["branch"])
        self.zone = _Names("zone", self.frames["branches"]["time_zone"])
        self.destination = _Names("destination", lanes["to_branch"], lanes["ship_zone"])
        self.order = _Names(
            "order",
            *(
                self.frames[table][column]
                for table in ("demands", "allocations")
                for column in ("order_ref", "order_line")
            ),
        )
        receipts = self.frames["receipts"]
        self.reference = _Names(
            "reference", *(receipts[name] for name in ("reference", "line", "supersedes"))
        )
        self.calendar = _Names("calendar", self.frames["calendars"]["calendar"])
        self.kits = open_kits(self.frames["kits"])

    def names_arrays(self) -> Arrays:
        arrays: Arrays = {}
        tables = (self.sku, self.uom, self.branch, self.zone, self.destination, self.order, self.reference)
        for names in tables:
            arrays.update(names.arrays())
        return arrays


def compile_positions(frames: Frames, *, time_zone: str = "UTC") -> Arrays:
    """All availability arrays of a snapshot, each named `atp_...`, from the normalised frames.

    `time_zone` is that of branches without one. A missing table means none of that thing.
    """
    compiler = _Compiler(frames, time_zone)
    columns = {
        **_item_columns(compiler),
        **_branch_columns(compiler),
        **_calendar_columns(compiler),
        **_lane_columns(compiler),
        **feed_columns(
            compiler.frames["feeds"],
            compiler.branch.of(compiler.frames["feeds"]["branch"]),
            len(compiler.branch),
        ),
        **_kit_columns(compiler),
        **_pair_columns(compiler),
    }
    columns["item_record"] = _item_records(columns)
    arrays = compiler.names_arrays()
    for column, dtype in COLUMNS.items():
        arrays[PREFIX + column] = np.ascontiguousarray(columns[column], dtype=dtype)
    return arrays


def _frame(frames: Frames, table: str) -> pl.DataFrame:
    """The frame with exactly the expected columns; what it lacks is null."""
    schema = _SCHEMAS[table]
    frame = frames.get(table)
    if frame is None or frame.is_empty():
        return pl.DataFrame(schema=dict(schema))
    return frame.select(
        pl.col(name).cast(dtype) if name in frame.columns else pl.lit(None, dtype=dtype).alias(name)
        for name, dtype in schema.items()
    )


def _starts(owner: NDArray[np.int64], owners: int) -> NDArray[np.int64]:
    """Offsets of each owner's rows, for rows sorted by owner."""
    return np.searchsorted(owner, np.arange(owners + 1)).astype(np.int64)


def _item_columns(c: _Compiler) -> Arrays:
    order = np.argsort(c.sku.of(c.frames["items"]["sku"]), kind="stable")
    items = c.frames["items"][order]
    uoms = c.frames["uoms"]
    owner, name = c.sku.of(uoms["sku"]).astype(np.int64), c.uom.of(uoms["uom"])
    by_owner = np.lexsort((name, owner))
    return {
        "item_base_uom": c.uom.of(items["base_uom"]),
        "item_multiple": items["order_multiple_micros"].fill_null(0).to_numpy(),
        "item_superseded_by": c.sku.of(items["superseded_by"]),
        "uom_start": _starts(owner[by_owner], len(c.sku)),
        "uom_name": name[by_owner],
        "uom_numerator": uoms["numerator"].to_numpy()[by_owner],
        "uom_denominator": uoms["denominator"].fill_null(1).to_numpy()[by_owner],
    }


def _item_records(columns: Arrays) -> NDArray[np.int64]:
    """What a quote reads of each item, in the order of `atp.arrays.positions` (ITEM_PAIRS and so on)."""
    pair_start, is_kit = columns["pair_start"], np.diff(columns["kit_start"]) > 0
    return np.stack([pair_start[:-1], pair_start[1:], columns["item_multiple"], is_kit], axis=1)


def _branch_columns(c: _Compiler) -> Arrays:
    branches = c.frames["branches"][np.argsort(c.branch.of(c.frames["branches"]["branch"]), kind="stable")]
    return {
        "branch_zone": c.zone.of(branches["time_zone"]),
        "branch_cutoff_s": branches["cutoff_s"].fill_null(-1).to_numpy(),
        "branch_inbound_days": branches["inbound_handling_days"].fill_null(0).to_numpy(),
        "branch_outbound_days": branches["outbound_handling_days"].fill_null(0).to_numpy(),
        "branch_calendar": c.calendar.of(branches["calendar"]),
    }


def _calendar_columns(c: _Compiler) -> Arrays:
    """Weekdays nothing is said about are worked, unless only working ones are named (see `atp.rules.rows.Calendar`)."""
    rows = c.frames["calendars"]
    owner = c.calendar.of(rows["calendar"])
    said: dict[int, dict[int, bool]] = {calendar: {} for calendar in range(len(c.calendar))}
    dates: list[tuple[int, int, bool]] = []
    for calendar, row in zip(owner.tolist(), rows.iter_rows(named=True), strict=True):
        if row["date"] is not None:
            dates.append((calendar, day_number(row["date"]), row["working"]))
        else:
            said[calendar][row["weekday"] - 1] = row["working"]
    weekdays = np.ones((len(c.calendar), 7), dtype=np.bool_)
    for calendar, days in said.items():
        silent = not days or not all(days.values())
        weekdays[calendar] = [days.get(day, silent) for day in range(7)]
    dates.sort()
    return {
        "calendar_weekdays": weekdays,
        "calendar_start": _starts(np.array([row[0] for row in dates], dtype=np.int64), len(c.calendar)),
        "calendar_day": np.array([row[1] for row in dates], dtype=np.int32),
        "calendar_working": np.array([row[2] for row in dates], dtype=np.bool_),
    }


def _lane_columns(c: _Compiler) -> Arrays:
    """A lane to a branch and a zone is reached by either name; order: rank, transit, branch (A7)."""
    lanes = c.frames["lanes"]
    both = pl.concat(
        [lanes.with_columns(destination=pl.col(column)) for column in ("to_branch", "ship_zone")]
    ).filter(pl.col("destination").is_not_null())
    destination = c.destination.of(both["destination"]).astype(np.int64)
    origin = c.branch.of(both["from_branch"])
    transit = both["transit_days"].to_numpy()
    rank = both["rank"].fill_null(FAR_RANK).to_numpy()
    order = np.lexsort((origin, transit, rank, destination))
    return {
        "lane_start": _starts(destination[order], len(c.destination)),
        "lane_from": origin[order],
        "lane_transit_days": transit[order],
    }


def _kit_columns(c: _Compiler) -> Arrays:
    kits = [(kit, component, need) for kit, needs in c.kits.items() for component, need in needs.items()]
    kit = c.sku.of(pl.Series([row[0] for row in kits], dtype=pl.String)).astype(np.int64)
    component = c.sku.of(pl.Series([row[1] for row in kits], dtype=pl.String))
    order = np.lexsort((component, kit))
    needs = [kits[place][2] for place in order.tolist()]
    fits = [max(need.numerator, need.denominator) <= INT64_MAX for need in needs]
    return {
        "kit_start": _starts(kit[order], len(c.sku)),
        "kit_component": component[order],
        "kit_numerator": np.array(
            [n.numerator if ok else 1 for n, ok in zip(needs, fits, strict=True)], np.int64
        ),
        "kit_denominator": np.array(
            [n.denominator if ok else 0 for n, ok in zip(needs, fits, strict=True)], np.int64
        ),
    }


def _at_components(c: _Compiler, frame: pl.DataFrame, *quantities: str) -> pl.DataFrame:
    """A kit's rows turned into rows of its components, needs rounded up; without `quantities` they are left out."""
    frame = frame.with_columns(kit=pl.lit(None, dtype=pl.String))
    if not c.kits:
        return frame
    kits = pl.Series(list(c.kits), dtype=pl.String)
    is_kit = frame["sku"].is_in(kits.implode())
    own = frame.filter(~is_kit)
    if not quantities or not is_kit.any():
        return own
    rows = [
        {
            **row,
            "sku": sku,
            "kit": row["sku"],
            **{name: min(math.ceil((row[name] or 0) * need), INT64_MAX) for name in quantities},
        }
        for row in frame.filter(is_kit).iter_rows(named=True)
        for sku, need in c.kits[row["sku"]].items()
    ]
    return pl.concat([own, pl.DataFrame(rows, schema=frame.schema)])


def _keyed(c: _Compiler, frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with `key`: item * branches + branch. ValueError when a row names what does not exist."""
    item, branch = c.sku.of(frame["sku"]).astype(np.int64), c.branch.of(frame["branch"]).astype(np.int64)
    if len(frame) and min(item.min(), branch.min()) < 0:
        raise ValueError("a row names an item or a branch that does not exist: validate first")
    return frame.with_columns(key=pl.Series(item * len(c.branch) + branch, dtype=pl.Int64))


def _pair_columns(c: _Compiler) -> Arrays:
    stock = _keyed(c, _at_components(c, c.frames["stock"]))
    # the newest row counts; of two equally new ones the lesser figure
    stock = stock.sort("key", "as_of_us", "on_hand_micros", descending=[False, True, False]).unique(
        "key", keep="first", maintain_order=True
    )
    safety = _keyed(c, _at_components(c, c.frames["safety_stock"]))
    allocations = _keyed(c, _at_components(c, c.frames["allocations"], "allocated_micros", "shipped_micros"))
    receipts = _keyed(c, _at_components(c, c.frames["receipts"]))
    demands = _keyed(c, _at_components(c, c.frames["demands"], "quantity_micros"))
    keys = np.unique(
        np.concatenate([frame["key"].to_numpy() for frame in (stock, safety, allocations, receipts, demands)])
    )
    branches = max(1, len(c.branch))
    lists = {**_receipt_columns(c, keys, receipts), **_demand_columns(c, keys, demands, allocations)}
    records = _records(keys, stock, safety, allocations)
    receipt_rows = [lists[f"receipt_{name}"] for name in ("day", "net", "confidence")]
    demand_rows = [lists[f"demand_{name}"] for name in ("day", "net")]
    receipts_of, demands_of = (
        np.asarray(lists[each], np.int64) for each in ("receipt_start", "demand_start")
    )
    places, blocks = pair_blocks(receipts_of, receipt_rows, demands_of, demand_rows)
    records[:, FLAGS] |= places << BLOCK_SHIFT
    return {
        "pair_start": _starts(keys // branches, len(c.sku)),
        "pair_branch": keys % branches,
        "pair_record": records,
        "pair_blocks": blocks,
        **{name: array for name, array in lists.items() if name in COLUMNS},
        **_allocation_columns(c, keys, allocations),
    }


def _records(
    keys: NDArray[np.int64], stock: pl.DataFrame, safety: pl.DataFrame, allocations: pl.DataFrame
) -> NDArray[np.int64]:
    """The record of each pair, in the order of `atp.arrays.positions` (ON_HAND and so on)."""
    sums = allocations.group_by("key").agg(
        allocated=_saturated_sum("allocated_micros"), wms_as_of=pl.col("as_of_us").max()
    )
    held = safety.group_by("key").agg(safety=_saturated_sum("quantity_micros"))
    frame = pl.DataFrame({"key": keys}, schema={"key": pl.Int64})
    stock = stock.drop("sku", "branch").with_columns(
        unknown=pl.col("on_hand_micros").is_null().cast(pl.Int64)
    )
    for other in (stock, held, sums):
        frame = frame.join(other, on="key", how="left", maintain_order="left")
    records = frame.select(
        pl.col("on_hand_micros", "unavailable_micros", "allocated", "safety").fill_null(0),
        pl.col("as_of_us", "wms_as_of").fill_null(NO_INSTANT),
        gaps=pl.lit(0, dtype=pl.Int64),
        unknown=pl.col("unknown").fill_null(0),
    )
    return records.to_numpy().astype(np.int64, order="C").reshape(len(keys), 8)


def _saturated_sum(column: str) -> pl.Expr:
    """A sum that stops at INT64_MAX in place of wrapping."""
    return pl.col(column).cast(pl.Int128).sum().clip(upper_bound=INT64_MAX).cast(pl.Int64)


def _local_days(c: _Compiler, frame: pl.DataFrame, instant: str) -> NDArray[np.int32]:
    """The local day of each row's instant at its branch."""
    zones = dict(c.frames["branches"].select("branch", "time_zone").iter_rows())
    zone = frame["branch"].replace_strict(zones, return_dtype=pl.String) if len(frame) else frame["branch"]
    instants = frame[instant].to_numpy()
    days = np.zeros(len(frame), dtype=np.int32)
    for name in zone.unique().to_list():
        rows = (zone == name).to_numpy()
        days[rows] = local_days(instants[rows], name)
    return days


def _sorted_rows(
    keys: NDArray[np.int64], frame: pl.DataFrame, by: Sequence[str]
) -> tuple[pl.DataFrame, NDArray[np.int64]]:
    """Rows by pair, then by `by`, and each pair's offsets."""
    ordered = frame.sort("key", *by, nulls_last=True)
    starts = np.searchsorted(ordered["key"].to_numpy(), np.append(keys, INT64_MAX)).astype(np.int64)
    return ordered, starts


def _receipt_columns(c: _Compiler, keys: NDArray[np.int64], receipts: pl.DataFrame) -> Arrays:
    dated = receipts.with_columns(
        pl.col("confidence_micros").fill_null(MICROS),
        day=pl.Series(_local_days(c, receipts, "expected_at_us"), dtype=pl.Int32),
        kind_code=pl.col("kind")
        .fill_null(KINDS[0])
        .replace_strict(list(KINDS), range(len(KINDS)), return_dtype=pl.UInt8),
    )
    by = ("day", "expected_at_us", "reference", "line", "quantity_micros", "confidence_micros", "kind_code")
    rows, starts = _sorted_rows(keys, dated, (*by, "supersedes"))
    return {
        "receipt_net": net_column(rows, starts),
        "receipt_start": starts,
        "receipt_day": rows["day"].to_numpy(),
        "receipt_quantity": rows["quantity_micros"].to_numpy(),
        "receipt_confidence": rows["confidence_micros"].to_numpy(),
        "receipt_at": rows["expected_at_us"].to_numpy(),
        "receipt_kind": rows["kind_code"].to_numpy(),
        "receipt_reference": c.reference.of(rows["reference"]),
        "receipt_line": c.reference.of(rows["line"]),
        "receipt_supersedes": c.reference.of(rows["supersedes"]),
    }


def _demand_columns(
    c: _Compiler, keys: NDArray[np.int64], demands: pl.DataFrame, allocations: pl.DataFrame
) -> Arrays:
    """Demands by due instant, each net of what is allocated to its order, the earliest first (A1)."""
    dated = demands.with_columns(day=pl.Series(_local_days(c, demands, "due_at_us"), dtype=pl.Int32))
    by = ("day", "due_at_us", "order_ref", "order_line", "quantity_micros", "kit")
    rows, starts = _sorted_rows(keys, dated, by)
    rows = net_of_allocations(rows, allocations)
    return {
        "demand_start": starts,
        "demand_day": rows["day"].to_numpy(),
        "demand_net": rows["net"].to_numpy(),
        "demand_quantity": rows["quantity_micros"].to_numpy(),
        "demand_at": rows["due_at_us"].to_numpy(),
        "demand_order": c.order.of(rows["order_ref"]),
        "demand_line": c.order.of(rows["order_line"]),
        "demand_kit": c.sku.of(rows["kit"]),
    }


def _allocation_columns(c: _Compiler, keys: NDArray[np.int64], allocations: pl.DataFrame) -> Arrays:
    by = ("order_ref", "order_line", "as_of_us", "allocated_micros", "shipped_micros")
    rows, starts = _sorted_rows(keys, allocations.with_columns(pl.col("shipped_micros").fill_null(0)), by)
    return {
        "allocation_start": starts,
        "allocation_quantity": rows["allocated_micros"].to_numpy(),
        "allocation_as_of": rows["as_of_us"].to_numpy(),
        "allocation_order": c.order.of(rows["order_ref"]),
        "allocation_line": c.order.of(rows["order_line"]),
        "allocation_shipped": rows["shipped_micros"].to_numpy(),
    }

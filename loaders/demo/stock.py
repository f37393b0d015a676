"""The demo distributor's branches and what lies, comes and goes there: the availability side of the dataset.

Four branches in four countries, each with its clock, calendar and cut-off; on-hand from the ERP, allocations from the
WMS, receipts in transit. One branch's feeds are old and incomplete, so that its unknown stock stays unknown.
"""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from pricegrid.loaders.demo.catalogue import KIT_LEAF


@dataclass(frozen=True, slots=True)
class Branch:
    """A row of `branches`, and where it delivers: (ship zone, transit working days, rank)."""

    branch: str
    time_zone: str
    cutoff: str
    inbound_handling_days: int
    outbound_handling_days: int
    calendar: str
    zones: tuple[tuple[str, int, int], ...]


BRANCHES = (
    Branch(
        "HAM",
        "Europe/Berlin",
        "16:00",
        1,
        0,
        "DE",
        (("DE-NORTH", 1, 1), ("DE-SOUTH", 2, 2), ("NL", 2, 2), ("PL", 2, 2)),
    ),
    Branch(
        "RTM",
        "Europe/Amsterdam",
        "17:30",
        0,
        0,
        "NL",
        (("NL", 1, 1), ("DE-NORTH", 2, 2), ("DE-SOUTH", 2, 3), ("UK", 3, 2)),
    ),
    Branch("BHX", "Europe/London", "15:00", 1, 1, "UK", (("UK", 1, 1), ("NL", 3, 3))),
    Branch("WAW", "Europe/Warsaw", "14:00", 1, 0, "PL", (("PL", 1, 1), ("DE-NORTH", 3, 3))),
)
STALE_BRANCH = "WAW"  # its last extracts are two days old and incomplete
TRANSFERS = (("HAM", "RTM", 1), ("RTM", "HAM", 1), ("RTM", "BHX", 2), ("HAM", "WAW", 2))
HOLIDAYS = {
    "DE": ((1, 1), (5, 1), (10, 3), (12, 25), (12, 26)),
    "NL": ((1, 1), (4, 27), (12, 25), (12, 26)),
    "UK": ((1, 1), (12, 25), (12, 26)),
    "PL": ((1, 1), (1, 6), (5, 1), (5, 3), (11, 11), (12, 25), (12, 26)),
}
STALE_AFTER_MIN = {"erp": 1440, "wms": 120, "transit": 1440}
EXTRACT_HOURS = {"erp": 4, "wms": 7, "transit": 5}
EXTRACT_AGE = {"erp": timedelta(minutes=40), "wms": timedelta(minutes=5), "transit": timedelta(minutes=20)}
"""Of a dataset that is made to be asked now."""


class Extracts:
    """When the sources of a branch last told all they have: early on the day, or some minutes before `now`."""

    def __init__(self, as_of: date, now: datetime | None) -> None:
        self.as_of = as_of
        self._now = now

    def at(self, branch: Branch, source: str) -> str:
        """RFC 3339 with the branch's offset. The stale branch is two days behind."""
        behind = timedelta(days=2) if branch.branch == STALE_BRANCH else timedelta(0)
        if self._now is None:
            return instant(self.as_of - behind, EXTRACT_HOURS[source], branch)
        then = self._now - EXTRACT_AGE[source] - behind
        return then.astimezone(ZoneInfo(branch.time_zone)).replace(microsecond=0).isoformat()

    def stale_after_min(self, source: str) -> int:
        """Nobody goes on extracting what was made to be asked now: it is fresh for a day."""
        return STALE_AFTER_MIN[source] if self._now is None else max(STALE_AFTER_MIN.values())


def stock_tables(
    items: pl.DataFrame, always_stocked: list[str], extracts: Extracts, rng: np.random.Generator
) -> dict[str, pl.DataFrame]:
    """All availability tables for the catalogue; `always_stocked` SKUs lie in every branch but the stale one."""
    as_of = extracts.as_of
    goods = items.filter(pl.col("leaf") != KIT_LEAF)
    stock = stock_table(goods, always_stocked, extracts, rng)
    demands = demand_table(stock, as_of, rng)
    return {
        "branches": pl.DataFrame(
            [
                (
                    b.branch,
                    b.time_zone,
                    b.cutoff,
                    b.inbound_handling_days,
                    b.outbound_handling_days,
                    b.calendar,
                )
                for b in BRANCHES
            ],
            schema=[
                "branch",
                "time_zone",
                "cutoff",
                "inbound_handling_days",
                "outbound_handling_days",
                "calendar",
            ],
            orient="row",
        ),
        "lanes": lane_table(),
        "calendars": calendar_table(as_of),
        "feeds": feed_table(extracts),
        "stock": stock.drop("popularity"),
        "allocations": allocation_table(stock, demands, extracts, rng),
        "receipts": receipt_table(stock, as_of, rng),
        "demands": demands,
        "safety_stock": safety_table(stock, rng),
        "kits": kit_table(items, goods, rng),
    }


def instant(day: date, hour: int, branch: Branch) -> str:
    """RFC 3339 with the branch's offset: that hour of the day on its own clock."""
    return datetime.combine(day, time(hour), ZoneInfo(branch.time_zone)).isoformat()


def lane_table() -> pl.DataFrame:
    """Deliveries to ship zones, and transfers between branches."""
    lanes: list[tuple[str, str | None, str | None, int, int | None]]
    lanes = [(b.branch, None, zone, days, rank) for b in BRANCHES for zone, days, rank in b.zones]
    lanes += [(source, target, None, days, None) for source, target, days in TRANSFERS]
    return pl.DataFrame(
        lanes, schema=["from_branch", "to_branch", "ship_zone", "transit_days", "rank"], orient="row"
    )


def calendar_table(as_of: date) -> pl.DataFrame:
    """Monday (1) to Friday work, Saturday and Sunday (7) don't; holidays of this year and the next."""
    table: list[tuple[str, str | None, str | None, str]] = []
    for calendar, holidays in HOLIDAYS.items():
        table += [
            (calendar, None, str(weekday), "true" if weekday <= 5 else "false") for weekday in range(1, 8)
        ]
        for year in (as_of.year, as_of.year + 1):
            table += [
                (calendar, date(year, month, day).isoformat(), None, "false") for month, day in holidays
            ]
    return pl.DataFrame(table, schema=["calendar", "date", "weekday", "working"], orient="row")


def feed_table(extracts: Extracts) -> pl.DataFrame:
    """The last full extract of each source at each branch."""
    feeds = [
        (
            branch.branch,
            source,
            extracts.at(branch, source),
            "false" if branch.branch == STALE_BRANCH else "true",
            str(extracts.stale_after_min(source)),
        )
        for branch in BRANCHES
        for source in STALE_AFTER_MIN
    ]
    return pl.DataFrame(
        feeds, schema=["branch", "source", "as_of", "complete", "stale_after_min"], orient="row"
    )


def stock_table(
    goods: pl.DataFrame, always_stocked: list[str], extracts: Extracts, rng: np.random.Generator
) -> pl.DataFrame:
    """On-hand by item and branch (and `popularity`): popular items lie in more branches; a few figures are negative."""
    parts = []
    for index, branch in enumerate(BRANCHES):
        lift = rng.integers(0, 1000, goods.height)
        stale = branch.branch == STALE_BRANCH
        here = pl.Series(goods["popularity"].to_numpy() + 300 > lift + 150 * index)
        amount = rng.integers(0, 400, goods.height) * goods["popularity"].to_numpy() // 300
        amount = np.where(rng.random(goods.height) < 0.001, -amount // 20, amount)
        parts.append(
            goods.with_columns(
                branch=pl.lit(branch.branch),
                on_hand=pl.Series(amount, dtype=pl.Int64),
                as_of=pl.lit(extracts.at(branch, "erp")),
                unavailable=pl.Series(
                    np.where(rng.random(goods.height) < 0.02, np.maximum(amount, 0) // 10, 0), dtype=pl.Int64
                ),
            ).filter(here | (pl.col("sku").is_in(always_stocked) & (not stale)))
        )
    return pl.concat(parts).select(
        "sku",
        "branch",
        on_hand=pl.when(pl.col("sku").is_in(always_stocked))
        .then(pl.col("on_hand").abs() + 60)
        .otherwise("on_hand"),
        as_of="as_of",
        unavailable=pl.when(pl.col("unavailable") > 0).then("unavailable"),
        popularity="popularity",
    )


def demand_table(stock: pl.DataFrame, as_of: date, rng: np.random.Generator) -> pl.DataFrame:
    """Open sales orders of the next weeks; a few are late."""
    ordered = stock.filter(pl.Series(rng.random(stock.height) < 0.18))
    days = rng.integers(-3, 45, ordered.height)
    return ordered.select(
        "sku",
        "branch",
        quantity=1 + pl.col("on_hand").clip(0) * pl.Series(rng.integers(2, 40, ordered.height)) // 100,
        due_at=instants(ordered["branch"], days, as_of, hour=12),
        order_ref=pl.Series([f"SO-{number:07}" for number in range(100_000, 100_000 + ordered.height)]),
    )


def allocation_table(
    stock: pl.DataFrame, demands: pl.DataFrame, extracts: Extracts, rng: np.random.Generator
) -> pl.DataFrame:
    """What the WMS has put aside: a part of every fourth order of `demands`, and some orders it knows alone."""
    of_orders = demands.filter(pl.Series(rng.random(demands.height) < 0.25)).select(
        "sku", "branch", allocated=(pl.col("quantity") + 1) // 2, order_ref="order_ref"
    )
    others = stock.filter(pl.Series(rng.random(stock.height) < 0.05) & (pl.col("on_hand") > 10))
    others = others.select(
        "sku",
        "branch",
        allocated=1 + pl.col("on_hand") // 12,
        order_ref=pl.Series([f"WMS-{number:06}" for number in range(others.height)]),
    )
    return pl.concat([of_orders, others]).select(
        "sku",
        "branch",
        "allocated",
        as_of=pl.col("branch").replace_strict({b.branch: extracts.at(b, "wms") for b in BRANCHES}),
        order_ref="order_ref",
    )


def receipt_table(stock: pl.DataFrame, as_of: date, rng: np.random.Generator) -> pl.DataFrame:
    """Purchases, transfers and advised shipments: some late, some not sure."""
    parts = []
    for kind, share, first, last, prefix in (
        ("purchase", 0.16, -8, 60, "PO"),
        ("transfer", 0.04, 0, 5, "TR"),
        ("asn", 0.05, -1, 10, "ASN"),
    ):
        coming = stock.filter(pl.Series(rng.random(stock.height) < share))
        sure = np.array(["", "0.95", "0.8", "0.5"])[rng.choice(4, coming.height, p=[0.7, 0.15, 0.1, 0.05])]
        parts.append(
            coming.select(
                "sku",
                "branch",
                quantity=10 + pl.col("popularity") * pl.Series(rng.integers(1, 60, coming.height)) // 100,
                expected_at=instants(
                    coming["branch"], rng.integers(first, last, coming.height), as_of, hour=10
                ),
                kind=pl.lit(kind),
                confidence=pl.Series(sure.tolist()) if kind == "purchase" else pl.lit(""),
                reference=pl.Series(
                    [f"{prefix}-{number:06}" for number in range(coming.height)], dtype=pl.Utf8
                ),
            )
        )
    return pl.concat(parts).with_columns(pl.col("confidence").replace("", None))


def instants(branch: pl.Series, days: np.ndarray, as_of: date, *, hour: int) -> pl.Series:
    """RFC 3339 instants: that hour, so many days from `as_of`, on each branch's clock."""
    texts = {
        (b.branch, day): instant(as_of + timedelta(days=day), hour, b)
        for b in BRANCHES
        for day in {int(d) for d in days}
    }
    found = [texts[key] for key in zip(branch.to_list(), days.tolist(), strict=True)]
    return pl.Series(found, dtype=pl.Utf8)


def safety_table(stock: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """Safety stock of popular items."""
    kept = stock.filter((pl.col("popularity") >= 700) & pl.Series(rng.random(stock.height) < 0.6))
    return kept.select("sku", "branch", quantity=1 + pl.col("popularity") // 100)


def kit_table(items: pl.DataFrame, goods: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """Assortments of three to six items sold by the piece; every twentieth holds another assortment."""
    kits = items.filter(pl.col("leaf") == KIT_LEAF)["sku"].to_list()
    pieces = goods.filter((pl.col("base_uom") == "EA") & (pl.col("popularity") >= 500))["sku"].to_list()
    table: list[tuple[str, str, str]] = []
    for number, kit in enumerate(kits):
        chosen = sorted(
            rng.choice(len(pieces), size=min(len(pieces), int(rng.integers(3, 7))), replace=False).tolist()
        )
        table += [(kit, pieces[index], str(int(rng.integers(1, 9)))) for index in chosen]
        if number % 20 == 19:
            table.append((kit, kits[number - 1], "1"))  # always an earlier one: no circles
    return pl.DataFrame(table, schema=["kit_sku", "component_sku", "quantity"], orient="row")

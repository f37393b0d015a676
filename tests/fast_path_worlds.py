"""Random datasets with prices and stock, loaded, and random requests of them."""

from datetime import date
from random import Random
from zoneinfo import ZoneInfo

import numpy as np

from pricegrid import v1
from pricegrid.atp.engine import AvailabilityEngine
from pricegrid.columnar.instants import day_start_us
from pricegrid.erp.operator_flags import Flag, FlagSet
from pricegrid.loaders.publish import compile_dataset
from pricegrid.pricing_engine.engine import PriceEngine
from pricegrid.pricing_engine.model import ExceptionPolicy
from pricegrid.service.fast_path.path import FastPath
from pricegrid.service.process.bootstrap import CustomerBranches
from pricegrid.service.process.snapshots import LoadedSnapshot
from tests.datasets import (
    CUSTOMERS,
    SKUS,
    UNITS,
    ZONES,
    Rows,
    as_frames,
    aside,
    random_questions,
    random_rows,
)
from tests.written import accepted

VERSION = "20180101T000000Z-0123abcd"
BRANCHES = ("north", "south", "west")
OTHERS, KITS = ("D", "E"), ("KIT", "SET")
"""Items beside those of `SKUS`, where there are kits."""
ORDINARY = 0.95
"""The share of worlds whose breaks are compiled: what the others leave is answered by the general path."""
DAYS = ("2018-11-02", "2018-11-05", "2018-11-20", "2019-04-02", "2020-02-28", "2020-03-05")


def stocked(rng: Random, rows: Rows) -> Rows:
    """The rows with branches and stock: any figure may be missing."""

    def some(share: float) -> list[tuple[str, str]]:
        return [(sku, branch) for sku in SKUS for branch in BRANCHES if rng.random() < share]

    rows["branches"] = [
        {"branch": name, "time_zone": rng.choice([*ZONES, ""]), "cutoff": rng.choice(["", "", "14:30"])}
        for name in BRANCHES
    ]
    rows["feeds"] = [
        {"branch": branch, "source": source, "as_of": f"{rng.choice(DAYS)}T06:00:00Z",
         "complete": rng.choice(["true", "true", "false"])}
        for branch in BRANCHES for source in ("erp", "wms", "transit") if rng.random() < 0.8
    ]  # fmt: skip
    rows["stock"] = [
        {"sku": sku, "branch": branch, "on_hand": str(rng.choice([-3, 0, 5, 40, 100])),
         "as_of": f"{rng.choice(DAYS)}T06:00:00Z"}
        for sku, branch in some(0.8)
    ]  # fmt: skip
    for table, day, share in (("receipts", "expected_at", 0.5), ("demands", "due_at", 0.4)):
        rows[table] = [
            {"sku": sku, "branch": branch, "quantity": str(rng.randint(1, 60)), day: rng.choice(DAYS)}
            for sku, branch in some(share)
        ]
    for item in rows["items"]:
        item["order_multiple"] = rng.choice(["", "", "", "6", "0.5"])
    if rng.random() < 0.5:
        rows["items"] += [{"sku": sku, "base_uom": "EA"} for sku in (*OTHERS, *KITS)]
        rows["stock"] += [
            {"sku": sku, "branch": branch, "on_hand": str(rng.choice([0, 7, 90])), "as_of": f"{DAYS[0]}T06:00:00Z"}
            for sku in OTHERS for branch in BRANCHES
        ]  # fmt: skip
        rows["kits"] = [
            {"kit_sku": "KIT", "component_sku": "A", "quantity": "2"},
            {"kit_sku": "SET", "component_sku": rng.choice("AB"), "quantity": "0.3"},
            {"kit_sku": "SET", "component_sku": "D", "quantity": "1.5"},
        ]
    return rows


def _with_ordinary_breaks(rows: Rows) -> Rows:
    """The rows without what kernels leave to the reference (P19)."""
    special = {"break_mode", "break_on", "break_group"}
    return {
        table: [{name: value for name, value in row.items() if name not in special} for row in records]
        for table, records in rows.items()
    }


def random_snapshot(seed: int, without: tuple[str, str] | None = None) -> tuple[LoadedSnapshot, str]:
    """A loaded dataset, but for one (table, column), and its time zone."""
    rng = Random(seed)
    terms = aside(rng)
    zone, rows = rng.choice(ZONES), random_rows(rng)
    if terms.random() < ORDINARY:
        rows = _with_ordinary_breaks(rows)
    if rng.random() < 0.8:
        rows = stocked(rng, rows)
    if without:
        table, column = without
        rows[table] = [{**row, column: ""} for row in rows.get(table, ())]
    arrays = {
        name: np.asarray(array)
        for name, array in compile_dataset(accepted(as_frames(rows), zone).frames, zone).items()
    }
    policy = ExceptionPolicy(
        extended_price_above_micros={"EUR": rng.choice([1_000_000, 10**12])},
        grace_us=rng.choice([0, 86_400_000_000]),
        flagged_customers=frozenset(rng.sample([*CUSTOMERS, "nobody"], rng.randint(0, 1))),
        flagged_skus=frozenset(rng.sample([*SKUS, "nothing"], rng.randint(0, 1))),
    )
    prices = PriceEngine(arrays, policy=policy)
    availability = AvailabilityEngine(arrays) if "branches" in rows else None
    made_us = day_start_us(date(2018, 1, 1), ZoneInfo("UTC"))
    fast_path = FastPath(VERSION, made_us, prices, availability)
    branch_of = CustomerBranches(arrays)
    return LoadedSnapshot(VERSION, made_us, prices, zone, availability, branch_of, fast_path), zone


def padded(rng: Random, name: str) -> str:
    """A name, now and then with blanks around it, which are trimmed."""
    return rng.choice(["", " ", "\t "]) + name + rng.choice(["", " "]) if rng.random() < 0.01 else name


def random_flags(rng: Random) -> FlagSet:
    """What operators flagged: mostly nothing."""
    names = [("customer", name) for name in (*CUSTOMERS, "nobody")] + [
        ("sku", name) for name in (*SKUS, "nothing")
    ]
    chosen = rng.sample(names, rng.randint(1, 3)) if rng.random() < 0.3 else []
    return FlagSet(
        tuple(Flag(kind, name, 0, "", rng.choice([None, None, VERSION, "another"])) for kind, name in chosen)
    )


def random_request(rng: Random, zone: str, *, is_quote: bool) -> bytes:
    """A PriceLinesRequest or QuoteLinesRequest, a bad one now and then; often an item twice, or kits that share one."""
    dates = aside(rng)
    questions = random_questions(rng, zone, rng.choice([1, 1, 1, 2, 3, 5]))
    first = questions[0]
    request = v1.QuoteLinesRequest() if is_quote else v1.PriceLinesRequest()
    request.customer_id = padded(rng, first.customer_id if rng.random() < 0.97 else "nobody")
    request.currency = padded(rng, first.currency if first.currency or first.customer_id else "EUR")
    for question in questions:
        sku = question.sku
        if rng.random() < 0.5:
            sku = rng.choice([sku] * 8 + [*OTHERS, *KITS] * 2 + ["", "Ä"])
        uom = rng.choice([question.uom, question.uom, "", rng.choice(UNITS)])
        line = request.lines.add(
            sku=padded(rng, sku), quantity_micros=question.quantity_micros, uom=padded(rng, uom)
        )
        if dates.random() < 0.1:
            line.as_of_time.FromMicroseconds(question.as_of_us)
        elif dates.random() < 0.05:
            line.as_of_date = dates.choice(DAYS)
    if rng.random() < 0.7:
        request.as_of_time.FromMicroseconds(question.as_of_us)
    named = [
        padded(rng, name)
        for name in rng.sample([*BRANCHES, *BRANCHES, "nowhere"], rng.choice([0, 1, 1, 2, 3]))
    ]
    if is_quote:
        request.branches.extend(named)
    elif named:
        request.branch = named[0]
    request.snapshot_version = rng.choice(["", "", VERSION])
    raw: bytes = request.SerializeToString()
    return raw

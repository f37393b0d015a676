"""A small snapshot in which no array is empty, ways to damage an array, and what a server says of the result.

A damaged array gets the right hash: what is asked is whether a snapshot that is whole, and wrong, is refused or does no
harm. Cases run in forked children, so that a crash or a hang is one case's and not the test's.
"""

import hashlib
import json
import os
import select
import shutil
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import polars as pl

from pricegrid import v1
from pricegrid.loaders.delta import DeltaBase
from pricegrid.loaders.errors import SnapshotError
from pricegrid.loaders.publish import compile_dataset
from pricegrid.loaders.store.snapshot import _checksum, _content_hash, write_snapshot
from pricegrid.pricing_engine.engine import PriceAnswers, PriceAsk, PriceEngine
from pricegrid.pricing_engine.kernels import price as kn
from pricegrid.pricing_engine.model import ExceptionPolicy
from pricegrid.service.errors import refusal
from pricegrid.service.process.bootstrap import open_snapshot_engines
from pricegrid.service.process.snapshots import SnapshotHolder
from pricegrid.service.process.warm_up import warm
from pricegrid.service.rpc.call import Caller
from pricegrid.service.rpc.services import services
from tests.atp_world import NOON, us
from tests.datasets import Rows, as_frames
from tests.served_worlds import shop
from tests.stores import SKUS
from tests.written import accepted

Array = np.ndarray[Any, Any]
MICROS = 1_000_000
NOW_US = us(NOON)
HANG_S = 60.0
KINDS = (
    *("zeros", "ones", "max", "min", "random", "off by one", "shuffled", "swapped"),
    *("truncated", "emptied", "doubled", "one short"),
)


def rich_rows() -> Rows:
    """The shop with something in every table."""
    rows = shop(1)
    rows["product_groups"] = [
        {"product_group": "tools"},
        {"product_group": "drills", "parent": "tools"},
        {"product_group": "wood", "parent": "drills"},
    ]
    for item, group in zip(rows["items"], ("tools", "drills", "wood", "", "wood") * 9, strict=False):
        item["product_group"] = group
    rows["items"][3]["order_multiple"] = "5"
    rows["items"][5]["break_group"] = "pallet"
    rows["product_groups"][1]["break_group"] = "truck"
    rows["items"].append(
        {"sku": "S" * 40, "base_uom": "EA", "product_group": "drills"}
    )  # too long for its row
    rows["uoms"].append({"sku": "S4", "uom": "BOX", "numerator": "6", "denominator": "1"})
    rows["customers"] += [
        {"customer_id": "C3", "currency": "EUR", "parent_id": "C1", "price_class": "gold", "branch": "RTM"},
        {"customer_id": "C4", "currency": "EUR", "parent_id": "C3"},
    ]
    rows["customer_classes"] = [
        {"customer_id": "C1", "price_class": "gold", "priority": "1"},
        {"customer_id": "C1", "price_class": "trade"},
        {"customer_id": "C3", "price_class": "trade", "priority": "2"},
    ]
    rows["layers"].append({"layer": "promo", "rank": "0", "mode": "lowest", "ladder": "merge"})
    promos = [f"P{number}" for number in range(6)]
    rows["price_books"] += [{"book_id": book, "layer": "promo", "currency": "EUR"} for book in promos]
    rows["price_books"].append(
        {
            "book_id": "GOLD",
            "layer": "list",
            "currency": "EUR",
            "break_group": "gold",
            "break_mode": "graduated",
        }
    )
    rows["agreements"] += [{"book_id": book, "everyone": "true"} for book in promos]
    rows["agreements"] += [
        {"book_id": "GOLD", "price_class": "gold", "priority": "3", "valid_to": "2026-09-30"},
        {"book_id": "C1", "customer_id": "C3", "inherit": "false", "valid_from": "2026-01-01"},
    ]
    rows["price_entries"] += [
        {"book_id": book, "sku": SKUS[10 + at], "method": "net", "value": str(5 + at)}
        for at, book in enumerate(promos)
    ]
    rows["price_entries"] += [
        {"book_id": "P1", "sku": "S11", "method": "net", "value": "4", "min_quantity": "10"},
        {"book_id": "P2", "product_group": "wood", "method": "discount_pct", "value": "5", "basis": "LIST"},
        {"book_id": "GOLD", "product_group": "tools", "method": "net", "value": "77"},
        {"book_id": "GOLD", "method": "discount_pct", "value": "3", "basis": "LIST", "price_class": "gold"},
        {"book_id": "GOLD", "sku": "S6", "method": "net", "value": "6.5", "price_class": "gold"},
        {"book_id": "GOLD", "sku": "S6", "method": "net", "value": "6", "valid_from": "2026-05-01"},
        {"book_id": "GOLD", "sku": "S6", "method": "net", "value": "70", "uom": "EA", "min_quantity": "2"},
        {"book_id": "GOLD", "sku": "S6", "method": "net", "value": "60", "branch": "HAM", "price_per": "10"},
    ]
    rows["entitlements"] += [
        {"price_class": "gold", "product_group": "wood", "allowed": "false"},
        {"price_class": "gold", "sku": "S4", "allowed": "true"},
    ]
    rows["costs"].append({"sku": "S8", "cost": "6.5", "currency": "EUR", "branch": "HAM"})
    rows["calendars"] = [
        {"calendar": "DE", "weekday": "sunday", "working": "false"},
        {"calendar": "DE", "date": "2026-03-04", "working": "false"},
    ]
    rows["branches"][0] |= {"calendar": "DE", "cutoff": "15:00", "outbound_handling_days": "1"}
    rows["branches"][1]["time_zone"] = "Europe/Amsterdam"
    rows["receipts"] += [
        {
            "sku": sku,
            "branch": branch,
            "quantity": "7",
            "expected_at": f"2026-03-{day:02}",
            "confidence": "0.9",
        }
        for sku, branch, day in (("S4", "HAM", 9), ("S7", "RTM", 5), ("S8", "HAM", 1), ("S8", "HAM", 20))
    ]
    rows["demands"] = [
        {"sku": sku, "branch": branch, "quantity": "2", "due_at": f"2026-03-{day:02}", "order_ref": f"O{day}"}
        for sku, branch, day in (("S4", "HAM", 8), ("S4", "HAM", 12), ("S8", "HAM", 3), ("S9", "RTM", 30))
    ]
    rows["allocations"] = [
        {"sku": "S4", "branch": "HAM", "allocated": "1", "as_of": "2026-03-02T06:00:00Z", "order_ref": "O8"},
        {"sku": "S9", "branch": "RTM", "allocated": "3", "as_of": "2026-03-02T06:00:00Z"},
    ]
    rows["safety_stock"] = [{"sku": "S8", "branch": "HAM", "quantity": "2"}]
    return rows


def rich_arrays() -> dict[str, Array]:
    """The arrays of `rich_rows`, with a delta over them."""
    dataset = accepted(as_frames(rich_rows()))
    arrays = dict(compile_dataset(dataset.frames, "UTC"))
    entries = dataset.frames["price_entries"]
    book, sku = pl.col("book_id"), pl.col("sku")
    changed = entries.filter(
        (book == "LIST") & sku.is_in(["S0", "S5", "S12"]) | (book == "C1") & (sku == "S7")
    )
    deleted = entries.filter((book == "LIST") & sku.is_in(["S6"]) & pl.col("uom").is_null())
    delta = pl.concat(
        [
            changed.with_columns(
                value_micros=pl.col("value_micros") + 10_000,
                entry_id=pl.lit("changed"),
                deleted=pl.lit(value=False),
            ),
            deleted.with_columns(deleted=pl.lit(value=True)),
        ]
    )
    return {**arrays, **DeltaBase(arrays).apply(delta).arrays}


# -- damage -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Case:
    """One way to damage one array: of its elements, all, one in a hundred, or a single one."""

    array: str
    kind: str
    spread: str
    seed: int


def cases(arrays: Iterable[str], count: int, seed: int) -> list[Case]:
    """So many cases; of every array about as many, of every kind and spread."""
    rng, names = Random(seed), sorted(arrays)
    return [
        Case(
            names[at % len(names)],
            rng.choice(KINDS),
            rng.choice(("all", "some", "one", "one")),
            rng.getrandbits(32),
        )
        for at in range(count)
    ]


def damaged(array: Array, case: Case) -> Array:
    """A damaged copy of an array; it may be the same again."""
    rng = np.random.default_rng(case.seed)
    rows = len(array)
    match case.kind:
        case "truncated":
            return array[: int(rng.integers(0, rows + 1))].copy()
        case "emptied":
            return array[:0].copy()
        case "doubled":
            return np.concatenate([array, array])
        case "one short":
            return array[: max(0, rows - 1)].copy()
        case "shuffled":
            return rng.permutation(array, axis=0)
    whole = array.copy()
    flat = whole.reshape(-1)
    if flat.size == 0:
        return whole
    share = {"all": flat.size, "some": max(1, flat.size // 100), "one": 1}[case.spread]
    at = rng.choice(flat.size, share, replace=False)
    flat[at] = _words(flat, at, case.kind, rng)
    return whole


def _words(flat: Array, at: Array, kind: str, rng: np.random.Generator) -> Array:
    if flat.dtype == np.bool_:
        # a byte that is neither 0 nor 1 is what a file can hold and an array of bools can't be given
        return np.frombuffer(rng.integers(0, 256, len(at), dtype=np.uint8).tobytes(), dtype=np.bool_)
    limits, words = np.iinfo(flat.dtype), flat[at]
    match kind:
        case "zeros":
            return np.zeros_like(words)
        case "ones":
            return np.ones_like(words)
        case "max":
            return np.full_like(words, limits.max)
        case "min":
            return np.full_like(words, limits.min)
        case "off by one":
            with np.errstate(over="ignore"):
                return (words + rng.choice(np.array([1, -1]), len(words)).astype(flat.dtype)).astype(
                    flat.dtype
                )
        case "swapped":
            return flat[rng.choice(flat.size, len(at))]
    bits = int(rng.integers(1, 8 * flat.dtype.itemsize + 1))
    drawn = rng.integers(0, 2**64, len(at), dtype=np.uint64, endpoint=False) >> np.uint64(64 - bits)
    return drawn.astype(flat.dtype)


class DamagedStore:
    """A store of one snapshot, of which any one array can be replaced, with hashes that fit."""

    def __init__(self, path: Path, arrays: dict[str, Array]) -> None:
        self.arrays, self._path = arrays, path
        whole = path / "whole"
        version = write_snapshot(whole, arrays, {"time_zone": "UTC"}, created_at=NOON)
        self._folder = whole / "snapshots" / version
        self._version = version
        self._manifest = json.loads((self._folder / "manifest.json").read_text())
        (whole / "current").write_text(version + "\n")
        self.whole = whole

    def make(self, name: str, array: Array) -> Path:
        """A store whose snapshot has this array in place of its own."""
        store = self._path / f"case-{os.getpid()}"
        shutil.rmtree(store, ignore_errors=True)
        folder = store / "snapshots" / "made"
        folder.mkdir(parents=True)
        for file in self._folder.iterdir():
            if file.name not in {"manifest.json", f"{name}.npy"}:
                (folder / file.name).hardlink_to(file)
        np.save(folder / f"{name}.npy", array)
        data = (folder / f"{name}.npy").read_bytes()
        manifest = dict(self._manifest)
        entry = {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}
        manifest["files"] = {**manifest["files"], f"{name}.npy": entry}
        manifest["content_sha256"] = _content_hash(manifest["files"])
        manifest.pop("checksum")
        manifest["checksum"] = _checksum(manifest)
        (folder / "manifest.json").write_text(json.dumps(manifest))
        version = self._version[:17] + manifest["content_sha256"][:8]
        folder.rename(store / "snapshots" / version)
        (store / "current").write_text(version + "\n")
        return store


# -- what is asked ----------------------------------------------------------------------------------------------------


def questions(seed: int = 1) -> list[tuple[str, str, bytes, Any]]:
    """About a hundred requests of every kind that reads a snapshot."""
    rng, asked = Random(seed), []
    skus, units = (
        [*SKUS, "E1", "N1", "X1", "KIT", "BOLT", "OLD", "S" * 40, "nothing"],
        ["", "", "EA", "BOX", "THIRD"],
    )
    customers, branches = ["C1", "C2", "C3", "C4"], ["HAM", "RTM"]

    def lines(request: Any, count: int, *, once: bool, units: Sequence[str] = units) -> None:
        for sku in rng.sample(skus, count) if once else rng.choices(skus, k=count):
            quantity = rng.choice([1, 2, 5, 10, 100, 250]) * MICROS
            request.lines.add(sku=sku, quantity_micros=quantity, uom=rng.choice(units))

    for at in range(30):
        quote = v1.QuoteLinesRequest(customer_id=rng.choice(customers), branches=branches[: 1 + at % 2])
        lines(quote, 8, once=at % 3 != 0)
        asked.append((v1.QUOTE_SERVICE, "QuoteLines", quote.SerializeToString(), v1.QuoteLinesResponse))
    for at in range(30):
        who = {"customer_id": rng.choice([*customers, ""]), "currency": rng.choice(["EUR", "JPY"])}
        prices = v1.PriceLinesRequest(**who)
        lines(prices, 8, once=False)
        raw = prices.SerializeToString() + (b"\xf8\x7f\x01" if at % 3 == 0 else b"")  # the general path
        asked.append((v1.PRICING_SERVICE, "PriceLines", raw, v1.PriceLinesResponse))
    for sku in (*rng.sample(skus, 12), "S7", "S8", "S6"):
        why = v1.ExplainPriceRequest(customer_id=rng.choice(customers))
        why.line.sku, why.line.quantity_micros = sku, 10 * MICROS
        asked.append((v1.PRICING_SERVICE, "ExplainPrice", why.SerializeToString(), v1.ExplainPriceResponse))
    for at in range(14):
        free = v1.CheckAvailabilityRequest(projected=at % 2 == 0, explain=at % 4 == 1, branches=branches)
        lines(free, 4, once=True, units=["", "", "", "", "BOX"])
        asked.append(
            (
                v1.AVAILABILITY_SERVICE,
                "CheckAvailability",
                free.SerializeToString(),
                v1.CheckAvailabilityResponse,
            )
        )
    for at in range(14):
        order = v1.PromiseOrderRequest(ship_to="NORTH" if at % 2 else "")
        lines(order, 4, once=True, units=["", "", "", "", "BOX"])
        asked.append(
            (v1.AVAILABILITY_SERVICE, "PromiseOrder", order.SerializeToString(), v1.PromiseOrderResponse)
        )
    return asked


def answers(store: Path) -> list[str]:
    """Opens a store as a server does and asks everything: for each request a digest of the answer or a refusal.

    Raises SnapshotError where the snapshot is refused.
    """
    loaded, _ = open_snapshot_engines(store, None, ExceptionPolicy(), verify=True)
    if _IS_CHECKED:
        loaded = replace(loaded, fast_path=None)
    else:
        warm(loaded)
    offered = services(SnapshotHolder(loaded, lambda _: loaded), lambda: NOW_US)
    said = []
    for service, method, raw, response in questions():
        try:
            answer = response.FromString(offered[service][method](raw, Caller("c")).raw)
        except Exception as error:  # noqa: BLE001 - what it is, is what is asked
            said.append(f"{refusal(error).reason}: {type(error).__name__} {error}"[:200])
            continue
        answer.snapshot_version = ""
        if getattr(answer, "explanation_json", ""):
            answer.explanation_json = json.dumps(
                {**json.loads(answer.explanation_json), "snapshot_version": ""}
            )
        said.append(hashlib.sha256(answer.SerializeToString(deterministic=True)).hexdigest())
    return said


# -- children ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a case: refused, same, changed, internal, or the child's end: crash, hang."""

    case: Case
    word: str
    detail: str = ""


def _judge(store: DamagedStore, case: Case, good: Sequence[str]) -> tuple[str, str]:
    array = damaged(store.arrays[case.array], case)
    try:
        said = answers(store.make(case.array, array))
    except SnapshotError as error:
        return "refused", str(error)[-160:]
    except Exception as error:  # noqa: BLE001 - anything else at opening is a fault
        return "internal", f"at opening: {type(error).__name__} {error}"[:300]
    faults = [each for each in said if each.startswith("INTERNAL_ERROR")]
    if faults:
        return "internal", faults[0]
    return ("same", "") if said == list(good) else ("changed", "")


def run(store: DamagedStore, asked: Sequence[Case], good: Sequence[str]) -> Iterator[Verdict]:
    """Judges the cases in forked children: a new one after each crash or hang."""
    at = 0
    while at < len(asked):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            for case in asked[at:]:
                os.write(writer, (json.dumps(_judge(store, case, good)) + "\n").encode())
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb", buffering=0) as pipe:
            left = b""
            while select.select([pipe], [], [], HANG_S)[0]:
                chunk = pipe.read(1 << 16)
                if not chunk:
                    break
                *lines, left = (left + chunk).split(b"\n")
                for line in lines:
                    yield Verdict(asked[at], *json.loads(line))
                    at += 1
            else:
                os.kill(child, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if at < len(asked):
            yield Verdict(asked[at], "hang" if status == -signal.SIGKILL else f"crash {status}")
            at += 1


def check_bounds() -> None:
    """From now on prices come from the kernel over arrays, whose bounds numba checks if it was told to. The fast path,
    which works over tables whose bounds it can't check, is not taken."""
    unchecked = PriceEngine.price

    def price(engine: PriceEngine, ask: PriceAsk, *more: Callable[[], None]) -> PriceAnswers:
        kn.price_batch = lambda _, *rest: kn.price_batch_checked(engine._matrix, *rest)
        return unchecked(engine, ask, *more)

    PriceEngine.price = price
    _IS_CHECKED.append(True)


_IS_CHECKED: list[bool] = []

"""Availability worlds for tests: plain rows for the reference, the same rows as frames and arrays for the engine."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime

import numpy as np
import polars as pl

from pricegrid.atp.arrays.pair_rows import image_of, pair_rows_of
from pricegrid.atp.engine import AvailabilityEngine
from pricegrid.atp.live.positions import LiveWriter
from pricegrid.atp.model import (
    MICROS,
    AvailabilityStatus,
    CheckAnswers,
    CheckAsk,
    Freshness,
    LinePromise,
    PairAvailability,
    PromiseAsk,
    PromisedPart,
    Source,
    Step,
)
from pricegrid.atp.rules.promising import OrderLine, Request, promise
from pricegrid.atp.rules.reference import Moment, allocations_of, check_pair, demands_of
from pricegrid.atp.rules.rows import Branch, Feed, Item, Pair, Rows, Stock
from pricegrid.columnar.instants import day_date, day_number
from pricegrid.loaders.compile.positions import compile_positions
from tests.written import READ_COLUMNS, check_declared

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)  # a Monday
TODAY = day_number(NOON.date())


def us(instant: datetime) -> int:
    """Microseconds since the epoch."""
    whole = int(instant.replace(microsecond=0).timestamp())
    return whole * MICROS + instant.microsecond


def at(day: int, hour: int = 12, minute: int = 0) -> int:
    """Instant of a UTC wall time `day` days after the Monday every example starts from."""
    return us(datetime(2026, 3, 2, hour, minute, tzinfo=UTC)) + day * 86_400 * MICROS


def on(day: int) -> date:
    """The date `day` days after that Monday."""
    return day_date(TODAY + day)


def q(units: float | str) -> int:
    """Micros of a decimal text or a whole number."""
    whole, _, rest = str(units).partition(".")
    micros = int(whole) * MICROS
    return micros + (-1 if whole.startswith("-") else 1) * int((rest + "000000")[:6])


def world(*skus: str, branches: Sequence[str] = ("MAIN",), **on_hand: int) -> Rows:
    """Items with stock at branches: `X=10` is ten of X at every branch, known now."""
    rows = Rows()
    for sku in (*skus, *on_hand):
        rows.items[sku] = Item(sku, "EA")
    for branch in branches:
        rows.branches[branch] = Branch(branch)
        for sku, units in on_hand.items():
            rows.stock[sku, branch] = Stock(units * MICROS, at(0))
    return rows


def frames_of(rows: Rows) -> dict[str, pl.DataFrame]:
    """The normalised frames that validation would hand over for these rows."""
    pairs = {
        "stock": [
            (*pair, s.on_hand_micros, s.as_of_us, s.unavailable_micros) for pair, s in rows.stock.items()
        ],
        "safety_stock": [(*pair, micros) for pair, micros in rows.safety_stock.items()],
        "allocations": [
            (*pair, a.allocated_micros, a.as_of_us, a.order_ref, a.order_line, a.shipped_micros)
            for pair, many in rows.allocations.items()
            for a in many
        ],
        "receipts": [
            (
                *pair,
                *(r.quantity_micros, r.expected_at_us, r.kind, r.confidence_micros),
                *(r.reference, r.line, r.supersedes),
            )
            for pair, many in rows.receipts.items()
            for r in many
        ],
        "demands": [
            (*pair, d.quantity_micros, d.due_at_us, d.order_ref, d.order_line)
            for pair, many in rows.demands.items()
            for d in many
        ],
    }
    columns = {
        "stock": "on_hand_micros as_of_us unavailable_micros",
        "safety_stock": "quantity_micros",
        "allocations": "allocated_micros as_of_us order_ref order_line shipped_micros",
        "receipts": "quantity_micros expected_at_us kind confidence_micros reference line supersedes",
        "demands": "quantity_micros due_at_us order_ref order_line",
    }
    frames = {table: _table(f"sku branch {columns[table]}", pairs[table]) for table in pairs}
    items = [(i.sku, i.base_uom, i.order_multiple_micros, i.superseded_by) for i in rows.items.values()]
    frames["items"] = _table("sku base_uom order_multiple_micros superseded_by", items)
    uoms = [(*key, factor.numerator, factor.denominator) for key, factor in rows.uoms.items()]
    frames["uoms"] = _table("sku uom numerator denominator", uoms)
    branches = [
        (b.branch, b.time_zone, b.cutoff_s, b.inbound_handling_days, b.outbound_handling_days, b.calendar)
        for b in rows.branches.values()
    ]
    names = "branch time_zone cutoff_s inbound_handling_days outbound_handling_days calendar"
    frames["branches"] = _table(names, branches)
    calendars = [
        (name, day_date(day), None, works)
        for name, c in rows.calendars.items()
        for day, works in c.dates.items()
    ] + [
        (name, None, day + 1, works)
        for name, c in rows.calendars.items()
        for day, works in c.weekdays.items()
    ]
    frames["calendars"] = _table("calendar date weekday working", calendars)
    lanes = [(lane.from_branch, None, lane.to, lane.transit_days, lane.rank) for lane in rows.lanes]
    frames["lanes"] = _table("from_branch to_branch ship_zone transit_days rank", lanes)
    feeds = [
        (branch, source.name.lower(), f.as_of_us, f.complete, f.stale_after_min)
        for (branch, source), f in rows.feeds.items()
    ]
    frames["feeds"] = _table("branch source as_of_us complete stale_after_min", feeds)
    kits = [(kit, part, int(need * MICROS)) for kit, parts in rows.kits.items() for part, need in parts]
    frames["kits"] = _table("kit_sku component_sku quantity_micros", kits)
    check_declared({name: frame.columns for name, frame in frames.items()}, READ_COLUMNS)
    return frames


def _table(columns: str, rows: Sequence[tuple[object, ...]]) -> pl.DataFrame:
    names = columns.split()
    values = {name: [row[place] for row in rows] for place, name in enumerate(names)}
    return pl.DataFrame({name: pl.Series(column, strict=False) for name, column in values.items()})


def engine_of(rows: Rows) -> AvailabilityEngine:
    """The compiled engine over the same rows."""
    engine = AvailabilityEngine(compile_positions(frames_of(rows)))
    if rows.reservations:
        follow_live(engine, rows, rows.reservations)
    return engine


def follow_live(engine: AvailabilityEngine, rows: Rows, pairs: Iterable[Pair]) -> LiveWriter:
    """Let the engine see these pairs live, as the rows have them."""
    writer = LiveWriter.in_memory()
    for pair in pairs:
        if pair[0] in rows.kits:
            continue  # a kit has no stock of its own: its components are live, never the kit
        item, branch = engine.ordinals(*pair)
        of_kits = replace(
            pair_rows_of(rows, pair),
            allocations=tuple(allocations_of(rows, *pair)),
            demands=tuple(demands_of(rows, *pair)),
        )
        writer.put(item, branch, image_of(of_kits, pair, rows.branches[pair[1]].time_zone))
    engine.positions.attach(writer.readable())
    return writer


# ---- one question, asked of both


def pair_answers(engine: AvailabilityEngine, answers: CheckAnswers) -> list[PairAvailability]:
    """The engine's dense answers in the reference's form."""
    found = []
    for r in range(len(answers.status)):
        status = AvailabilityStatus(answers.status[r])
        ok = status is AvailabilityStatus.OK
        steps: tuple[Step, ...] = ()
        if answers.projected is not None:
            p = answers.projected
            steps = tuple(
                Step(int(p.day[k]), int(p.atp_micros[k]), int(p.balance_micros[k]))
                for k in range(p.start[r], p.start[r + 1])
            )
        found.append(
            PairAvailability(
                status,
                int(answers.atp_micros[r]) if ok else None,
                int(answers.available_micros[r]) if ok else None,
                int(answers.shortage_micros[r]) if ok else None,
                int(answers.dropped_receipts[r]),
                tuple(Freshness(f) for f in answers.freshness[r]),
                tuple(int(t) for t in answers.source_as_of_us[r]),
                steps,
            )
        )
    return found


def reference_check(rows: Rows, ask: CheckAsk) -> list[PairAvailability]:
    """The reference's answers to the engine's question, in the engine's order."""
    moment = Moment(ask.as_of_us, ask.supply, ask.exclude_reservation)
    hidden = {sku.decode(): ask.service_desk for sku in ask.hidden_skus}
    branches = [b.decode() for b in ask.branches] or sorted(rows.branches)
    lines = zip(ask.skus, ask.quantities_micros.tolist(), ask.uoms, strict=True)
    return [
        check_pair(rows, sku.decode(), quantity, uom.decode(), branch, moment, hidden)
        for sku, quantity, uom in lines
        for branch in branches
    ]


def line_promises(engine: AvailabilityEngine, ask: PromiseAsk) -> list[LinePromise]:
    """The engine's promises in the reference's form."""
    a = engine.promise(ask)
    return [
        LinePromise(
            AvailabilityStatus(a.status[i]),
            int(a.requested_micros[i]),
            int(a.shortage_micros[i]),
            tuple(
                PromisedPart(
                    engine.sku(int(a.part_item[k])),
                    engine.branch(int(a.part_branch[k])),
                    int(a.part_quantity_micros[k]),
                    int(a.pick_day[k]),
                    int(a.ship_day[k]),
                    int(a.arrival_day[k]),
                )
                for k in range(a.part_start[i], a.part_start[i + 1])
            ),
            int(a.dropped_receipts[i]),
            tuple(Freshness(f) for f in a.freshness[i]),
            tuple(int(t) for t in a.source_as_of_us[i]),
        )
        for i in range(len(a.status))
    ]


def reference_promise(rows: Rows, ask: PromiseAsk) -> list[LinePromise]:
    """The reference's promises for the engine's question."""
    request = Request(
        Moment(ask.as_of_us, ask.supply, ask.exclude_reservation),
        ask.policy,
        [b.decode() for b in ask.branches],
        ask.ship_to.decode(),
        {sku.decode(): ask.service_desk for sku in ask.hidden_skus},
    )
    lines = zip(ask.skus, ask.quantities_micros.tolist(), ask.uoms, strict=True)
    return promise(rows, [OrderLine(s.decode(), n, u.decode()) for s, n, u in lines], request)


def line_columns(lines: Sequence[tuple[str, int, str]]) -> Mapping[str, object]:
    """The columns of an ask from (sku, micros, uom) lines."""
    return {
        "skus": [sku.encode() for sku, _, _ in lines],
        "quantities_micros": np.array([micros for _, micros, _ in lines], dtype=np.int64),
        "uoms": [uom.encode() for _, _, uom in lines],
    }


def check_both(rows: Rows, lines: Sequence[tuple[str, int, str]], **ask: object) -> list[PairAvailability]:
    """Ask both, insist that they agree, and give the answer."""
    question = CheckAsk(**{"as_of_us": at(0), "projected": True, **line_columns(lines), **ask})
    engine = engine_of(rows)
    found = pair_answers(engine, engine.check(question))
    assert found == reference_check(rows, question)
    return found


def promise_both(rows: Rows, lines: Sequence[tuple[str, int, str]], **ask: object) -> list[LinePromise]:
    """Ask both, insist that they agree, and give the answer."""
    question = PromiseAsk(**{"as_of_us": at(0), **line_columns(lines), **ask})
    found = line_promises(engine_of(rows), question)
    assert found == reference_promise(rows, question)
    return found


def shipments(found: LinePromise) -> list[tuple[str, int, int]]:
    """(branch, whole units, days from today until picked) of each part."""
    return [(part.branch, part.quantity_micros // MICROS, part.pick_day - TODAY) for part in found.parts]


def complete_feed(rows: Rows, branch: str, source: Source = Source.ERP, as_of_us: int | None = None) -> None:
    """A complete extract of a source for a branch."""
    rows.feeds[branch, source] = Feed(at(0) if as_of_us is None else as_of_us, complete=True)

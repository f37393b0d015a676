"""Runs a script against a product and the model side by side, and makes a script that shows a difference small."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from fractions import Fraction

from tests.model_availability import Model
from tests.model_steps import (
    START,
    Confirm,
    Extend,
    LoadAgain,
    Publish,
    Release,
    Reserve,
    Restart,
    Script,
    Step,
)
from tests.model_targets import Refused, Reserved, Target
from tests.model_world import HORIZON_DAYS, Hold, Pair

SOURCES = ("erp", "wms", "transit")
MADE_BEFORE = timedelta(hours=1)
"""How long before its first step a world was loaded."""

MakeTarget = Callable[[Script, datetime], Target]


@dataclass(frozen=True)
class Difference:
    """Where the product and the model part."""

    step: int
    kind: str
    product: object
    model: object

    def __str__(self) -> str:
        return f"step {self.step}, {self.kind}: the product says {self.product}, the design {self.model}"


class Run:
    """One script on one target; `difference` is the first one, None when there is none."""

    def __init__(self, script: Script, target: Target) -> None:
        self.script, self.target = script, target
        self.model = Model(script.tables, START - MADE_BEFORE)
        self.held: dict[str, tuple[Hold, str]] = {}  # by key: the model's, the product's name of it
        self.counted = 0

    def difference(self) -> Difference | None:
        for place, step in enumerate(self.script.steps):
            self.target.set_clock(step.at)
            for kind, product, model in (*self._do(step), *self._look(step.at)):
                self.counted += 1
                if product != model:
                    return Difference(place, kind, product, model)
        return None

    # ---- steps

    def _do(self, step: Step) -> list[tuple[str, object, object]]:
        now = step.at
        match step.does:
            case Publish(events):
                dead = sum(self.model.why_dead(event) is not None for event in events)
                repeats = self._repeats(events)
                self.model.publish(events)
                counts = self.target.publish(events)
                told = (counts.get("DEAD_LETTER", 0), counts.get("DUPLICATE", 0), sum(counts.values()))
                return [("dead letters, duplicates, events", told, (dead, repeats, len(events)))]
            case LoadAgain(tables):
                self.model.load(tables, now)
                self.target.load(tables)
            case Restart():
                self.target.restart()
            case Reserve():
                return self._reserve(step.does, now)
            case Confirm(key) | Release(key) | Extend(key):
                if key in self.held and not self._is_open(step.does, now):
                    return self._change(step.does, now)
        return []

    def _repeats(self, events: Sequence[object]) -> int:
        known, repeats = list(self.model.events), 0
        for event in events:
            repeats += event in known
            known.append(event)
        return repeats

    def _reserve(self, step: Reserve, now: datetime) -> list[tuple[str, object, object]]:
        named = {name: getattr(step.ask, name) for name in ("exclude", "replace")}
        if any(key and key not in self.held for key in named.values()):
            return []
        if any(key and self.model.status(self.held[key][0], now) not in {"HELD", "CONFIRMED"} for key in named.values()):
            return []
        ours = {name: str(self.held[key][0].number) if key else "" for name, key in named.items()}
        theirs = {name: self.held[key][1] if key else "" for name, key in named.items()}
        what, hold = self.model.reserve(replace(step.ask, **ours), now)
        granted = tuple(hold.granted) if hold else (Fraction(0),) * len(step.ask.lines)
        try:
            found: Reserved | str = self.target.reserve(step.ask, **theirs)
        except Refused as error:
            found = str(error)
        if hold and isinstance(found, Reserved) and found.name:
            self.held[step.ask.key] = hold, found.name
        expected = what if what not in {"OK", "NOTHING"} else granted
        return [("granted", found.granted if isinstance(found, Reserved) else found, expected)]

    def _change(self, step: Confirm | Release | Extend, now: datetime) -> list[tuple[str, object, object]]:
        hold, name = self.held[step.key]
        try:
            match step:
                case Confirm(_, order_ref, order_lines):
                    expected = self.model.confirm(hold, order_ref, order_lines, now)
                    self.target.confirm(name, order_ref, order_lines)
                case Release(_, parts):
                    expected = self.model.release(hold, parts, now)
                    self.target.release(name, parts)
                case Extend(_, ttl):
                    expected = self.model.extend(hold, ttl, now)
                    self.target.extend(name, ttl)
            found = "OK"
        except Refused as error:
            found = str(error)
        return [(type(step).__name__.lower(), found, expected)]

    def _is_open(self, step: Confirm | Release | Extend, now: datetime) -> bool:
        """The design does not say what this is answered; it isn't asked."""
        hold, _ = self.held[step.key]
        status = self.model.status(hold, now)
        match step:
            case Confirm() | Extend():
                return status == "CONSUMED"  # of which nothing is left to confirm: ended, or the same as before
            case Release(_, parts) if status in {"HELD", "CONFIRMED"}:
                for line, quantity in parts:
                    left = [
                        micros / hold.needs[line][sku] / hold.factors[line]
                        for place, sku, micros, _ in self.model.parts_left(hold, now)
                        if place == line
                    ]
                    held = hold.granted[line] - hold.given_back[line]
                    if min(left) < quantity <= held:
                        return True  # the warehouse has some of it already
        return False

    # ---- what everybody sees

    def _look(self, now: datetime) -> list[tuple[str, object, object]]:
        found: list[tuple[str, object, object]] = []
        seen = self.target.look(self.script.pairs)
        for pair in self.script.pairs:
            found.append((f"available of {pair}", seen[pair].available, self.model.available(pair, now)))
            if seen[pair].available is not None:
                found += self._days(pair, seen[pair].steps, now)
            if seen[pair].available is not None and not self.model.loaded.is_kit(pair[0]):
                found += self._gaps(pair, seen[pair].freshness)
        listed = {name: self.model.status(hold, now) for hold, name in self.held.values()}
        living = {name: status for name, status in listed.items() if status in {"HELD", "CONFIRMED"}}
        return [*found, ("reservations", dict(self.target.reservations()), living)]

    def _days(self, pair: Pair, steps: Sequence[tuple], now: datetime) -> list[tuple[str, object, object]]:
        """Each day to the horizon; the balance of kits is not defined."""
        today = self.model.loaded.day(pair[1], now)
        is_kit = self.model.loaded.is_kit(pair[0])
        atp, balances = self.model.atp(pair, now), [] if is_kit else self.model.balances(pair, now)
        found = []
        for distance in range(HORIZON_DAYS):
            day = today + timedelta(days=distance)
            _, told, balance = [step for step in steps if step[0] <= day][-1]
            found.append((f"ATP of {pair} in {distance} days", told, atp[distance]))
            if not is_kit:
                found.append((f"balance of {pair} in {distance} days", balance, balances[distance]))
        return found

    def _gaps(self, pair: Pair, freshness: Sequence[str]) -> list[tuple[str, object, object]]:
        """Missing events make a source STALE until they come or all was set again: told only where that is plain."""
        found = []
        for source, state in zip(SOURCES, freshness, strict=True):
            if state == "UNKNOWN":
                continue
            missing = self.model.missing(source, pair)
            after = [
                e
                for e in self.model.events
                if (e.source, e.sku, e.branch) == (source, *pair) and e.sequence > max(missing, default=0)
            ]
            feed = self.model.loaded.feed(pair[1], source)
            is_in_tables = feed is None or any(e.effective <= _as_of(feed) for e in after)
            if not missing and feed is not None:
                found.append((f"freshness of {source} for {pair}", state, "FRESH"))
            elif missing and not is_in_tables and all(e.kind == "delta" for e in after):
                found.append((f"freshness of {source} for {pair}", state, "STALE"))
        return found


def _as_of(feed) -> datetime:
    return datetime.fromisoformat(feed["as_of"])


def first_difference(script: Script, make: MakeTarget) -> Difference | None:
    """Of a script on a target made for it."""
    target = make(script, START - MADE_BEFORE)
    try:
        return Run(script, target).difference()
    finally:
        target.close()


def shrunk(script: Script, make: MakeTarget) -> tuple[Script, Difference]:
    """The script without all steps, events and rows that the same kind of difference does not need."""
    found = first_difference(script, make)
    assert found is not None

    def still(smaller: Script) -> Difference | None:
        try:
            there = first_difference(smaller, make)
        except AssertionError:
            return None
        return there if there is not None and _kind(there) == _kind(found) else None

    script = replace(script, steps=script.steps[: found.step + 1])
    is_smaller = True
    while is_smaller:
        is_smaller = False
        for smaller in _smaller(script):
            there = still(smaller)
            if there is not None:
                script, found, is_smaller = replace(smaller, steps=smaller.steps[: there.step + 1]), there, True
                break
    return script, found


def _kind(difference: Difference) -> str:
    return difference.kind.split()[0]


def _smaller(script: Script):
    """Scripts with something less, the largest pieces first."""
    for size in (16, 8, 4, 2, 1):
        for start in range(len(script.steps) - 1, -1, -size):
            yield replace(script, steps=[*script.steps[: max(0, start - size + 1)], *script.steps[start + 1 :]])
    for place, step in enumerate(script.steps):
        if isinstance(step.does, Publish) and len(step.does.events) > 1:
            for event in step.does.events:
                fewer = Publish(tuple(e for e in step.does.events if e is not event))
                yield _with_step(script, place, fewer)
        if isinstance(step.does, Reserve) and len(step.does.ask.lines) > 1:
            for line in range(len(step.does.ask.lines)):
                lines = tuple(e for at, e in enumerate(step.does.ask.lines) if at != line)
                yield _with_step(script, place, Reserve(replace(step.does.ask, lines=lines)))
        if isinstance(step.does, LoadAgain):
            for tables in _fewer_rows(step.does.tables):
                yield _with_step(script, place, LoadAgain(tables))
    for tables in _fewer_rows(script.tables):
        yield replace(script, tables=tables)


def _with_step(script: Script, place: int, does) -> Script:
    steps = list(script.steps)
    steps[place] = replace(steps[place], does=does)
    return replace(script, steps=steps)


def _fewer_rows(tables):
    for name in ("allocations", "demands", "receipts", "safety_stock", "stock"):
        for place in range(len(tables[name])):
            yield {**tables, name: [row for at, row in enumerate(tables[name]) if at != place]}

"""Runs a script against a product and the model side by side, and makes a script that shows a difference small."""

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
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
        return f"step {self.step}, {self.kind}: the product says {self.product}, the rules {self.model}"


class Run:
    """One script on one target; `difference` is the first one, None when there is none."""

    def __init__(self, script: Script, target: Target, *, looks_last: bool = False) -> None:
        self.script, self.target = script, target
        self.first_look = len(script.steps) - 1 if looks_last else 0
        self.model = Model(script.tables, START - MADE_BEFORE)
        self.held: dict[str, tuple[Hold, str]] = {}  # by key: the model's, the product's name of it
        self.counted = 0

    def difference(self) -> Difference | None:
        for place, step in enumerate(self.script.steps):
            self.target.set_clock(step.at)
            done = self._do(step)
            looks = self._look_until_not_late(step.at) if place >= self.first_look else ()
            for kind, product, model in (*done, *looks):
                self.counted += 1
                if product != model:
                    return Difference(place, kind, product, model)
        return None

    def _look_until_not_late(self, at: datetime) -> list[tuple[str, object, object]]:
        """A server whose writer gets no turn says STALE till it has one: that alone is no difference, while it ends."""
        give_up_s = time.monotonic() + getattr(self.target, "late_s", 0.0)
        while True:
            looks = self._look(at)
            differ = [(kind, product) for kind, product, model in looks if product != model]
            is_late = any(kind.startswith("freshness") and product == "STALE" for kind, product in differ)
            if not is_late or time.monotonic() > give_up_s:
                return looks
            time.sleep(0.02)

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
        if any(
            key and self.model.status(self.held[key][0], now) not in {"HELD", "CONFIRMED"}
            for key in named.values()
        ):
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
        """The rules do not say what this is answered; it isn't asked."""
        hold, _ = self.held[step.key]
        status = self.model.status(hold, now)
        match step:
            case Confirm(_, order_ref, _) if status in {"RELEASED", "EXPIRED"}:
                return hold.order_ref not in {"", order_ref}  # two reasons to refuse it
            case Confirm() | Extend():
                return (
                    status == "CONSUMED"
                )  # of which nothing is left to confirm: ended, or the same as before
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


def first_difference(script: Script, make: MakeTarget, *, looks_last: bool = False) -> Difference | None:
    """Of a script on a target made for it; `looks_last` asks what is free after the last step only."""
    target = make(script, START - MADE_BEFORE)
    try:
        return Run(script, target, looks_last=looks_last).difference()
    finally:
        target.close()


def shrunk(
    script: Script, make: MakeTarget, found: Difference, tries: int = 150
) -> tuple[Script, Difference]:
    """The script without the steps, events and rows that a difference of the same kind does not need."""
    script = replace(script, steps=script.steps[: found.step + 1])
    for smaller_of in (_fewer_steps, _fewer_parts):
        place = 0
        while True:
            smaller = smaller_of(script, place)
            if smaller is None or tries == 0:
                break
            tries -= 1
            there = first_difference(smaller, make, looks_last=True)
            if there is None or _kind(there) != _kind(found):
                place += 1
            else:
                script, found = replace(smaller, steps=smaller.steps[: there.step + 1]), there
    return script, found


def _kind(difference: Difference) -> str:
    return difference.kind.split()[0]


def _fewer_steps(script: Script, place: int) -> Script | None:
    """The script without some steps: halves, quarters, then each."""
    tried, size = 0, max(1, len(script.steps) // 2)
    while True:
        for start in range(0, len(script.steps), size):
            if tried == place:
                steps = [*script.steps[:start], *script.steps[start + size :]]
                return replace(script, steps=steps) if steps else None
            tried += 1
        if size == 1:
            return None
        size //= 2


def _fewer_parts(script: Script, place: int) -> Script | None:
    """The script without an event, a line or a row."""
    return next(itertools.islice(_without_a_part(script), place, None), None)


def _without_a_part(script: Script) -> Iterator[Script]:
    for place, step in enumerate(script.steps):
        if isinstance(step.does, Publish) and len(step.does.events) > 1:
            for at in range(len(step.does.events)):
                fewer = step.does.events[:at] + step.does.events[at + 1 :]
                yield _with_step(script, place, Publish(fewer))
        if isinstance(step.does, Reserve) and len(step.does.ask.lines) > 1:
            for at in range(len(step.does.ask.lines)):
                lines = step.does.ask.lines[:at] + step.does.ask.lines[at + 1 :]
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


def told(script: Script) -> str:
    """A script as a person reads it: rows and steps, without what is blank."""
    lines = [f"{name}: {_words(row)}" for name, rows in script.tables.items() for row in rows]
    for step in script.steps:
        does = step.does
        said = [str(does)]
        if isinstance(does, Publish):
            said = [f"event {_words(vars(event))}" for event in does.events]
        elif isinstance(does, Reserve):
            more = {name: value for name, value in vars(does.ask).items() if name != "lines"}
            said = [f"reserve {_words(more)}", *(f"  line {_words(vars(line))}" for line in does.ask.lines)]
        elif isinstance(does, LoadAgain):
            rows = [(name, row) for name, rows in does.tables.items() for row in rows if name not in _FIXED]
            said = ["load", *(f"  {name}: {_words(row)}" for name, row in rows)]
        lines += [f"{step.at:%d %H:%M:%S} {said[0]}", *(f"            {each}" for each in said[1:])]
    return "\n".join(lines)


_FIXED = ("items", "branches", "uoms", "kits", "feeds")


def _words(row) -> str:
    plain = {name: f"{v:%d %H:%M:%S}" if isinstance(v, datetime) else str(v) for name, v in row.items()}
    return " ".join(f"{name}={value}" for name, value in plain.items() if value not in {"", "None", "False"})

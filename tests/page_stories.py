"""Tells the stories of the availability page to live state and to the independent model, and hears what both answer.

A line is `HH:MM verb name=value ...`, the hour of 2026-03-02 in UTC. What is not named is `SUBJECT`.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path

from pricegrid.atp.model import MICROS
from pricegrid.columnar.decimals import decimal_text
from tests.model_run import Run
from tests.model_steps import (
    START,
    Confirm,
    Doing,
    Extend,
    LoadAgain,
    Publish,
    Release,
    Reserve,
    Restart,
    Script,
    Step,
    Wait,
)
from tests.model_targets import InProcess, Refused, Reserved, Seen
from tests.model_world import Ask, Asked, Pair, Tables, Told
from tests.page_examples import Example, Row

SUBJECT = {"sku": "PUMP", "branch": "HAM"}
TTL_MIN = 15
ASKED = ("available", "freshness", "reservations")


class Heard:
    """A target that notes what it answered at each step."""

    def __init__(self, target: InProcess) -> None:
        self._target = target
        self.answers: list[dict[str, object]] = []

    def set_clock(self, now: datetime) -> None:
        self.answers.append({})
        self._target.set_clock(now)

    def load(self, tables: Tables) -> None:
        self._target.load(tables)

    def restart(self) -> None:
        self._target.restart()

    def close(self) -> None:
        self._target.close()

    def publish(self, events: Sequence[Told]) -> Mapping[str, int]:
        counts = self._target.publish(events)
        self.answers[-1]["did"] = " ".join(name for name, count in counts.items() if count)
        return counts

    def reserve(self, ask: Ask, exclude: str, replace: str) -> Reserved:
        def call() -> Reserved:
            return self._target.reserve(ask, exclude, replace)

        return self._noted(call, lambda found: " ".join(map(_decimal, found.granted)))

    def confirm(self, name: str, order_ref: str, order_lines: Sequence[str]) -> None:
        self._noted(lambda: self._target.confirm(name, order_ref, order_lines))

    def release(self, name: str, parts: Sequence[tuple[int, Fraction]]) -> None:
        self._noted(lambda: self._target.release(name, parts))

    def extend(self, name: str, ttl: timedelta) -> None:
        self._noted(lambda: self._target.extend(name, ttl))

    def look(self, pairs: Sequence[Pair]) -> Mapping[Pair, Seen]:
        self.answers[-1]["seen"] = found = self._target.look(pairs)
        return found

    def reservations(self) -> Mapping[str, str]:
        self.answers[-1]["held"] = found = self._target.reservations()
        return found

    def _noted(self, call, told=lambda _: "OK"):
        try:
            found = call()
        except Refused as refused:
            self.answers[-1]["did"] = str(refused)
            raise
        self.answers[-1]["did"] = told(found)
        return found


def check_story(example: Example, folder: Path) -> None:
    """Tells every story of an example; live state, the model and the page must say the same at each step."""
    tables = {name: [_whole(name, row) for row in rows] for name, rows in example.tables.items()}
    for number, (_, lines) in enumerate(each for each in example.questions if each[0] == "story"):
        told = [_words(line.asked["told"]) for line in lines]
        steps = [Step(at, _doing(at, verb, given, tables)) for at, verb, given in told]
        pairs = sorted({_pair(given) for _, _, given in told})
        script = Script(tables, steps, pairs)
        directory = folder / str(number)
        directory.mkdir()
        heard = Heard(InProcess(directory, tables, START - timedelta(hours=1)))
        run = Run(script, heard)
        difference = run.difference()
        heard.close()
        assert difference is None, f"{example}: {difference}"
        names = {name: key for key, (_, name) in run.held.items()}
        for line, (_, verb, given), answers in zip(lines, told, heard.answers, strict=True):
            found = _found(verb, given, answers, names)
            assert found == (line.expected["answer"] or found), f"{line.asked['told']}: {found}"


def _whole(table: str, row: Row) -> Row:
    return {**row, "denominator": row.get("denominator") or "1"} if table == "uoms" else row


def _words(line: str) -> tuple[datetime, str, Row]:
    clock, verb, *words = line.split()
    hours, minutes = map(int, clock.split(":"))
    at = START.replace(hour=0) + timedelta(hours=hours, minutes=minutes)
    return at, verb, {**SUBJECT, **dict(word.split("=", 1) for word in words)}


def _pair(given: Row) -> Pair:
    return given["sku"], given["branch"]


def _doing(at: datetime, verb: str, given: Row, tables: Tables) -> Doing:
    ttl = timedelta(minutes=int(given.get("ttl_min", TTL_MIN)))
    match verb:
        case "reserve":
            line = Asked(
                *_pair(given),
                Fraction(given["quantity"]),
                given.get("uom", ""),
                order_line=given.get("order_line", ""),
            )
            return Reserve(
                Ask(
                    given["key"],
                    "",
                    (line,),
                    ttl,
                    allow_partial=given.get("partial") == "yes",
                    order_ref=given.get("order_ref", ""),
                    exclude=given.get("exclude", ""),
                    replace=given.get("replace", ""),
                )
            )
        case "confirm":
            lines = (given["order_line"],) if "order_line" in given else ()
            return Confirm(given["key"], given["order_ref"], lines)
        case "release":
            parts = ((0, Fraction(given["quantity"])),) if "quantity" in given else ()
            return Release(given["key"], parts)
        case "extend":
            return Extend(given["key"], ttl)
        case "event":
            return Publish((_event(at, given),))
        case "restart":
            return Restart()
        case "load":
            return LoadAgain(tables)
    assert verb in ASKED, verb
    return Wait()


def _event(at: datetime, given: Row) -> Told:
    def moment(name: str) -> datetime | None:
        return datetime.fromisoformat(given[name]) if name in given else None

    return Told(
        given["source"],
        int(given["sequence"]),
        moment("effective_time") or at,
        given["measure"],
        given["kind"],
        *_pair(given),
        Fraction(given["quantity"]),
        moment("expected_at"),
        given.get("order_ref", ""),
        given.get("order_line", ""),
        shipped=Fraction(given["shipped"]) if "shipped" in given else None,
    )


def _found(verb: str, given: Row, answers: Mapping[str, object], names: Mapping[str, str]) -> str:
    seen = answers["seen"][_pair(given)]
    if verb == "available":
        return "unknown" if seen.available is None else _decimal(seen.available)
    if verb == "freshness":
        return " ".join(seen.freshness)
    if verb == "reservations":
        held = {names[name]: status for name, status in answers["held"].items() if name in names}
        return ", ".join(f"{key} {status}" for key, status in sorted(held.items())) or "none"
    return str(answers.get("did", "OK"))


def _decimal(number: Fraction) -> str:
    return decimal_text(int(number * MICROS))

"""An independent model of live availability: rules A1, A2, A8, A9 and A10, with what they need of A3, A6 and A12.

It was written from the rules alone (docs/availability.md), by someone who had not read the code that it judges, and it
must stay so: when it and the product differ, the sentence of the rule decides, never the product. Everything that was
ever loaded, told or asked is kept, and every question is answered from all of that from scratch, in fractions. Nothing
is fast.

Where a rule leaves a choice, this is what a careful manager of a warehouse expects, an oversell never:

- Events of a stream are in the order of their numbers; their instants grow with the numbers (as a source's do).
- What is allocated "when a reservation is made" goes by the instants of the events, not by when they arrived: only so
  the order of arrival is of no importance.
- Rows of an order without a line stand for the whole order; each line that is told takes the most it ever was off them.
- Several reservations of an order take what is allocated one after the other: who names a line of the order first, then
  who named the order first; but what cleared one before another named the order clears no other, as long as it is
  still allocated or was shipped since the later one was made.
- A reservation without a line stands for the whole order: each line's allocation clears it.
- A new reservation needs what is free, also where its own order holds an allocation already.
- What is allocated never counts below 0, whatever deltas say while others are missing.
- A notice (A12) that falls has been received: its order does not count that again until it is told anew, or loaded.
- What names an order line covers the demand of that line, then demands of none; what names none covers any (A1, A9).
- An extension never shortens a hold, and leaves a confirmed one as it is. What replaces a reservation is for its order.
- What was taken over of a reservation counts for the one that replaces it for the same order, and for none besides.
- An excluded reservation is replaced only where both can't be held side by side; else both are held.
- A hold of which the warehouse took everything over before its time ended is consumed, whatever the time is later.
- A receipt or demand that is loaded stands at the instant of its feed, without a feed at that of the load; an
  allocation that no row tells of is 0 at the instant of a complete feed, else nothing is said of it.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from fractions import Fraction
from math import floor
from typing import Concatenate, ParamSpec, TypeVar

from tests.model_streams import Streams
from tests.model_world import (
    HORIZON_DAYS,
    LONG_AGO,
    PAST_DUE_MAX_DAYS,
    PAST_DUE_OFFSET_DAYS,
    ZERO,
    Ask,
    Asked,
    Hold,
    Pair,
    Tables,
    Told,
    instant,
)


@dataclass(frozen=True)
class Dated:
    """A receipt or demand that counts: how much, on which day, of which order line."""

    quantity: Fraction
    day: date
    order_ref: str
    order_line: str


P = ParamSpec("P")
R = TypeVar("R")


def changes(method: Callable[Concatenate["Model", P], R]) -> Callable[Concatenate["Model", P], R]:
    """A method after which other things follow: what was worked out before is forgotten."""

    @functools.wraps(method)
    def call(self: "Model", *args: P.args, **named: P.kwargs) -> R:
        self.worked_out.clear()
        try:
            return method(self, *args, **named)
        finally:
            self.worked_out.clear()

    return call


class Model(Streams):
    """All that was loaded, told and asked, and what follows from it."""

    def __init__(self, tables: Tables, at: datetime) -> None:
        self.worked_out: dict[tuple[int, int, str, datetime], Fraction] = {}
        super().__init__(tables, at)

    @changes
    def load(self, tables: Tables, at: datetime) -> None:
        super().load(tables, at)

    @changes
    def publish(self, events: Sequence[Told]) -> None:
        super().publish(events)

    # ---- receipts and demands (A1, A3, A12)

    def receipts(self, pair: Pair, now: datetime) -> list[Dated]:
        """Those that count, with the day from which each can be used."""
        load, branch = self.loaded, pair[1]
        today = load.day(branch, now)
        handling = int(load.branch(branch).get("inbound_handling_days", "") or 0)
        lines = self.dated_lines("receipt", pair)
        found = []
        for line in lines:
            notices = ZERO
            for other in lines:
                named = (other.supersedes, other.order_line if line.order_line else "")
                if other.supersedes and named == (line.order_ref, line.order_line):
                    notices += other.quantity + sum(fall for at, fall in other.falls if at > line.set_at)
            for moment, ordered in line.parts:
                taken = min(notices, ordered)
                notices -= taken
                due = load.day(branch, moment or now)
                if (today - due).days > PAST_DUE_MAX_DAYS:
                    continue
                if due < today:
                    due = today + timedelta(days=PAST_DUE_OFFSET_DAYS)
                usable = due + timedelta(days=handling)
                found.append(Dated(ordered - taken, usable, line.order_ref, line.order_line))
        return found

    def demands(self, pair: Pair, now: datetime, without: int = 0) -> list[Dated]:
        """What each counts, net of what is allocated or confirmed for its order line, the earliest due first."""
        covered: dict[tuple[str, str], Fraction] = {}
        for told in self.allocation_lines(pair):
            key = (told.order_ref, told.order_line)
            covered[key] = covered.get(key, ZERO) + told.quantity
        for hold in self.holds:
            if hold.confirmed is None or hold.released is not None or hold.number == without:
                continue
            for line, sku, left, _ in self.parts_left(hold, now):
                if (sku, hold.ask.lines[line].branch) == pair:
                    key = (hold.order_ref, hold.order_lines[line])
                    covered[key] = covered.get(key, ZERO) + left
        dated = [
            Dated(quantity, self.loaded.day(pair[1], moment or now), told.order_ref, told.order_line)
            for told in self.dated_lines("demand", pair)
            for moment, quantity in told.parts
            if quantity > 0
        ]
        dated.sort(key=lambda d: (d.day, d.order_ref))
        left = [demand.quantity for demand in dated]
        for wanted in ("its own line", "any line", "no line"):
            for at, demand in enumerate(dated):
                if not demand.order_ref or (wanted == "any line" and demand.order_line):
                    continue
                for key in sorted(covered):
                    is_its = {
                        "its own line": key[1] != "" and key[1] == demand.order_line,
                        "any line": key[1] != "",
                        "no line": key[1] == "",
                    }[wanted]
                    if key[0] == demand.order_ref and is_its:
                        part = min(covered[key], left[at])
                        covered[key] -= part
                        left[at] -= part
        return [replace(demand, quantity=rest) for demand, rest in zip(dated, left, strict=True)]

    # ---- what allocations clear (A9)

    def states(self, ref: str, line: str, pair: Pair) -> list[tuple[datetime, Fraction, Fraction]]:
        """(instant, allocated, shipped) of an order line through all loads and events, oldest first."""
        points: list[tuple[datetime, Told | tuple[Fraction, Fraction | None]]] = []
        moment = LONG_AGO
        for event in self.stream("allocated", pair):
            moment = max(moment, event.effective)  # the numbers decide: none is before the one it follows
            if (event.order_ref, event.order_line) == (ref, line):
                points.append((moment, event))
        for load in self.loads:
            rows = [r for r in load.rows("allocations", pair) if r.get("order_ref", "") == ref]
            mine = [r for r in rows if r.get("order_line", "") == line]
            if rows or load.is_complete(pair[1], "wms"):
                moment = instant(rows[0]["as_of"]) if rows else load.said_at(pair[1], "wms")
                told = [Fraction(r["shipped"]) for r in mine if r.get("shipped")]
                total = sum((Fraction(r["allocated"]) for r in mine), ZERO)
                place = sum(known <= moment for known, _ in points)
                points.insert(place, (moment, (total, sum(told, ZERO) if told else None)))
        feed = self.loaded.feed(pair[1], "wms") or {}
        are_shipments = feed.get("decrease_means", "") == "shipped"
        allocated, shipped, found = ZERO, ZERO, []
        for moment, what in points:
            before = allocated
            if isinstance(what, Told):
                is_set = what.kind == "set"
                allocated = what.quantity if is_set else max(ZERO, allocated + what.quantity)
                told_shipped = what.shipped
            else:
                allocated, told_shipped = what
            if told_shipped is not None:
                shipped = told_shipped
            elif are_shipments:
                shipped += max(ZERO, before - allocated)
            found.append((moment, allocated, shipped))
        return found

    def cleared(self, hold: Hold, line: int, sku: str, now: datetime) -> Fraction:
        """How much of a held line's item the warehouse has taken over."""
        passed_on = hold.passed_on.get((line, sku), ZERO)
        return self._taken_over(hold, line, sku, now) - (passed_on if hold.ended_by(now) else ZERO)

    def _taken_over(self, hold: Hold, line: int, sku: str, now: datetime) -> Fraction:
        """The same with what the one that took its place has inherited."""
        until = min(now, hold.ended_by(now) or now)
        if not hold.order_ref or until < hold.made:
            return hold.inherited.get((line, sku), ZERO)
        key = (hold.number, line, sku, until)
        if key not in self.worked_out:
            self.worked_out[key] = self._cleared(hold, line, sku, until)
        return self.worked_out[key]

    def _cleared(self, hold: Hold, line: int, sku: str, until: datetime) -> Fraction:
        pair = (sku, hold.ask.lines[line].branch)
        mine = hold.order_lines[line]
        events = self.stream("allocated", pair)
        rows = [row for load in self.loads for row in load.rows("allocations", pair)]
        told = {e.order_line for e in events if e.order_ref == hold.order_ref}
        told |= {r.get("order_line", "") for r in rows if r.get("order_ref", "") == hold.order_ref}
        reported = ZERO
        for name in sorted({mine} if mine else told):
            states = [s for s in self.states(hold.order_ref, name, pair) if s[0] <= until]
            before = [s for s in states if s[0] <= hold.made][-1:]
            allocated, shipped = before[0][1:] if before else (ZERO, ZERO)
            peak = max([allocated, *(a + s - shipped for moment, a, s in states if moment > hold.made)])
            first = self._used(hold, line, name, pair, hold.made)
            later = self._used(hold, line, name, pair, until)
            reported += max(ZERO, peak - min(first, allocated) - (later - first))
        return min(hold.whole(line) * hold.needs[line][sku], hold.inherited.get((line, sku), ZERO) + reported)

    def _used(self, hold: Hold, line: int, name: str, pair: Pair, moment: datetime) -> Fraction:
        """What of an order line's allocation a line of a reservation may not have, since another has it."""
        total = ZERO
        for other in self.holds:
            if other.order_ref != hold.order_ref:
                continue
            for place, asked in enumerate(other.ask.lines):
                is_same = other.order_lines[place] in {name, ""} and asked.branch == pair[1]
                if is_same and pair[0] in other.needs[place] and (other.number, place) != (hold.number, line):
                    total += self._has_first(other, place, hold, line, pair[0], moment)
        return total

    def _has_first(
        self, other: Hold, place: int, hold: Hold, line: int, sku: str, moment: datetime
    ) -> Fraction:
        """What the other has before a line of a reservation may take: all that it had when that one named the order,
        and what came since if its own turn is before."""
        theirs, ours = (
            (not a.order_lines[at], a.named, a.number, at) for a, at in ((other, place), (hold, line))
        )
        if other is hold:
            own = self.cleared(other, place, sku, moment) if theirs < ours else ZERO
            return max(ZERO, own - other.inherited.get((place, sku), ZERO))
        has = self._taken_over if other is hold.replaces else self.cleared
        if theirs < ours and other.named < moment:
            return has(other, place, sku, moment)
        if other.named < hold.named:
            return has(other, place, sku, min(moment, hold.named))
        return ZERO

    def parts_left(self, hold: Hold, now: datetime) -> list[tuple[int, str, Fraction, date]]:
        """(line, item, what is still held of it, the day it holds from) of a reservation."""
        if hold.ended_by(now) is not None:
            return []
        return [
            (
                line,
                sku,
                hold.whole(line) * need - self.cleared(hold, line, sku, now),
                asked.from_date or date.min,
            )
            for line, asked in enumerate(hold.ask.lines)
            for sku, need in hold.needs[line].items()
        ]

    # ---- balance (A1, A2, A6)

    def balances(self, pair: Pair, now: datetime, without: int = 0) -> list[Fraction] | None:
        """Of each day from today to the horizon; None where the stock is unknown."""
        on_hand = self.on_hand(pair)
        if on_hand is None:
            return None
        base = on_hand - self.unavailable(pair)
        base -= sum((told.quantity for told in self.allocation_lines(pair)), ZERO)
        base -= sum((Fraction(row["quantity"]) for row in self.loaded.rows("safety_stock", pair)), ZERO)
        takes: list[tuple[date, Fraction]] = []
        for hold in self.holds:
            if hold.number != without:
                for line, sku, left, day in self.parts_left(hold, now):
                    if (sku, hold.ask.lines[line].branch) == pair:
                        takes.append((day, left))
        takes += [(d.day, d.quantity) for d in self.demands(pair, now, without)]
        gives = [(r.day, r.quantity) for r in self.receipts(pair, now)]
        today = self.loaded.day(pair[1], now)
        found = []
        for distance in range(HORIZON_DAYS):
            day = today + timedelta(days=distance)
            came = sum((quantity for due, quantity in gives if due <= day), ZERO)
            went = sum((quantity for due, quantity in takes if due <= day), ZERO)
            found.append(base + came - went)
        return found

    def atp(self, pair: Pair, now: datetime, without: int = 0) -> list[Fraction] | None:
        """What can be promised on each day; of a kit in whole kits."""
        per_item = []
        for sku, need in self.loaded.needs(pair[0]).items():
            balances = self.balances((sku, pair[1]), now, without)
            if balances is None:
                return None
            per_item.append([min(balances[day:]) / need for day in range(HORIZON_DAYS)])
        lowest = [min(days) for days in zip(*per_item, strict=True)]
        return [Fraction(floor(figure)) for figure in lowest] if self.loaded.is_kit(pair[0]) else lowest

    def available(self, pair: Pair, now: datetime, without: int = 0) -> Fraction | None:
        """Of today, never below 0."""
        atp = self.atp(pair, now, without)
        return None if atp is None else max(ZERO, atp[0])

    # ---- reservations (A8)

    @changes
    def reserve(self, ask: Ask, now: datetime) -> tuple[str, Hold | None]:
        """("OK", the reservation), ("NOTHING", None), or the reason of a refusal."""
        same_key = [h for h in self.holds if (h.ask.key, h.ask.customer) == (ask.key, ask.customer)]
        if same_key:
            return ("OK", same_key[0]) if same_key[0].ask == ask else ("KEY_REUSED", None)
        named = next((h for h in self.holds if str(h.number) == (ask.replace or ask.exclude)), None)
        if ask.replace and named is not None and named.ended_by(now) is not None:
            return "RESERVATION_ENDED", None
        hold = self._granted(ask, now, named if ask.replace else None)
        if ask.exclude and named is not None:
            alone = self._granted(ask, now, named)
            if alone.granted == hold.granted:
                named = None  # both can be held
            else:
                hold = alone
        hold.order_ref = ask.order_ref or (named.order_ref if named else "")
        hold.named = now if hold.order_ref else hold.named
        short = any(g < line.quantity for g, line in zip(hold.granted, ask.lines, strict=True))
        if not any(hold.granted) or (ask.all_or_nothing and short):
            return "NOTHING", None
        self.holds.append(hold)
        if named is not None:
            if hold.order_ref == named.order_ref:
                hold.replaces = named
                self._pass_on(named, hold, now)
            named.released = now
        return "OK", hold

    def _pass_on(self, old: Hold, new: Hold, now: datetime) -> None:
        """Note, on the old one, what the new one has inherited of what was taken over of it."""
        left = {}
        for (line, sku), quantity in new.inherited.items():
            pair = (sku, new.ask.lines[line].branch)
            left[pair] = left.get(pair, ZERO) + quantity
        for line, sku, taken in self._parts_taken_over(old, now):
            pair = (sku, old.ask.lines[line].branch)
            old.passed_on[line, sku] = min(taken, left.get(pair, ZERO))
            left[pair] = left.get(pair, ZERO) - old.passed_on[line, sku]

    def _parts_taken_over(self, hold: Hold, now: datetime) -> list[tuple[int, str, Fraction]]:
        return [
            (line, sku, self.cleared(hold, line, sku, now))
            for line, needs in enumerate(hold.needs)
            for sku in needs
        ]

    def _granted(self, ask: Ask, now: datetime, instead_of: Hold | None) -> Hold:
        """What a reservation would hold, with or in place of another one."""
        hold = Hold(
            number=len(self.holds) + 1,
            ask=replace(ask, lines=()),
            made=now,
            ends=now + ask.ttl,
            granted=[],
            factors=[],
            needs=[],
            order_ref="",  # what it takes in the request is not cleared by what its order has
            order_lines=[],
        )
        bonus: dict[Pair, Fraction] = {}  # what the order has of the one replaced need not be free
        if instead_of is not None and instead_of.order_ref and ask.order_ref in {"", instead_of.order_ref}:
            for place, sku, taken in self._parts_taken_over(instead_of, now):
                pair = (sku, instead_of.ask.lines[place].branch)
                bonus[pair] = bonus.get(pair, ZERO) + taken
        self.holds.append(hold)  # each line sees what the lines before it took
        for at, line in enumerate(ask.lines):
            granted = self._grant(line, ask, now, instead_of.number if instead_of else 0, bonus)
            hold.ask = replace(hold.ask, lines=(*hold.ask.lines, line))
            hold.granted.append(granted)
            hold.factors.append(self.loaded.factor(line.sku, line.uom))
            hold.needs.append(self.loaded.needs(line.sku))
            hold.order_lines.append(line.order_line)
            hold.given_back.append(ZERO)
            for sku, need in hold.needs[at].items():
                own = min(bonus.get((sku, line.branch), ZERO), hold.whole(at) * need)
                if own:
                    hold.inherited[at, sku] = own
                    bonus[sku, line.branch] -= own
        self.holds.remove(hold)
        return hold

    def _grant(
        self, line: Asked, ask: Ask, now: datetime, without: int, bonus: Mapping[Pair, Fraction]
    ) -> Fraction:
        """How much of a line can be held, in the unit asked."""
        today = self.loaded.day(line.branch, now)
        distance = max(0, (line.from_date - today).days) if line.from_date else 0
        counts = []
        for sku, need in self.loaded.needs(line.sku).items():
            balances = self.balances((sku, line.branch), now, without)
            if balances is None:
                return ZERO
            free = max(ZERO, min(balances[distance:]))
            counts.append((free + bonus.get((sku, line.branch), ZERO)) / need)
        count = Fraction(floor(min(counts))) if self.loaded.is_kit(line.sku) else min(counts)
        free = count / self.loaded.factor(line.sku, line.uom)
        free = Fraction(floor(free)) if line.uom else free
        if free >= line.quantity:
            return line.quantity
        return free if ask.allow_partial else ZERO

    def status(self, hold: Hold, now: datetime) -> str:
        """HELD, CONFIRMED, CONSUMED, RELEASED or EXPIRED."""
        if hold.released is not None:
            return "RELEASED"
        whole = [hold.whole(line) for line in range(len(hold.granted))]
        if not any(whole):
            return "RELEASED"
        if all(
            self.cleared(hold, line, sku, now) == hold.whole(line) * need
            for line, needs in enumerate(hold.needs)
            for sku, need in needs.items()
        ):
            return "CONSUMED"
        if hold.ended_by(now) is not None:
            return "EXPIRED"
        return "HELD" if hold.confirmed is None else "CONFIRMED"

    @changes
    def confirm(self, hold: Hold, order_ref: str, order_lines: Sequence[str], now: datetime) -> str:
        """ "OK" or the reason of a refusal."""
        status = self.status(hold, now)
        if status == "EXPIRED":
            return "RESERVATION_EXPIRED"
        if status in {"RELEASED", "CONSUMED"}:
            return "RESERVATION_ENDED"
        if hold.order_ref not in {"", order_ref}:
            return "ORDER_MISMATCH"
        if hold.confirmed is None:  # the same again changes nothing
            hold.named = hold.named if hold.order_ref else now
            hold.order_ref = order_ref
            hold.order_lines = list(order_lines) or hold.order_lines
            hold.confirmed = now
        return "OK"

    @changes
    def release(self, hold: Hold, parts: Sequence[tuple[int, Fraction]], now: datetime) -> str:
        """ "OK" or the reason of a refusal; without parts all of it."""
        status = self.status(hold, now)
        if status == "RELEASED" and not parts:
            return "OK"
        if status == "EXPIRED":
            return "RESERVATION_EXPIRED"
        if status in {"RELEASED", "CONSUMED"}:
            return "RESERVATION_ENDED"
        asked: dict[int, Fraction] = {}
        for line, quantity in parts:
            asked[line] = asked.get(line, ZERO) + quantity
            held = hold.granted[line] - hold.given_back[line]
            if quantity <= 0 or asked[line] > held:
                return "INVALID_RESERVATION"
        for line, quantity in asked.items():
            hold.given_back[line] += quantity
        if not parts:
            hold.released = now
        return "OK"

    @changes
    def extend(self, hold: Hold, ttl: timedelta, now: datetime) -> str:
        """ "OK" or the reason of a refusal: only what is held can be extended, before its time ends."""
        status = self.status(hold, now)
        if status == "EXPIRED":
            return "RESERVATION_EXPIRED"
        if status not in {"HELD", "CONFIRMED"}:
            return "RESERVATION_ENDED"
        hold.ends = max(hold.ends, now + ttl)  # of a confirmed one it means nothing
        return "OK"

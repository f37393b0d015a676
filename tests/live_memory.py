"""Live state in memory, a second implementation: simple rules over a dictionary, and outcomes that tests can force."""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date

from pricegrid.atp.model import AvailabilityStatus
from pricegrid.atp.rules.events import EventStatus
from pricegrid.atp.rules.reservations import (
    HeldReservation,
    Part,
    ReservationStatus,
    ReserveAsk,
    ReservedLine,
    ReserveLine,
)
from pricegrid.service.codec.events import decode_events
from pricegrid.service.errors import Reason, RequestRefusedError
from pricegrid.service.live.api import (
    DeadLetter,
    DeadLetterPage,
    FeedIssue,
    PublishResult,
    Release,
    Reserved,
    ResetAsk,
    ResetRecord,
)

VERSION = "20260101T000000Z-00000000"
VERSION_US = 1_767_225_600_000_000
NOW_US = VERSION_US + 5_000_000


def held_reservation(**fields) -> HeldReservation:
    """A reservation with everything in it."""
    line = ReserveLine("KIT", 3_000_000, "HAM", "BOX", date(2026, 3, 7), "10")
    parts = (Part("BOLT", 8_000_000, 4_000_000), Part("PANEL", 2_000_000))
    lines = (ReservedLine(line, AvailabilityStatus.OK, 1_500_000, 2_000_000, parts),)
    told = HeldReservation("R-7", "cart-9", "C1", ReservationStatus.CONFIRMED, lines, 1, 2, "SO-1", 3)
    return replace(told, **fields)


class MemoryLive:
    """A `LiveApi`: `stock` in micros by (sku, branch); whatever is not in it does not exist.

    `before` runs at the start of each call with its name: it may raise, block, or count.
    """

    def __init__(self, **stock: int) -> None:
        self.stock = {("A", "HAM"): 10_000_000, **{(sku, "HAM"): micros for sku, micros in stock.items()}}
        self.before: Callable[[str], None] = lambda _: None
        self.held: dict[str, HeldReservation] = {}
        self.letters: dict[str, DeadLetter] = {}
        self.asked: list[object] = []
        self.issues: list[FeedIssue] = []
        self.kept_resets: list[ResetRecord] = []
        self.seen: set[tuple[int, str, str, int]] = set()
        self._lock = threading.RLock()

    def publish(self, raw: bytes) -> PublishResult:
        self.before("publish")
        read = decode_events(raw)
        counts: Counter[EventStatus] = Counter()
        ids = []
        with self._lock:
            for found in read.unreadable:
                ids.append(f"D{len(self.letters) + 1}")
                self.letters[ids[-1]] = DeadLetter(
                    ids[-1], NOW_US, "events", found.reason.name, found.detail, found.payload_json
                )
                counts[EventStatus.DEAD_LETTER] += 1
            for at in range(len(read.events)):
                event = read.events.event(at)
                key = (event.source, event.sku, event.branch, event.sequence)
                counts[EventStatus.DUPLICATE if key in self.seen else EventStatus.APPLIED] += 1
                if key not in self.seen:
                    self.seen.add(key)
                    self.stock[event.sku, event.branch] = event.quantity_micros
        return PublishResult(dict(counts), ids, gaps=0)

    def reserve(self, ask: ReserveAsk) -> Reserved:
        self.before("reserve")
        with self._lock:
            self.asked.append(ask)
            for held in self.held.values():
                if (held.customer_id, held.key) == (ask.customer_id, ask.key):
                    if [line.line for line in held.lines] != list(ask.lines):
                        raise RequestRefusedError(Reason.KEY_REUSED, "the key was used for something else")
                    return Reserved(held, VERSION, is_repeat=True)
            lines = tuple(self._hold(line, ask) for line in ask.lines)
            is_held = any(line.held_micros for line in lines)
            reservation = HeldReservation(
                f"R{len(self.held) + 1}" if is_held else "",
                ask.key,
                ask.customer_id,
                ReservationStatus.HELD,
                lines,
                NOW_US,
                NOW_US + ask.ttl_us,
                ask.order_ref,
            )
            if is_held:
                self.held[reservation.reservation_id] = reservation
            return Reserved(reservation, VERSION)

    def _hold(self, line: ReserveLine, ask: ReserveAsk) -> ReservedLine:
        free = self.stock.get((line.sku, line.branch))
        if free is None:
            return ReservedLine(line, AvailabilityStatus.UNKNOWN_ITEM, 0, 0)
        granted = min(free, line.quantity_micros)
        if granted < line.quantity_micros and not ask.allow_partial:
            granted = 0
        self.stock[line.sku, line.branch] = free - granted
        return ReservedLine(line, AvailabilityStatus.OK, granted, granted, (Part(line.sku, granted),))

    def confirm(
        self, customer_id: str, reservation_id: str, order_ref: str, order_lines: Sequence[str] = ()
    ) -> HeldReservation:
        self.before("confirm")
        held = self._of(customer_id, reservation_id)
        if held.order_ref not in {"", order_ref}:
            raise RequestRefusedError(Reason.ORDER_MISMATCH, "it is for another order")
        return self._put(
            replace(held, status=ReservationStatus.CONFIRMED, order_ref=order_ref, confirmed_us=NOW_US)
        )

    def release(
        self, customer_id: str, reservation_id: str, parts: Sequence[Release] = ()
    ) -> HeldReservation:
        self.before("release")
        held = self._of(customer_id, reservation_id)
        lines = list(held.lines)
        for part in parts:
            if part.line >= len(lines):
                raise RequestRefusedError(Reason.INVALID_RESERVATION, f"there is no line {part.line}")
            line = lines[part.line]
            lines[part.line] = replace(line, held_micros=line.held_micros - part.quantity_micros)
        if parts:
            return self._put(replace(held, lines=tuple(lines)))
        gone = tuple(replace(line, held_micros=0) for line in lines)
        return self._put(replace(held, lines=gone, status=ReservationStatus.RELEASED))

    def extend(self, customer_id: str, reservation_id: str, ttl_us: int) -> HeldReservation:
        self.before("extend")
        held = self._of(customer_id, reservation_id)
        return self._put(replace(held, expires_us=max(held.expires_us, NOW_US + ttl_us)))

    def reservation(self, customer_id: str, reservation_id: str) -> HeldReservation:
        self.before("reservation")
        return self._of(customer_id, reservation_id)

    def reservations(
        self, *, customer_id: str = "", unreported_for_us: int | None = None, limit: int = 1_000
    ) -> Sequence[HeldReservation]:
        self.before("reservations")
        self.asked.append((customer_id, unreported_for_us, limit))
        found = [held for held in self.held.values() if customer_id in {"", held.customer_id}]
        if unreported_for_us is not None:
            found = [held for held in found if held.status is ReservationStatus.CONFIRMED]
        return found[:limit]

    def dead_letters(self, *, origin: str = "", limit: int = 1_000, after: str = "") -> DeadLetterPage:
        self.before("dead_letters")
        found = [letter for letter in self.letters.values() if origin in {"", letter.origin}]
        names = [letter.dead_letter_id for letter in found]
        begin = names.index(after) + 1 if after else 0
        page = found[begin : begin + limit]
        return DeadLetterPage(page, page[-1].dead_letter_id if begin + limit < len(found) else "")

    def dead_letter(self, dead_letter_id: str) -> DeadLetter:
        self.before("dead_letter")
        if dead_letter_id not in self.letters:
            raise RequestRefusedError(Reason.DEAD_LETTER_NOT_FOUND, "there is no such dead letter")
        return self.letters[dead_letter_id]

    def replay_dead_letters(self, ids: Sequence[str]) -> Sequence[DeadLetter]:
        """Those whose payload is an object can be applied now."""
        self.before("replay_dead_letters")
        left = []
        for name in ids:
            letter = self.letters.get(name)
            if letter is None:
                continue
            if letter.payload_json.startswith("{"):
                del self.letters[name]
            else:
                self.letters[name] = replace(letter, replays=letter.replays + 1)
                left.append(self.letters[name])
        return left

    def drop_dead_letters(self, ids: Sequence[str]) -> int:
        self.before("drop_dead_letters")
        return len([self.letters.pop(name) for name in ids if name in self.letters])

    def feed_issues(self, *, restarts: bool = False, limit: int = 1_000) -> Sequence[FeedIssue]:
        self.before("feed_issues")
        return [each for each in self.issues if bool(each.restarts) == restarts][:limit]

    def reset_streams(self, ask: ResetAsk) -> ResetRecord:
        self.before("reset_streams")
        at_us = NOW_US if ask.effective_us is None else ask.effective_us
        name = f"N{len(self.kept_resets) + 1}"
        self.kept_resets.append(
            ResetRecord(name, NOW_US, ask.actor, ask.source, ask.sku, ask.branch, at_us, 1)
        )
        return self.kept_resets[-1]

    def resets(self, limit: int = 1_000) -> Sequence[ResetRecord]:
        self.before("resets")
        return self.kept_resets[::-1][:limit]

    def _of(self, customer_id: str, reservation_id: str) -> HeldReservation:
        held = self.held.get(reservation_id)
        if held is None or held.customer_id != customer_id:
            raise RequestRefusedError(Reason.RESERVATION_NOT_FOUND, "this customer has no such reservation")
        return held

    def _put(self, held: HeldReservation) -> HeldReservation:
        self.held[held.reservation_id] = held
        return held

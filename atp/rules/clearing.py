"""How much of the reservations of one order at one pair the allocations of the warehouse offset (A9).

It is derived from the allocations and the reservations each time, never stored. The allocations of an order line are
laid end to end: `shipped` is where the line begins now, allocated + shipped where it ends. A reservation may be cleared
by what lies between what had been shipped when it was made and the furthest end since (the most ever allocated). What
clears one clears no other. A reservation without a line consumes of the order as a whole, an allocation without a line
serves any line.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pricegrid.atp.rules.order_lines import Mark, Point

Key = tuple[str, int]
"""(reservation, its line)."""
_WHOLE = None
"""The order as a whole, beside its lines."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A part of a reservation that an allocation may clear."""

    key: Key
    order_line: str
    quantity_micros: int
    kept_micros: int
    """What has cleared it for good: it keeps that, whatever comes later."""
    since: Mark
    """The newest event of the warehouse when it was made."""
    made_us: int
    """When it was made."""
    named_us: int
    """When it named its order."""
    is_over: bool = False
    """No more of it is cleared."""
    ends_us: int | None = None
    """Its time ends then: what takes effect from that instant on clears nothing of it, noted or not."""


@dataclass(slots=True)
class _Axis:
    """Which of the allocations of a line have cleared something: intervals apart, ascending."""

    used: list[tuple[int, int]] = field(default_factory=list)

    def consume(self, low: int, high: int, micros: int) -> int:
        """Consume at most `micros` of what is unused in [low, high), the lowest first; returns how much it was."""
        found, at, left = [], low, micros
        for start, end in [*self.used, (high, high)]:
            size = min(left, min(start, high) - at)
            if size > 0:
                found.append((at, at + size))
                left -= size
            at = max(at, end)
        self.used = sorted([*self.used, *found])
        return micros - left

    def unused(self, low: int, high: int) -> int:
        """How much is unused in [low, high)."""
        consumed = sum(max(0, min(end, high) - max(start, low)) for start, end in self.used)
        return max(0, high - low) - consumed


def cleared_micros(points: Sequence[Point], claims: Iterable[Claim]) -> dict[Key, int]:
    """How much of each claim is cleared, in micros: a function of the allocations, by sequence, and the claims.

    What is kept comes first. Then the claims go in the order in which they named their order: before one joins, those
    before it consume what was there; what they consumed stays theirs. Among those that have joined, claims on a line of
    the order come first, since others may consume of any. The result never depends on the order in which events or
    claims came.
    """
    wanted = sorted(claims, key=lambda claim: (claim.named_us, claim.made_us, claim.key))
    book = _Book(points)
    found = {claim.key: claim.kept_micros for claim in wanted}
    for claim in wanted:
        ever = replace(claim, ends_us=None)  # it may have ended before what is loaded now
        book.consume(ever, claim.kept_micros)
    living = [claim for claim in wanted if not claim.is_over and claim.quantity_micros > claim.kept_micros]
    for joined in range(1, len(living) + 1):
        known = book.known(living[joined]) if joined < len(living) else len(points)
        for claim in sorted(living[:joined], key=lambda claim: not claim.order_line):
            left = claim.quantity_micros - found[claim.key]
            found[claim.key] += book.consume(claim, left, known)
    return found


class _Book:
    def __init__(self, points: Sequence[Point]) -> None:
        self._points = points
        self._lines = sorted({line for point in points for line in (*point.allocated, *point.shipped)})
        self._axes: dict[str | None, _Axis] = {line: _Axis() for line in (*self._lines, _WHOLE)}

    def known(self, claim: Claim) -> int:
        """How many points were there when a claim named its order."""
        named = replace(claim, made_us=claim.named_us)
        there = (at for at, point in enumerate(self._points) if _was_there(point, named, by_instant=True))
        return max(there, default=-1) + 1

    def consume(self, claim: Claim, micros: int, known: int | None = None) -> int:
        """Clear at most `micros` of a claim, by the first `known` points; returns how much it was."""
        if micros <= 0:
            return 0
        start, stop = self._start(claim), self._stop(claim)
        stop = stop if known is None else min(stop, known)
        whole = self._range(start, stop, _WHOLE)
        if not claim.order_line:
            consumed = left = self._axes[_WHOLE].consume(*whole, micros)
            for line in self._lines:
                left -= self._axes[line].consume(*self._range(start, stop, line), left)
            return consumed
        consumed = 0
        if claim.order_line in self._axes:
            consumed = self._axes[claim.order_line].consume(
                *self._range(start, stop, claim.order_line), micros
            )
            self._axes[_WHOLE].consume(*whole, consumed)
        if "" in self._axes:
            most = min(micros - consumed, self._axes[_WHOLE].unused(*whole))
            more = self._axes[""].consume(*self._range(start, stop, ""), most)
            self._axes[_WHOLE].consume(*whole, more)
            consumed += more
        return consumed

    def _start(self, claim: Claim) -> int:
        """The last point that was there when the claim was made; -1: none was."""
        return max((at for at, point in enumerate(self._points) if _was_there(point, claim)), default=-1)

    def _stop(self, claim: Claim) -> int:
        """The first point from which on nothing clears the claim, since its time is over."""
        if claim.ends_us is None:
            return len(self._points)
        late = (at for at, point in enumerate(self._points) if _instant_us(point) >= claim.ends_us)
        return next(late, len(self._points))

    def _range(self, start: int, stop: int, line: str | None) -> tuple[int, int]:
        """What of a line may clear a claim that counts between two points: (from, to) along its allocations."""
        low = _value(self._points[start].shipped, line) if start >= 0 else 0
        begin = max(0, start)
        ends = (
            _value(point.allocated, line) + _value(point.shipped, line)
            for point in self._points[begin : max(stop, start + 1)]
        )
        return low, max(low, max(ends, default=0))


def _was_there(point: Point, claim: Claim, *, by_instant: bool = False) -> bool:
    """Whether this point was there when the claim was made; `by_instant` also where its mark is newer.

    If the reset of its numbering came later, the mark of the claim could not know that numbering; then the instants
    decide: shipped before, it clears nothing of the claim, whenever the reset comes.
    """
    if point.as_of_us is not None:
        return point.as_of_us <= claim.made_us
    is_newer = by_instant or point.mark[0] > claim.since[0]
    return point.mark <= claim.since or (is_newer and point.at_us <= claim.made_us)


def _instant_us(point: Point) -> int:
    return point.at_us if point.as_of_us is None else point.as_of_us


def _value(micros_of: Mapping[str, int], line: str | None) -> int:
    return sum(micros_of.values()) if line is _WHOLE else micros_of.get(line, 0)

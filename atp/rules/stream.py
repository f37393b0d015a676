"""The events of one source about one pair: which of them may still matter, and in which order they count (A10).

What a stream is depends on the set of its events, never on when they came. A *reset* begins a new numbering: events
that took effect at its instant or later belong to it, and come after all of the numberings before. Inside one the
sequence decides. Where two events have one number the earlier instant counts; the other waits for a reset that would
tell them apart, and the stream is doubtful meanwhile: its source seems to have begun anew without saying so.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

from pricegrid.atp.model import NO_INSTANT
from pricegrid.atp.rules.events import DeadReason, Event, EventStatus, Kind, Measure, Outcome

Span = tuple[int, int]
"""Sequences from the first to the last, both included."""
SINGLE_FIGURE = frozenset({Measure.ON_HAND, Measure.UNAVAILABLE})
"""Measures of one figure a pair; the others have one for each order or reference."""
FORGOTTEN_MAX = 64
"""Events that are gone of which a stream still knows number and instant."""
_APPLIED = Outcome(EventStatus.APPLIED)


@dataclass(slots=True)
class Stream:
    """The events of one source about one pair that may still matter."""

    events: list[Event] = field(default_factory=list)
    """By numbering, then sequence; those that a later set has replaced for good are gone."""
    spans: list[Span] = field(default_factory=list)
    """The sequences received of the newest numbering, ascending and apart."""
    earlier: list[list[Span]] = field(default_factory=list)
    """Those of the numberings before it."""
    resets: list[Event] = field(default_factory=list)
    """By instant."""
    waiting: list[Event] = field(default_factory=list)
    """Events whose number another one has, by instant."""
    forgotten: list[tuple[int, int]] = field(default_factory=list, compare=False)
    """(instant, sequence) of the newest of those that are gone: a reset that comes late must know whose they were."""
    done: list[Span] = field(default_factory=list, compare=False)
    """The sequences of the first numbering that were let go, since nothing can come of them any more."""
    done_us: int = field(default=NO_INSTANT, compare=False)
    """The latest instant of theirs."""
    done_sets: dict[Measure, int] = field(default_factory=dict, compare=False)
    """The last sequence of theirs that set a measure, 0 for none: what is missing later makes it doubtful still."""

    def add(self, event: Event) -> Outcome:
        """Apply one event; the stream is a function of the set of its events."""
        if event.kind is Kind.RESET:
            return self._reset(event)
        if self.is_next(event):
            spans = self.spans
            spans[-1] = (
                spans[-1][0],
                event.sequence,
            )  # the common case: next in order, nothing can replace it
            self.events.append(event)
            if event.kind is Kind.SET and event.measure in SINGLE_FIGURE:
                self._drop_replaced()
            return _APPLIED
        return self._insert(event)

    def is_next(self, event: Event) -> bool:
        """Whether an event is the next of its numbering, as most are."""
        begins_us = self.resets[-1].effective_us if self.resets else NO_INSTANT
        spans = self.spans
        is_next = bool(spans) and spans[-1][1] + 1 == event.sequence
        return is_next and event.effective_us >= begins_us

    def _insert(self, event: Event) -> Outcome:
        """Apply an event that is not the next one."""
        number = self._number(event)
        if not number and event.effective_us <= self.done_us and _has(self.done, event.sequence):
            return Outcome(EventStatus.DUPLICATE)
        same = [
            each
            for each in (*self.events, *self.waiting)
            if each.sequence == event.sequence and self._number(each) == number
        ]
        if event in same:
            return Outcome(EventStatus.DUPLICATE)
        if any(each.effective_us == event.effective_us for each in same):
            return Outcome(EventStatus.DEAD_LETTER, DeadReason.SEQUENCE_REUSED)
        newest_us = max((each.effective_us for each in (*self.events, *self.waiting)), default=NO_INSTANT)
        is_used = self._is_used(event.sequence, number, same)
        _note(self._spans(number), event.sequence)
        is_first = bool(same) and event.effective_us < min(each.effective_us for each in same)
        for each in same if is_first else ():
            if each in self.events:  # it is the later of two: the one that came first now was first
                self.events.remove(each)
                insort(self.waiting, each, key=_by_instant)
        if self._is_replaced(event, number):
            self._forget([event])
            return Outcome(EventStatus.DUPLICATE if is_used and not is_first else EventStatus.OLDER)
        if is_used and not is_first:
            insort(self.waiting, event, key=_by_instant)
            return Outcome(EventStatus.OLDER, is_restart=True)
        self.events.insert(
            bisect_left([self._position(each) for each in self.events], (number, event.sequence)), event
        )
        is_older = event.measure in SINGLE_FIGURE and any(
            each.kind is Kind.SET
            and each.measure is event.measure
            and self._position(each) > (number, event.sequence)
            for each in self.events
        )
        if event.kind is Kind.SET and event.measure in SINGLE_FIGURE:
            self._drop_replaced()
        if is_older:
            return Outcome(EventStatus.OLDER, is_restart=event.effective_us > newest_us)
        return _APPLIED

    def _reset(self, event: Event) -> Outcome:
        """Begin a numbering: its events are separated from those before it."""
        if event in self.resets:
            return Outcome(EventStatus.DUPLICATE)
        known = [(self._number(each), each) for each in (*self.events, *self.waiting)]
        spans_left: list[list[Span]] = [list(spans) for spans in (*self.earlier, self.spans)]
        numbered = [(number, each.sequence) for number, each in known]
        numbered += [(self._number_at(at_us), sequence) for at_us, sequence in self.forgotten]
        for number, sequence in numbered:
            spans_left[number] = _without(spans_left[number], sequence)
        before = self.starts
        insort(self.resets, event, key=lambda each: (each.effective_us, each.sequence))
        starts = self.starts
        forgotten: list[list[Span]] = [[] for _ in range(len(starts) + 1)]
        for number, spans in enumerate(
            spans_left
        ):  # those of which no more is known belong to the older part
            forgotten[0 if number == 0 else starts.index(before[number - 1]) + 1] = spans
        self.events, self.waiting = [], []
        self.earlier, self.spans = forgotten[:-1], forgotten[-1]
        for reset in self.resets:
            if reset.sequence:
                _note(self._spans(bisect_right(starts, reset.effective_us)), reset.sequence)
        for at_us, sequence in self.forgotten:
            _note(self._spans(self._number_at(at_us)), sequence)
        for each in sorted((each for _, each in known), key=lambda each: (each.effective_us, each.sequence)):
            self._insert(each)
        return _APPLIED

    def let_go(self, events: Iterable[Event]) -> None:
        """Forget events of the first numbering of which nothing can come any more; those sent again are duplicates."""
        replaced = set(events)
        self.events = [each for each in self.events if each not in replaced]
        for each in replaced:
            _note(self.done, each.sequence)
            self.done_us = max(self.done_us, each.effective_us)
            last = self.done_sets.get(each.measure, 0)
            self.done_sets[each.measure] = max(last, each.sequence if each.kind is Kind.SET else 0)

    @property
    def starts(self) -> list[int]:
        """When each numbering but the first begins."""
        return sorted({each.effective_us for each in self.resets})

    @property
    def is_whole(self) -> bool:
        """Whether all of it is there from its first sequence on, in one numbering, and no sequence was used twice."""
        is_one = len(self.spans) == 1 and self.spans[0][0] == 1
        return is_one and not self.resets and not self.waiting

    def _number(self, event: Event) -> int:
        """The numbering that an event belongs to, from 0."""
        return self._number_at(event.effective_us)

    def _number_at(self, instant_us: int) -> int:
        return bisect_right(self.starts, instant_us) if self.resets else 0

    def _position(self, event: Event) -> tuple[int, int]:
        return self._number(event), event.sequence

    def _spans(self, number: int) -> list[Span]:
        return self.earlier[number] if number < len(self.earlier) else self.spans

    def _is_used(self, sequence: int, number: int, same: list[Event]) -> bool:
        """Whether another event had this number; that of a reset is free for the first event after it."""
        if same:
            return True
        if any(each.sequence == sequence and self._number(each) == number for each in self.resets):
            return False
        return _has(self._spans(number), sequence)

    def _drop_replaced(self) -> None:
        """Before a set of a single figure nothing of that figure matters any more, unless it took effect later: then a
        reset may still show that it came after."""
        if len(self.events) == 1 and not self.waiting:
            return
        replaced = [
            each for each in (*self.events, *self.waiting) if self._is_replaced(each, self._number(each))
        ]
        if replaced:
            self._forget(replaced)
            self.events = [each for each in self.events if each not in replaced]
            self.waiting = [each for each in self.waiting if each not in replaced]

    def _forget(self, events: Iterable[Event]) -> None:
        merged = {*self.forgotten, *((each.effective_us, each.sequence) for each in events)}
        self.forgotten = sorted(merged)[-FORGOTTEN_MAX:]

    def _is_replaced(self, event: Event, number: int) -> bool:
        """Whether a later set of the same figure has replaced it. Other measures have a figure for each order line."""
        if event.measure not in SINGLE_FIGURE:
            return False
        position = (number, event.sequence)
        return any(
            each.kind is Kind.SET
            and each.measure is event.measure
            and each.effective_us >= event.effective_us
            and self._position(each) > position
            for each in reversed(self.events)
        )

    def has_gap(self, after_us: int) -> bool:
        """Whether something is missing, or a sequence was used twice, that no later set, and no loaded row of instant
        `after_us`, makes up for."""
        if self.waiting and any(each.effective_us > after_us for each in self.waiting):
            return True
        if len(self.spans) < 2 and all(len(spans) < 2 for spans in self.earlier):
            return False
        numberings = (*self.earlier, self.spans)
        missing = max((n, spans[-1][0] - 1) for n, spans in enumerate(numberings) if len(spans) > 1)
        last_set = {measure: (0, sequence) for measure, sequence in self.done_sets.items()}
        for each in self.events:
            position = self._position(each)
            if each.effective_us <= after_us and position > missing:
                return False
            last = last_set.get(each.measure, (0, 0))
            last_set[each.measure] = position if each.kind is Kind.SET else last
        return any(position < missing for position in last_set.values())

    def missing(self) -> list[Span]:
        """The sequences of the numbering with the newest gap that are missing between those that are there."""
        gapped = [spans for spans in (*self.earlier, self.spans) if len(spans) > 1]
        spans = gapped[-1] if gapped else []
        return [(one[1] + 1, other[0] - 1) for one, other in pairwise(spans)]

    @property
    def newest_us(self) -> int:
        """The latest instant of its events; NO_INSTANT when it has none."""
        return max((each.effective_us for each in (*self.events, *self.waiting)), default=NO_INSTANT)


def _by_instant(event: Event) -> tuple[int, int]:
    return event.effective_us, event.sequence


def _has(spans: list[Span], sequence: int) -> bool:
    if spans and spans[-1][0] <= sequence:
        return sequence <= spans[-1][1]
    return any(first <= sequence <= last for first, last in spans)


def _note(spans: list[Span], sequence: int) -> None:
    if _has(spans, sequence):
        return
    insort(spans, (sequence, sequence))
    at = bisect_left(spans, (sequence, sequence))
    if at + 1 < len(spans) and spans[at + 1][0] == sequence + 1:
        spans[at : at + 2] = [(sequence, spans[at + 1][1])]
    if at and spans[at - 1][1] + 1 == spans[at][0]:
        spans[at - 1 : at + 1] = [(spans[at - 1][0], spans[at][1])]


def _without(spans: Iterable[Span], sequence: int) -> list[Span]:
    """The spans less one sequence."""
    found: list[Span] = []
    for first, last in spans:
        if not first <= sequence <= last:
            found.append((first, last))
            continue
        found += [(low, high) for low, high in ((first, sequence - 1), (sequence + 1, last)) if low <= high]
    return found

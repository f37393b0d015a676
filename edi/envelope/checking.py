"""Checks counts, control numbers and nesting; a wrong one rejects what it is about, and the others go on.

A trailer of a set that is wrong rejects the set, one of a group the group, one of an interchange the interchange.
Counts are compared as numbers, control numbers without leading zeros where the standard has them as numbers.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from pricegrid.edi.envelope.model import (
    FAULTS_MAX,
    SETS_MAX,
    WORDS,
    CheckedGroup,
    CheckedInterchange,
    CheckedSet,
    Problem,
)
from pricegrid.edi.syntax.model import TOLERATED, Code, Dialect, Fault, Header, Part, Segment

_COUNT_DIGITS_MAX: Final = 12
_ALONE: Final = frozenset({"TA1", "TA3"})
"""Segments that stand outside groups."""


def check(parts: Iterable[Part]) -> Iterator[CheckedInterchange | Fault]:
    """The interchanges of a file, each when it has ended, and the faults outside of them."""
    open_one: _Checker | None = None
    for part in parts:
        if isinstance(part, Header):
            if open_one is not None and not open_one.is_ended:
                yield open_one.ended()
            open_one = _Checker(part)
        elif isinstance(part, Segment):
            if open_one is not None:
                open_one.take(part)
                if open_one.is_ended:
                    yield open_one.ended()
        elif open_one is None or open_one.is_ended:
            yield part
        else:
            open_one.fault(part)
            if part.code is Code.NO_TRAILER:
                yield open_one.ended()
    if open_one is not None and not open_one.is_ended:
        yield open_one.ended()


class _Checker:
    """What is known of the interchange that is being read."""

    def __init__(self, header: Header) -> None:
        control = header.segment.get(13 if header.dialect is Dialect.X12 else 5).strip()
        self.found = CheckedInterchange(header, control)
        self.is_ended = False
        self._is_x12 = header.dialect is Dialect.X12
        words = WORDS[header.dialect]
        self._open_set, self._close_set = words["set_begin"], words["set_end"]
        self._open_group, self._close_group, self._end = (
            words["group_begin"],
            words["group_end"],
            words["end"],
        )
        self._group: CheckedGroup | None = None
        self._set: CheckedSet | None = None
        self._controls: set[str] = set()
        self._sets = 0
        self._of_next_set: list[Fault] = []
        if not control:
            self._problem(Problem.NO_NUMBER)

    def ended(self) -> CheckedInterchange:
        """What was found, with what is still open closed."""
        if not self.is_ended:
            self._leave_group()
            self._problem(Problem.NO_TRAILER)
            self.is_ended = True
        return self.found

    def take(self, segment: Segment) -> None:
        """One segment behind the header."""
        tag = segment.tag
        if tag == self._open_set:
            self._begin_set(segment)
        elif tag == self._close_set:
            self._end_set(segment)
        elif tag == self._open_group:
            self._begin_group(segment)
        elif tag == self._close_group:
            self._end_group(segment)
        elif tag == self._end:
            self._end_interchange(segment)
        elif self._set is not None:
            self._set.segments += 1
        elif tag not in _ALONE:
            self._problem(Problem.STRUCTURE)

    def fault(self, fault: Fault) -> None:
        """A fault of the syntax: it rejects the set that it lies in."""
        if fault.code is Code.INVALID_CHARACTER and fault.tag == self._open_set:
            self._of_next_set.append(fault)
            return
        if fault.code in TOLERATED or self._set is None:
            self._keep(fault)
            if fault.code not in TOLERATED and fault.code is not Code.NO_TRAILER:
                self._problem(Problem.STRUCTURE)
            return
        if fault.code is Code.NO_TRAILER:
            return
        if fault.code is not Code.INVALID_CHARACTER:  # its segment comes as well, and is counted then
            self._set.segments += 1
        self._fault_of_set(self._set, fault)

    def _fault_of_set(self, found: CheckedSet, fault: Fault) -> None:
        if Problem.SET_SEGMENTS not in found.problems:
            found.problems.append(Problem.SET_SEGMENTS)
        if len(found.faults) < FAULTS_MAX:
            found.faults.append(replace(fault, segment=fault.segment - found.begin.number + 1))
        else:
            self.found.faults_left_out += 1

    def _keep(self, fault: Fault) -> None:
        if len(self.found.faults) < FAULTS_MAX:
            self.found.faults.append(fault)
        else:
            self.found.faults_left_out += 1

    def _problem(self, problem: Problem) -> None:
        if problem not in self.found.problems:
            self.found.problems.append(problem)

    def _reject_set(self, problem: Problem) -> None:
        if self._set is not None and problem not in self._set.problems:
            self._set.problems.append(problem)

    def _begin_set(self, segment: Segment) -> None:
        self._leave_set()
        if self._group is None:
            if self._is_x12 or any(group.begin for group in self.found.groups):
                self._problem(Problem.STRUCTURE)
            self._group = CheckedGroup(None)
            self._controls = set()
            self.found.groups.append(self._group)
        kind, control = segment.get(1), segment.get(2).strip()
        if not self._is_x12:
            kind, control = segment.get(2), kind.strip()
        self._set = CheckedSet(kind.strip(), control, segment)
        self._sets += 1
        if self._sets > SETS_MAX:
            self._problem(Problem.TOO_MANY_SETS)
            return
        self._group.sets.append(self._set)
        if not self._set.kind:
            self._reject_set(Problem.NO_SET_KIND)
        if not control or control in self._controls:
            self._reject_set(Problem.SET_NUMBER)
        self._controls.add(control)
        for fault in self._of_next_set:
            self._fault_of_set(self._set, fault)
        self._of_next_set = []

    def _end_set(self, segment: Segment) -> None:
        if self._set is None:
            self._problem(Problem.STRUCTURE)
            return
        self._set.segments += 1
        if _number(segment.get(1)) != self._set.segments:
            self._reject_set(Problem.SET_COUNT)
        if segment.get(2).strip() != self._set.control:
            self._reject_set(Problem.SET_CONTROL)
        self._set = None

    def _leave_set(self) -> None:
        self._reject_set(Problem.NO_SET_TRAILER)
        self._set = None

    def _begin_group(self, segment: Segment) -> None:
        self._leave_group()
        control = segment.get(6 if self._is_x12 else 5).strip()
        self._group = CheckedGroup(segment, segment.get(1).strip(), control)
        self._controls = set()
        self._sets += 1  # empty groups are bounded too
        if self._sets > SETS_MAX:
            self._problem(Problem.TOO_MANY_SETS)
            return
        self.found.groups.append(self._group)
        if not control:
            self._group.problems.append(Problem.NO_GROUP_NUMBER)

    def _end_group(self, segment: Segment) -> None:
        self._leave_set()
        if self._group is None or self._group.begin is None:
            self._problem(Problem.STRUCTURE)
            return
        self._group.stated = segment.get(1).strip()
        if _number(self._group.stated) != len(self._group.sets):
            self._group.problems.append(Problem.GROUP_COUNT)
        if not _same(segment.get(2), self._group.control):
            self._group.problems.append(Problem.GROUP_CONTROL)
        self._group = None

    def _leave_group(self) -> None:
        self._leave_set()
        if self._group is not None and self._group.begin is not None:
            self._group.problems.append(Problem.NO_GROUP_TRAILER)
        self._group = None

    def _end_interchange(self, segment: Segment) -> None:
        self._leave_group()
        grouped = [group for group in self.found.groups if group.begin is not None]
        is_by_sets = not self._is_x12 and not grouped
        count = sum(len(group.sets) for group in self.found.groups) if is_by_sets else len(grouped)
        if _number(segment.get(1)) != count:
            self._problem(Problem.COUNT)
        if not _same(segment.get(2), self.found.control):
            self._problem(Problem.CONTROL)
        self.is_ended = True


def _number(text: str) -> int | None:
    text = text.strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _COUNT_DIGITS_MAX else None


def _same(one: str, other: str) -> bool:
    """Control numbers that are numbers may differ in leading zeros."""
    one, other = one.strip(), other.strip()
    if one.isdecimal() and other.isdecimal():
        return one.lstrip("0") == other.lstrip("0")
    return one == other

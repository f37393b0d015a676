"""The documents of a file that its envelopes accept: a first pass checks them, a second reads them.

A set is only known to be right at its end, and may be larger than memory; so nothing is kept of it but where it begins.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Final

from pricegrid.edi.envelope.checking import check
from pricegrid.edi.envelope.model import CheckedSet, problem_text
from pricegrid.edi.profile import Profile, check_parties
from pricegrid.edi.syntax.model import TOLERATED, Fault, Header, Part, Segment
from pricegrid.edi.syntax.reading import read

COMPLAINTS_MAX: Final = 1_000
_BEGINS: Final = frozenset({"ST", "UNH"})
_ENDS: Final = frozenset({"SE", "UNT"})


@dataclass(frozen=True, slots=True)
class Document:
    """A set that is read: what it is, and its segments between header and trailer, to be read once."""

    kind: str
    control: str
    header: Header
    segments: Iterator[Segment]


@dataclass(slots=True)
class Checked:
    """What the first pass found."""

    accepted: set[int] = field(default_factory=set)
    """The bytes at which the accepted sets begin."""
    complaints: list[str] = field(default_factory=list)
    """What is rejected, and why."""
    rejected: int = 0

    def complain(self, text: str) -> None:
        """Counts something that is rejected."""
        self.rejected += 1
        if len(self.complaints) < COMPLAINTS_MAX:
            self.complaints.append(text)


def check_file(stream: BinaryIO, profile: Profile) -> Checked:
    """The first pass."""
    found = Checked()
    for each in check(read(stream)):
        if isinstance(each, Fault):
            if each.code not in TOLERATED:
                found.complain(str(each))
            continue
        check_parties(each, profile)
        dialect = each.header.dialect
        if each.problems:
            why = "; ".join(problem_text(problem, dialect) for problem in each.problems)
            found.complain(f"interchange {each.control} {why}")
            continue
        for group in each.groups:
            if group.problems:
                why = "; ".join(problem_text(problem, dialect) for problem in group.problems)
                found.complain(f"group {group.control} {why}")
                continue
            for one in group.sets:
                if one.is_right:
                    found.accepted.add(one.begin.offset)
                else:
                    why = "; ".join(problem_text(problem, dialect) for problem in one.problems)
                    found.complain(f"{one.kind} {one.control} {why}{_first_fault(one)}")
    return found


def _first_fault(one: CheckedSet) -> str:
    return f": {one.faults[0]}" if one.faults else ""


def documents(stream: BinaryIO, accepted: set[int]) -> Iterator[Document]:
    """The second pass, over the same bytes: the accepted sets in their order."""
    header: Header | None = None
    parts = read(stream)
    for part in parts:
        if isinstance(part, Header):
            header = part
        elif isinstance(part, Segment) and part.tag in _BEGINS and part.offset in accepted and header:
            kind, control = (
                (part.get(1).strip(), part.get(2)) if part.tag == "ST" else (part.get(2).strip(), part.get(1))
            )
            body = _body(parts)
            yield Document(kind, control, header, body)
            for _ in body:  # what its reader has left
                pass


def _body(parts: Iterator[Part]) -> Iterator[Segment]:
    for part in parts:
        if isinstance(part, Segment):
            if part.tag in _ENDS:
                return
            yield part

"""What the check of an envelope finds: interchanges, their groups and sets, each accepted or rejected, and why.

A set is a document: a transaction set of X12, a message of EDIFACT.
"""

from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from pricegrid.edi.syntax.model import Dialect, Fault, Header, Segment

SETS_MAX: Final = 100_000
"""Sets of an interchange; one with more is rejected, since each is kept until it is acknowledged."""
FAULTS_MAX: Final = 100
"""Faults that are kept of a set, and of what lies outside sets in an interchange; more are counted."""


class Problem(Enum):
    """Why an envelope rejects what is in it: the code of X12 at its level, the code of EDIFACT (0085), and words."""

    NO_SET_TRAILER = ("2", "13", "has no {set_end}")
    SET_CONTROL = ("3", "28", "{set_end} has another control number")
    SET_COUNT = ("4", "29", "{set_end} counts other segments")
    SET_SEGMENTS = ("5", "18", "has faulty segments")
    NO_SET_KIND = ("6", "13", "{set_begin} does not say what it is")
    SET_NUMBER = ("7", "26", "its control number is missing, or was used before in the group")
    NO_GROUP_TRAILER = ("3", "13", "has no {group_end}")
    GROUP_CONTROL = ("4", "28", "{group_end} has another control number")
    GROUP_COUNT = ("5", "29", "{group_end} counts other sets")
    NO_GROUP_NUMBER = ("6", "13", "{group_begin} has no control number")
    CONTROL = ("001", "28", "{end} has another control number")
    COUNT = ("021", "29", "{end} counts others")
    NO_NUMBER = ("018", "13", "has no control number")
    NO_TRAILER = ("023", "13", "has no {end}")
    SENDER = ("006", "23", "is not from this partner")
    RECEIVER = ("009", "7", "is not for us")
    STRUCTURE = ("022", "15", "has segments outside of sets")
    TOO_MANY_SETS = ("022", "18", f"has more than {SETS_MAX:,} sets")

    @property
    def x12(self) -> str:
        """The code in AK5, AK9 or TA1."""
        return self.value[0]

    @property
    def edifact(self) -> str:
        """The code in CONTRL."""
        return self.value[1]


@dataclass(slots=True)
class CheckedSet:
    """One document."""

    kind: str
    """850, ORDERS …"""
    control: str
    begin: Segment
    segments: int = 1
    """Its header and trailer included."""
    problems: list[Problem] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    """Those that reject it; `segment` counts from its header, which is 1."""

    @property
    def is_right(self) -> bool:
        """Whether nothing is wrong with the set itself; its group or interchange may be rejected all the same."""
        return not self.problems


@dataclass(slots=True)
class CheckedGroup:
    """One functional group; the sets of an interchange of EDIFACT without groups have one without a header."""

    begin: Segment | None
    kind: str = ""
    control: str = ""
    stated: str = ""
    """How many sets its trailer says that there are."""
    sets: list[CheckedSet] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    @property
    def accepted(self) -> int:
        """How many sets are."""
        return 0 if self.problems else sum(each.is_right for each in self.sets)

    @property
    def verdict(self) -> str:
        """A accepted, P some sets rejected, R rejected."""
        if self.problems or (self.sets and not self.accepted):
            return "R"
        return "A" if self.accepted == len(self.sets) else "P"


@dataclass(slots=True)
class CheckedInterchange:
    """One interchange."""

    header: Header
    control: str
    groups: list[CheckedGroup] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    """Of its header, and of what lies outside sets; those that are tolerated wherever they are."""
    faults_left_out: int = 0

    @property
    def is_rejected(self) -> bool:
        """Whether nothing of it counts."""
        return bool(self.problems)

    def is_accepted(self, group: CheckedGroup, found: CheckedSet) -> bool:
        """Whether a set goes on."""
        return not self.problems and not group.problems and found.is_right


WORDS: Final = {
    Dialect.X12: {
        "set_begin": "ST",
        "set_end": "SE",
        "group_begin": "GS",
        "group_end": "GE",
        "end": "IEA",
    },
    Dialect.EDIFACT: {
        "set_begin": "UNH",
        "set_end": "UNT",
        "group_begin": "UNG",
        "group_end": "UNE",
        "end": "UNZ",
    },
}
"""The tags of each family."""


def problem_text(problem: Problem, dialect: Dialect) -> str:
    """A problem in the words of a dialect."""
    return str(problem.value[2]).format(**WORDS[dialect])

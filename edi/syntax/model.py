"""What a file of EDI is made of once its syntax is read: headers, segments, and the faults found on the way."""

from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple, TypeAlias

SEGMENT_BYTES_MAX: Final = 65_536
"""A longer segment is skipped with a fault; real ones have a few hundred bytes."""

ELEMENTS_MAX: Final = 256
"""Elements of a segment, and components of an element; the standards stop far below."""


class Dialect(Enum):
    """The two families of standards."""

    X12 = "x12"
    EDIFACT = "edifact"


@dataclass(frozen=True, slots=True)
class Separators:
    """The characters that structure an interchange, one byte each; b"" where a dialect or file has none."""

    element: bytes
    component: bytes
    terminator: bytes
    """May be b"\\r\\n"."""
    repetition: bytes = b""
    release: bytes = b""
    decimal: bytes = b"."


X12_SEPARATORS: Final = Separators(b"*", b">", b"~")
EDIFACT_SEPARATORS: Final = Separators(b"+", b":", b"'", release=b"?")
"""What holds without a UNA."""


class Repeated(tuple[tuple[str, ...], ...]):
    """An element that is repeated: its occurrences, each with its components."""

    __slots__ = ()


Element: TypeAlias = tuple[str, ...] | Repeated
"""The components of an element; a simple element has one."""


class Segment(NamedTuple):
    """One segment. `get` reads it as the standards count: elements and components from 1."""

    tag: str
    elements: tuple[Element, ...]
    offset: int = 0
    """Byte of the file at which it begins."""
    number: int = 0
    """Its place in the interchange, the header being 1."""

    def get(self, element: int, component: int = 1) -> str:
        """The text of a component, of the first occurrence; "" where there is none."""
        if element > len(self.elements):
            return ""
        found = self.elements[element - 1]
        if isinstance(found, Repeated):
            found = found[0]
        return found[component - 1] if component <= len(found) else ""


class Code(Enum):
    """What can be wrong with the bytes of a file."""

    NOTHING = "NOTHING"
    """There is no interchange in the file."""
    UNKNOWN_FORMAT = "UNKNOWN_FORMAT"
    """Neither X12 nor EDIFACT: EBCDIC, UTF-16, or something else."""
    UNKNOWN_DATA = "UNKNOWN_DATA"
    """Bytes outside any interchange, skipped."""
    BYTE_ORDER_MARK = "BYTE_ORDER_MARK"
    BAD_HEADER = "BAD_HEADER"
    """An ISA, UNA or UNB that can't be read; what follows is skipped up to the next."""
    HEADER_WIDTH = "HEADER_WIDTH"
    """An element of an ISA is shorter or longer than the standard has it."""
    LINE_ENDS_INSIDE = "LINE_ENDS_INSIDE"
    """Line ends inside segments, taken out."""
    INVALID_CHARACTER = "INVALID_CHARACTER"
    """A control character."""
    ENCODING = "ENCODING"
    """Bytes that the declared character set does not have, read as Latin-1."""
    BAD_TAG = "BAD_TAG"
    """A segment that begins with no name of a segment."""
    SEGMENT_TOO_LONG = "SEGMENT_TOO_LONG"
    TOO_MANY_ELEMENTS = "TOO_MANY_ELEMENTS"
    UNFINISHED = "UNFINISHED"
    """The file ends inside a segment."""
    NO_TRAILER = "NO_TRAILER"
    """The interchange has no IEA or UNZ."""


TOLERATED: Final = frozenset(
    {Code.BYTE_ORDER_MARK, Code.HEADER_WIDTH, Code.LINE_ENDS_INSIDE, Code.ENCODING, Code.UNKNOWN_DATA}
)
"""Faults after which the content is read all the same, and nothing is rejected for."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong, and where: the byte of the file, the segment of the interchange, the element."""

    code: Code
    message: str
    offset: int
    tag: str = ""
    segment: int = 0
    element: int = 0

    def __str__(self) -> str:
        where = f"byte {self.offset}"
        if self.segment:
            where += f", segment {self.segment}"
        if self.tag:
            where += f", {self.tag}{f'{self.element:02}' if self.element else ''}"
        return f"{self.code.value} at {where}: {self.message}"


@dataclass(frozen=True, slots=True)
class Header:
    """The beginning of an interchange: its ISA or UNB, and how it is written."""

    dialect: Dialect
    separators: Separators
    segment: Segment
    charset: str
    has_una: bool = False


Part: TypeAlias = Header | Segment | Fault
"""What reading yields, in the order of the file."""

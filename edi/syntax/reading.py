"""Bytes in, segments out: interchanges of X12 and EDIFACT, as many as a file has, whatever else is in it.

`read` goes through a file once and keeps one chunk of it. It looks for the beginning of an interchange, takes the
separators from there (`headers`), and then finds one terminator after the other; `splitting` makes elements of what
is between. An interchange ends with its IEA or UNZ, or where another begins. What is wrong is yielded as a `Fault`
where it is found, and reading goes on behind it.
"""

import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO, Final

from pricegrid.edi.syntax.headers import CHARSETS, UNA_BYTES, read_isa, read_una
from pricegrid.edi.syntax.model import (
    ELEMENTS_MAX,
    SEGMENT_BYTES_MAX,
    Code,
    Dialect,
    Element,
    Fault,
    Header,
    Part,
    Segment,
    Separators,
)
from pricegrid.edi.syntax.source import Source
from pricegrid.edi.syntax.splitting import SplitError, Splitter, is_released

_BETWEEN: Final = b"\r\n\t \x1a"
"""May stand between interchanges; 0x1A ends files of DOS."""
_BEGIN: Final = re.compile(rb"(?:ISA|UNA|UNB)[^A-Za-z0-9\s]")
_BEGIN_IN_DATA: Final = re.compile(
    rb"ISA([^A-Za-z0-9\s]).{0,4}\1|(?<![A-Za-z0-9])UNA[^A-Za-z0-9\s]|UNB[^A-Za-z0-9\s]UN"
)
"""An interchange behind other bytes, some of which may look like its beginning."""
_BEGIN_BYTES_MAX: Final = 12
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_UTF_8_MARK: Final = b"\xef\xbb\xbf"
_STRANGE: Final = (
    (b"\xff\xfe", "UTF-16; send UTF-8 or Latin-1"),
    (b"\xfe\xff", "UTF-16; send UTF-8 or Latin-1"),
    (b"\xc9\xe2\xc1", "EBCDIC; send ASCII"),
    (b"\xe4\xd5\xc1", "EBCDIC; send ASCII"),
    (b"\xe4\xd5\xc2", "EBCDIC; send ASCII"),
    (b"\x00", "bytes of zero"),
    (b"PK\x03\x04", "a ZIP archive; unpack it"),
    (b"\x1f\x8b", "compressed by gzip; unpack it"),
)
_RUN_BYTES: Final = 16_384
"""How much is split at once where all segments are plain."""
_CAREFUL: Final = 16
"""Segments that are taken one by one before the next run of plain ones is tried: where every other segment is unusual,
no run is split in vain more often than that."""
_TRAILERS: Final = {Dialect.X12: "IEA", Dialect.EDIFACT: "UNZ"}
_TAG_LENGTHS: Final = {Dialect.X12: (2, 3), Dialect.EDIFACT: (3,)}


def read(stream: BinaryIO) -> Iterator[Part]:
    """All headers, segments and faults of a file, in its order."""
    source = Source(stream)
    if source.peek(3) == _UTF_8_MARK:
        yield Fault(Code.BYTE_ORDER_MARK, "the file begins with a byte order mark", 0)
        source.place = 3
    is_empty, read_any = True, False
    while True:
        source.skip_any(_BETWEEN)
        begin = source.peek(4)
        if not begin:
            break
        is_empty = False
        if _BEGIN.match(begin):
            found = yield from (_x12(source) if begin.startswith(b"ISA") else _edifact(source))
            read_any = read_any or found
        else:
            yield _skipped(source, read_any=read_any)
    if is_empty:
        yield Fault(Code.NOTHING, "the file is empty", 0)


def _skipped(source: Source, *, read_any: bool) -> Fault:
    """Goes on to where an interchange may begin."""
    begin = source.offset
    first = source.peek(4)
    while True:
        found = _BEGIN_IN_DATA.search(source.buffer, source.place)
        if found:
            source.place = found.start()
            break
        source.place = max(source.place, len(source.buffer) - _BEGIN_BYTES_MAX)
        if not source.fill():
            source.place = len(source.buffer)
            break
    length = source.offset - begin
    if not read_any and source.is_at_end and source.place == len(source.buffer):
        what = next((text for mark, text in _STRANGE if first.startswith(mark)), f"it begins with {first!r}")
        return Fault(Code.UNKNOWN_FORMAT, f"neither X12 nor EDIFACT: {what}", begin)
    return Fault(Code.UNKNOWN_DATA, f"{length:,} bytes outside interchanges are skipped", begin)


def _x12(source: Source) -> Generator[Part, None, bool]:
    found = read_isa(source)
    if isinstance(found, Fault):
        source.place += 3
        yield found
        return False
    yield found.header
    yield from found.faults
    source.place += found.length
    wrapped = any(fault.code is Code.LINE_ENDS_INSIDE for fault in found.faults)
    separators, charset = found.header.separators, found.header.charset
    yield from _Body(Dialect.X12, separators, charset, told_of_line_ends=wrapped).segments(source)
    return True


def _edifact(source: Source) -> Generator[Part, None, bool]:
    separators = read_una(source)
    if isinstance(separators, Fault):
        source.place += 3
        yield separators
        return False
    has_una = source.peek(3) == b"UNA"
    if has_una:
        source.place += UNA_BYTES
        source.skip_any(_BETWEEN)
    if source.peek(3) != b"UNB":
        yield Fault(Code.BAD_HEADER, "a UNA without a UNB behind it", source.offset, "UNA", 1)
        return False
    yield from _Body(Dialect.EDIFACT, separators, "latin-1", has_una=has_una).segments(source)
    return True


@dataclass(slots=True)
class _Body:
    """What is known of the interchange that is read."""

    dialect: Dialect
    separators: Separators
    charset: str
    has_una: bool = False
    told_of_line_ends: bool = False
    told_of_charset: bool = False

    def segments(self, source: Source) -> Iterator[Part]:
        """The segments behind the header (of EDIFACT: with it), up to the trailer."""
        trailer = _TRAILERS[self.dialect]
        number = 1 if self.dialect is Dialect.X12 else 0
        splitter = Splitter(self.separators, self.charset, set(), _TAG_LENGTHS[self.dialect])
        careful = _CAREFUL
        while True:
            careful -= 1
            if careful <= 0:
                number = yield from self._plain_run(source, splitter.tags, number)
                careful = _CAREFUL
            taken = self._take(source)
            if taken is None:
                yield Fault(Code.NO_TRAILER, f"the file ends without {trailer}", source.offset, "", number)
                return
            raw, offset, is_whole = taken
            number += 1
            if isinstance(raw, int):
                yield Fault(Code.SEGMENT_TOO_LONG, f"{raw:,} bytes are skipped", offset, "", number)
                if number == 1:
                    return
                continue
            if number > 1 and self._begins_another(raw):
                source.place = offset - source.base
                yield Fault(Code.NO_TRAILER, f"an interchange ends without {trailer}", offset, "", number)
                return
            try:
                tag, elements = splitter.split(self._without_line_ends(raw))
            except SplitError as error:
                code = error.code if number > 1 else Code.BAD_HEADER
                yield Fault(code, str(error), offset, _tag_of(raw), number, error.element)
                if number == 1:
                    return
                continue
            if not is_whole and tag != trailer:
                yield Fault(Code.UNFINISHED, "the file ends inside a segment", offset, tag, number)
                continue
            segment = Segment(tag, elements, offset, number)
            yield from self._remarks(raw, segment, splitter)
            yield segment if number > 1 else self._unb(segment, splitter)
            if tag == trailer:
                return

    def _plain_run(self, source: Source, tags: set[str], number: int) -> Generator[Segment, None, int]:
        """Segments as most are, many at a time: known tags, ASCII, nothing released, repeated or wrapped. It ends
        before the first that is not so; returns the number of the last one."""
        separators = self.separators
        if not (separators.element + separators.terminator + separators.component).isascii():
            return number
        element, component, terminator = (
            each.decode("ascii")
            for each in (separators.element, separators.component, separators.terminator[-1:])
        )
        unusual = [each for each in (separators.release, separators.repetition) if each]
        blanks = "\r\n \t".replace(element, "")
        while True:
            window = source.buffer[source.place : source.place + _RUN_BYTES]
            end = window.rfind(separators.terminator[-1:])
            if end < 0:
                if len(window) == _RUN_BYTES or not source.fill():
                    return number
                continue
            window = window[:end]
            if not window.isascii() or _CONTROL.search(window) or any(each in window for each in unusual):
                return number
            offset = source.offset
            for raw in window.decode("ascii").split(terminator):
                line = raw.lstrip(blanks)
                begin = offset + len(raw) - len(line)
                offset += len(raw) + 1
                fields = line.split(element)
                tag = fields[0]
                if tag not in tags or "\n" in line or "\r" in line or len(fields) > ELEMENTS_MAX:
                    source.place = begin - source.base
                    return number
                del fields[0]
                if not (component and component in line):
                    found: tuple[Element, ...] = tuple(zip(fields))
                elif line.count(component) < ELEMENTS_MAX:
                    found = tuple([tuple(field.split(component)) for field in fields])
                else:
                    source.place = begin - source.base
                    return number
                number += 1
                yield Segment(tag, found, begin, number)
            source.place = offset - source.base

    def _without_line_ends(self, raw: bytes) -> bytes:
        if self.separators.terminator[-1:] in b"\r\n":
            return raw
        return raw.replace(b"\r", b"").replace(b"\n", b"")

    def _take(self, source: Source) -> tuple[bytes | int, int, bool] | None:
        """The next segment, its byte in the file, and whether its terminator was there; its length alone where it is
        too long. None at the end of the file."""
        terminator = self.separators.terminator[-1:]
        release = self.separators.release
        blanks = b"\r\n \t".replace(self.separators.element, b"")
        while True:
            source.skip_any(blanks)
            begin, searched = source.offset, source.place
            while True:
                end = source.buffer.find(terminator, searched)
                if end >= 0 and release and is_released(source.buffer, end, source.place, release):
                    searched = end + 1
                    continue
                if end >= 0 or len(source.buffer) - source.place > SEGMENT_BYTES_MAX:
                    break
                searched = len(source.buffer) - source.place
                if not source.fill():
                    break
            if end < 0:
                if len(source.buffer) - source.place > SEGMENT_BYTES_MAX:
                    return self._skip_segment(source, terminator), begin, True
                raw, source.place = source.buffer[source.place :], len(source.buffer)
                raw = raw.rstrip(b"\r\n\x1a\x00 ")
                return (raw, begin, False) if raw else None
            raw = source.buffer[source.place : end]
            source.place = end + 1
            if len(raw) > SEGMENT_BYTES_MAX:
                return len(raw), begin, True
            if terminator == b"\n":
                raw = raw.rstrip(b"\r")
            if raw:
                return raw, begin, True

    @staticmethod
    def _skip_segment(source: Source, terminator: bytes) -> int:
        """Takes a segment that is too long, whatever is released in it; how many bytes it has."""
        length = 0
        while True:
            end = source.buffer.find(terminator, source.place)
            if end >= 0:
                length += end - source.place
                source.place = end + 1
                return length
            length += len(source.buffer) - source.place
            source.place = len(source.buffer)
            if not source.fill():
                return length

    def _begins_another(self, raw: bytes) -> bool:
        words = (b"ISA",) if self.dialect is Dialect.X12 else (b"UNA", b"UNB")
        return raw.startswith(words) and _BEGIN.match(raw) is not None

    def _remarks(self, raw: bytes, segment: Segment, splitter: Splitter) -> Iterator[Fault]:
        """What is odd in a segment that could be split."""
        if splitter.used_latin_1 and not self.told_of_charset:
            self.told_of_charset = True
            message = f"bytes that are not {self.charset} are read as Latin-1"
            yield Fault(Code.ENCODING, message, segment.offset, segment.tag, segment.number)
        if not self.told_of_line_ends and self._without_line_ends(raw) != raw:
            self.told_of_line_ends = True
            message = "line ends inside segments are taken out"
            yield Fault(Code.LINE_ENDS_INSIDE, message, segment.offset, segment.tag, segment.number)
        if _CONTROL.search(raw):
            yield from self._control_faults(segment)

    def _control_faults(self, segment: Segment) -> Iterator[Fault]:
        for at, element in enumerate(segment.elements, 1):
            text = "".join(map(str, element))
            found = _CONTROL.search(text.encode("utf-8", "replace"))
            if found:
                message = f"the control character 0x{found[0][0]:02X}"
                yield Fault(Code.INVALID_CHARACTER, message, segment.offset, segment.tag, segment.number, at)

    def _unb(self, segment: Segment, splitter: Splitter) -> Header:
        """The header of an EDIFACT interchange; from here on its own character set and repetition hold."""
        self.charset = splitter.charset = CHARSETS.get(segment.get(1), "latin-1")
        if segment.get(1, 2) >= "4" and not self.has_una:
            self.separators = splitter.separators = replace(self.separators, repetition=b"*")
        elif segment.get(1, 2) < "4":
            self.separators = splitter.separators = replace(self.separators, repetition=b"")
        return Header(Dialect.EDIFACT, self.separators, segment, self.charset, self.has_una)


def _tag_of(raw: bytes) -> str:
    found = re.match(rb"[A-Z][A-Z0-9]{1,2}", raw)
    return found[0].decode("ascii") if found else ""

"""Segments into bytes. What can't be written so that it is read again as it was is refused, with its place."""

from collections.abc import Iterable

from pricegrid.edi.syntax.headers import ISA_WIDTHS
from pricegrid.edi.syntax.model import Dialect, Element, Header, Repeated, Segment, Separators


class WritingError(ValueError):
    """A text that has no form in the interchange; the message names segment and element."""


def una(separators: Separators) -> bytes:
    """The UNA that declares separators."""
    repetition, release = separators.repetition or b" ", separators.release or b" "
    parts = (separators.component, separators.element, separators.decimal, release, repetition)
    return b"UNA" + b"".join(parts) + separators.terminator


class Writer:
    """Writes the segments of one interchange, in the separators and the character set of its header."""

    def __init__(self, header: Header, line_end: bytes = b"") -> None:
        self._separators = header.separators
        self._charset = header.charset
        self._header = header
        self._end = header.separators.terminator + line_end
        found = (self._separators.element, self._separators.component, self._separators.repetition)
        self._structure = {each.decode("latin-1") for each in found if each}
        self._structure.update(self._separators.terminator.decode("latin-1"))
        self._release = self._separators.release.decode("latin-1")
        escaped = {*self._structure, self._release} if self._release else set()
        self._escapes = str.maketrans({each: self._release + each for each in escaped})

    def header(self) -> bytes:
        """The ISA, or UNA and UNB."""
        header, end = self._header, self._end
        if header.dialect is Dialect.EDIFACT:
            begin = una(self._separators) + end[len(self._separators.terminator) :] if header.has_una else b""
            return begin + self.segment(header.segment)
        texts = [element[0] for element in header.segment.elements if not isinstance(element, Repeated)]
        if len(texts) != len(ISA_WIDTHS):
            raise WritingError(f"an ISA of {len(texts)} elements, not {len(ISA_WIDTHS)}")
        return self._separators.element.join([b"ISA", *(self._encode(text) for text in texts)]) + end

    def segment(self, segment: Segment) -> bytes:
        """One segment with its terminator; WritingError."""
        parts = [self._encode(segment.tag)]
        for at, element in enumerate(segment.elements, 1):
            try:
                parts.append(self._element(element))
            except WritingError as error:
                raise WritingError(f"{segment.tag}{at:02}: {error}") from None
        return self._separators.element.join(parts) + self._end

    def interchange(self, segments: Iterable[Segment]) -> bytes:
        """The header and the segments."""
        return b"".join([self.header(), *(self.segment(each) for each in segments)])

    def _element(self, element: Element) -> bytes:
        if not isinstance(element, Repeated):
            return self._components(element)
        if not self._separators.repetition:
            raise WritingError("is repeated, and the interchange has no repetition separator")
        return self._separators.repetition.join(self._components(each) for each in element)

    def _components(self, components: tuple[str, ...]) -> bytes:
        if len(components) > 1 and not self._separators.component:
            raise WritingError("has components, and the interchange has no component separator")
        return self._separators.component.join(self._text(each) for each in components)

    def _text(self, text: str) -> bytes:
        if "\n" in text or "\r" in text:
            raise WritingError(f"{text!r} has a line end")
        if self._release:
            return self._encode(text.translate(self._escapes))
        found = next((each for each in text if each in self._structure), None)
        if found is not None:
            raise WritingError(f"{text!r} has the separator {found!r}")
        return self._encode(text)

    def _encode(self, text: str) -> bytes:
        try:
            return text.encode(self._charset)
        except UnicodeEncodeError:
            raise WritingError(f"{text!r} can't be written as {self._charset}") from None

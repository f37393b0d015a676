"""One segment's bytes into its elements and components."""

from dataclasses import dataclass

from pricegrid.edi.syntax.model import ELEMENTS_MAX, Code, Element, Repeated, Separators


class SplitError(Exception):
    """A segment that can't be split, with the code of its fault and the element concerned, if it is one."""

    def __init__(self, code: Code, message: str, element: int = 0) -> None:
        super().__init__(message)
        self.code = code
        self.element = element


@dataclass(slots=True)
class Splitter:
    """Splits the segments of one interchange; it remembers which tags were seen to be well formed."""

    separators: Separators
    charset: str
    tags: set[str]
    tag_lengths: tuple[int, ...]
    used_latin_1: bool = False
    """Whether a segment's bytes were not those of the character set."""

    def split(self, raw: bytes) -> tuple[str, tuple[Element, ...]]:
        """The tag and the elements; SplitError."""
        release = self.separators.release
        if release and release in raw:
            return self._split_released(raw)
        fields = self._texts(raw)
        if len(fields) > ELEMENTS_MAX:
            raise SplitError(Code.TOO_MANY_ELEMENTS, f"{len(fields) - 1:,} elements")
        tag = fields[0]
        if tag not in self.tags:
            self._learn(tag)
        del fields[0]
        component, repetition = self.separators.component, self.separators.repetition
        if (component and component in raw) or (repetition and repetition in raw):
            return tag, tuple([self._element(field, at) for at, field in enumerate(fields, 1)])
        return tag, tuple(zip(fields))

    def _learn(self, tag: str) -> None:
        good = len(tag) in self.tag_lengths and tag.isascii() and tag.isalnum() and tag[0].isalpha()
        if not (good and tag.isupper()):
            raise SplitError(Code.BAD_TAG, f"{tag[:16]!r} is no name of a segment")
        self.tags.add(tag)

    def _texts(self, raw: bytes) -> list[str]:
        element = self.separators.element
        if raw.isascii() and element.isascii():
            return raw.decode("ascii").split(element.decode("ascii"))
        return [self._decode(part) for part in raw.split(element)]

    def _decode(self, raw: bytes) -> str:
        try:
            return raw.decode(self.charset)
        except UnicodeDecodeError:
            self.used_latin_1 = True
            return raw.decode("latin-1")

    def _element(self, text: str, at: int) -> Element:
        repetition = self.separators.repetition.decode("latin-1")
        if repetition and repetition in text:
            return Repeated([self._components(part, at) for part in text.split(repetition)])
        return self._components(text, at)

    def _components(self, text: str, at: int) -> tuple[str, ...]:
        component = self.separators.component.decode("latin-1")
        parts = tuple(text.split(component)) if component else (text,)
        if len(parts) > ELEMENTS_MAX:
            raise SplitError(Code.TOO_MANY_ELEMENTS, f"{len(parts):,} components", at)
        return parts

    def _split_released(self, raw: bytes) -> tuple[str, tuple[Element, ...]]:
        """The same where some separators are released, that is, are characters of a text."""
        separators = self.separators
        fields = split_released(raw, separators.element, separators.release)
        if len(fields) > ELEMENTS_MAX:
            raise SplitError(Code.TOO_MANY_ELEMENTS, f"{len(fields) - 1:,} elements")
        tag = self._decode(fields[0])
        if tag not in self.tags:
            self._learn(tag)
        return tag, tuple([self._released_element(field, at) for at, field in enumerate(fields[1:], 1)])

    def _released_element(self, raw: bytes, at: int) -> Element:
        separators = self.separators
        repeated = split_released(raw, separators.repetition, separators.release)
        found = []
        for occurrence in repeated:
            parts = split_released(occurrence, separators.component, separators.release)
            if len(parts) > ELEMENTS_MAX:
                raise SplitError(Code.TOO_MANY_ELEMENTS, f"{len(parts):,} components", at)
            found.append(tuple([self._decode(unreleased(part, separators.release)) for part in parts]))
        return found[0] if len(found) == 1 else Repeated(found)


def split_released(raw: bytes, separator: bytes, release: bytes) -> list[bytes]:
    """Splits at separators that are not released; release characters stay."""
    if not separator or separator not in raw:
        return [raw]
    found: list[bytes] = []
    begin = place = 0
    while True:
        at = raw.find(separator, place)
        if at < 0:
            found.append(raw[begin:])
            return found
        if not is_released(raw, at, begin, release):
            found.append(raw[begin:at])
            begin = at + 1
        place = at + 1


def is_released(raw: bytes, at: int, begin: int, release: bytes) -> bool:
    """Whether an odd number of release characters stands right before a byte."""
    before = at
    while before > begin and raw[before - 1 : before] == release:
        before -= 1
    return (at - before) % 2 == 1


def unreleased(raw: bytes, release: bytes) -> bytes:
    """A text without its release characters."""
    if release not in raw:
        return raw
    parts: list[bytes] = []
    place = 0
    while True:
        at = raw.find(release, place)
        if at < 0:
            parts.append(raw[place:])
            return b"".join(parts)
        parts.extend((raw[place:at], raw[at + 1 : at + 2]))
        place = at + 2

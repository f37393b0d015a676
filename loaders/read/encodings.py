"""The bytes of a text file to UTF-8.

A byte order mark or a statement says what a file is. Without either it is UTF-8, and a row with other bytes is
rejected: which letters they are can't be told from a name. One case can be shown: when every byte beyond ASCII is a
letter (`ä`, `ö`, `ü`, `ß`, `é` ...) on which the Latin code pages of Europe agree, and stands inside a word of ASCII
letters, all of these code pages read the file alike. It is read so, and the report says so.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pricegrid.loaders.errors import DatasetError
from pricegrid.loaders.read.dialect import ENCODINGS

Bytes = NDArray[np.uint8]

_UTF8_MARK: Final = b"\xef\xbb\xbf"
_UTF16_MARKS: Final = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
_UTF32_MARKS: Final = (b"\xff\xfe\x00\x00", b"\x00\x00\xfe\xff")
_LATIN: Final = ("cp1252", "cp1250", "cp1254", "cp1257", "iso8859-1", "iso8859-2", "iso8859-15", "iso8859-16")
_LOOK_BYTES: Final = 4096
_RUN_MAX: Final = 2
"""Letters beyond ASCII in a row, as in `Größe`; longer runs are words of another script."""


_LETTERS: Final = np.isin(np.arange(256), list(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"))


def _agreed() -> Bytes:
    readings = {byte: {bytes([byte]).decode(page, "replace") for page in _LATIN} for byte in range(128, 256)}
    return np.array(
        [byte for byte, found in readings.items() if len(found) == 1 and found.pop().isalpha()], np.uint8
    )


@dataclass(frozen=True, slots=True)
class Decoded:
    """A file as UTF-8; `data` is the file's own memory where nothing had to be done."""

    data: Bytes
    encoding: str
    evidence: str | None = None
    own: bool = False
    """Whether `data` is no longer what the file holds."""


def decoded(file: str, data: Bytes, stated: str | None) -> Decoded:
    """The bytes of a file as UTF-8. A character that the encoding doesn't have becomes bytes that are not UTF-8, which
    cost their row. DatasetError: the mark contradicts what is stated, or it is UTF-32, or UTF-16 without a mark."""
    head = data[:4].tobytes()
    if head in _UTF32_MARKS:
        raise DatasetError(f"{file}: is UTF-32, which is not read: save it as UTF-8")
    mark = _UTF16_MARKS.get(head[:2]) or ("utf-8" if head.startswith(_UTF8_MARK) else None)
    if mark and stated and not mark.startswith(stated):
        raise DatasetError(f"{file}: is said to be {stated}, and begins with the mark of {mark}")
    if stated == "utf-16" and mark is None:
        raise DatasetError(f"{file}: has no mark of UTF-16: say utf-16-le (Windows) or utf-16-be")
    encoding = mark or stated or "utf-8"
    if encoding == "utf-8":
        _require_text(file, data)
        return Decoded(data, "utf-8", own=False)
    text = _text(file, data, encoding)
    return Decoded(
        _utf8(text.removeprefix("\ufeff")), encoding, "byte order mark" if mark else None, own=True
    )


def _require_text(file: str, data: Bytes) -> None:
    head = data[:_LOOK_BYTES]
    zeros = np.flatnonzero(head == 0)
    if len(zeros) * 4 > len(head):
        guess = "utf-16-be" if zeros[0] % 2 == 0 else "utf-16-le"
        raise DatasetError(f"{file}: has zero bytes like UTF-16 without a mark: say --encoding {guess}")


def _text(file: str, data: Bytes, encoding: str) -> str:
    raw = data.tobytes()
    if encoding.startswith("utf-16"):
        if len(raw) % 2:
            raise DatasetError(f"{file}: {encoding} ends inside a character: is it cut off?")
        return raw.decode(encoding, "surrogatepass")
    return raw.decode(ENCODINGS[encoding], "surrogateescape")


def _utf8(text: str) -> Bytes:
    return np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8)


def shown_latin(data: Bytes) -> Decoded | None:
    """The file as UTF-8, if all Latin code pages read it alike; else None."""
    at = np.flatnonzero(data >= 0x80)
    if not len(at) or not np.isin(data[at], _agreed()).all():
        return None
    first = np.flatnonzero(np.diff(at, prepend=-2) != 1)
    length = np.diff(first, append=len(at))
    starts = at[first]
    before = _LETTERS[data[np.maximum(starts - 1, 0)]] & (starts > 0)
    ends = np.minimum(starts + length, len(data) - 1)
    after = _LETTERS[data[ends]] & (starts + length < len(data))
    if (length > _RUN_MAX).any() or not (before | after).all():
        return None
    word = _word(data, int(at[0]))
    evidence = f'not UTF-8; all Latin code pages read it alike, e.g. "{word}"'
    return Decoded(_utf8(data.tobytes().decode("cp1252")), "windows-1252", evidence, own=True)


def _word(data: Bytes, at: int) -> str:
    begin = at
    while begin > 0 and (data[begin - 1] >= 0x80 or chr(data[begin - 1]).isalnum()):
        begin -= 1
    end = at
    while end < len(data) and (data[end] >= 0x80 or chr(data[end]).isalnum()):
        end += 1
    return data[begin:end].tobytes().decode("cp1252", "replace")[:40]


def readings_of(data: bytes) -> str:
    """How two code pages read a word that is not UTF-8, for a message."""
    found = np.frombuffer(data, np.uint8)
    at = np.flatnonzero(found >= 0x80)
    begin, end = max(0, int(at[0]) - 10), min(len(data), int(at[0]) + 10)
    word = data[begin:end].replace(b"\n", b" ").replace(b"\r", b" ")
    readings = dict.fromkeys(
        f'"{word.decode(ENCODINGS[name], "replace")}" in {name}'
        for name in ("windows-1252", "windows-1250", "cp850")
    )
    return ", ".join(readings)

"""The encoding of keys, records and notes, the same in SQLite and in Redis.

    field    space, NUL, name; UTF-8
    stored   version in decimal, then ':' and the value, or '-' when there is none
    records  for each: length of the field, field, length of the stored form, stored form
    notes    for each: length, note
    digest   16 bytes of BLAKE2b over the notes of a commit; identifies them in the history

Lengths are 4 bytes, little-endian. The Lua scripts write `records` too (`struct.pack('<I4', ...)`).
"""

import hashlib
import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from pricegrid.cache.protocol import CacheCorruptError, Key, Record

VERSION_DIGITS_MAX: Final = 15
"""Versions stay below 10¹⁵, which Lua's doubles represent exactly."""

_length = struct.Struct("<I")
_STORED: Final = re.compile(rb"([0-9]{1,%d})([:-])" % VERSION_DIGITS_MAX, re.DOTALL)


def field_of(key: Key) -> bytes:
    """The field of a record. A space must not contain NUL, the separator, or begin with '~', for internal records."""
    space, name = key
    if "\0" in space or space[:1] == "~":
        raise ValueError(f"a space must not contain NUL or begin with '~': {space!r}")
    return f"{space}\0{name}".encode()


def key_of(field: bytes) -> Key:
    """The key of a field."""
    space, separator, name = field.partition(b"\0")
    if not separator:
        raise CacheCorruptError(f"not the field of a record: {field!r}")
    return space.decode(), name.decode()


def stored_of(version: int, value: bytes | None) -> bytes:
    """Encodes a version and its value."""
    return b"%d-" % version if value is None else b"%d:%b" % (version, value)


def unstored(stored: bytes, what: bytes) -> tuple[int, bytes | None]:
    """Decodes a version and its value; `what` is named in the error when they are damaged."""
    match = _STORED.match(stored)
    if match is None or (match[2] == b"-" and match.end() != len(stored)):
        raise CacheCorruptError(f"record {what!r} is not in the format of this release")
    return int(match[1]), (None if match[2] == b"-" else stored[match.end() :])


def joined(parts: Iterable[bytes]) -> bytes:
    """Concatenates byte strings, each prefixed by its length."""
    pieces: list[bytes] = []
    for part in parts:
        pieces += (_length.pack(len(part)), part)
    return b"".join(pieces)


def parted(blob: bytes) -> list[bytes]:
    """Splits what `joined` has concatenated."""
    parts: list[bytes] = []
    offset, end = 0, len(blob)
    while offset < end:
        if offset + 4 > end:
            raise CacheCorruptError("a change of the log is cut short")
        (size,) = _length.unpack_from(blob, offset)
        offset += 4 + size
        if offset > end:
            raise CacheCorruptError("a change of the log is cut short")
        parts.append(blob[offset - size : offset])
    return parts


def pack_records(records: Iterable[tuple[bytes, int, bytes | None]]) -> bytes:
    """Encodes (field, version, value) of each record."""
    return joined(part for field, version, value in records for part in (field, stored_of(version, value)))


def unpack_records(blob: bytes) -> Iterator[tuple[bytes, int, bytes | None]]:
    """Decodes what `pack_records` has encoded."""
    parts = parted(blob)
    for field, stored in zip(parts[::2], parts[1::2], strict=True):
        yield field, *unstored(stored, field)


def digest_of(notes: bytes) -> bytes:
    """Identifies the notes of a commit: the same notes are one entry of the history, whichever server sends them."""
    return hashlib.blake2b(notes, digest_size=16).digest()


def as_records(rows: Iterable[tuple[bytes, int, bytes | None]]) -> Sequence[Record]:
    """Rows as records of the protocol."""
    return [Record(*key_of(field), version, value) for field, version, value in rows]

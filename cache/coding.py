"""How keys, records and notes are written as bytes, the same in SQLite and in Redis.

    field    space, NUL, name; UTF-8
    stored   version in decimal, then ':' and the value, or '-' when there is none
    records  for each: length of the field, field, length of the stored form, stored form
    notes    for each: length, note
    digest   of the notes of a commit: 16 bytes of BLAKE2b, their name in the history

Lengths are 4 bytes, little-endian. Redis' Lua writes `records` too (`struct.pack('<I4', ...)`).
"""

import hashlib
import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from pricegrid.cache.protocol import CacheCorruptError, Key, Record

VERSION_DIGITS_MAX: Final = 15
"""Versions stay below 10¹⁵, which Lua's doubles count exactly."""

_length = struct.Struct("<I")
_STORED: Final = re.compile(rb"([0-9]{1,%d})([:-])" % VERSION_DIGITS_MAX, re.DOTALL)


def field_of(key: Key) -> bytes:
    """The bytes that name a record. A NUL would blur where the name begins; '~' marks this package's own records."""
    space, name = key
    if "\0" in space or space[:1] == "~":
        raise ValueError(f"a space has no NUL and does not begin with '~': {space!r}")
    return f"{space}\0{name}".encode()


def key_of(field: bytes) -> Key:
    """Back from the bytes."""
    space, separator, name = field.partition(b"\0")
    if not separator:
        raise CacheCorruptError(f"not the name of a record: {field!r}")
    return space.decode(), name.decode()


def stored_of(version: int, value: bytes | None) -> bytes:
    """A version and its value."""
    return b"%d-" % version if value is None else b"%d:%b" % (version, value)


def unstored(stored: bytes, what: bytes) -> tuple[int, bytes | None]:
    """Back from the bytes; `what` is named when they are damaged."""
    match = _STORED.match(stored)
    if match is None or (match[2] == b"-" and match.end() != len(stored)):
        raise CacheCorruptError(f"record {what!r} is stored in a way this release does not write")
    return int(match[1]), (None if match[2] == b"-" else stored[match.end() :])


def joined(parts: Iterable[bytes]) -> bytes:
    """Byte strings one after the other, each with its length."""
    pieces: list[bytes] = []
    for part in parts:
        pieces += (_length.pack(len(part)), part)
    return b"".join(pieces)


def parted(blob: bytes) -> list[bytes]:
    """Back from the bytes."""
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
    """(field, version, value) of each."""
    return joined(part for field, version, value in records for part in (field, stored_of(version, value)))


def unpack_records(blob: bytes) -> Iterator[tuple[bytes, int, bytes | None]]:
    """Back from the bytes."""
    parts = parted(blob)
    for field, stored in zip(parts[::2], parts[1::2], strict=True):
        yield field, *unstored(stored, field)


def digest_of(notes: bytes) -> bytes:
    """What the notes of a commit are called: the same notes are one entry of the history, whoever told them."""
    return hashlib.blake2b(notes, digest_size=16).digest()


def as_records(rows: Iterable[tuple[bytes, int, bytes | None]]) -> Sequence[Record]:
    """Rows as the protocol shows them."""
    return [Record(*key_of(field), version, value) for field, version, value in rows]

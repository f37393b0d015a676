"""What a host tells the others: how much of which quotas it wants. Packed, and checked when it is read."""

import struct
import zlib
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pricegrid.service.quota.kernel import WHOLE
from pricegrid.service.quota.limits import REPORTED_MAX

_HEAD: Final = struct.Struct("<4sIQI")
"""Which layout, the checksum of what follows it, when, and how many."""
_LAYOUT: Final = b"PGQ1"
_SUMMED_FROM: Final = 8
_ENTRY: Final = np.dtype([("key", "<i8"), ("wanted", "<u4", 2)])
REPORT_BYTES_MAX: Final = _HEAD.size + REPORTED_MAX * _ENTRY.itemsize


class ReportError(Exception):
    """It is not a report that this version reads."""


@dataclass(frozen=True, slots=True)
class Report:
    """Quotas that a host wants some of."""

    keys: NDArray[np.int64]
    """Of accounts, (n,), ascending."""
    wanted: NDArray[np.int64]
    """Of calls and of lines, (n, 2), in 1/WHOLE, at most WHOLE."""

    def of(self, keys: NDArray[np.int64]) -> NDArray[np.int64]:
        """What is wanted of the accounts `keys` (m,): (m, 2), 0 of those that it does not name."""
        found = np.zeros((len(keys), 2), np.int64)
        if len(self.keys):
            at = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
            is_there = self.keys[at] == keys
            found[is_there] = self.wanted[at[is_there]]
        return found


NOTHING: Final = Report(np.zeros(0, np.int64), np.zeros((0, 2), np.int64))


def greatest(keys: NDArray[np.int64], wanted: NDArray[np.int64], least: int) -> Report:
    """The report of accounts of which more than `least` is wanted; of too many, those of which most is."""
    most = wanted.max(axis=1, initial=0)
    told = np.flatnonzero(most > least)
    if len(told) > REPORTED_MAX:
        told = told[np.argsort(most[told], kind="stable")[-REPORTED_MAX:]]
    told = told[np.unique(keys[told], return_index=True)[1]]
    return Report(keys[told], wanted[told])


def pack(report: Report, now_ns: int) -> bytes:
    """The bytes of a report, which differ each time: whoever reads the same ones again knows that none has come."""
    entries = np.empty(len(report.keys), _ENTRY)
    entries["key"], entries["wanted"] = report.keys, report.wanted
    body = _HEAD.pack(_LAYOUT, 0, now_ns, len(entries))[_SUMMED_FROM:] + entries.tobytes()
    return _LAYOUT + zlib.crc32(body).to_bytes(4, "little") + body


def unpack(raw: bytes) -> Report:
    """The report in these bytes, which others wrote. Raises ReportError."""
    if not _HEAD.size <= len(raw) <= REPORT_BYTES_MAX:
        raise ReportError(f"it has {len(raw)} bytes")
    layout, checksum, _, count = _HEAD.unpack_from(raw)
    if layout != _LAYOUT:
        raise ReportError("it is of another version")
    if len(raw) != _HEAD.size + count * _ENTRY.itemsize or zlib.crc32(raw[_SUMMED_FROM:]) != checksum:
        raise ReportError("it is damaged")
    entries = np.frombuffer(raw, _ENTRY, offset=_HEAD.size)
    keys, wanted = entries["key"].astype(np.int64), entries["wanted"].astype(np.int64)
    if (keys[:1] <= 0).any() or (keys[1:] <= keys[:-1]).any() or (wanted > WHOLE).any():
        raise ReportError("its accounts are out of order, or want more than all")
    return Report(keys, wanted)

"""Files that want to break the reader: each ends in a named fault, and no more than a few chunks are ever kept."""

import tracemalloc

import pytest

from pricegrid.edi.syntax.model import Segment
from pricegrid.edi.syntax.reading import read
from pricegrid.edi.syntax.source import CHUNK_BYTES
from tests.edi_files import ORDER, Generated, codes, edifact, parts_of, segments, x12

MEGABYTE = b"A" * 2**20
MEMORY_BYTES_MAX = 8 * 2**20
X12 = x12(("850", ORDER))
EDIFACT = edifact(("ORDERS", ("BGM+220",)))
EBCDIC = X12.decode("ascii").encode("cp037")


def read_all(stream):
    """The codes of its faults, how many segments there were, and the most memory that was taken meanwhile."""
    found, count = [], 0
    tracemalloc.start()
    for part in read(stream):
        if isinstance(part, Segment):
            count += 1
        elif hasattr(part, "code") and len(found) < 10:
            found.append(part.code.value)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return found, count, peak


@pytest.mark.parametrize(
    ("begin", "block", "times", "expected"),
    [
        (X12[:150], MEGABYTE, 100, ["SEGMENT_TOO_LONG", "NO_TRAILER"]),
        (EDIFACT[:70], MEGABYTE, 100, ["SEGMENT_TOO_LONG", "NO_TRAILER"]),
        (EDIFACT[:70], b"?" * 2**20, 20, ["SEGMENT_TOO_LONG", "NO_TRAILER"]),
        (X12[:150], b"\x00" * 2**20, 20, ["SEGMENT_TOO_LONG", "NO_TRAILER"]),
        (X12[:150], b"\n" * 2**20, 20, ["SEGMENT_TOO_LONG", "NO_TRAILER"]),
        (X12[: X12.index(b"BEG")], b"\n" * 2**20, 20, ["NO_TRAILER"]),
        (b"", b"\x00" * 2**20, 20, ["UNKNOWN_FORMAT"]),
        (b"", b" \r\n" * 2**18, 20, ["NOTHING"]),
        (EBCDIC, EBCDIC * 1000, 20, ["UNKNOWN_FORMAT"]),
        (b"", b"ISA*00*" * 1000, 2, ["BAD_HEADER"] * 5),
        (X12[:-1], b"", 0, []),
    ],
    ids=lambda value: repr(value)[:16],
)
def test_memory_is_bounded_whatever_comes(begin, block, times, expected):
    found, _, peak = read_all(Generated(begin, block, times))

    assert [each for each in found if each != "UNKNOWN_DATA"][: len(expected)] == expected
    assert peak < MEMORY_BYTES_MAX


def test_a_long_segment_is_skipped_and_what_follows_is_read():
    parts = parts_of(X12.replace(b"CTT*1", b"N9*" + b"A" * 3 * CHUNK_BYTES))

    assert codes(parts) == ["SEGMENT_TOO_LONG"]
    assert [each.tag for each in segments(parts)] == ["GS", "ST", "BEG", "PO1", "SE", "GE", "IEA"]


def test_a_segment_after_another_without_end_of_nested_levels_is_read():
    body = [("HL", str(at), str(at - 1 or ""), "I", "1") for at in range(1, 1001)]

    parts = parts_of(x12(("856", body)))

    assert codes(parts) == []
    assert sum(each.tag == "HL" for each in segments(parts)) == 1000


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "the file is empty"),
        (b"\r\n", "the file is empty"),
        (b"\x00" * 10, "bytes of zero"),
        (EBCDIC, "EBCDIC"),
        (X12.decode("ascii").encode("utf-16"), "UTF-16"),
        (b"PK\x03\x04....", "ZIP"),
        (b"\x1f\x8b....", "gzip"),
        (b"<?xml version='1.0'?>", "it begins with"),
        (b"GS*PO*A~ST*850*1~", "it begins with"),
    ],
)
def test_a_file_of_another_kind_is_named(data, what):
    (fault,) = parts_of(data)

    assert fault.code.value in {"NOTHING", "UNKNOWN_FORMAT"}
    assert what in fault.message
    assert fault.offset == 0


@pytest.mark.parametrize("chunk", [1, 2, 3, 7])
def test_how_a_file_comes_in_makes_no_difference(monkeypatch, chunk):
    data = b"\xef\xbb\xbfmail " + X12.replace(b"CABLE", b"CAB\nLE") + EDIFACT + b"junk" + X12
    expected = parts_of(data)
    monkeypatch.setattr("pricegrid.edi.syntax.source.CHUNK_BYTES", chunk)

    assert parts_of(data) == expected

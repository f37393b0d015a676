"""Fuzzing the scanner: what it accepts, the protobuf runtime reads the same; it accepts everything canonical."""

import os
from collections import Counter
from random import Random

import numpy as np
from google.protobuf.message import DecodeError

from pricegrid import v1
from pricegrid.pricing_engine.kernels import price as kn
from pricegrid.service.codec.request import (
    as_of,
    branch_names,
    check_fields,
    check_line_count,
    price_line_columns,
)
from pricegrid.service.codec.scan_kernel import (
    BUFFER_FULL,
    HEAD_AS_OF,
    HEAD_BRANCH,
    HEAD_BRANCH_COUNT,
    HEAD_BRANCH_LENGTH,
    HEAD_BRANCHES,
    HEAD_BRANCHES_END,
    HEAD_CURRENCY,
    HEAD_CUSTOMER,
    HEAD_HAS_AS_OF,
    HEAD_HAS_DAYS,
    HEAD_LINES,
    HEAD_SIZE,
    HEAD_VERSION,
    LIMITS,
    NEEDS_RUNTIME,
    scan_arrays,
    scan_request,
)
from pricegrid.service.errors import RequestRefusedError
from pricegrid.service.limits import FIELD_BYTES_MAX, SKU_BYTES_MAX, UOM_BYTES_MAX
from tests.codec_corpus import Corpus
from tests.fast_path_worlds import random_request

ROOM = 64
"""The capacity of the scanner in lines."""
BYTES_MAX = 2_000
CORPUS = "requests.txt"
QUANTITIES = (0, 1, 127, 128, 10**6, 2**35, 2**62, 2**63 - 1, -1, -(2**63))
SECONDS = (0, 1, 127, 1_541_500_000, 253_402_300_799, 253_402_300_800, -1, -62_135_596_800, 2**63 - 1)
NANOS = (0, 0, 1, 999, 1_000, 999_999_999, 1_000_000_000, -1)
BYTES = (0, 1, 2, 8, 10, 16, 18, 26, 34, 42, 50, 58, 127, 128, 129, 0xC3, 255)


class Scanned:
    """One message as the scanner reads it."""

    def __init__(self) -> None:
        self.head, self.lines = np.zeros(HEAD_SIZE, np.int64), np.zeros((ROOM, kn.LINE_SIZE), np.int64)
        self.count = 0

    def scan(self, raw: bytes) -> int:
        """As `scan_request`; where numba checks indices that of arrays, else that of tables, as in service."""
        scan = scan_request if "NUMBA_BOUNDSCHECK" in os.environ else scan_arrays
        self.count = int(scan(np.frombuffer(raw, np.uint8), self.head, self.lines, LIMITS))
        return self.count

    def text(self, raw: bytes, column: int) -> bytes:
        """One of the head's texts."""
        at, length = self.head[column : column + 2].tolist()
        return raw[at : at + length]


def held_equal(scanned: Scanned, raw: bytes) -> set[str]:
    """Raises AssertionError where scanner and runtime are not of one mind; what the message shows."""
    request, shown = v1.QuoteLinesRequest(), set()
    try:
        request.ParseFromString(raw)
    except DecodeError:
        assert scanned.count in {NEEDS_RUNTIME, BUFFER_FULL}, "accepted, and the runtime can't read it"
        return {"malformed", *(f"begins with field {byte >> 3 & 7} of type {byte & 7}" for byte in raw[:1])}
    shown = features(request, raw)
    try:
        check_line_count(len(request.lines))
        check_fields(request, "customer_id", "currency", "snapshot_version")
        columns = price_line_columns(request.lines)
        instant = as_of(request)
        branch_names(request.branches)
    except RequestRefusedError as refused:
        reason = refused.reason.name.lower()
        columns = None
    if columns is None:
        assert scanned.count in {NEEDS_RUNTIME, BUFFER_FULL}, f"accepted, and to be refused: {reason}"
        return shown | {reason}
    if scanned.count < 0:
        assert scanned.count == BUFFER_FULL or not is_canonical(shown), "canonical, not accepted"
        assert scanned.count == NEEDS_RUNTIME or len(request.lines) > ROOM, (
            "more room asked for than there are lines"
        )
        return shown | {"more room" if scanned.count == BUFFER_FULL else "unusual"}
    lines = scanned.lines[: scanned.count]
    for names, column in ((columns.skus, kn.LINE_SKU), (columns.uoms, kn.LINE_UOM)):
        assert [raw[at : at + size] for at, size in lines[:, column : column + 2].tolist()] == names
    assert lines[:, kn.LINE_QUANTITY].tolist() == columns.quantities_micros.tolist()
    own = np.full(len(lines), kn.NO_AS_OF) if columns.as_of_us is None else columns.as_of_us
    assert lines[:, kn.LINE_AS_OF].tolist() == own.tolist()
    assert scanned.head[HEAD_HAS_DAYS] == any(line.HasField("as_of_date") for line in request.lines)
    head = scanned.head
    assert scanned.text(raw, HEAD_CUSTOMER) == request.customer_id.encode()
    assert scanned.text(raw, HEAD_CURRENCY) == request.currency.encode()
    assert scanned.text(raw, HEAD_VERSION) == request.snapshot_version.encode()
    assert head[HEAD_LINES] == scanned.count == len(request.lines)
    assert head[HEAD_BRANCH_COUNT] == len(request.branches)
    first = request.branches[0].encode() if request.branches else b""
    assert scanned.text(raw, HEAD_BRANCH) == first
    assert head[HEAD_BRANCH_LENGTH] == len(first)
    branches = v1.QuoteLinesRequest.FromString(raw[head[HEAD_BRANCHES] : head[HEAD_BRANCHES_END]])
    assert branches == v1.QuoteLinesRequest(branches=request.branches)
    assert (int(head[HEAD_AS_OF]) if head[HEAD_HAS_AS_OF] else None) == instant
    return shown | {"accepted"}


def is_canonical(shown: set[str]) -> bool:
    """Whether the scanner must accept a valid message, or return BUFFER_FULL."""
    return not shown & {
        "beyond ASCII",
        "outer blanks",
        "not as the runtime writes it",
        "as_of_date",
        "before 1970",
    }


def features(request: v1.QuoteLinesRequest, raw: bytes) -> set[str]:
    """What a message shows."""
    texts = {
        "customer": [request.customer_id],
        "currency": [request.currency],
        "version": [request.snapshot_version],
        "branch": request.branches,
        "sku": [line.sku for line in request.lines],
        "uom": [line.uom for line in request.lines],
    }
    shown = set()
    for field, names in texts.items():
        most = {"sku": SKU_BYTES_MAX, "uom": UOM_BYTES_MAX}.get(field, FIELD_BYTES_MAX)
        for name in names:
            if not name.isascii():
                shown |= {"beyond ASCII", f"{field} beyond ASCII"}
            if name != name.strip(" \t"):
                shown.add("outer blanks")  # trimmed, as the loader does
            size = len(name.encode())
            kind = "at its limit" if size == most else "too long" if size > most else ""
            shown.add(f"{field} {kind}".strip() if size else f"no {field}")
    request.DiscardUnknownFields()
    if request.SerializeToString(deterministic=True) != raw:
        shown.add("not as the runtime writes it")
    for line in request.lines:
        quantity = line.quantity_micros
        extremes = {0: "no quantity", 2**63 - 1: "greatest quantity", -(2**63): "least quantity"}
        shown.add(extremes.get(quantity, "quantity" if quantity > 0 else "negative quantity"))
        shown.add(f"line of {line.WhichOneof('as_of') or 'no instant'}")
        if line.HasField("as_of_time") and line.as_of_time.seconds < 0:
            shown.add("before 1970")
    count = len(request.lines)
    shown.add(
        f"lines {count if count < 3 else 'some' if count < ROOM else 'full' if count == ROOM else 'more'}"
    )
    shown.add(f"branches {min(len(request.branches), 3)}")
    kind = request.WhichOneof("as_of")
    shown.add(kind or "now")
    if kind == "as_of_time":
        seconds = request.as_of_time.seconds
        shown |= {"before 1970"} if seconds < 0 else {"at 1970"} if seconds == 0 else set()
        shown |= {"in 9999"} if seconds == 253_402_300_799 else set()
    return shown


DATES = ("1970-01-01", "0001-01-01", "9999-12-31", "2000-02-29", "2024-02-29", "2023-12-31", "1900-02-28")
NO_DATES = ("", "2023-02-29", "1900-02-29", "2024-04-31", "0000-01-01", "2024-13-01", "2024-00-10", "2024-1-10",
            "2024-01-00", "20240101", "2024-01-011", "today", "2024-01-0é", "2024-01/01", "-001-01-01")  # fmt: skip


def edge_instant(rng: Random, line: v1.PriceLine, *, is_beyond: bool) -> None:
    """Give a line an instant or a date at the limits, and sometimes beyond."""
    if rng.random() < 0.5:
        line.as_of_date = rng.choice([*DATES, *NO_DATES] if is_beyond else DATES)
    else:
        line.as_of_time.seconds = rng.choice(SECONDS if is_beyond else SECONDS[:5])
        line.as_of_time.nanos = rng.choice(NANOS if is_beyond else NANOS[:6])


def edge_request(rng: Random) -> bytes:
    """A message at the limits, and sometimes beyond one of them."""
    beyond = rng.choice(["", "", "", "text", "lines", "as_of", "line"])

    def text(most: int) -> str:
        is_beyond = beyond == "text" and rng.random() < 0.2
        size = (
            rng.choice([0, 1, 2, 7, most - 1, most, most])
            if not is_beyond
            else rng.choice([2, most, most + 1])
        )
        name = "".join(rng.choices("ABZaz09-_. \x7f", k=size))
        return name[:-2] + rng.choice(["é", "ß", "\u0080"]) if is_beyond and size <= most else name

    request = v1.QuoteLinesRequest()
    for _ in range(rng.choice([0, ROOM + 1] if beyond == "lines" else [1, 1, 1, 2, 2, 3, ROOM - 1, ROOM])):
        few = len(request.lines) > 2
        request.lines.add(
            sku="A" if few else text(SKU_BYTES_MAX),
            uom="" if few else text(UOM_BYTES_MAX),
            quantity_micros=rng.choice(QUANTITIES),
        )
        if beyond == "line" or rng.random() < 0.2:
            edge_instant(rng, request.lines[-1], is_beyond=beyond == "line")
    for field in ("customer_id", "currency", "snapshot_version"):
        if rng.random() < 0.5:
            setattr(request, field, text(FIELD_BYTES_MAX))
    request.branches.extend(text(FIELD_BYTES_MAX) for _ in range(rng.choice([0, 0, 1, 2, 3])))
    if beyond == "as_of" and rng.random() < 0.2:
        request.as_of_date = rng.choice(["2018-11-06", "", "today"])
    elif beyond == "as_of" or rng.random() < 0.5:
        request.as_of_time.seconds = rng.choice(SECONDS if beyond == "as_of" else SECONDS[:5])
        request.as_of_time.nanos = rng.choice(NANOS if beyond == "as_of" else NANOS[:6])
    raw: bytes = request.SerializeToString(deterministic=True)
    return raw


def whole_fields(raw: bytes) -> list[bytes]:
    """The fields of a message, as far as they are texts and messages shorter than 128 bytes."""
    fields, at = [], 0
    while at + 1 < len(raw) and raw[at] & 7 == 2 and raw[at + 1] < 128:
        end = at + 2 + raw[at + 1]
        fields.append(raw[at:end])
        at = end
    return [*fields, raw[at:]]


def mutated(rng: Random, raw: bytes, other: bytes) -> bytes:
    """The message with a few bytes changed, moved, dropped, doubled, put in, or a piece of another one in it."""
    changed = bytearray(raw)
    for _ in range(rng.choice([0, 1, 1, 1, 1, 2, 4])):
        at = rng.randrange(len(changed) + 1)
        match rng.randrange(9):
            case 0:
                changed[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                del changed[at : at + rng.choice([1, 1, 2, 8])]
            case 2:
                changed[at:at] = bytes([rng.choice(BYTES)])
            case 3:
                changed[at:at] = changed[at : at + rng.choice([1, 2, 9, 20])]
            case 4 if at < len(changed):
                changed[at] ^= 1 << rng.randrange(8)
            case 5:
                start = rng.randrange(len(other) + 1)
                changed[at:at] = other[start : start + rng.choice([1, 2, 4, 12, 40])]
            case 6 if at < len(changed):
                changed[at] = (changed[at] + rng.choice([-1, 1])) % 256  # of a length, say
            case 7:
                fields = whole_fields(bytes(changed))
                fields.insert(rng.randrange(len(fields)), rng.choice([*fields, *whole_fields(other)]))
                if rng.random() < 0.3:
                    rng.shuffle(fields)
                changed = bytearray(b"".join(fields))
            case _:
                end = rng.randrange(len(changed) + 1)
                low, high = min(at, end), max(at, end)
                changed[low:high] = changed[low:high][::-1] if rng.random() < 0.2 else changed[low:high] * 2
    return bytes(changed[:BYTES_MAX])


def replay(corpus: Corpus) -> Counter[str]:
    """Runs every message of the corpus through both decoders; returns how they ended."""
    scanned, seen = Scanned(), Counter[str]()
    for text in corpus:
        raw = bytes.fromhex(text)
        count = scanned.scan(raw)
        held_equal(scanned, raw)
        seen["accepted" if count > 0 else "left to the runtime"] += 1
    return seen


def fuzz(seed: int, messages: int, corpus: Corpus) -> Counter[str]:
    """Runs mutated messages through both decoders; returns how they ended. Those with new features join the corpus."""
    rng, seen, scanned = Random(seed), Counter[str](), Scanned()
    kept = [bytes.fromhex(text) for text in corpus]
    while seen.total() < messages:
        kind = rng.random()
        if kind < 0.4 and kept:
            raw = rng.choice(kept)
        else:
            raw = edge_request(rng) if kind < 0.7 else random_request(rng, "UTC", is_quote=rng.random() < 0.7)
        other = rng.choice(kept) if kept else raw
        for _ in range(50):
            message = mutated(rng, raw, other)
            count = scanned.scan(message)
            try:
                shown = held_equal(scanned, message)
            except AssertionError as error:
                raise AssertionError(f"seed {seed}: {message.hex()}: {error}") from error
            seen["accepted" if count > 0 else "left to the runtime"] += 1
            if len(message) <= 300 and corpus.is_new(shown):
                corpus.add(shown, message.hex())
                kept.append(message)
    return seen

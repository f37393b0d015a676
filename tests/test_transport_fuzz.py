"""Seeded conversations that went wrong, for as long as the profile says: nothing may fail, leak or wait for ever."""

import contextlib
import random
import socket
import threading
import time

import pytest

from tests import http2_frames as h2
from tests.hostile_worlds import Honest, hostile_world, percentile_ms
from tests.http2_frames import Caller
from tests.profiles import FAST, LONG
from tests.servers import until

pytestmark = pytest.mark.slow

SECONDS = 5 if FAST else 600 if LONG else 20
FIRST_SEED = 20_000_000
RESIDENT_MAX = 700 * 1024 * 1024
"""What is kept for callers at the most, and the process itself."""
METHODS = (
    "Quick", "Echo", "Large", "Empty", "Status", "Left", "Fail", "Collect", "Emit", "EmitForEver", "Chat", "ChatEarly",
    "No",
)  # fmt: skip


def some_bytes(chance: random.Random) -> bytes:
    return chance.randbytes(chance.choice((0, 1, 4, 5, 8, 9, 40, 300, 5_000)))


def some_stream(chance: random.Random) -> int:
    return chance.choice((0, 1, 1, 1, 2, 3, 3, 5, 7, 9, 99, 2**31 - 1))


def some_request(chance: random.Random) -> bytes:
    """What methods understand: sizes, a status, or anything."""
    return chance.choice((b"1000", b"70000", b"1,2,3", b"2 text", b"", some_bytes(chance)))


def some_call(chance: random.Random) -> list[bytes]:
    """The frames of a call as it should be."""
    stream, more = some_stream(chance), []
    if chance.random() < 0.3:
        more.append((b"grpc-timeout", chance.choice((b"1u", b"5m", b"1S", b"99999999H", b"x"))))
    if chance.random() < 0.2:
        more.append((b"grpc-encoding", chance.choice((b"gzip", b"deflate", b"identity", b"x"))))
    raw = some_request(chance) if chance.random() < 0.8 else chance.randbytes(20_000)
    frames = [h2.headers(stream, chance.choice(METHODS), *more)]
    frames += [
        h2.data(stream, h2.message(raw, flag=chance.random() < 0.1), is_end=not at)
        for at in range(chance.choice((1, 1, 1, 2, 5)))
    ]
    if chance.random() < 0.3:
        frames.append(h2.frame(h2.RST_STREAM, 0, stream, b"\0\0\0\x08"))
    return frames


def some_frame(chance: random.Random) -> bytes:
    """Any frame, with a length that may lie."""
    payload = some_bytes(chance)
    length = chance.choice((len(payload),) * 9 + (chance.randrange(1 << 24),))
    kind = chance.choice((*range(10), chance.randrange(256)))
    return h2.frame(
        kind, chance.choice((0, 1, 4, 5, 8, 32, 255)), some_stream(chance), payload, length=length
    )


def mutated(chance: random.Random, raw: bytes) -> bytes:
    """The same bytes with a few that are others, missing or twice."""
    found = bytearray(raw)
    for _ in range(chance.choice((0, 0, 1, 1, 2, 5))):
        at = chance.randrange(len(found) + 1)
        match chance.randrange(4):
            case 0:
                found[at : at + 1] = chance.randbytes(1)
            case 1:
                del found[at : at + chance.randrange(1, 20)]
            case 2:
                found[at:at] = found[at : at + chance.randrange(1, 40)]
            case 3:
                found[at:at] = some_bytes(chance)
    return bytes(found)


def conversation(seed: int) -> list[bytes]:
    """What a caller sends, piece by piece."""
    chance = random.Random(seed)
    frames = [h2.PREFACE + h2.settings(**({"s4": chance.randrange(2**31)} if chance.random() < 0.3 else {}))]
    while chance.random() < 0.85:
        match chance.randrange(5):
            case 0 | 1:
                frames += some_call(chance)
            case 2:
                frames.append(some_frame(chance))
            case 3:
                frames.append(h2.window(chance.randrange(2**31), some_stream(chance)))
            case 4:
                frames += [some_frame(chance)] * chance.choice((1, 3, 200))
    if chance.random() < 0.3:
        chance.shuffle(frames)
    if chance.random() < 0.6:
        frames = [mutated(chance, each) if chance.random() < 0.3 else each for each in frames]
    raw = b"".join(frames)
    if chance.random() < 0.2:
        raw = raw[: chance.randrange(len(raw) + 1)]
    cuts = sorted(chance.randrange(len(raw) + 1) for _ in range(chance.choice((0, 1, 3))))
    return [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]


def talk(address: str, seed: int) -> None:
    """One conversation: some callers read what they are answered, some go at once, some hang up."""
    chance = random.Random(-seed)
    with Caller(address, greets=False, receive_bytes=chance.choice((None, 4096))) as caller:
        for piece in conversation(seed):
            if not caller.send(piece, wait_s=0.5):
                break
            if chance.random() < 0.3:
                time.sleep(chance.random() / 100)
        if chance.random() < 0.5:
            caller.is_closed_within(chance.random() / 20)
        if chance.random() < 0.3:
            caller.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def test_conversations_that_went_wrong():
    ends_s = time.monotonic() + SECONDS
    seeds = iter(range(FIRST_SEED, FIRST_SEED + 100_000_000))

    def run() -> None:
        while time.monotonic() < ends_s:
            with contextlib.suppress(OSError):
                talk(world.address, next(seeds))

    with hostile_world() as world, Honest(world.address, 0.01) as honest:
        callers = [threading.Thread(target=run) for _ in range(4)]
        for each in callers:
            each.start()
        most = 0
        while time.monotonic() < ends_s:
            found = world.state()
            most = max(most, found["rss"])
            assert not found["errors"], f"before seed {next(seeds)}: {found['errors'][0]}"
            assert most < RESIDENT_MAX, f"before seed {next(seeds)}"
            time.sleep(0.5)
        for each in callers:
            each.join(30)
        assert not honest.wrong, honest.wrong[:3]
        asked, p99_ms = len(honest.seconds), percentile_ms(honest.seconds, 0.99)
        honest.stop()
        until(lambda: world.state()["connections"] == 0, "every connection is gone")
        left = world.state()
        assert not left["errors"], left["errors"][0]
        assert {name: left[name] for name in ("calls", "kept", "ready", "posted", "busy")} == dict.fromkeys(
            ("calls", "kept", "ready", "posted", "busy"), 0
        )
    print(
        f"seeds {FIRST_SEED} to {next(seeds)}; most {most >> 20} MB; {asked} honest calls, p99 {p99_ms:.1f} ms"
    )

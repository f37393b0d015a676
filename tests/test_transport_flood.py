"""While more large requests come than can be read, `http2` refuses calls by their headers."""

import itertools
import threading

import grpc
import pytest

from pricegrid.errors import error_info
from pricegrid.service.errors import Reason, RequestRefusedError
from pricegrid.service.transport import server as servers
from pricegrid.service.transport.flood import COMING_S, LARGE_BYTES, QUIET_S, Flood, follow
from tests import http2_frames as h2
from tests.http2_frames import Caller
from tests.servers import until
from tests.transport_worlds import SERVICE, quick, served

WINDOW_SETTING = 4
BODY = b"b" * 40_000

pytestmark = pytest.mark.http2


def busy() -> RequestRefusedError:
    return RequestRefusedError(Reason.OVERLOADED, "busy", retry_ms=70, limit="waiting")


class World:
    """A flood over a clock that is set by hand."""

    def __init__(self, room: int) -> None:
        self.now_s, self.waiting, self.counted = 100.0, 0, []
        self.flood = Flood(lambda: self.waiting, room, busy, clock_s=lambda: self.now_s)
        self.method = Method(quick, self.counted.append)

    def comes(self, connection: object = None) -> "Call | None":
        """The call that is let in; None: it is refused. Each is of a connection of its own, if none is given."""
        connection = connection or object()
        if self.flood.refusal(self.method, [], connection) is not None:
            return None
        call = Call(self.method, connection)
        self.flood.let_in(call)
        return call


class Method:
    def __init__(self, on_loop, refused_unread=None) -> None:
        self.on_loop, self.refused_unread = on_loop, refused_unread


class Call:
    def __init__(self, method, connection) -> None:
        self.method, self.connection = method, connection


def test_a_flood_begins_with_a_large_request_that_was_refused_and_ends_when_nobody_is():
    world = World(room=1)
    assert not world.flood.begin(LARGE_BYTES - 1)
    assert world.flood.begin(LARGE_BYTES)
    assert not world.flood.begin(LARGE_BYTES)
    world.waiting = 1
    for _ in range(3):  # half of the room and more waits
        world.now_s += QUIET_S / 2
        assert world.comes() is None
        assert not world.flood.ends()
    world.now_s += QUIET_S
    assert world.flood.ends()
    assert not world.flood.ends()
    assert not world.flood.is_on


def test_as_many_are_let_in_as_there_is_room_for_those_that_wait_included():
    world = World(room=3)
    world.flood.begin(LARGE_BYTES)
    world.waiting = 1
    first, second = world.comes(), world.comes()
    assert first is not None
    assert second is not None
    assert world.comes() is None
    world.flood.has_come(first)
    assert world.comes() is not None
    world.waiting = 2
    world.flood.has_come(second)
    assert world.comes() is None


def test_a_body_that_does_not_come_loses_its_place():
    world = World(room=2)
    world.flood.begin(LARGE_BYTES)
    assert world.comes() is not None
    world.now_s += COMING_S / 2
    assert world.comes() is not None
    assert world.comes() is None
    world.now_s += COMING_S * 0.6
    assert world.comes() is not None
    assert world.comes() is None


def test_callers_who_are_far_away_are_no_flood():
    """All places are taken by bodies on their way, again and again, and nobody waits: it ends all the same."""
    world = World(room=2)
    world.flood.begin(LARGE_BYTES)
    for _ in range(20):
        world.now_s += QUIET_S / 10
        assert [world.comes() is None for _ in range(3)] == [False, False, True]
        world.flood._coming.clear()
    assert world.flood.ends()


def test_one_connection_has_a_quarter_of_the_places_for_bodies_on_their_way():
    world = World(room=8)
    world.flood.begin(LARGE_BYTES)
    one = object()
    assert [world.comes(one) is None for _ in range(4)] == [False, False, True, True]
    assert world.comes() is not None
    world.flood.has_come(next(iter(world.flood._coming)))
    assert world.comes(one) is not None


def test_methods_that_are_not_answered_on_the_loop_are_let_in():
    world = World(room=0)
    world.flood.begin(LARGE_BYTES)
    world.method = Method(None)
    assert world.comes() is not None
    assert not world.flood._coming


def test_refusals_are_counted_by_their_method_once():
    world = World(room=0)
    world.flood.begin(LARGE_BYTES)
    for _ in range(3):
        assert world.comes() is None
    world.flood.tell()
    world.flood.tell()
    assert world.counted == [3]


@pytest.fixture
def place(monkeypatch):
    monkeypatch.setattr(servers, "TEND_S", 0.02)
    with served("http2") as place:
        yield place


def standing() -> float:
    """A clock by which no flood is over, however slow the machine."""
    return 0.0


def flooded(place, room: int, **options) -> Flood:
    """There is a flood from now on, in which so many may wait."""
    flood = place.server.flood = Flood(place.server.ready.__len__, room, busy, **options)

    def begin() -> None:
        flood.begin(LARGE_BYTES)
        follow(place.server.connections)
        place.server._flush()

    place.server.post(begin)
    until(lambda: flood.is_on, "the flood begins")
    return flood


def window_told(caller: Caller, *, is_first: bool = False) -> int:
    """The next initial window that the server tells; the first is acknowledged with the greeting."""
    for kind, flags, _, payload in caller.frames(20):
        if kind == h2.SETTINGS and not flags & h2.ACK:
            if not is_first:
                caller.send(h2.frame(h2.SETTINGS, h2.ACK))
            told = {
                int.from_bytes(payload[at : at + 2], "big"): int.from_bytes(payload[at + 2 : at + 6], "big")
                for at in range(0, len(payload), 6)
            }
            if WINDOW_SETTING in told:
                return told[WINDOW_SETTING]
    raise AssertionError("no window was told")


def is_given_room(caller: Caller, stream: int) -> bool:
    """Whether all of a body may be sent."""
    given = 0
    for kind, _, of, payload in caller.frames(20):
        if kind == h2.WINDOW_UPDATE and of == stream:
            given += int.from_bytes(payload, "big")
            if given >= len(BODY):
                return True
    return False


def test_a_call_gets_room_or_a_refusal_before_its_body_and_at_the_end_all_may_send_again(place):
    clock = itertools.count()
    with Caller(place.address) as caller:
        assert window_told(caller, is_first=True) > 1_000_000
        flood = flooded(place, 1, clock_s=lambda: next(clock) * 1e-6)
        assert window_told(caller) == 0
        caller.send(h2.headers(1, "Quick"))
        assert is_given_room(caller, 1)
        caller.send(h2.headers(3, "Quick", (b"x-correlation-id", b"mine")))
        refused = caller.until_end(3)
        assert [kind for kind, _, _ in refused] == [h2.HEADERS]
        assert b"mine" not in refused[0][2]  # it is within the details, which are base64
        caller.send(h2.data(1, h2.message(BODY), is_end=True))
        answer = b"".join(payload for kind, _, payload in caller.until_end(1) if kind == h2.DATA)
        assert answer[5:] == BODY
        caller.send(h2.headers(5, "Quick"))
        assert is_given_room(caller, 5)
        caller.send(h2.data(5, h2.message(BODY), is_end=True))
        caller.until_end(5)
        flood._clock_s = lambda: 1e6
        assert window_told(caller) > 1_000_000
        caller.send(h2.call(7, "Quick", BODY))
        assert caller.until_end(7)


def test_a_call_that_had_begun_before_may_go_on(place):
    with Caller(place.address) as caller:
        window_told(caller, is_first=True)
        whole = h2.message(BODY)
        caller.send(h2.headers(1, "Quick") + h2.data(1, whole[:20_000]))
        until(lambda: any(each.calls for each in list(place.server.connections)), "it has begun")
        flooded(place, 1, clock_s=standing)
        assert window_told(caller) == 0
        assert is_given_room(caller, 1)
        caller.send(h2.data(1, whole[20_000:], is_end=True))
        answer = b"".join(payload for kind, _, payload in caller.until_end(1) if kind == h2.DATA)
        assert answer[5:] == BODY


def test_a_connection_that_begins_in_a_flood_is_told_at_once(place):
    flooded(place, 1, clock_s=standing)
    with Caller(place.address) as caller:
        assert window_told(caller, is_first=True) == 0
        caller.send(h2.headers(1, "Quick"))
        assert is_given_room(caller, 1)


def test_clients_of_grpc_are_answered_refused_or_served_as_ever(place):
    """Unary calls of every size in great number, and streams: each ends with what it should, or OVERLOADED."""
    flooded(place, 3, clock_s=standing)
    answered: list[bool] = []
    refused: list[grpc.RpcError] = []

    def ask(channel, seed: int) -> None:
        one = channel.unary_unary(f"/{SERVICE}/Quick")
        calls = [(one.future(body, timeout=30), body) for body in (b"x" * (seed + 7 * n) for n in range(20))]
        for call, body in calls:
            try:
                answered.append(call.result() == body)
            except grpc.RpcError as error:
                refused.append(error)

    with grpc.insecure_channel(place.address, options=[("grpc.enable_retries", 0)]) as channel:
        threads = [
            threading.Thread(target=ask, args=(channel, size)) for size in (0, 5_000, 100_000, 900_000)
        ]
        for thread in threads:
            thread.start()
        sent = channel.stream_unary(f"/{SERVICE}/Collect")(iter([b"c" * 400_000] * 5), timeout=30)
        assert sent == b"2000000"
        back = channel.stream_stream(f"/{SERVICE}/Chat")(iter([b"d" * 300_000] * 4), timeout=30)
        assert [len(each) for each in back] == [300_000] * 4
        for thread in threads:
            thread.join()
    assert len(answered) + len(refused) == 80
    assert all(answered)
    assert answered
    assert refused
    for error in refused:
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        trailing = dict(error.trailing_metadata())
        reason, metadata = error_info(trailing["grpc-status-details-bin"])
        assert (reason, metadata["limit"]) == ("OVERLOADED", "waiting")
        assert metadata["correlation_id"]
        assert trailing["grpc-retry-pushback-ms"] == "70"

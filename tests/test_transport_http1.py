"""Over HTTP/1.1: large requests that are refused by their headers, and connections that grow old."""

import http.client
import json
import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest

from pricegrid.service.errors import Reason, RequestRefusedError
from pricegrid.service.rpc.overload import INTERVAL_S, Queue
from pricegrid.service.transport.dialect import Dialect
from pricegrid.service.transport.flood import LARGE_BYTES, Flood
from pricegrid.service.transport.method import busy
from tests.http_door import PRICE, Door
from tests.servers import until
from tests.transport_worlds import AGES

QUESTION = json.dumps({"customerId": "C", "lines": [{"sku": "A", "quantityMicros": "2000000"}]})
JSON = "application/json"
pytestmark = pytest.mark.http2


@pytest.fixture
def door() -> Iterator[Door]:
    world = Door()
    yield world
    world.server.stop(0).wait(20)


def too_busy(*_: object) -> RequestRefusedError:
    return RequestRefusedError(Reason.OVERLOADED, "too many requests", retry_ms=1_200, limit="waiting")


def headed(door: Door, *more: str, content_type: str = JSON, body: bytes = b"") -> socket.socket:
    """A connection on which a request has come as far as its headers, and so much of its body."""
    plain = socket.create_connection(("127.0.0.1", door.port), 30)
    lines = [f"POST {PRICE} HTTP/1.1", "Host: localhost", f"Content-Type: {content_type}", *more, "", ""]
    plain.sendall("\r\n".join(lines).encode() + body)
    return plain


def answer(plain: socket.socket) -> http.client.HTTPResponse:
    found = http.client.HTTPResponse(plain)
    found.begin()
    return found


@pytest.mark.parametrize(
    "more", [(f"Content-Length: {LARGE_BYTES}",), ("Transfer-Encoding: chunked",)], ids=["length", "chunked"]
)
@pytest.mark.parametrize("expects", [(), ("Expect: 100-continue",)], ids=["", "expects"])
def test_a_large_request_is_refused_by_its_headers(door, more, expects):
    refused: list[int] = []
    door.server.busy = too_busy
    method = door.server.methods.get(PRICE.encode(), Dialect.WEB)
    door.server.methods.add(replace(method, refused_unread=refused.append))
    with headed(door, *more, *expects, "X-Correlation-Id: mine") as plain:
        found = answer(plain)
        said = json.loads(found.read())
    assert (found.status, found.headers["retry-after"]) == (503, "2")
    assert said["details"][0]["debug"]["metadata"]["limit"] == "waiting"
    assert said["details"][0]["debug"]["metadata"]["correlation_id"] == "mine"
    until(lambda: refused == [1], "it is counted")


def test_small_requests_are_read_all_the_same(door):
    door.server.busy = too_busy
    assert door.ask(QUESTION.encode(), content_type=JSON)[0] == 200
    with headed(door, "Content-Length: 0") as plain:
        assert answer(plain).status == 400  # as ever: no customer, no lines


def test_in_a_flood_bodies_on_their_way_have_places(door):
    """Of connections over HTTP/1.1 as of those over HTTP/2, a place each, until the body is there."""
    flood = door.server.flood = Flood(lambda: 0, 2, too_busy, clock_s=lambda: 100.0)
    assert flood.begin(LARGE_BYTES)
    sized, kind = f"Content-Length: {LARGE_BYTES}", "application/proto"
    body = bytes([0x0A, 1, 67]) + b"\x82\x7d\x00" * ((LARGE_BYTES - 3) // 3)
    body = body + b"\0" * (LARGE_BYTES - len(body))
    with headed(door, sized, content_type=kind) as first, headed(door, sized, content_type=kind) as second:
        until(lambda: len(flood._coming) == 2, "both are let in")
        with headed(door, sized, content_type=kind) as third:
            assert answer(third).status == 503
        assert door.ask(QUESTION.encode(), content_type=JSON)[0] == 200, "small ones are"
        first.sendall(body)
        assert answer(first).status != 503
        with headed(door, sized, content_type=kind, body=body) as fourth:
            assert answer(fourth).status != 503, "its place is free"
        second.close()
    until(lambda: not flood._coming, "who goes away has no place")


def test_an_old_connection_takes_its_last_request(door):
    young = http.client.HTTPConnection("127.0.0.1", door.port, timeout=30)
    old_door = Door(ages=replace(AGES, most_s=0.0))
    old = http.client.HTTPConnection("127.0.0.1", old_door.port, timeout=30)
    found = {}
    for name, connection in (("young", young), ("old", old)):
        connection.request("POST", PRICE, QUESTION, {"content-type": JSON})
        answered = connection.getresponse()
        found[name] = (answered.status, answered.headers.get("connection"), answered.will_close)
        answered.read()
    assert found == {"young": (200, None, False), "old": (200, "close", True)}
    assert old.sock is None, "its client connects again by itself"
    old.request("POST", PRICE, QUESTION, {"content-type": JSON})
    assert old.getresponse().status == 200
    young.close()
    old.close()
    old_door.server.stop(0).wait(20)


def test_what_is_known_of_connections_that_have_ended_is_forgotten(door):
    assert door.ask(QUESTION.encode(), content_type=JSON)[0] == 200
    known = door.server._http1._drains_s
    known.update({object(): 0.0 for _ in range(2_000)})
    assert door.ask(QUESTION.encode(), content_type=JSON)[0] == 200
    assert len(door.server._http1._drains_s) < 10


def test_a_request_is_refused_early_where_it_would_wait_behind_too_many():
    now_s, waiting = [0.0], [0]
    queue = Queue(lambda: waiting[0], 1, most=100, clock_s=lambda: now_s[0], jitter=lambda: 0.0)
    assert queue.refusal() is None
    waiting[0] = 101
    assert queue.refusal().metadata["limit"] == "queue"
    waiting[0] = queue.room + 1
    assert queue.refusal() is None, "a burst is no overload"
    for now_s[0] in (INTERVAL_S, 2 * INTERVAL_S, 3 * INTERVAL_S):
        queue.begin(now_s[0] - 0.05)
    assert queue.refusal().metadata["limit"] == "waiting"
    waiting[0] = queue.room
    assert queue.refusal() is None


def test_it_is_the_queue_of_the_method_that_counts():
    class Method:
        on_loop: object = None
        pool: object = None

    class Pool:
        queue = Queue(lambda: 1_000)

    method, idle, full = Method(), Queue(), Queue(lambda: 1_000)
    assert busy(full, method) is None
    method.pool = Pool()
    assert busy(idle, method) is not None
    method.pool, method.on_loop = None, busy
    assert (busy(full, method) is not None, busy(idle, method)) == (True, None)

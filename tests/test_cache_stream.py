"""The consumer of event streams, on a real Redis."""

import contextlib

import pytest

from pricegrid.cache.protocol import CacheUnavailableError
from pricegrid.cache.stream import EventStream
from tests.cache_worlds import options
from tests.redis_servers import Proxy, redis_server, until


@pytest.fixture
def server(tmp_path):
    with redis_server(tmp_path / "redis") as running:
        yield running


def publish(server, first, last):
    return [server.ask("XADD", "events", "*", "n", n).decode() for n in range(first, last)]


def numbers(entries):
    return [int(fields[b"n"]) for _, fields in entries]


def consumer(address, name, **others):
    return contextlib.closing(EventStream(options(address), "events", "pricegrid", name, **others))


def test_entries_come_in_order_and_once_when_acknowledged(server):
    ids = publish(server, 0, 10)
    with consumer(server.address, "a") as one, consumer(server.address, "b") as other:
        first = one.read(4)
        one.acknowledge([entry for entry, _ in first])
        second = other.read(10)
        other.acknowledge([entry for entry, _ in second])

        assert (numbers(first), numbers(second)) == ([0, 1, 2, 3], [4, 5, 6, 7, 8, 9])
        assert (one.last_id, other.last_id) == (ids[3], ids[9])
        assert one.read(10) == []
        publish(server, 10, 11)
        assert numbers(one.read(10, wait_s=1)) == [10]


def test_what_was_not_acknowledged_comes_again_to_a_consumer_that_restarts(server):
    publish(server, 0, 5)
    with consumer(server.address, "a") as one:
        one.acknowledge([entry for entry, _ in one.read(5)[:2]])
    with consumer(server.address, "a") as again:
        assert numbers(again.read(10)) == [2, 3, 4]


def test_what_a_dead_consumer_left_is_claimed(server):
    publish(server, 0, 5)
    with consumer(server.address, "dead") as dead:
        dead.read(3)
    with consumer(server.address, "alive", claim_idle_ms=1) as alive:
        seen = []
        until(lambda: seen.extend(numbers(alive.read(10))) or len(set(seen)) == 5, "all five")

        assert set(seen) == {0, 1, 2, 3, 4}


def test_a_lost_connection_loses_no_entry(server):
    with Proxy(server.address) as proxy, consumer(proxy.address, "a") as one:
        publish(server, 0, 50)
        seen = []

        def reads():
            with contextlib.suppress(CacheUnavailableError):
                entries = one.read(5)
                proxy.cut(reset=len(seen) % 2 == 0)
                seen.extend(numbers(entries))
                one.acknowledge([entry for entry, _ in entries])
            return set(seen) == set(range(50))

        until(reads, "every entry")


def test_a_group_that_was_lost_begins_after_what_was_applied(server):
    publish(server, 0, 5)
    with consumer(server.address, "a") as one:
        one.acknowledge([entry for entry, _ in one.read(5)])
        server.ask("XGROUP", "DESTROY", "events", "pricegrid")
        publish(server, 5, 7)
        assert numbers(one.read(10)) == [5, 6]

        server.ask("FLUSHALL")
        publish(server, 7, 9)
        seen = []
        until(lambda: seen.extend(numbers(one.read(10))) or len(seen) >= 2, "the new stream")
        assert seen == [7, 8]


def test_a_kept_offset_is_where_a_new_group_begins(server):
    ids = publish(server, 0, 5)
    with consumer(server.address, "a", after=ids[2]) as one:
        assert numbers(one.read(10)) == [3, 4]

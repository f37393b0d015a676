"""Values that expire: whose they are, until when, and that no answer goes to the wrong caller."""

import itertools
import os
import threading

import pytest

from pricegrid.cache.open import open_value_cache
from pricegrid.cache.protocol import Value
from pricegrid.cache.redis_options import RedisOptions
from pricegrid.cache.redis_values import RedisValueCache
from pricegrid.cache.values import payload_of
from tests.cache_worlds import options
from tests.redis_servers import Proxy, redis_server, until

HOUR_US = 3_600_000_000
CALLS = 100_000 if os.environ.get("PRICEGRID_LONG_TESTS") else 3_000


@pytest.fixture(params=["embedded", "redis"])
def open_one(request, tmp_path):
    opened = []

    def opener():
        opened.append(open_value_cache(tmp_path / "live", settings))
        return opened[-1]

    if request.param == "embedded":
        settings: RedisOptions | None = None
        yield opener
    else:
        with redis_server(tmp_path / "redis") as server:
            settings = options(server.address, value_budget_s=2.0)
            yield opener
    for one in opened:
        one.close()


def value(owner="o", key="k", content=b"v", at=0, expires=HOUR_US) -> Value:
    return Value(owner, key, content, at, expires)


def test_what_is_put_is_there_at_once_and_elsewhere_soon(open_one):
    one, other = open_one(), open_one()

    one.put([value(), value(key="l", content=b"")])

    assert one.get("o", ["l", "k", "m"], 1) == [value(key="l", content=b""), value(), None]
    until(lambda: other.get("o", ["k"], 1) == [value()], "written through")


def test_a_value_ends_at_its_instant(open_one):
    one = open_one()
    one.put([value(at=5, expires=100)])

    assert one.get("o", ["k"], 99) == [value(at=5, expires=100)]
    assert one.get("o", ["k"], 100) == [None]


def test_a_value_is_its_owners(open_one):
    one, other = open_one(), open_one()
    one.put([value("ab", "c"), value("", "k", b"everyone")])

    for cache in (one, other):
        until(lambda cache=cache: cache.get("ab", ["c"], 1) == [value("ab", "c")], "there")
        assert cache.get("a", ["bc", "c"], 1) == [None, None]
        assert cache.get("o", ["k"], 1) == [None]
    assert (one.mismatches, other.mismatches) == (0, 0)


def test_what_is_dropped_is_gone_at_once_and_elsewhere_soon(open_one):
    one, other = open_one(), open_one()
    one.put([value(), value(key="l")])
    until(lambda: other.get("o", ["k"], 1) == [value()], "written through")

    one.drop("o", ["k"])

    assert one.get("o", ["k", "l"], 1) == [None, value(key="l")]
    # Another host believes what it read for some seconds (FRESH_US), then asks again.
    instants = itertools.count(10_000_000, 10_000_000)
    until(lambda: other.get("o", ["k"], next(instants)) == [None], "dropped there")
    assert one.get("o", ["k"], 2) == [None]


def test_the_memory_is_bounded_and_the_rest_is_read_again(tmp_path):
    with redis_server(tmp_path / "redis") as server:
        one = RedisValueCache(options(server.address, value_budget_s=2.0), entries_max=10)
        for n in range(30):
            one.put([value(key=str(n))])
            until(lambda: not one._pending, "passed on")

        assert len(one._memory) == 10
        assert None not in one.get("o", [str(n) for n in range(30)][:10], 1)
        one.close()


def test_a_stored_value_of_somebody_else_is_counted_and_not_given_out(tmp_path):
    with redis_server(tmp_path / "redis") as server:
        one = RedisValueCache(options(server.address, value_budget_s=2.0))
        server.ask("SET", one.key_named("o", "k"), payload_of(value("thief", "k")))
        server.ask("SET", one.key_named("o", "l"), payload_of(value("o", "m")))
        server.ask("SET", one.key_named("o", "n"), b"\1\2")

        assert one.get("o", ["k", "l", "n"], 1) == [None, None, None]
        assert one.mismatches == 3
        one.close()


def test_a_damaged_file_of_values_is_made_anew(tmp_path):
    (tmp_path / "values.sqlite").write_bytes(b"damaged" * 1000)

    one = open_value_cache(tmp_path)
    one.put([value()])
    assert one.get("o", ["k"], 1) == [value()]
    one.close()


def test_a_silent_redis_costs_a_read_its_budget_at_most_and_nothing_is_forgotten(tmp_path, monkeypatch):
    ended = []

    def noted(commands):
        try:
            return run_each(commands)
        finally:
            ended.append(commands)

    with redis_server(tmp_path / "redis") as server, Proxy(server.address) as proxy:
        one = open_value_cache(tmp_path, options(proxy.address, command_timeout_s=20.0))
        run_each = one._link.run_each
        monkeypatch.setattr(one._link, "run_each", noted)
        proxy.black_hole = True
        one.put([value()])
        assert one.get("o", ["k", "absent"], 1) == [value(), None]
        assert not ended, "it waited for Redis"
        proxy.restore()
        until(lambda: server.ask("EXISTS", "pricegrid:value:1:o:k") == 1, "passed on later")
        one.close()


@pytest.mark.slow
def test_of_many_abandoned_reads_of_two_owners_no_answer_is_crossed(tmp_path):
    """A proxy holds every answer back for longer than the callers wait; 100,000 with PRICEGRID_LONG_TESTS=1."""
    keys = [str(n) for n in range(50)]
    with redis_server(tmp_path / "redis") as server, Proxy(server.address) as proxy:
        one = RedisValueCache(options(proxy.address, value_budget_s=0.0015), entries_max=8)
        for owner in ("left", "right"):
            for key in keys:
                server.ask(
                    "SET",
                    one.key_named(owner, key),
                    payload_of(value(owner, key, owner.encode() + key.encode())),
                )
        wrong, empty, answered = [], [0, 0], [0, 0]

        def ask(which, owner):
            for n in range(CALLS // 2):
                key = keys[n % 50]
                proxy.delay_s = 0.0 if n // 20 % 3 == which else 0.001
                # Every call is to send a command: wait until Redis owes nothing to callers that have left.
                until(lambda: one._reading is None or one._reading.done(), "the answer owed")
                (found,) = one.get(owner, [key], 1)
                if found is None:
                    empty[which] += 1
                elif found != value(owner, key, owner.encode() + key.encode()):
                    wrong.append((owner, key, found))
                else:
                    answered[which] += 1

        threads = [threading.Thread(target=ask, args=pair) for pair in enumerate(("left", "right"))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert wrong == []
        assert one.mismatches == 0
        assert sum(empty) > CALLS // 100  # callers did give up
        assert sum(answered) > 0  # and answers did come
        one.close()

"""A Redis that is refused, silent, slow, reset, flushed, restarted or failed over, behind a proxy."""

import contextlib
import threading
import time

import pytest

from pricegrid.cache.protocol import (
    START,
    CacheUnavailableError,
    Commit,
    Committed,
    CommitUnknownError,
    Conflict,
    Health,
    Put,
    Record,
)
from pricegrid.cache.redis_store import RedisStateCache
from tests.cache_worlds import healthy, made, options, set_to
from tests.redis_servers import Proxy, attach, primary_and_replica, redis_server, until

BUDGETS = {
    "command_timeout_s": 4.0,
    "wait_timeout_s": 0.2,
    "commit_budget_s": 0.5,
    "tell_budget_s": 0.1,
    "refresh_budget_s": 0.05,
}
READ_S = 2.0  # a read's budget is 0.05 s and a command's 4 s; between them is the scheduler's


@contextlib.contextmanager
def opened(directory, *addresses, **others):
    stores = [RedisStateCache(options(a, **others), directory / f"host{n}") for n, a in enumerate(addresses)]
    try:
        healthy(*stores)
        yield stores
    finally:
        for store in stores:
            store.close()


def records(store) -> set[Record]:
    return {Record(r.space, r.name, r.version, r.value) for r in store.scan("s")}


def agree(*stores) -> None:
    def same():
        for store in stores:
            store.changes(store.position(), 1)
        return len({frozenset(records(store)) for store in stores}) == 1

    until(same, "all servers see the same")


def refuse(proxy, server):
    proxy.refuse()


def silence(proxy, server):
    proxy.black_hole = True


def slow(proxy, server):
    proxy.delay_s = 1.0


def reset(proxy, server):
    proxy.cut(reset=True)


@pytest.mark.slow
@pytest.mark.parametrize("fault", [refuse, silence, slow, reset])
def test_reads_are_answered_within_their_budget_and_the_state_is_exact_again_soon(tmp_path, fault):
    with (
        redis_server(tmp_path / "redis") as server,
        Proxy(server.address) as proxy,
        opened(tmp_path / "near", proxy.address, **BUDGETS) as (near,),
        opened(tmp_path / "far", server.address) as (far,),
    ):
        made(far, set_to("x", b"1", 0), set_to("y", b"1", 0))
        agree(near, far)
        begin = near.position()
        fault(proxy, server)

        slowest_s, deferred, until_s = 0.0, 0, time.monotonic() + 1.5
        while time.monotonic() < until_s:
            asked_s = time.monotonic()
            assert near.get([("s", "x")])[0].value == b"1"
            near.changes(begin, 10)
            assert len(records(near)) >= 2
            slowest_s = max(slowest_s, time.monotonic() - asked_s)
            (result,) = made(
                near, Commit(puts=[Put("s", "told", b"%d" % deferred)], notes=[b"%d" % deferred])
            )
            deferred += result.position == START
            assert near.get([("s", "told")])[0].value is not None
        with contextlib.suppress(CacheUnavailableError):
            near.commit([set_to("y", b"2", 1)])
        made(far, set_to("x", b"2", 1))
        proxy.restore()

        until(lambda: near.health is Health.OK and near.get([("s", "x")])[0].value == b"2", "it is back")
        until(lambda: far.changes(START, 1) and far.get([("s", "told")])[0].version > 0, "it was told")
        agree(near, far)
        assert slowest_s < READ_S
        assert (near.lost, far.lost) == (0, 0)
        if fault in {refuse, silence, slow}:
            assert deferred > 0


def test_what_is_deferred_is_told_once_and_in_order(tmp_path):
    with (
        redis_server(tmp_path / "redis") as server,
        Proxy(server.address) as proxy,
        opened(tmp_path, proxy.address, server.address) as (near, far),
    ):
        begin = far.position()
        proxy.refuse()
        until(lambda: near.health is Health.UNREACHABLE, "noticed")
        for n in range(500):
            made(near, Commit(puts=[Put("s", str(n % 7), b"%d" % n)], notes=[b"%d" % n]))
        with pytest.raises(CacheUnavailableError):
            near.commit([set_to("0", b"", 0), Commit(notes=[b"kept"])])
        near.close()
        proxy.restore()
        # The outbox is on the disk: another process finds it.
        near.__init__(options(proxy.address), tmp_path / "host0")
        healthy(near)
        made(near, Commit(notes=[b"last"]))

        until(lambda: far.get([("s", "0")])[0].value == b"497", "it was told")
        notes = [note for change in far.changes(begin, 10_000) for note in change.notes]
        assert notes == [*(b"%d" % n for n in range(500)), b"kept", b"last"]
        agree(near, far)


def test_a_commit_whose_answer_is_cut_off_is_unknown_and_asking_again_is_safe(tmp_path):
    with (
        redis_server(tmp_path / "redis") as server,
        Proxy(server.address) as proxy,
        opened(tmp_path, proxy.address, **BUDGETS) as (store,),
    ):
        proxy.delay_s = 0.25  # it arrives, its answer comes back too late
        with pytest.raises(CommitUnknownError):
            store.commit([set_to("x", b"1", 0)])
        proxy.restore()
        healthy(store)

        def again():
            with contextlib.suppress(CacheUnavailableError):
                (result,) = store.commit([set_to("x", b"2", store.get([("s", "x")])[0].version)])
                return isinstance(result, Committed)

        until(again, "it is made")


@pytest.mark.parametrize("event", ["flush", "restart"])
def test_servers_bring_back_what_they_hold(tmp_path, event):
    with (
        redis_server(tmp_path / "redis") as server,
        opened(tmp_path, server.address, server.address) as (one, other),
    ):
        made(one, *(set_to(str(n), b"1", 0) for n in range(300)))
        made(other, *(set_to(str(n), b"2", 1) for n in range(200)))
        expected = {Record("s", str(n), 2 if n < 200 else 1, b"2" if n < 200 else b"1") for n in range(300)}

        def is_refused() -> bool:
            if event == "flush":
                server.ask("FLUSHALL")
            else:
                server.kill()
                server.start()
            try:
                (result,) = one.commit([set_to("0", b"stale", 1)])
            except CacheUnavailableError:
                return True
            assert isinstance(result, Conflict)
            return False  # on a busy machine all may be back already

        until(is_refused, "commits wait until all is back")
        until(lambda: server.ask("HLEN", "{pricegrid}:record") == 300, "all is back")
        healthy(one, other)
        agree(one, other)
        until(lambda: isinstance(other.commit([set_to("0", b"3", 2)])[0], Committed), "commits go on")
        assert records(other) == {r for r in expected if r.name != "0"} | {Record("s", "0", 3, b"3")}
        assert (one.lost, other.lost) == (0, 0)


@pytest.mark.slow
def test_a_failover_that_loses_the_last_commits_loses_none_that_was_acknowledged(tmp_path):
    with (
        primary_and_replica(tmp_path) as (primary, replica),
        Proxy(primary.address) as proxy,
        opened(tmp_path, proxy.address, proxy.address) as (one, other),
    ):
        begin = other.position()
        made(one, *(set_to(str(n), b"1", 0) for n in range(50)))
        until(lambda: replica.ask("HLEN", "{pricegrid}:record") == 50, "replicated")
        replica.ask("REPLICAOF", "NO", "ONE")  # cut off: it misses what follows
        made(one, *(set_to(str(n), b"2", 1) for n in range(40)))
        made(other, Commit({("s", "0"): 2}, [Put("s", "0", b"3")], [b"acknowledged"]))
        proxy.target = replica.address
        proxy.cut(reset=True)

        results = []

        def commits_again():
            with contextlib.suppress(CacheUnavailableError):
                results.append(one.commit([set_to("1", b"4", 2), set_to("0", b"stale", 1)]))
            return results

        until(commits_again, "commits go on")
        assert [type(result).__name__ for result in results[0]] == ["Committed", "Conflict"]
        agree(one, other)
        assert {r.name: r.value for r in records(other)} == {
            str(n): {0: b"3", 1: b"4"}.get(n, b"2" if n < 40 else b"1") for n in range(50)
        }
        assert (one.lost, other.lost) == (0, 0)
        assert b"acknowledged" in [note for c in other.changes(begin, 1000) for note in c.notes]


def test_who_comes_too_late_replays_what_nobody_built_over_and_gives_up_the_rest(tmp_path):
    with (
        primary_and_replica(tmp_path) as (primary, replica),
        Proxy(primary.address) as proxy,
        opened(tmp_path, proxy.address) as (late,),
    ):
        made(late, set_to("x", b"1", 0))
        until(lambda: replica.ask("HLEN", "{pricegrid}:record") == 1, "replicated")
        replica.ask("REPLICAOF", "NO", "ONE")
        made(late, set_to("x", b"late", 1), set_to("alone", b"late", 0))
        proxy.refuse()
        with contextlib.closing(RedisStateCache(options(replica.address), tmp_path / "early")) as early:
            healthy(early)
            made(early, set_to("x", b"early", 1))
            proxy.target = replica.address
            proxy.restore()
            healthy(late)
            agree(late, early)

            assert records(early) == {Record("s", "x", 2, b"early"), Record("s", "alone", 1, b"late")}
            assert (late.lost, early.lost) == (1, 0)


def test_with_replicas_to_wait_for_a_lonely_primary_acknowledges_nothing(tmp_path):
    with (
        primary_and_replica(tmp_path) as (primary, replica),
        opened(tmp_path, primary.address, wait_replicas=1) as (store,),
    ):
        made(store, set_to("x", b"1", 0))
        replica.kill()
        until(lambda: primary.client().info("replication")["connected_slaves"] == 0, "alone")

        with pytest.raises(CommitUnknownError, match="replicas"):
            store.commit([set_to("x", b"2", 1)])
        replica.start()
        attach(replica, primary)
        healthy(store)
        until(lambda: _goes_on(store), "commits go on")


def _goes_on(store) -> bool:
    with contextlib.suppress(CacheUnavailableError):
        version = store.get([("s", "x")])[0].version
        return isinstance(store.commit([set_to("x", b"3", version)])[0], Committed)
    return False


def test_whoever_reads_behind_a_trimmed_log_reads_the_records(tmp_path):
    with (
        redis_server(tmp_path / "redis") as server,
        Proxy(server.address) as proxy,
        opened(tmp_path, proxy.address, server.address, log_changes_max=1000) as (behind, ahead),
    ):
        begin = behind.position()
        proxy.refuse()
        until(lambda: behind.health is Health.UNREACHABLE, "noticed")
        for hundred in range(15):
            made(ahead, *(set_to(f"{hundred}.{n}", b"1", 0) for n in range(100)))
        proxy.restore()
        healthy(behind)

        agree(behind, ahead)
        assert not all(change.complete for change in behind.changes(begin, 10_000))
        assert behind.lost == 0


def test_health_and_reads_do_not_wait_for_a_silent_redis(tmp_path):
    with redis_server(tmp_path / "redis") as server, Proxy(server.address) as proxy:
        proxy.black_hole = True
        asked_s = time.monotonic()
        store = RedisStateCache(options(proxy.address), tmp_path / "host")
        assert store.health is Health.UNREACHABLE
        assert (store.get([("s", "x")]), store.changes(START, 5)) == ([Record("s", "x", 0, None)], [])
        assert time.monotonic() - asked_s < READ_S
        proxy.restore()
        healthy(store)
        store.close()


def test_commits_of_threads_that_gave_up_do_not_disturb_the_others(tmp_path):
    """Two hosts behind a proxy that delays, with a budget below the delay: every answer is to the right question."""
    tight = {**BUDGETS, "commit_budget_s": 0.004, "tell_budget_s": 0.004}
    with (
        redis_server(tmp_path / "redis") as server,
        Proxy(server.address) as proxy,
        opened(tmp_path, proxy.address, proxy.address, **tight) as stores,
    ):
        proxy.delay_s = 0.003

        def work(store, name):
            version = 0
            for _ in range(150):
                with contextlib.suppress(CacheUnavailableError):
                    (result,) = store.commit([set_to(name, name.encode(), version)])
                    assert set(result.versions) == {("s", name)}
                    version = result.versions["s", name]

        threads = [threading.Thread(target=work, args=pair) for pair in zip(stores, ("a", "b"), strict=True)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        proxy.restore()
        healthy(*stores)
        agree(*stores)
        assert all(record.value == record.name.encode() for record in records(stores[0]))

"""What a host gets of the time before it came to a Redis, what it says until it has that, and who may write what."""

import contextlib

import pytest

from pricegrid.atp.live.layout import LINK_LOST
from pricegrid.cache.embedded import EmbeddedStateCache
from pricegrid.cache.mirror import Mirror
from pricegrid.cache.protocol import (
    START,
    BlindPutError,
    CacheUnavailableError,
    Commit,
    Committed,
    Conflict,
    Health,
    Put,
)
from pricegrid.cache.redis_accept import accept
from pricegrid.cache.redis_store import RedisStateCache
from pricegrid.service.cli.main import main
from pricegrid.service.errors import Reason, RequestRefusedError
from tests.atp_world import at, complete_feed, world
from tests.cache_worlds import healthy, made, options, set_to
from tests.live_site import Site, Source, event
from tests.redis_servers import Proxy, redis_server, until


@contextlib.contextmanager
def stores(directory, *names, address, **others):
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(
                contextlib.closing(RedisStateCache(options(address, **others), directory / name))
            )
            for name in names
        ]


def site_on(directory, address, **others) -> Site:
    rows = world(X=1000)
    for source in Source:
        complete_feed(rows, "MAIN", source, at(0, 6))
    site = Site.__new__(Site)
    site.rows, site.directory, site.now_us = rows, directory, at(0)
    site.open_cache = lambda where: RedisStateCache(options(address, **others), where)
    site.start()
    return site


def is_stale(site: Site) -> bool:
    return bool(site.engine.positions.live.live_head[LINK_LOST])


def notes_of(store) -> list[bytes]:
    found, position = [], START
    while changes := store.changes(position, 100):
        found += [note for change in changes for note in change.notes]
        position = changes[-1].position
    return found


def soon(site: Site, units: int) -> None:
    def said() -> bool:
        site.live.follow()
        return site.free() == units and not is_stale(site)

    until(said, f"{units} and not stale")


def test_a_host_that_joins_has_what_was_told_before_and_grants_nothing_until_then(tmp_path):
    with redis_server(tmp_path / "redis") as server, Proxy(server.address) as proxy:
        one = site_on(tmp_path / "one", server.address)
        soon(one, 1000)
        one.publish(event(1, 5))
        proxy.black_hole = True
        joining = site_on(tmp_path / "joining", proxy.address)

        assert (joining.free(), is_stale(joining)) == (1000, True)
        with pytest.raises(RequestRefusedError) as refused:
            joining.reserve(500)
        assert refused.value.reason is Reason.LIVE_STATE_UNAVAILABLE
        assert str(proxy.port) not in refused.value.message

        proxy.restore()
        soon(joining, 5)
        assert not joining.reserve(6, "K6")
        assert joining.reserve(5, "K5")
        for site in (one, joining):
            site.cache.close()


@pytest.mark.parametrize("trimmed", [False, True])
def test_a_host_that_was_away_when_redis_lost_everything_gets_what_was_told_meanwhile(tmp_path, trimmed):
    with redis_server(tmp_path / "redis") as server:
        with stores(tmp_path, "one", "away", address=server.address, log_changes_max=1000) as (one, away):
            healthy(one, away)
            made(one, Commit(notes=[b"first"]))
            until(lambda: b"first" in notes_of(away), "both know it")
        with stores(tmp_path, "one", address=server.address, log_changes_max=1000) as (one,):
            healthy(one)
            for n in range(1500 if trimmed else 3):
                made(one, Commit(notes=[b"%d" % n]))
            expected = {b"first", *(b"%d" % n for n in range(1500 if trimmed else 3))}
            server.ask("FLUSHALL")
            until(lambda: server.ask("HLEN", "{pricegrid}:note") == len(expected), "all is back")
            healthy(one)
            with stores(tmp_path, "away", "new", address=server.address, log_changes_max=1000) as (away, new):
                healthy(away, new)
                assert set(notes_of(away)) == set(notes_of(new)) == expected
                assert len(notes_of(away)) == len(notes_of(new)) == len(expected)


def test_what_nobody_has_any_more_is_waited_for_until_it_comes_or_is_accepted(tmp_path, capsys):
    with redis_server(tmp_path / "redis") as server:
        with stores(tmp_path, "knows", address=server.address) as (knows,):
            healthy(knows)
            made(knows, set_to("x", b"1", 0), set_to("y", b"1", 0))
        server.ask("DEL", "{pricegrid}:record")
        server.ask("HDEL", "{pricegrid}:note", *server.ask("HKEYS", "{pricegrid}:note")[:1])

        with stores(tmp_path, "new", address=server.address) as (new,):
            until(lambda: "1 messages of its history and 2 of its records" in new.trouble, "it says so")
            with pytest.raises(CacheUnavailableError):
                new.commit([set_to("x", b"again", 0)])
            with stores(tmp_path, "knows", address=server.address) as (knows,):
                healthy(knows, new)
                assert {record.name for record in new.scan("s")} == {"x", "y"}
                assert sorted(notes_of(new)) == [b"x=1", b"y=1"]

        server.ask("DEL", "{pricegrid}:note")
        with stores(tmp_path, "newer", address=server.address) as (newer,):
            until(lambda: "2 messages of its history and 0 of its records" in newer.trouble, "it says so")
            url = f"redis://{server.address[0]}:{server.address[1]}"
            assert main(["accept-loss", "--redis-url", url, "--reason", "the other host burnt down"]) == 0
            assert "2 messages and 0 records" in capsys.readouterr().out
            healthy(newer)
            ((record),) = newer.scan("audit")
            assert b"burnt" in record.value
            assert isinstance(newer.commit([set_to("x", b"2", 1)])[0], Committed)
            # Who has them brings them all the same, and nobody waits for anything again.
            with stores(tmp_path, "knows", address=server.address) as (knows,):
                healthy(knows)
                until(lambda: sorted(notes_of(newer)) == [b"x=1", b"x=2", b"y=1"], "all is there")
                server.ask("FLUSHALL")
                until(lambda: server.ask("HLEN", "{pricegrid}:note") == 3, "all is back")
                healthy(knows, newer)
        assert accept(options(server.address), "ops", "nothing to accept") is None


def test_a_host_that_may_not_begin_waits_for_one_that_knows(tmp_path):
    with (
        redis_server(tmp_path / "redis") as server,
        stores(tmp_path, "second", address=server.address, may_begin=0) as (second,),
    ):
        until(lambda: "may not begin" in second.trouble, "it waits")
        with pytest.raises(CacheUnavailableError):
            second.commit([set_to("x", b"1", 0)])
        with stores(tmp_path, "first", address=server.address) as (first,):
            healthy(first, second)


def test_a_store_that_was_embedded_brings_its_history(tmp_path):
    with contextlib.closing(EmbeddedStateCache(tmp_path / "one")) as embedded:
        made(embedded, set_to("x", b"1", 0), Commit(notes=[b"told"]))
    with (
        redis_server(tmp_path / "redis") as server,
        stores(tmp_path, "one", "two", address=server.address) as (one, two),
    ):
        healthy(one, two)
        until(lambda: sorted(notes_of(two)) == [b"told", b"x=1"], "the other host has it")
        assert two.get([("s", "x")])[0].value == b"1"


def test_a_mirror_whose_release_kept_no_history_does_not_vouch_for_it(tmp_path):
    mirror = Mirror(tmp_path / "one")
    with mirror.database.transaction(durable=False):
        mirror.ledger.append((), b"\1\0\0\0x")
        mirror.ledger.append((), b"", complete=False)  # notes went by that it never saw
        mirror.database.run("DROP TABLE note")
    mirror.close()
    with (
        redis_server(tmp_path / "redis") as server,
        stores(tmp_path, "one", address=server.address) as (one,),
    ):
        until(lambda: "1 messages of its history" in one.trouble, "it waits for who knows more")


@pytest.mark.parametrize("key", ["life", "record", "note", "log"])
def test_a_key_that_goes_alone_is_noticed_at_once_by_who_commits_and_comes_back(tmp_path, key):
    with (
        redis_server(tmp_path / "redis") as server,
        stores(tmp_path, "one", "two", address=server.address, poll_s=0.5) as (one, two),
    ):
        healthy(one, two)
        made(one, set_to("x", b"1", 0))

        def is_noticed() -> bool:
            server.ask("DEL", f"{{pricegrid}}:{key}")
            with contextlib.suppress(CacheUnavailableError):
                assert two.commit([set_to("x", b"again", 0)]) == [Conflict({("s", "x"): 1})]
                return False  # on a busy machine it may have come back already
            return True

        until(is_noticed, "a commit waits until it is back")
        until(lambda: server.ask("EXISTS", f"{{pricegrid}}:{key}") == 1, "it comes back")
        healthy(one, two)
        assert isinstance(two.commit([set_to("x", b"2", 1)])[0], Committed)
        until(lambda: notes_of(one)[-1:] == [b"x=2"], "the other one noticed it, too")
        assert server.ask("HLEN", "{pricegrid}:note") == 2
        assert (one.lost, two.lost) == (0, 0)


@pytest.mark.parametrize(
    "entry",
    [
        (b"junk", b"x"),
        (b"r", b"\xff" * 40),
        (b"p", b"0-0", b"r", b"", b"n", b"\xff" * 9, b"k", b"1", b"h", b""),
        (b"p", b"0-0", b"r", b"", b"n", b"\1\0\0\0x", b"k", b"1", b"h", b""),
    ],
)
def test_foreign_entries_of_the_log_are_skipped_and_counted_once(tmp_path, entry, caplog):
    with (
        redis_server(tmp_path / "redis") as server,
        stores(tmp_path, "one", "two", address=server.address) as (one, two),
    ):
        healthy(one, two)
        made(one, set_to("x", b"1", 0))
        server.ask("XADD", "{pricegrid}:log", "*", *entry)
        made(two, set_to("x", b"2", 1))
        until(lambda: notes_of(one) == [b"x=1", b"x=2"], "nothing is missed")
        made(one, set_to("x", b"3", 2), Commit(notes=[b"on"]))

        until(lambda: notes_of(two)[-1:] == [b"on"], "all goes on")
        until(lambda: (one.damaged, two.damaged) == (1, 1), "each counts it once")
        assert sum("skipped" in record.message for record in caplog.records) == 2


def test_a_note_that_cannot_be_read_comes_back_also_when_the_key_of_healings_is_no_hash(tmp_path):
    with (
        redis_server(tmp_path / "redis") as server,
        stores(tmp_path, "one", address=server.address) as (one,),
    ):
        healthy(one)
        made(one, Commit(notes=[b"told"]), set_to("x", b"1", 0))
        digest, *_ = server.ask("HKEYS", "{pricegrid}:note")
        server.ask("SET", "{pricegrid}:heal", "rubbish")
        server.ask("HSET", "{pricegrid}:note", digest, "7")

        with stores(tmp_path, "two", address=server.address) as (two,):
            healthy(one, two)

            assert sorted(notes_of(two)) == [b"told", b"x=1"]


def test_an_entry_that_somebody_took_out_of_the_log_is_missed(tmp_path):
    with (
        redis_server(tmp_path / "redis") as server,
        Proxy(server.address) as proxy,
        stores(tmp_path, "near", address=server.address) as (near,),
        stores(tmp_path, "far", address=proxy.address) as (far,),
    ):
        healthy(near, far)
        made(near, Commit(notes=[b"1"]))
        until(lambda: notes_of(far) == [b"1"], "both are in step")
        proxy.refuse()
        until(lambda: far.health is Health.UNREACHABLE, "away")
        made(near, Commit(notes=[b"2"]), Commit(notes=[b"3"]))
        for name, _ in server.ask("XREVRANGE", "{pricegrid}:log", "+", "-", "COUNT", 2)[1:]:
            server.ask("XDEL", "{pricegrid}:log", name)
        proxy.restore()

        until(lambda: sorted(notes_of(far)) == [b"1", b"2", b"3"], "it has them all the same")


def test_a_redis_that_may_evict_is_refused_also_when_that_begins_later(tmp_path):
    with (
        redis_server(tmp_path / "redis") as server,
        stores(tmp_path, "one", address=server.address) as (one,),
    ):
        healthy(one)
        made(one, set_to("x", b"1", 0))
        server.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        made(one, set_to("x", b"2", 1))  # there is no limit: nothing is evicted
        server.ask("CONFIG", "SET", "maxmemory", 1 << 30)

        until(lambda: one.health is Health.UNSAFE, "noticed")
        assert "allkeys-lru" in one.trouble
        with pytest.raises(CacheUnavailableError, match="noeviction"):
            one.commit([set_to("x", b"3", 2)])
        server.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
        healthy(one)
        made(one, set_to("x", b"3", 2))


def test_a_redis_that_does_not_say_whether_it_evicts_needs_a_word_of_the_operator(tmp_path):
    with redis_server(tmp_path / "redis", "--rename-command", "CONFIG", "") as server:
        assert options(server.address).any_eviction == 0
        with stores(tmp_path, "one", address=server.address) as (one,):
            healthy(one)  # INFO says it
            one._agent._refuse_eviction("noeviction")
            with pytest.raises(CacheUnavailableError, match="any_eviction=1"):
                one._agent._refuse_eviction(None)
        with stores(tmp_path, "one", address=server.address, any_eviction=1) as (one,):
            healthy(one)
            one._agent._refuse_eviction(None)


def test_a_conditional_space_takes_no_put_that_expects_nothing(tmp_path):
    with redis_server(tmp_path / "redis") as server:
        opened = (
            EmbeddedStateCache(tmp_path / "embedded", conditional={"s"}),
            RedisStateCache(options(server.address), tmp_path / "host", conditional={"s"}),
        )
        for store in opened:
            with contextlib.closing(store):
                healthy(store)
                made(store, set_to("x", b"1", 0))
                with pytest.raises(BlindPutError, match="s x"):
                    store.commit([Commit(puts=[Put("s", "x", b"older")])])
                made(store, Commit(puts=[Put("free", "x", b"2")]))
                assert store.get([("s", "x")])[0].value == b"1"


def test_a_blind_put_that_an_earlier_release_left_in_the_outbox_overwrites_nothing(tmp_path):
    with redis_server(tmp_path / "redis") as server:
        with stores(tmp_path, "host", address=server.address) as (store,):
            healthy(store)
            made(store, set_to("x", b"1", 0))
        mirror = Mirror(tmp_path / "host")
        mirror.enqueue([Commit(puts=[Put("s", "x", b"older"), Put("s", "new", b"1")])], durable=True)
        mirror.close()
        with contextlib.closing(
            RedisStateCache(options(server.address), tmp_path / "host", conditional={"s"})
        ) as store:
            healthy(store)
            until(lambda: store.get([("s", "new")])[0].version == 1, "it was told")
            assert (store.get([("s", "x")])[0].version, store.get([("s", "x")])[0].value) == (1, b"1")


def test_what_is_acknowledged_and_not_told_yet_is_shown_by_the_next_writer(tmp_path):
    with redis_server(tmp_path / "redis") as server, Proxy(server.address) as proxy:
        site = site_on(tmp_path / "one", proxy.address)
        soon(site, 1000)
        site.publish(event(1, 100))
        proxy.refuse()
        until(lambda: site.cache.health is Health.UNREACHABLE, "noticed")
        site.publish(event(2, 900))
        assert site.free() == 900
        site.restart()
        assert (site.free(), is_stale(site)) == (900, True)
        proxy.restore()
        soon(site, 900)
        site.cache.close()

"""A quota holds over all hosts that share a Redis: they lease their shares of it, and keep them while it is away."""

import itertools
import logging
import shutil
from pathlib import Path

import pytest

from pricegrid.cache.redis_options import RedisOptions
from pricegrid.service.clock import host_ns
from pricegrid.service.quota import kernel
from pricegrid.service.quota.accounts import Accounts, accounts_path, key_of
from pricegrid.service.quota.exchange import RedisExchange
from pricegrid.service.quota.leaser import Leaser, open_leaser
from pricegrid.service.quota.leases import Leases
from pricegrid.service.quota.limits import AGED_NS, KEEP_NS
from pricegrid.service.quota.quotas import Quota
from pricegrid.service.quota.rules import LimitRule, Rate
from tests.quota_hosts import Clock, Host, Load, S, closed
from tests.redis_servers import Proxy, RedisServer, redis_server, until

HASH = "{%s}:quotas"
CALLS = LimitRule(calls=Rate(100, 100))
KINDS = {
    "calls": (CALLS, b"", 100),
    "few calls": (LimitRule(calls=Rate(20, 20)), b"", 20),
    "lines": (LimitRule(lines=Rate(20_000, 20_000)), b"\x12\x00" * 1_000, 20),
    "many lines": (LimitRule(lines=Rate(20_000, 100_000)), b"\x12\x00" * 10_000, 2),
}
"""The rule, the request, and how many of it the quota is for a second."""
DEMANDS = {
    "equal": (1.0, 1.0, 1.0),
    "skewed": (2.7, 0.27, 0.03),
    "all at one": (0, 1.5, 0),
    "just enough": (0.05, 0.9, 0.1),
}
"""How many quotas come to each host."""
SETTLED_S = 6


@pytest.fixture(scope="module")
def redis(tmp_path_factory):
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


_numbers = itertools.count()


@pytest.fixture
def options(redis) -> RedisOptions:
    return RedisOptions([redis.address], prefix=f"test{next(_numbers)}")


def hosts_of(
    tmp_path: Path, clock: Clock, options: RedisOptions, rule: LimitRule, count: int = 3
) -> list[Host]:
    return [Host(tmp_path / f"host{number}", clock, options, rule) for number in range(count)]


def together(hosts: list[Host]) -> None:
    """All have seen each other."""
    for host in (*hosts, *hosts):
        host.leases.turn()
    assert [host.leases.hosts for host in hosts] == [len(hosts)] * len(hosts)


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


# ---- what is promised


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("demand", DEMANDS)
def test_a_quota_holds_over_three_hosts(tmp_path, options, kind, demand):
    rule, raw, per_s = KINDS[kind]
    clock, wanted = Clock(), [per_s * each for each in DEMANDS[demand]]
    hosts = hosts_of(tmp_path, clock, options, rule)
    alone = Host(tmp_path / "alone", clock, options, rule)
    with closed(*hosts):
        load, of_one = Load(clock, hosts, raw), Load(clock, [alone], raw)
        load.run(SETTLED_S, wanted)
        count = sum(load.run(120, wanted))
        of_one.run(SETTLED_S, [sum(wanted)], lambda _: False)
        (most,) = of_one.run(120, [sum(wanted)], lambda _: False)

    # one host alone can't let in the whole quota either when little more than that comes, and unevenly
    assert count == pytest.approx(min(120 * per_s, most), rel=0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_a_quota_holds_when_demand_moves(tmp_path, options, kind):
    """From host to host, again and again: what is lost until shares follow is little, and nothing is won."""
    rule, raw, per_s = KINDS[kind]
    clock, counts = Clock(), []
    hosts = hosts_of(tmp_path, clock, options, rule)
    with closed(*hosts):
        load = Load(clock, hosts, raw)
        for turn in range(4):
            wanted = [per_s * (2.7, 0.27, 0.03)[(at + turn) % 3] for at in range(3)]
            counts.append(sum(load.run(SETTLED_S, wanted)))
            assert sum(load.run(30, wanted)) == pytest.approx(30 * per_s, rel=0.05)

    assert max(counts[1:]) <= 1.05 * SETTLED_S * per_s + 1
    assert min(counts[1:]) >= 0.75 * SETTLED_S * per_s


def test_nobody_who_asks_for_less_than_an_equal_share_pays_for_one_who_asks_for_more(tmp_path, options):
    clock = Clock()
    hosts = hosts_of(tmp_path, clock, options, CALLS)
    with closed(*hosts):
        load = Load(clock, hosts)
        load.run(SETTLED_S, [900, 25, 25])
        counts = load.run(60, [900, 25, 25])

    assert counts[1:] == [pytest.approx(60 * 25, rel=0.05)] * 2


def test_a_quota_holds_without_redis(tmp_path, redis):
    clock = Clock()
    with Proxy(redis.address) as proxy:
        # each attempt holds the test up, not the clock of the hosts: few of them
        pauses = {"retry_first_s": 4, "retry_max_s": 4, "heal_window_s": 10}
        options = RedisOptions([proxy.address], prefix="black-hole", **pauses)
        hosts = hosts_of(tmp_path, clock, options, CALLS)
        with closed(*hosts):
            load = Load(clock, hosts)
            load.run(SETTLED_S, [270, 27, 3])
            proxy.black_hole = True
            kept = load.run(KEEP_NS // S - 5, [270, 27, 3])
            assert [host.leases.hosts for host in hosts] == [0, 0, 0]
            load.run(15, [100, 100, 100])
            equal = load.run(60, [100, 100, 100])
            skewed = load.run(60, [270, 27, 3])
            proxy.black_hole = False
            for host in hosts:
                until(lambda host=host: (host.leases.turn(), host.leases.hosts)[1] == 3, "Redis is back")
            load.run(SETTLED_S, [270, 27, 3])
            back = load.run(60, [270, 27, 3])

    assert sum(kept) == pytest.approx((KEEP_NS // S - 5) * 100, rel=0.1)
    assert sum(equal) == pytest.approx(60 * 100, rel=0.1)
    assert sum(skewed) <= 60 * 100 * 1.1
    assert skewed[0] == pytest.approx(60 * 100 / 3, rel=0.1)
    assert sum(back) == pytest.approx(60 * 100, rel=0.05)


def test_others_take_the_share_of_a_host_that_dies_when_its_report_has_aged(tmp_path, redis, options):
    clock = Clock()
    hosts = hosts_of(tmp_path, clock, options, CALLS)
    with closed(*hosts):
        load = Load(clock, hosts)
        load.run(SETTLED_S, [100, 100, 100])
        before = load.run(AGED_NS // S - 1, [100, 100, 100], lambda host: host is not hosts[2])
        assert [host.leases.hosts for host in hosts[:2]] == [3, 3], "it may only be slow"
        load.run(SETTLED_S, [100, 100, 0], lambda host: host is not hosts[2])
        after = load.run(30, [100, 100, 0], lambda host: host is not hosts[2])

        assert [host.leases.hosts for host in hosts[:2]] == [2, 2]
        assert redis.ask("HLEN", HASH % options.prefix) == 2
        assert sum(before) == pytest.approx(100 * (AGED_NS // S - 1), rel=0.05)
        assert sum(after) == pytest.approx(30 * 100, rel=0.05)
        hosts[2].leases.turn()
        hosts[0].leases.turn()
        assert hosts[0].leases.hosts == 3, "it was only slow"


def test_a_host_that_joins_gets_its_share(tmp_path, options):
    clock = Clock()
    hosts = hosts_of(tmp_path, clock, options, CALLS, 2)
    with closed(*hosts):
        load = Load(clock, hosts)
        assert sum(load.run(SETTLED_S + 30, [100, 100])[:2]) <= 100 * (SETTLED_S + 30) * 1.05 + 200
        third = Host(tmp_path / "third", clock, options, CALLS)
        hosts.append(third)
        third.leases.turn()
        first = load.run(SETTLED_S, [100, 100, 100])
        later = load.run(30, [100, 100, 100])
        third.exchange.close()

    assert sum(first) <= 100 * SETTLED_S * 1.05 + 50, "its burst is a share, too"
    assert later == [pytest.approx(1_000, rel=0.05)] * 3


def test_callers_are_counted_apart(tmp_path, options):
    clock = Clock()
    hosts = hosts_of(tmp_path, clock, options, CALLS)
    with closed(*hosts):
        Load(clock, hosts, caller="noise").run(SETTLED_S, [500, 500, 500])
        quiet = Load(clock, hosts, caller="quiet")
        quiet.run(SETTLED_S, [80, 0, 0])
        counts = quiet.run(30, [80, 0, 0])

    assert counts == [pytest.approx(30 * 80, rel=0.05), 0, 0]


# ---- how it begins


def test_a_new_account_begins_with_an_equal_share_and_that_of_one_host_is_the_whole(tmp_path, options):
    clock = Clock()
    hosts = hosts_of(tmp_path, clock, options, CALLS, 2)
    with closed(*hosts):
        assert hosts[0].share("first") == 1
        hosts[0].leases.turn()
        assert hosts[0].share("second") == 1
        together(hosts)

        assert [hosts[0].share(caller) for caller in ("first", "second", "third")] == [0.5] * 3


def test_a_host_that_never_reached_redis_counts_for_itself_and_says_so(tmp_path, options, caplog):
    clock = Clock()
    away = options.with_options(nodes=[("127.0.0.1", 1)], password="hunter2")
    host = Host(tmp_path / "host", clock, away, CALLS)
    with closed(host):
        counts = Load(clock, [host]).run(70, [300])

    assert counts == [pytest.approx(71 * 100, rel=0.02)]
    (said,) = warnings_of(caplog)
    assert said.startswith(
        "quotas can't be shared, this host counts by the shares of before, or for itself: "
    )
    assert "hunter2" not in caplog.text


def test_a_writer_that_begins_anew_goes_on_with_the_shares_and_is_no_other_host(tmp_path, redis, options):
    clock = Clock()
    with Proxy(redis.address) as proxy:
        hosts = hosts_of(tmp_path, clock, options.with_options(nodes=[proxy.address]), CALLS)
        with closed(*hosts):
            Load(clock, hosts).run(SETTLED_S, [270, 27, 3])
            shares = [host.share("shop") for host in hosts]
            hosts[0].exchange.close()
            hosts[0].begin()
            together(hosts)
            proxy.refuse()
            hosts[0].begin()
            hosts[0].leases.turn()

            assert hosts[0].share("shop") == pytest.approx(shares[0], abs=0.35)
            clock.now_ns += KEEP_NS + S
            hosts[0].leases.turn()
            assert hosts[0].share("shop") == pytest.approx(1 / 3, abs=0.001)


def test_without_redis_what_was_shared_is_forgotten(tmp_path, options, monkeypatch):
    store = tmp_path / "store"
    accounts = Accounts(accounts_path(store), host_ns)
    accounts.begin_with(kernel.WHOLE // 4)
    quota = Quota(accounts, "shop", LimitRule(calls=Rate(1, 1_000)), host_ns)
    slot, _ = accounts.account(key_of("shop"))
    quota.charge(b"", 0)
    owed_s = (int(slot[kernel.CALLS]) - host_ns()) / S

    assert open_leaser(store, None) is None

    assert slot[kernel.CALLS_SHARE] == slot[kernel.LINES_SHARE] == 0
    assert accounts.first_share == kernel.WHOLE
    assert owed_s == pytest.approx(4, abs=1)
    assert (int(slot[kernel.CALLS]) - host_ns()) / S < 1.1


# ---- what goes wrong


def test_a_redis_that_lost_everything_gives_nobody_more(tmp_path, redis, options):
    clock = Clock()
    hosts = hosts_of(tmp_path, clock, options, CALLS)
    with closed(*hosts):
        load = Load(clock, hosts)
        load.run(SETTLED_S, [100, 100, 100])
        redis.ask("DEL", HASH % options.prefix)
        hosts[0].leases.turn()

        assert hosts[0].leases.hosts == 3
        assert hosts[0].share("shop") == pytest.approx(1 / 3, abs=0.02)
        assert sum(load.run(30, [100, 100, 100])) == pytest.approx(30 * 100, rel=0.05)
        redis.ask("DEL", HASH % options.prefix)
        load.run(SETTLED_S, [0, 0, 0], lambda host: host is not hosts[2])
        assert [host.leases.hosts for host in hosts[:2]] == [2, 2], "one did not come back"


def test_nobody_ages_while_redis_is_away(tmp_path, redis, options):
    """Whoever comes back first must not take all."""
    clock = Clock()
    with Proxy(redis.address) as proxy:
        hosts = hosts_of(tmp_path, clock, options.with_options(nodes=[proxy.address]), CALLS)
        with closed(*hosts):
            together(hosts)
            hosts[0].leases.turn()
            proxy.refuse()
            for _ in range(4):
                clock.now_ns += AGED_NS
                hosts[0].leases.turn()
            proxy.restore()
            until(lambda: (hosts[0].leases.turn(), hosts[0].leases.hosts)[1] > 0, "Redis is back")

            assert hosts[0].leases.hosts == 3
            assert hosts[0].share("shop") == pytest.approx(1 / 3, abs=0.001)


def test_reports_that_are_damaged_are_skipped_counted_and_removed(tmp_path, redis, options, caplog):
    clock, name = Clock(), HASH % options.prefix
    hosts = hosts_of(tmp_path, clock, options, CALLS, 2)
    with closed(*hosts):
        load = Load(clock, hosts)
        load.run(SETTLED_S, [100, 100])
        junk = {"0" * 16: b"", "1" * 16: b"PGQ1" + b"\xff" * 40, "2" * 16: b"\0" * 200_000}
        for host, raw in junk.items():
            redis.ask("HSET", name, host, raw)
        redis.ask("HSET", name, b"\xff no host", b"x")
        counts = load.run(AGED_NS // S + 2, [100, 100])

        assert sum(counts) == pytest.approx(100 * (AGED_NS // S + 2), rel=0.05)
        assert hosts[0].leases.hosts == 2
        assert hosts[0].leases.damaged == 3, "once each"
        assert redis.ask("HLEN", name) == 3
        (said, _) = warnings_of(caplog)
        assert (
            said
            == "quotas: the report of host 0000000000000000 can't be read, so it is skipped: it has 0 bytes"
        )


def test_the_last_good_report_counts_until_it_has_aged(tmp_path, redis, options):
    clock, name = Clock(), HASH % options.prefix
    hosts = hosts_of(tmp_path, clock, options, CALLS, 2)
    with closed(*hosts):
        together(hosts)
        other = hosts[1].accounts.host()
        redis.ask("HSET", name, f"{other:016x}", b"damaged")
        hosts[0].leases.turn()
        assert hosts[0].leases.hosts == 2
        clock.now_ns += AGED_NS + S
        hosts[0].leases.turn()
        assert hosts[0].leases.hosts == 1


def test_what_others_have_put_in_place_of_the_reports_is_as_if_redis_were_away(
    tmp_path, redis, options, caplog
):
    clock, name = Clock(), HASH % options.prefix
    hosts = hosts_of(tmp_path, clock, options, CALLS, 2)
    with closed(*hosts):
        together(hosts)
        redis.ask("SET", name, "something else")
        for _ in range(3):
            hosts[0].leases.turn()
        assert hosts[0].leases.hosts == 0
        assert hosts[0].share("shop") == 0.5
        redis.ask("DEL", name)
        together(hosts)

    (said,) = warnings_of(caplog)
    assert said.startswith("quotas are shared as they were, and equally in 60 s: ")
    assert "WRONGTYPE" in said


# ---- the thread


def test_leasers_find_each_other_and_outlive_what_goes_wrong(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    stores = [tmp_path / "one", tmp_path / "two"]
    blocked = accounts_path(stores[1])
    blocked.mkdir()
    server = RedisServer(tmp_path / "redis", ("--requirepass", "hunter2"), password="hunter2")
    options = RedisOptions([server.address], password="hunter2")
    leasers = [Leaser(store, options) for store in stores]
    try:
        until(lambda: "quotas can't be shared" in caplog.text, "it is said that Redis is away")
        until(lambda: "could not be renewed" in caplog.text, "it is said that there are no accounts")
        shutil.rmtree(blocked)
        server.start()
        until(lambda: [each.hosts for each in leasers] == [2, 2], "they found each other")
        server.kill()
        until(lambda: [each.hosts for each in leasers] == [0, 0], "Redis is away")
        server.start()
        until(lambda: [each.hosts for each in leasers] == [2, 2], "they found each other again")
    finally:
        for leaser in leasers:
            leaser.close()
        server.kill()

    assert "hunter2" not in caplog.text
    assert f"quotas are shared by 2 host(s) over redis://127.0.0.1:{server.port}" in caplog.text


def test_a_cluster_keeps_reports_in_the_slot_of_the_prefix(tmp_path, redis, options):
    """All keys of an installation are in one slot, and nothing else is needed there."""
    clock = Clock()
    accounts = Accounts(tmp_path / "quotas", clock)
    exchange = RedisExchange(options)
    Leases(accounts, exchange, clock).turn()
    exchange.close()

    assert redis.ask("KEYS", f"*{options.prefix}*") == [(HASH % options.prefix).encode()]
    assert 0 < redis.ask("TTL", HASH % options.prefix) <= 60

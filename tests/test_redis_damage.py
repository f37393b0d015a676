"""A Redis whose keys are deleted, overwritten and written to by others, at any moment between commits, joins and
restarts of up to three hosts: nothing is sold twice, nothing acknowledged vanishes, and all agree again without
anybody's help.

`PRICEGRID_HYPOTHESIS_PROFILE=long` runs many more.
"""

import itertools
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from redis.exceptions import ResponseError

from pricegrid.atp.model import Source
from pricegrid.atp.rules.events import Kind
from pricegrid.cache.protocol import Health
from pricegrid.cache.redis_options import RedisOptions
from pricegrid.cache.redis_scripts import key_named
from pricegrid.cache.redis_store import RedisStateCache
from pricegrid.service.errors import Reason, RequestRefusedError
from tests.atp_world import at, complete_feed, world
from tests.live_site import Site, event
from tests.profiles import LONG
from tests.redis_servers import RedisServer, redis_server, until

QUICK = {
    "poll_s": 0.02, "heal_window_s": 0.15, "heal_lease_s": 1.0, "retry_first_s": 0.02, "retry_max_s": 0.1,
    "refresh_budget_s": 5.0, "tell_budget_s": 5.0, "commit_budget_s": 5.0,
}  # fmt: skip
HOSTS_MAX = 3
KEYS = ("life", "record", "note", "log", "heal")
ENTRIES = (
    {b"junk": b"x"},
    {b"r": b"\xff" * 40},
    {b"r": b"\5\0\0\0ab", b"n": b"", b"h": b"", b"p": b"0-0", b"k": b"1"},
    {b"r": b"", b"n": b"\xff" * 9, b"h": b"", b"p": b"0-0", b"k": b"1"},
    {b"r": b"", b"n": b"", b"h": b"", b"p": b"7-7", b"k": b"many"},
    {b"r": b"", b"n": b"\1\0\0\0x", b"h": b"", b"p": b"7-7", b"k": b"900000"},
)
_worlds = itertools.count()


class Damaged(RuleBasedStateMachine):
    """A hundred of X, sold by hosts that come and go."""

    redis: RedisServer

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="pricegrid-damaged-")
        self.options = RedisOptions(nodes=(self.redis.address,), prefix=f"world{next(_worlds)}", **QUICK)
        self.on_hand, self.sequence, self.key = 100, 0, 0
        self.held: dict[str, int] = {}
        self.confirmed: set[str] = set()
        self.sites: list[Site] = []
        self.join()
        self._heal()

    def _named(self, key: str) -> str:
        return key_named(self.options.prefix, key)

    def _free(self) -> int:
        return self.on_hand - sum(self.held.values())

    def _asked(self, call):
        """Retries refused requests, as callers do."""
        answers: list[object] = []

        def is_answered() -> bool:
            try:
                answers.append(call())
            except RequestRefusedError as error:
                if error.reason is not Reason.LIVE_STATE_UNAVAILABLE:
                    raise
            return bool(answers)

        until(is_answered, "it is answered without anybody's help")
        return answers[0]

    def _site(self, data: st.DataObject) -> Site:
        return self.sites[data.draw(st.integers(0, len(self.sites) - 1))]

    @precondition(lambda self: len(self.sites) < HOSTS_MAX)
    @rule()
    def join(self) -> None:
        rows = world(X=100)
        for source in Source:
            complete_feed(rows, "MAIN", source, at(0, 6))
        site = Site.__new__(Site)
        site.rows, site.now_us = rows, at(0)
        site.directory = Path(self.folder.name) / str(len(self.sites))
        site.open_cache = lambda directory: RedisStateCache(self.options, directory)
        site.start()  # in step or not: until it is, it may grant nothing
        self.sites.append(site)

    @rule(data=st.data())
    def restart(self, data: st.DataObject) -> None:
        self._site(data).restart()

    @rule(data=st.data(), units=st.integers(-9, 9))
    def change_on_hand(self, data: st.DataObject, units: int) -> None:
        site = self._site(data)
        self.sequence += 1
        site.publish(event(self.sequence, units, Kind.DELTA))
        self.on_hand += units
        # One that is only kept on its host can't bind the others yet.
        until(lambda: not list(site.cache.waiting()), "it is told")

    @rule(data=st.data(), units=st.integers(1, 60))
    def reserve(self, data: st.DataObject, units: int) -> None:
        site = self._site(data)
        self.key += 1
        free = self._free()
        name = self._asked(lambda: site.reserve(units, f"K{self.key}", ttl_us=10**15))
        if name:
            assert units <= free, "more was promised than there is"
            self.held[name] = units
        else:
            assert units > free or site.cache.health is not Health.OK

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def confirm(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(list(self.held)))
        site = self._site(data)
        until(lambda: self._knows(site, name), "it is known")
        self._asked(lambda: site.live.confirm("C1", name, f"SO-{name}"))
        self.confirmed.add(name)

    @staticmethod
    def _knows(site: Site, name: str) -> bool:
        site.live.follow()
        return name in {each.reservation_id for each in site.live.reservations()}

    @rule(keys=st.sets(st.sampled_from(KEYS), min_size=1))
    def delete(self, keys: set[str]) -> None:
        self.redis.ask("DEL", *(self._named(key) for key in keys))

    @rule(key=st.sampled_from(KEYS))
    def put_another_type(self, key: str) -> None:
        with self.redis.client() as client, client.pipeline() as both:
            both.delete(self._named(key))
            both.execute_command("SADD" if key == "life" else "SET", self._named(key), "rubbish")
            both.execute()

    @rule(
        which=st.sampled_from(["record", "note"]),
        data=st.data(),
        value=st.sampled_from([None, b"", b"7", b"x:y"]),
    )
    def spoil_a_field(self, which: str, data: st.DataObject, value: bytes | None) -> None:
        fields = self._tried("HKEYS", self._named(which))
        if not fields:
            return
        field = sorted(fields)[data.draw(st.integers(0, len(fields) - 1))]
        if value is None:
            self._tried("HDEL", self._named(which), field)
        else:
            self._tried("HSET", self._named(which), field, value)

    @rule(entry=st.sampled_from(ENTRIES))
    def write_to_the_log(self, entry: dict[bytes, bytes]) -> None:
        parts = [part for pair in entry.items() for part in pair]
        self._tried("XADD", self._named("log"), "*", *parts)

    @rule()
    def take_the_last_entry(self) -> None:
        for name, _ in self._tried("XREVRANGE", self._named("log"), "+", "-", "COUNT", 1):
            self._tried("XDEL", self._named("log"), name)

    def _tried(self, *command):
        """What Redis answers; nothing where a key has another type by now."""
        try:
            return self.redis.ask(*command)
        except ResponseError:
            return []

    @rule()
    def agree(self) -> None:
        self._heal()

    def _heal(self) -> None:
        for site in self.sites:
            until(lambda site=site: self._said(site) == self._wanted(), f"all agree on {self._wanted()}")

    def _wanted(self) -> tuple[int, dict[str, bool], bool]:
        return max(0, self._free()), {name: name in self.confirmed for name in self.held}, True

    def _said(self, site: Site) -> tuple[int, dict[str, bool], bool]:
        is_ok = site.cache.health is Health.OK
        site.live.follow()
        found = {each.reservation_id: bool(each.order_ref) for each in site.live.reservations()}
        return max(0, site.free() or 0), found, is_ok

    def teardown(self) -> None:
        try:
            if getattr(self, "sites", None):
                self._heal()
                assert [site.cache.lost for site in self.sites] == [0] * len(self.sites)
        finally:
            for site in getattr(self, "sites", ()):
                site.cache.close()
            if hasattr(self, "folder"):
                self.folder.cleanup()


@pytest.mark.slow
def test_a_damaged_redis_sells_nothing_twice_and_heals_by_itself(tmp_path):
    with redis_server(tmp_path / "redis") as server:
        machine = type("OnRedis", (Damaged,), {"redis": server})
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=150 if LONG else 8,
                stateful_step_count=40 if LONG else 18,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                phases=[Phase.generate],  # what fails depends on the clock: a smaller case may hold
            ),
        )

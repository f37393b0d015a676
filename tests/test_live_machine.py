"""Two servers over one cache, in any order of events, reservations, time and restarts, compared with a simple model.

On both implementations of the cache: SQLite, where they share the file, and a real Redis, where each has its mirror.
`PRICEGRID_HYPOTHESIS_PROFILE=long` runs many more.
"""

import contextlib
import itertools
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from pricegrid.atp.model import MICROS, Source
from pricegrid.atp.rules.events import Kind
from pricegrid.cache.embedded import EmbeddedStateCache
from pricegrid.cache.protocol import StateCache
from pricegrid.cache.redis_options import RedisOptions
from pricegrid.cache.redis_store import RedisStateCache
from pricegrid.service.errors import Reason, RequestRefusedError
from tests.atp_world import at, complete_feed, world
from tests.cache_worlds import THERE, healthy
from tests.live_site import Site, event
from tests.profiles import LONG
from tests.redis_servers import DEADLINE_S, RedisServer, redis_server, until

SERVERS = st.sampled_from([0, 1])
UNITS = st.integers(1, 40)
SOON_S = 3.0
_stores = itertools.count()


def refusal(call: Callable[[], object]) -> Reason | None:
    """Why a reservation can't be changed any more; None: it was."""
    try:
        call()
    except RequestRefusedError as error:
        if error.reason in (Reason.RESERVATION_EXPIRED, Reason.RESERVATION_ENDED):
            return error.reason
        raise
    return None


@dataclass
class Held:
    """What the model knows of a reservation that was acknowledged."""

    customer: str
    units: int
    expires_us: int
    confirmed: bool = False
    over: bool = False


class Machine(RuleBasedStateMachine):
    """Servers 0 and 1 sell the same hundred of X."""

    redis: RedisServer | None = None

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="pricegrid-machine-")
        rows = world(X=100)
        for source in Source:
            complete_feed(rows, "MAIN", source, at(0, 6))
        self.now_us, self.on_hand, self.sequence, self.key = at(0), 100, 0, 0
        self.held: dict[str, Held] = {}  # in the order they were made: their names differ from run to run
        number = next(_stores)
        self.options = None
        if self.redis is not None:
            self.options = RedisOptions(
                nodes=(self.redis.address,), prefix=f"machine{number}", commit_budget_s=DEADLINE_S, **THERE
            )
        self.sites = [self._site(rows, server) for server in (0, 1)]

    def _site(self, rows: object, server: int) -> Site:
        site = Site.__new__(Site)
        site.rows, site.now_us = rows, self.now_us
        site.directory = Path(self.folder.name) / (str(server) if self.options else "shared")
        site.open_cache = self._open
        site.start()
        return site

    def _open(self, directory: Path) -> StateCache:
        if self.options is None:
            return EmbeddedStateCache(directory)
        cache = RedisStateCache(self.options, directory)
        healthy(cache)
        return cache

    def teardown(self) -> None:
        for site in getattr(self, "sites", ()):
            site.cache.close()
        if hasattr(self, "folder"):
            self.folder.cleanup()

    def _model_free(self) -> int:
        return self.on_hand - sum(held.units for held in self.held.values() if self._counts(held))

    def _counts(self, held: Held) -> bool:
        return not held.over and (held.confirmed or self.now_us < held.expires_us)

    @rule(server=SERVERS, units=st.integers(0, 120))
    def set_on_hand(self, server: int, units: int) -> None:
        self.sequence += 1
        self.sites[server].publish(event(self.sequence, units))
        self.on_hand = units

    @rule(server=SERVERS, units=st.integers(-9, 9), again=st.booleans())
    def change_on_hand(self, server: int, units: int, again: bool) -> None:
        self.sequence += 1
        change = event(self.sequence, units, Kind.DELTA)
        self.sites[server].publish(change)
        if again:
            self.sites[1 - server].publish(change)  # the same twice counts once
        self.on_hand += units

    @rule(server=SERVERS, units=UNITS, partly=st.booleans(), seconds=st.integers(1, 50))
    def reserve(self, server: int, units: int, partly: bool, seconds: int) -> None:
        self.key += 1
        free = max(0, self._model_free())
        found = self.sites[server].reserve(
            units, f"K{self.key}", allow_partial=partly, ttl_us=seconds * MICROS
        )
        granted = units if free >= units else free if partly else 0
        assert bool(found) == (granted > 0)
        if found:
            self.held[found] = Held("C1", granted, self.now_us + seconds * MICROS)

    @rule(server=SERVERS, data=st.data())
    def confirm(self, server: int, data: st.DataObject) -> None:
        if not self.held:
            return
        name = data.draw(st.sampled_from(list(self.held)))
        held = self.held[name]
        reason = refusal(lambda: self.sites[server].live.confirm("C1", name, f"SO-{name}"))
        assert (reason is None) == self._counts(held)
        held.confirmed |= reason is None

    @rule(server=SERVERS, data=st.data())
    def release(self, server: int, data: st.DataObject) -> None:
        if not self.held:
            return
        name = data.draw(st.sampled_from(list(self.held)))
        held = self.held[name]
        was_released = held.over
        reason = refusal(lambda: self.sites[server].live.release("C1", name))
        assert (reason is None) == (self._counts(held) or was_released)  # once more is answered the same
        held.over |= reason is None

    @rule(seconds=st.integers(1, 60))
    def wait(self, seconds: int) -> None:
        self.now_us += seconds * MICROS
        for site in self.sites:
            site.now_us = self.now_us

    @rule(server=SERVERS)
    def end_what_is_over(self, server: int) -> None:
        self.sites[server].live.expire()

    @rule(server=SERVERS)
    def forget_what_is_over(self, server: int) -> None:
        self.sites[server].live.expire()
        self.sites[server].live.forget(kept_us=0)
        self.held = {name: held for name, held in self.held.items() if self._counts(held)}

    @rule(server=SERVERS)
    def crash_and_restart(self, server: int) -> None:
        self.sites[server].restart()

    def _said(self, site: Site) -> tuple[int | None, set[str]]:
        site.live.follow()
        return site.free(), {each.reservation_id for each in site.live.reservations()}

    @invariant()
    def both_servers_soon_say_what_the_model_says(self) -> None:
        living = {name for name, held in self.held.items() if self._counts(held)}
        wanted = self._model_free(), living
        for site in getattr(self, "sites", ()):
            # soon: past `refresh_budget_s`, which a busy machine may need, a server answers what it knows already
            with contextlib.suppress(AssertionError):
                until(lambda site=site: self._said(site) == wanted, "", SOON_S)
            assert self._said(site) == wanted


def run(machine: type[Machine], examples: int, steps: int) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.slow
def test_two_servers_on_sqlite_agree_with_the_model():
    run(Machine, 300 if LONG else 12, 40 if LONG else 20)


@pytest.mark.slow
def test_two_servers_on_redis_agree_with_the_model(tmp_path):
    with redis_server(tmp_path / "redis") as server:
        shared = type("Shared", (Machine,), {"redis": server})
        run(shared, 60 if LONG else 4, 40 if LONG else 15)

"""State caches for tests: embedded ones, and ones on a real Redis, opened in the same way."""

import contextlib
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

from pricegrid.cache.embedded import EmbeddedStateCache
from pricegrid.cache.protocol import Commit, Committed, Health, Put, StateCache
from pricegrid.cache.redis_options import RedisOptions
from pricegrid.cache.redis_store import RedisStateCache
from tests.redis_servers import DEADLINE_S, redis_server, until

QUICK = {"poll_s": 0.02, "heal_window_s": 0.6, "heal_lease_s": 0.6, "retry_max_s": 0.2}
PATIENT = {"refresh_budget_s": 1.0, "tell_budget_s": 2.0, "commit_budget_s": DEADLINE_S}
"""A disk that stalls for seconds is the machine's: only tests of a budget set a short one."""
THERE = {"refresh_budget_s": DEADLINE_S, "tell_budget_s": DEADLINE_S}
"""Where Redis never goes away nobody has to answer without it."""
Open = Callable[[], StateCache]


def options(*address: tuple[str, int], **others) -> RedisOptions:
    """For tests: short windows, so that healing is soon over."""
    return RedisOptions(nodes=address, **{**QUICK, **PATIENT, **others})


def healthy(*stores: StateCache) -> None:
    """Waits until they can be relied on."""
    for store in stores:
        until(lambda store=store: store.health is Health.OK, "the cache is OK")


@contextlib.contextmanager
def world(kind: str, directory: Path) -> Iterator[Open]:
    """Opens caches that share their state: embedded in one directory, on Redis each with a mirror of its own."""
    opened: list[StateCache] = []
    numbers = itertools.count()
    with contextlib.ExitStack() as stack:
        if kind == "redis":
            server = stack.enter_context(redis_server(directory / "redis"))

        def open_one() -> StateCache:
            if kind == "embedded":
                store: StateCache = EmbeddedStateCache(directory / "live")
            else:
                store = RedisStateCache(options(server.address, **THERE), directory / f"host{next(numbers)}")
                healthy(store)
            opened.append(store)
            return store

        try:
            yield open_one
        finally:
            for store in opened:
                store.close()


def set_to(name: str, value: bytes, version: int) -> Commit:
    """Sets a record that has a version."""
    return Commit({("s", name): version}, [Put("s", name, value)], [name.encode() + b"=" + value])


def made(store: StateCache, *commits: Commit) -> list[Committed]:
    """Makes commits that nothing stands against."""
    results = store.commit(commits)
    assert all(isinstance(result, Committed) for result in results), results
    return results

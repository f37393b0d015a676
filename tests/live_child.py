"""A writer that is killed in the middle of a group commit, and prints what it acknowledged before. For tests.

python -m tests.live_child DIRECTORY REDIS_PORT(0: embedded) MOMENT
"""

import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from atp.model import Source
from cache.embedded import EmbeddedStateCache
from cache.protocol import StateCache
from cache.redis_store import RedisStateCache
from tests.atp_world import at, complete_feed, world
from tests.cache_worlds import healthy, options
from tests.live_site import Site, together
from tests.redis_servers import HOST

GROUP = 8
SKUS = [f"X{number}" for number in range(GROUP)]


def die(*_: object) -> None:
    """As by kill -9."""
    os.kill(os.getpid(), signal.SIGKILL)


def before_the_last(call: Callable[..., Any]) -> Callable[..., Any]:
    """The same call, but the last of a group's is never made."""
    left = [GROUP]

    def counted(*arguments: Any) -> Any:
        left[0] -= 1
        return die() if not left[0] else call(*arguments)

    return counted


def arm(site: Site, moment: str) -> None:
    """Lets the process die at a moment of its next group."""
    cache: Any = site.cache
    match moment:
        case "in the transaction":
            cache._made = before_the_last(cache._made)
        case "made in Redis":
            cache._agent._check = die
        case "in the mirror's transaction":
            mirror = cache._agent._mirror
            mirror._take = before_the_last(mirror._take)
        case "durable":
            site.live._show = die
        case "shown in part":
            site.live._pairs._show_held = before_the_last(site.live._pairs._show_held)


def opener(port: int) -> Callable[[Path], StateCache]:
    """Opens the cache of a store."""

    def opened(folder: Path) -> StateCache:
        if not port:
            return EmbeddedStateCache(folder)
        cache = RedisStateCache(options((HOST, port)), folder)
        healthy(cache)
        return cache

    return opened


def opened_site(directory: Path, port: int) -> Site:
    """A hundred of each of as many items as a group has requests."""
    site = Site.__new__(Site)
    site.rows, site.now_us, site.directory = world(**dict.fromkeys(SKUS, 100)), at(0), directory
    for source in Source:
        complete_feed(site.rows, "MAIN", source, at(0, 6))
    site.open_cache = opener(port)
    site.start()
    return site


def main(directory: str, port: str, moment: str) -> None:
    """A group that is answered, and one that is not."""
    site = opened_site(Path(directory), int(port))

    def reserve(sku: str, group: int) -> None:
        reservation_id = site.reserve(1, f"{sku} {group}", sku=sku)
        os.write(sys.stdout.fileno(), f"held {reservation_id}\n".encode())  # a line at once, from any thread

    for group in (1, 2):
        if group == 2:
            arm(site, moment)
        together(site.live, *(partial(reserve, sku, group) for sku in SKUS))


if __name__ == "__main__":
    main(*sys.argv[1:])

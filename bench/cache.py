"""Commits a second: embedded, through Redis, and an empty Lua script called the same way.

python -m bench.cache
"""

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pricegrid.cache.embedded import EmbeddedStateCache
from pricegrid.cache.protocol import Commit, Committed, Put, StateCache
from pricegrid.cache.redis_link import Link
from pricegrid.cache.redis_options import RedisOptions
from pricegrid.cache.redis_scripts import EMPTY
from pricegrid.cache.redis_store import RedisStateCache
from tests.cache_worlds import healthy
from tests.redis_servers import redis_server

SECONDS = 2.0
VALUE = b"v" * 60


def rate(call: Callable[[], int]) -> int:
    """How many a second."""
    begin_s, count = time.perf_counter(), 0
    while (spent_s := time.perf_counter() - begin_s) < SECONDS:
        count += call()
    return round(count / spent_s)


def committing(store: StateCache, batch: int) -> Callable[[], int]:
    """Conditional commits of one record and one note, so many a call."""
    versions = [0] * batch

    def call() -> int:
        commits = [
            Commit({("bench", f"{batch}.{n}"): version}, [Put("bench", f"{batch}.{n}", VALUE)], [VALUE])
            for n, version in enumerate(versions)
        ]
        assert all(isinstance(result, Committed) for result in store.commit(commits))
        versions[:] = [version + 1 for version in versions]
        return batch

    return call


def main() -> None:
    """Prints the figures as JSON."""
    figures: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as name, redis_server(Path(name) / "redis") as server:
        options = RedisOptions(nodes=(server.address,))
        embedded, shared = EmbeddedStateCache(Path(name) / "e"), RedisStateCache(options, Path(name) / "r")
        healthy(shared)
        link = Link(options)
        link.run("x", [("SCRIPT", "LOAD", EMPTY.source)])
        for batch in (1, 32):
            figures[f"embedded, {batch} a call"] = rate(committing(embedded, batch))
            figures[f"redis, {batch} a call"] = rate(committing(shared, batch))
            head = EMPTY.head(options.prefix)
            figures[f"empty script, {batch} a call"] = rate(
                lambda b=batch, h=head: len(link.run("x", [h] * b))
            )
        for one in (embedded, shared, link):
            one.close()
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()

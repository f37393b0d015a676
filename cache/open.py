"""Opens the cache that the options select."""

from collections.abc import Collection
from pathlib import Path

from pricegrid.cache.embedded import EmbeddedStateCache
from pricegrid.cache.protocol import StateCache, ValueCache
from pricegrid.cache.redis_options import RedisOptions
from pricegrid.cache.values import EmbeddedValueCache


def open_state_cache(
    directory: Path, redis: RedisOptions | str | None = None, *, conditional: Collection[str] = ()
) -> StateCache:
    """The state cache in a directory of the store, shared through a Redis if one is given; `conditional` are the spaces
    whose records may be changed by conditional commits only."""
    if redis is None:
        return EmbeddedStateCache(directory, conditional=conditional)
    from pricegrid.cache.redis_store import RedisStateCache  # a store of one host needs none of it

    return RedisStateCache(_options(redis), directory, conditional=conditional)


def open_value_cache(directory: Path, redis: RedisOptions | str | None = None) -> ValueCache:
    """The value cache in a directory of the store, or in a Redis if one is given."""
    if redis is None:
        return EmbeddedValueCache(directory)
    from pricegrid.cache.redis_values import RedisValueCache

    return RedisValueCache(_options(redis))


def cache_name(redis: RedisOptions | None) -> str:
    """Names the state cache that these options select, without secrets: equal for equal ones."""
    if redis is None:
        return "in the store alone"
    return (
        f"in {redis.with_options(nodes=sorted(redis.nodes))}, database {redis.database}, under {redis.prefix}"
    )


def _options(redis: RedisOptions | str) -> RedisOptions:
    return RedisOptions.from_url(redis) if isinstance(redis, str) else redis

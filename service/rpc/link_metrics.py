"""The health of the writer's link to Redis, for Prometheus (`service.rpc.metrics` describes how processes add up)."""

from pricegrid.cache.protocol import Health, StateCache
from pricegrid.cache.redis_store import RedisStateCache


class LinkMetrics:
    """Gauges of the writer process; a host has one writer."""

    def __init__(self, cache: RedisStateCache) -> None:
        from prometheus_client import Gauge

        self._cache = cache
        health = Gauge(
            "pricegrid_redis_health",
            "1 for the current state of the link to Redis; only in OK are reservations granted and answers fresh.",
            ("health",),
            multiprocess_mode="mostrecent",
        )
        self._health = {each: health.labels(each.value) for each in Health}
        self._lost = Gauge(
            "pricegrid_redis_lost_records",
            "Records that were acknowledged here and then lost to another host's, since the writer started.",
            multiprocess_mode="mostrecent",
        )
        self._damaged = Gauge(
            "pricegrid_redis_damaged",
            "Entries, records and messages in Redis that could not be read, since the writer started.",
            multiprocess_mode="mostrecent",
        )
        self._shown: tuple[Health, int, int] | None = None

    def show(self) -> None:
        """Updates the gauges; cheap when nothing has changed."""
        found = (self._cache.health, self._cache.lost, self._cache.damaged)
        if found == self._shown:
            return
        self._shown = found
        for each, gauge in self._health.items():
            gauge.set(each is found[0])
        self._lost.set(found[1])
        self._damaged.set(found[2])


def open_link_metrics(cache: StateCache, *, metrics: bool) -> LinkMetrics | None:
    """None without Redis, or without metrics."""
    return LinkMetrics(cache) if metrics and isinstance(cache, RedisStateCache) else None

"""The health of the writer's link to Redis, for Prometheus (`service.rpc.metrics` describes how processes add up)."""

from collections.abc import Callable

from pricegrid.cache.protocol import Health, StateCache
from pricegrid.cache.redis_store import RedisStateCache
from pricegrid.service import metric_table


class LinkMetrics:
    """Gauges of the writer process; a host has one writer."""

    def __init__(self, cache: RedisStateCache, quota_hosts: Callable[[], int]) -> None:
        from prometheus_client import Gauge

        self._cache = cache
        self._quota_hosts = quota_hosts
        health = Gauge(*metric_table.REDIS_HEALTH.declared, multiprocess_mode="mostrecent")
        self._health = {each: health.labels(each.value) for each in Health}
        self._lost = Gauge(*metric_table.REDIS_LOST_RECORDS.declared, multiprocess_mode="mostrecent")
        self._damaged = Gauge(*metric_table.REDIS_DAMAGED.declared, multiprocess_mode="mostrecent")
        self._hosts = Gauge(*metric_table.QUOTA_HOSTS.declared, multiprocess_mode="mostrecent")
        self._shown: tuple[Health, int, int, int] | None = None

    def show(self) -> None:
        """Updates the gauges; cheap when nothing has changed."""
        found = (self._cache.health, self._cache.lost, self._cache.damaged, self._quota_hosts())
        if found == self._shown:
            return
        self._shown = found
        for each, gauge in self._health.items():
            gauge.set(each is found[0])
        self._lost.set(found[1])
        self._damaged.set(found[2])
        self._hosts.set(found[3])


def open_link_metrics(cache: StateCache, quota_hosts: Callable[[], int]) -> LinkMetrics | None:
    """None without Redis; `quota_hosts`: how many hosts share quotas now."""
    return LinkMetrics(cache, quota_hosts) if isinstance(cache, RedisStateCache) else None

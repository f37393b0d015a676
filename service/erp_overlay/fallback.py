"""Wires an ERP's gateway into the services of a process: what `--erp-config` enables."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from pricegrid.cache.memory import MemoryValueCache
from pricegrid.cache.open import open_value_cache
from pricegrid.cache.protocol import CacheError, ValueCache
from pricegrid.erp.dead_letters import DeadLetterFile, DeadLetterSink
from pricegrid.erp.gateway import ErpGateway
from pricegrid.erp.observe import CallSpans, ErpMetrics, NoErpMetrics
from pricegrid.erp.operator_flags import OperatorFlags
from pricegrid.erp.parity import ParityFile, ParitySampler
from pricegrid.erp.settings import ErpSettings, read_settings
from pricegrid.service.clock import now_us
from pricegrid.service.erp_overlay.prices import ErpPrices
from pricegrid.service.erp_overlay.stock import ErpStock
from pricegrid.service.rpc.call import Caller

_log = logging.getLogger(__name__)
CACHE_FOLDER = "cache"
"""The folder of the store with validated answers, shared by the processes of a host."""


@dataclass(frozen=True, slots=True)
class ErpFallback:
    """What the services use of an ERP."""

    prices: ErpPrices
    stock: ErpStock
    gateway: ErpGateway
    sampler: ParitySampler | None
    cache: ValueCache

    def bounded(self, caller: Caller) -> Caller:
        """The caller with a deadline of `request_wait_ms` from now, which the ERP calls of one request share."""
        until_s = monotonic() + self.gateway.settings.limits.request_wait_ms / 1000
        if caller.deadline_s is not None and caller.deadline_s <= until_s:
            return caller
        return caller._replace(deadline_s=until_s)

    def close(self) -> None:
        """Stops the ERP's threads."""
        if self.sampler is not None:
            self.sampler.close()
        self.gateway.close()
        self.cache.close()


def open_erp(
    settings: ErpSettings,
    store: Path,
    clock_us: Callable[[], int],
    metrics: ErpMetrics | None = None,
    *,
    cache: ValueCache | None = None,
    dead_letters: DeadLetterSink | None = None,
    sample: bool = True,
    spans: CallSpans | None = None,
) -> ErpFallback:
    """Starts the gateway, and the parity sampler unless disabled. Raises ErpConfigError; the ERP need not be up."""
    metrics = metrics or NoErpMetrics()
    flags = OperatorFlags(store)
    kept = cache or _kept(store)
    gateway = ErpGateway(
        settings,
        kept,
        dead_letters or DeadLetterFile(store),
        metrics,
        clock_us,
        invalidated=lambda customer, sku, at_us: flags.state().is_invalidated(customer, sku, at_us),
        spans=spans,
    )
    gateway.start()
    sampler = None
    if sample and settings.parity.sample_per_million:
        sampler = ParitySampler(settings.parity, gateway, ParityFile(store), flags, metrics, clock_us)
        sampler.start()
    prices = ErpPrices(gateway, flags, sampler, clock_us)
    return ErpFallback(prices, ErpStock(gateway, flags, clock_us), gateway, sampler, kept)


def _kept(store: Path) -> ValueCache:
    """The answers that the store keeps; where it can't be written, this process keeps them in memory."""
    try:
        return open_value_cache(store / CACHE_FOLDER)
    except CacheError as error:
        _log.warning("answers of the ERP are kept in memory alone: %s", error)
        return MemoryValueCache()


def open_worker_erp(
    config: Path, store: Path, *, metrics: bool, spans: CallSpans | None = None
) -> ErpFallback:
    """`open_erp` for a worker, from its configuration file."""
    counted: ErpMetrics | None = None
    if metrics:
        from pricegrid.service.erp_overlay.metrics import PrometheusErpMetrics

        counted = PrometheusErpMetrics()
    return open_erp(read_settings(config), store, now_us, counted, spans=spans)

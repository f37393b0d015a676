"""The table of services and their methods, the same over gRPC and in-process."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pricegrid import v1
from pricegrid.service.erp_overlay.flags import Flagging
from pricegrid.service.methods.availability import AvailabilityService
from pricegrid.service.methods.live import no_live_methods
from pricegrid.service.methods.pricing import PricingService
from pricegrid.service.methods.quotes import QuoteService
from pricegrid.service.methods.watch import Changes, PolledChanges, WatchService
from pricegrid.service.rpc.call import Services, SnapshotSource

if TYPE_CHECKING:
    from pricegrid.service.erp_overlay.fallback import ErpFallback

SERVICES = (
    v1.PRICING_SERVICE,
    v1.AVAILABILITY_SERVICE,
    v1.QUOTE_SERVICE,
    v1.INVENTORY_FEED_SERVICE,
    v1.ADMIN_SERVICE,
)


def services(
    snapshots: SnapshotSource,
    now_us: Callable[[], int],
    *,
    live: Services | None = None,
    changes: Changes | None = None,
    erp: ErpFallback | None = None,
    flagging: Flagging | None = None,
) -> Services:
    """All services over a source of snapshots.

    `live`: the methods that change live state, from `live_methods` or a `WriterLink`; None: they refuse. `changes`:
    when availability may have changed; None: when another snapshot becomes active. `erp`: for exceptions and unknown
    stock. `flagging`: operator flags where there is no ERP.
    """
    pricing = PricingService(snapshots, now_us, erp.prices if erp else None, flagging)
    availability = AvailabilityService(snapshots, now_us, erp.stock if erp else None)
    quote = QuoteService(snapshots, now_us, erp, flagging)
    watch = WatchService(
        availability.check_availability, changes or PolledChanges(lambda: snapshots.get("").version)
    )
    mutating = no_live_methods() if live is None else live
    return {
        v1.PRICING_SERVICE: {"PriceLines": pricing.price_lines, "ExplainPrice": pricing.explain_price},
        v1.AVAILABILITY_SERVICE: {
            "CheckAvailability": availability.check_availability,
            "PromiseOrder": availability.promise_order,
            **mutating[v1.AVAILABILITY_SERVICE],
            "WatchAvailability": watch.method,
        },
        v1.QUOTE_SERVICE: {"QuoteLines": quote.quote_lines},
        v1.INVENTORY_FEED_SERVICE: mutating[v1.INVENTORY_FEED_SERVICE],
        v1.ADMIN_SERVICE: mutating[v1.ADMIN_SERVICE],
    }

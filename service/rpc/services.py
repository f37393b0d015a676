"""The table of services and their methods, the same over gRPC and in-process."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from pricegrid import v1
from pricegrid.service.erp_overlay.flags import Flagging
from pricegrid.service.methods.availability import AvailabilityService
from pricegrid.service.methods.dead_letters import DeadLetterService
from pricegrid.service.methods.live import no_live_methods
from pricegrid.service.methods.orders import OrderPorts, OrderService
from pricegrid.service.methods.other_names import taking_names
from pricegrid.service.methods.pricing import PricingService
from pricegrid.service.methods.quotes import QuoteService
from pricegrid.service.methods.watch import Changes, PolledChanges, WatchService
from pricegrid.service.rpc.call import Method, Mutation, Services, SnapshotSource

if TYPE_CHECKING:
    from pricegrid.service.erp_overlay.fallback import ErpFallback
    from pricegrid.service.erp_overlay.letters import ErpLetters

SERVICES = (
    v1.PRICING_SERVICE,
    v1.AVAILABILITY_SERVICE,
    v1.QUOTE_SERVICE,
    v1.ORDER_SERVICE,
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
    erp_letters: ErpLetters | None = None,
) -> Services:
    """All services over a source of snapshots.

    `live`: the methods that change live state, from `live_methods` or a `WriterLink`; None: they refuse. `changes`:
    when availability may have changed; None: when another snapshot becomes active. `erp`: for exceptions and unknown
    stock. `flagging`: operator flags where there is no ERP. `erp_letters`: refused ERP answers, listed beside events.
    """
    taking = taking_names(snapshots, now_us)
    pricing = PricingService(snapshots, now_us, erp.prices if erp else None, flagging, taking)
    mutating = no_live_methods() if live is None else live
    reserve = _call(mutating, v1.AVAILABILITY_SERVICE, "Reserve")
    own_reservation = _call(mutating, v1.AVAILABILITY_SERVICE, "GetReservation")
    availability = AvailabilityService(snapshots, now_us, erp.stock if erp else None, own_reservation)
    quote = QuoteService(snapshots, now_us, erp, flagging, taking)
    orders = OrderService(
        snapshots,
        now_us,
        OrderPorts(
            price=pricing.price_lines,
            promise=availability.promise_order,
            reserve=reserve,
            confirm=_call(mutating, v1.AVAILABILITY_SERVICE, "ConfirmReservation"),
            keep=_call(mutating, v1.ORDER_SERVICE, "ValidateOrder"),
            find=_call(mutating, v1.ORDER_SERVICE, "GetOrderAnswer"),
        ),
    )
    check = taking("CheckAvailability", availability.check_availability)
    watch = WatchService(check, changes or PolledChanges(lambda: snapshots.get("").version))
    admin = mutating[v1.ADMIN_SERVICE]
    if erp_letters is not None:

        def has_events() -> bool:
            return live is not None and snapshots.get("").availability is not None

        admin = {**admin, **DeadLetterService(admin, erp_letters, has_events).methods()}
    return {
        v1.PRICING_SERVICE: {
            "PriceLines": pricing.price_lines,
            "ExplainPrice": taking("ExplainPrice", pricing.explain_price),
        },
        v1.AVAILABILITY_SERVICE: {
            "CheckAvailability": check,
            "PromiseOrder": taking("PromiseOrder", availability.promise_order),
            **mutating[v1.AVAILABILITY_SERVICE],
            "Reserve": Mutation(taking("Reserve", reserve)),
            "WatchAvailability": watch.method,
        },
        v1.QUOTE_SERVICE: {"QuoteLines": quote.quote_lines},
        v1.ORDER_SERVICE: {
            "ValidateOrder": Mutation(orders.validate_order),
            "GetOrderAnswer": Mutation(orders.get_order_answer),
        },
        v1.INVENTORY_FEED_SERVICE: mutating[v1.INVENTORY_FEED_SERVICE],
        v1.ADMIN_SERVICE: admin,
    }


def _call(mutating: Services, service: str, method: str) -> Method:
    return cast("Mutation", mutating[service][method]).call

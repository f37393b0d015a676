"""A caller who may ask for some customers: of all others they learn what they learn of those that do not exist.

Fifty customers, each with a price, a reservation and a key of their own; fifty callers, each of whom may ask for one of
them or for a group. What a caller is answered about a customer outside of their grant is compared, byte by byte, with
what they are answered about an id that nobody has.
"""

import gc
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from pricegrid import v1
from pricegrid.atp.live.positions import LiveWriter
from pricegrid.cache.embedded import EmbeddedStateCache
from pricegrid.loaders.store.snapshot import activate
from pricegrid.pricing_engine.model import MICROS, ExceptionPolicy
from pricegrid.service.errors import RequestRefusedError, refusal, trailing_metadata
from pricegrid.service.identity.gate import GrantedCustomers, owner_checked
from pricegrid.service.identity.grants import CustomerGrant
from pricegrid.service.identity.views import CustomerViews
from pricegrid.service.live.state import LiveState
from pricegrid.service.methods.live import live_methods
from pricegrid.service.process.bootstrap import load_snapshot
from pricegrid.service.process.snapshots import SnapshotHolder
from pricegrid.service.rpc.call import Caller, Mutation, Services
from pricegrid.service.rpc.services import services
from tests.atp_world import NOON, us
from tests.stores import publish, stocked_rows

CUSTOMERS = [f"K{number:02d}" for number in range(50)]
GROUPS = [CUSTOMERS[start] for start in range(0, 50, 10)]
"""K00, K10 ...: each has the nine that follow below, in a chain of three generations."""
UNKNOWN = "Q17"
NOW_US = us(NOON)
Answer = tuple[Any, ...]


def rows() -> dict[str, list[dict[str, str]]]:
    """The stocked shop with `CUSTOMERS`, to each of whom S4 is sold at a price of their own."""
    shop = stocked_rows()
    for number, name in enumerate(CUSTOMERS):
        place = number % 10
        parent = "" if place == 0 else CUSTOMERS[number - 1 if place < 3 else number - place]
        shop["customers"].append({"customer_id": name, "currency": "EUR", "parent_id": parent})
        shop["price_books"].append({"book_id": f"B-{name}", "layer": "contract", "currency": "EUR"})
        shop["agreements"].append({"book_id": f"B-{name}", "customer_id": name})
        shop["price_entries"].append(
            {"book_id": f"B-{name}", "sku": "S4", "method": "net", "value": f"{1 + number}.25"}
        )
    for customer in shop["customers"]:
        customer.setdefault("parent_id", "")
        customer.setdefault("price_class", "")
        customer.setdefault("branch", "")
        customer["branch"] = customer["branch"] or "HAM"
    return shop


class World:
    """A server's services over a store with two snapshots and live state, without gRPC."""

    def __init__(self, directory: Any) -> None:
        self.store = directory / "store"
        self.old_version = publish(self.store, rows(), minute=0)
        self.version = publish(self.store, rows(), minute=1)
        activate(self.store, self.version)
        self.holder = SnapshotHolder(
            load_snapshot(self.store, None, ExceptionPolicy()),
            lambda version: load_snapshot(self.store, version, ExceptionPolicy()),
        )
        (directory / "live").mkdir()
        active = self.holder.active
        self.live = LiveState(
            EmbeddedStateCache(directory / "live"),
            active.availability,
            active.version,
            active.created_at_us,
            lambda grown: LiveWriter.in_memory(1 << 8 + grown, 1 << 12 + grown),
            lambda: NOW_US,
        )
        clock = lambda: NOW_US  # noqa: E731
        self.views = CustomerViews()
        self.services: Services = owner_checked(
            services(self.holder, clock, live=live_methods(self.live, clock)), self.holder
        )
        self.reservations = {name: self.reserve(name) for name in CUSTOMERS}

    def reserve(self, customer: str) -> str:
        raw = v1.ReserveRequest(
            customer_id=customer,
            idempotency_key="cart",
            lines=[v1.ReserveLine(sku="BOLT", quantity_micros=MICROS, branch="HAM")],
        ).SerializeToString()
        answered = self.answer(v1.AVAILABILITY_SERVICE, "Reserve", raw, "*")
        return str(v1.ReserveResponse.FromString(answered[1]).reservation.reservation_id)

    def caller(self, *grants: str) -> Caller:
        grant = CustomerGrant.of(grants)
        allowed = None if grant.is_all else GrantedCustomers(self.views, grant)
        return Caller("the same", service_desk=True, customers=allowed)

    def answer(self, service: str, name: str, raw: bytes, *grants: str) -> Answer:
        """('OK', bytes), or everything that a refused caller gets."""
        method: Any = self.services[service][name]
        call = method.call if isinstance(method, Mutation) else method
        if name == "WatchAvailability":
            return self.watched(method, raw, grants)
        try:
            return "OK", call(raw, self.caller(*grants)).raw
        except Exception as error:  # noqa: BLE001 -- as a server's handlers do
            refused = refusal(error)
            return refused.code.name, refused.message, trailing_metadata(refused, "the same")

    def watched(self, method: Any, raw: bytes, grants: tuple[str, ...]) -> Answer:
        seen: list[bytes] = []
        try:
            for message in method.responses(raw, self.caller(*grants), lambda: bool(seen)):
                seen.append(message)
                break
        except Exception as error:  # noqa: BLE001 -- as a server's handlers do
            refused = refusal(error)
            return refused.code.name, refused.message, trailing_metadata(refused, "the same")
        return "OK", seen[0]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("identity"))


@dataclass(frozen=True)
class Ask:
    """A request about a customer; `who` is theirs or another's, as the case may be."""

    service: str
    method: str
    make: Callable[[World, str], Any]


PRICES, QUOTES, STOCK, ADMIN = v1.PRICING_SERVICE, v1.QUOTE_SERVICE, v1.AVAILABILITY_SERVICE, v1.ADMIN_SERVICE
LINES = [v1.PriceLine(sku="S4", quantity_micros=MICROS), v1.PriceLine(sku="S0", quantity_micros=MICROS)]
STOCK_LINES = [v1.AvailabilityLine(sku="S4", quantity_micros=MICROS)]
RESERVED = [v1.ReserveLine(sku="BOLT", quantity_micros=MICROS, branch="HAM")]
KIT = [v1.PriceLine(sku="KIT", quantity_micros=MICROS)]


def owned(make: Callable[..., Any], **fields: Any) -> Callable[[World, str], Any]:
    """About the reservation of the customer who is named, or of K03 where they have none."""
    return lambda world, who: make(
        customer_id=who, reservation_id=world.reservations.get(who, world.reservations["K03"]), **fields
    )


ASKS = {
    "a price": Ask(PRICES, "PriceLines", lambda _, who: v1.PriceLinesRequest(customer_id=who, lines=LINES)),
    "a price in a currency": Ask(
        PRICES,
        "PriceLines",
        lambda _, who: v1.PriceLinesRequest(customer_id=who, lines=LINES, currency="JPY"),
    ),
    "a price of an older snapshot": Ask(
        PRICES,
        "PriceLines",
        lambda world, who: v1.PriceLinesRequest(
            customer_id=who, lines=LINES, snapshot_version=world.old_version
        ),
    ),
    "a price with blanks": Ask(
        PRICES, "PriceLines", lambda _, who: v1.PriceLinesRequest(customer_id=f" {who}\t", lines=LINES)
    ),
    "a price that is explained": Ask(
        PRICES, "ExplainPrice", lambda _, who: v1.ExplainPriceRequest(customer_id=who, line=LINES[0])
    ),
    "a quote": Ask(
        QUOTES,
        "QuoteLines",
        lambda _, who: v1.QuoteLinesRequest(customer_id=who, lines=LINES, branches=["HAM"]),
    ),
    "a quote at their own branch": Ask(
        QUOTES, "QuoteLines", lambda _, who: v1.QuoteLinesRequest(customer_id=who, lines=LINES)
    ),
    "a quote of a kit": Ask(
        QUOTES,
        "QuoteLines",
        lambda _, who: v1.QuoteLinesRequest(customer_id=who, lines=KIT, branches=["HAM"]),
    ),
    "availability": Ask(
        STOCK,
        "CheckAvailability",
        lambda _, who: v1.CheckAvailabilityRequest(customer_id=who, lines=STOCK_LINES, branches=["HAM"]),
    ),
    "availability that is explained": Ask(
        STOCK,
        "CheckAvailability",
        lambda _, who: v1.CheckAvailabilityRequest(
            customer_id=who, lines=STOCK_LINES, branches=["HAM"], explain=True
        ),
    ),
    "a promise": Ask(
        STOCK,
        "PromiseOrder",
        lambda _, who: v1.PromiseOrderRequest(customer_id=who, lines=STOCK_LINES, branches=["HAM"]),
    ),
    "a promise that is explained": Ask(
        STOCK,
        "PromiseOrder",
        lambda _, who: v1.PromiseOrderRequest(
            customer_id=who, lines=STOCK_LINES, branches=["HAM"], explain=True
        ),
    ),
    "a watch": Ask(
        STOCK,
        "WatchAvailability",
        lambda _, who: v1.WatchAvailabilityRequest(
            customer_id=who, lines=[v1.WatchedLine(line=STOCK_LINES[0])], branches=["HAM"]
        ),
    ),
    "a reservation": Ask(STOCK, "GetReservation", owned(v1.GetReservationRequest)),
    "a reservation to confirm": Ask(
        STOCK, "ConfirmReservation", owned(v1.ConfirmReservationRequest, order_ref="SO-1")
    ),
    "a reservation to hold longer": Ask(STOCK, "ExtendReservation", owned(v1.ExtendReservationRequest)),
    "a reservation to give back": Ask(STOCK, "ReleaseReservation", owned(v1.ReleaseReservationRequest)),
    "a key": Ask(
        STOCK,
        "Reserve",
        lambda _, who: v1.ReserveRequest(customer_id=who, idempotency_key="cart", lines=RESERVED),
    ),
    "a key for something else": Ask(
        STOCK,
        "Reserve",
        lambda _, who: v1.ReserveRequest(
            customer_id=who, idempotency_key="cart", lines=[*RESERVED, *RESERVED]
        ),
    ),
    "reservations": Ask(
        ADMIN, "ListReservations", lambda _, who: v1.ListReservationsRequest(customer_id=who)
    ),
}


def answers(world: World, ask: Ask, who: str, *grants: str) -> Answer:
    return world.answer(ask.service, ask.method, ask.make(world, who).SerializeToString(), *grants)


@pytest.mark.slow
@pytest.mark.parametrize("name", ASKS)
def test_a_customer_outside_of_the_grant_is_one_who_does_not_exist(world, name):
    ask, outside = ASKS[name], 0
    for own in CUSTOMERS:
        unknown = answers(world, ask, UNKNOWN, own)
        assert unknown[0] != "OK"
        for who in CUSTOMERS:
            if who != own:
                assert answers(world, ask, who, own) == unknown, (own, who)
                outside += 1
    assert outside == 50 * 49


@pytest.mark.parametrize("name", ASKS)
def test_a_customer_outside_of_the_group_is_one_who_does_not_exist(world, name):
    ask = ASKS[name]
    for group in GROUPS:
        unknown = answers(world, ask, UNKNOWN, f"{group}/*")
        below = {f"{group[:-1]}{digit}" for digit in range(10)}
        for who in CUSTOMERS:
            if who not in below:
                assert answers(world, ask, who, f"{group}/*") == unknown, (group, who)


@pytest.mark.parametrize(
    "name", [name for name in ASKS if not name.startswith(("a reservation to", "a key"))]
)
def test_a_customer_of_the_grant_gets_what_everybodys_caller_gets(world, name):
    ask = ASKS[name]
    for who in CUSTOMERS[:12]:
        wanted = answers(world, ask, who, "*")

        assert wanted[0] == "OK", wanted
        assert answers(world, ask, who, who) == wanted
        assert answers(world, ask, who, f"{who[:-1]}0/*") == wanted
        assert answers(world, ask, who, "K49", f"{who[:-1]}0/*") == wanted


def test_no_answer_holds_what_is_another_customers(world):
    """Not only equal to the answer about nobody: nothing of the other customer is in it."""
    for who in CUSTOMERS[1:]:
        for ask in ASKS.values():
            told = repr(answers(world, ask, who, "K00"))
            assert world.reservations[who] not in told
            assert f"B-{who}" not in told


def test_the_last_of_several_customer_ids_decides(world):
    """As protobuf says: a permitted one before it opens nothing, on the fast path neither."""
    for name in ("a price", "a quote", "a price that is explained", "availability", "a reservation"):
        ask = ASKS[name]
        own = ask.make(world, "K01").SerializeToString()
        other, nobody = (ask.make(world, who).SerializeToString() for who in ("K02", UNKNOWN))

        again, nobody_again = (
            own + v1.PriceLinesRequest(customer_id=who).SerializeToString() for who in ("K02", UNKNOWN)
        )
        told = world.answer(ask.service, ask.method, again, "K01")

        assert told == world.answer(ask.service, ask.method, nobody_again, "K01")
        assert told[0] != "OK"
        assert world.answer(ask.service, ask.method, other, "K01") == world.answer(
            ask.service, ask.method, nobody, "K01"
        )


def test_a_simple_request_takes_the_fast_path_under_a_grant_too(world):
    active = world.holder.active
    view = world.views.view(active, active, CustomerGrant.of(["K10/*"]))

    def is_fast(loaded: Any, who: str) -> bool:
        raw = ASKS["a price"].make(world, who).SerializeToString()
        return loaded.fast_path.answer(raw, 0, NOW_US, "") is not None

    everybody = [*CUSTOMERS, UNKNOWN]
    assert [who for who in everybody if is_fast(view, who)] == CUSTOMERS[10:20]
    assert [who for who in everybody if is_fast(active, who)] == CUSTOMERS


# ---- reservations of others, by their id


def excluding(make: Callable[..., Any], world: World, reservation: str, **fields: Any) -> bytes:
    lines = [
        v1.AvailabilityLine(sku="BOLT", quantity_micros=951 * MICROS)
    ]  # one more than fifty of them leave
    request = make(lines=lines, branches=["HAM"], exclude_reservation=reservation, **fields)
    return request.SerializeToString()


@pytest.mark.parametrize(
    ("method", "make"),
    [("CheckAvailability", v1.CheckAvailabilityRequest), ("PromiseOrder", v1.PromiseOrderRequest)],
)
def test_another_customers_reservation_can_not_be_excluded(world, method, make):
    for customer in ("", "K04"):
        none = world.answer(
            STOCK, method, excluding(make, world, "R000000000000001", customer_id=customer), "K04"
        )
        assert none[0] == "OK"
        for who in ("K03", "K05", "K40"):
            raw = excluding(make, world, world.reservations[who], customer_id=customer)
            assert world.answer(STOCK, method, raw, "K04") == none
    own = excluding(make, world, world.reservations["K04"], customer_id="K04")
    assert world.answer(STOCK, method, own, "K04") == world.answer(STOCK, method, own, "*")
    assert world.answer(STOCK, method, own, "K04") != none


@pytest.mark.parametrize("field", ["exclude_reservation", "replace_reservation"])
def test_another_customers_reservation_can_not_be_replaced(world, field):
    def asked(reservation: str) -> Answer:
        request = v1.ReserveRequest(
            customer_id="K04", idempotency_key="other", lines=RESERVED, **{field: reservation}
        )
        return world.answer(STOCK, "Reserve", request.SerializeToString(), "K04")

    unknown = asked("R000000000000001")

    assert unknown[0] == "NOT_FOUND"
    assert {asked(world.reservations[who]) for who in ("K03", "K05", "K40")} == {unknown}


def test_another_customers_reservation_can_not_be_had_in_ones_own_name(world):
    for name in ("a reservation", "a reservation to confirm", "a reservation to hold longer"):
        ask = ASKS[name]
        request = ask.make(world, "K04")
        request.reservation_id = "R000000000000001"
        unknown = world.answer(ask.service, ask.method, request.SerializeToString(), "K04")
        assert unknown[0] == "NOT_FOUND"
        for who in ("K03", "K05", "K40"):
            request.reservation_id = world.reservations[who]
            assert world.answer(ask.service, ask.method, request.SerializeToString(), "K04") == unknown


@pytest.mark.parametrize("name", ["a key", "a reservation", "reservations"])
def test_who_may_act_for_some_names_one(world, name):
    ask = ASKS[name]

    assert answers(world, ask, "", "K04", "K10/*") == answers(world, ask, UNKNOWN, "K04", "K10/*")


def test_prices_for_nobody_in_particular_are_everybodys(world):
    raw = v1.PriceLinesRequest(lines=LINES, currency="EUR").SerializeToString()

    assert world.answer(PRICES, "PriceLines", raw, "K04") == world.answer(PRICES, "PriceLines", raw, "*")


@pytest.mark.parametrize("name", ["availability that is explained", "a promise that is explained"])
def test_the_orders_of_others_are_not_explained_to_a_storefront(world, name):
    ask = ASKS[name]
    raw = ask.make(world, "K04").SerializeToString()
    call: Any = world.services[ask.service][ask.method]

    with pytest.raises(RequestRefusedError) as refused:
        call(raw, world.caller("*")._replace(sees_orders=False))

    assert refused.value.reason == "NOT_PERMITTED"
    assert call(raw, world.caller("*")).raw


# ---- the ERP, and grants that change


class UnaskedErp:
    """An ERP that fails the test when it is asked, or its kept answers are."""

    def has_flags(self) -> bool:
        return True

    def overlay(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("the ERP was asked about a customer whom the caller may not ask for")


class UnaskedFallback:
    prices = UnaskedErp()
    stock = UnaskedErp()


def test_the_erp_and_its_kept_answers_are_not_asked(world):
    fallback: Any = UnaskedFallback()
    offered = services(world.holder, lambda: NOW_US, erp=fallback)
    for name in ("a price", "a price that is explained", "a quote", "a promise"):
        ask = ASKS[name]
        call: Any = offered[ask.service][ask.method]
        with pytest.raises(Exception, match="K05") as raised:
            call(ask.make(world, "K05").SerializeToString(), world.caller("K04"))
        assert refusal(raised.value).reason == "CUSTOMER_NOT_ALLOWED"


def test_who_has_left_a_group_is_not_shown_to_it_by_an_older_snapshot(tmp_path):
    moved = rows()
    store = tmp_path / "store"
    old = publish(store, rows(), minute=0)
    next(each for each in moved["customers"] if each["customer_id"] == "K05")["parent_id"] = "K10"
    publish(store, moved, minute=1)
    holder = SnapshotHolder(
        load_snapshot(store, None, ExceptionPolicy()),
        lambda version: load_snapshot(store, version, ExceptionPolicy()),
    )
    price = services(holder, lambda: NOW_US)[PRICES]["PriceLines"]
    views = CustomerViews()

    def status(who: str, version: str, grant: str) -> str:
        caller = Caller("", customers=GrantedCustomers(views, CustomerGrant.of([grant])))
        raw = v1.PriceLinesRequest(customer_id=who, lines=LINES, snapshot_version=version)
        try:
            price(raw.SerializeToString(), caller)  # type: ignore[operator]
        except Exception as error:  # noqa: BLE001 -- as a server's handlers do
            return refusal(error).reason
        return "OK"

    refused = "CUSTOMER_NOT_ALLOWED"
    assert [status("K05", version, "K00/*") for version in ("", old)] == [refused, refused]
    assert [status("K05", version, "K10/*") for version in ("", old)] == ["OK", "OK"]
    assert [status("K04", version, "K00/*") for version in ("", old)] == ["OK", "OK"]


def test_a_view_goes_with_its_snapshot(tmp_path):
    store = tmp_path / "store"
    publish(store, rows(), minute=0)
    loaded = load_snapshot(store, None, ExceptionPolicy())
    views = CustomerViews()
    view = views.view(loaded, loaded, CustomerGrant.of(["K01"]))
    gone = weakref.ref(loaded)
    del loaded
    gc.collect()
    assert gone() is not None  # a request still uses it
    del view
    gc.collect()

    assert gone() is None
    assert len(views._known) == 0


@pytest.mark.parametrize(
    ("limits", "kept"), [({"views_max": 3}, 3), ({"customers_max": 25}, 2), ({"customers_max": 1}, 1)]
)
def test_views_are_bounded_by_their_number_and_their_customers(world, limits, kept):
    views, active = CustomerViews(**limits), world.holder.active
    for group in (*GROUPS, *GROUPS[:2]):
        view = views.view(active, active, CustomerGrant.of([f"{group}/*"]))
        assert view.engine.knows(group)

    assert len(views._known[active]) == kept


def test_a_grant_of_nobody_knows_nobody(world):
    for who in CUSTOMERS:
        assert answers(world, ASKS["a price"], who) == answers(world, ASKS["a price"], UNKNOWN)

"""What a caller may do: roles, their scopes, and the one table that says what each method takes.

A method that is not in the table is not served to anyone once there is an identity to ask for; a test compares the
table with the protos.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from grpc_health.v1 import health
from grpc_reflection.v1alpha import reflection

from pricegrid import v1


class Scope(enum.StrEnum):
    """One thing that a caller may do."""

    PRICES_READ = "prices.read"
    PRICES_EXPLAIN = "prices.explain"
    """Explanations of prices: they show costs and margins."""
    AVAILABILITY_READ = "availability.read"
    AVAILABILITY_EXPLAIN = "availability.explain"
    """Explanations of availability: they show the orders of everybody."""
    RESERVATIONS_READ = "reservations.read"
    RESERVATIONS_WRITE = "reservations.write"
    RESERVATIONS_LIST = "reservations.list"
    ITEMS_ALL = "items.all"
    """The service-desk right of P11: items that a customer may not buy are said to be NOT_ENTITLED."""
    ORDERS_VALIDATE = "orders.validate"
    ORDERS_READ = "orders.read"
    EVENTS_WRITE = "events.write"
    FEEDS_READ = "feeds.read"
    FEEDS_MANAGE = "feeds.manage"
    DEAD_LETTERS_READ = "dead_letters.read"
    DEAD_LETTERS_MANAGE = "dead_letters.manage"
    HEALTH_READ = "health.read"
    REFLECTION_READ = "reflection.read"


class Role(enum.StrEnum):
    """What a caller is; its scopes are `SCOPES`."""

    STOREFRONT = "storefront"
    DESK = "desk"
    LOADER = "loader"
    ADMIN = "admin"


_ANYONE: Final = frozenset({Scope.HEALTH_READ})
_STOREFRONT: Final = _ANYONE | {
    Scope.PRICES_READ,
    Scope.AVAILABILITY_READ,
    Scope.RESERVATIONS_READ,
    Scope.RESERVATIONS_WRITE,
    Scope.ORDERS_VALIDATE,
    Scope.ORDERS_READ,
}
SCOPES: Final[Mapping[Role, frozenset[Scope]]] = MappingProxyType(
    {
        Role.STOREFRONT: _STOREFRONT,
        Role.DESK: _STOREFRONT
        | {
            Scope.PRICES_EXPLAIN,
            Scope.AVAILABILITY_EXPLAIN,
            Scope.RESERVATIONS_LIST,
            Scope.ITEMS_ALL,
            Scope.FEEDS_READ,
        },
        Role.LOADER: _ANYONE | {Scope.EVENTS_WRITE, Scope.FEEDS_READ, Scope.DEAD_LETTERS_READ},
        Role.ADMIN: frozenset(Scope),
    }
)


class Customers(enum.Enum):
    """Which customers a call of a method touches."""

    NAMED = enum.auto()
    """The one that the request names: prices and availability, which look them up themselves."""
    OWNER = enum.auto()
    """The one that the request names, as the owner of reservations: checked before the method is called."""
    ALL = enum.auto()
    """Possibly any: takes a grant of all customers."""
    NONE = enum.auto()


@dataclass(frozen=True, slots=True)
class Need:
    """What a method takes."""

    scope: Scope
    customers: Customers = Customers.NONE


METHODS: Final[Mapping[str, Mapping[str, Need]]] = MappingProxyType(
    {
        v1.PRICING_SERVICE: {
            "PriceLines": Need(Scope.PRICES_READ, Customers.NAMED),
            "ExplainPrice": Need(Scope.PRICES_EXPLAIN, Customers.NAMED),
        },
        v1.QUOTE_SERVICE: {"QuoteLines": Need(Scope.PRICES_READ, Customers.NAMED)},
        v1.AVAILABILITY_SERVICE: {
            "CheckAvailability": Need(Scope.AVAILABILITY_READ, Customers.NAMED),
            "PromiseOrder": Need(Scope.AVAILABILITY_READ, Customers.NAMED),
            "WatchAvailability": Need(Scope.AVAILABILITY_READ, Customers.NAMED),
            "Reserve": Need(Scope.RESERVATIONS_WRITE, Customers.OWNER),
            "ConfirmReservation": Need(Scope.RESERVATIONS_WRITE, Customers.OWNER),
            "ReleaseReservation": Need(Scope.RESERVATIONS_WRITE, Customers.OWNER),
            "ExtendReservation": Need(Scope.RESERVATIONS_WRITE, Customers.OWNER),
            "GetReservation": Need(Scope.RESERVATIONS_READ, Customers.OWNER),
        },
        v1.ORDER_SERVICE: {
            "ValidateOrder": Need(Scope.ORDERS_VALIDATE, Customers.OWNER),
            "GetOrderAnswer": Need(Scope.ORDERS_READ, Customers.OWNER),
        },
        v1.INVENTORY_FEED_SERVICE: {"PublishEvents": Need(Scope.EVENTS_WRITE)},
        v1.ADMIN_SERVICE: {
            "ListReservations": Need(Scope.RESERVATIONS_LIST, Customers.OWNER),
            "ListDeadLetters": Need(Scope.DEAD_LETTERS_READ, Customers.ALL),
            "GetDeadLetter": Need(Scope.DEAD_LETTERS_READ, Customers.ALL),
            "ReplayDeadLetters": Need(Scope.DEAD_LETTERS_MANAGE, Customers.ALL),
            "DropDeadLetters": Need(Scope.DEAD_LETTERS_MANAGE, Customers.ALL),
            "ListFeedIssues": Need(Scope.FEEDS_READ),
            "ResetStreams": Need(Scope.FEEDS_MANAGE),
            "ListResets": Need(Scope.FEEDS_READ),
        },
        health.SERVICE_NAME: {
            "Check": Need(Scope.HEALTH_READ),
            "Watch": Need(Scope.HEALTH_READ),
            "List": Need(Scope.HEALTH_READ),
        },
        reflection.SERVICE_NAME: {"ServerReflectionInfo": Need(Scope.REFLECTION_READ)},
    }
)
"""What each method takes, by service and name in the protos."""


def need_of(service: str, method: str) -> Need:
    """What a method takes; raises KeyError for one that the table does not have."""
    try:
        return METHODS[service][method]
    except KeyError:
        raise KeyError(f"{service}/{method} has no scope in service.identity.scopes.METHODS") from None

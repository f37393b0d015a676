"""The gate before the handlers of a server that asks for an identity: no call reaches a method without one.

Each method gets an `Admission`, which `Handlers` asks before anything else is done with a call. What the gate refuses
is refused with the same words whatever the reason.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import grpc

from pricegrid import v1
from pricegrid.pricing_engine.errors import UnknownCustomerError
from pricegrid.service.clock import now_us
from pricegrid.service.codec.request import parse, trimmed
from pricegrid.service.errors import RequestRefusedError, not_permitted, unauthenticated
from pricegrid.service.identity.certificates import identities, owner
from pricegrid.service.identity.config import AuthConfig
from pricegrid.service.identity.gateway import Gateways
from pricegrid.service.identity.grants import CustomerGrant
from pricegrid.service.identity.limits import RECHECK_S, TELL_S, TOKEN_BYTES_MAX
from pricegrid.service.identity.messages import Keys, UnknownKey
from pricegrid.service.identity.scopes import Customers, Need, Scope, need_of
from pricegrid.service.identity.tokens import Identity, TokenCache, TokenVerifier
from pricegrid.service.identity.views import CustomerViews
from pricegrid.service.process.snapshots import LoadedSnapshot
from pricegrid.service.rpc.call import Caller, Method, Mutation, Services, SnapshotSource
from pricegrid.service.rpc.response import Response

if TYPE_CHECKING:
    from pricegrid.service.quota.quotas import Quotas

AUTHORIZATION: Final = "authorization"
_SCHEME: Final = "bearer "
_BYTES_MAX: Final = TOKEN_BYTES_MAX + len(_SCHEME)

Metadata = Sequence[tuple[str, str | bytes]]


class Gate:
    """Says who calls; safe to use from many threads. One for a worker."""

    def __init__(
        self,
        config: AuthConfig,
        keys: Keys,
        report: Callable[[UnknownKey], None],
        quotas: Quotas | None = None,
    ) -> None:
        self.quotas = quotas
        """None: nobody has a limit."""
        self._config = config
        self._report = report
        self._reported_s = -TELL_S
        self._tokens = TokenCache(TokenVerifier(config, keys, self._tell_unknown_key), now_us)
        self._certificates = identities(config.certificates)
        self._gateways = None if config.gateway is None else Gateways(config.gateway, config)
        self._forwarding = "" if self._gateways is None else self._gateways.header
        self._views = CustomerViews()

    def use(self, keys: Keys) -> None:
        """Verify tokens with these keys from now on."""
        self._tokens.use(keys)

    def _tell_unknown_key(self) -> None:
        now_s = time.monotonic()
        if now_s - self._reported_s >= TELL_S:  # whoever sends bad tokens must not fill the pipe
            self._reported_s = now_s
            self._report(UnknownKey())

    def identity(self, metadata: Metadata, context: grpc.ServicerContext) -> Identity:
        """Who calls; raises UNAUTHENTICATED. Of a token and a certificate the token decides, also when it is bad; of a
        token and a gateway's word too. The header of gateways is refused from anybody else."""
        header = forwarded = None
        for key, value in metadata:
            if key == AUTHORIZATION:
                if header is not None or not isinstance(value, str):
                    raise unauthenticated()
                header = value
            elif key == self._forwarding:
                if forwarded is not None or not isinstance(value, str):
                    raise unauthenticated()
                forwarded = value
        gateways = self._gateways
        through = gateways if gateways is not None and gateways.is_one(context.peer_identities()) else None
        if forwarded is not None and through is None:
            raise unauthenticated()
        if header is not None:
            if len(header) > _BYTES_MAX or header[: len(_SCHEME)].lower() != _SCHEME:
                raise unauthenticated()
            return self._tokens.identity(header[len(_SCHEME) :])
        if through is not None:
            found = None if forwarded is None else through.identity(forwarded)
        else:
            found = owner(context.peer_identities(), self._certificates) if self._certificates else None
        if found is None:
            raise unauthenticated()
        return found

    def admission(self, service: str, method: str) -> Admission:
        """What decides whether a call of a method is let in; raises KeyError for one without a scope."""
        return Admission(self, need_of(service, method))

    def allowed(self, grant: CustomerGrant) -> GrantedCustomers | None:
        """Whom a caller may ask for; None: every customer."""
        return None if grant.is_all else GrantedCustomers(self._views, grant)

    def is_open(self, scope: Scope) -> bool:
        """Whether the operator opened something to anybody."""
        config = self._config
        return (scope is Scope.HEALTH_READ and config.open_health) or (
            scope is Scope.REFLECTION_READ and config.open_reflection
        )


class GrantedCustomers:
    """Implements `AllowedCustomers` by a grant."""

    __slots__ = ("_grant", "_views")

    def __init__(self, views: CustomerViews, grant: CustomerGrant) -> None:
        self._views = views
        self._grant = grant

    def view(self, snapshots: SnapshotSource, version: str) -> LoadedSnapshot:
        """See `AllowedCustomers`."""
        return self._views.view(snapshots.get(version), snapshots.get(""), self._grant)

    def check(self, snapshots: SnapshotSource, customer_id: str) -> None:
        """See `AllowedCustomers`."""
        if not self._views.covers(customer_id, snapshots.get(""), self._grant):
            raise UnknownCustomerError(customer_id)


class Admission:
    """Lets callers of one method in, or not."""

    def __init__(self, gate: Gate, need: Need) -> None:
        self._gate = gate
        self._need = need
        self._is_open = gate.is_open(need.scope)

    def admitted(self, caller: Caller, metadata: Metadata, context: grpc.ServicerContext) -> Caller:
        """The caller with what they may do; raises UNAUTHENTICATED and NOT_PERMITTED."""
        if self._is_open:
            return caller
        identity = self._gate.identity(metadata, context)
        scopes, need = identity.scopes, self._need
        if need.scope not in scopes or (need.customers is Customers.ALL and not identity.customers.is_all):
            raise not_permitted()
        quotas = self._gate.quotas
        return Caller(
            caller.correlation_id,
            Scope.ITEMS_ALL in scopes,
            caller.deadline_s,
            self._gate.allowed(identity.customers),
            Scope.AVAILABILITY_EXPLAIN in scopes,
            identity.subject,
            None if quotas is None else quotas.of(identity.subject, identity.role),
            caller.may_wait,
        )

    def recheck(self, caller: Caller, metadata: Metadata, context: grpc.ServicerContext) -> Recheck:
        """What says of a stream whether its caller may go on."""
        return Recheck(self, caller, metadata, context)


class Recheck:
    """Whether the caller of a stream may still call: tokens expire and keys are withdrawn while it lasts."""

    def __init__(
        self, admission: Admission, caller: Caller, metadata: Metadata, context: grpc.ServicerContext
    ) -> None:
        self._ask = partial(admission.admitted, caller, metadata, context)
        self._due_s = time.monotonic() + RECHECK_S

    def check(self) -> None:
        """Raises UNAUTHENTICATED and NOT_PERMITTED."""
        now_s = time.monotonic()
        if now_s >= self._due_s:
            self._due_s = now_s + RECHECK_S
            self._ask()

    def still_holds(self) -> bool:
        """Whether `check` raises nothing."""
        try:
            self.check()
        except RequestRefusedError:
            self._due_s = 0.0  # so that whoever ends the stream hears why
            return False
        return True


_OWNED: Final[Mapping[str, Callable[[], Any]]] = {
    "Reserve": v1.ReserveRequest,
    "ConfirmReservation": v1.ConfirmReservationRequest,
    "ReleaseReservation": v1.ReleaseReservationRequest,
    "ExtendReservation": v1.ExtendReservationRequest,
    "GetReservation": v1.GetReservationRequest,
    "ListReservations": v1.ListReservationsRequest,
    "ValidateOrder": v1.ValidateOrderRequest,
    "GetOrderAnswer": v1.GetOrderAnswerRequest,
}
"""The requests of the methods whose `Need` says OWNER."""


def owner_checked(services: Services, snapshots: SnapshotSource) -> Services:
    """The services, where a method that acts for the owner of a reservation first asks whether its caller may.

    The writer, which carries it out, knows no callers. Whoever may act for some customers alone has to name one.
    """

    def checked(method: Method, make: Callable[[], Any]) -> Method:
        def call(raw: bytes, caller: Caller) -> Response:
            if caller.customers is not None:
                request = make()
                parse(request, raw)
                caller.customers.check(snapshots, trimmed(request.customer_id))
            return method(raw, caller)

        return call

    def guarded(service: str, name: str, method: Any) -> Any:
        if need_of(service, name).customers is not Customers.OWNER:
            return method
        if not isinstance(method, Mutation):
            raise TypeError(f"{name} acts for an owner and is no Mutation")
        return dataclasses.replace(method, call=checked(method.call, _OWNED[name]))

    return {
        service: {name: guarded(service, name, method) for name, method in methods.items()}
        for service, methods in services.items()
    }


class GuardedServer:
    """A server to whoever adds handlers of their own (health, reflection): their calls pass the gate too."""

    def __init__(
        self, server: grpc.Server, gate: Gate, admit: Callable[[Admission, str, grpc.ServicerContext], None]
    ) -> None:
        self._server = server
        self._gate = gate
        self._admit = admit

    def add_generic_rpc_handlers(self, _: Sequence[grpc.GenericRpcHandler[Any, Any]]) -> None:
        """Nothing: the generated code registers the same methods by name, and unguarded ones must not stay."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Adds the methods of a service, each behind the gate."""
        guarded = {name: self._guarded(service, name, handler) for name, handler in handlers.items()}
        self._server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, guarded)])
        self._server.add_registered_method_handlers(service, guarded)  # type: ignore[attr-defined]

    def _guarded(self, service: str, name: str, handler: Any) -> Any:
        admission = self._gate.admission(service, name)
        admit = self._admit

        def unary(behavior: Callable[[Any, grpc.ServicerContext], Any]) -> Callable[..., Any]:
            def call(request: Any, context: grpc.ServicerContext) -> Any:
                admit(admission, name, context)
                return behavior(request, context)

            return call

        def stream(behavior: Callable[[Any, grpc.ServicerContext], Iterator[Any]]) -> Callable[..., Any]:
            def call(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
                admit(admission, name, context)
                yield from behavior(request, context)

            return call

        wrap = {"unary_unary": unary, "stream_unary": unary, "unary_stream": stream, "stream_stream": stream}
        made = {
            field: wrapped(getattr(handler, field))
            for field, wrapped in wrap.items()
            if getattr(handler, field)
        }
        return handler._replace(**made)

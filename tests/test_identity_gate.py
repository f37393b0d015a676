"""The gate: no call of any method reaches it without an identity that may call it."""

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pool import Default
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from pricegrid import v1
from pricegrid.service.identity.config import AuthConfig
from pricegrid.service.identity.gate import Gate
from pricegrid.service.identity.limits import TELL_S
from pricegrid.service.identity.messages import Keys
from pricegrid.service.identity.scopes import METHODS, SCOPES, Customers, Role, Scope, need_of
from pricegrid.service.rpc.call import Caller, Ingest, Mutation, Services, Watch
from pricegrid.service.rpc.response import Response
from pricegrid.service.rpc.services import services
from tests.fakes import OneSnapshot, fake_snapshot
from tests.hostile_tokens import TOKENS
from tests.identity_world import (
    ISSUER,
    auth,
    bearer,
    claims,
    guarded_server,
    jwks,
    new_gate,
    row,
    signed,
    token_for,
)
from tests.live_memory import NOW_US
from tests.servers import until

SNAPSHOTS = OneSnapshot(fake_snapshot())
OTHERS = (health.SERVICE_NAME, reflection.SERVICE_NAME)


def offered_methods() -> Iterator[tuple[str, str, Any]]:
    """(service, method, its descriptor) of everything that a server offers, from the protos."""
    for service in (*services(SNAPSHOTS, lambda: NOW_US), *OTHERS):
        described = Default().FindServiceByName(service)
        yield from ((service, method.name, method) for method in described.methods)


EVERY = [(service, name) for service, name, _ in offered_methods()]


@dataclass
class Reached:
    """Stands for every method: notes that it was called, and by whom."""

    callers: list[Caller] = field(default_factory=list)

    def unary(self, raw: bytes, caller: Caller) -> Response:
        self.callers.append(caller)
        return Response(b"")

    def ingest(self, messages: Iterator[bytes], caller: Caller) -> Response:
        self.callers.append(caller)
        return Response(b"")

    def watch(self, raw: bytes, caller: Caller, is_over: Any) -> Iterator[bytes]:
        self.callers.append(caller)
        yield b""

    def note(self, *_: Any) -> Any:
        self.callers.append(Caller(""))
        return iter(())

    def services(self) -> Services:
        def stands_for(method: Any) -> Any:
            match method:
                case Mutation():
                    return Mutation(self.unary)
                case Ingest():
                    return Ingest(self.ingest)
                case Watch():
                    return Watch(self.watch, lambda: None)
                case _:
                    return self.unary

        return {
            service: {name: stands_for(method) for name, method in methods.items()}
            for service, methods in services(SNAPSHOTS, lambda: NOW_US).items()
        }

    def add_others(self, server: Any) -> None:
        reached = self

        class Health(health_pb2_grpc.HealthServicer):
            def Check(self, request: Any, context: Any) -> Any:  # noqa: N802
                reached.note()
                return health_pb2.HealthCheckResponse()

            def List(self, request: Any, context: Any) -> Any:  # noqa: N802
                reached.note()
                return health_pb2.HealthListResponse()

            def Watch(self, request: Any, context: Any) -> Any:  # noqa: N802
                return reached.note()

        class Reflection(reflection_pb2_grpc.ServerReflectionServicer):
            def ServerReflectionInfo(self, request_iterator: Any, context: Any) -> Any:  # noqa: N802
                return reached.note()

        health_pb2_grpc.add_HealthServicer_to_server(Health(), server)
        reflection_pb2_grpc.add_ServerReflectionServicer_to_server(Reflection(), server)


class Asked:
    """A server whose every method is a `Reached`, and calls of it."""

    def __init__(self, channel: grpc.Channel, reached: Reached) -> None:
        self.reached = reached
        self._channel = channel

    def call(self, service: str, name: str, metadata: Any, raw: bytes = b"") -> tuple[str, str]:
        """(status, details) of a call."""
        path = f"/{service}/{name}"
        described = next(method for at, of, method in offered_methods() if (at, of) == (service, name))
        takes, gives = described.client_streaming, described.server_streaming
        try:
            if takes and gives:
                list(self._channel.stream_stream(path)(iter([raw]), metadata=metadata, timeout=20))
            elif takes:
                self._channel.stream_unary(path)(iter([raw]), metadata=metadata, timeout=20)
            elif gives:
                list(self._channel.unary_stream(path)(raw, metadata=metadata, timeout=20))
            else:
                self._channel.unary_unary(path)(raw, metadata=metadata, timeout=20)
        except grpc.RpcError as error:
            return error.code().name, error.details()
        return "OK", ""


@pytest.fixture(scope="module")
def asked() -> Iterator[Asked]:
    reached = Reached()
    gate, _ = new_gate()
    with (
        guarded_server(reached.services(), SNAPSHOTS, gate, reached.add_others) as address,
        grpc.insecure_channel(address) as channel,
    ):
        yield Asked(channel, reached)


@pytest.fixture(autouse=True)
def forgotten(asked):
    asked.reached.callers.clear()


# ---- the table


def test_every_method_of_the_protos_has_a_scope():
    assert {(service, name) for service, methods in METHODS.items() for name in methods} == set(EVERY)


def test_a_method_without_a_scope_is_not_served():
    gate, _ = new_gate()

    with pytest.raises(KeyError, match="has no scope"):
        gate.admission(v1.PRICING_SERVICE, "StealPrices")


def test_whoever_acts_for_an_owner_names_one():
    """OWNER is decided by the field `customer_id` of the request; NAMED by the methods, which need it too."""
    for service, name, described in offered_methods():
        has_customer = "customer_id" in described.input_type.fields_by_name
        assert has_customer == (need_of(service, name).customers in {Customers.NAMED, Customers.OWNER}), name


def test_every_scope_is_somebodys_and_an_administrator_has_all():
    used = {need.scope for methods in METHODS.values() for need in methods.values()}

    assert set(Scope) - used == {Scope.AVAILABILITY_EXPLAIN, Scope.ITEMS_ALL}  # of fields, not of methods
    assert SCOPES[Role.ADMIN] == set(Scope)
    assert set(SCOPES) == set(Role)


# ---- who gets in


@pytest.mark.parametrize("name", TOKENS)
def test_a_hostile_token_reaches_no_method(asked, name):
    found = {asked.call(*method, TOKENS[name]()) for method in EVERY}

    if name == "9 KB":  # gRPC itself refuses some headers of more than 8 KB
        found = {answer for answer in found if answer[0] != "RESOURCE_EXHAUSTED"}
    assert found <= {("UNAUTHENTICATED", "the call has no identity that is valid here")}
    assert found or name == "9 KB"
    assert asked.reached.callers == []


def test_more_than_metadata_may_hold_reaches_no_method(asked):
    found = {asked.call(*method, bearer("x" * 20_000))[0] for method in EVERY}

    assert found <= {"RESOURCE_EXHAUSTED", "UNAUTHENTICATED", "UNKNOWN", "UNAVAILABLE"}
    assert asked.reached.callers == []


@pytest.mark.parametrize("role", Role)
def test_a_role_gets_as_far_as_its_scopes(asked, role):
    metadata = bearer(token_for(role, "*"))
    for service, name in EVERY:
        asked.reached.callers.clear()
        may = need_of(service, name).scope in SCOPES[role]

        status, details = asked.call(service, name, metadata)

        assert (status == "OK", len(asked.reached.callers)) == (may, may), name
        if not may:
            assert (status, details) == ("PERMISSION_DENIED", "this caller may not do that")


def test_what_may_touch_any_customer_takes_all_customers(asked):
    metadata = bearer(token_for("admin", "C1", "G1/*"))
    wide = [(s, n) for s, n in EVERY if need_of(s, n).customers is Customers.ALL]

    assert {asked.call(*method, metadata)[0] for method in wide} == {"PERMISSION_DENIED"}
    assert (asked.reached.callers, len(wide)) == ([], 4)


def test_a_desk_sees_what_customers_may_not_buy_and_a_storefront_does_not(asked):
    for role in ("desk", "storefront"):
        asked.call(v1.PRICING_SERVICE, "PriceLines", bearer(token_for(role, "*")))

    assert [(c.service_desk, c.sees_orders) for c in asked.reached.callers] == [(True, True), (False, False)]


def test_the_scheme_is_read_in_any_case(asked):
    metadata = (("authorization", f"bEaReR {signed()}"),)

    assert asked.call(v1.QUOTE_SERVICE, "QuoteLines", metadata)[0] == "OK"


# ---- what an operator opens


def server_of(config: AuthConfig) -> Any:
    reached = Reached()
    gate, _ = new_gate(config)
    return reached, guarded_server(reached.services(), SNAPSHOTS, gate, reached.add_others)


@pytest.mark.parametrize(
    ("opens_health", "opens_reflection"), list(itertools.product([True, False], repeat=2))
)
def test_health_and_reflection_are_open_if_the_operator_says_so(opens_health, opens_reflection):
    config = AuthConfig(issuers=auth().issuers, open_health=opens_health, open_reflection=opens_reflection)
    reached, serving = server_of(config)
    with serving as address, grpc.insecure_channel(address) as channel:
        asked = Asked(channel, reached)
        found = {
            service: {asked.call(service, n, ())[0] for s, n in EVERY if s == service} for service in OTHERS
        }

    assert found[health.SERVICE_NAME] == {"OK" if opens_health else "UNAUTHENTICATED"}
    assert found[reflection.SERVICE_NAME] == {"OK" if opens_reflection else "UNAUTHENTICATED"}


# ---- keys


def test_withdrawn_keys_end_the_tokens_that_were_remembered():
    reached = Reached()
    gate, _ = new_gate()
    with (
        guarded_server(reached.services(), SNAPSHOTS, gate) as address,
        grpc.insecure_channel(address) as channel,
    ):
        asked = Asked(channel, reached)
        old, new = bearer(signed()), bearer(signed(number=1))
        method = (v1.QUOTE_SERVICE, "QuoteLines")
        assert [asked.call(*method, old)[0], asked.call(*method, new)[0]] == ["OK", "UNAUTHENTICATED"]

        gate.use(keys_of(jwks(row("EdDSA", 1))))

        assert [asked.call(*method, old)[0], asked.call(*method, new)[0]] == ["UNAUTHENTICATED", "OK"]


def keys_of(text: str) -> Keys:
    return Keys({ISSUER: text})


def test_unknown_keys_are_told_to_the_supervisor_and_not_all_of_them():
    gate, told = new_gate()
    reached = Reached()
    with (
        guarded_server(reached.services(), SNAPSHOTS, gate) as address,
        grpc.insecure_channel(address) as channel,
    ):
        asked, began_s = Asked(channel, reached), time.monotonic()
        for number in range(20):
            asked.call(v1.QUOTE_SERVICE, "QuoteLines", bearer(signed(kid=f"who-{number}")))
        took_s = time.monotonic() - began_s

    assert 1 <= len(told) <= 1 + took_s / TELL_S


# ---- streams


class Endless:
    """A watch that goes on until it is over, and an ingest that reads until it is refused."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.read = 0

    def watch(self, raw: bytes, caller: Caller, is_over: Any) -> Iterator[bytes]:
        yield b""
        self.gate.use(keys_of(jwks(row("EdDSA", 1))))
        while not is_over():
            time.sleep(0.01)

    def ingest(self, messages: Iterator[bytes], caller: Caller) -> Response:
        for _ in messages:
            self.read += 1
        return Response(b"")


def test_a_watch_ends_when_its_token_does():
    gate, _ = new_gate()
    endless = Endless(gate)
    offered: Services = {v1.AVAILABILITY_SERVICE: {"WatchAvailability": Watch(endless.watch, lambda: None)}}
    with guarded_server(offered, SNAPSHOTS, gate) as address, grpc.insecure_channel(address) as channel:
        call = channel.unary_stream(f"/{v1.AVAILABILITY_SERVICE}/WatchAvailability")
        with pytest.raises(grpc.RpcError) as ended:
            list(call(b"", metadata=bearer(signed()), timeout=20))

    assert ended.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_a_publisher_is_refused_when_its_token_ends():
    gate, _ = new_gate()
    endless = Endless(gate)
    offered: Services = {v1.INVENTORY_FEED_SERVICE: {"PublishEvents": Ingest(endless.ingest)}}

    def messages() -> Iterator[bytes]:
        for number in range(2_000):
            if number == 5:
                until(lambda: endless.read > 0, "some are taken")
                gate.use(keys_of(jwks(row("EdDSA", 1))))
            time.sleep(0.01)
            yield b""

    with guarded_server(offered, SNAPSHOTS, gate) as address, grpc.insecure_channel(address) as channel:
        call = channel.stream_unary(f"/{v1.INVENTORY_FEED_SERVICE}/PublishEvents")
        with pytest.raises(grpc.RpcError) as ended:
            call(messages(), metadata=bearer(signed(claims(pricegrid_role="loader"))), timeout=60)

    assert ended.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert 0 < endless.read < 2_000

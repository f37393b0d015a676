"""Quotas as a caller meets them: what is charged, what a refusal says, and who is left alone."""

from collections.abc import Iterator

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from pricegrid import Client, Line, UnavailableError, v1
from pricegrid.errors import DETAILS_KEY
from pricegrid.service.errors import PUSHBACK_KEY
from pricegrid.service.identity.gate import Gate
from pricegrid.service.identity.messages import Keys
from pricegrid.service.quota.accounts import Accounts
from pricegrid.service.quota.quotas import Quotas
from pricegrid.service.quota.rules import LimitRule, Rate
from pricegrid.service.rpc.call import Caller, Ingest
from pricegrid.service.rpc.handlers import Handlers
from pricegrid.service.rpc.metrics import NoMetrics
from pricegrid.service.rpc.overload import Queue
from pricegrid.service.rpc.response import Response
from pricegrid.service.rpc.services import services
from tests.fakes import AbortedError, FakeContext, OneSnapshot, fake_snapshot
from tests.identity_world import ISSUER, auth, bearer, guarded_server, jwks, token_for
from tests.live_memory import NOW_US

BOOTED_NS = 10**15
SNAPSHOTS = OneSnapshot(fake_snapshot())


@pytest.fixture
def gate(tmp_path):
    """Storefronts get 3 calls and 10,000 lines, at a clock that stands still."""

    def clock() -> int:
        return BOOTED_NS

    rule = LimitRule(role="storefront", calls=Rate(2, 3), lines=Rate(100, 10_000))
    accounts = Accounts(tmp_path / "quotas", clock)
    return Gate(auth(), Keys({ISSUER: jwks()}), lambda _: None, Quotas([rule], accounts, clock))


@pytest.fixture
def address(gate) -> Iterator[str]:
    with guarded_server(services(SNAPSHOTS, lambda: NOW_US), SNAPSHOTS, gate) as address:
        yield address


def asked(client: Client, lines: int = 1) -> str:
    try:
        client.price_lines("C", [Line("A", 1)] * lines)
    except UnavailableError as error:
        return f"{error.reason} {error.metadata['limit']} {error.retry_after_s}"
    return "OK"


def test_a_caller_beyond_their_quota_is_refused_and_others_are_not(address):
    shop, other, desk = (
        token_for("storefront", "*", sub="shop"),
        token_for("storefront", "*", sub="other"),
        token_for("desk", "*"),
    )
    with Client(address, token=shop) as first, Client(address, token=shop) as second:
        found = [asked(first), asked(second), asked(first), asked(second)]
    with Client(address, token=other) as client:
        assert [asked(client) for _ in range(3)] == ["OK"] * 3
    with Client(address, token=desk) as client:
        assert [asked(client) for _ in range(9)] == ["OK"] * 9

    assert found == ["OK", "OK", "OK", "QUOTA_EXCEEDED calls 0.5"]


def test_lines_are_counted_before_they_are_read(address):
    with Client(address, token=token_for("storefront", "*")) as client:
        assert [asked(client, 9_999), asked(client, 2), asked(client, 1)] == [
            "OK",
            "QUOTA_EXCEEDED lines 0.01",
            "OK",
        ]


def test_a_refusal_tells_every_kind_of_client_when_to_ask_again(address):
    metadata = bearer(token_for("storefront", "*"))
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary(f"/{v1.PRICING_SERVICE}/PriceLines")
        for _ in range(3):
            with pytest.raises(grpc.RpcError) as malformed:
                call(b"\xff", metadata=metadata)
            assert malformed.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        with pytest.raises(grpc.RpcError) as refused:
            call(b"\xff", metadata=metadata)

    trailing = dict(refused.value.trailing_metadata())
    status = status_pb2.Status.FromString(trailing[DETAILS_KEY])
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert refused.value.details() == "more than 2 calls a second; ask again in 500 ms"
    assert trailing[PUSHBACK_KEY] == "500"
    assert status.details[0].Unpack(info)
    assert status.details[1].Unpack(retry)
    assert info.reason == "QUOTA_EXCEEDED"
    assert {**info.metadata, "correlation_id": ""} == {
        "limit": "calls",
        "per_second": "2",
        "burst": "3",
        "correlation_id": "",
    }
    assert retry.retry_delay.ToMilliseconds() == 500


class Recorder(NoMetrics):
    def __init__(self) -> None:
        self.limits: list[str] = []

    def limited(self, limit: str) -> None:
        self.limits.append(limit)


def test_what_a_limit_refuses_is_counted_by_the_limit(gate):
    recorder = Recorder()
    handlers = Handlers(services(SNAPSHOTS, lambda: NOW_US), recorder, Queue(), gate=gate)
    call = handlers.call(v1.PRICING_SERVICE, "PriceLines")
    for _ in range(5):
        with pytest.raises(AbortedError):
            call(b"\xff", FakeContext(*bearer(token_for("storefront", "*"))))

    assert recorder.limits == ["calls", "calls"]


def test_a_publisher_is_slowed_down_by_the_messages_of_its_stream(gate):
    class Quota:
        def __init__(self) -> None:
            self.paced: list[tuple[bytes, int]] = []

        def pace(self, raw, tag, is_over):
            self.paced.append((raw, tag))
            return raw != b"late"

    quota = Quota()

    class Admitting:
        def admission(self, service, name):
            return self

        def admitted(self, caller, metadata, context):
            return Caller("", quota=quota)

        def recheck(self, caller, metadata, context):
            return None

    method = Ingest(lambda messages, caller: Response(b"".join(messages)))
    offered = {v1.INVENTORY_FEED_SERVICE: {"PublishEvents": method}}
    handlers = Handlers(offered, NoMetrics(), Queue(), gate=Admitting())

    answer = handlers.call(v1.INVENTORY_FEED_SERVICE, "PublishEvents")(
        iter([b"a", b"b", b"late"]), FakeContext()
    )

    assert answer == b"ab", "what was not charged was not applied"
    assert quota.paced == [(b"a", 0x0A), (b"b", 0x0A), (b"late", 0x0A)]

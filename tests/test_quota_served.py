"""Two servers on one Redis: a caller has their quota once."""

import time
from collections.abc import Sequence
from pathlib import Path

import grpc
import pytest

from pricegrid import v1
from tests.identity_world import bearer
from tests.redis_servers import RedisServer, redis_server
from tests.servers import Server, running, until
from tests.stores import price_rows, publish
from tests.test_identity_served import mint, run, write_auth

PER_S = 40
AT_ONCE = 4
LIMIT = f"[[limit]]\ncalls_per_second = {PER_S}\ncalls_burst = {PER_S // 4}\n"


def admitted(servers: Sequence[Server], token: str, seconds: float) -> float:
    """Calls a second that are let in at all servers together, which are asked for far more."""
    metadata, count, began_s = bearer(token), 0, time.monotonic()
    channels = [grpc.insecure_channel(server.address) for server in servers]
    calls = [channel.unary_unary(f"/{v1.PRICING_SERVICE}/PriceLines") for channel in channels]
    try:
        while time.monotonic() < began_s + seconds:
            for each in [call.future(b"\xff", metadata=metadata, timeout=20) for call in calls * AT_ONCE]:
                code = each.exception().code()
                assert code in {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED}
                count += code is grpc.StatusCode.INVALID_ARGUMENT
            time.sleep(0.01)
        return count / (time.monotonic() - began_s)
    finally:
        for channel in channels:
            channel.close()


def says(server: Server, text: str) -> None:
    until(lambda: any(text in line for line in list(server.log)), text)


@pytest.mark.slow
def test_a_caller_has_their_quota_once_on_two_servers(tmp_path, capsys):
    jwks = str(tmp_path / "jwks.json")
    run("token", "keys", "--key", str(tmp_path / "key.pem"), "--jwks", jwks, capsys=capsys)
    token = mint(tmp_path, capsys, "--role", "storefront", "--customers", "*")
    auth = write_auth(tmp_path, 'jwks_file = "jwks.json"', LIMIT)
    stores = [published(tmp_path / name) for name in ("one", "two")]
    with redis_server(tmp_path / "redis") as redis:
        options = ("--workers", "1", "--auth", auth, "--redis-url", url(redis))
        with running(stores[0], *options) as one, running(stores[1], *options) as two:
            for server in (one, two):
                says(server, "quotas are shared by 2 host(s)")
            admitted((one, two), token, 4)
            shared = admitted((one, two), token, 12)
            redis.kill()
            for server in (one, two):
                says(server, "quotas are shared as they were, and equally in 60 s")
            without = admitted((one, two), token, 12)
            redis.start()
            for server in (one, two):
                until(
                    lambda server=server: "".join(server.log).count("quotas are shared by 2 host(s)") > 1,
                    "they share again",
                )
            admitted((one,), token, 8)
            moved = admitted((one,), token, 12)

    # a machine that stalls lets in less, and two hosts that don't share twice as much
    for found in (shared, without, moved):
        assert 0.75 * PER_S < found < 1.1 * PER_S


def published(store: Path) -> Path:
    store.mkdir(mode=0o700)
    publish(store, price_rows())
    return store


def url(redis: RedisServer) -> str:
    return f"redis://{redis.address[0]}:{redis.address[1]}"

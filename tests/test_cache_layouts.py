"""Sentinel, cluster, TLS and passwords, on real servers; and what a URL may say."""

import contextlib
import shutil
import ssl
import subprocess

import pytest

from pricegrid.cache.open import open_state_cache, open_value_cache
from pricegrid.cache.protocol import CacheUnavailableError, Committed, Value
from pricegrid.cache.redis_options import Layout, RedisOptions
from tests.cache_worlds import QUICK, healthy, made, options, set_to
from tests.redis_servers import SERVICE, Proxy, cluster, primary_and_replica, redis_server, sentinels, until


def goes_on(store, name: str, value: bytes) -> bool:
    with contextlib.suppress(CacheUnavailableError):
        version = store.get([("s", name)])[0].version
        return isinstance(store.commit([set_to(name, value, version)])[0], Committed)
    return False


@pytest.mark.slow
def test_a_sentinel_failover_loses_nothing_acknowledged(tmp_path):
    with primary_and_replica(tmp_path) as (primary, replica), sentinels(tmp_path, primary) as watching:
        settings = options(*(s.address for s in watching), layout=Layout.SENTINEL, service=SERVICE)
        stores = [open_state_cache(tmp_path / name, settings) for name in ("one", "other")]
        healthy(*stores)
        made(stores[0], *(set_to(str(n), b"1", 0) for n in range(50)))

        primary.kill()
        until(lambda: goes_on(stores[1], "after", b"2"), "commits go on")

        healthy(*stores)
        assert replica.ask("HLEN", "{pricegrid}:record") == 51
        until(lambda: stores[0].get([("s", "after")])[0].value == b"2", "both see it")
        assert [store.lost for store in stores] == [0, 0]
        for store in stores:
            store.close()


@pytest.mark.slow
def test_a_six_node_cluster_holds_state_and_values_and_survives_the_loss_of_the_node_with_the_state(tmp_path):
    with cluster(tmp_path / "cluster") as nodes:
        settings = options(*(node.address for node in nodes[:2]), layout=Layout.CLUSTER)
        stores = [open_state_cache(tmp_path / name, settings) for name in ("one", "other")]
        values = [open_value_cache(tmp_path, settings.with_options(value_budget_s=2.0)) for _ in range(2)]
        healthy(*stores)
        made(stores[0], *(set_to(str(n), b"1", 0) for n in range(50)))
        values[0].put([Value("o", str(n), b"v%d" % n, 0, 10**12) for n in range(60)])
        until(lambda: None not in values[1].get("o", [str(n) for n in range(60)], 1), "the values are there")
        assert all(node.client().dbsize() > 5 for node in nodes[:3])  # they spread

        holder = next(node for node in nodes[:3] if node.client().keys("*:life"))
        holder.kill()
        until(lambda: goes_on(stores[1], "after", b"2"), "commits go on")

        healthy(*stores)
        until(lambda: stores[0].get([("s", "after")])[0].value == b"2", "both see it")
        assert [len(list(store.scan("s"))) for store in stores] == [51, 51]
        assert [store.lost for store in stores] == [0, 0]
        for one in (*stores, *values):
            one.close()


def test_tls_and_a_password(tmp_path):
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl to make a certificate with")
    certificate, key = tmp_path / "certificate", tmp_path / "key"
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    (tmp_path / "password").write_text("s3cret,with:odd@things\n")
    query = f"password_file={tmp_path / 'password'}&tls_ca_file={certificate}"
    with (
        redis_server(tmp_path / "redis", password="s3cret,with:odd@things") as server,
        Proxy(server.address, context) as proxy,
    ):
        settings = RedisOptions.from_url(f"rediss://127.0.0.1:{proxy.port}?{query}", **QUICK)
        store = open_state_cache(tmp_path / "host", settings)
        healthy(store)
        made(store, set_to("x", b"1", 0))
        store.close()
        assert server.ask("HGET", "{pricegrid}:record", b"s\0x") == b"1:1"

        wrong = open_state_cache(tmp_path / "wrong", settings.with_options(password="guessed"))
        until(lambda: "WRONGPASS" in wrong.trouble or "invalid" in wrong.trouble, "refused")
        assert "guessed" not in wrong.trouble
        wrong.close()
        stranger = open_state_cache(tmp_path / "stranger", settings.with_options(tls_ca_file=None))
        until(lambda: "certificate" in stranger.trouble.lower(), "not believed")
        stranger.close()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://h", {"nodes": (("h", 6379),), "layout": Layout.STANDALONE, "tls": False}),
        (
            "rediss://u:p%40@h:1/3",
            {"nodes": (("h", 1),), "username": "u", "password": "p@", "database": 3, "tls": True},
        ),
        (
            "redis+sentinel://a,b:2/main/1",
            {"nodes": (("a", 26379), ("b", 2)), "service": "main", "database": 1},
        ),
        (
            "rediss+cluster://[::1]:7,h",
            {"nodes": (("::1", 7), ("h", 6379)), "layout": Layout.CLUSTER, "tls": True},
        ),
        ("redis://h?wait_replicas=2&prefix=eu&command_timeout_s=1.5", {"wait_replicas": 2, "prefix": "eu"}),
    ],
)
def test_urls(url, expected):
    found = RedisOptions.from_url(url)

    assert {name: getattr(found, name) for name in expected} == expected


@pytest.mark.parametrize(
    "url",
    ["http://h", "redis://", "redis://h,i", "redis+sentinel://h", "redis+cluster://h/1", "redis://u@h", "redis://h?x=1",
     "redis://h?poll_s=0", "redis://h?prefix={a}", "redis://h:port", "redis://h?retry_max_s=9", "redis://h/1/2"],
)  # fmt: skip
def test_urls_that_say_nothing_or_too_much_are_refused(url):
    with pytest.raises(ValueError, match=r"\w"):
        RedisOptions.from_url(url)


def test_secrets_are_not_shown():
    secret = RedisOptions.from_url("redis://me:hunter2@h", sentinel_password="hunter3")

    assert "hunter" not in f"{secret} {secret!r}"

"""The HTTP/JSON adapter: which servers it calls, how it authenticates, and that no secret leaks."""

import asyncio
import logging
import shutil
import ssl
import subprocess
from decimal import Decimal
from pathlib import Path
from time import monotonic

import pytest

from pricegrid.erp.adapters import make_adapter
from pricegrid.erp.http_json import HttpJsonSettings
from pricegrid.erp.protocol import ErpAnswerError, ErpError, ErpUnavailableError
from pricegrid.erp.settings import read_settings
from tests.json_server import Reply, json_server
from tests.test_erp_http_json import NOON_US, PLAIN, ask, prices_of, question, written


@pytest.mark.parametrize(
    ("authentication", "header"),
    [
        ('kind = "token"\ntoken_env = "ERP_SECRET"', "Bearer s3cret"),
        ('kind = "token"\nprefix = "Key "\ntoken_env = "ERP_SECRET"', "Key s3cret"),
        ('kind = "basic"\nuser = "u"\npassword_env = "ERP_SECRET"', "Basic dTpzM2NyZXQ="),
    ],
)
def test_every_call_says_who_asks(tmp_path, monkeypatch, authentication, header):
    monkeypatch.setenv("ERP_SECRET", "s3cret")
    with json_server(prices_of) as server:
        rest = f"[http_json.authentication]\n{authentication}"
        ask(written(tmp_path, PLAIN.format(url=server.url, top="", rest=rest)), [question()])

    assert server.requests[0].headers["Authorization"] == header


def test_nothing_goes_to_a_server_whose_certificate_nobody_vouches_for(tmp_path):
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl to make a certificate with")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ]
    named = [
        "-subj",
        "/CN=erp",
        "-addext",
        "subjectAltName=DNS:localhost",
        "-keyout",
        key,
        "-out",
        certificate,
    ]
    subprocess.run([openssl, *made, *named], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    with json_server(prices_of, context) as server:
        other_name = server.url
        own_name = server.url.replace("127.0.0.1", "localhost")
        for url, trusted, error in (
            (own_name, False, "CERTIFICATE_VERIFY_FAILED"),
            (other_name, True, "CERTIFICATE_VERIFY_FAILED"),
            (own_name, True, None),
        ):
            ca_file = f'ca_file = "{certificate}"' if trusted else ""
            config = written(tmp_path, PLAIN.format(url=url, top=ca_file, rest=""))
            if error is None:
                assert ask(config, [question()])[0][0].unit_price == Decimal("0.25")
            else:
                with pytest.raises(ErpUnavailableError, match=error):
                    ask(config, [question()])

    assert len(server.requests) == 1


@pytest.mark.parametrize("reply", [Reply({}, 401), Reply({}, 500), Reply("<html>", 200), Reply({}, 302)])
def test_a_secret_is_in_no_error_and_no_log(tmp_path, monkeypatch, caplog, reply):
    monkeypatch.setenv("ERP_SECRET", "s3cret")
    caplog.set_level(logging.DEBUG)
    for kind in ('kind = "token"\ntoken_env', 'kind = "basic"\nuser = "u"\npassword_env'):
        rest = f'[http_json.authentication]\n{kind} = "ERP_SECRET"'
        with json_server(lambda _: reply) as server:
            config = written(tmp_path, PLAIN.format(url=server.url, top="", rest=rest))
            with pytest.raises(ErpError) as caught:
                ask(config, [question()])
        settings = read_settings(config)
        assert "s3cret" not in repr(settings) + repr(HttpJsonSettings.read(settings.source))
        told = repr(caught.value) + str(caught.value) + getattr(caught.value, "excerpt", "") + caplog.text
        assert "s3cret" not in told
        assert "dTpzM2NyZXQ=" not in told
        assert "Authorization" in server.requests[0].headers


def test_the_next_page_may_not_be_on_another_server(tmp_path):
    rest = (
        '[http_json.tables.items]\npath = "/items"\nrows = "value"\nnext = "next"\nfields = { sku = "item" }'
    )

    async def run(config: Path) -> None:
        adapter = make_adapter(read_settings(config))
        try:
            await adapter.extract(NOON_US, monotonic() + 10)
        finally:
            await adapter.close()

    with json_server(lambda _: Reply({"value": [], "next": "http://localhost:1/steal"})) as server:
        config = written(tmp_path, PLAIN.format(url=server.url, top="", rest=rest))
        with pytest.raises(ErpAnswerError, match="another server"):
            asyncio.run(run(config))

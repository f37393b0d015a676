"""The door for browsers, PHP and curl: Connect's unary protocol and gRPC-Web, over HTTP/1.1 and HTTP/2, by real
clients and by bytes."""

import base64
import gzip
import http.client
import json
import re
import shutil
import socket
import ssl
import struct
import subprocess
import threading
from pathlib import Path

import grpc
import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from pricegrid import v1
from pricegrid.service.errors import Reason, RequestRefusedError
from pricegrid.service.identity.certificates import CertificateFiles, server_contexts
from pricegrid.service.identity.config import TlsFiles
from pricegrid.service.rpc.handlers import Handlers
from pricegrid.service.rpc.metrics import NoMetrics
from pricegrid.service.rpc.pools import CountingPool
from pricegrid.service.rpc.services import services
from pricegrid.service.transport import json_messages
from pricegrid.service.transport.cors import Cors, checked_origin
from pricegrid.service.transport.openapi import document
from pricegrid.service.transport.server import Http2Server
from tests.authority import Authority
from tests.fakes import OneSnapshot, fake_snapshot
from tests.http_door import NOW_US, PRICE, SHOP, Door
from tests.identity_world import new_gate, token_for
from tests.transport_worlds import AGES, STREAMS_MAX

QUESTION = {"customerId": "C", "lines": [{"sku": "A", "quantityMicros": "2000000"}]}


@pytest.fixture
def door():
    world = Door()
    yield world
    world.server.stop(0).wait(20)


def request_bytes(question: object = QUESTION) -> bytes:
    return json_format.ParseDict(question, v1.PriceLinesRequest()).SerializeToString()


def comparable(answer: v1.PriceLinesResponse) -> v1.PriceLinesResponse:
    answer.correlation_id = ""
    return answer


def test_all_dialects_give_the_same_answer(door):
    expected = comparable(v1.PriceLinesResponse.FromString(door.by_grpc(request_bytes())))
    assert expected.results[0].unit_price_micros == 1_500_000

    _, as_json = door.ask_json(QUESTION)
    status, headers, as_proto = door.ask(request_bytes(), content_type="application/proto")
    framed = b"\0" + struct.pack(">I", len(request_bytes())) + request_bytes()
    _, web_headers, web = door.ask(framed, content_type="application/grpc-web+proto")
    size = struct.unpack(">I", web[1:5])[0]

    assert (status, headers["content-type"]) == (200, "application/proto")
    assert comparable(v1.PriceLinesResponse.FromString(as_proto)) == expected
    assert comparable(json_format.ParseDict(as_json, v1.PriceLinesResponse())) == expected
    assert web_headers["content-type"] == "application/grpc-web+proto"
    assert comparable(v1.PriceLinesResponse.FromString(web[5 : 5 + size])) == expected
    assert web[5 + size :] == b"\x80\0\0\0\x10grpc-status: 0\r\n"


def test_numbers_of_money_are_text_in_json(door):
    status, answer = door.ask_json(QUESTION)

    assert (status, answer["results"][0]["unitPriceMicros"]) == (200, "1500000")


def test_a_refusal_has_its_status_its_reason_and_its_field(door):
    status, answer = door.ask_json({**QUESTION, "customerId": "nobody"})
    (detail,) = (each for each in answer["details"] if each["type"] == "google.rpc.ErrorInfo")

    assert (status, answer["code"]) == (403, "permission_denied")
    assert detail["debug"]["reason"] == "CUSTOMER_NOT_ALLOWED"
    assert base64.b64decode(detail["value"] + "==").count(b"CUSTOMER_NOT_ALLOWED") == 1


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "MALFORMED"),
        (b"[]", "MALFORMED"),
        (b"7", "MALFORMED"),
        (b'{"lines": [{"skuu": "A"}]}', "lines[0].skuu"),
        (b'{"lines": [{"sku": 7}]}', "lines[0].sku"),
        (b'{"lines": {"sku": "A"}}', "lines"),
        (b'{"lines": ["A"]}', "lines[0]"),
        (b'{"lines": [{"sku": "A"}, {"quantityMicros": "1.5"}]}', "lines[1].quantityMicros"),
        (b'{"lines": [{"sku": "A", "quantityMicros": 1e30}]}', "lines[0].quantityMicros"),
        (b'{"lines": [{"sku": "A", "quantityMicros": 9007199254740993.0}]}', "lines[0].quantityMicros"),
        (b'{"lines": [{"sku": "A", "quantityMicros": "9007199254740993.0"}]}', "lines[0].quantityMicros"),
        (b'{"lines": [{"sku": "A", "quantityMicros": 9.007199254740993e15}]}', "lines[0].quantityMicros"),
        (b'{"lines": [{"sku": "A", "quantityMicros": true}]}', "lines[0].quantityMicros"),
        ('{"lines": [{"sku": "A", "quantityMicros": "１"}]}'.encode(), "lines[0].quantityMicros"),
        (b'{"lines": [{"sku": "A", "quantityMicros": "9223372036854775808"}]}', "out of range"),
        (b'{"customerId": "C", "customerId": "D"}', "customerId"),
        (b'{"lines":' + b"[" * 5_000 + b"]" * 5_000 + b"}", "MALFORMED"),
        (b"\xff\xfe", "MALFORMED"),
    ],
)
def test_bad_json_is_refused_by_the_name_of_its_field(door, body, said):
    status, _, answer = door.ask(body, content_type="application/json")
    error = json.loads(answer)

    assert (status, error["code"]) == (400, "invalid_argument")
    assert said in (error["message"] if said != "MALFORMED" else json.dumps(error["details"]))


def test_what_is_no_call_gets_a_plain_answer(door):
    assert door.ask(b"", method="GET")[0] == 405
    assert door.ask(b"", content_type="text/plain")[0] == 415
    assert door.ask(b"", content_type="application/grpc")[0] == 415
    status, answer = door.ask_json({}, "/pricegrid.v1.PricingService/No")
    assert (status, answer["code"]) == (501, "unimplemented")
    status, answer = door.ask_json({}, f"/{v1.AVAILABILITY_SERVICE}/WatchAvailability")
    assert (status, answer["code"]) == (501, "unimplemented")


def test_gzip_bodies_are_taken_up_to_the_bound(door):
    raw = gzip.compress(json.dumps(QUESTION).encode())
    assert door.ask(raw, content_type="application/json", content_encoding="gzip")[0] == 200
    bomb = gzip.compress(b" " * (5 * 1024 * 1024))
    status, _, answer = door.ask(bomb, content_type="application/proto", content_encoding="gzip")
    assert (status, json.loads(answer)["code"]) == (429, "resource_exhausted")
    assert door.ask(b" " * (5 * 1024 * 1024), content_type="application/json")[0] == 429


def test_a_deadline_that_has_passed_is_kept(door):
    assert door.ask_json(QUESTION, connect_timeout_ms="60000")[0] == 200
    assert door.ask_json(QUESTION, connect_timeout_ms="0")[0] == 504
    assert door.ask_json(QUESTION, connect_timeout_ms="soon")[0] == 400


def test_pages_of_named_origins_may_ask_and_no_others(door):
    asked = {"access_control_request_method": "POST", "access_control_request_headers": "content-type"}
    status, headers, _ = door.ask(b"", method="OPTIONS", origin=SHOP, **asked)
    assert (status, headers["access-control-allow-origin"]) == (204, SHOP)
    assert "content-type" in headers["access-control-allow-headers"]
    assert door.ask(b"", method="OPTIONS", origin="https://evil.example", **asked)[0] == 405

    body = json.dumps(QUESTION).encode()
    _, headers, _ = door.ask(body, content_type="application/json", origin=SHOP)
    assert (headers["access-control-allow-origin"], headers["vary"]) == (SHOP, "origin")
    _, headers, _ = door.ask(body, content_type="application/json", origin="https://evil.example")
    assert "access-control-allow-origin" not in headers
    assert Cors().headers({b"origin": b"https://evil.example"}) == ()


@pytest.mark.parametrize(
    "text",
    [
        "*", "shop.example", "https://shop.example/", "https://a@b", "https://*.b", "HTTPS://b", "https://b:443",
        "http://b:80", "https://b:", "https://b:70000", "https://b:080", "https://münchen.example",
    ],
)  # fmt: skip
def test_what_is_no_origin_is_refused(text):
    with pytest.raises(ValueError, match="origin"):
        checked_origin(text)


def test_a_page_that_gives_its_name_this_machine_s_address_is_refused():
    world = Door(is_local=True)
    try:
        for host, expected in [
            ("evil.example", 403), (f"evil.example:{world.port}", 403), ("localhost", 200), ("127.0.0.1", 200),
            (f"localhost:{world.port}", 200), (f"[::1]:{world.port}", 200), ("10.0.0.1", 403),
        ]:  # fmt: skip
            body = json.dumps(QUESTION).encode()
            assert world.ask(body, content_type="application/json", host=host)[0] == expected, host
    finally:
        world.server.stop(0).wait(20)


def test_callers_are_asked_who_they_are_as_over_grpc():
    gate, _ = new_gate()
    world = Door(gate=gate)
    try:
        status, answer = world.ask_json(QUESTION)
        assert (status, answer["code"]) == (401, "unauthenticated")
        own = f"Bearer {token_for('storefront', '*')}"
        status, answer = world.ask_json(QUESTION, authorization=own)
        assert (status, answer["results"][0]["unitPriceMicros"]) == (200, "1500000")
        reserve = f"/{v1.ADMIN_SERVICE}/ListDeadLetters"
        assert world.ask_json({}, reserve, authorization=own)[0] == 403
        assert world.ask_json(QUESTION, authorization=own + "x")[0] == 401
        for twice in ("Basic x", "Bearer", ""):
            assert world.ask_json(QUESTION, authorization=twice)[0] == 401
    finally:
        world.server.stop(0).wait(20)


def test_one_connection_answers_one_request_after_the_other(door):
    connection = http.client.HTTPConnection("127.0.0.1", door.port, timeout=30)
    for _ in range(50):
        connection.request("POST", PRICE, json.dumps(QUESTION), {"content-type": "application/json"})
        found = connection.getresponse()
        assert (found.status, json.loads(found.read())["results"][0]["unitPriceMicros"]) == (200, "1500000")
    connection.close()


def test_who_asks_before_they_send_a_body_is_told_to_go_on(door):
    body = json.dumps(QUESTION).encode()
    head = (
        f"POST {PRICE} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nExpect: 100-Continue\r\nConnection: close\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", door.port), 20) as plain:
        plain.sendall(head.encode())
        assert plain.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
        plain.sendall(body)
        answer = b"".join(iter(lambda: plain.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["results"][0]["unitPriceMicros"] == "1500000"

    with socket.create_connection(("127.0.0.1", door.port), 20) as plain:  # refused, it need not be sent
        plain.sendall(head.replace(PRICE, "/nope").encode())
        assert plain.recv(4096).startswith(b"HTTP/1.1 501 ")


def test_a_path_is_taken_as_it_is_written_without_its_query(door):
    assert door.ask_json(QUESTION, PRICE + "?page=1")[0] == 200
    slash = PRICE[::-1].replace("/", "F2%", 1)[::-1]
    for path in (slash, PRICE.replace("Price", "%50rice"), "/x/.." + PRICE, "/" + PRICE, PRICE + "/"):
        assert door.ask_json(QUESTION, path)[0] == 501, path


def test_garbage_is_answered_with_400_and_nobody_is_disturbed(door):
    for sent in (
        b"GARBAGE\r\n\r\n",
        b"\x16\x03\x01\x02\0\1\0\1\xfc\3\3",
        b"POST / HTTP/9.9\r\n\r\n",
        b"P" * 20_000,
    ):
        with socket.create_connection(("127.0.0.1", door.port), 20) as plain:
            plain.sendall(sent)
            plain.shutdown(socket.SHUT_WR)
            while plain.recv(4096):
                pass
    assert door.ask_json(QUESTION)[0] == 200


def test_the_same_over_http2(door):
    """By curl, which speaks HTTP/2 without TLS when it is told that the server does."""
    curl = shutil.which("curl")
    if (
        curl is None
        or "HTTP2" not in subprocess.run([curl, "-V"], check=False, capture_output=True, text=True).stdout
    ):
        pytest.skip("this curl does not speak HTTP/2")
    command = [
        curl, "-sS", "--http2-prior-knowledge", "-i", f"http://127.0.0.1:{door.port}{PRICE}",
        "-H", "content-type: application/json", "-H", f"origin: {SHOP}",
    ]  # fmt: skip

    good = subprocess.run(
        [*command, "-d", json.dumps(QUESTION)], check=False, capture_output=True, text=True, timeout=30
    )
    bad = subprocess.run([*command, "-d", "{"], check=False, capture_output=True, text=True, timeout=30)
    command[4] += "?page=1"
    queried = subprocess.run(
        [*command, "-d", json.dumps(QUESTION)], check=False, capture_output=True, text=True, timeout=30
    )

    assert good.stdout.startswith("HTTP/2 200")
    assert '"unitPriceMicros":"1500000"' in good.stdout
    assert f"access-control-allow-origin: {SHOP}" in good.stdout
    assert queried.stdout.startswith("HTTP/2 200")
    assert bad.stdout.startswith("HTTP/2 400")
    assert '"code":"invalid_argument"' in bad.stdout


def test_refusals_say_when_to_come_back():
    pool = CountingPool(2)
    server = Http2Server(pool, AGES, STREAMS_MAX)

    def refuse(raw, caller):
        raise RequestRefusedError(Reason.OVERLOADED, "too many requests", retry_ms=1_200, limit="queue")

    Handlers({v1.PRICING_SERVICE: {"PriceLines": refuse}}, NoMetrics(), pool.queue).register(server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("POST", PRICE, b"{}", {"content-type": "application/json"})
        found = connection.getresponse()
        assert (found.status, found.headers["retry-after"]) == (503, "2")
        assert json.loads(found.read())["code"] == "unavailable"
        connection.close()
    finally:
        server.stop(0).wait(20)


def test_stopping_answers_what_is_under_way():
    pool, begun, go_on = CountingPool(2), threading.Event(), threading.Event()
    server = Http2Server(pool, AGES, STREAMS_MAX)

    def wait(raw, context):
        begun.set()
        assert go_on.wait(20)
        return v1.PriceLinesResponse().SerializeToString()

    handler = {"PriceLines": grpc.unary_unary_rpc_method_handler(wait)}
    server.add_registered_method_handlers(v1.PRICING_SERVICE, handler)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("POST", PRICE, b"{}", {"content-type": "application/json"})
    assert begun.wait(20)
    stopped = server.stop(20)
    go_on.set()

    assert connection.getresponse().status == 200
    connection.close()
    assert stopped.wait(20)


def half_sent(port: int) -> socket.socket:
    """A connection with a request of which the last half of the body is missing."""
    plain = socket.create_connection(("127.0.0.1", port), 20)
    plain.sendall(
        f"POST {PRICE} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        "Content-Length: 20\r\n\r\n{".encode()
    )
    return plain


def test_stopping_does_not_wait_for_bodies_that_do_not_come(door):
    with half_sent(door.port) as plain:
        assert door.ask_json(QUESTION)[0] == 200  # the server has seen the other
        stopped = door.server.stop(60)
        answer = plain.recv(4096)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b'"code":"unavailable"' in answer
        assert stopped.wait(20)


def test_a_body_that_does_not_come_whole_is_given_up(door, monkeypatch):
    monkeypatch.setattr("pricegrid.service.transport.http1.HALF_S", 0.3)
    with half_sent(door.port) as plain:
        answer = plain.recv(4096)
    assert answer.startswith(b"HTTP/1.1 504 ")
    assert b"did not come whole" in answer


def test_tls_offers_both_and_refuses_neither(tmp_path):
    authority = Authority("servers")
    trusted, files = tmp_path / "ca.pem", TlsFiles(tmp_path / "server.pem", tmp_path / "server.key", None)
    trusted.write_bytes(authority.pem)
    authority.issue("localhost").write(files.certificate, files.key)
    context = server_contexts(CertificateFiles(files))
    pool = CountingPool(2)
    server = Http2Server(pool, AGES, STREAMS_MAX)
    Handlers(services(OneSnapshot(fake_snapshot()), lambda: NOW_US), NoMetrics(), pool.queue).register(server)
    port = server.add_tls_port("127.0.0.1:0", context)
    server.start()
    try:
        client = ssl.create_default_context(cafile=str(trusted))
        connection = http.client.HTTPSConnection("localhost", port, timeout=30, context=client)
        connection.request("POST", PRICE, json.dumps(QUESTION), {"content-type": "application/json"})
        assert connection.getresponse().status == 200
        connection.close()
        credentials = grpc.ssl_channel_credentials(trusted.read_bytes())
        with grpc.secure_channel(f"localhost:{port}", credentials) as channel:
            assert channel.unary_unary(PRICE)(request_bytes(), timeout=30)
    finally:
        server.stop(0).wait(20)


def test_the_openapi_document_has_every_unary_method_and_every_field():
    found = document((v1.PRICING_SERVICE, v1.AVAILABILITY_SERVICE, v1.ADMIN_SERVICE), "1.2.3")
    lines = found["components"]["schemas"]["PriceLine"]["properties"]

    assert PRICE in found["paths"]
    assert not any("Watch" in path for path in found["paths"])
    assert lines["quantityMicros"] == {"type": "string", "format": "int64"}
    assert set(lines) == {field.json_name for field in v1.PriceLine.DESCRIPTOR.fields}
    referred = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(found)))
    assert referred == set(found["components"]["schemas"])


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_what_the_docs_say_of_a_page_works(door):
    page = (Path(__file__).parents[1] / "docs" / "http.md").read_text()
    (code,) = re.findall(r"^```js\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    code = code.replace("https://prices.example:50051", f"http://127.0.0.1:{door.port}")
    code = code.replace('"C-100"', '"C"').replace('"CABLE-3"', '"A"')
    script = f'const token = "t";\n{code}\nconsole.log(results[0].unitPriceMicros);'

    ran = subprocess.run(
        ["node", "--input-type=module", "-e", script], check=False, capture_output=True, text=True, timeout=60
    )

    assert (ran.stdout, ran.stderr) == ("1500000\n", "")


@given(st.integers(-(2**63), 2**63 - 1), st.booleans(), st.text(max_size=20))
def test_json_keeps_every_digit_and_every_character(micros, is_text, sku):
    try:
        sku.encode()
    except UnicodeEncodeError:
        return
    raw = json.dumps({"lines": [{"sku": sku, "quantityMicros": str(micros) if is_text else micros}]}).encode()

    message = json_messages.read(raw, v1.PriceLinesRequest)

    assert (message.lines[0].sku, message.lines[0].quantity_micros) == (sku, micros)
    assert json_messages.read(json_messages.written(message), v1.PriceLinesRequest) == message


def test_bytes_that_are_not_what_they_say_are_their_callers_fault(door):
    status, _, answer = door.ask(b"no gzip", content_type="application/json", content_encoding="gzip")
    assert (status, json.loads(answer)["code"]) == (400, "invalid_argument")


def test_curl_reads_an_early_refusal_over_http2(door):
    curl = shutil.which("curl")
    if (
        curl is None
        or "HTTP2" not in subprocess.run([curl, "-V"], check=False, capture_output=True, text=True).stdout
    ):
        pytest.skip("this curl does not speak HTTP/2")
    command = [curl, "-sS", "--http2-prior-knowledge", "-o", "/dev/null", "-w", "%{http_code}", "-d", "{}"]
    for kind, path, expected in [("text/plain", PRICE, "415"), ("application/json", PRICE + "x", "501")] * 8:
        ran = subprocess.run(
            [*command, "-H", f"content-type: {kind}", f"http://127.0.0.1:{door.port}{path}"],
            check=False, capture_output=True, text=True, timeout=30,
        )  # fmt: skip
        assert (ran.stdout, ran.stderr) == (expected, "")

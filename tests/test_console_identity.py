"""The console asks as the caller: the server's roles decide what a page shows and changes."""

from dataclasses import replace

import pytest

from pricegrid.service.cli.console import GrpcServer, console_of
from pricegrid.service.cli.main import command_parser
from pricegrid.service.cli.text import UsageError
from pricegrid.service.console.app import COOKIE, Console
from pricegrid.service.methods.live import live_methods
from pricegrid.service.rpc.services import services
from tests.console_world import World
from tests.fakes import OneSnapshot, fake_snapshot
from tests.identity_world import guarded_server, new_gate, token_for
from tests.live_memory import NOW_US, MemoryLive
from tests.stores import price_rows, publish

ADMIN, DESK, LOADER, SHOP = "admin", "desk", "loader", "storefront"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    store = tmp_path_factory.mktemp("console") / "store"
    versions = tuple(publish(store, price_rows(), minute=minute) for minute in (0, 1))
    snapshots = OneSnapshot(fake_snapshot())
    gate, _ = new_gate()
    offered = services(snapshots, lambda: NOW_US, live=live_methods(MemoryLive(), lambda: NOW_US))
    with guarded_server(offered, snapshots, gate) as address:
        args = command_parser("console").parse_args(["--address", address])
        server = GrpcServer(args, None)
        yield World(Console(server, "", store), server.client(None), versions)


@pytest.fixture(scope="module")
def tokens():
    return {role: token_for(role, "*") for role in (ADMIN, DESK, LOADER, SHOP)}


def by_cookie(token):
    return {COOKIE: token}


@pytest.mark.parametrize(
    ("path", "may"),
    [
        ("/reservations", {ADMIN, DESK}),
        ("/dead-letters", {ADMIN, LOADER}),
        ("/snapshots", {ADMIN, LOADER}),
        ("/find", {ADMIN, DESK}),
        ("/parity", {ADMIN, DESK}),
    ],
)
def test_each_role_sees_its_pages_and_no_others(world, tokens, path, may):
    for role, token in tokens.items():
        page = world.get(path, cookies=by_cookie(token))
        assert page.status == (200 if role in may else 403), role
        assert ("NOT_PERMITTED" in page.text) is (role not in may)
        assert token not in page.text


@pytest.mark.parametrize(
    "path",
    ["/reservations", "/dead-letters", "/snapshots", "/find", "/parity", "/price?sku=S1&customer=C1"],
)
def test_who_says_not_who_they_are_is_sent_to_sign_in(world, path):
    for cookies in ({}, by_cookie("not.a.token")):
        page = world.get(path, cookies=cookies)
        assert page.status == 401
        assert "UNAUTHENTICATED" in page.text
        assert '<a href="/sign-in">' in page.text


def test_a_proxy_that_signed_someone_in_passes_their_token_on(world, tokens):
    assert world.get("/reservations", Authorization=f"Bearer {tokens[DESK]}").status == 200
    both = world.get(
        "/reservations", cookies=by_cookie(tokens[ADMIN]), Authorization=f"Bearer {tokens[SHOP]}"
    )
    assert both.status == 403


@pytest.mark.parametrize("role", [DESK, LOADER, SHOP])
def test_only_who_manages_may_activate_or_replay_also_by_the_address(world, tokens, role):
    old, new = world.versions
    said = {"version": old, "confirmed": old}
    cookies = by_cookie(tokens[role])

    assert world.post("/snapshots/activate", said, cookies=cookies, Origin="OWN").status == 403
    assert world.post("/dead-letters/replay", {"id": "x"}, cookies=cookies, Origin="OWN").status == 403
    assert (world.console.store / "current").read_text().strip() == new


def test_who_manages_may_activate(world, tokens):
    old, new = world.versions
    for version in (old, new):
        said = {"version": version, "confirmed": version}
        done = world.post("/snapshots/activate", said, cookies=by_cookie(tokens[ADMIN]), Origin="OWN")
        assert done.status == 200
        assert (world.console.store / "current").read_text().strip() == version


def test_a_token_is_not_sent_over_a_network_in_the_clear(world, tokens):
    args = command_parser("console").parse_args(["--address", "192.0.2.1:1"])
    far = replace(world, console=Console(GrpcServer(args, None), ""))

    page = far.get("/reservations", cookies=by_cookie(tokens[ADMIN]))

    assert page.status == 401
    assert "in the clear" in page.text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--host", "0.0.0.0"], "0.0.0.0 can be reached from other machines"),
        (
            ["--host", "0.0.0.0", "--allow-remote", "--token-file", "TOKEN"],
            "--token-file lets whoever reaches",
        ),
        (["--store", "FOLDER"], "is no snapshot store"),
    ],
)
def test_what_would_be_unsafe_or_makes_no_sense_is_refused(tmp_path, words, said):
    token = tmp_path / "token"
    token.write_text("a.b.c")
    named = {"TOKEN": str(token), "FOLDER": str(tmp_path)}

    asked = ["--address", "127.0.0.1:1", *(named.get(word, word) for word in words)]
    with pytest.raises(UsageError, match=said):
        console_of(command_parser("console").parse_args(asked))


def test_a_price_is_shown_without_its_reasons_to_who_may_not_see_costs(world, tokens):
    page = world.get("/price?customer=C1&sku=A&quantity=2", cookies=by_cookie(tokens[SHOP]))

    assert page.status == 200
    assert "but not how they come about (scope prices.explain)" in page.text
    assert "<strong>1.50 EUR</strong> a unit · 3.00 EUR for 2" in page.text
    assert "Books considered" not in page.text

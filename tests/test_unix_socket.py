"""A server on a unix socket: who may connect, what is never taken from another server, and clients that ask there."""

import asyncio
import os
import signal
import socket
import stat
from pathlib import Path

import grpc
import pytest

from pricegrid import AsyncClient, Client, Line
from pricegrid.http2_async import AsyncHttp2Channel
from pricegrid.http2_channel import Http2Channel
from pricegrid.service.cli.main import main
from pricegrid.service.identity.config import AuthConfig, TlsFiles
from pricegrid.service.process.reach import ServeError, check_reach
from pricegrid.service.process.supervisor import ServeOptions
from pricegrid.service.process.unix_socket import UnixSocket, bound_with, held_socket
from pricegrid.service.rpc.pools import CountingPool
from pricegrid.service.transport.server import Http2Server
from tests.servers import running, until
from tests.stores import price_rows, publish
from tests.transport_worlds import AGES, SERVICE, Place, handlers

QUICK = f"/{SERVICE}/Quick"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s.sock"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def listening(path: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.bind(str(path))
    made.listen()
    return made


def test_its_mode_says_who_may_connect_and_it_is_gone_afterwards(path):
    before = os.umask(0)
    try:
        with held_socket(UnixSocket(path)):
            assert mode(path) == 0o660
        with held_socket(UnixSocket(path, 0o600)):
            assert mode(path) == 0o600
        seen = []
        with socket.socket(socket.AF_UNIX) as made:
            bound_with(UnixSocket(path, 0o666), lambda: (made.bind(str(path)), seen.append(mode(path))))
        assert (seen, mode(path)) == ([0o600], 0o666), "nobody else gets in before its mode is set"
    finally:
        os.umask(before)


def test_the_socket_of_a_server_that_is_gone_is_replaced(path):
    listening(path).close()
    assert path.is_socket()

    with held_socket(UnixSocket(path)) as made:
        made.listen()
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(str(path))
    assert not path.exists()


def test_another_server_keeps_its_socket(path):
    other = listening(path)
    with other, pytest.raises(ServeError, match="another server listens on"), held_socket(UnixSocket(path)):
        pass
    assert path.is_socket()
    path.unlink()
    with (
        held_socket(UnixSocket(path)),  # it is starting: nobody listens yet
        pytest.raises(ServeError, match="another server listens on"),
        held_socket(UnixSocket(path)),
    ):
        pass


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("x" * 108, "too long"),
        ("a b", "may hold"),
        ("a%20b", "may hold"),
        ("none/s.sock", "there is no folder"),
        ("file", "is no socket"),
    ],
)
def test_a_path_that_can_not_be_one_is_refused(tmp_path, name, says):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(ServeError, match=says), held_socket(UnixSocket(tmp_path / name)):
        pass
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.parametrize("folder_mode", [0o777, 0o1777])
def test_a_folder_that_everybody_can_change_is_refused(path, folder_mode):
    path.parent.chmod(folder_mode)
    try:
        with pytest.raises(ServeError, match="every user of this machine"), held_socket(UnixSocket(path)):
            pass
    finally:
        path.parent.chmod(0o700)
    assert list(path.parent.iterdir()) == []


def test_tls_is_not_spoken_there(path):
    tls = AuthConfig(TlsFiles(Path("c"), Path("k")))
    check_reach(ServeOptions(path.parent, unix_socket=UnixSocket(path)))
    with pytest.raises(ServeError, match=r"has \[tls\]"):
        check_reach(ServeOptions(path.parent, unix_socket=UnixSocket(path), auth=tls))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--socket", "s", "--port", "1"), "--host and --port"),
        (("--socket", "s", "--host", "127.0.0.1"), "--host and --port"),
        (("--socket-mode", "0666"), "--socket-mode"),
        (("--socket", "s", "--transport", "grpcio", "--workers", "2"), "one worker"),
    ],
)
def test_flags_that_do_not_fit_are_refused(tmp_path, capsys, words, says):
    assert main(["serve", "--store", str(tmp_path), *words]) == 2
    assert says in capsys.readouterr().err


def worker(held: socket.socket) -> Http2Server:
    server = Http2Server(CountingPool(2), AGES, 128)
    server.add_registered_method_handlers(SERVICE, handlers(Place()))
    server.add_listener(held.dup())
    server.start()
    return server


async def asked_async(address: str) -> list[bytes]:
    channel = AsyncHttp2Channel(address)
    async with grpc.aio.insecure_channel(address) as other:
        found = [
            await channel.unary_unary(QUICK)(b"c", timeout=20),
            await other.unary_unary(QUICK)(b"d", timeout=20),
        ]
    await channel.close()
    return found


@pytest.mark.http2
def test_workers_share_it_and_every_client_asks_there(path):
    wanted = UnixSocket(path)
    with held_socket(wanted) as held:
        first, second = worker(held), worker(held)
        with (
            grpc.insecure_channel(wanted.address) as plain,
            Http2Channel(wanted.address, streams=lambda: plain) as own,
        ):
            assert plain.unary_unary(QUICK)(b"a", timeout=20) == b"a"
            assert own.unary_unary(QUICK)(b"b", timeout=20) == b"b"
        assert asyncio.run(asked_async(wanted.address)) == [b"c", b"d"]
        first.stop(0).wait(20)
        for _ in range(8):  # the one that has stopped neither took a connection with it nor the file
            with grpc.insecure_channel(
                wanted.address, options=[("grpc.use_local_subchannel_pool", 1)]
            ) as again:
                assert again.unary_unary(QUICK)(b"e", timeout=20) == b"e"
        second.stop(0).wait(20)


@pytest.mark.slow
@pytest.mark.parametrize("options", [("--transport", "http2", "--workers", "2"), ("--transport", "grpcio")])
def test_a_server_there(tmp_path, capsys, options):
    store, path, workers = tmp_path / "store", tmp_path / "s.sock", int(options[-1] == "2") + 1
    publish(store, price_rows())
    with running(store, "--socket", str(path), *options) as server:
        assert (server.address, mode(path)) == (f"unix:{path}", 0o660)
        assert len(server.workers()) == workers
        assert main(["health", "--address", server.address, "--wait", "60"]) == 0
        with Client(server.address, transport=options[1]) as client:
            assert client.price_lines("C1", [Line("S4", 1)]).lines[0].status.name == "OK"
        assert main(["serve", "--store", str(store), "--socket", str(path)]) == 1
        assert "another server listens on" in capsys.readouterr().err

        killed = server.workers()[0]
        os.kill(killed, signal.SIGKILL)
        until(lambda: killed not in (now := server.workers()) and len(now) == workers, "another one")
        assert main(["health", "--address", server.address, "--wait", "60"]) == 0

        async def ask() -> str:
            async with AsyncClient(server.address, transport=options[1]) as client:
                return (await client.price_lines("C1", [Line("S4", 1)])).lines[0].status.name

        assert asyncio.run(ask()) == "OK"
        assert mode(path) == 0o660
        assert server.stop() == 0
    assert not path.exists()

"""What systemd is told: sd_notify(3), by a socket of the test's own."""

import contextlib
import os
import signal
import socket
from collections.abc import Iterator

import pytest

from pricegrid import Client, Line
from pricegrid.service.process.service_manager import ServiceManager
from tests.servers import DEADLINE_S, running
from tests.stores import publish, stocked_rows


@pytest.fixture
def manager(tmp_path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(DEADLINE_S)
        yield listening


def told(manager: socket.socket) -> list[str]:
    """What has been told so far."""
    manager.setblocking(False)
    messages = []
    try:
        while True:
            messages.append(manager.recv(4096).decode())
    except BlockingIOError:
        manager.settimeout(DEADLINE_S)
        return messages


def test_messages_are_those_of_sd_notify(manager):
    now = [100.0]
    environment = {"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "3000000"}
    server = ServiceManager(environment, clock_s=lambda: now[0])
    server.alive()  # while it starts, nobody waits for a sign of life
    server.ready("snapshot 1 on 127.0.0.1:50051")
    for now[0] in (100.0, 101.4, 101.5, 102.9, 103.0):
        server.alive()
    server.stopping()
    assert told(manager) == [
        "READY=1\nSTATUS=snapshot 1 on 127.0.0.1:50051",
        *["WATCHDOG=1"] * 3,
        "STOPPING=1",
    ]


def test_a_socket_may_have_an_abstract_name():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0pricegrid-{id(listening)}")
        ServiceManager({"NOTIFY_SOCKET": "@" + listening.getsockname()[1:].decode()}).stopping()
        assert told(listening) == ["STOPPING=1"]


def test_a_watchdog_is_fed_only_if_it_waits_for_this_process(manager):
    there = {"NOTIFY_SOCKET": manager.getsockname()}
    for watchdog in ({}, {"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "1", "WATCHDOG_PID": "1"}):
        server = ServiceManager({**there, **watchdog})
        server.ready("")
        server.alive()
    assert told(manager) == ["READY=1\nSTATUS="] * 3
    server = ServiceManager({**there, "WATCHDOG_USEC": "1", "WATCHDOG_PID": str(os.getpid())})
    server.ready("")
    server.alive()
    assert told(manager) == ["READY=1\nSTATUS=", "WATCHDOG=1"]


def test_a_manager_whose_queue_is_full_does_no_harm(manager):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as others:
        others.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                others.sendto(b"WATCHDOG=1", manager.getsockname())
    ServiceManager({"NOTIFY_SOCKET": manager.getsockname()}).stopping()


def test_a_manager_that_is_gone_does_no_harm(tmp_path):
    for address in (str(tmp_path / "nobody"), "vsock:2:1234", ""):
        ServiceManager({"NOTIFY_SOCKET": address}).stopping()


@pytest.mark.slow
def test_a_server_says_that_it_is_ready_when_it_answers(manager, tmp_path, monkeypatch):
    store = tmp_path / "store"
    version = publish(store, stocked_rows())
    monkeypatch.setenv("NOTIFY_SOCKET", manager.getsockname())
    monkeypatch.setenv("WATCHDOG_USEC", "1000000")
    with running(store, "--workers", "1") as server:
        ready = manager.recv(4096).decode()
        with Client(server.address) as client:
            assert client.price_lines("C1", [Line("S3")], timeout_s=DEADLINE_S).snapshot_version == version
        assert ready == f"READY=1\nSTATUS=snapshot {version} on {server.address}"
        assert manager.recv(4096) == b"WATCHDOG=1"
        server.process.send_signal(signal.SIGTERM)
        while manager.recv(4096) != b"STOPPING=1":
            pass
        assert server.process.wait(DEADLINE_S) == 0

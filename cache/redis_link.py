"""Commands to Redis over connections of one thread, which are closed at the first doubt.

redis-py's clients share connections through a pool. A caller that gives up on a command (a timeout, a cancelled task,
an exception in the middle) can leave its reply on the connection, to be read as the reply to somebody else's next
command. Here a connection belongs to one thread, commands are sent and replies are read in one place (`Node.call`),
and the connection is closed if that place can't read every reply to its end. Callers with less patience wait on a
future (`io_thread.py`): they may leave without affecting the command.
"""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import redis
from redis.backoff import NoBackoff
from redis.connection import Connection, SSLConnection
from redis.crc import key_slot
from redis.exceptions import AskError, ExecAbortError, MovedError, ReadOnlyError, RedisError, ResponseError
from redis.retry import Retry

from pricegrid.cache.protocol import CacheUnavailableError
from pricegrid.cache.redis_options import Address, Layout, RedisOptions

REDIRECTS_MAX: Final = 3

Command = Sequence[Any]
Clock = Callable[[], float]


class LinkError(CacheUnavailableError):
    """Redis is unreachable, or did not reply."""

    def __init__(self, text: str, *, sent: bool) -> None:
        super().__init__(text)
        self.sent = sent
        """Whether the commands may have reached Redis, and may still take effect."""


@dataclass(frozen=True, slots=True)
class Server:
    """The identity of a server. It differs for another process, and after a server has been a replica."""

    run_id: str
    replication_id: str
    primary: bool
    policy: str | None = field(default=None, compare=False)
    """`maxmemory-policy`: "" when memory has no limit, None when unknown."""

    @property
    def identity(self) -> str:
        """Identifies this primary, as long as it is one."""
        return f"{self.run_id}:{self.replication_id}"

    @classmethod
    def from_info(cls, *texts: Any) -> "Server":
        """From the replies to INFO."""
        for text in texts:
            if not isinstance(text, bytes):
                raise redis.ConnectionError(f"INFO failed: {text}")
        lines = b"\n".join(texts).decode("utf-8", "replace").splitlines()
        info = dict(line.split(":", 1) for line in lines if ":" in line)
        return cls(
            info.get("run_id", ""),
            info.get("master_replid", ""),
            info.get("role") == "master",
            policy_of(info.get("maxmemory"), info.get("maxmemory_policy")),
        )


def policy_of(limit: str | None, policy: str | None) -> str | None:
    """`Server.policy` from the values of `maxmemory` and `maxmemory-policy`."""
    return "" if limit == "0" else policy or None


INFO: Final[Sequence[Command]] = (("INFO", "server"), ("INFO", "replication"), ("INFO", "memory"))


class Node:
    """A connection to one address, opened on demand, with a backoff after failures."""

    def __init__(
        self,
        options: RedisOptions,
        address: Address,
        *,
        sentinel: bool = False,
        clock: Clock = time.monotonic,
    ) -> None:
        self.address = address
        self._options = options
        self._sentinel = sentinel
        self._clock = clock
        self._live: tuple[Connection, Server] | None = None
        self._failures = 0
        self._failure = ""
        self._retry_at_s = 0.0

    @property
    def retry_in_s(self) -> float:
        """Seconds until the next attempt is allowed."""
        return max(0.0, self._retry_at_s - self._clock())

    def server(self) -> Server:
        """The server at the other end of this connection."""
        return self._connect()[1]

    def _connect(self) -> tuple[Connection, Server]:
        if self._live is not None:
            return self._live
        if self.retry_in_s:
            raise LinkError(self._failure, sent=False)  # the cause, while it backs off
        connection = self._new()
        try:
            connection.connect()
            replies = () if self._sentinel else _call(connection, INFO, self._deadline_s(), self._clock)
        except (RedisError, OSError) as error:
            connection.disconnect()
            self._failed(error)
            raise LinkError(self._failure, sent=False) from error
        except BaseException:
            connection.disconnect()
            raise
        self._live, self._failures = (connection, Server.from_info(*replies)), 0
        return self._live

    def _new(self) -> Connection:
        options = self._options
        arguments: dict[str, Any] = {
            "host": self.address[0],
            "port": self.address[1],
            "username": (options.sentinel_username if self._sentinel else options.username) or None,
            "password": (options.sentinel_password if self._sentinel else options.password) or None,
            "db": 0 if self._sentinel else options.database,
            "socket_connect_timeout": options.connect_timeout_s,
            "socket_timeout": options.command_timeout_s,
            "retry": Retry(NoBackoff(), 0),
            "protocol": 2,
            "driver_info": None,
        }
        if not options.tls:
            return Connection(**arguments)
        files: dict[str, Any] = {
            "ssl_ca_certs": options.tls_ca_file,
            "ssl_certfile": options.tls_certificate_file,
            "ssl_keyfile": options.tls_key_file,
        }
        arguments |= {name: str(path) for name, path in files.items() if path}
        return SSLConnection(**arguments)

    def call(self, commands: Sequence[Command], timeout_s: float | None = None) -> list[Any]:
        """Sends commands and returns their replies, error replies included. Any other error closes the connection."""
        connection, _ = self._connect()
        try:
            return _call(connection, commands, self._deadline_s(timeout_s), self._clock)
        except (RedisError, OSError) as error:
            self._failed(error)
            raise LinkError(self._failure, sent=True) from error
        except BaseException:
            self.close()
            raise

    def _deadline_s(self, timeout_s: float | None = None) -> float:
        return self._clock() + (timeout_s or self._options.command_timeout_s)

    def _named(self) -> str:
        return f"{'sentinel' if self._sentinel else 'Redis'} {self.address[0]}:{self.address[1]}"

    def _failed(self, error: Exception) -> None:
        self.close()
        self._failure = f"{self._named()}: {error}"
        pause_s = min(self._options.retry_max_s, self._options.retry_first_s * 2 ** min(self._failures, 16))
        self._failures += 1
        self._retry_at_s = self._clock() + pause_s * random.uniform(0.5, 1)  # noqa: S311 - jitter

    def close(self) -> None:
        """Close the connection; the next use opens another."""
        live, self._live = self._live, None
        if live is not None:
            live[0].disconnect()


def _call(connection: Connection, commands: Sequence[Command], deadline_s: float, clock: Clock) -> list[Any]:
    connection.send_packed_command(connection.pack_commands(commands), check_health=False)
    replies: list[Any] = []
    for _ in commands:
        # The deadline is for all replies: a slow server must not get the full timeout for each of them.
        left_s = deadline_s - clock()
        if left_s <= 0:
            raise redis.TimeoutError("the replies took too long")
        try:
            replies.append(connection.read_response(timeout=left_s))
        except ResponseError as error:
            replies.append(error)
    return replies


class Link:
    """Sends commands to the node that holds their key. For one thread."""

    def __init__(self, options: RedisOptions, *, clock: Clock = time.monotonic) -> None:
        self.options = options
        self._clock = clock
        self._nodes: dict[Address, Node] = {}
        self._sentinels = [Node(options, address, sentinel=True, clock=clock) for address in options.nodes]
        self._primary: Address | None = None
        self._slots: dict[int, Address] = {}

    def server(self, key: str) -> Server:
        """The server that holds a key. Raises LinkError when it is not a primary."""
        node = self._node(key)
        try:
            server = node.server()
        except LinkError:
            self._forget(node)
            raise
        if not server.primary:
            self._forget(node)
            raise LinkError(f"Redis {node.address[0]}:{node.address[1]} is a replica", sent=False)
        return server

    def run(self, key: str, commands: Sequence[Command], timeout_s: float | None = None) -> list[Any]:
        """The replies to commands for the slot of one key, error replies included. A redirection is followed; raises
        LinkError when that fails."""
        for _ in range(REDIRECTS_MAX):
            node = self._node(key)
            try:
                replies = node.call(commands, timeout_s)
            except LinkError:
                self._forget(node)
                raise
            elsewhere = [reply for reply in replies if isinstance(reply, (AskError, ReadOnlyError))]
            if not elsewhere:
                return replies
            self._redirect(key, node, elsewhere[0])
            if not all(
                isinstance(r, (AskError, ExecAbortError, ReadOnlyError)) or r == b"OK" for r in replies
            ):
                raise LinkError(f"{self.options}: the slot moved in the middle: {elsewhere[0]}", sent=True)
        raise LinkError(f"{self.options}: too many redirections", sent=False)

    def run_each(self, items: Sequence[tuple[str, Command]]) -> list[Any]:
        """The replies to single commands, each given with its key; one call per node."""
        replies: list[Any] = [None] * len(items)
        by_node: dict[Address, tuple[Node, list[int]]] = {}
        for index, (key, _) in enumerate(items):
            node = self._node(key)
            by_node.setdefault(node.address, (node, []))[1].append(index)
        for node, indices in by_node.values():
            try:
                own = node.call([items[index][1] for index in indices])
            except LinkError:
                self._forget(node)
                raise
            for index, reply in zip(indices, own, strict=True):
                moved = isinstance(reply, (AskError, ReadOnlyError))
                replies[index] = self.run(items[index][0], [items[index][1]])[0] if moved else reply
        return replies

    def _redirect(self, key: str, node: Node, reply: ResponseError) -> None:
        if isinstance(reply, MovedError):
            self._slots[key_slot(key.encode())] = (reply.host or node.address[0], reply.port)
            return
        self._forget(node)
        raise LinkError(f"{self.options}: {reply}", sent=False)

    def _forget(self, node: Node) -> None:
        """Find the holder of this node's keys again."""
        node.close()
        self._primary = None
        self._slots = {slot: address for slot, address in self._slots.items() if address != node.address}

    def _node(self, key: str) -> Node:
        match self.options.layout:
            case Layout.STANDALONE:
                address = self.options.nodes[0]
            case Layout.SENTINEL:
                address = self._primary = self._primary or self._ask_sentinels()
            case Layout.CLUSTER:
                slot = key_slot(key.encode())
                if slot not in self._slots:
                    self._ask_cluster()
                if slot not in self._slots:
                    raise LinkError(f"{self.options}: no node holds slot {slot}", sent=False)
                address = self._slots[slot]
        return self._at(address)

    def _at(self, address: Address) -> Node:
        return self._nodes.setdefault(address, Node(self.options, address, clock=self._clock))

    def _ask_sentinels(self) -> Address:
        problems: list[str] = []
        question = ("SENTINEL", "get-master-addr-by-name", self.options.service)
        for sentinel in self._sentinels:
            try:
                (reply,) = sentinel.call([question], self.options.connect_timeout_s)
            except LinkError as error:
                problems.append(str(error))
            else:
                if isinstance(reply, list) and len(reply) == 2:
                    return reply[0].decode(), int(reply[1])
                problems.append(f"sentinel {sentinel.address}: knows no primary {self.options.service!r}")
        raise LinkError("; ".join(problems), sent=False)

    def _ask_cluster(self) -> None:
        problems: list[str] = []
        for address in dict.fromkeys((*self._nodes, *self.options.nodes)):
            try:
                (reply,) = self._at(address).call([("CLUSTER", "SLOTS")], self.options.connect_timeout_s)
            except LinkError as error:
                problems.append(str(error))
                continue
            if isinstance(reply, list):
                self._slots = {
                    slot: (holder[0].decode() or address[0], int(holder[1]))
                    for first, last, holder, *_ in reply
                    for slot in range(first, last + 1)
                }
                return
            problems.append(f"Redis {address[0]}:{address[1]}: {reply}")
        raise LinkError("; ".join(problems), sent=False)

    @property
    def retry_in_s(self) -> float:
        """Seconds until the next attempt is allowed."""
        waiting = [node.retry_in_s for node in (*self._nodes.values(), *self._sentinels)]
        return min((pause for pause in waiting if pause), default=self.options.retry_first_s)

    def close(self) -> None:
        """Close all connections."""
        for node in (*self._nodes.values(), *self._sentinels):
            node.close()

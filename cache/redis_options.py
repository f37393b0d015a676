"""The options of a Redis: one value, validated when it is made, whose text never shows a secret."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from enum import Enum
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

Address = tuple[str, int]

PORT: Final = 6379
SENTINEL_PORT: Final = 26379
LOG_CHANGES_MIN: Final = 1000
"""Greater than what one call of `commit` sends at once, so that it finds its commits in the log."""


class Layout(Enum):
    """How the primary is found."""

    STANDALONE = "standalone"
    """At a fixed address, which may be a load balancer's."""
    SENTINEL = "sentinel"
    """Sentinels are asked which server is the primary."""
    CLUSTER = "cluster"
    """The slot of a key determines its node. All state is in one slot; values are spread over the slots."""


@dataclass(frozen=True, slots=True)
class RedisOptions:
    """Where a Redis is and how to use it. Times are in seconds."""

    nodes: Sequence[Address]
    """Host and port of the server, of the sentinels, or of some nodes of the cluster."""
    layout: Layout = Layout.STANDALONE
    service: str = ""
    """The sentinels' name of the primary."""
    database: int = 0
    """Not for a cluster, which has only one."""
    username: str = ""
    password: str = field(default="", repr=False)
    sentinel_username: str = ""
    sentinel_password: str = field(default="", repr=False)
    tls: bool = False
    """For sentinels too."""
    tls_ca_file: Path | None = None
    """The trusted certificate authorities; by default the system's."""
    tls_certificate_file: Path | None = None
    tls_key_file: Path | None = None
    """The client certificate and its key, if the server requires one."""
    prefix: str = "pricegrid"
    """The prefix of every key; each installation that shares a Redis needs one of its own."""

    connect_timeout_s: float = 0.5
    command_timeout_s: float = 2.0
    """A connection that is silent for longer is closed."""
    commit_budget_s: float = 2.5
    """How long a caller waits for a conditional commit."""
    tell_budget_s: float = 0.25
    """How long a caller waits for an unconditional commit, before it is deferred."""
    refresh_budget_s: float = 0.05
    """How long `changes` waits for Redis, before it answers from the mirror."""
    value_budget_s: float = 0.02
    """How long a read of values waits for Redis."""
    retry_first_s: float = 0.05
    retry_max_s: float = 0.5
    """The first and the longest pause between attempts to connect; it doubles, and is shortened at random by up to a
    half."""
    poll_s: float = 0.1
    """How often to read others' changes and the health of the shared side when there are no calls."""

    heal_window_s: float = 1.5
    """How long servers have to restore the state after Redis restarted, failed over or was flushed."""
    heal_lease_s: float = 1.5
    """How long healing waits for a server that has begun to restore state and is silent."""
    wait_replicas: int = 0
    """A conditional commit is acknowledged only when this many replicas have it. With 1 or more, no failover loses it,
    and a primary that is cut off from its replicas acknowledges nothing."""
    wait_timeout_s: float = 0.5
    may_begin: int = 1
    """0: this host never begins a history. While Redis is empty and no connected server has any state, it waits and
    grants nothing. Set it on every host but the first."""
    any_eviction: int = 0
    """1: accept a server that does not report its maxmemory-policy. One that reports an evicting policy is always
    refused."""
    log_changes_max: int = 100_000
    """The approximate length of Redis' log in changes; a host that is further behind reads all records again."""

    def __post_init__(self) -> None:
        self._check_parts()
        for name in (f.name for f in fields(self) if f.name.endswith("_s")):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0")
        if self.retry_max_s < self.retry_first_s or self.retry_max_s >= self.heal_window_s:
            # A server that backs off longer than the window could come too late to restore what only it has.
            raise ValueError("retry_max_s must lie between retry_first_s and heal_window_s")
        if self.wait_timeout_s >= self.command_timeout_s:
            raise ValueError("wait_timeout_s must be below command_timeout_s")
        if self.wait_replicas < 0 or self.log_changes_max < LOG_CHANGES_MIN:
            raise ValueError(f"wait_replicas must be at least 0, log_changes_max at least {LOG_CHANGES_MIN}")

    def _check_parts(self) -> None:
        if not self.nodes:
            raise ValueError("no address of a Redis is given")
        if self.layout is Layout.STANDALONE and len(self.nodes) > 1:
            raise ValueError("several addresses need redis+sentinel:// or redis+cluster://")
        if (self.layout is Layout.SENTINEL) != bool(self.service):
            raise ValueError(
                "sentinels, and only they, need the name of a service: redis+sentinel://HOST/SERVICE"
            )
        if self.layout is Layout.CLUSTER and self.database:
            raise ValueError("a cluster has one database only")
        if self.username and not self.password:
            raise ValueError("a user name is given without a password")
        if bool(self.tls_certificate_file) != bool(self.tls_key_file):
            raise ValueError("a certificate and its key go together")
        if not self.tls and (self.tls_ca_file or self.tls_certificate_file):
            raise ValueError("certificates are given but the scheme does not say TLS (rediss://)")
        if not self.prefix or set(self.prefix) & set("{}\0"):
            raise ValueError("the prefix is empty or has a brace in it")

    def __str__(self) -> str:
        """The URL for messages, without user and password."""
        scheme = ("rediss" if self.tls else "redis") + {"standalone": ""}.get(
            self.layout.value, "+" + self.layout.value
        )
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.nodes)
        return f"{scheme}://{hosts}" + (f"/{self.service}" if self.service else "")

    @classmethod
    def from_url(cls, url: str, **options: Any) -> "RedisOptions":
        """Options from a URL; those given by name take precedence.

        redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE], rediss:// with TLS
        redis+sentinel://[USER:PASSWORD@]HOST[:PORT][,HOST[:PORT]...]/SERVICE[/DATABASE], rediss+sentinel://
        redis+cluster://[USER:PASSWORD@]HOST[:PORT][,HOST[:PORT]...], rediss+cluster://

        The query may set any option above by its name, and `password_file` and `sentinel_password_file`: the first line
        of a file, to keep secrets off the command line.
        """
        try:
            parts = urlsplit(url)
        except ValueError:  # whose text quotes what may be a password
            raise ValueError(
                "the URL of a Redis is no URL: in a password, escape what is not ASCII"
            ) from None
        scheme, _, layout = parts.scheme.partition("+")
        if scheme not in {"redis", "rediss"} or layout not in {"", "sentinel", "cluster"}:
            raise ValueError(
                "the URL of a Redis begins with redis://, redis+sentinel://, redis+cluster://, or rediss for TLS"
            )
        found: dict[str, Any] = {"layout": Layout(layout or "standalone"), "tls": scheme == "rediss"}
        login, _, hosts = parts.netloc.rpartition("@")
        user, _, password = login.partition(":")
        found["username"], found["password"] = unquote(user), unquote(password)
        default = SENTINEL_PORT if found["layout"] is Layout.SENTINEL else PORT
        found["nodes"] = tuple(_address(host, default) for host in hosts.split(",") if host)
        path = [unquote(step) for step in parts.path.split("/") if step]
        if found["layout"] is Layout.SENTINEL and path:
            found["service"] = path.pop(0)
        if path:
            found["database"] = _number("database", path.pop(0), int)
        if path:
            raise ValueError("the path of the Redis URL has too many parts")
        found.update(_queried(dict(parse_qsl(parts.query, keep_blank_values=True))))
        return cls(**{**found, **options})

    def with_options(self, **options: Any) -> "RedisOptions":
        """A copy with some options replaced."""
        return replace(self, **options)


def _address(text: str, default: int) -> Address:
    host, port = text, ""
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        port = port.removeprefix(":")
    elif ":" in text:
        host, _, port = text.rpartition(":")
    if not host:
        raise ValueError("an address of the Redis URL has no host")
    return host, _number("port", port, int) if port else default


def _number(name: str, text: str, kind: type[int] | type[float]) -> Any:
    try:
        return kind(text)
    except ValueError:
        raise ValueError(f"{name} of the Redis URL is not a number") from None


def _queried(query: dict[str, str]) -> dict[str, Any]:
    """Options from the query of a URL, converted to the types of the fields."""
    kinds: dict[str, Any] = {f.name: f.type for f in fields(RedisOptions)}
    found: dict[str, Any] = {}
    for name, text in query.items():
        secret = name.removesuffix("_file")
        if name in {"password_file", "sentinel_password_file"}:
            lines = Path(text).read_text(encoding="utf-8").splitlines()
            found[secret] = lines[0] if lines else ""
        elif name not in kinds or name in {"nodes", "layout", "tls", "service", "database"}:
            shown = name if name.isidentifier() else "what begins with ?, which a password escapes as %3F"
            raise ValueError(f"the Redis URL has an unknown option: {shown}")
        elif kinds[name] in {int, float}:
            found[name] = _number(name, text, kinds[name])
        else:
            found[name] = text if kinds[name] is str else Path(text)
    return found

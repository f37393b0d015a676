"""Where a server may listen: on a port of its own, and where nobody reaches what nobody guards."""

import contextlib
import ipaddress
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pricegrid.service.process.supervisor import ServeOptions


class ServeError(Exception):
    """The server can't start; the text says why."""


def is_loopback(host: str) -> bool:
    """Whether an address is reachable from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@contextlib.contextmanager
def reserved_port(host: str, port: int) -> Iterator[int]:
    """Holds a port (0: a free one) that the workers share; raises `ServeError` if another server uses it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with (
        socket.socket(family, socket.SOCK_STREAM) as probe,
        socket.socket(family, socket.SOCK_STREAM) as held,
    ):
        try:
            # With SO_REUSEPORT alone the port would be shared with another server of the same user: probe without it.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            chosen = int(probe.getsockname()[1])
            probe.listen(1)
            probe.close()
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            held.bind((host, chosen))
        except OSError as error:
            raise ServeError(f"can't serve on {host}:{port}: {error.strerror}") from error
        yield chosen


def check_reach(options: "ServeOptions") -> None:
    """Raises ServeError for a port that others could reach and nobody would guard."""
    if not (options.metrics_port is None or options.allow_remote or is_loopback(options.metrics_host)):
        raise ServeError(
            f"{options.metrics_host} can be reached from other machines, and nobody is asked who reads metrics: keep "
            "--metrics-host on loopback, or pass --allow-remote if only your monitoring reaches it"
        )
    if options.unix_socket is not None:
        if options.auth is not None and options.auth.tls is not None:
            raise ServeError(
                "the file of --auth has [tls], which is not spoken on a --socket: leave it out, and [[certificate]] too"
            )
        return
    if options.allow_remote or is_loopback(options.host):
        return
    if options.auth is None:
        raise ServeError(
            f"{options.host} can be reached from other machines, and without --auth whoever reaches it may ask and "
            "change everything: say who may call with --auth FILE (docs/identity.md), or pass --allow-remote if a "
            "proxy before it knows its callers"
        )
    if options.auth.tls is None:
        raise ServeError(
            f"{options.host} can be reached from other machines, and tokens would cross the network in the clear: add "
            "[tls] to the file of --auth (docs/identity.md), or pass --allow-remote if a proxy before it ends TLS"
        )

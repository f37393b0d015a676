"""Sockets on which a server listens: ports that servers share, and unix sockets that they are given."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import ssl

BACKLOG: Final = 1024
_KEEPS_FILE: Final[Mapping[str, Any]] = {"cleanup_socket": False}


def bound(address: str) -> socket.socket:
    """A socket at `host:port`, which others may share. Raises RuntimeError, as gRPC does."""
    host, _, port = address.rpartition(":")
    try:
        found = socket.getaddrinfo(
            host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, kind, protocol, _, where = found[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(where)
        listener.setblocking(False)
    except (OSError, ValueError) as error:
        raise RuntimeError(f"Failed to bind to address {address}: {error}") from None
    return listener


async def listening(
    loop: asyncio.AbstractEventLoop,
    make: Callable[[], asyncio.BaseProtocol],
    listener: socket.socket,
    context: ssl.SSLContext | None,
    *,
    handshake_s: float,
    closing_s: float,
) -> asyncio.AbstractServer:
    """Takes connections from a socket, with TLS if there is a context."""
    settings: dict[str, Any] = {"sock": listener.dup(), "ssl": context, "backlog": BACKLOG}
    if context is not None:
        settings |= {"ssl_handshake_timeout": handshake_s, "ssl_shutdown_timeout": closing_s}
    if listener.family == socket.AF_UNIX:
        # its file is the supervisor's: the library would remove it with the first worker that stops
        return await loop.create_unix_server(make, **settings, **_KEEPS_FILE)
    return await loop.create_server(make, **settings)

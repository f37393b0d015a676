"""How a client says who it is: a token with every call, a certificate in the handshake."""

from __future__ import annotations

import ipaddress
import os
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Never, Self

import grpc

if TYPE_CHECKING:
    import ssl

Token = str | Callable[[], str]
"""A bearer token, or a function that returns the one to send now; it is called before every call."""

_LOOPBACK_NAMES: Final = {"localhost", "ip6-localhost"}


class TokenFile:
    """A token in a file, read again when the file changes, so that whoever renews tokens need not restart a client."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._lock = threading.Lock()
        self._seen: tuple[int, ...] = ()
        self._token = ""

    def __call__(self) -> str:
        """The token as it is now; raises OSError, and ValueError for a file that holds none."""
        with self._lock:
            status = self._path.stat()
            seen = (status.st_ino, status.st_mtime_ns, status.st_size)
            if seen != self._seen:
                token = self._path.read_text(encoding="ascii").strip()
                if not token or len(token.split()) != 1:
                    raise ValueError(f"{self._path} holds no token")
                self._token, self._seen = token, seen
            return self._token

    def __repr__(self) -> str:
        return f"TokenFile({str(self._path)!r})"


def token_of(token: Token | None, token_file: str | os.PathLike[str] | None) -> Token | None:
    """The one of both that is given; ValueError for both."""
    if token is not None and token_file is not None:
        raise ValueError("give either a token or a file that holds it")
    return TokenFile(token_file) if token_file is not None else token


class TokenChannel(grpc.Channel):
    """A channel that sends a token with each call; it takes the forms of a call that the client uses."""

    def __init__(self, channel: grpc.Channel, token: Token) -> None:
        self._channel = channel
        self._token = token if callable(token) else lambda: token

    def _with_token(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def tokened(request: Any, timeout: float | None = None) -> Any:
            return call(request, timeout=timeout, metadata=(("authorization", f"Bearer {self._token()}"),))

        return tokened

    def unary_unary(self, *args: Any, **settings: Any) -> Any:
        """The call of one method."""
        return self._with_token(self._channel.unary_unary(*args, **settings))

    def unary_stream(self, *args: Any, **settings: Any) -> Any:
        """The call of a method that streams responses."""
        return self._with_token(self._channel.unary_stream(*args, **settings))

    def stream_unary(self, *args: Any, **settings: Any) -> Any:
        """The call of a method that takes a stream."""
        return self._with_token(self._channel.stream_unary(*args, **settings))

    def stream_stream(self, *_: Any, **__: Any) -> Never:
        """Not offered."""
        raise NotImplementedError

    def subscribe(self, *args: Any, **settings: Any) -> None:
        """As the channel below."""
        self._channel.subscribe(*args, **settings)

    def unsubscribe(self, *args: Any, **settings: Any) -> None:
        """As the channel below."""
        self._channel.unsubscribe(*args, **settings)

    def close(self) -> None:
        """Ends the connection."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def open_channel(
    address: str,
    options: list[tuple[str, Any]],
    *,
    token: Token | None = None,
    root_certificates: bytes | None = None,
    client_certificate: tuple[bytes, bytes] | None = None,
    use_tls: bool | None = None,
    over: Callable[[Callable[[], grpc.Channel], ssl.SSLContext | None], grpc.Channel] | None = None,
) -> grpc.Channel:
    """A channel to a server, with TLS when certificates are given or `use_tls` says so.

    `over` makes another channel of what opens that of grpcio, and of the TLS that it is to speak. Raises ValueError
    when a token would cross a network in the clear.
    """
    context = None
    if speaks_tls(address, token, root_certificates, client_certificate, use_tls=use_tls):
        chain, key = client_certificate or (None, None)
        credentials = grpc.ssl_channel_credentials(root_certificates, key, chain)
        opened = partial(grpc.secure_channel, address, credentials, options=options)
        if over is not None:
            from pricegrid.http2_calls import client_context

            context = client_context(root_certificates, client_certificate)
    else:
        opened = partial(grpc.insecure_channel, address, options=options)
    channel = opened() if over is None else over(opened, context)
    return channel if token is None else TokenChannel(channel, token)


def speaks_tls(
    address: str,
    token: Token | None,
    root_certificates: bytes | None,
    client_certificate: tuple[bytes, bytes] | None,
    *,
    use_tls: bool | None,
) -> bool:
    """Whether a channel with these settings speaks TLS; ValueError when a token would cross a network in the clear."""
    has_certificates = root_certificates is not None or client_certificate is not None
    if use_tls or (use_tls is None and has_certificates):
        return True
    if has_certificates:
        raise ValueError("certificates are given and use_tls is False")
    if token is not None and not _stays_here(address):
        raise ValueError(
            f"a token would cross the network to {address} in the clear: give root_certificates, or use_tls=True "
            "for those that this system trusts"
        )
    return False


def _stays_here(address: str) -> bool:
    """Whether an address is on this machine."""
    if address.startswith(("unix:", "unix-abstract:")):
        return True
    host = address.rpartition(":")[0].strip("[]")
    if host in _LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

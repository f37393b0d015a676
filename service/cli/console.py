"""`pricegrid console`: the pages of the console, in a process of their own that asks a server."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pricegrid
from pricegrid.service.cli.client import add_identity_arguments, tls_settings, token_file
from pricegrid.service.cli.text import UsageError

if TYPE_CHECKING:
    import grpc

    from pricegrid.service.console.app import Console

_HEALTH_TIMEOUT_S: Final = 2.0
_STOP_S: Final = 2.0


def add_console_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `console`."""
    parser.add_argument(
        "--address", metavar="HOST:PORT", required=True, help="the server to ask; or unix:PATH"
    )
    parser.add_argument(
        "--store",
        metavar="DIR",
        type=Path,
        help="the store that this server serves, if it is on this host: to find customers and items, and for snapshots",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    parser.add_argument(
        "--port", type=_port, default=8080, help="port; 0 picks a free one (default %(default)s)"
    )
    parser.add_argument(
        "--allow-remote",
        action="store_true",
        help="allow a --host that other machines can reach: a proxy before it ends TLS (docs/console.md)",
    )
    add_identity_arguments(parser)


def run_console(args: argparse.Namespace) -> int:
    """Shows pages until SIGTERM or SIGINT."""
    console = console_of(args)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s console %(message)s")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(console, args.host, args.port))
    return 0


def console_of(args: argparse.Namespace) -> Console:
    """What to show, as the options say; raises UsageError."""
    from pricegrid.service.console.app import Console
    from pricegrid.service.process.reach import is_loopback

    if args.address is None:
        raise UsageError("the console asks a server: name it with --address, beside --store")
    if args.store is not None:
        _use_store(args.store)
    named = token_file(args)
    if not is_loopback(args.host):
        if named is not None:
            raise UsageError(
                "--token-file lets whoever reaches the console ask as its holder: on loopback only"
            )
        if not args.allow_remote:
            raise UsageError(
                f"{args.host} can be reached from other machines, and tokens would cross the network in the clear: "
                "pass --allow-remote if a proxy before the console ends TLS (docs/console.md)"
            )
    about = f"Server {args.address}" + (f", store {args.store}" if args.store else "")
    return Console(GrpcServer(args, named), about, args.store, is_behind_proxy=not is_loopback(args.host))


def _use_store(store: Path) -> None:
    from pricegrid.loaders.inspection import is_store
    from pricegrid.service.process.kernel_build import provide
    from pricegrid.service.process.kernel_cache import use_kernel_cache

    if not is_store(store):
        raise UsageError(f"--store: {store} is no snapshot store")
    use_kernel_cache(os.environ)
    provide("snapshots", store, os.environ, sys.stderr)


class GrpcServer:
    """A server behind one channel, asked as whoever a token names."""

    def __init__(self, args: argparse.Namespace, named: str | None) -> None:
        from pricegrid.client import RECEIVE_BYTES_MAX, SERVICE_CONFIG
        from pricegrid.credentials import TokenFile, open_channel, speaks_tls

        settings = tls_settings(args)
        self._own = None if named is None else TokenFile(named)
        options = [
            ("grpc.max_receive_message_length", RECEIVE_BYTES_MAX),
            ("grpc.service_config", SERVICE_CONFIG),
        ]
        self._channel = open_channel(args.address, options, **settings)
        certificates = (settings.get("root_certificates"), settings.get("client_certificate"))
        try:
            speaks_tls(args.address, "a token", *certificates, use_tls=None)
            self._carries_tokens = True
        except ValueError as error:
            if named is not None:
                raise UsageError(str(error)) from None
            self._carries_tokens = False

    def client(self, token: str | None) -> pricegrid.Client:
        """A client that sends this token, else the console's own, if it has one."""
        return pricegrid.Client(channel=self._as(token))

    def health(self, token: str | None) -> Mapping[str, str]:
        """The health of the server and of each of its services, by name."""
        from pricegrid.service.cli.health import health_of, service_names

        channel = self._as(token)
        return {
            name.rpartition(".")[2] or "server": health_of(channel, name, _HEALTH_TIMEOUT_S)
            for name in ("", *service_names())
        }

    def _as(self, token: str | None) -> grpc.Channel:
        from pricegrid.credentials import TokenChannel

        sent = token or self._own
        if sent is None:
            return self._channel
        if not self._carries_tokens:
            raise pricegrid.UnauthenticatedError(
                "the token would cross the network in the clear: start the console with --tls-ca",
                reason="UNAUTHENTICATED",
            )
        return TokenChannel(self._channel, sent)


async def _serve(console: Console, host: str, port: int) -> None:
    from aiohttp import web

    from pricegrid.service.console.app import application

    runner = web.AppRunner(application(console), access_log=None, shutdown_timeout=_STOP_S)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        for address in runner.addresses:
            shown = f"[{address[0]}]" if ":" in address[0] else address[0]
            print(f"console on http://{shown}:{address[1]}/", flush=True)
        ended = asyncio.Event()
        for each in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(each, ended.set)
        await ended.wait()
    finally:
        await runner.cleanup()


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port, 0 to 65535")
    return int(text)

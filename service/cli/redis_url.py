"""`--redis-url`, and the variable that stands for it: of the two only the variable may hold a password."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from pricegrid.cache.redis_options import RedisOptions
from pricegrid.service.cli.text import UsageError

REDIS_VARIABLE: Final = "PRICEGRID_REDIS_URL"
_SECRETS: Final = frozenset({"password", "sentinel_password"})


def add_redis_url(parser: argparse.ArgumentParser, help_text: str) -> None:
    """The option `--redis-url`; `redis_from` reads it."""
    parser.add_argument(
        "--redis-url", metavar="URL", type=_argument, help=f"{help_text} (default: {REDIS_VARIABLE})"
    )


def redis_from(args: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> RedisOptions | None:
    """The Redis that the option names, or else the variable; None: neither does. Raises UsageError."""
    given: RedisOptions | None = args.redis_url
    if given is not None or not environment.get(REDIS_VARIABLE):
        return given
    try:
        return _options(environment[REDIS_VARIABLE])
    except ValueError as error:
        raise UsageError(f"{REDIS_VARIABLE}: {error}") from None


def _argument(text: str) -> RedisOptions:
    try:
        if _holds_secret(text):
            raise ValueError(
                "it holds a password, which every user of this machine can read: write ?password_file=FILE, or the "
                f"URL into {REDIS_VARIABLE}"
            )
        return _options(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _holds_secret(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False  # it is refused for that
    _, _, password = parts.netloc.rpartition("@")[0].partition(":")
    return bool(password) or not _SECRETS.isdisjoint(name for name, _ in parse_qsl(parts.query))


def _options(url: str) -> RedisOptions:
    try:
        return RedisOptions.from_url(url)
    except OSError as error:
        raise ValueError(f"a file that the Redis URL names can't be read: {error}") from None

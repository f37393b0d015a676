"""`pricegrid accept-loss`: an operator's word that what a shared Redis has left is all there is."""

import argparse
import getpass
import sys

from pricegrid.cache.protocol import CacheError
from pricegrid.cache.redis_options import RedisOptions


def add_accept_loss_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `accept-loss`."""
    parser.add_argument(
        "--redis-url", metavar="URL", required=True, type=_redis, help="the Redis that servers wait for"
    )
    parser.add_argument(
        "--reason",
        metavar="TEXT",
        required=True,
        help="why nobody can bring it any more; kept with the state",
    )


def run_accept_loss(args: argparse.Namespace) -> int:
    """1: no server waits for anything, or Redis can't be asked."""
    from pricegrid.cache.redis_accept import accept

    try:
        missing = accept(args.redis_url, getpass.getuser(), args.reason)
    except CacheError as error:
        print(f"pricegrid: {error}", file=sys.stderr)
        return 1
    if missing is None:
        print("no server waits for anything: nothing was accepted")
        return 1
    messages, records = missing
    print(f"accepted without {messages} messages and {records} records; servers go on with what there is")
    return 0


def _redis(text: str) -> RedisOptions:
    try:
        return RedisOptions.from_url(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None

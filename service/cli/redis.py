"""`pricegrid accept-loss`: an operator's word that what a shared Redis has left is all there is."""

import argparse
import getpass
import sys

from pricegrid.cache.protocol import CacheError
from pricegrid.service.cli.redis_url import REDIS_VARIABLE, add_redis_url, redis_from
from pricegrid.service.cli.text import UsageError


def add_accept_loss_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `accept-loss`."""
    add_redis_url(parser, "the Redis that servers wait for")
    parser.add_argument(
        "--reason",
        metavar="TEXT",
        required=True,
        help="why nobody can bring it any more; kept with the state",
    )


def run_accept_loss(args: argparse.Namespace) -> int:
    """1: no server waits for anything, or Redis can't be asked."""
    from pricegrid.cache.redis_accept import accept

    redis = redis_from(args)
    if redis is None:
        raise UsageError(f"--redis-url is required; {REDIS_VARIABLE} can say it too")
    try:
        missing = accept(redis, getpass.getuser(), args.reason)
    except CacheError as error:
        print(f"pricegrid: {error}", file=sys.stderr)
        return 1
    if missing is None:
        print("no server waits for anything: nothing was accepted")
        return 1
    messages, records = missing
    print(f"accepted without {messages} messages and {records} records; servers go on with what there is")
    return 0

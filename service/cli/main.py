"""The `pricegrid` command: which subcommands there are, and how they end (0 done, 1 answered no, 2 bad usage)."""

import argparse
import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from types import MappingProxyType

from pricegrid.cache.protocol import CacheError
from pricegrid.service.cli.text import UsageError
from pricegrid.service.process.kernel_cache import use_kernel_cache


@dataclass(frozen=True, slots=True)
class Command:
    """A subcommand; its module is imported when it is called."""

    summary: str
    module: str
    name: str
    """Of `add_NAME_arguments(parser)` and `run_NAME(args) -> int` in the module."""
    intermixed: bool = True
    """Options may stand between positionals; not where it has subcommands of its own."""


COMMANDS: Mapping[str, Command] = MappingProxyType(
    {
        "demo": Command(
            "make up a distributor, load it, serve it and price a basket",
            "pricegrid.service.cli.demo",
            "demo",
        ),
        "load": Command(
            "validate a dataset and publish it as a snapshot", "pricegrid.loaders.publish", "load"
        ),
        "snapshots": Command(
            "list, compare and activate snapshots",
            "pricegrid.loaders.store.commands",
            "snapshots",
            intermixed=False,
        ),
        "serve": Command("serve a store over gRPC", "pricegrid.service.cli.serve", "serve"),
        "quote": Command(
            "prices and availability of a customer's lines", "pricegrid.service.cli.quote", "quote"
        ),
        "explain": Command("why the price of a line is what it is", "pricegrid.service.cli.quote", "explain"),
        "availability": Command(
            "what is free at which branch", "pricegrid.service.cli.availability", "availability"
        ),
        "erp": Command(
            "check the ERP, flag exceptions, and look after its kept and refused answers",
            "pricegrid.service.cli.erp",
            "erp",
            intermixed=False,
        ),
        "flags": Command(
            "flag customers, items and books: their lines are exceptions",
            "pricegrid.service.cli.flags",
            "flags",
            intermixed=False,
        ),
        "parity": Command("compare ordinary prices with the ERP's", "pricegrid.service.cli.parity", "parity"),
        "reserve": Command("hold stock for a customer", "pricegrid.service.cli.reservations", "reserve"),
        "confirm": Command(
            "make a reservation permanent, for an order", "pricegrid.service.cli.reservations", "confirm"
        ),
        "release": Command(
            "give back a reservation, or part of it", "pricegrid.service.cli.reservations", "release"
        ),
        "extend": Command("hold a reservation longer", "pricegrid.service.cli.reservations", "extend"),
        "reservation": Command(
            "how one reservation stands", "pricegrid.service.cli.reservations", "reservation"
        ),
        "reservations": Command("what is reserved", "pricegrid.service.cli.reservations", "reservations"),
        "events": Command(
            "publish inventory events", "pricegrid.service.cli.events", "events", intermixed=False
        ),
        "dead-letters": Command(
            "what could not be applied: list, show, replay, drop",
            "pricegrid.service.cli.dead_letters",
            "dead_letters",
            intermixed=False,
        ),
        "accept-loss": Command(
            "let servers go on without what a shared Redis lost", "pricegrid.service.cli.redis", "accept_loss"
        ),
        "kernels": Command(
            "build, check and list compiled kernels",
            "pricegrid.service.cli.kernels",
            "kernels",
            intermixed=False,
        ),
        "promise": Command(
            "when, from where and how much can be shipped", "pricegrid.service.cli.promise", "promise"
        ),
    }
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    use_kernel_cache(os.environ)
    try:
        return _run(words)
    except SystemExit as end:  # argparse ends so, after it has said why
        return end.code if isinstance(end.code, int) else 0
    except UsageError as error:
        print(f"pricegrid: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Who read our output has seen enough. Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (OSError, CacheError) as error:  # a store that can't be written, a disk that is full
        print(f"pricegrid: {error}", file=sys.stderr)
        return 1


def _run(words: list[str]) -> int:
    if not words:
        _overview().print_help(sys.stderr)
        return 2
    if words[0] not in COMMANDS:
        _overview().parse_args(words[:1])  # --help, --version, or no such command: it ends here
    command = COMMANDS[words[0]]
    module = importlib.import_module(command.module)
    parser = argparse.ArgumentParser(
        prog=f"pricegrid {words[0]}", description=f"{command.summary.capitalize()}.", allow_abbrev=False
    )
    getattr(module, f"add_{command.name}_arguments")(parser)
    args = parser.parse_intermixed_args(words[1:]) if command.intermixed else parser.parse_args(words[1:])
    from pricegrid.service.process.kernel_build import provide

    provide(words[0], getattr(args, "store", None), os.environ, sys.stderr)
    return int(getattr(module, f"run_{command.name}")(args))


def _overview() -> argparse.ArgumentParser:
    width = max(map(len, COMMANDS))
    parser = argparse.ArgumentParser(
        prog="pricegrid",
        description="Contract prices and availability for distributors, over gRPC from memory-mapped snapshots.",
        epilog="commands:\n"
        + "\n".join(f"  {name:<{width}}  {command.summary}" for name, command in COMMANDS.items())
        + "\n\n`pricegrid COMMAND --help` says more. Exit codes: 0 done, 1 answered no, 2 bad usage.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"pricegrid {version('pricegrid')}")
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="one of those below")
    return parser


if __name__ == "__main__":
    sys.exit(main())

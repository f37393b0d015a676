"""The `pricegrid` command: which subcommands there are, and how they end (0 done, 1 answered no, 2 bad usage).

A command costs what it uses: its options are in a module that imports nothing heavy, and whatever answers is imported
when the options are read.
"""

from __future__ import annotations

import argparse
import atexit
import gc
import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, NoReturn

from pricegrid.columnar.kernel_mode import EXTENSION_VARIABLE
from pricegrid.service.cli.parser import Parser, did_you_mean, fill_in, use_environment
from pricegrid.service.cli.text import UsageError

DESCRIPTION: Final = (
    "Contract prices and availability for distributors, over gRPC from memory-mapped snapshots."
)
EXIT_CODES: Final = "Exit codes: 0 done, 1 answered no, 2 bad usage."
_COMPLETING: Final = "_ARGCOMPLETE"
"""Set by the shell that wants to know how a command line could go on."""
_CLI: Final = "pricegrid.service.cli"


@dataclass(frozen=True, slots=True)
class Command:
    """A subcommand; its modules are imported when it is called."""

    group: str
    summary: str
    module: str
    name: str
    """Of `add_NAME_arguments(parser)` in `module` and `run_NAME(args) -> int` in `runs`."""
    runs: str = ""
    """The module that runs it, where that is another one."""
    intermixed: bool = True
    """Options may stand between positionals; not where it has subcommands of its own."""
    may_log: bool = False
    """It shows its progress on a terminal, and keeps a log if it is told in which format."""
    uses_kernels: bool = False
    """Whatever it is asked; the others say so themselves when they need them."""


_ASK, _HOLD, _FOLLOW = "Ask", "Hold stock", "Follow the warehouse"
_LOAD, _SERVE, _ERP, _SHELL = "Load", "Serve", "Compare with the ERP", "In the shell"
_PARTNERS: Final = "Exchange with partners"
_BRIEF: Final = frozenset({_ASK, _HOLD, _FOLLOW})
_SERVERS: Final = frozenset({"demo", "serve"})
_ANSWERED_AT_ONCE: Final = frozenset({"quote", "explain"})
"""They leave no garbage that would be worth looking for."""
COMMANDS: Mapping[str, Command] = MappingProxyType(
    {
        "demo": Command(
            _SERVE, "make up a distributor, load it, serve it and price a basket", f"{_CLI}.demo", "demo"
        ),
        "serve": Command(_SERVE, "serve a store over gRPC", f"{_CLI}.serve", "serve", uses_kernels=True),
        "health": Command(
            _SERVE, "whether a server is ready, service by service", f"{_CLI}.health", "health"
        ),
        "console": Command(
            _SERVE, "pages for people: prices, stock, snapshots, dead letters", f"{_CLI}.console", "console"
        ),
        "token": Command(
            _SERVE, "make keys and tokens for first steps", f"{_CLI}.token", "token", intermixed=False
        ),
        "openapi": Command(
            _SERVE, "print what can be asked over HTTP, as an OpenAPI document", f"{_CLI}.openapi", "openapi"
        ),
        "accept-loss": Command(
            _SERVE, "let servers go on without what a shared Redis lost", f"{_CLI}.redis", "accept_loss"
        ),
        "load": Command(
            _LOAD,
            "validate a dataset and publish it as a snapshot",
            "pricegrid.loaders.arguments",
            "load",
            runs="pricegrid.loaders.publish",
            may_log=True,
            uses_kernels=True,
        ),
        "snapshots": Command(
            _LOAD,
            "list, compare and activate snapshots",
            "pricegrid.loaders.arguments",
            "snapshots",
            runs="pricegrid.loaders.store.commands",
            intermixed=False,
            uses_kernels=True,
        ),
        "quote": Command(_ASK, "prices and availability of a customer's lines", f"{_CLI}.quote", "quote"),
        "explain": Command(_ASK, "why the price of a line is what it is", f"{_CLI}.quote", "explain"),
        "availability": Command(_ASK, "what is free at which branch", f"{_CLI}.availability", "availability"),
        "promise": Command(
            _ASK, "when, from where and how much can be shipped", f"{_CLI}.promise", "promise"
        ),
        "reserve": Command(_HOLD, "hold stock for a customer", f"{_CLI}.reservations", "reserve"),
        "confirm": Command(
            _HOLD, "make a reservation permanent, for an order", f"{_CLI}.reservations", "confirm"
        ),
        "release": Command(
            _HOLD, "give back a reservation, or part of it", f"{_CLI}.reservations", "release"
        ),
        "extend": Command(_HOLD, "hold a reservation longer", f"{_CLI}.reservations", "extend"),
        "reservation": Command(_HOLD, "how one reservation stands", f"{_CLI}.reservations", "reservation"),
        "reservations": Command(_HOLD, "what is reserved", f"{_CLI}.reservations", "reservations"),
        "orders": Command(
            _HOLD,
            "check a whole order against what its buyer expects, and show what was answered",
            f"{_CLI}.orders",
            "orders",
            intermixed=False,
        ),
        "events": Command(_FOLLOW, "publish inventory events", f"{_CLI}.events", "events", intermixed=False),
        "dead-letters": Command(
            _FOLLOW,
            "what could not be applied: list, show, replay, drop",
            f"{_CLI}.dead_letters",
            "dead_letters",
            intermixed=False,
        ),
        "inspect": Command(
            _LOAD, "what is in a file, a dataset or a store", f"{_CLI}.inspect", "inspect", uses_kernels=True
        ),
        "erp": Command(
            _ERP,
            "check the ERP, flag exceptions, and look after its kept and refused answers",
            f"{_CLI}.erp",
            "erp",
            intermixed=False,
        ),
        "flags": Command(
            _ERP,
            "flag customers, items and books: their lines are exceptions",
            f"{_CLI}.flags",
            "flags",
            intermixed=False,
        ),
        "parity": Command(
            _ERP,
            "compare ordinary prices with the ERP's",
            f"{_CLI}.parity_options",
            "parity",
            runs=f"{_CLI}.parity",
            uses_kernels=True,
        ),
        "edi": Command(
            _PARTNERS, "check files of EDI, and turn them into tables", f"{_CLI}.edi", "edi", intermixed=False
        ),
        "kernels": Command(
            _SHELL,
            "build, check and list compiled kernels",
            f"{_CLI}.kernels",
            "kernels",
            intermixed=False,
            uses_kernels=True,
        ),
        "completion": Command(
            _SHELL,
            "complete commands and options: for bash, zsh or fish",
            f"{_CLI}.completion",
            "completion",
        ),
    }
)
SERVER_PACKAGES: Final = frozenset(
    {
        "aiohttp",
        "cryptography",
        "grpc_health",
        "grpc_reflection",
        "jwt",
        "llvmlite",
        "numba",
        "numpy",
        "polars",
        "prometheus_client",
        "redis",
        "yarl",
    }
)
"""What the extras `server` and `kernels` install, by the names that are imported."""


def entry() -> NoReturn:
    """Runs the command as the whole process.

    One that asks and answers ends at once: Python would take a tenth of its time to take apart what was imported. So
    does a server, whose port is wanted by the next; what is to be done at its end is done.
    """
    word = sys.argv[1] if len(sys.argv) > 1 else ""
    if word in _ANSWERED_AT_ONCE:
        gc.disable()
    code = main()
    if word in _SERVERS or (word in COMMANDS and COMMANDS[word].group in _BRIEF):
        if word in _SERVERS:
            atexit._run_exitfuncs()  # noqa: SLF001 -- there is no other door to them
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except BrokenPipeError:
            code = code or 1
        os._exit(code)
    sys.exit(code)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
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
    except OSError as error:  # a store that can't be written, a disk that is full
        print(f"pricegrid: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in SERVER_PACKAGES:
            raise
        without = "without --address " if COMMANDS[words[0]].group in _BRIEF else ""
        print(f"pricegrid: {words[0]} {without}{_needs(missing)}", file=sys.stderr)
        return 1
    except Exception as error:
        from pricegrid.cache.protocol import CacheError

        if not isinstance(error, CacheError):
            raise
        print(f"pricegrid: {error}", file=sys.stderr)
        return 1


def _needs(missing: str) -> str:
    """What to install for a package that is missing."""
    if missing in {"llvmlite", "numba"}:
        from pricegrid.service.process.kernel_cache import compile_reason

        reason = compile_reason()
        because = f" ({reason})" if reason else ""
        return f"needs numba to compile kernels{because}: pip install 'pricegrid[kernels]'"
    return f"needs the server's packages ({missing} is missing): pip install 'pricegrid[server]'"


def _run(words: list[str]) -> int:
    if _COMPLETING in os.environ:
        from pricegrid.service.cli.completion import complete

        complete(COMMANDS)
        return 0
    if not words:
        overview().print_help(sys.stderr)
        return 2
    command = COMMANDS.get(words[0])
    if command is None:
        return _no_command(words[0])
    parser = command_parser(words[0])
    args = parser.parse_intermixed_args(words[1:]) if command.intermixed else parser.parse_args(words[1:])
    fill_in(args)
    if command.may_log and args.log_format:
        from pricegrid.service.logs import begin_logging

        begin_logging(command.name, args.log_format)
    if command.uses_kernels:
        _require("numpy")
        from pricegrid.service.process.kernel_build import provide
        from pricegrid.service.process.kernel_cache import use_kernel_cache

        use_kernel_cache(os.environ)
        if not os.environ.get(EXTENSION_VARIABLE):
            _require("numba")
        provide(words[0], getattr(args, "store", None), os.environ, sys.stderr)
    module = importlib.import_module(command.runs or command.module)
    return int(getattr(module, f"run_{command.name}")(args))


def _require(package: str) -> None:
    """Raises ModuleNotFoundError before anything is begun that it would end."""
    if importlib.util.find_spec(package) is None:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)


def command_parser(name: str) -> Parser:
    """The parser of a command, with its options."""
    summary = COMMANDS[name].summary
    parser = Parser(
        prog=f"pricegrid {name}", description=f"{summary[:1].upper()}{summary[1:]}.", allow_abbrev=False
    )
    add_arguments(name, parser)
    return parser


def add_arguments(name: str, parser: argparse.ArgumentParser) -> None:
    """Adds the options of a command."""
    command = COMMANDS[name]
    getattr(importlib.import_module(command.module), f"add_{command.name}_arguments")(parser)
    if command.may_log:
        from pricegrid.service.cli.logs import add_log_format

        add_log_format(parser, "")
    use_environment(parser)


def _no_command(word: str) -> int:
    if not word.startswith("-"):
        near = did_you_mean([word], list(COMMANDS))
        raise UsageError(f"there is no command {word!r}; {near or '`pricegrid --help` lists them'}")
    overview().parse_args([word])  # --help and --version end here, and whatever else is no option
    return 2


def overview() -> Parser:
    """The parser of what comes before a command; its help lists the commands by what they are for."""
    width = max(map(len, COMMANDS))
    groups: dict[str, list[str]] = {}
    for name, command in COMMANDS.items():
        groups.setdefault(command.group, []).append(f"  {name:<{width}}  {command.summary}")
    listed = "\n\n".join("\n".join([f"{group}:", *lines]) for group, lines in groups.items())
    parser = Parser(
        prog="pricegrid",
        description=DESCRIPTION,
        epilog=f"{listed}\n\n`pricegrid COMMAND --help` says more. {EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, help="show the version and exit")
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="one of those below")
    return parser


class _Version(argparse.Action):
    """Looks the version up when it is asked for: that takes longer than a help text."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(nargs=0, **settings)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"pricegrid {version('pricegrid')}")
        parser.exit()


if __name__ == "__main__":
    entry()

"""The parser of a subcommand: says what was probably meant, and takes the server or the store from the environment."""

import argparse
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NoReturn

ADDRESS_VARIABLE: Final = "PRICEGRID_ADDRESS"
STORE_VARIABLE: Final = "PRICEGRID_STORE"
_VARIABLES: Final[Mapping[str, str]] = MappingProxyType(
    {"--address": ADDRESS_VARIABLE, "--store": STORE_VARIABLE}
)


class Parser(argparse.ArgumentParser):
    """Ends bad usage with exit code 2, the flag at fault, and the one that is most like it."""

    _typed: Sequence[str] = ()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """As argparse does; what was typed is kept for `error`."""
        self._typed = sys.argv[1:] if args is None else list(args)
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Prints the usage and what is wrong, and exits with 2."""
        self.print_usage(sys.stderr)
        hints = [hint for hint in (self._meant(message), _variables(message)) if hint]
        self.exit(2, f"{self.prog}: error: {'; '.join([message, *hints])}\n")

    def _meant(self, message: str) -> str:
        if "unrecognized arguments" in message or "required" in message:
            known = sorted({name for each in parsers(self) for name in options(each)})
            typed = [word.partition("=")[0] for word in self._typed if word.startswith("--")]
            return did_you_mean([word for word in typed if word not in known], known)
        _, invalid, words = message.partition("invalid choice: '")
        if invalid:
            known = [
                str(choice) for each in parsers(self) for choices in _choices(each) for choice in choices
            ]
            return did_you_mean([words.partition("'")[0]], known)
        return ""


def did_you_mean(typed: Sequence[str], known: Sequence[str]) -> str:
    """`did you mean --customer?` where a known word is like a typed one, else ''."""
    import difflib

    near = [match for word in typed for match in difflib.get_close_matches(word, known, n=1)]
    return f"did you mean {' '.join(near)}?" if near else ""


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A parser and those of its subcommands."""
    yield parser
    for action in parser._actions:  # noqa: SLF001 -- argparse tells its actions in no other way
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for each in action.choices.values():
                yield from parsers(each)


def options(parser: argparse.ArgumentParser) -> Iterator[str]:
    """The long options of a parser."""
    for action in parser._actions:  # noqa: SLF001
        yield from (name for name in action.option_strings if name.startswith("--"))


def _choices(parser: argparse.ArgumentParser) -> Iterator[Sequence[object]]:
    for action in parser._actions:  # noqa: SLF001
        if action.choices is not None:
            yield list(action.choices)


def _variables(message: str) -> str:
    """Which variables stand for the options that a message misses."""
    if "required" not in message:
        return ""
    names = [variable for option, variable in _VARIABLES.items() if option in message.split()]
    return f"{' or '.join(names)} can say it too" if names else ""


def use_environment(parser: argparse.ArgumentParser, environment: Mapping[str, str] = os.environ) -> None:
    """Says in the help which variables stand for `--address` and `--store`; required are those that they don't say."""
    for each in parsers(parser):
        said = False
        for action in each._actions:  # noqa: SLF001
            for variable in (_VARIABLES[name] for name in action.option_strings if name in _VARIABLES):
                action.help = f"{action.help} (default: {variable})"
                if environment.get(variable):
                    said, action.required = True, False
        for group in each._mutually_exclusive_groups:  # noqa: SLF001
            named = {name for action in group._group_actions for name in action.option_strings}  # noqa: SLF001
            group.required = group.required and not (said and named & _VARIABLES.keys())


def fill_in(args: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> None:
    """Takes from the environment what the command line does not say; a server goes before a store."""
    if getattr(args, "store", None) is not None or getattr(args, "address", None) is not None:
        return
    address, store = environment.get(ADDRESS_VARIABLE), environment.get(STORE_VARIABLE)
    if hasattr(args, "address") and address:
        args.address = address
    elif hasattr(args, "store") and store:
        args.store = Path(store)

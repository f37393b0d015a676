"""Writes docs/cli.md, the reference of the command, from its parsers: `python -m pricegrid.service.cli.reference`."""

import argparse
from collections.abc import Iterator
from pathlib import Path

from pricegrid.service.cli.main import COMMANDS, DESCRIPTION, EXIT_CODES, command_parser
from pricegrid.service.cli.parser import ADDRESS_VARIABLE, STORE_VARIABLE
from pricegrid.service.rpc.plain_store import PAIRS_MAX

PLACE = Path("docs/cli.md")
_HEAD = f"""\
# The command

{DESCRIPTION}

`pricegrid COMMAND --help` says what is here; this page is made from the same text by
`python -m pricegrid.service.cli.reference`. {EXIT_CODES}

- **Where it asks.** `--address HOST:PORT` asks a server, and works with the client alone (`pip install pricegrid`).
  `--store DIR` answers from a store without a server, and takes `pip install 'pricegrid[server]'`. What neither option
  says is taken from `{ADDRESS_VARIABLE}`, then from `{STORE_VARIABLE}`.
- **Waiting.** `--wait S` waits up to S seconds until a server that is starting says that it is ready.
- **Output.** Tables fit the terminal: a wider one leaves out what is empty in all rows, and its last columns stand
  under their row. In a file or a pipe a table has all columns and a line a row. `--json` prints all there is.
- **Completion.** `eval "$(pricegrid completion bash)"`, the same with `zsh`, or `pricegrid completion fish | source`.
- **Small questions.** `quote` and `explain` with `--store` answer up to {PAIRS_MAX} lines times branches by the
  references, in plain Python: that is quicker than importing numba and fetching kernels. More lines go to the kernels.
  Tests hold the answers equal; `bench/commands.py` measures what commands cost, as ratios to a start of Python.
"""


def reference() -> str:
    """The page."""
    groups: dict[str, list[str]] = {}
    for name, command in COMMANDS.items():
        groups.setdefault(command.group, []).append(name)
    parts = [_HEAD]
    for group, names in groups.items():
        parts.append(f"## {group}\n")
        for name in names:
            parser = command_parser(name)
            parts.append("\n".join(_section(parser, "###")))
    return "\n".join(parts)


def _section(parser: argparse.ArgumentParser, level: str) -> Iterator[str]:
    yield f"{level} `{parser.prog}`\n"
    yield f"{_plain(parser.description or '')}\n"
    rows = [row for action in parser._actions for row in _row(parser, action)]  # noqa: SLF001
    if rows:
        yield "| argument | meaning |"
        yield "|---|---|"
        yield from rows
        yield ""
    for action in parser._actions:  # noqa: SLF001
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            summaries = {each.dest: each.help or "" for each in action._choices_actions}  # noqa: SLF001
            for name, subparser in action.choices.items():
                if not subparser.description:
                    subparser.description = f"{summaries[name][:1].upper()}{summaries[name][1:]}."
                yield from _section(subparser, f"{level}#")


def _row(parser: argparse.ArgumentParser, action: argparse.Action) -> Iterator[str]:
    if isinstance(action, argparse._SubParsersAction) or "--help" in action.option_strings:  # noqa: SLF001
        return
    formatter = parser._get_formatter()  # noqa: SLF001
    meaning = formatter._expand_help(action) if action.help else ""  # noqa: SLF001
    value = action.metavar or ("|".join(map(str, action.choices)) if action.choices else action.dest.upper())
    if action.option_strings:
        shown = f"{action.option_strings[-1]} {value}" if action.nargs != 0 else action.option_strings[-1]
    else:
        shown = f"{value} ..." if action.nargs in {"*", "+"} else str(value)
    is_said_elsewhere = {"--address", "--store"} & set(action.option_strings)
    is_needed = action.option_strings and action.required and not is_said_elsewhere
    needed = " **Required.**" if is_needed else ""
    yield f"| `{_cell(shown)}` | {_cell(_plain(meaning))}{needed} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _plain(text: str) -> str:
    """One paragraph; lines that are indented, which are commands, in a row."""
    return " ".join(text.split())


if __name__ == "__main__":
    PLACE.write_text(reference(), encoding="utf-8")

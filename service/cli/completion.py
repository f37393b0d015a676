"""`pricegrid completion`: what a shell runs to complete commands and options; and the completing itself."""

import argparse
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pricegrid.service.cli.main import Command

SHELLS = ("bash", "zsh", "fish")
_HOW = """\
Prints what makes a shell complete commands and options. For this shell:
  bash:  eval "$(pricegrid completion bash)"
  zsh:   eval "$(pricegrid completion zsh)"
  fish:  pricegrid completion fish | source
For all that follow, put that line into ~/.bashrc, ~/.zshrc or ~/.config/fish/config.fish."""


def add_completion_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `completion`."""
    parser.description = f"{parser.description}\n\n{_HOW}"
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("shell", choices=SHELLS, help="which shell")


def run_completion(args: argparse.Namespace) -> int:
    """Prints it; 0."""
    from argcomplete.shell_integration import shellcode

    print(shellcode(["pricegrid"], shell=args.shell))
    return 0


def complete(commands: Mapping[str, "Command"]) -> None:
    """Answers the shell, which waits on descriptor 8, and ends the process."""
    import argcomplete

    from pricegrid.service.cli.main import add_arguments

    typed = os.environ.get("COMP_LINE", "").split()
    parser = argparse.ArgumentParser(prog="pricegrid")
    parser.add_argument("--version", action="store_true")
    subparsers = parser.add_subparsers()
    for name, command in commands.items():
        subparser = subparsers.add_parser(name, help=command.summary)
        if name in typed[1:2]:  # no other module is imported for a key press
            add_arguments(name, subparser)
    argcomplete.autocomplete(parser, exit_method=_exit)


def _exit(code: int = 0) -> None:
    sys.stdout.flush()
    os._exit(code)

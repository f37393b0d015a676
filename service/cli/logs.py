"""`--log-format`: how a command that runs long says what it does."""

import argparse
import os
from typing import Final

from pricegrid.service.logs import FORMATS

FORMAT_VARIABLE: Final = "PRICEGRID_LOG_FORMAT"


def add_log_format(parser: argparse.ArgumentParser, otherwise: str) -> None:
    """The option; `otherwise` is its value where neither it nor the environment says one, '' for no log."""
    instead = otherwise or "progress is shown on a terminal"
    parser.add_argument(
        "--log-format",
        metavar="FORMAT",
        type=_format,
        default=os.environ.get(FORMAT_VARIABLE) or otherwise or None,
        help=f"write a log to standard error, a line an event: {' or '.join(FORMATS)} (default: {FORMAT_VARIABLE}, "
        f"else {instead})",
    )


def _format(text: str) -> str:
    if text not in FORMATS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a format of logs: {' or '.join(FORMATS)}")
    return text

"""What the servers of a test run tell of themselves, kept in a folder and looked through for what nobody may be told.

    PRICEGRID_TEST_TELEMETRY=DIR pytest ...
    python -m tests.telemetry DIR [KIND ...]

Each log, page of metrics and span of the run is a line of `DIR/logs`, `DIR/metrics` or `DIR/traces`; the command counts
them, and the lines with a token, a key, a password, or a price beside a customer. It ends with 1 if there is one, or if
there are no lines of a kind: then nothing was looked at.
"""

import os
import re
import sys
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from tests.log_leaks import SECRET, leaks

FOLDER: Final = "PRICEGRID_TEST_TELEMETRY"
MUST_NOT: Final = re.compile(r"eyJ[\w-]{6,}|bearer|password|\bC\d\b|\bnobody\b|\d\.\d{2,}", re.IGNORECASE)
"""Tokens, the customers of the tests, and what looks like a price: none of it is in a span."""
_SHOWN: Final = 10
_BYTES_SHOWN: Final = 300


def leaks_of_spans(lines: Iterable[str]) -> list[str]:
    """The spans that hold one of them."""
    return [line for line in lines if MUST_NOT.search(line) or SECRET.search(line)]


KINDS: Final[dict[str, Callable[[Iterable[str]], list[str]]]] = {
    "logs": leaks,
    "metrics": leaks,
    "traces": leaks_of_spans,
}


def keep(kind: str, lines: Iterable[str]) -> None:
    """Adds lines to the folder, where one is named; tests that run at the same time add to the same."""
    folder = os.environ.get(FOLDER)
    if not folder:
        return
    text = "".join(line.rstrip("\n").replace("\n", "\\n") + "\n" for line in lines)
    with (Path(folder) / kind).open("a", encoding="utf-8") as file:
        file.write(text)


def read_metrics(port: object) -> list[str]:
    """The samples that a server exports now, which are kept; none if it has no such port."""
    if port is None:
        return []
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        text: str = answer.read().decode()
    samples = [line for line in text.splitlines() if not line.startswith("#")]
    keep("metrics", samples)
    return samples


def main(words: Sequence[str]) -> int:
    """The command."""
    if not words or not Path(words[0]).is_dir() or set(words[1:]) - set(KINDS):
        print(f"usage: python -m tests.telemetry DIR [{' '.join(KINDS)}]", file=sys.stderr)
        return 2
    code = 0
    for kind in words[1:] or KINDS:
        path = Path(words[0]) / kind
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        found = KINDS[kind](lines)
        print(
            f"{kind}: {len(lines):,} lines, {len(found):,} with a token, a password or a price beside a name"
        )
        for line in found[:_SHOWN]:
            print(f"  {line[:_BYTES_SHOWN]}")
        if found or not lines:
            code = 1
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

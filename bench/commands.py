"""What commands cost: CPU seconds of each, and their ratio to a start of Python that does nothing.

    bench/commands.py [--demo DIR] [--json] [--check]

Each command is a process of its own, as a shell starts it; user and system time count, so that a busy machine matters
little, and the least of several runs. The store is a demo's (`pricegrid demo --dir DIR`), one is made if there is none.
Kernels must be there, or the first round compiles them. `--check` fails where a ratio is over its bound. Beside each
command stand the packages it imports of those that take long.
"""

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROUNDS = 5
HEAVY = ("numpy", "numba", "grpc", "google.protobuf", "redis", "aiohttp", "polars", "prometheus_client")
COMMAND = (sys.executable, "-m", "pricegrid.service.cli.main")
HELP, ADDRESS, STORE = 15.0, 25.0, 50.0
"""Bounds, in starts of Python: on the machine of docs/performance.md one takes 12 ms."""


def cpu_s(command: Sequence[str]) -> float:
    """User and system time of one run."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def imports(words: Sequence[str]) -> list[str]:
    """The heavy packages that a command imports."""
    told = subprocess.run(
        [sys.executable, "-X", "importtime", *COMMAND[1:], *words],
        capture_output=True,
        text=True,
        check=False,
    ).stderr
    names = set(re.findall(r"^import time:.*\| +([\w.]+)$", told, re.MULTILINE))
    return [name for name in HEAVY if name in names]


@contextmanager
def served(store: Path) -> Iterator[str]:
    """The address of a server over a store."""
    command = [*COMMAND, "serve", "--store", str(store), "--port", "0", "--workers", "1", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            yield json.loads(server.stdout.readline())["address"] if server.stdout else ""
        finally:
            server.terminate()


def demo_in(directory: Path) -> tuple[Path, list[str], str]:
    """(store, options, line) of a demo, which is made if there is none."""
    if not (directory / "store" / "current").exists():
        made = [*COMMAND, "demo", "--dir", str(directory), "--json"]
        subprocess.run(made, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
    items = (directory / "dataset" / "items.csv").read_text(encoding="utf-8").splitlines()
    return directory / "store", ["--customer", "S00001"], f"{items[1].partition(',')[0]}:250"


def commands(
    store: Path, options: list[str], line: str, address: str
) -> dict[str, tuple[list[str], float | None]]:
    """Ten commands with their bounds."""
    of_store, of_server = ["--store", str(store), *options], ["--address", address, *options]
    return {
        "--help": (["--help"], HELP),
        "quote --help": (["quote", "--help"], HELP),
        "load --help": (["load", "--help"], HELP),
        "quote --store": (["quote", *of_store, line], STORE),
        "explain --store": (["explain", *of_store, line], STORE),
        "availability --store": (["availability", *of_store, line], STORE),
        "promise --store": (["promise", *of_store, line], STORE),
        "quote --address": (["quote", *of_server, line], ADDRESS),
        "availability --address": (["availability", *of_server, line], ADDRESS),
        "reservations --address": (["reservations", "--address", address], ADDRESS),
    }


def main() -> int:
    """Prints what was measured; 1 with `--check` where a bound is passed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--demo", type=Path, help="directory of a demo (default: a temporary one)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--check", action="store_true", help="fail where a ratio is over its bound")
    args = parser.parse_args()
    for variable in ("PRICEGRID_ADDRESS", "PRICEGRID_STORE"):
        os.environ.pop(variable, None)
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        store, options, line = demo_in(args.demo or Path(scratch) / "demo")
        # a server alongside would be looked at by the commands that read the store: those come first
        asked = commands(store, options, line, "")
        with_server = [name for name in asked if name.endswith("--address")]
        rows += [measure(name, *asked[name]) for name in asked if name not in with_server]
        with served(store) as address:
            asked = commands(store, options, line, address)
            rows += [measure(name, *asked[name]) for name in with_server]
    if args.json:
        print(json.dumps(rows, indent=2))
    else:
        print(f"{'command':<24}{'CPU s':>8}{'ratio':>8}{'bound':>8}  imports")
        for row in rows:
            bound = "" if row["bound"] is None else f"{row['bound']:.0f}"
            print(
                f"{row['command']:<24}{row['cpu_s']:>8.3f}{row['ratio']:>8.1f}{bound:>8}  {', '.join(row['imports'])}"
            )
    over = [row["command"] for row in rows if row["bound"] is not None and row["ratio"] > row["bound"]]
    if args.check and over:
        print(f"over their bounds: {', '.join(over)}", file=sys.stderr)
        return 1
    return 0


def measure(name: str, words: list[str], bound: float | None) -> dict:
    """One command in turn with a start of Python, the least of each."""
    rounds = [(cpu_s([*COMMAND, *words]), cpu_s([sys.executable, "-c", "pass"])) for _ in range(ROUNDS)]
    took, bare = (min(times) for times in zip(*rounds, strict=True))
    print(f"measured {name}", file=sys.stderr)
    return {"command": name, "cpu_s": took, "ratio": took / bare, "bound": bound, "imports": imports(words)}


if __name__ == "__main__":
    sys.exit(main())

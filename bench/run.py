"""Runs all benchmarks and writes what they say: `bench/results/` as JSON, tables and plots in `docs/`.

Stopped by Ctrl-C, or by a part that fails, it writes what it has. `--quick` runs each on small data in less than two
minutes, to see that everything works; it writes `bench/results/quick.json` and leaves tables and plots alone. Without
it, `bench/results/latest.json` and one of the day.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(
    ROOT
)  # run as a script, from anywhere: `bench` is a folder of the repository, not installed

from pricegrid.service.process.kernel_cache import use_kernel_cache  # noqa: E402

use_kernel_cache(os.environ)  # before any kernel is imported

from bench import (  # noqa: E402
    availability,
    curves,
    erp,
    h2load,
    kernel,
    live,
    loads,
    peers,
    plots,
    promises,
    reservations,
    rpc,
    scale,
    starts,
    swaps,
)
from bench import datasets as data  # noqa: E402
from bench.measure import Figure, as_json, machine  # noqa: E402
from pricegrid.service.transport.choice import HTTP2  # noqa: E402

RESULTS, PAGE = ROOT / "bench" / "results", ROOT / "docs" / "performance-figures.md"


def parts(quick: bool, folder: Path, details: dict[str, Any]) -> dict[str, Callable[[], list[Figure]]]:
    """What can be measured, by name and in this order; the larger the later."""
    world = data.TENTH if quick else data.ISSUE_2
    served, quoted, peered = (
        ("TENTH", "QUOTES_TENTH", "PEERS_TENTH") if quick else ("LOAD_1M", "QUOTES", "PEERS")
    )
    rounds, seconds = (2, 0.5) if quick else (5, 2.0)
    of_served, of_quoted = getattr(data, served), getattr(data, quoted)

    def load(size: str, repeats: int) -> list[Figure]:
        figures, details[size] = loads.measure(size, folder / size, repeats)
        return figures

    @cache
    def store(size: str) -> Path:
        made: Path = folder / size / "store"
        return made if made.exists() else loads.publish(size, folder / size)

    def grown() -> list[Figure]:
        figures, details["curves"] = curves.measure(1 if quick else 0, 1 if quick else 5)
        return figures

    def ahead() -> list[Figure]:
        store(peered)
        figures, details["peers"] = peers.measure(peered, folder / peered, 1 if quick else 3)
        return figures

    def ill() -> list[Figure]:
        place = folder / "erp"
        place.mkdir()
        return erp.measure(place, 1, 1.0, erp.FAULTS[:2]) if quick else erp.measure(place, 4, 3.0)

    label = f"{world.entries / 1e6:.1f} M entries"
    swapping, asked, times = (1, 3.0) if quick else (5, 6.0), 160 if quick else 1_600, 1 if quick else 5
    every: dict[str, Callable[[], list[Figure]]] = {
        "loads": lambda: load(served, 1 if quick else 3),
        "loads-10M": lambda: load("LOAD_10M", 1),
        "prices": lambda: rpc.measure(rpc.PRICE_LINES, of_served, store(served), folder, rounds, seconds),
        "quotes": lambda: rpc.measure(rpc.QUOTE_LINES, of_quoted, store(quoted), folder, rounds, seconds),
        "quotes-http2": lambda: rpc.measure(
            rpc.QUOTE_LINES, of_quoted, store(quoted), folder, rounds, seconds, HTTP2
        ),
        "h2load": lambda: h2load.measure(
            rpc.QUOTE_LINES, of_quoted, store(quoted), folder, rounds, 1 if quick else 2
        ),
        "starts": lambda: starts.measure(quoted, store(quoted), folder / "native", 1 if quick else 5),
        "swaps": lambda: swaps.measure(of_quoted, store(quoted), folder / "swaps", *swapping),
        "availability": lambda: availability.measure(of_quoted, store(quoted), 5 if quick else 40),
        "promises": lambda: promises.measure(calls=1 if quick else 5),
        "live": lambda: live.measure(of_quoted, store(quoted), 20_000 if quick else 400_000),
        "reservations": lambda: reservations.measure(quoted, store(quoted), asked, times),
        "erp": ill,
        "bytes": lambda: kernel.bytes_a_cell(data.LIST_ONLY),
        "kernel": lambda: kernel.measure(world, label, 0.2 if quick else 1.0),
        "growth": lambda: kernel.growth(data.TENTH, data.LOAD_10M),
        "curves": grown,
        "peers": ahead,
        "scale": lambda: scale.measure(folder / "scale", scale.QUICK if quick else scale.worlds()),
        "loads-30M": lambda: [figure for size in scale.sizes() for figure in load(size, 1)],
    }
    return {
        name: every[name]
        for name in every
        if not quick or name not in {"loads-10M", "growth", "loads-30M", "starts"}
    }


def collect(measures: Mapping[str, Callable[[], list[Figure]]], run: str, figures: list[Figure]) -> None:
    """Adds the figures of each part as they come; `run` names this run."""
    begin = time.perf_counter()
    for part, measure in measures.items():
        more = [replace(each, part=part, run=run) for each in measure()]
        figures.extend(more)
        for each in more:
            print(
                f"  {each.name}: {_number(each.reached)} {each.unit}, {_ratio(each)} of {each.floor_is}",
                flush=True,
            )
        print(f"{part}: {time.perf_counter() - begin:.0f} s since the start", flush=True)


def laid_over(before: Sequence[Figure], figures: Sequence[Figure], measured: Collection[str]) -> list[Figure]:
    """The figures of an earlier run with those of this one in their places; what a part no longer has goes."""
    new = {each.name: each for each in figures}
    kept = [each for each in before if each.name in new or each.part not in measured]
    return [new.pop(each.name, each) for each in kept] + list(new.values())


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _ratio(each: Figure) -> str:
    return (
        "–" if each.ratio is None else f"{each.ratio:.3f}" if each.ratio < 0.1 else f"{_number(each.ratio)}×"
    )


def table(document: dict[str, Any]) -> str:
    """The figures as Markdown."""
    on = document["machine"]
    lines = [
        f"{document['made_at'][:10]}, {on['cpu']}, {on['cores']} cores, {on['memory_gb']} GB, Python {on['python']}, "
        + ", ".join(f"{name} {number}" for name, number in on["versions"].items())
        + f"; load average {on['load_before']:.1f} before the run. Rows with † are of an earlier run.",
        "",
        "| what | goal | reached | floor | ratio |",
        "|---|---|---|---|---|",
    ]
    for each in (Figure(**row) for row in document["figures"]):
        floor = f"{_number(each.floor)} {each.unit} ({each.floor_is})"
        older = "" if each.run == document["made_at"] else " †"
        lines.append(
            f"| {each.name}{older} | {each.goal} | {_number(each.reached)} {each.unit} | {floor} | {_ratio(each)} |"
        )
    return "\n".join(lines)


def write(document: dict[str, Any], quick: bool) -> None:
    """The JSON files, the tables between their marks, the plots."""
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    names = ["quick.json"] if quick else ["latest.json", f"{document['made_at'][:10]}.json"]
    for name in names:
        (RESULTS / name).write_text(text, encoding="utf-8")
    if not quick:
        page = PAGE.read_text(encoding="utf-8")
        for name, lines in tables(document).items():
            page = filled(page, name, lines)
        PAGE.write_text(page, encoding="utf-8")
        plots.draw(document, plots.FOLDER)


def tables(document: dict[str, Any]) -> dict[str, str]:
    """What stands between the marks of the page, by name, as far as it was measured."""
    of = {"peers": peers.table, "curves": curves.table}
    details = document["details"]
    return {"figures": table(document)} | {name: of[name](details[name]) for name in of if name in details}


def filled(page: str, name: str, lines: str) -> str:
    """The page with other lines between the marks of that name."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, after = page.split(begin, maxsplit=1)[0], page.split(end)[1]
    return f"{before}{begin}\n{lines}\n{end}{after}"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small data, less than two minutes")
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="leave datasets and stores in this new directory"
    )
    parser.add_argument(
        "--only",
        metavar="PART,...",
        help="measure these parts, and keep the other figures of the run before: "
        + ", ".join(parts(quick=False, folder=ROOT, details={})),
    )
    args = parser.parse_args()
    on, made_at = machine(), datetime.now(UTC).isoformat(timespec="seconds")
    folder = args.keep or Path(tempfile.mkdtemp(prefix="pricegrid-bench-"))
    folder.mkdir(parents=True, exist_ok=True)
    figures: list[Figure] = []
    details: dict[str, Any] = {}
    measures = parts(args.quick, folder, details)
    if args.only:
        wanted = args.only.split(",")
        if unknown := [name for name in wanted if name not in measures]:
            parser.error(f"--only: there is no part {', '.join(unknown)}")
        measures = {name: measure for name, measure in measures.items() if name in wanted}
    try:
        collect(measures, made_at, figures)
    except KeyboardInterrupt:
        print("stopped: what was measured until now is written", file=sys.stderr)
    finally:
        if args.keep is None:
            shutil.rmtree(folder)
        if args.only and not args.quick:
            before = json.loads((RESULTS / "latest.json").read_text(encoding="utf-8"))
            kept = [Figure(**row) for row in before["figures"]]
            figures = laid_over(kept, figures, {e.part for e in figures})
            details = before["details"] | details
        write(
            {"made_at": made_at, "machine": on, "figures": as_json(figures), "details": details}, args.quick
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Runs all benchmarks and writes what they say: `bench/results/` as JSON, tables and plots in `docs/`.

Stopped by Ctrl-C it writes what it has. `--quick` runs each on small data in less than two minutes, to see that
everything works; it writes `bench/results/quick.json` and leaves tables and plots alone. Without it,
`bench/results/latest.json` and one of the day.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(
    ROOT
)  # run as a script, from anywhere: `bench` is a folder of the repository, not installed

from service.compile_cache import use_compile_cache  # noqa: E402

use_compile_cache(os.environ)  # before any kernel is imported

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
    swaps,
)
from bench import datasets as data  # noqa: E402
from bench.measure import Figure, as_json, machine  # noqa: E402

RESULTS, PAGE = ROOT / "bench" / "results", ROOT / "docs" / "performance.md"


def collect(quick: bool, folder: Path, figures: list[Figure], details: dict[str, Any]) -> None:
    """Adds all figures, and the details behind them, as they come."""
    world = data.TENTH if quick else data.ISSUE_2

    def done(what: str, more: list[Figure]) -> None:
        figures.extend(more)
        for each in more:
            print(
                f"  {each.name}: {_number(each.reached)} {each.unit}, {_ratio(each)} of {each.floor_is}",
                flush=True,
            )
        print(f"{what}: {time.perf_counter() - begin:.0f} s since the start", flush=True)

    begin = time.perf_counter()

    def load(size: str, repeats: int) -> None:
        of_size, details[size] = loads.measure(size, folder / size, repeats)
        done(f"loads {size}", of_size)

    sizes = ["TENTH"] if quick else ["LOAD_1M", "LOAD_10M"]
    for size in sizes:
        load(size, repeats=3 if size == "LOAD_1M" else 1)
    served = sizes[0]
    rounds, seconds = (2, 0.5) if quick else (5, 2.0)
    store = folder / served / "store"
    done("prices", rpc.measure(rpc.PRICE_LINES, getattr(data, served), store, folder, rounds, seconds))
    quoted = "QUOTES_TENTH" if quick else "QUOTES"
    store = loads.publish(quoted, folder / quoted)
    done("quotes", rpc.measure(rpc.QUOTE_LINES, getattr(data, quoted), store, folder, rounds, seconds))
    done(
        "h2load",
        h2load.measure(rpc.QUOTE_LINES, getattr(data, quoted), store, folder, rounds, 1 if quick else 2),
    )
    swapping = (1, 3.0) if quick else (5, 6.0)
    done("swaps", swaps.measure(getattr(data, quoted), store, folder / "swaps", *swapping))
    done("availability", availability.measure(getattr(data, quoted), store, 5 if quick else 40))
    done("promises", promises.measure(calls=1 if quick else 5))
    done("live", live.measure(getattr(data, quoted), store, 20_000 if quick else 400_000))
    asked, times = (160, 1) if quick else (1_600, 5)
    done("reservations", reservations.measure(quoted, store, asked, times))
    (folder / "erp").mkdir()
    ill = (
        erp.measure(folder / "erp", 1, 1.0, erp.FAULTS[:2]) if quick else erp.measure(folder / "erp", 4, 3.0)
    )
    done("erp", ill)
    done("bytes", kernel.bytes_a_cell(data.LIST_ONLY))
    done("kernel", kernel.measure(world, f"{world.entries / 1e6:.1f} M entries", 0.2 if quick else 1.0))
    if not quick:
        done("growth", kernel.growth(data.TENTH, data.LOAD_10M))
    grown, details["curves"] = curves.measure(1 if quick else 0, 1 if quick else 5)
    done("curves", grown)
    peered = "PEERS_TENTH" if quick else "PEERS"
    loads.publish(peered, folder / peered)
    ahead, details["peers"] = peers.measure(peered, folder / peered, 1 if quick else 3)
    done("peers", ahead)
    done("scale", scale.measure(folder / "scale", scale.QUICK if quick else scale.worlds()))
    for size in () if quick else scale.sizes():
        load(size, repeats=1)


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
        + f"; load average {on['load_before']:.1f} before the run.",
        "",
        "| what | goal | reached | floor | ratio |",
        "|---|---|---|---|---|",
    ]
    for each in (Figure(**row) for row in document["figures"]):
        floor = f"{_number(each.floor)} {each.unit} ({each.floor_is})"
        lines.append(
            f"| {each.name} | {each.goal} | {_number(each.reached)} {each.unit} | {floor} | {_ratio(each)} |"
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
    args = parser.parse_args()
    on = machine()
    folder = args.keep or Path(tempfile.mkdtemp(prefix="pricegrid-bench-"))
    folder.mkdir(parents=True, exist_ok=True)
    figures: list[Figure] = []
    details: dict[str, Any] = {}
    try:
        collect(args.quick, folder, figures, details)
    except KeyboardInterrupt:
        print("stopped: what was measured until now is written", file=sys.stderr)
    finally:
        if args.keep is None:
            shutil.rmtree(folder)
    made_at = datetime.now(UTC).isoformat(timespec="seconds")
    write({"made_at": made_at, "machine": on, "figures": as_json(figures), "details": details}, args.quick)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The plots of `docs/performance.md`, drawn from the figures of a run; the same figures give the same bytes.

`python -m bench.plots` draws them again from `bench/results/latest.json`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FuncFormatter, NullLocator

from bench import curves, peers
from bench.measure import ROOT

FOLDER, RESULT = ROOT / "docs" / "plots", ROOT / "bench" / "results" / "latest.json"
_STYLE = {
    "svg.hashsalt": "pricegrid",  # ids of the file are made of it instead of chance
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
}
_OURS, _OURS_TOO, _FLOOR = "#0b5cad", "#5aa9e6", "#8a8a8a"
_PEERS = {
    peers.REDIS: ("#c2261d", "o-"),
    peers.REDIS_BARE: ("#c2261d", "o--"),
    peers.POSTGRES: ("#d9822b", "s-"),
    peers.SQLITE: ("#6a8f2f", "^-"),
    peers.POLARS: ("#8d5fb0", "v-"),
    peers.ECHO: (_FLOOR, ".:"),
    peers.QUOTE_RPC: (_OURS, "D-"),
    peers.QUOTE_BARE: (_OURS, "D--"),
    peers.QUOTE_CALL: (_OURS, "D:"),
    peers.PRICE_RPC: (_OURS_TOO, "P-"),
    peers.PRICE_BARE: (_OURS_TOO, "P--"),
    peers.PRICE_CALL: (_OURS_TOO, "P:"),
}


def draw(document: Mapping[str, Any], folder: Path, kind: str = "svg") -> list[Path]:
    """Writes every plot that the document has figures for; raises nothing if it has none."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    with mpl.rc_context(_STYLE):
        for name, canvas in _canvases(document):
            path = folder / f"{name}.{kind}"
            canvas.savefig(path, metadata={"Date": None, "Creator": None} if kind == "svg" else None)
            written.append(path)
    return written


def _canvases(document: Mapping[str, Any]) -> Iterator[tuple[str, Canvas]]:
    details = document["details"]
    rpc = [each for each in document["figures"] if "server CPU a call" in each["name"]]
    if rpc:
        yield "rpc", _rpc(rpc)
    if "peers" in details:
        yield "peers", _peers(details["peers"])
    if "curves" in details:
        yield "curves", _curves(details["curves"])


def _rpc(figures: Sequence[Mapping[str, Any]]) -> Canvas:
    """Server CPU a call, beside the echo."""
    canvas = Canvas(figsize=(7.2, 2.9), layout="constrained")
    axes = canvas.subplots()
    labels = [
        each["name"].removesuffix(", server CPU a call").replace(" over gRPC, ", "\n") for each in figures
    ]
    places = range(len(figures))
    axes.bar(
        [p - 0.2 for p in places], [e["floor"] for e in figures], 0.38, color=_FLOOR, label="grpcio echo"
    )
    ours = axes.bar(
        [p + 0.2 for p in places], [e["reached"] for e in figures], 0.38, color=_OURS, label="ours"
    )
    axes.bar_label(ours, [f"{each['ratio']:.1f}×" for each in figures], padding=2, fontsize=8)
    axes.set_xticks(list(places), labels)
    axes.grid(axis="x", visible=False)
    axes.margins(y=0.12)
    axes.set_ylabel("server CPU, µs a call")
    axes.legend(frameon=False, loc="upper left")
    axes.set_title("Over gRPC, beside an echo of the same bytes", loc="left", fontsize=10)
    return canvas


def _peers(details: Mapping[str, Any]) -> Canvas:
    """Median time of a call by lines, of everyone."""
    canvas = Canvas(figsize=(7.2, 4.4), layout="constrained")
    axes = canvas.subplots()
    for who, (colour, style) in _PEERS.items():
        if who in details["p50_us"]:
            medians = [details["p50_us"][who][str(lines)] for lines in peers.LINES]
            axes.plot(peers.LINES, medians, style, color=colour, label=who, markersize=4.5, linewidth=1.4)
    _logarithmic(axes)
    axes.set_xlabel("lines a call")
    axes.set_ylabel("p50 of one client, µs")
    axes.set_title(f"Same items out of {details['cells']:,} cells", loc="left", fontsize=10)
    canvas.legend(loc="outside right upper", frameon=False, fontsize=8)
    return canvas


def _curves(details: Mapping[str, Any]) -> Canvas:
    """µs a line against what grows, a panel each."""
    canvas = Canvas(figsize=(7.2, 4.6), layout="constrained")
    grid = canvas.subplots(2, 3, sharey=True).ravel()
    colours = {curves.SERVICE: _OURS_TOO, curves.KERNEL: _OURS, curves.TAKE: _FLOOR}
    for axes, (what, some) in zip(grid, details.items(), strict=False):
        for who, colour in colours.items():
            us = [each["us_a_line"][who] for each in some]
            axes.plot([each["at"] for each in some], us, "o-", color=colour, label=who, markersize=3.5)
        _logarithmic(axes)
        axes.set_xlabel(f"{what} a request" if what == "lines" else what)
    for axes in grid[::3]:
        axes.set_ylabel("µs a line")
    for axes in grid[len(details) :]:
        axes.set_axis_off()
    lines, labels = grid[0].get_legend_handles_labels()
    grid[-1].legend(lines, labels, loc="center", frameon=False)
    return canvas


def _logarithmic(axes: Axes) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(_number))
        axis.set_minor_locator(NullLocator())


def _number(value: float, _: object) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


if __name__ == "__main__":
    for each in draw(json.loads(RESULT.read_text(encoding="utf-8")), FOLDER):
        print(each)

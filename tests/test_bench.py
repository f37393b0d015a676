"""What measures must not lie: the check of ratios can fail, reports are read right, the same figures draw the same."""

import copy
import os
import stat
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from bench import check, curves, h2load, peers, plots, run
from bench.bounds import BOUNDS, Bound
from bench.measure import Figure, figure
from pricegrid import v1
from pricegrid.pricing_engine.engine import PriceAsk
from pricegrid.pricing_engine.model import MICROS

pytestmark = pytest.mark.slow  # it draws plots and starts programs

H2LOAD_SAYS = """\
starting benchmark...
Main benchmark duration is over for thread #0. Stopping all clients.

finished in 2.01s, 3248.00 req/s, 267.93MB/s
requests: 3248 total, 3248 started, 3248 done, 3248 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 3248 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 267.93MB (280944773) total, 19.32KB (19785) headers (space savings 96.28%), 541.39MB (567687420) data
                     min         max         mean         sd        +/- sd
time for request:     1.18ms     21.32ms      9.40ms      3.34ms    78.94%
"""  # of 1.52.0, two lines left out


def measured(*ratios, name="kernel"):
    """A measure that finds these ratios, one each time."""
    left = list(ratios)
    return lambda: [figure(name, "", left.pop(0), 1.0, "np.take", "µs")]


# The check


def test_a_ratio_within_its_bound_passes_without_a_second_look(capsys):
    assert check.check([measured(29.9)], {"kernel": Bound(10)}) == 0
    assert "kernel: 29.90× of np.take, at most 30.00×" in capsys.readouterr().out


def test_a_ratio_beyond_its_bound_twice_fails_and_says_which_how_far_and_how_far_it_may_go(capsys):
    assert check.check([measured(30.1, 31.0)], {"kernel": Bound(10)}) == 1
    said = capsys.readouterr().err
    assert said == "far out of line: kernel: 30.10× of np.take, at most 30.00× (usual 10×)\n"


def test_a_ratio_beyond_its_bound_once_is_forgiven():
    assert check.check([measured(90.0, 12.0)], {"kernel": Bound(10)}) == 0


@pytest.mark.parametrize("nothing", [float("nan"), None], ids=["nan", "none"])
def test_a_ratio_that_is_none_fails(nothing):
    unmeasured = Figure("kernel", "", 1.0, 1.0, "np.take", "µs", nothing)
    assert check.judge([lambda: [unmeasured]], {"kernel": Bound(10)}, say=lambda _: None)


def test_a_figure_without_a_bound_and_a_bound_without_a_figure_fail():
    wrong = check.judge([measured(1.0)], {"encode": Bound(10)}, say=lambda _: None)
    assert wrong == ["kernel: has no bound in bench/bounds.py", "encode: was not measured"]


def test_every_bound_is_generous_and_can_be_broken():
    assert all(1 < bound.factor <= 4 and bound.usual > 0 for bound in BOUNDS.values())


# h2load


@pytest.fixture
def fake_h2load(tmp_path, monkeypatch):
    """An h2load on the PATH that notes how it was called and says what it is told."""

    def install(says, code=0):
        program, called = tmp_path / "h2load", tmp_path / "called"
        program.write_text(
            textwrap.dedent(f"""\
                #!{sys.executable}
                import sys
                open({str(called)!r}, "w").write("\\n".join(sys.argv[1:]))
                print({says!r})
                sys.exit({code})
                """)
        )
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
        return called

    return install


def test_h2load_is_asked_for_one_connection_and_its_report_is_read(fake_h2load, tmp_path):
    called = fake_h2load(H2LOAD_SAYS)
    body = h2load.write_body(tmp_path / "body", b"abc")

    done = h2load.run("http://127.0.0.1:1/a.B/C", body, 2, min(os.sched_getaffinity(0)))

    assert done == {"rate": 3248.0, "calls": 3248, "data_bytes": 280944773}
    assert body.read_bytes() == b"\0\0\0\0\x03abc"
    assert called.read_text().splitlines() == [
        "--duration=2",
        "--warm-up-time=1",
        "--threads=1",
        "--clients=1",
        "--max-concurrent-streams=32",
        f"--data={body}",
        "--header=content-type: application/grpc",
        "--header=te: trailers",
        "http://127.0.0.1:1/a.B/C",
    ]


@pytest.mark.parametrize(
    "says",
    [
        H2LOAD_SAYS.replace("3248 succeeded, 0 failed", "3247 succeeded, 1 failed"),
        H2LOAD_SAYS.replace("0 errored", "3 errored"),
        H2LOAD_SAYS.replace("3248", "0"),
        "",
    ],
    ids=["failed", "errored", "nothing done", "nothing said"],
)
def test_a_run_of_h2load_with_failures_is_no_figure(fake_h2load, tmp_path, says):
    fake_h2load(says)
    with pytest.raises(ValueError, match="h2load"):
        h2load.run("http://x", tmp_path, 1, min(os.sched_getaffinity(0)))


def test_h2load_that_ends_badly_is_no_figure(fake_h2load, tmp_path):
    fake_h2load(H2LOAD_SAYS, code=1)
    with pytest.raises(ValueError, match="h2load"):
        h2load.run("http://x", tmp_path, 1, min(os.sched_getaffinity(0)))


def test_without_h2load_there_are_no_figures_of_it(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert h2load.measure(None, None, None, None, 1, 1) == []


# Peers


def test_a_peer_with_another_price_is_found_out():
    asked = PriceAsk("", "EUR", "", 0, [b"A", b"B"], np.full(2, MICROS), [b""] * 2)
    ours = v1.PriceLinesResponse(
        results=[v1.PriceLineResult(unit_price_micros=5), v1.PriceLineResult(unit_price_micros=7)]
    ).SerializeToString()

    peers.check_same(
        {"rows": lambda _: [("B", 7), ("A", 5)], "values": lambda _: [b"5", b"7"]}, lambda _: ours, asked
    )

    for other in ([("A", 5)], [("B", 5), ("A", 7)], [b"7", b"5"]):
        with pytest.raises(AssertionError, match="redis has other prices"):
            peers.check_same({"redis": lambda _, other=other: other}, lambda _: ours, asked)


# Tables and plots


def document():
    """Figures of a run, made up."""
    p50 = {who: {str(n): 10.0 * n**0.5 + k for n in peers.LINES} for k, who in enumerate(peers.WHO)}
    point = {curves.TAKE: 0.01, curves.KERNEL: 0.5, curves.SERVICE: 0.6}
    cpu = Figure("QuoteLines over gRPC, 1 line, server CPU a call", "", 150.0, 100.0, "echo", "µs", 1.5)
    return {
        "figures": [{name: getattr(cpu, name) for name in cpu.__slots__}],
        "details": {
            "peers": {"p50_us": p50, "missing": {}, "cells": 5},
            "curves": {
                what: [{"at": 10**k, "us_a_line": point} for k in range(3)] for what in ("cells", "lines")
            },
        },
    }


def test_plots_of_the_same_figures_are_the_same_bytes_and_have_no_date(tmp_path):
    first, again = (plots.draw(document(), tmp_path / name) for name in "ab")

    assert [path.name for path in first] == ["rpc.svg", "peers.svg", "curves.svg"]
    for one, other in zip(first, again, strict=True):
        assert one.read_bytes() == other.read_bytes()
        assert b"<dc:date>" not in one.read_bytes()


def test_another_figure_is_another_plot(tmp_path):
    changed = copy.deepcopy(document())
    changed["details"]["peers"]["p50_us"][peers.REDIS]["100"] = 5000.0

    drawn = [
        {p.name: p.read_bytes() for p in plots.draw(d, tmp_path / k)}
        for k, d in (("a", document()), ("b", changed))
    ]

    assert {name for name in drawn[0] if drawn[0][name] != drawn[1][name]} == {"peers.svg"}


def test_a_peer_that_could_not_run_says_why_in_the_table_and_is_missing_in_the_plot(tmp_path):
    without = document()
    details = without["details"]["peers"]
    details["missing"] = {peers.POSTGRES: "there is no initdb on the PATH"}
    del details["p50_us"][peers.POSTGRES]

    assert "not measured: there is no initdb on the PATH" in peers.table(details)
    assert [each.ratio for each in peers.figures(details) if peers.POSTGRES in each.floor_is] == [None] * 8
    assert plots.draw(without, tmp_path)


def test_a_table_goes_between_its_marks_and_nothing_else_changes():
    page = "a\n<!-- peers: begin -->\nold\n<!-- peers: end -->\nb\n<!-- curves: begin -->\nx\n<!-- curves: end -->\n"

    assert run.filled(page, "peers", "new") == page.replace("old", "new")


def test_the_pages_have_a_place_for_every_table_and_show_every_plot(tmp_path):
    figures = run.PAGE.read_text(encoding="utf-8")
    page = Path("docs/performance.md").read_text(encoding="utf-8")
    full = {**document(), "made_at": "2026-01-01", "machine": {}}

    for name in ("figures", "peers", "curves"):
        assert run.filled(figures, name, "x") != figures
    for path in plots.draw(full, tmp_path):
        assert f"(plots/{path.name})" in page


def test_a_part_that_is_measured_again_replaces_its_rows_and_keeps_the_others():
    def row(name, part, run):
        return Figure(name, "", 1.0, 1.0, "floor", "s", 1.0, part=part, run=run)

    before = [row("a", "x", "old"), row("b", "y", "old"), row("gone", "y", "old"), row("c", "", "old")]
    again = [row("b", "y", "new"), row("more", "y", "new")]

    merged = run.laid_over(before, again, {"y"})

    assert [(each.name, each.run) for each in merged] == [
        ("a", "old"),
        ("b", "new"),
        ("c", "old"),
        ("more", "new"),
    ]

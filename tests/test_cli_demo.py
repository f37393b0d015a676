"""`pricegrid demo`, as `make demo </dev/null` runs it, with a smaller distributor."""

import json
import os
import signal
import subprocess
import sys

import pytest

from pricegrid.service.process.kernel_build import parts_of, read_plan

DEMO = [sys.executable, "-m", "pricegrid.service.cli.main", "demo", "--items", "600", "--customers", "200"]


def run(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*DEMO, *options], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_without_a_terminal_it_prices_the_basket_and_ends(tmp_path):
    ended = run("--dir", str(tmp_path / "demo"), "--json")

    assert ended.returncode == 0, ended.stderr
    rows = json.loads(ended.stdout)
    assert len(rows) >= 5
    assert {row["currency"] for row in rows} == {"EUR"}
    assert len({row["layer"] for row in rows if row["status"] == "OK"}) >= 3, (
        "the basket shows several kinds of price"
    )


@pytest.mark.slow
def test_what_it_tells_fits_a_terminal_is_of_today_and_ends_with_commands_that_work(tmp_path):
    ended = run("--dir", str(tmp_path / "demo"))

    assert ended.returncode == 0, ended.stderr
    told, asked = ended.stdout.split("\nAsk more:\n")
    assert max(map(len, told.splitlines())) <= 100
    (stock,) = [line for line in told.splitlines() if line.startswith("stock as told by")]
    assert stock.count("FRESH") == 3, "no source is old or unknown"
    commands = asked.splitlines()
    assert len(commands) == 4
    for command in commands:
        pasted = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
        assert pasted.returncode == 0, (command, pasted.stderr)


@pytest.mark.slow
def test_kernels_that_lack_are_compiled_where_it_is_seen_and_not_after_an_interrupt(tmp_path):
    lacking = {kernel for part in parts_of("demo", None) for kernel in read_plan()[part]}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    environment["PRICEGRID_KERNEL_CACHE"] = str(tmp_path / "kernels")
    demo = subprocess.Popen(
        [*DEMO, "--dir", str(tmp_path / "demo")],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    with demo:
        assert demo.stderr is not None
        assert f"compiling {len(lacking)} kernels with" in demo.stderr.readline()
        demo.send_signal(signal.SIGTERM)
        said, _ = demo.communicate(timeout=30)
    assert demo.returncode != 0
    assert "3. serving it" not in said


def test_a_directory_with_other_things_is_left_alone(tmp_path):
    keep = tmp_path / "thesis.txt"
    keep.write_text("years of work", encoding="utf-8")

    ended = run("--dir", str(tmp_path))

    assert ended.returncode == 2
    assert "thesis.txt" in ended.stderr
    assert keep.read_text(encoding="utf-8") == "years of work"

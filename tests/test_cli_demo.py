"""`pricegrid demo`, as `make demo </dev/null` runs it, with a smaller distributor."""

import json
import subprocess
import sys

import pytest

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


def test_a_directory_with_other_things_is_left_alone(tmp_path):
    keep = tmp_path / "thesis.txt"
    keep.write_text("years of work", encoding="utf-8")

    ended = run("--dir", str(tmp_path))

    assert ended.returncode == 2
    assert "thesis.txt" in ended.stderr
    assert keep.read_text(encoding="utf-8") == "years of work"

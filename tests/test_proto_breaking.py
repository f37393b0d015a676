"""A change of the protos that breaks callers of the last release is found by `make lint`."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MESSAGE = "PriceLine"


def breaking(protos: Path) -> subprocess.CompletedProcess[str]:
    """What `make lint` runs."""
    buf = Path(sys.executable).with_name("buf")
    words = [buf, "breaking", protos, "--against", ROOT / "proto" / "released.txtpb"]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def protos(tmp_path) -> Path:
    return shutil.copytree(ROOT / "proto", tmp_path / "proto")


def rewritten(protos: Path, pattern: str, replacement: str) -> None:
    """The first place in the message where the pattern is."""
    for path in sorted(protos.rglob("*.proto")):
        text = path.read_text(encoding="utf-8")
        at = text.find(f"message {MESSAGE} {{")
        if at >= 0:
            changed, count = re.subn(pattern, replacement, text[at:], count=1)
            assert count == 1, pattern
            path.write_text(text[:at] + changed, encoding="utf-8")
            return
    pytest.fail(f"no message {MESSAGE}")


def test_the_protos_break_nobody(protos):
    found = breaking(protos)

    assert (found.returncode, found.stdout) == (0, ""), found.stderr


@pytest.mark.parametrize(
    ("pattern", "replacement", "said"),
    [
        (r"string sku = \d+;", "string sku = 77;", 'Previously present field "1" with name "sku"'),
        (r"int64 quantity_micros = (\d+);", r"string quantity_micros = \1;", "quantity_micros"),
        (r"string uom = (\d+);", r"string unit = \1;", '"uom"'),
    ],
    ids=["renumbered", "retyped", "renamed"],
)
def test_a_field_that_changes_under_its_callers_is_named(protos, pattern, replacement, said):
    rewritten(protos, pattern, replacement)

    found = breaking(protos)

    assert found.returncode == 100, found.stderr
    assert said in found.stdout


def test_a_new_field_breaks_nobody(protos):
    rewritten(protos, r"string uom = (\d+);", r"string uom = \1;\n  string remark = 99;")

    assert breaking(protos).returncode == 0

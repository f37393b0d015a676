"""An ordinary hardened container: read-only root, user 10001 of whom nobody knows, no home. bubblewrap stands in."""

import json
import os
import shutil
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from pricegrid import Client, Line, ReserveLine
from tests.servers import DEADLINE_S
from tests.stores import publish, stocked_rows

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed"),
]
ROOT = Path(__file__).parent.parent
PRICEGRID = ("-m", "pricegrid.service.cli.main")
KERNELS = tuple(
    name for name in os.environ if name.startswith("NUMBA_C") or name == "PRICEGRID_SHIPPED_KERNELS"
)
ONE_KERNEL = """
import os
from pricegrid.service.process.kernel_cache import use_kernel_cache
use_kernel_cache(os.environ)
import numpy as np
from pricegrid.columnar.names import slots_for
print("slots", slots_for(np.frombuffer(b"AB", np.uint8), np.array([0, 1, 2], np.int16)).shape)
"""


def hardened(
    *words: str, writable: Path | None = None, kernels: bool = True, temporary: bool = True
) -> list[str]:
    """The command that runs Python so; only `writable` can be written, and /tmp if there is a temporary one."""
    box = ["bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--die-with-parent"]
    box += ["--unshare-user", "--uid", "10001", "--gid", "10001", "--clearenv"]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    if kernels:
        environment |= {name: os.environ[name] for name in KERNELS}
    for name, value in environment.items():
        box += ["--setenv", name, value]
    if temporary:
        box += ["--perms", "1777", "--tmpfs", "/tmp"]
    if writable is not None:
        box += ["--bind", str(writable), str(writable)]
    return [*box, sys.executable, *words]


@pytest.fixture
def store(tmp_path_factory):
    """Not below /tmp, of which the box has its own."""
    directory = Path(os.environ.get("PYTEST_DEBUG_TEMPROOT", ROOT / "build")) / f"hardened-{os.getpid()}"
    publish(directory, stocked_rows())
    yield directory
    shutil.rmtree(directory)


@pytest.mark.parametrize("has_live_state", [False, True], ids=["never served", "served before"])
def test_a_store_that_can_t_be_written_is_quoted_from(store, has_live_state):
    if has_live_state:
        (store / "live").mkdir()
    before = sorted(store.rglob("*"))

    done = subprocess.run(
        hardened(*PRICEGRID, "quote", "--store", str(store), "--customer", "C1", "--json", "S3:2"),
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    (row,) = json.loads(done.stdout)
    assert (row["unit_price"], row["book_id"], row["status"]) == ("10.00", "LIST", "OK")
    assert sorted(store.rglob("*")) == before


@pytest.mark.parametrize("temporary", [True, False], ids=["with /tmp", "without"])
def test_a_server_needs_a_writable_store_and_nothing_else(store, temporary):
    words = ["serve", "--store", str(store), "--port", "0", "--workers", "1", "--json"]
    command = hardened(*PRICEGRID, *words, writable=store, temporary=temporary)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        try:
            line = server.stdout.readline()
            assert line, server.stderr.read()
            with Client(json.loads(line)["address"]) as client:
                answer = client.quote_lines("C1", [Line("S3", 2)], branches=("HAM",), timeout_s=DEADLINE_S)
                kept = client.reserve([ReserveLine("S4", 2, "HAM")], key="cart", timeout_s=DEADLINE_S)
        finally:
            server.terminate()
    assert answer.lines[0].price.unit_price == Decimal(10)
    assert kept.reservation.reservation_id


def test_kernels_are_kept_in_a_private_temporary_folder():
    seen = "import pathlib, stat\nfor p in pathlib.Path('/tmp').glob('pricegrid-*'):\n"
    seen += "    print(p, stat.filemode(p.stat().st_mode), len(list(p.rglob('*.nbc'))) > 0)\n"

    done = subprocess.run(
        hardened("-c", ONE_KERNEL + seen, kernels=False), capture_output=True, text=True, check=True
    )

    assert done.stdout.splitlines() == ["slots (8,)", "/tmp/pricegrid-10001 drwx------ True"]
    assert done.stderr.count("compiling kernels, once") == 1


def test_kernels_that_can_t_be_kept_anywhere_are_used_all_the_same():
    done = subprocess.run(
        hardened("-c", ONE_KERNEL, kernels=False, temporary=False), capture_output=True, text=True, check=True
    )

    assert done.stdout == "slots (8,)\n"
    assert done.stderr.count("can't be kept") == 1
    assert "PRICEGRID_KERNEL_CACHE" in done.stderr

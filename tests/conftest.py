"""Under `pytest -n` the kernels are compiled once: the first process does it, the others find them in the cache."""

import fcntl
import os
import tempfile
from pathlib import Path

import pytest

from pricegrid.service.process.kernel_cache import use_kernel_cache

use_kernel_cache(os.environ)  # before any kernel is imported


def pytest_sessionstart(session: pytest.Session) -> None:
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return
    from tests.warm_up import compile_kernels

    with (Path(tempfile.gettempdir()) / f"pricegrid-tests-{os.getuid()}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        compile_kernels()

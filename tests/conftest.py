"""Tests are marked by what they need. Under `pytest -n` the kernels are compiled once: the first process does it, the
others find them in the cache; the fast profile leaves them to be compiled as they are used, since it uses few."""

import fcntl
import gc
import logging
import os
import tempfile
from pathlib import Path

import pytest

from pricegrid.service.process.kernel_cache import use_kernel_cache
from tests.log_leaks import LeakHandler
from tests.profiles import FAST, is_left_out, needs, needs_by_text, use_profile
from tests.telemetry import keep

SAY_WHAT_DIFFERS = ("atp_world", "page_answers", "page_stories", "price_tables")
pytest.register_assert_rewrite(*(f"tests.{name}" for name in SAY_WHAT_DIFFERS))  # as test modules do
use_kernel_cache(os.environ)  # before any kernel is imported
use_profile()


def pytest_sessionstart(session: pytest.Session) -> None:
    if "PYTEST_XDIST_WORKER" not in os.environ or FAST:
        return
    from tests.warm_up import compile_kernels

    with (Path(tempfile.gettempdir()) / f"pricegrid-tests-{os.getuid()}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        compile_kernels()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    return True if is_left_out(collection_path, config.option.markexpr) else None


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    functions = [item for item in items if isinstance(item, pytest.Function)]
    for module in {item.module for item in functions}:
        told = needs_by_text(Path(module.__file__)) - needs(module)
        assert not told, f"{module.__file__} would be left out for {told}, which its tests do not need"
    for item in functions:
        for marker in needs(item.module):
            item.add_marker(marker)


LEAKS = LeakHandler()


def pytest_configure() -> None:
    logging.getLogger().addHandler(LEAKS)


def pytest_collection_finish() -> None:
    """What is imported by now stays until the end: no collection of garbage looks at it again."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown():
    yield
    told, LEAKS.told = LEAKS.told, []
    keep("logs", told)
    found, LEAKS.found = LEAKS.found, []
    assert not found, f"a log tells what it must not: {found}"

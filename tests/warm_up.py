"""Compiles the kernels, so that what runs next finds them in the cache."""

import tempfile
from pathlib import Path

from pricegrid.pricing_engine.model import ExceptionPolicy
from pricegrid.service.process.bootstrap import check_snapshot
from tests.stores import publish, stocked_rows


def compile_kernels() -> None:
    """Compiles what answers a request."""
    with tempfile.TemporaryDirectory() as store:
        publish(Path(store), stocked_rows())
        check_snapshot(Path(store), None, ExceptionPolicy())

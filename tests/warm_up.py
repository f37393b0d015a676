"""Compiles the kernels, so that what runs next finds them in the cache."""

from loaders.compile_prices import compile_prices
from loaders.validate import validate_tables
from pricing_engine.engine import PriceEngine
from service.runtime import warm
from tests.datasets import as_frames
from tests.stores import price_rows


def compile_kernels() -> None:
    """Compiles what answers a price request."""
    warm(PriceEngine(compile_prices(validate_tables(as_frames(price_rows())).frames)))

"""The kernels over plain arrays with every index checked: what runs unchecked in service stays inside its arrays."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
from random import Random
import numpy as np
from pricegrid.loaders.compile.prices import compile_prices
from pricegrid.loaders.validate.tables import validate_tables
from pricegrid.pricing_engine.kernels import price as kn
from pricegrid.pricing_engine.engine import PriceEngine
from tests.datasets import as_frames, random_questions, random_rows
from tests.test_price_rules_agree import POLICY, _ask
from tests.written import accepted

unchecked, checked = kn.price_batch, kn.price_batch_checked
for seed in range(60):
    rng = Random(seed)
    rows = random_rows(rng)
    engine = PriceEngine(compile_prices(accepted(as_frames(rows)).frames), POLICY)
    for question in random_questions(rng, "UTC", 10):
        if question.customer_id or question.currency:
            kn.price_batch = unchecked
            answers = engine.price(_ask(question)).columns
            kn.price_batch = lambda descriptor, *rest: checked(engine._matrix, *rest)
            assert np.array_equal(engine.price(_ask(question)).columns, answers), (seed, question)
print("inside")
"""


@pytest.mark.slow
def test_no_index_leaves_its_array(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "NUMBA_BOUNDSCHECK": "1",
        "NUMBA_CACHE_DIR": str(tmp_path),
        "PYTHONPATH": ".",
    }
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert run.stdout == "inside\n", run.stderr[-2000:]

"""Compiles the kernels, so that what runs next finds them in the cache."""

import contextlib
import io
import tempfile
from pathlib import Path

from pricegrid import Line
from pricegrid.pricing_engine.model import ExceptionPolicy
from pricegrid.service.cli.main import main
from pricegrid.service.process.bootstrap import check_snapshot
from pricegrid.service.rpc.in_process import store_client
from tests.stores import publish, stocked_rows

CHANGE = "book_id,sku,method,value\nLIST,S4,net,11\n"


def compile_kernels() -> None:
    """Compiles what answers a request, explains a price and loads a change of prices: commands whose output is
    compared must find it in the cache."""
    with tempfile.TemporaryDirectory() as name:
        store, changes = Path(name) / "store", Path(name) / "changes"
        publish(store, stocked_rows())
        check_snapshot(store, None, ExceptionPolicy())
        with store_client(store, ExceptionPolicy()) as client:
            client.explain_price("C1", Line("S4"))
        changes.mkdir()
        (changes / "price_entries.csv").write_text(CHANGE)
        with contextlib.redirect_stdout(io.StringIO()):
            main(["load", str(changes), "--store", str(store), "--delta", "--force"])

"""An answer that nobody waits for any more ends between its parts: its thread is free for others."""

from dataclasses import replace

import numpy as np
import pytest

from pricegrid import v1
from pricegrid.pricing_engine.engine import BATCH_LINES, PriceAsk, PriceEngine
from pricegrid.pricing_engine.model import ExceptionPolicy
from pricegrid.service.errors import Reason, RequestRefusedError
from pricegrid.service.process.bootstrap import load_snapshot
from pricegrid.service.process.snapshots import LoadedSnapshot
from pricegrid.service.rpc.call import Caller
from pricegrid.service.rpc.overload import too_late
from pricegrid.service.rpc.services import services
from tests.fakes import OneSnapshot
from tests.stores import publish, stocked_rows

NOW_US = 1_772_452_800_000_000
LINES = [v1.PriceLine(sku=sku, quantity_micros=1_000_000) for sku in ("S4", "E1", "nope")]
MANY = [LINES[at % 2] for at in range(2 * BATCH_LINES + 1)]


class Patience(Caller):
    """A caller who waits for so many parts."""

    parts = 0
    asked = 0

    def check_deadline(self) -> None:
        self.asked += 1
        if self.asked > self.parts:
            raise too_late()


@pytest.fixture(scope="module")
def loaded(tmp_path_factory) -> LoadedSnapshot:
    store = tmp_path_factory.mktemp("stocked")
    publish(store, stocked_rows())
    return replace(load_snapshot(store, None, ExceptionPolicy()), fast_path=None)  # that is one part


def requests() -> dict[str, tuple[str, object, int]]:
    """The service, the request and in how many parts it is answered at least."""
    prices = {"customer_id": "C1"}
    stock = {**prices, "branches": ["HAM", "RTM"]}
    check, promise = v1.CheckAvailabilityRequest, v1.PromiseOrderRequest
    free = [v1.AvailabilityLine(sku=line.sku, quantity_micros=line.quantity_micros) for line in LINES]
    return {
        "PriceLines": (v1.PRICING_SERVICE, v1.PriceLinesRequest(lines=MANY, **prices), 3 + 1),
        "ExplainPrice": (v1.PRICING_SERVICE, v1.ExplainPriceRequest(line=LINES[0], **prices), 1),
        "QuoteLines": (v1.QUOTE_SERVICE, v1.QuoteLinesRequest(lines=LINES, **stock), 1 + 1 + 1 + 1),
        "CheckAvailability": (v1.AVAILABILITY_SERVICE, check(lines=free, explain=True, **stock), 1 + 6),
        "PromiseOrder": (v1.AVAILABILITY_SERVICE, promise(lines=free, explain=True, **stock), 1 + 6),
    }


@pytest.mark.parametrize("method", requests())
def test_a_method_asks_between_its_parts_whether_anybody_waits(loaded, method):
    service, request, least = requests()[method]
    answer = services(OneSnapshot(loaded), lambda: NOW_US)[service][method]

    def parts(patience: int) -> int:
        caller = Patience("id", service_desk=True)
        caller.parts = patience
        answer(request.SerializeToString(), caller)
        return caller.asked

    found = parts(10_000)
    assert found >= least
    for patience in range(found):
        with pytest.raises(RequestRefusedError) as refused:
            parts(patience)
        assert refused.value.reason is Reason.DEADLINE_EXCEEDED


def test_a_deadline_that_has_passed_is_one():
    Caller("id").check_deadline()
    Caller("id", deadline_s=1e12).check_deadline()
    with pytest.raises(RequestRefusedError):
        Caller("id", deadline_s=0.0).check_deadline()


def test_batches_answer_what_one_line_at_a_time_does(loaded):
    engine: PriceEngine = loaded.engine
    skus = [line.sku.encode() for line in MANY]
    quantities = np.arange(1, len(skus) + 1, dtype=np.int64) * 1_000_000
    asked = ("C1", "", "", NOW_US)
    whole = engine.price(PriceAsk(*asked, skus, quantities, [b""] * len(skus)))
    for at in (0, BATCH_LINES - 1, BATCH_LINES, 2 * BATCH_LINES - 1, 2 * BATCH_LINES):
        one = engine.price(PriceAsk(*asked, skus[at : at + 1], quantities[at : at + 1], [b""]))
        assert one.columns[0].tolist() == whole.columns[at].tolist()

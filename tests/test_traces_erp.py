"""What was asked of an ERP is a part of the call's spans."""

from time import monotonic

import pytest

from pricegrid import v1
from pricegrid.cache.memory import MemoryValueCache
from pricegrid.erp.dead_letters import DeadLetterFile
from pricegrid.erp.gateway import ErpGateway
from pricegrid.erp.observe import NoErpMetrics
from pricegrid.erp.settings import read_settings
from pricegrid.erp.validation import PriceCheck
from pricegrid.pricing_engine.model import NEVER_US, PriceQuestion
from pricegrid.service.rpc.services import services
from pricegrid.service.tracing.parts import ErpSpans
from tests.erp_server import Fault, SmallErp, serving
from tests.fakes import FakeContext, OneSnapshot, fake_snapshot
from tests.spans import SAMPLED, TRACE, Memory
from tests.test_traces import NOW_US, PRICE_LINES, handlers, request


@pytest.fixture
def erp():
    with serving(SmallErp()) as small:
        small.prices["", "X1"] = "9.75"
        yield small


def gateway(small: SmallErp, memory: Memory, tmp_path, text: str = "") -> ErpGateway:
    made = ErpGateway(
        read_settings(small.config(tmp_path, text)),
        MemoryValueCache(),
        DeadLetterFile(tmp_path),
        NoErpMetrics(),
        lambda: NOW_US,
        spans=ErpSpans(memory.traces),
    )
    made.start()
    return made


def test_calls_of_the_erp_are_parts_of_the_call_and_carry_its_trace(erp, tmp_path):
    memory = Memory()
    made = gateway(erp, memory, tmp_path)
    check = PriceCheck(PriceQuestion("C1", "X1", 1_000_000, NOW_US, "EA", "EUR"), None, NEVER_US)

    def method(raw, caller):
        assert made.prices([check], monotonic() + 60)[0] is not None
        return services(OneSnapshot(fake_snapshot()), lambda: NOW_US)[v1.PRICING_SERVICE]["PriceLines"](
            raw, caller
        )

    try:
        call = handlers(memory, {v1.PRICING_SERVICE: {"PriceLines": method}})
        call.call(v1.PRICING_SERVICE, "PriceLines")(request(), FakeContext(("traceparent", SAMPLED)))
        made._cache = MemoryValueCache()
        made.prices([check], monotonic() + 60)  # of nobody's trace
    finally:
        made.close()

    asking, lines, whole = memory.spans()
    assert [each.name for each in (asking, lines, whole)] == ["ERP call", "ERP lines", PRICE_LINES]
    assert (asking.parent, lines.parent) == (lines.span, whole.span)
    assert (asking.attributes, lines.attributes) == (
        {"pricegrid.erp.outcome": "OK"},
        {"pricegrid.erp.lines": 1},
    )
    assert erp.parents == [f"00-{TRACE}-{asking.span}-01", None]


def test_a_call_of_the_erp_that_fails_says_how(erp, tmp_path):
    memory = Memory()
    erp.fault = Fault.ERRORS
    made = gateway(erp, memory, tmp_path, "[limits]\nretries_max = 0\n")
    check = PriceCheck(PriceQuestion("C1", "X1", 1_000_000, NOW_US, "EA", "EUR"), None, NEVER_US)
    try:
        memory.traces.unary("a", 0, lambda *_: b"", lambda *_: made.prices([check], monotonic() + 60))(
            b"", FakeContext(("traceparent", SAMPLED))
        )
    finally:
        made.close()

    failed = memory.spans()[0]
    assert (failed.attributes["pricegrid.erp.outcome"], failed.is_error) == ("UNAVAILABLE", True)

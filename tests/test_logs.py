"""Both formats of the log say the same, with the id of the exchange; calls are logged by sampling, without a flood."""

import json
import logging
import re
import sys
import time

import pytest

from pricegrid import v1
from pricegrid.service.errors import Reason, RequestRefusedError
from pricegrid.service.logs import JsonFormatter, TextFormatter, of_exchange
from pricegrid.service.rpc.call import Caller, in_exchange
from pricegrid.service.rpc.exchange_log import RefusalLog
from pricegrid.service.rpc.handlers import SampledHandlers
from pricegrid.service.rpc.metrics import NoMetrics
from pricegrid.service.rpc.overload import Queue
from pricegrid.service.rpc.services import services
from tests.fakes import AbortedError, FakeContext, OneSnapshot, fake_snapshot
from tests.log_leaks import leaks

NOW_US = 1_800_000_000_000_000


def record(message="%s is ready", *args, error=None, **extra) -> logging.LogRecord:
    found = logging.LogRecord("pricegrid", logging.WARNING, __file__, 1, message, args or ("it",), error)
    found.created = 1_800_000_000.0625
    found.__dict__.update(extra)
    return found


@pytest.fixture
def far_east(monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("far_east")
def test_text_has_utc_level_process_and_message():
    line = TextFormatter("worker").format(record())

    assert re.fullmatch(r"2027-01-15T08:00:00\.062Z WARNING worker \d+ it is ready", line)


def test_json_has_the_same_as_members():
    line = json.loads(JsonFormatter("worker").format(record()))

    assert line.pop("pid") > 0
    assert line == {
        "time": "2027-01-15T08:00:00.062Z",
        "level": "WARNING",
        "process": "worker",
        "message": "it is ready",
    }


def test_a_line_of_a_call_has_its_id_and_fields():
    told = record(**of_exchange("web-17", method="QuoteLines"))

    assert TextFormatter("worker").format(told).endswith(" it is ready, correlation id web-17")
    line = json.loads(JsonFormatter("worker").format(told))
    assert (line["correlation_id"], line["method"]) == ("web-17", "QuoteLines")


def test_an_error_stays_one_line_of_json():
    try:
        raise ZeroDivisionError('a "quoted"\nsecond line')
    except ZeroDivisionError:
        told = record(error=sys.exc_info())

    line = JsonFormatter("worker").format(told)
    assert "\n" not in line
    assert json.loads(line)["error"].endswith('ZeroDivisionError: a "quoted"\nsecond line')
    assert TextFormatter("worker").format(told).count("\n") > 2


def test_what_is_logged_on_the_way_has_the_id_of_the_call_and_nothing_after_it():
    line = TextFormatter("worker").format

    @in_exchange
    def method(raw, caller):
        return line(record(raw))

    with pytest.raises(AttributeError):
        in_exchange(lambda raw, caller: raw.missing)(b"", Caller("web-16"))
    assert method("%s fails", Caller("web-17")).endswith("it fails, correlation id web-17")
    assert "correlation" not in line(record())


def request(lines: int) -> bytes:
    asked = [v1.PriceLine(sku="A", quantity_micros=2_000_000)] * lines
    return v1.PriceLinesRequest(customer_id="C", currency="EUR", lines=asked).SerializeToString()


def sampled(one_in: int):
    offered = services(OneSnapshot(fake_snapshot()), lambda: NOW_US)
    return SampledHandlers(offered, NoMetrics(), Queue(), one_in).call(v1.PRICING_SERVICE, "PriceLines")


def test_one_in_so_many_answered_calls_is_logged(caplog):
    caplog.set_level(logging.INFO)
    call = sampled(3)

    for number in range(7):
        call(request(number + 1), FakeContext(("x-correlation-id", f"web-{number}")))

    assert [(told.correlation_id, told.fields["lines"]) for told in caplog.records] == [
        ("web-0", 1),
        ("web-3", 4),
        ("web-6", 7),
    ]
    line = json.loads(JsonFormatter("worker").format(caplog.records[1]))
    assert (line["method"], line["status"]) == ("PriceLines", "OK")
    assert line["ms"] >= 0
    assert leaks([JsonFormatter("worker").format(each) for each in caplog.records]) == []


def test_a_refused_call_is_logged_with_its_id_whether_or_not_answered_ones_are(caplog):
    caplog.set_level(logging.INFO)

    with pytest.raises(AbortedError):
        sampled(1_000_000)(request(0), FakeContext(("x-correlation-id", "web-17")))

    (told,) = caplog.records
    assert told.getMessage() == "PriceLines refused: NO_LINES"
    assert told.correlation_id == "web-17"


def test_a_flood_of_refusals_is_told_in_a_line_a_second(caplog):
    caplog.set_level(logging.INFO)
    now_s = [100.0]
    log = RefusalLog(lambda: now_s[0])
    over, missing = (RequestRefusedError(each, "") for each in (Reason.QUOTA_EXCEEDED, Reason.NO_LINES))

    for number in range(5):
        log.refused("QuoteLines", over, Caller(f"web-{number}", subject="shop"))
    log.refused("QuoteLines", missing, Caller("web-5", subject="shop"))
    now_s[0] += 1.0
    log.refused("QuoteLines", over, Caller("web-6", subject="shop"))

    assert [told.getMessage() for told in caplog.records] == [
        "QuoteLines refused: QUOTA_EXCEEDED by shop",
        "QuoteLines refused: NO_LINES by shop",
        "QuoteLines refused: QUOTA_EXCEEDED by shop (4 more since the last line)",
    ]
    assert [told.correlation_id for told in caplog.records] == ["web-0", "web-5", "web-6"]

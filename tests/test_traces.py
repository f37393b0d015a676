"""Which calls have spans and what is in them; what was asked of a cache is a part of the call's."""

import json
import logging
import subprocess
import sys
from contextlib import suppress
from functools import partial

import pytest
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from pricegrid import v1
from pricegrid.cache.embedded import EmbeddedStateCache
from pricegrid.cache.protocol import CacheUnavailableError, Commit, Put
from pricegrid.service.cli.main import main
from pricegrid.service.logs import JsonFormatter, TextFormatter
from pricegrid.service.rpc.call import Watch
from pricegrid.service.rpc.handlers import Handlers
from pricegrid.service.rpc.later import Later
from pricegrid.service.rpc.metrics import NoMetrics
from pricegrid.service.rpc.overload import Queue
from pricegrid.service.rpc.services import services
from pricegrid.service.tracing.export import TellingExporter
from pricegrid.service.tracing.options import GRPC, HTTP, TraceOptions, TraceOptionsError, trace_options
from pricegrid.service.tracing.parts import traced_cache
from tests.fakes import AbortedError, FakeContext, OneSnapshot, fake_snapshot
from tests.spans import CALLER, SAMPLED, TRACE, UNSAMPLED, Memory

NOW_US = 1_800_000_000_000_000
PRICE_LINES = "pricegrid.v1.PricingService/PriceLines"


def request(lines: int = 2, customer: str = "C1") -> bytes:
    asked = [v1.PriceLine(sku="A", quantity_micros=2_000_000)] * lines
    return v1.PriceLinesRequest(customer_id=customer, currency="EUR", lines=asked).SerializeToString()


def handlers(memory: Memory | None, offered=None) -> Handlers:
    offered = offered or services(OneSnapshot(fake_snapshot()), lambda: NOW_US)
    return Handlers(offered, NoMetrics(), Queue(), traces=memory and memory.traces)


def asked(memory: Memory, *metadata: tuple[str, str], raw: bytes = b"") -> FakeContext:
    """A call of PriceLines with these headers."""
    context = FakeContext(("user-agent", "grpc-python"), ("x-correlation-id", "web-17"), *metadata)
    with suppress(AbortedError):
        handlers(memory).call(v1.PRICING_SERVICE, "PriceLines")(raw or request(), context)
    return context


def test_a_call_whose_caller_traces_it_has_a_span_in_their_trace():
    memory = Memory()

    asked(memory, ("traceparent", SAMPLED), ("tracestate", "shop=1"))

    (span,) = memory.spans()
    assert (span.name, span.trace, span.parent, span.is_error) == (PRICE_LINES, TRACE, CALLER, False)
    assert span.attributes == {
        "rpc.system.name": "grpc",
        "rpc.method": PRICE_LINES,
        "rpc.response.status_code": "OK",
        "pricegrid.correlation_id": "web-17",
        "pricegrid.lines": 2,
    }


@pytest.mark.parametrize(
    ("headers", "ratio", "follows_caller", "parents"),
    [
        ([], 0.0, True, []),
        ([], 0.51, True, [""]),
        ([], 0.5, True, []),
        ([("traceparent", UNSAMPLED)], 1.0, True, []),
        ([("traceparent", UNSAMPLED)], 0.51, False, [CALLER]),
        ([("traceparent", SAMPLED)], 0.5, False, []),
        ([("traceparent", SAMPLED.replace(TRACE, "0" * 32))], 0.0, True, []),
        ([("traceparent", SAMPLED.replace(TRACE, "0" * 32))], 1.0, True, [""]),
        ([("traceparent", "")], 1.0, True, [""]),
        ([("traceparent", "x" * 8_000)], 1.0, True, [""]),
        ([("traceparent", SAMPLED), ("traceparent", UNSAMPLED)], 0.0, True, [CALLER]),
    ],
)
def test_whether_a_call_is_traced_is_said_by_its_caller_or_drawn(headers, ratio, follows_caller, parents):
    memory = Memory(ratio, follows_caller=follows_caller)

    asked(memory, *headers)

    assert [span.parent for span in memory.spans()] == parents


def test_a_refused_call_has_its_reason_and_nothing_of_its_message():
    memory = Memory()

    asked(memory, ("traceparent", SAMPLED), raw=request(customer="nobody"))
    asked(memory, ("traceparent", SAMPLED), raw=request(lines=0))

    assert [
        (span.attributes["error.type"], span.attributes["rpc.response.status_code"], span.is_error)
        for span in memory.spans()
    ] == [("CUSTOMER_NOT_ALLOWED", "PERMISSION_DENIED", False), ("NO_LINES", "INVALID_ARGUMENT", False)]
    assert {span.attributes["pricegrid.correlation_id"] for span in memory.spans()} == {"web-17"}


def test_a_failure_of_ours_is_an_error():
    memory = Memory()

    def broken(raw, caller):
        raise ZeroDivisionError("bearer C1")

    call = handlers(memory, {v1.PRICING_SERVICE: {"PriceLines": broken}}).call(
        v1.PRICING_SERVICE, "PriceLines"
    )
    with suppress(AbortedError):
        call(b"", FakeContext(("traceparent", SAMPLED)))

    (span,) = memory.spans()
    assert (span.is_error, span.attributes["error.type"]) == (True, "INTERNAL_ERROR")


def test_lines_of_the_log_name_the_trace_of_their_call_alone(caplog):
    caplog.set_level(logging.INFO)
    told: list[logging.LogRecord] = []
    text: list[str] = []

    class Now(logging.Handler):
        def emit(self, record):
            told.append(json.loads(JsonFormatter("worker").format(record)))
            text.append(TextFormatter("worker").format(record))

    logger, now = logging.getLogger("pricegrid"), Now()
    logger.addHandler(now)
    try:
        asked(Memory(), ("traceparent", SAMPLED), raw=request(lines=0))
        asked(Memory(), raw=request(lines=0))
    finally:
        logger.removeHandler(now)

    assert [line.get("trace_id") for line in told] == [TRACE, None]
    assert text[0].endswith(f"correlation id web-17, trace {TRACE}")
    assert "trace" not in text[1]


def test_a_call_that_goes_on_in_another_thread_has_one_span_that_ends_there():
    memory = Memory()
    context = FakeContext()
    gone: list = []
    context.add_callback = gone.append

    def first(raw, _):
        raise Later(lambda task: None, lambda raw, _: b"answer", raw)

    call = memory.traces.unary("Quotes/Quote", 0, first, first)
    context._metadata = (("traceparent", SAMPLED),)
    with pytest.raises(Later) as later:
        call(b"", context)

    assert memory.spans() == []
    assert later.value.behavior(b"", context) == b"answer"
    assert [span.name for span in memory.spans()] == ["Quotes/Quote"]
    gone[0]()  # the end of the call ends no span again
    assert len(memory.spans()) == 1


def test_a_call_whose_caller_leaves_before_its_turn_has_a_span():
    memory = Memory()
    context = FakeContext(("traceparent", SAMPLED))
    gone: list = []
    context.add_callback = gone.append

    def first(raw, _):
        raise Later(lambda task: None, lambda raw, _: b"", raw)

    with suppress(Later):
        memory.traces.unary("Quotes/Quote", 0, first, first)(b"", context)
    gone[0]()

    assert len(memory.spans()) == 1


def test_a_stream_has_a_span_until_its_first_response():
    memory = Memory()
    ended = []

    def responses(raw, caller, is_over):
        yield b"first"
        ended.append(len(memory.spans()))
        yield b"second"

    offered = {v1.AVAILABILITY_SERVICE: {"WatchAvailability": Watch(responses, lambda: None)}}
    call = handlers(memory, offered).call(v1.AVAILABILITY_SERVICE, "WatchAvailability")
    context = FakeContext(("x-correlation-id", "web-18"), ("traceparent", SAMPLED))
    context.is_active, context.add_callback = lambda: True, lambda _: True

    assert list(call(b"", context)) == [b"first", b"second"]
    assert ended == [1]
    assert memory.spans()[0].attributes["pricegrid.correlation_id"] == "web-18"


def test_without_traces_a_method_is_called_as_before_and_nothing_of_them_is_imported():
    behavior = handlers(None).call(v1.PRICING_SERVICE, "PriceLines")

    assert isinstance(behavior, partial)
    assert behavior.func == behavior.func.__self__._answer
    code = "import sys, pricegrid.service.cli.serve, pricegrid.service.process.worker, pricegrid.service.live.writer\n"
    # redis imports the SDK by itself wherever it is installed
    code += "own = {f'pricegrid.service.tracing.{name}' for name in ('spans', 'export', 'parts')}\n"
    code += "sys.exit(bool(own & {*sys.modules}) or any('otlp' in name for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_commits_to_the_cache_are_parts_of_the_call(tmp_path):
    memory = Memory()
    cache = EmbeddedStateCache(tmp_path)
    traced = traced_cache(cache, "redis", memory.traces)
    commits = [Commit(puts=[Put("note", "a", b"x")])]

    class Away:
        def commit(self, commits):
            raise CacheUnavailableError("redis://cache does not answer")

    def method(*_):
        traced.commit(commits)
        with suppress(CacheUnavailableError):
            traced_cache(Away(), "redis", memory.traces).commit(commits)
        return b""

    traced.commit(commits)  # of nobody's trace
    memory.traces.unary("a", 0, method, method)(b"", FakeContext(("traceparent", SAMPLED)))
    assert [each.value for each in traced.get([("note", "a")])] == [b"x"]
    traced.close()

    made, failed, whole = memory.spans()
    assert made.parent == failed.parent == whole.span
    assert made.attributes == {
        "db.system.name": "redis",
        "db.operation.name": "commit",
        "pricegrid.commits": 1,
    }
    assert (failed.attributes["error.type"], failed.is_error) == ("CacheUnavailableError", True)


def test_that_the_collector_is_away_is_said_once_until_it_is_back(caplog):
    caplog.set_level(logging.INFO)
    answers = iter([False, False, True, True, None, False])

    class Exporter(SpanExporter):
        def export(self, spans):
            answer = next(answers)
            if answer is None:
                raise OSError("no route")
            if not answer:
                logging.getLogger("opentelemetry.exporter.x").error("error code: UNAVAILABLE")
            return SpanExportResult.SUCCESS if answer else SpanExportResult.FAILURE

    telling = TellingExporter(Exporter(), "http://collector:4317")
    for _ in range(6):
        telling.export([])

    assert [told.getMessage() for told in caplog.records] == [
        "traces can't be sent to http://collector:4317, calls go on without: error code: UNAVAILABLE",
        "traces can be sent to http://collector:4317 again",
        "traces can't be sent to http://collector:4317, calls go on without: OSError('no route')",
    ]


@pytest.mark.parametrize(
    ("endpoint", "one_in", "environ", "options"),
    [
        (None, None, {}, None),
        ("http://c:4317", None, {}, TraceOptions("http://c:4317", GRPC, 0.01)),
        (
            "http://c:4317",
            4,
            {"OTEL_TRACES_SAMPLER": "always_off"},
            TraceOptions("http://c:4317", GRPC, 0.25, False),
        ),
        (None, None, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"}, TraceOptions("", GRPC, 0.01)),
        (None, None, {"OTEL_TRACES_EXPORTER": "otlp"}, TraceOptions("", GRPC, 0.01)),
        (None, None, {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"}, None),
        ("http://c:4317", None, {"OTEL_SDK_DISABLED": "true"}, None),
        (
            "http://c",
            None,
            {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.5"},
            TraceOptions("http://c", GRPC, 0.5),
        ),
    ],
)
def test_flags_and_variables_say_whether_there_are_traces(endpoint, one_in, environ, options):
    assert trace_options(endpoint, one_in, environ) == options


@pytest.mark.parametrize(
    ("endpoint", "one_in", "environ", "said"),
    [
        (None, 5, {}, "--trace-one-in"),
        ("collector:4317", None, {}, "--otlp-endpoint"),
        ("http://c:port", None, {}, "--otlp-endpoint"),
        (None, None, {"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER 'zipkin'"),
        ("http://c", None, {"OTEL_TRACES_SAMPLER": "jaeger_remote"}, "OTEL_TRACES_SAMPLER 'jaeger_remote'"),
        (
            "http://c",
            None,
            {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "2"},
            "OTEL_TRACES_SAMPLER_ARG '2'",
        ),
        ("http://c", None, {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, "OTEL_EXPORTER_OTLP_PROTOCOL"),
        (
            "http://c",
            None,
            {"OTEL_EXPORTER_OTLP_PROTOCOL": HTTP},
            "pip install opentelemetry-exporter-otlp-proto-http",
        ),
    ],
)
def test_what_is_wrong_with_them_is_named(endpoint, one_in, environ, said):
    with pytest.raises(TraceOptionsError, match=said):
        trace_options(endpoint, one_in, environ)


def test_a_missing_package_is_named_before_anything_is_served(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.grpc", None)

    assert main(["serve", "--store", str(tmp_path), "--otlp-endpoint", "http://collector:4317"]) == 2
    assert "pip install pricegrid[traces]" in capsys.readouterr().err

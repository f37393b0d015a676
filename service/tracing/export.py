"""Sends spans to a collector, by OTLP, from a thread of its own: calls never wait for it, whether it answers or not."""

from __future__ import annotations

import importlib
import logging
import os
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from pricegrid.service.tracing.options import GRPC, TraceOptions
from pricegrid.service.tracing.spans import Sampling, Traces, headers

CLOSE_S: Final = 2.0
"""How long the end of a process waits for its last spans to be sent."""
_log = logging.getLogger(__name__)


class Tracing:
    """The traces of this process, until it is closed."""

    def __init__(self, options: TraceOptions, process: str, exporter: SpanExporter, where: str) -> None:
        self._telling = TellingExporter(exporter, where)
        resource = Resource.create({"pricegrid.process": process, "process.pid": os.getpid()})
        if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
            resource = resource.merge(Resource({SERVICE_NAME: "pricegrid"}))
        # each call is decided on before its span begins (`Sampling`)
        self._provider = TracerProvider(sampler=ALWAYS_ON, resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(self._telling))
        sampling = Sampling(options.ratio, follows_caller=options.follows_caller)
        self.traces = Traces(self._provider.get_tracer("pricegrid"), sampling)
        self.headers = headers

    def flush(self) -> None:
        """Sends what there is now."""
        self._provider.force_flush()

    def close(self) -> None:
        """Sends what is left, if that takes no time to speak of."""
        ending = threading.Thread(target=self._provider.shutdown, name="pricegrid-traces-end", daemon=True)
        ending.start()
        ending.join(CLOSE_S)


class TellingExporter(SpanExporter):
    """Says once that spans can't be sent, and once that they can again."""

    def __init__(self, exporter: SpanExporter, where: str) -> None:
        self._exporter = exporter
        self._where = where
        self._why = _LastMessage()
        self._why.listen()
        self._fails = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """See `SpanExporter`."""
        try:
            result = self._exporter.export(spans)
        except Exception as error:  # noqa: BLE001 -- whatever it is, calls go on
            self._why.last, result = repr(error), SpanExportResult.FAILURE
        fails = result is not SpanExportResult.SUCCESS
        if fails and not self._fails:
            _log.warning("traces can't be sent to %s, calls go on without: %s", self._where, self._why.last)
        elif self._fails and not fails:
            _log.info("traces can be sent to %s again", self._where)
        self._fails = fails
        return result

    def shutdown(self) -> None:
        """See `SpanExporter`."""
        self._exporter.shutdown()


class _LastMessage(logging.Handler):
    """Keeps what OpenTelemetry logged last: it says each failure several times, and each time again."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.last = "no reason was given"

    def listen(self) -> None:
        logger = logging.getLogger("opentelemetry")
        logger.propagate = False
        logger.handlers = [self]

    def emit(self, record: logging.LogRecord) -> None:
        self.last = record.getMessage()


def open_tracing(options: TraceOptions, process: str) -> Tracing:
    """Traces of this process, sent as the options and the variables of OpenTelemetry say."""
    if options.protocol == GRPC:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        exporter = _made(OTLPSpanExporter, options.endpoint)
    else:
        module = importlib.import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")
        endpoint = f"{options.endpoint.rstrip('/')}/v1/traces" if options.endpoint else ""
        exporter = _made(module.OTLPSpanExporter, endpoint)
    return Tracing(options, process, exporter, options.endpoint or "the collector")


def _made(exporter: Callable[..., Any], endpoint: str) -> SpanExporter:
    made: SpanExporter = exporter(endpoint=endpoint) if endpoint else exporter()
    return made

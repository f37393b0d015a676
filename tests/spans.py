"""Spans as the SDK keeps them in memory, and a collector that takes them by OTLP."""

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as otlp
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from pricegrid.service.tracing.spans import Sampling, Traces
from tests.telemetry import keep, leaks_of_spans

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED, UNSAMPLED = (f"00-{TRACE}-{CALLER}-{flag}" for flag in ("01", "00"))


@dataclass(frozen=True, slots=True)
class Seen:
    """A span that has ended."""

    name: str
    trace: str
    span: str
    parent: str
    attributes: dict[str, Any]
    is_error: bool
    process: str = ""


def checked(spans: list[Seen]) -> list[Seen]:
    """The same, unless one of them holds what none may."""
    assert leaks_of_spans(f"{each.name} {each.attributes}" for each in spans) == []
    return spans


class Memory:
    """Traces of this process, kept in it."""

    def __init__(self, ratio: float = 0.0, *, follows_caller: bool = True) -> None:
        self._kept = InMemorySpanExporter()
        provider = TracerProvider(sampler=ALWAYS_ON, shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._kept))
        self.drawn = [0.5]
        """What chance says, again and again."""
        sampling = Sampling(ratio, follows_caller=follows_caller, chance=lambda: self.drawn[0])
        self.traces = Traces(provider.get_tracer("test"), sampling)

    def spans(self) -> list[Seen]:
        """Those that have ended, in that order."""
        found = [
            Seen(
                each.name,
                f"{each.context.trace_id:032x}",
                f"{each.context.span_id:016x}",
                f"{each.parent.span_id:016x}" if each.parent else "",
                dict(each.attributes),
                not each.status.is_ok and not each.status.is_unset,
            )
            for each in self._kept.get_finished_spans()
        ]
        return checked(found)


@dataclass(slots=True)
class Collector:
    """What arrived, and where."""

    port: int
    raw: list[otlp.ExportTraceServiceRequest] = field(default_factory=list)

    @property
    def url(self) -> str:
        """As `--otlp-endpoint` takes it."""
        return f"http://127.0.0.1:{self.port}"

    def spans(self) -> list[Seen]:
        """All that have arrived."""
        return checked(
            [
                Seen(
                    span.name,
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    _attributes(span.attributes),
                    span.status.code == 2,
                    _attributes(of.resource.attributes)["pricegrid.process"],
                )
                for request in list(self.raw)
                for of in request.resource_spans
                for scope in of.scope_spans
                for span in scope.spans
            ]
        )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in pairs}


@contextlib.contextmanager
def collecting(port: int = 0) -> Iterator[Collector]:
    """A collector on loopback; a port names the one to take."""
    found = Collector(port)

    def export(request: otlp.ExportTraceServiceRequest, _: grpc.ServicerContext) -> Any:
        found.raw.append(request)
        return otlp.ExportTraceServiceResponse()

    handler = grpc.unary_unary_rpc_method_handler(
        export,
        request_deserializer=otlp.ExportTraceServiceRequest.FromString,
        response_serializer=otlp.ExportTraceServiceResponse.SerializeToString,
    )
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers(
        [
            grpc.method_handlers_generic_handler(
                "opentelemetry.proto.collector.trace.v1.TraceService", {"Export": handler}
            )
        ]
    )
    found.port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    try:
        yield found
    finally:
        server.stop(0).wait()
        keep("traces", (f"{each.name} {each.attributes}" for each in found.spans()))

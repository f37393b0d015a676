"""What traces cost a call: `python bench/traces.py` prints it beside a quote of one line over gRPC.

That quote is the server's CPU time a call, without traces, as `bench.rpc` measures it. In process a quote goes through
its handler, with metrics, as it does below gRPC; beside it the same handler that traces one call
in 100, and one whose callers send a `traceparent` that says no. Spans are made into OTLP's bytes in the thread that
sends them, and go nowhere. All of it is CPU time of the process, in blocks of calls in turn; the least of each counts,
for a disturbance only ever makes a block slower.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path[0] = str(ROOT)

from pricegrid.service.process.kernel_cache import use_kernel_cache  # noqa: E402

use_kernel_cache(os.environ)

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans  # noqa: E402
from opentelemetry.sdk.trace import ReadableSpan  # noqa: E402
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult  # noqa: E402

from bench import datasets as data  # noqa: E402
from bench import kernel, loads, rpc  # noqa: E402
from pricegrid import v1  # noqa: E402
from pricegrid.pricing_engine.model import ExceptionPolicy  # noqa: E402
from pricegrid.service.process.bootstrap import load_snapshot  # noqa: E402
from pricegrid.service.process.snapshots import SnapshotHolder  # noqa: E402
from pricegrid.service.rpc.handlers import Handlers  # noqa: E402
from pricegrid.service.rpc.metrics import PrometheusMetrics  # noqa: E402
from pricegrid.service.rpc.overload import Queue  # noqa: E402
from pricegrid.service.rpc.services import services  # noqa: E402
from pricegrid.service.tracing.export import Tracing  # noqa: E402
from pricegrid.service.tracing.options import TraceOptions  # noqa: E402

SIZE = "QUOTES_TENTH"
ROUNDS, CALLS = 40, 2_000
SHARE_MAX = 0.03
"""Of a quote over gRPC, what tracing one in 100 may cost."""
_BESIDE = (("user-agent", "grpc-python/1.85.1"), ("x-correlation-id", "bench"))
_NOT_TRACED = ("traceparent", f"00-{'a' * 32}-{'b' * 16}-00")


class Encoding(SpanExporter):
    """Makes the bytes that a collector would get."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """See `SpanExporter`."""
        encode_spans(spans).SerializeToString()
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """See `SpanExporter`."""


class Context:
    """What a handler asks of a call."""

    def __init__(self, *metadata: tuple[str, str]) -> None:
        self._metadata = metadata

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        """The caller's headers."""
        return self._metadata

    def time_remaining(self) -> float:
        """There is no deadline."""
        return 1e10


def block_us(call: Callable[[Any, Any], Any], raw: bytes, context: Any, after: Callable[[], object]) -> float:
    """CPU time a call, with what it leaves to be sent."""
    began_ns = time.process_time_ns()
    for _ in range(CALLS):
        call(raw, context)
    after()
    return (time.process_time_ns() - began_ns) / CALLS / 1_000


def main() -> int:
    """Prints the figures; 1 when traces cost more than they may."""
    size = getattr(data, SIZE)
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        store = loads.publish(SIZE, folder / SIZE)
        quote_us = rpc.one_line_quote_us(size, store, folder)
        loaded = load_snapshot(store, None, ExceptionPolicy())
        holder = SnapshotHolder(loaded, lambda _: loaded)
        ask = kernel.Questions(size, seed=7).ask(1, "mixed")
        raw = kernel.quote_bytes(ask, data.branch_names(size)[:1])
        offered, metrics = services(holder, lambda: data.AS_OF_US), PrometheusMetrics()
        tracing = Tracing(TraceOptions(), "bench", Encoding(), "nowhere")
        queue = Queue()
        without, traced = (
            Handlers(offered, metrics, queue, traces=traces).call(v1.QUOTE_SERVICE, "QuoteLines")
            for traces in (None, tracing.traces)
        )
        none, flush = (lambda: None), tracing.flush
        ways: dict[str, tuple[Any, Any, Callable[[], object]]] = {
            "without traces": (without, Context(*_BESIDE), none),
            "one in 100 traced": (traced, Context(*_BESIDE), flush),
            "callers say: not traced": (traced, Context(*_BESIDE, _NOT_TRACED), flush),
        }
        found: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, (call, context, after) in ways.items():
                found[name].append(block_us(call, raw, context, after))
        tracing.close()
    least = {name: min(each) for name, each in found.items()}
    plain_us = least["without traces"]
    print(f"quote of one line over gRPC, server CPU:      {quote_us:8.2f} µs")
    for name, us in least.items():
        more_us = us - plain_us
        print(
            f"its handler, {name:<32} {us:8.2f} µs   {more_us:+6.2f} µs, {more_us / quote_us:+.1%} of the quote"
        )
    return int((least["one in 100 traced"] - plain_us) / quote_us > SHARE_MAX)


if __name__ == "__main__":
    sys.exit(main())

"""`--otlp-endpoint` and `--trace-one-in`: whether `serve` sends traces, and of which calls."""

import argparse
import os

from pricegrid.service.cli.text import UsageError
from pricegrid.service.tracing.options import ONE_IN, TraceOptions, TraceOptionsError, trace_options


def add_trace_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of traces."""
    parser.add_argument(
        "--otlp-endpoint",
        metavar="URL",
        help="send spans of calls to this OpenTelemetry collector, such as http://collector:4317; takes "
        "pricegrid[traces] (default: OTEL_EXPORTER_OTLP_ENDPOINT, else no traces; docs/operate.md)",
    )
    parser.add_argument(
        "--trace-one-in",
        metavar="N",
        type=one_in,
        help="trace one in N of the calls whose callers leave it open (default: OTEL_TRACES_SAMPLER, else "
        f"{ONE_IN})",
    )


def traces_from(args: argparse.Namespace) -> TraceOptions | None:
    """What the options and the environment say; raises UsageError."""
    try:
        return trace_options(args.otlp_endpoint, args.trace_one_in, os.environ)
    except TraceOptionsError as error:
        raise UsageError(str(error)) from None


def one_in(text: str) -> int:
    """A number N, of which one in N is taken."""
    if not text.isdecimal() or not 1 <= int(text) <= 1_000_000_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 1,000,000,000")
    return int(text)

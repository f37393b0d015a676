"""Where traces go and of which calls there are some: by flags, or by the variables of OpenTelemetry."""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

GRPC: Final = "grpc"
HTTP: Final = "http/protobuf"
ONE_IN: Final = 100
"""Of so many calls one is traced, where neither its caller nor an option says otherwise."""
_PACKAGES: Final[Mapping[str, tuple[str, str]]] = {
    GRPC: ("opentelemetry.exporter.otlp.proto.grpc", "pricegrid[traces]"),
    HTTP: (
        "opentelemetry.exporter.otlp.proto.http",
        "opentelemetry-exporter-otlp-proto-http pricegrid[traces]",
    ),
}
"""By protocol: what has to be there, and what brings it."""
_SAMPLERS: Final = ("always_on", "always_off", "traceidratio")


class TraceOptionsError(Exception):
    """Traces are asked for in a way that there is not; the text names the flag or the variable."""


@dataclass(frozen=True, slots=True)
class TraceOptions:
    """Where traces go, and of which calls there are some."""

    endpoint: str = ""
    """As OTLP has it; '': where the variables of OpenTelemetry say."""
    protocol: str = GRPC
    """`GRPC` or `HTTP`."""
    ratio: float = 1 / ONE_IN
    """The share of the calls whose callers leave it open."""
    follows_caller: bool = True
    """A caller that has a trace decides whether it goes on here."""


def trace_options(
    endpoint: str | None, one_in: int | None, environ: Mapping[str, str]
) -> TraceOptions | None:
    """What flags and variables say; None: no traces. Raises TraceOptionsError."""
    if not _is_asked_for(endpoint, environ):
        if one_in is not None:
            raise TraceOptionsError("--trace-one-in is of traces, which --otlp-endpoint sends")
        return None
    if endpoint:
        _check_endpoint(endpoint)
    protocol = (
        environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
        or environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
        or GRPC
    )
    if protocol not in _PACKAGES:
        raise TraceOptionsError(f"OTEL_EXPORTER_OTLP_PROTOCOL {protocol!r} is not {GRPC} or {HTTP}")
    _check_packages(protocol)
    ratio, follows_caller = _sampling(environ)
    return TraceOptions(endpoint or "", protocol, ratio if one_in is None else 1 / one_in, follows_caller)


def _is_asked_for(endpoint: str | None, environ: Mapping[str, str]) -> bool:
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    if endpoint:
        return True
    exporter = environ.get("OTEL_TRACES_EXPORTER", "")
    if exporter in {"otlp", "none"}:
        return exporter == "otlp"
    if exporter:
        raise TraceOptionsError(f"OTEL_TRACES_EXPORTER {exporter!r} is not otlp or none")
    return any(
        environ.get(name) for name in ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    )


def _check_endpoint(endpoint: str) -> None:
    try:
        parts = urlsplit(endpoint)
        whole = parts.scheme in {"http", "https"} and parts.hostname and (parts.port or 0) >= 0
    except ValueError:
        whole = False
    if not whole:
        raise TraceOptionsError(
            "--otlp-endpoint is not the URL of a collector, such as http://collector:4317"
        )


def _check_packages(protocol: str) -> None:
    module, brings = _PACKAGES[protocol]
    try:
        for each in ("opentelemetry.sdk.trace", module):
            if importlib.util.find_spec(each) is None:
                raise ModuleNotFoundError(each)
    except ModuleNotFoundError:
        raise TraceOptionsError(
            f"traces take packages that are not installed: pip install {brings}"
        ) from None


def _sampling(environ: Mapping[str, str]) -> tuple[float, bool]:
    """(ratio, whether a caller's trace decides), by OTEL_TRACES_SAMPLER."""
    named = environ.get("OTEL_TRACES_SAMPLER", "")
    if not named:
        return 1 / ONE_IN, True
    sampler = named.removeprefix("parentbased_")
    if sampler not in _SAMPLERS:
        raise TraceOptionsError(
            f"OTEL_TRACES_SAMPLER {named!r} is not {', '.join(_SAMPLERS)}, with or without parentbased_"
        )
    fixed = {"always_on": 1.0, "always_off": 0.0}
    return fixed[sampler] if sampler in fixed else _ratio(environ), sampler != named


def _ratio(environ: Mapping[str, str]) -> float:
    text = environ.get("OTEL_TRACES_SAMPLER_ARG") or "1"
    try:
        ratio = float(text)
    except ValueError:
        ratio = -1.0
    if not 0 <= ratio <= 1:
        raise TraceOptionsError(f"OTEL_TRACES_SAMPLER_ARG {text!r} is not a number from 0 to 1")
    return ratio

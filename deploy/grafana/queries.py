"""Expressions of Prometheus over the metrics of the server's table: a wrong label, value or kind is refused here."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pricegrid.service.metric_kinds import Kind, Metric
from pricegrid.service.metric_table import METRICS

WINDOW: Final = "$__rate_interval"
"""At least four scrapes, and a step of the graph."""
OWN: Final = {
    "up": ("job", "instance"),
    "scrape_duration_seconds": ("job", "instance"),
    "scrape_samples_scraped": ("job", "instance"),
    "ALERTS": ("alertname", "alertstate", "severity"),
}
"""What Prometheus itself adds, with the labels that dashboards use."""


@dataclass(frozen=True, slots=True)
class Not:
    """Every value of a label but these."""

    values: tuple[str, ...]


Chosen = str | tuple[str, ...] | Not
"""The values of a label."""


def one(metric: Metric, **labels: Chosen) -> str:
    """The series of a gauge."""
    return _series(metric, Kind.GAUGE, "", labels)


def most(metric: Metric, *by: str, **labels: Chosen) -> str:
    """The largest value of a gauge: hosts on one Redis all say the same."""
    return f"max{_by(metric, by)} ({one(metric, **labels)})"


def total(metric: Metric, *by: str, **labels: Chosen) -> str:
    """A gauge, added up over hosts."""
    return f"sum{_by(metric, by)} ({one(metric, **labels)})"


def rate(metric: Metric, *by: str, **labels: Chosen) -> str:
    """What a counter counts a second."""
    return f"sum{_by(metric, by)} (rate({_series(metric, Kind.COUNTER, '', labels)}[{WINDOW}]))"


def more(metric: Metric, window: str, *by: str, **labels: Chosen) -> str:
    """What a counter has counted in a window."""
    return f"sum{_by(metric, by)} (increase({_series(metric, Kind.COUNTER, '', labels)}[{window}]))"


def quantile(share: float, metric: Metric, *by: str) -> str:
    """The value that this share of a histogram's observations is below."""
    buckets = _series(metric, Kind.HISTOGRAM, "_bucket", {})
    _by(metric, by)
    return f"histogram_quantile({share}, sum by ({', '.join((*by, 'le'))}) (rate({buckets}[{WINDOW}])))"


def own(name: str, **labels: str) -> str:
    """Series that Prometheus itself adds; KeyError for others."""
    for label in labels:
        if label not in OWN[name]:
            raise KeyError(f"{name} has no label {label}")
    told = ",".join(f'{label}=~"{value}"' for label, value in labels.items())
    return f"{name}{{{told}}}"


def metrics_of(expression: str) -> list[Metric]:
    """The metrics in an expression; KeyError for one that is not in the table."""
    names = re.findall(r"\bpricegrid_\w+", expression)
    return [METRICS[name.removesuffix("_bucket")] for name in dict.fromkeys(names)]


def _series(metric: Metric, kind: Kind, suffix: str, labels: dict[str, Chosen]) -> str:
    if metric.kind is not kind:
        raise ValueError(f"{metric.name} is a {metric.kind.value}, not a {kind.value}")
    told = ",".join(_matcher(metric, label, chosen) for label, chosen in labels.items())
    return metric.name + suffix + (f"{{{told}}}" if told else "")


def _matcher(metric: Metric, label: str, chosen: Chosen) -> str:
    if isinstance(chosen, str):
        _check(metric, label, (chosen,))
        return f'{label}="{chosen}"'
    values, sign = (chosen.values, "!~") if isinstance(chosen, Not) else (chosen, "=~")
    _check(metric, label, values)
    return f'{label}{sign}"{"|".join(values)}"'


def _check(metric: Metric, label: str, values: Sequence[str]) -> None:
    if label not in metric.labels:
        raise KeyError(f"{metric.name} has no label {label}")
    known = metric.labels[label]
    unknown = [] if isinstance(known, str) else [value for value in values if value not in known]
    if unknown:
        raise ValueError(f"{metric.name} has no {label} {unknown[0]}")


def _by(metric: Metric, labels: tuple[str, ...]) -> str:
    for label in labels:
        if label != "instance":  # Prometheus adds it
            _check(metric, label, ())
    return f" by ({', '.join(labels)})" if labels else ""

"""docs/metrics.md, made from the table: `python -m pricegrid.service.metric_page`."""

from pathlib import Path
from typing import Final

from pricegrid.service.metric_kinds import Exported, Metric
from pricegrid.service.metric_table import METRICS

PLACE: Final = Path("docs/metrics.md")
_HEAD: Final = """\
# Metrics

`pricegrid serve --metrics-port PORT` serves Prometheus metrics at `http://127.0.0.1:PORT/metrics`, added up over all
processes of the server; beside them `/healthz` and `/readyz` ([operate.md](operate.md#what-to-watch)). They begin at 0
when the server starts, and count an answered request up to a tenth of a second after it. `pricegrid_events_total` and
the counters of books appear with the first thing that they count. What the writer knows (reservations, dead letters,
lag) is up to 5 s old.

[operate.md](operate.md) says which of them to watch, and what to do. This page is made by
`python -m pricegrid.service.metric_page`.
"""


def reference() -> str:
    """The page."""
    parts = [_HEAD]
    for when in Exported:
        parts.append(f"## {when.value}\n")
        parts += [_section(metric) for metric in METRICS.values() if metric.when is when]
    return "\n".join(parts)


def _section(metric: Metric) -> str:
    rows = [f"### `{metric.name}`\n", f"{metric.help}\n", "| | |", "|---|---|"]
    rows += [f"| type | {metric.kind.value} |", f"| unit | {metric.unit} |"]
    for label, values in metric.labels.items():
        told = values if isinstance(values, str) else ", ".join(f"`{value}`" for value in values)
        rows.append(f"| label `{label}` | {told} |")
    if metric.buckets:
        rows.append(f"| buckets | {', '.join(f'{bound:g}' for bound in metric.buckets)} |")
    return "\n".join([*rows, ""])


if __name__ == "__main__":
    PLACE.write_text(reference(), encoding="utf-8")

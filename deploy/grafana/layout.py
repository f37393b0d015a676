"""What a dashboard is made of, and the JSON that Grafana reads."""

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from deploy.grafana.queries import metrics_of
from pricegrid.service.metric_kinds import Exported
from pricegrid.service.metric_table import BUILD

GUIDE: Final = "docs/operate.md"
SCHEMA: Final = 39
"""Of Grafana 10.4 and later, which migrate it."""
COLUMNS: Final = 24
_SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
_HEAD_HEIGHT: Final = 1
_NOTHING: Final = {"type": "special", "options": {"match": "null+nan", "result": {"text": "–", "index": 0}}}
"""A share of nothing, such as of the failed calls when there was none."""


class Kind(enum.Enum):
    """How a panel shows its values."""

    SERIES = "timeseries"
    STAT = "stat"
    TABLE = "table"


_WIDTH: Final = {Kind.SERIES: 8, Kind.STAT: 4, Kind.TABLE: 12}
_HEIGHT: Final = {Kind.SERIES: 8, Kind.STAT: 4, Kind.TABLE: 9}


@dataclass(frozen=True, slots=True)
class Query:
    """An expression, and what its values are called: in a table, the head of their column."""

    expression: str
    legend: str
    unit: str = ""
    """Of a column whose unit is not the panel's."""


@dataclass(frozen=True, slots=True)
class Panel:
    """What is seen, and what to do about it."""

    title: str
    kind: Kind
    unit: str
    description: str
    section: str
    """Of the operations guide."""
    queries: tuple[Query, ...]
    yellow_from: float | None = None
    red_from: float | None = None
    green_from: float | None = None
    """Below it, the value is red."""


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under a heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Dashboard:
    """What one role looks at."""

    name: str
    """Of the file, and of its address in Grafana."""
    title: str
    description: str
    rows: tuple[Row, ...]

    @property
    def panels(self) -> tuple[Panel, ...]:
        """All of them, from the top."""
        return tuple(panel for row in self.rows for panel in row.panels)


def grafana(dashboard: Dashboard) -> dict[str, Any]:
    """The dashboard as Grafana reads it."""
    return {
        "uid": f"pricegrid-{dashboard.name}",
        "title": dashboard.title,
        "description": dashboard.description,
        "tags": ["pricegrid"],
        "schemaVersion": SCHEMA,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "",
        "links": [_others()],
        "templating": {"list": _variables()},
        "annotations": {"list": []},
        "panels": list(_placed(dashboard)),
    }


def _others() -> dict[str, Any]:
    """A menu of the other dashboards."""
    return {
        "title": "Pricegrid",
        "type": "dashboards",
        "tags": ["pricegrid"],
        "asDropdown": False,
        "includeVars": True,
        "keepTime": True,
    }


def _variables() -> list[dict[str, Any]]:
    return [
        {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"},
        {
            "name": "job",
            "label": "Job",
            "type": "query",
            "datasource": _SOURCE,
            "query": {"query": f"label_values({BUILD.name}, job)", "refId": "jobs"},
            "refresh": 2,
            "multi": True,
            "includeAll": True,
            "current": {"text": "All", "value": "$__all"},
        },
    ]


def _placed(dashboard: Dashboard) -> Iterator[dict[str, Any]]:
    """Rows and panels from the top down; a line of panels fills the width."""
    number, top = 1, 0
    for row in dashboard.rows:
        yield {
            "id": number,
            "type": "row",
            "title": row.title,
            "collapsed": False,
            "panels": [],
            "gridPos": {"h": _HEAD_HEIGHT, "w": COLUMNS, "x": 0, "y": top},
        }
        number, top = number + 1, top + _HEAD_HEIGHT
        for line in _lines(row.panels):
            left, height = 0, _HEIGHT[line[0].kind]
            for at, panel in enumerate(line):
                width = COLUMNS // len(line) + (at < COLUMNS % len(line))
                yield _panel(panel) | {
                    "id": number,
                    "gridPos": {"h": height, "w": width, "x": left, "y": top},
                }
                number, left = number + 1, left + width
            top += height


def _lines(panels: tuple[Panel, ...]) -> Iterator[list[Panel]]:
    """Panels of one kind, as many as fit."""
    line: list[Panel] = []
    for panel in panels:
        if line and (panel.kind is not line[0].kind or (len(line) + 1) * _WIDTH[panel.kind] > COLUMNS):
            yield line
            line = []
        line.append(panel)
    if line:
        yield line


def _panel(panel: Panel) -> dict[str, Any]:
    made: dict[str, Any] = {
        "type": panel.kind.value,
        "title": panel.title,
        "description": described(panel),
        "datasource": _SOURCE,
        "targets": [_target(panel.kind, query, chr(ord("A") + at)) for at, query in enumerate(panel.queries)],
        "fieldConfig": {"defaults": _field(panel), "overrides": []},
    }
    if panel.kind is Kind.TABLE:
        made["transformations"] = _columns(panel)
        made["fieldConfig"]["overrides"] = [
            {
                "matcher": {"id": "byName", "options": query.legend},
                "properties": [{"id": "unit", "value": query.unit}],
            }
            for query in panel.queries
            if query.unit
        ]
        made["options"] = {"sortBy": [{"displayName": panel.queries[0].legend, "desc": True}]}
    elif panel.kind is Kind.STAT:
        made["options"] = {
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "colorMode": "background" if _steps(panel)[1:] else "value",
            "graphMode": "none",
        }
    else:
        made["options"] = {
            "legend": {
                "displayMode": "table",
                "placement": "right",
                "calcs": ["lastNotNull"],
                "showLegend": True,
            },
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    return made


def described(panel: Panel) -> str:
    """What a panel says of itself: what to do, and without which option of the server it stays empty."""
    exported = {metric.when for query in panel.queries for metric in metrics_of(query.expression)}
    only = [f"{when.value} only." for when in Exported if when in exported and when is not Exported.ALWAYS]
    return "\n\n".join([panel.description, *only, f"What to do: {GUIDE}#{panel.section}"])


def _target(kind: Kind, query: Query, ref: str) -> dict[str, Any]:
    now = {"instant": True, "range": False} if kind is not Kind.SERIES else {"instant": False, "range": True}
    return {
        "refId": ref,
        "datasource": _SOURCE,
        "editorMode": "code",
        "expr": query.expression,
        "legendFormat": query.legend,
        "format": "table" if kind is Kind.TABLE else "time_series",
        **now,
    }


def _field(panel: Panel) -> dict[str, Any]:
    steps = _steps(panel)
    field: dict[str, Any] = {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": steps}}
    if panel.kind is Kind.SERIES:
        field |= {"min": 0, "color": {"mode": "palette-classic"}}
        field["custom"] = {
            "lineWidth": 1,
            "fillOpacity": 5,
            "showPoints": "never",
            "thresholdsStyle": {"mode": "line" if steps[1:] else "off"},
        }
    else:
        field["color"] = {"mode": "thresholds"}
        field["mappings"] = [_NOTHING]
    return field


def _steps(panel: Panel) -> list[dict[str, Any]]:
    """Colours from below up."""
    if panel.green_from is not None:
        return [{"color": "red", "value": None}, {"color": "green", "value": panel.green_from}]
    above = (("yellow", panel.yellow_from), ("red", panel.red_from))
    return [
        {"color": "green", "value": None},
        *({"color": color, "value": value} for color, value in above if value is not None),
    ]


def _columns(panel: Panel) -> list[dict[str, Any]]:
    """One line a set of labels, with a column a query."""
    # Grafana calls the value of an only query without its letter
    names = [f"Value #{chr(ord('A') + at)}" for at in range(len(panel.queries))]
    heads = dict(zip(names, (query.legend for query in panel.queries), strict=True))
    if len(panel.queries) == 1:
        heads["Value"] = panel.queries[0].legend
    options = {"excludeByName": {"Time": True}, "indexByName": {}, "renameByName": heads}
    return [{"id": "merge", "options": {}}, {"id": "organize", "options": options}]

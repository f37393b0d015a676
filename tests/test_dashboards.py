"""The dashboards under deploy/grafana/ are those of their description, and every query is of what there is."""

import itertools
import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.grafana.layout import COLUMNS, GUIDE, Dashboard, Row, grafana
from deploy.grafana.make_dashboards import DASHBOARDS, place, text
from deploy.grafana.queries import OWN, Not, more, most, own, quantile, rate
from deploy.grafana.shared import WORKERS
from deploy.prometheus.make_rules import RECORDED, RULES
from pricegrid.service import metric_table as table
from pricegrid.service.metric_kinds import Kind
from pricegrid.service.metric_table import METRICS
from tests.test_alert_rules import PROMTOOL

LABELS = {"instance", "job"}
"""What Prometheus adds to all that it reads."""
RECORDED_LABELS = {each.name: {"branch", "source", "book_id", "method"} for each in RECORDED}
KEYWORDS = {
    "by",
    "or",
    "le",
    "scalar",
    "vector",
    "sum",
    "avg",
    "min",
    "max",
    "count",
    "topk",
    "rate",
    "increase",
}
KEYWORDS |= {"histogram_quantile"}
FILES = [pytest.param(each, id=each.name) for each in DASHBOARDS]
FIVE = Dashboard("five", "", "", (Row("row", tuple(replace(WORKERS, title=str(n)) for n in range(5))),))
QUERIES = [
    pytest.param(query, id=f"{dashboard.name}: {panel.title}: {query.legend}")
    for dashboard in DASHBOARDS
    for panel in dashboard.panels
    for query in panel.queries
]


def exported() -> dict[str, set[str]]:
    """The labels of all that can be asked for, by name."""
    names = {name: set(labels) for name, labels in OWN.items()} | RECORDED_LABELS
    for metric in METRICS.values():
        if metric.kind is Kind.HISTOGRAM:
            names |= {f"{metric.name}_{end}": {*metric.labels} for end in ("count", "sum")}
            names[f"{metric.name}_bucket"] = {*metric.labels, "le"}
        else:
            names[metric.name] = {*metric.labels}
    return names


@pytest.mark.parametrize("dashboard", FILES)
def test_the_files_are_current(dashboard):
    assert place(dashboard).read_text(encoding="utf-8") == text(dashboard), (
        "run `python -m deploy.grafana.make_dashboards` and commit deploy/grafana"
    )


def test_no_other_file_is_left():
    assert set(place(DASHBOARDS[0]).parent.glob("*.json")) == {place(each) for each in DASHBOARDS}


@pytest.mark.parametrize("query", QUERIES)
def test_every_query_is_of_names_and_labels_that_there_are(query):
    bare = re.sub(r'"[^"]*"', '""', query.expression)
    assert all(bare.count(left) == bare.count(right) for left, right in ("()", "[]", "{}"))

    known = exported()
    grouped = re.findall(r"by \(([^)]*)\)", bare)
    matched = dict(re.findall(r"([\w:]+)\{([^}]*)\}", bare))
    rest = re.sub(r"by \([^)]*\)|\{[^}]*\}|\[[^]]*\]|\b[\d.]+\b", " ", bare)
    names = set(re.findall(r"[A-Za-z_][\w:]*", rest)) - KEYWORDS
    assert names
    assert names <= set(known)
    for name, matchers in matched.items():
        assert set(re.findall(r"(\w+)[=!]", matchers)) <= known[name], name
    labels = {label for each in grouped for label in each.split(", ")}
    assert labels <= set.intersection(*(known[name] for name in names)) | LABELS
    shown = set(re.findall(r"\{\{(\w+)\}\}", query.legend))
    assert shown <= labels | {label for name in names & set(RECORDED_LABELS) for label in known[name]}


def test_names_labels_values_and_kinds_that_there_are_not_are_refused():
    with pytest.raises(KeyError, match="pricegrid_requests_total has no label branch"):
        rate(table.REQUESTS, "branch")
    with pytest.raises(ValueError, match="pricegrid_requests_total has no outcome FINE"):
        rate(table.REQUESTS, outcome=Not(("OK", "FINE")))
    with pytest.raises(ValueError, match="pricegrid_requests_total is a counter, not a gauge"):
        most(table.REQUESTS)
    with pytest.raises(ValueError, match="pricegrid_snapshot_age_seconds is a gauge, not a counter"):
        more(table.SNAPSHOT_AGE, "1h")
    with pytest.raises(ValueError, match="pricegrid_requests_total is a counter, not a histogram"):
        quantile(0.5, table.REQUESTS)
    with pytest.raises(KeyError, match="up has no label method"):
        own("up", method="Reserve")


@pytest.mark.parametrize("dashboard", [*FILES, pytest.param(FIVE, id="five in a line")])
def test_panels_fill_the_grid_and_are_told_apart(dashboard):
    panels = grafana(dashboard)["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    titles = [panel["title"] for panel in panels if panel["type"] != "row"]
    assert len(set(titles)) == len(titles)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        assert 0 <= at["x"] < at["x"] + at["w"] <= COLUMNS, panel["title"]
        cells = set(itertools.product(range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])))
        assert not taken & cells, panel["title"]
        taken |= cells
    assert len(taken) == COLUMNS * max(y + 1 for _, y in taken), "a line is not filled"


def test_dashboards_are_told_apart():
    made = [json.loads(place(each).read_text(encoding="utf-8")) for each in DASHBOARDS]
    for key in ("uid", "title"):
        assert len({each[key] for each in made}) == len(made)


def test_every_metric_is_on_a_dashboard_or_in_a_rule():
    shown = "".join(text(each) for each in DASHBOARDS) + RULES.read_text(encoding="utf-8")
    assert {name for name in METRICS if not re.search(rf"\b{name}(_bucket)?\b", shown)} == set()


def test_every_panel_leads_to_a_section_of_the_guide():
    headings = re.findall(r"^## (.+)$", Path(GUIDE).read_text(encoding="utf-8"), re.MULTILINE)
    sections = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert {panel.section for each in DASHBOARDS for panel in each.panels} <= sections


def series() -> Iterator[dict[str, str]]:
    """Some of every metric, as a server and Prometheus would have it."""
    for name, labels in exported().items():
        if name in RECORDED_LABELS or name == "ALERTS":
            continue
        metric = METRICS.get(re.sub(r"_(bucket|count|sum)$", "", name), METRICS.get(name))
        counts = metric is not None and metric.kind is not Kind.GAUGE
        known = {} if metric is None else metric.labels
        values = [
            [f'{label}="{value}"' for value in _some(label, known.get(label, label))]
            for label in sorted(labels | LABELS)
        ]
        for told in itertools.product(*values):
            yield {"series": f"{name}{{{','.join(told)}}}", "values": "0+30x120" if counts else "1+0x120"}


def _some(label: str, known: tuple[str, ...] | str) -> tuple[str, ...]:
    if label == "le":
        return ("0.1", "+Inf")
    if label == "method":
        return ("Reserve", "QuoteLines")
    return known if isinstance(known, tuple) else ("some",)


@pytest.mark.skipif(
    PROMTOOL is None, reason="no promtool (Debian's package prometheus has it; PRICEGRID_PROMTOOL names one)"
)
def test_every_query_finds_something_where_every_metric_is(tmp_path):
    """What labels don't match between the sides of an operator, or no function takes, finds nothing or is no query."""
    asked = {query.values[0].expression for query in QUERIES}
    filled = [
        re.sub(r"\$__rate_interval", "5m", expression).replace("$__range", "1h").replace("$job", ".*")
        for expression in sorted(asked)
    ]
    tests = {
        "rule_files": [str(RULES.resolve())],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": list(series()),
                "promql_expr_test": [
                    {
                        "expr": f"count({expression}) > bool 0",
                        "eval_time": "100m",
                        "exp_samples": [{"labels": "{}", "value": 1}],
                    }
                    for expression in filled
                ],
            }
        ],
    }
    (tmp_path / "queries.yml").write_text(json.dumps(tests), encoding="utf-8")  # JSON is YAML
    found = subprocess.run(
        [PROMTOOL, "test", "rules", "queries.yml"], cwd=tmp_path, capture_output=True, check=False, text=True
    )
    assert found.returncode == 0, found.stdout[-4000:] + found.stderr[-4000:]

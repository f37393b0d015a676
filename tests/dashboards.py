"""What the dashboards ask for, and whether a server exports it."""

import re
from typing import Any

from deploy.grafana.make_dashboards import DASHBOARDS
from deploy.prometheus.make_rules import RECORDED


def unanswered(families: dict[str, Any]) -> set[str]:
    """The selectors of dashboards, and of rules that they use, for which there is no sample on a page of metrics."""
    samples: dict[str, list[dict[str, str]]] = {}
    for family in families.values():
        for sample in family.samples:
            samples.setdefault(sample.name, []).append(sample.labels)
    expressions = [
        query.expression for each in DASHBOARDS for panel in each.panels for query in panel.queries
    ]
    expressions += [each.expression for each in RECORDED]
    asked = {found for text in expressions for found in re.findall(r"\bpricegrid_\w+(?:\{[^}]*\})?", text)}
    return {selector for selector in asked if not _has_sample(selector, samples)}


def _has_sample(selector: str, samples: dict[str, list[dict[str, str]]]) -> bool:
    name, _, matchers = selector.partition("{")
    wanted = re.findall(r'(\w+)(=~|!~|=)"([^"]*)"', matchers)
    return any(
        all((re.fullmatch(value, labels[label]) is None) == (sign == "!~") for label, sign, value in wanted)
        for labels in samples.get(name, ())
    )

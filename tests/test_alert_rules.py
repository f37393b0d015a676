"""The alert rules under deploy/prometheus/ are those of the list that they are made from, and do what they say."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from deploy.prometheus.make_rules import ALERTS, GUIDE, RECORDED, RULES, TESTS, proofs, rules
from pricegrid.service.metric_table import METRICS
from tests.alert_drill import CAUSES, quick_rules

PROMTOOL = os.environ.get("PRICEGRID_PROMTOOL") or shutil.which("promtool")


def test_the_files_are_current():
    made = "run `python -m deploy.prometheus.make_rules` and commit deploy/prometheus"
    assert RULES.read_text(encoding="utf-8") == rules(), made
    assert TESTS.read_text(encoding="utf-8") == proofs(), made


def test_every_expression_is_of_metrics_that_there_are():
    expressions = [each.expression for each in (*RECORDED, *ALERTS)]
    named = {name.removesuffix("_bucket") for name in re.findall(r"\bpricegrid_\w+", " ".join(expressions))}
    assert named <= set(METRICS)
    recorded = set(re.findall(r"\bpricegrid:[\w:]+", " ".join(each.expression for each in ALERTS)))
    assert recorded <= {each.name for each in RECORDED}


def test_every_alert_leads_to_a_section_of_the_guide():
    headings = re.findall(r"^## (.+)$", Path(GUIDE).read_text(encoding="utf-8"), re.MULTILINE)
    sections = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert {alert.section for alert in ALERTS} <= sections


@pytest.mark.skipif(
    PROMTOOL is None, reason="no promtool (Debian's package prometheus has it; PRICEGRID_PROMTOOL names one)"
)
@pytest.mark.parametrize(("check", "file"), [("check", RULES), ("test", TESTS)])
def test_each_alert_fires_by_its_cause_and_not_without_it(check, file):
    found = subprocess.run(
        [PROMTOOL, check, "rules", file.name], cwd=file.parent, capture_output=True, check=False, text=True
    )
    assert found.returncode == 0, found.stdout + found.stderr


def test_each_alert_has_a_drill_that_makes_its_cause_happen():
    tried = [name for cause in CAUSES for name in cause.alerts]
    assert sorted(tried) == sorted(each.name for each in ALERTS)


def test_the_drill_shortens_times_and_nothing_else():
    text = quick_rules(1.0)
    assert "[1h]" not in text
    assert "pricegrid_snapshot_age_seconds > 26" in text
    assert "pricegrid_events_lag_seconds > 4" in text
    assert re.sub(r"\d+[hms]?\b|[ *]", "", text) == re.sub(r"\d+[hms]?\b|[ *]", "", rules())

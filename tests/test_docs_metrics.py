"""The reference of metrics is what the code says, and what a server exports."""

import re
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pricegrid import Client, InventoryEvent, InventoryEventKind, InventoryMeasure, InventorySource, Line
from pricegrid.results import instant_from_us
from pricegrid.service.clock import now_us
from pricegrid.service.metric_table import METRICS, PLACE, Kind, reference
from tests.erp_server import SmallErp, serving
from tests.redis_servers import redis_server
from tests.servers import running, until
from tests.stores import publish, stocked_rows


def test_the_reference_is_current():
    assert PLACE.read_text(encoding="utf-8") == reference(), (
        "run `python -m pricegrid.service.metric_table` and commit docs/metrics.md"
    )


@pytest.mark.slow
def test_a_server_exports_each_and_nothing_else(tmp_path):
    """One with an ERP that disagrees and a Redis, after a price was compared and an event came."""
    store = tmp_path / "store"
    publish(store, stocked_rows())
    erp = SmallErp()
    erp.prices = {("", "S4"): "10.01"}
    with serving(erp), redis_server(tmp_path / "redis") as redis:
        config = erp.config(tmp_path, "[parity]\nsample_per_million = 1000000\nchecks_per_s = 1000\n")
        url = f"redis://{redis.address[0]}:{redis.address[1]}"
        options = ["--erp-config", str(config), "--redis-url", url, "--metrics-port", "0"]
        with running(store, "--workers", "1", *options) as server, Client(server.address) as client:
            place = f"http://127.0.0.1:{server.ready['metrics_port']}/metrics"
            client.publish_events([event()])

            def exported() -> dict[str, object]:
                client.price_lines("C1", [Line("S4")], timeout_s=10)
                page = urllib.request.urlopen(place, timeout=10).read().decode()
                return {family.name: family for family in text_string_to_metric_families(page)}

            # the parser calls a counter as it is declared
            names = {metric.declared[0] for metric in METRICS.values()}
            until(lambda: names <= set(exported()), "each is exported")
            families = exported()

    assert set(families) == names
    for metric in METRICS.values():
        family = families[metric.declared[0]]
        assert (family.type, family.documentation) == (metric.kind.value, metric.help), metric.name
        for sample in family.samples:
            assert sample.name.startswith(metric.name)
            labels = {name: value for name, value in sample.labels.items() if name not in {"le", "pid"}}
            assert set(labels) == set(metric.labels), metric.name
            for name, value in labels.items():
                known = metric.labels[name]
                assert isinstance(known, str) or value in known, f"{metric.name}: {name} {value}"


def event() -> InventoryEvent:
    return InventoryEvent(
        source=InventorySource.ERP,
        sequence=1,
        effective=instant_from_us(now_us()),
        measure=InventoryMeasure.ON_HAND,
        kind=InventoryEventKind.SET,
        sku="S4",
        branch="HAM",
        quantity=7,
    )


def test_histograms_say_their_buckets():
    assert all(bool(metric.buckets) == (metric.kind is Kind.HISTOGRAM) for metric in METRICS.values())


def test_the_operations_guide_names_metrics_that_there_are():
    text = Path("docs/operate.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\bpricegrid_\w+", text)) <= set(METRICS)

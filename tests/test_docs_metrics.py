"""The reference of metrics is what the code says, and what a server exports."""

import json
import re
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pricegrid import (
    Client,
    InventoryEvent,
    InventoryEventKind,
    InventoryMeasure,
    InventorySource,
    Line,
    ReserveLine,
    UnavailableError,
)
from pricegrid.erp.dead_letters import DeadLetter, DeadLetterFile
from pricegrid.loaders.objects.push import push
from pricegrid.loaders.objects.storage import open_storage
from pricegrid.loaders.store.last_load import LastLoad, note_load
from pricegrid.loaders.store.snapshot import current_version
from pricegrid.results import instant_from_us
from pricegrid.service.clock import now_us
from pricegrid.service.metric_kinds import Kind
from pricegrid.service.metric_page import PLACE, reference
from pricegrid.service.metric_table import METRICS
from tests.dashboards import unanswered
from tests.erp_server import SmallErp, serving
from tests.redis_servers import redis_server
from tests.servers import running, until
from tests.stores import publish, stocked_rows


def test_the_reference_is_current():
    assert PLACE.read_text(encoding="utf-8") == reference(), (
        "run `python -m pricegrid.service.metric_page` and commit docs/metrics.md"
    )


@pytest.mark.slow
def test_a_server_exports_each_and_nothing_else(tmp_path):
    """One with an ERP that disagrees and a Redis, after a refused load, a refused answer of the ERP, a compared price,
    events and a reservation; its log is JSON, and has the exchanges. Every query of a dashboard finds its samples."""
    store = tmp_path / "store"
    publish(store, stocked_rows())
    note_load(store, LastLoad(now_us(), False, {"items": True, "change": False}))
    DeadLetterFile(store)(DeadLetter("SIGN", "-1", {"kind": "price", "question": {"sku": "S4"}}, now_us()))
    erp = SmallErp()
    erp.prices = {("", "S4"): "10.01"}
    with serving(erp), redis_server(tmp_path / "redis") as redis:
        config = erp.config(tmp_path, "[parity]\nsample_per_million = 1000000\nchecks_per_s = 1000\n")
        url = f"redis://{redis.address[0]}:{redis.address[1]}"
        options = ["--erp-config", str(config), "--redis-url", url, "--events-stream", "feed"]
        options += ["--metrics-port", "0"]
        options += ["--log-format", "json", "--access-log", "1", "--follow", f"file://{tmp_path}/remote"]
        push(open_storage(options[-1], to_write=True), store, current_version(store))
        with running(store, "--workers", "1", *options) as server, Client(server.address) as client:
            page = f"http://127.0.0.1:{server.ready['metrics_port']}"
            client.publish_events([event(), event("NOWHERE")])
            redis.ask("XADD", "feed", "*", "event", "no event")
            until(lambda: is_reserved(client), "the link to Redis is well")

            def exported() -> dict[str, object]:
                client.price_lines("C1", [Line("S4")], timeout_s=10)
                text = urllib.request.urlopen(f"{page}/metrics", timeout=10).read().decode()
                return {family.name: family for family in text_string_to_metric_families(text)}

            # the parser calls a counter as it is declared
            names = {metric.declared[0] for metric in METRICS.values()}
            until(lambda: names <= set(exported()), "each is exported")
            until(lambda: values(exported(), "pricegrid_reservations")["HELD"] == 1, "the writer has looked")
            until(lambda: values(exported(), "pricegrid_events").get("DEAD_LETTER") == 2, "both came")
            families = exported()
            probes = [probed(page, path) for path in ("/healthz", "/readyz", "/metrics/")]
            told = client.price_lines("C1", [Line("S4")], timeout_s=10).correlation_id

    assert probes == [200, 200, 404]
    assert unanswered(families) == set()
    assert_exchanges_are_logged(server.log, told)
    assert values(families, "pricegrid_snapshot_gate_refused") == {"items": 0, "change": 1}
    assert values(families, "pricegrid_load_failed") == {"": 1}
    assert values(families, "pricegrid_dead_letters")["UNKNOWN_BRANCH"] == 1
    assert values(families, "pricegrid_events_lag_seconds")["ERP"] > 0
    assert values(families, "pricegrid_reservations") == {"HELD": 1, "CONFIRMED": 0}
    assert values(families, "pricegrid_processes") == {"supervisor": 1, "worker": 1, "writer": 1}
    assert min(values(families, "pricegrid_process_memory_bytes").values()) > 1 << 20
    assert min(values(families, "pricegrid_process_cpu_seconds").values()) > 0
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


def values(families: dict[str, Any], name: str) -> dict[str, float]:
    """The values of a metric by its only label."""
    return {"".join(sample.labels.values()): sample.value for sample in families[name].samples}


def is_reserved(client: Client) -> bool:
    try:
        client.reserve([ReserveLine("S4", 1, "HAM")], customer_id="C1", key="k")
    except UnavailableError:  # the link to Redis is not well yet
        return False
    return True


def probed(page: str, path: str) -> int:
    try:
        return urllib.request.urlopen(page + path, timeout=10).status
    except urllib.error.HTTPError as error:
        return error.code


def assert_exchanges_are_logged(log: list[str], correlation_id: str) -> None:
    lines = [json.loads(line) for line in log]
    assert {line["process"] for line in lines} >= {"supervisor", "worker"}
    (call,) = [line for line in lines if line.get("correlation_id") == correlation_id]
    assert (call["method"], call["status"], call["lines"]) == ("PriceLines", "OK", 1)
    (published,) = [line for line in lines if line.get("method") == "PublishEvents"]
    assert published["lines"] == 2


def event(branch: str = "HAM") -> InventoryEvent:
    return InventoryEvent(
        source=InventorySource.ERP,
        sequence=1,
        effective=instant_from_us(now_us()),
        measure=InventoryMeasure.ON_HAND,
        kind=InventoryEventKind.SET,
        sku="S4",
        branch=branch,
        quantity=7,
    )


def test_histograms_say_their_buckets():
    assert all(bool(metric.buckets) == (metric.kind is Kind.HISTOGRAM) for metric in METRICS.values())


def test_the_operations_guide_names_metrics_that_there_are():
    text = Path("docs/operate.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\bpricegrid_\w+", text)) <= set(METRICS)

"""The check that every log of the tests goes through finds what it is for, and nothing else."""

import json
import logging

import pytest

from tests import telemetry
from tests.log_leaks import LeakHandler, leaks


@pytest.mark.parametrize(
    "line",
    [
        "2026-11-28 10:00:00,123 INFO worker 7 refused: Bearer eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJzaG9wIn0.c2ln",
        "ERROR the key -----BEGIN EC PRIVATE KEY----- can't be read",
        "WARNING redis://shop:hunter2@cache:6379 does not answer",
        "ERROR NOAUTH with password=hunter2",
        "INFO C1 pays 12.50 for S4",
        "INFO C-1042 pays 12 EUR",
        "INFO customer acme-7: 9.9900 a piece",
        '{"level": "INFO", "message": "\\u0043-1042 pays 12.50"}',
        '{"level": "INFO", "customer": "acme-7", "price": 12.25}',
    ],
)
def test_what_must_not_be_logged_is_found(line):
    assert leaks(["INFO worker ready", line]) == [line]


@pytest.mark.parametrize(
    "line",
    [
        "2026-11-28 10:00:00,123 INFO worker 7 serves snapshot 20260301T000000Z-1234",
        "WARNING the ERP answered C1 after 2.50 s",
        "WARNING customer C1 is not known to the ERP",
        "INFO serving on 127.0.0.10:50051",
        "WARNING no password is set",
        "INFO 12.50 % of the lines were asked of the ERP",
        '{"time": "2026-11-28T10:00:00.123Z", "message": "QuoteLines OK", "subject": "C-1042", "ms": 0.123}',
    ],
)
def test_what_may_be_logged_is_not(line):
    assert leaks([line]) == []


def test_the_log_of_this_process_is_looked_at():
    handler = LeakHandler()
    logger = logging.getLogger("pricegrid.test_log_leaks")
    logger.propagate = False
    logger.addHandler(handler)
    try:
        logger.warning("%s pays %s", "C7", "12.50")
        logger.warning("ready")
    finally:
        logger.removeHandler(handler)
    assert handler.found == ["C7 pays 12.50"]
    assert [json.loads(line)["message"] for line in handler.told] == ["C7 pays 12.50", "ready"]


GOOD = {
    "logs": ["INFO worker ready", "INFO C1 asks for S4"],
    "metrics": ['pricegrid_parity_checks_total{book_id="C1"} 12.0', "pricegrid_request_seconds_sum 0.0125"],
    "traces": ["ERP call {'pricegrid.erp.outcome': 'OK'}"],
}


@pytest.mark.parametrize(
    ("kind", "lines", "code", "said"),
    [
        ("logs", GOOD["logs"], 0, "logs: 2 lines, 0 with"),
        ("metrics", GOOD["metrics"], 0, "metrics: 2 lines, 0 with"),
        ("traces", GOOD["traces"], 0, "traces: 1 lines, 0 with"),
        ("logs", [*GOOD["logs"], "INFO C1 pays 12.50\nfor S4"], 1, "  INFO C1 pays 12.50\\nfor S4"),
        ("metrics", ['pricegrid_x{customer="C1"} 12.50'], 1, "metrics: 1 lines, 1 with"),
        ("metrics", ['pricegrid_x{token="eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJzaG9wIn0"} 1.0'], 1, "1 with"),
        ("traces", ["PriceLines {'customer': 'C1'}"], 1, "traces: 1 lines, 1 with"),
        ("traces", ["call {'url': 'redis://shop:hunter2@cache'}"], 1, "1 with"),
        ("logs", [], 1, "logs: 0 lines"),
    ],
)
def test_what_a_run_has_kept_is_looked_through(tmp_path, monkeypatch, capsys, kind, lines, code, said):
    monkeypatch.setenv(telemetry.FOLDER, str(tmp_path))
    for name, told in {**GOOD, kind: lines}.items():
        telemetry.keep(name, told)

    assert telemetry.main([str(tmp_path)]) == code
    assert said in capsys.readouterr().out
    assert telemetry.main([str(tmp_path), *(set(GOOD) - {kind})]) == 0


def test_without_a_folder_nothing_is_kept(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv(telemetry.FOLDER, raising=False)
    telemetry.keep("logs", GOOD["logs"])

    assert list(tmp_path.iterdir()) == []
    assert telemetry.main([str(tmp_path / "nowhere")]) == 2
    assert telemetry.main([str(tmp_path), "letters"]) == 2
    assert "usage" in capsys.readouterr().err

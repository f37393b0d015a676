"""The check that every log of the tests goes through finds what it is for, and nothing else."""

import logging

import pytest

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

"""`docs/troubleshooting.md` explains each message, reason and status that users can see, and none that there is not."""

import ast
import re
from pathlib import Path

import pytest

from pricegrid.atp.model import AvailabilityStatus
from pricegrid.atp.rules.events import DeadReason
from pricegrid.availability import FreshnessState, PromiseLimit
from pricegrid.cache.protocol import Health
from pricegrid.erp.protocol import Refusal
from pricegrid.pricing_engine.model import LineStatus
from pricegrid.reservations import ReservationStatus
from pricegrid.results import ExceptionReason
from pricegrid.service.errors import Reason
from tests import messages

PAGE = Path("docs/troubleshooting.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
ENUMS = {
    "A request is refused": {each.value for each in Reason},
    "Line statuses": {each.name for each in LineStatus},
    "Exceptions": {each.value for each in ExceptionReason},
    "Availability statuses": {each.name for each in AvailabilityStatus},
    "Freshness": {each.value for each in FreshnessState},
    "Limits of a promise": {each.value for each in PromiseLimit},
    "Reservation statuses": {each.value for each in ReservationStatus},
    "Dead letters": {each.name for each in DeadReason},
    "Refused answers of the ERP": {each.value for each in Refusal},
    "States of Redis": {each.value for each in Health},
}
MESSAGES = {
    "A load stops": messages.load_errors,
    "Rejected rows": messages.reject_reasons,
    "Load warnings": messages.load_warnings,
    "Commands": messages.command_errors,
    "Configuration of an ERP": messages.erp_config_errors,
    "URL of a Redis": messages.redis_url_errors,
    "The server's log": messages.logged,
}


def rows(section: str) -> list[str]:
    return re.findall(r"^\| `([A-Z_]+|[a-z]+)` \| ", SECTIONS[section], re.MULTILINE)


@pytest.mark.parametrize("section", ENUMS)
def test_every_reason_and_status_is_explained(section):
    found = rows(section)
    assert sorted(found) == sorted(ENUMS[section])


def test_every_gate_is_explained():
    gates = set()
    for path in [*Path("loaders/gates").glob("*.py"), Path("loaders/publish.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "Gate":
                gates.add(node.args[0].value)
    assert sorted(rows("Gates")) == sorted(gates)


@pytest.mark.parametrize("section", MESSAGES)
def test_every_message_is_explained(section):
    told = re.findall(r"^```messages\n(.*?)^```$", SECTIONS[section], re.MULTILINE | re.DOTALL)
    lines = "".join(told).splitlines()
    assert len(lines) == len(set(lines)), "a message stands there twice"
    assert set(lines) == MESSAGES[section]()


def test_every_section_is_one_that_is_compared():
    assert set(SECTIONS) == {*ENUMS, *MESSAGES, "Gates"}
    assert [section for section in ENUMS if "```messages" in SECTIONS[section]] == []


def test_a_row_says_what_to_do():
    """But for what is as it should be."""
    fine = {"OK", "FRESH", "CONSUMED", "RELEASED"}
    empty = re.findall(r"^\| `(\w+)` \|.*\| +\|$", PAGE, re.MULTILINE)
    assert set(empty) <= fine

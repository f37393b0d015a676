"""What a page of the console costs the server: so many calls and lines, and so much CPU time beside a quote."""

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from pricegrid import Line
from pricegrid.service.console.app import _outcome
from pricegrid.service.console.asked import Asked
from pricegrid.service.console.html import document, tag
from pricegrid.service.console.pages import PAGES
from tests.console_world import AS_OF, Direct, console_world

CALLS_MAX, LINES_MAX = 6, 600
QUOTES_MAX = 600
"""A page may cost as much as so many quotes of a line: 200 ms where a quote in process takes a third of one."""
QUESTIONS = (
    f"/price?customer=C1&sku=S3&quantity=4&as_of={AS_OF}",
    "/timeline?customer=C1&sku=S3&from=2026-06-01&to=2026-08-01",
    f"/availability?sku=S4&quantity=12&as_of={AS_OF}",
    "/find?q=s",
    "/freshness",
    "/reservations",
    "/parity",
    "/dead-letters",
    "/snapshots",
)


class Counted:
    """A client that counts what it is asked."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.calls = self.lines = 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)

        def call(*args: Any, **settings: Any) -> Any:
            self.calls += 1
            self.lines += sum(len(each) for each in args if isinstance(each, list))
            return found(*args, **settings)

        return call


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with console_world(tmp_path_factory.mktemp("console")) as found:
        yield found


def shown(world: Any, question: str, client: Any) -> None:
    """Makes what a page has inside its frame."""
    parts = urlsplit(question)
    page = next(each for each in PAGES if each.path == parts.path)
    asked = Asked(dict(parse_qsl(parts.query)), Direct(client), None, world.console.store)
    status, inside = _outcome(page.answer, asked)
    assert status == 200
    assert document(tag("html", page.form(asked), inside))


def least_s(work: Callable[[], object], times: int) -> float:
    """The least CPU time of several: a disturbance only ever adds to it."""
    found = []
    for _ in range(times):
        began = time.process_time()
        work()
        found.append(time.process_time() - began)
    return min(found)


def test_each_page_is_asked(world):
    assert {urlsplit(each).path for each in QUESTIONS} == {page.path for page in PAGES}


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_page_asks_few_questions(world, question):
    counted = Counted(world.client)

    shown(world, question, counted)

    assert counted.calls <= CALLS_MAX
    assert counted.lines <= LINES_MAX


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_page_costs_so_many_quotes_at_most(world, question):
    quote_s = least_s(lambda: world.client.quote_lines("C1", [Line("S4", 1)]), 30)

    assert least_s(lambda: shown(world, question, world.client), 3) <= QUOTES_MAX * quote_s

"""Dead letters of every origin behind one set of methods: one order, one paging, one replay and drop."""

import json
import sqlite3
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricegrid import v1
from pricegrid.erp.dead_letters import DeadLetter as Refused
from pricegrid.erp.dead_letters import DeadLetterFile
from pricegrid.service.erp_overlay.letters import ErpLetters
from pricegrid.service.errors import Reason, RequestRefusedError
from pricegrid.service.live.api import DeadLetter
from pricegrid.service.methods.dead_letters import DeadLetterService
from pricegrid.service.methods.live import live_methods, no_live_methods
from pricegrid.service.rpc.call import Caller
from tests.live_memory import NOW_US, MemoryLive

CALLER = Caller("id-1")


def refused_at(at_us: int) -> Refused:
    question = {"sku": f"X{at_us}", "branch": "B"}
    return Refused("SIGN", "it is negative", {"kind": "stock", "erp": "small", "question": question}, at_us)


def service(directory, event_instants, erp_instants, *, has_events: bool = True) -> DeadLetterService:
    live = MemoryLive()
    for number, at_us in enumerate(sorted(event_instants)):
        name = f"D{number:03}"
        live.letters[name] = DeadLetter(name, at_us, "events", "FUTURE", "", "1", last_us=at_us)
    file = DeadLetterFile(directory)
    for at_us in erp_instants:
        file(refused_at(at_us))
    methods = live_methods(live, lambda: NOW_US) if has_events else no_live_methods()
    erp = ErpLetters(file, None, SimpleNamespace, lambda: NOW_US)
    return DeadLetterService(methods[v1.ADMIN_SERVICE], erp, lambda: has_events)


def listed(letters: DeadLetterService, origin: str = "", limit: int = 1_000) -> list[v1.DeadLetter]:
    """All of them, page by page."""
    found, token = [], ""
    while True:
        request = v1.ListDeadLettersRequest(origin=origin, limit=limit, page_token=token)
        answer = letters.list_dead_letters(request.SerializeToString(), CALLER)
        page = v1.ListDeadLettersResponse.FromString(answer.raw)
        assert len(page.dead_letters) <= limit
        found += page.dead_letters
        token = page.next_page_token
        if not token:
            return found
        assert page.dead_letters


INSTANTS = st.lists(st.integers(1, 20), max_size=12, unique=True)


@settings(deadline=None, max_examples=60)
@given(INSTANTS, INSTANTS, st.integers(1, 7))
def test_pages_of_both_kinds_are_one_list_by_instant(tmp_path_factory, of_events, of_erp, limit):
    letters = service(tmp_path_factory.mktemp("store"), of_events, of_erp)
    found = listed(letters, limit=limit)
    order = [(letter.received_us, letter.dead_letter_id) for letter in found]
    assert order == sorted(order)
    for origin, instants in (("events", of_events), ("erp", of_erp)):
        ours = [letter for letter in found if letter.origin == origin]
        assert [letter.received_us for letter in ours] == sorted(instants)
        assert listed(letters, origin, limit) == ours


def test_one_is_found_and_dropped_whatever_its_origin(tmp_path):
    letters = service(tmp_path, [3], [5])
    event, refused = listed(letters)
    for letter in (event, refused):
        request = v1.GetDeadLetterRequest(dead_letter_id=letter.dead_letter_id)
        answer = letters.get_dead_letter(request.SerializeToString(), CALLER)
        assert v1.GetDeadLetterResponse.FromString(answer.raw).dead_letter == letter
    assert json.loads(refused.payload_json)["question"]["sku"] == "X5"

    names = [event.dead_letter_id, refused.dead_letter_id, "Enone", "Dnone"]
    again = v1.ReplayDeadLettersRequest(dead_letter_ids=names).SerializeToString()
    left = v1.ReplayDeadLettersResponse.FromString(letters.replay_dead_letters(again, CALLER).raw)
    assert {(each.dead_letter_id, each.replay_count) for each in left.dead_letters} == {
        (event.dead_letter_id, 1),
        (refused.dead_letter_id, 1),
    }
    drop = v1.DropDeadLettersRequest(dead_letter_ids=names).SerializeToString()
    answer = letters.drop_dead_letters(drop, CALLER)
    assert v1.DropDeadLettersResponse.FromString(answer.raw).dropped_count == 2
    assert listed(letters) == []


@pytest.mark.parametrize("name", ["Enone", "Dnone"])
def test_an_unknown_one_is_not_found(tmp_path, name):
    letters = service(tmp_path, [3], [5])
    request = v1.GetDeadLetterRequest(dead_letter_id=name).SerializeToString()
    with pytest.raises(RequestRefusedError) as refusal:
        letters.get_dead_letter(request, CALLER)
    assert refusal.value.reason is Reason.DEAD_LETTER_NOT_FOUND


def test_without_live_state_those_of_the_erp_are_listed(tmp_path):
    letters = service(tmp_path, [], [5, 7], has_events=False)
    assert [letter.received_us for letter in listed(letters, limit=1)] == [5, 7]


def test_a_file_of_the_release_before_is_read_and_counts_on(tmp_path):
    db = sqlite3.connect(tmp_path / "erp-dead-letters.sqlite")
    with db:
        db.execute(
            "CREATE TABLE dead_letters (id TEXT PRIMARY KEY, first_us INTEGER NOT NULL, last_us INTEGER NOT NULL,"
            " times INTEGER NOT NULL, reason TEXT NOT NULL, payload TEXT NOT NULL)"
        )
        db.execute("INSERT INTO dead_letters VALUES ('ab', 1, 2, 3, 'SIGN', '{\"message\": \"m\"}')")
    db.close()
    file = DeadLetterFile(tmp_path)
    file.replayed("ab")
    (kept,) = file.letters()
    assert (kept.times, kept.replays, kept.message) == (3, 1, "m")

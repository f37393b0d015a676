"""Entries of an event stream do and leave behind what their events in an encoded request would."""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from pricegrid import v1
from pricegrid.atp.rules.events import Event
from pricegrid.cache.protocol import START
from pricegrid.service.codec.event_json import EventError, event_from_json, event_json
from pricegrid.service.codec.events import encode_events
from pricegrid.service.live.event_stream import event_text, read_entries
from tests.atp_world import world
from tests.live_site import Site, event, new_site
from tests.profiles import examples
from tests.test_live_in_order import messages, site, standing

Entry = Mapping[bytes, bytes]

BROKEN = st.sampled_from([
    b"no JSON", b"[1]", b"\xff", b'{"source": "erp"}', b'{"source": "erp", "\\ud800": 1}', b'{"\xc3\xa9": 1}',
    b'{"source": "nobody"}', b'{"a": 1, "a": 2}', b'{"quantity": NaN}', b'{"text": "' + b"x" * 70_000 + b'"}',
])  # fmt: skip


def as_entry(told: Event, *, in_fields: bool) -> Entry:
    """The entry of a source that sends this event."""
    text = event_json(told)
    if not in_fields:
        return {b"event": text.encode()}
    return {name.encode(): str(value).encode() for name, value in json.loads(text).items()}


def request_of(entries: Sequence[Entry]) -> bytes:
    """The entries as a client of `PublishEvents` sends them: those that are no events behind the others."""
    events, unreadable = [], []
    for fields in entries:
        text = event_text(fields)
        try:
            events.append(event_from_json(text))
        except EventError as error:
            detail = error.detail.encode(errors="replace").decode()
            unreadable.append(v1.InventoryEvent(unreadable=text, unreadable_detail=detail))
    raw: bytes = encode_events(events) + v1.PublishEventsRequest(events=unreadable).SerializeToString()
    return raw


def stored(place: Site) -> list[object]:
    """All that was committed, in order."""
    return [(change.records, change.notes) for change in place.cache.changes(START, 10_000)]


@contextmanager
def two_sites(*, is_complete: bool) -> Iterator[tuple[Site, Site]]:
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        places = (site(Path(one), is_complete=is_complete), site(Path(other), is_complete=is_complete))
        yield places
        for place in places:
            place.cache.close()


@settings(max_examples=examples(40, long=2_000), deadline=None)
@given(messages(), st.data(), st.booleans())
def test_entries_do_what_a_request_would(sent, data, is_complete):
    with two_sites(is_complete=is_complete) as (one, other):
        for batch in sent:
            entries = [as_entry(each, in_fields=data.draw(st.booleans())) for each in batch]
            for broken in data.draw(st.lists(BROKEN, max_size=2)):
                entries.insert(data.draw(st.integers(0, len(entries))), {b"event": broken})
            assert one.live.publish_events(*read_entries(entries)) == other.live.publish(request_of(entries))
            assert standing(one) == standing(other)
        assert stored(one) == stored(other)


def test_an_empty_entry_is_no_json(tmp_path):
    """In a request it would be an event without any field."""
    place = new_site(tmp_path)

    place.live.publish_events(*read_entries([{b"event": b""}]))

    (letter,) = place.live.dead_letters().letters
    assert (letter.reason, letter.payload_json) == ("MALFORMED", '""')
    place.cache.close()


def test_what_is_no_event_is_kept_and_the_rest_applies(tmp_path):
    place = new_site(tmp_path)
    entries = [as_entry(event(1, 70), in_fields=True), {b"event": b'{"\\ud800": 1}'}, {b"event": b"\xff"}]

    found = place.live.publish_events(*read_entries(entries))

    assert {status.name: count for status, count in found.counts.items()} == {"APPLIED": 1, "DEAD_LETTER": 2}
    assert place.free() == 70
    assert {letter.detail for letter in place.live.dead_letters().letters} == {
        "?: not a member of an event",
        "not JSON: Expecting value: line 1 column 1 (char 0)",
    }
    place.restart()
    assert place.free() == 70
    place.cache.close()


def test_what_follows_an_event_that_cannot_be_applied_keeps_its_place(tmp_path):
    """Rows go with the event, and those behind them must still change their own pairs."""
    place = new_site(tmp_path, world(X=100, Y=100))
    place.publish(event(1, 50), event(1, 60, sku="Y"))

    counts = place.publish(event(1, 1, sku="NONE"), event(2, 40), event(2, 7, sku="Y"), event(3, 30))

    assert {status.name: count for status, count in counts.items()} == {"APPLIED": 3, "DEAD_LETTER": 1}
    assert (place.free(), place.free("Y")) == (30, 7)
    place.restart()
    assert (place.free(), place.free("Y")) == (30, 7)
    place.cache.close()

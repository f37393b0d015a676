"""Inventory events from bytes to columns, and to JSON and back: what is read, what is not, and that nothing is lost."""

import contextlib
import json
from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricegrid import v1
from pricegrid.atp.model import AS_OF_MAX_US, INT64_MAX, INT64_MIN, Source
from pricegrid.atp.rules.events import DeadReason, Event, Kind, Measure, ReceiptKind
from pricegrid.service.codec.event_json import EventError, event_from_json, event_json
from pricegrid.service.codec.events import decode_events, encode_events
from pricegrid.service.errors import Reason, RequestRefusedError
from pricegrid.service.limits import EVENTS_MAX, RECEIVE_BYTES_MAX

NOON_US = 1_772_452_800_000_000  # 2026-03-02T12:00:00Z
GOOD = {
    "source": 1,
    "sequence": 7,
    "effective_us": NOON_US,
    "measure": 1,
    "kind": 1,
    "sku": "DRILL-8",
    "branch": "HAM",
    "quantity_micros": 12_500_000,
}
GOOD_JSON = {
    "source": "erp",
    "sequence": 7,
    "effective_time": "2026-03-02T12:00:00Z",
    "measure": "on_hand",
    "kind": "set",
    "sku": "DRILL-8",
    "branch": "HAM",
    "quantity": "12.5",
}
GOOD_EVENT = Event(Source.ERP, 7, NOON_US, Measure.ON_HAND, Kind.SET, "DRILL-8", "HAM", 12_500_000)

instants = st.integers(1, AS_OF_MAX_US - 1)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=32).filter(
    lambda name: name == name.strip(" \t")  # outer blanks are trimmed, see test_service_names
)


def as_read(event: Event) -> Event:
    """A reset speaks of all measures, and says no figure."""
    is_reset = event.kind is Kind.RESET
    return replace(event, measure=Measure.ON_HAND, quantity_micros=0) if is_reset else event


events = st.builds(
    Event,
    source=st.sampled_from(Source),
    sequence=st.integers(1, INT64_MAX),
    effective_us=instants,
    measure=st.sampled_from(Measure),
    kind=st.sampled_from(Kind),
    sku=names,
    branch=names,
    quantity_micros=st.integers(INT64_MIN + 1, INT64_MAX),
    expected_at_us=st.none() | instants,
    order_ref=st.just("") | names,
    order_line=st.just("") | names,
    version=st.integers(0, INT64_MAX),
    shipped_micros=st.none() | st.integers(0, INT64_MAX),
    receipt_kind=st.none() | st.sampled_from(ReceiptKind),
    confidence_micros=st.none() | st.integers(0, 1_000_000),
    supersedes=st.just("") | names,
).map(as_read)


def request(*messages: v1.InventoryEvent) -> bytes:
    return v1.PublishEventsRequest(events=messages).SerializeToString()


def good(**fields) -> v1.InventoryEvent:
    return v1.InventoryEvent(**{**GOOD, **fields})


def good_json(**members) -> str:
    return json.dumps({name: value for name, value in {**GOOD_JSON, **members}.items() if value is not None})


@given(st.lists(events, max_size=20))
def test_events_come_over_the_wire_as_they_were(sent):
    read = decode_events(encode_events(sent))

    assert [read.events.event(at) for at in range(len(read.events))] == sent
    assert read.unreadable == []


@given(events)
def test_an_event_comes_back_from_json_as_it_was(event):
    assert event_from_json(event_json(event)) == event


BAD_MESSAGES = [
    ("no source", {"source": 0}, "UNKNOWN_SOURCE", "source is 0"),
    ("a source of a later release", {"source": 9}, "UNKNOWN_SOURCE", "source is 9"),
    ("a negative source", {"source": -1}, "UNKNOWN_SOURCE", "source is -1"),
    ("no measure", {"measure": 0}, "UNKNOWN_MEASURE", "measure is 0"),
    ("an unknown measure", {"measure": 6}, "UNKNOWN_MEASURE", "measure is 6"),
    ("no kind", {"kind": 0}, "MALFORMED", "kind is 0"),
    ("an unknown kind", {"kind": 4}, "MALFORMED", "kind is 4"),
    ("shipped below 0", {"shipped_micros": -1}, "INVALID_QUANTITY", "shipped_micros is -1"),
    ("more than sure", {"confidence_micros": 1_000_001}, "INVALID_QUANTITY", "confidence_micros is 1000001"),
    ("less than unsure", {"confidence_micros": -1}, "INVALID_QUANTITY", "confidence_micros is -1"),
    ("an unknown receipt", {"receipt_kind": 4}, "MALFORMED", "receipt_kind is 4"),
    ("a long order superseded", {"supersedes": "x" * 129}, "MALFORMED", "supersedes has 129 bytes"),
    ("no item", {"sku": ""}, "MALFORMED", "sku is missing"),
    ("no branch", {"branch": ""}, "MALFORMED", "branch is missing"),
    ("a long item", {"sku": "x" * 129}, "MALFORMED", "sku has 129 bytes; at most 128"),
    ("a long item of few characters", {"sku": "€" * 43}, "MALFORMED", "sku has 129 bytes; at most 128"),
    ("a long branch", {"branch": "x" * 129}, "MALFORMED", "branch has 129 bytes; at most 128"),
    ("a long order", {"order_ref": "x" * 129}, "MALFORMED", "order_ref has 129 bytes; at most 128"),
    ("a long line", {"order_line": "x" * 129}, "MALFORMED", "order_line has 129 bytes; at most 128"),
    ("no instant", {"effective_us": 0}, "MALFORMED", "effective_us is 0, which is to say missing"),
    ("before 1970", {"effective_us": -1}, "OUT_OF_RANGE", "effective_us is -1"),
    ("the year 9000", {"effective_us": AS_OF_MAX_US}, "OUT_OF_RANGE", "effective_us is"),
    ("expected before 1970", {"expected_at_us": INT64_MIN}, "OUT_OF_RANGE", "expected_at_us is"),
    ("a negative version", {"version": -1}, "MALFORMED", "version is -1"),
    ("no quantity", {"quantity_micros": None}, "INVALID_QUANTITY", "quantity_micros is missing"),
    ("the least integer", {"quantity_micros": INT64_MIN}, "OUT_OF_RANGE", "quantity_micros is -92233"),
]


@pytest.mark.parametrize(
    ("fields", "reason", "detail"), [row[1:] for row in BAD_MESSAGES], ids=[row[0] for row in BAD_MESSAGES]
)
def test_what_is_no_event_comes_back_with_its_reason(fields, reason, detail):
    read = decode_events(request(good(sequence=1), good(**fields), good(sequence=2)))

    assert [(found.index, found.reason.name) for found in read.unreadable] == [(1, reason)]
    assert detail in read.unreadable[0].detail
    assert read.events.sequence.tolist() == [1, 2]


def test_what_is_no_event_is_kept_with_all_that_was_said():
    (found,) = decode_events(request(good(source=9, order_ref="SO-1", version=3))).unreadable

    assert json.loads(found.payload_json) == {**GOOD_JSON, "source": 9, "order_ref": "SO-1", "version": 3}


def test_the_first_thing_wrong_is_named():
    (found,) = decode_events(request(good(source=9, sku="", quantity_micros=None))).unreadable

    assert found.reason is DeadReason.UNKNOWN_SOURCE


def test_a_quantity_of_zero_is_a_quantity():
    read = decode_events(request(good(quantity_micros=0)))

    assert (read.events.quantity_micros.tolist(), read.unreadable) == ([0], [])


UNREADABLE = [
    ("no JSON", "sku;qty", "MALFORMED", '"sku;qty"'),
    ("an unknown source", good_json(source="crm"), "UNKNOWN_SOURCE", good_json(source="crm")),
    ("one that can be read here", good_json(), "MALFORMED", good_json()),
]


@pytest.mark.parametrize(
    ("text", "reason", "payload"), [row[1:] for row in UNREADABLE], ids=[row[0] for row in UNREADABLE]
)
def test_what_its_sender_could_not_read_is_kept_and_never_applied(text, reason, payload):
    message = v1.InventoryEvent(unreadable=text, unreadable_detail="line 3: no JSON", sku="ignored")

    read = decode_events(request(good(), message, good(kind=0)))

    assert [(found.index, found.reason.name) for found in read.unreadable] == [(1, reason), (2, "MALFORMED")]
    assert (read.unreadable[0].detail, read.unreadable[0].payload_json) == ("line 3: no JSON", payload)
    assert len(read.events) == 1


def test_a_text_too_long_to_keep_is_cut_and_says_so():
    (found,) = decode_events(request(v1.InventoryEvent(unreadable="€" * 30_000))).unreadable

    assert json.loads(found.payload_json) == "€" * 21_845
    assert "cut off after 65536 bytes" in found.detail


def test_no_events_are_no_events():
    read = decode_events(b"")

    assert (len(read.events), read.unreadable) == (0, [])


def test_more_events_than_a_message_may_have_are_refused():
    at_most = encode_events([GOOD_EVENT] * EVENTS_MAX)
    assert len(decode_events(at_most).events) == EVENTS_MAX

    with pytest.raises(RequestRefusedError) as refused:
        decode_events(at_most + encode_events([GOOD_EVENT]))

    assert refused.value.reason is Reason.TOO_MANY_EVENTS
    assert refused.value.metadata["events_max"] == "5000"


def test_the_largest_events_fit_into_a_message():
    text = "x" * 128
    largest = Event(
        Source.TRANSIT, INT64_MAX, AS_OF_MAX_US - 1, Measure.DEMAND, Kind.DELTA, text, text, INT64_MIN + 1,
        AS_OF_MAX_US - 1, text, text, INT64_MAX, INT64_MAX, ReceiptKind.ASN, 1_000_000, text,
    )  # fmt: skip

    assert len(encode_events([largest] * EVENTS_MAX)) < RECEIVE_BYTES_MAX


@pytest.mark.parametrize("raw", [b"\x0a", b"\x0a\x05\x32\x03\xff\xfe\xfd", b"\xff" * 9, request(good())[:-3]])
def test_bytes_that_are_no_such_message_are_refused(raw):
    with pytest.raises(RequestRefusedError) as refused:
        decode_events(raw)

    assert refused.value.reason is Reason.MALFORMED_REQUEST


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(raw):
    with contextlib.suppress(RequestRefusedError):
        decode_events(raw)


BAD_TEXTS = [
    ("no JSON", "{", "MALFORMED", "not JSON"),
    ("a list", "[]", "MALFORMED", "not a JSON object"),
    ("deeper than can be read", "[" * 100_000, "MALFORMED", "not JSON"),
    ("bytes that are no text", b"\xff", "MALFORMED", "not JSON"),
    ("a member twice", '{"sku": "A", "sku": "B"}', "MALFORMED", "twice"),
    ("an unknown member", good_json(expected="2026-03-07"), "MALFORMED", "expected: not a member of an event"),
    ("no source", good_json(source=None), "UNKNOWN_SOURCE", "source is missing"),
    ("an unknown source", good_json(source="crm"), "UNKNOWN_SOURCE", "there are erp, wms, transit"),
    ("a source in capitals", good_json(source="ERP"), "UNKNOWN_SOURCE", 'source is "ERP"'),
    ("a list as source", good_json(source=["erp"]), "UNKNOWN_SOURCE", "source is"),
    ("an unknown measure", good_json(measure="sold"), "UNKNOWN_MEASURE", "on_hand, unavailable, allocated"),
    ("an unknown kind", good_json(kind="add"), "MALFORMED", "there are set, delta, reset"),
    ("shipped below 0", good_json(shipped=-1), "INVALID_QUANTITY", "shipped is -1, less than 0"),
    ("more than sure", good_json(confidence="1.1"), "INVALID_QUANTITY", "confidence is 1.1, more than 1"),
    ("an unknown receipt", good_json(receipt_kind="gift"), "MALFORMED", "there are purchase, transfer, asn"),
    ("a number superseded", good_json(supersedes=7), "MALFORMED", "supersedes is 7, not text"),
    ("no sequence", good_json(sequence=None), "INVALID_SEQUENCE", "sequence is missing"),
    ("sequence 0", good_json(sequence=0), "INVALID_SEQUENCE", "sequence is 0"),
    ("a sequence as text", good_json(sequence="7"), "INVALID_SEQUENCE", 'sequence is "7"'),
    ("a sequence that is true", good_json(sequence=True), "INVALID_SEQUENCE", "sequence is true"),
    ("a fractional sequence", good_json(sequence=1.5), "INVALID_SEQUENCE", "sequence is"),
    ("a sequence beyond 64 bits", good_json(sequence=2**63), "INVALID_SEQUENCE", "sequence is"),
    ("no item", good_json(sku=""), "MALFORMED", "sku is missing"),
    ("a number as item", good_json(sku=7), "MALFORMED", "sku is 7, not text"),
    ("half a character", good_json(sku="\ud800"), "MALFORMED", "sku is not Unicode text"),
    ("a long branch", good_json(branch="x" * 129), "MALFORMED", "branch has 129 bytes"),
    ("a list as order", good_json(order_ref=[]), "MALFORMED", "order_ref is [], not text"),
    ("false as order", good_json(order_ref=False), "MALFORMED", "order_ref is false, not text"),
    ("no quantity", good_json(quantity=None), "INVALID_QUANTITY", "quantity is missing"),
    ("a word as quantity", good_json(quantity="many"), "INVALID_QUANTITY", 'quantity is "many"'),
    ("a quantity that is true", good_json(quantity=True), "INVALID_QUANTITY", "quantity is true"),
    ("finer than micros", good_json(quantity="0.0000001"), "INVALID_QUANTITY", "at most 6 decimals"),
    ("no finite number", '{"quantity": NaN}', "MALFORMED", "NaN is not a number"),
    ("an exponent", good_json(quantity="1e3"), "INVALID_QUANTITY", 'quantity is "1e3"'),
    ("beyond 64 bits", good_json(quantity="9223372036854.775808"), "OUT_OF_RANGE", "beyond 64 bits"),
    ("no instant", good_json(effective_time=None), "MALFORMED", "effective_time is missing"),
    ("a number as instant", good_json(effective_time=7), "MALFORMED", "effective_time is 7, not"),
    ("a local time", good_json(effective_time="2026-03-02T12:00:00"), "MALFORMED", "effective_time is"),
    ("a date without a zone", good_json(expected_at="2026-03-07"), "MALFORMED", "without a time zone"),
    ("no such date", good_json(effective_time="2026-02-30"), "MALFORMED", "effective_time is"),
    ("before 1970", good_json(effective_time="1969-12-31T00:00:00Z"), "OUT_OF_RANGE", "effective_time is"),
    ("a negative version", good_json(version=-1), "MALFORMED", "version is -1"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "reason", "detail"), [row[1:] for row in BAD_TEXTS], ids=[row[0] for row in BAD_TEXTS]
)
def test_a_text_that_is_no_event_says_which_member_is_wrong(text, reason, detail):
    with pytest.raises(EventError) as refused:
        event_from_json(text)

    assert refused.value.reason.name == reason
    assert detail in refused.value.detail


@pytest.mark.parametrize("quantity", ["12.5", 12.5, "+12.50", "0012.500000000"])
def test_a_quantity_may_be_written_in_several_ways(quantity):
    assert event_from_json(good_json(quantity=quantity)) == GOOD_EVENT


def test_a_date_begins_in_the_zone_that_is_said():
    event = event_from_json(good_json(expected_at="2026-03-07"), ZoneInfo("Europe/Berlin"))

    assert event.expected_at_us == int(datetime(2026, 3, 6, 23, tzinfo=UTC).timestamp()) * 1_000_000

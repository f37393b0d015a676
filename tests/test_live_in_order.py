"""In-order streams, compiled, agree with the rules for all streams on the same events, message by message."""

import itertools
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pricegrid.atp.kernels.in_order_streams import FIGURE_ONLY, ROW_END, ROW_FORM, ROW_START
from pricegrid.atp.live.in_order_streams import InOrderStreams
from pricegrid.atp.live.positions import look
from pricegrid.atp.model import INT64_MAX, INT64_MIN, MICROS, Source
from pricegrid.atp.rules.events import SOURCE_OF, Event, Kind, Measure
from pricegrid.atp.rules.rows import Stock
from pricegrid.service.codec.events import decode_events, encode_events
from pricegrid.service.errors import RequestRefusedError
from pricegrid.service.live import events as live_events
from pricegrid.service.live import grant
from pricegrid.service.live.events import scanned_events
from tests.atp_world import at, complete_feed, q, world
from tests.live_site import Site, down, event
from tests.profiles import examples
from tests.test_service_event_codec import good, request

LOADED_US = at(0, 6)
SKUS = ("X", "Y", "Z", "KIT", "NONE")
"""Of a stock row, of none, of one that could not be used, a kit, and no item."""


@contextmanager
def general_path() -> Iterator[None]:
    """No stream is an in-order one, and only the protobuf runtime decodes messages."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(live_events, "scanned_events", lambda _: None)
        patch.setattr(InOrderStreams, "take_over", lambda *_: False)
        yield


class GeneralSite(Site):
    """Takes every event by the general path."""

    def start(self) -> None:
        with general_path():
            super().start()


def site(directory: Path, kind: type[Site] = Site, *, is_complete: bool = False) -> Site:
    rows = world("Y", "Z", "KIT", X=100)
    rows.stock["X", "MAIN"] = Stock(q(100), LOADED_US, q(3))
    rows.stock["Z", "MAIN"] = Stock(None, LOADED_US)
    rows.kits["KIT"] = [("X", 2)]
    if is_complete:
        complete_feed(rows, "MAIN", Source.ERP, LOADED_US)
    return kind(rows, directory)


@contextmanager
def two_sites(*, is_complete: bool) -> Iterator[tuple[Site, Site]]:
    """One as it is, and one that takes every event the general path."""
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        places = (
            site(Path(one), is_complete=is_complete),
            site(Path(other), GeneralSite, is_complete=is_complete),
        )
        yield places
        for place in places:
            place.cache.close()


def outcome(place: Site, raw: bytes) -> object:
    """The outcome of a message."""
    with general_path() if isinstance(place, GeneralSite) else nullcontext():
        try:
            found = place.live.publish(raw)
        except RequestRefusedError as error:
            return error.reason, str(error)
    return found.counts, found.gaps, len(found.dead_letter_ids)


def standing(place: Site) -> object:
    """All that readers see and all that is remembered of events."""
    pairs = place.live._pairs
    letters = [(each.reason, each.detail, each.payload_json) for each in place.live.dead_letters().letters]
    shown = {
        pair: (look(place.engine.positions.live, state.item, state.branch), pairs.streams(pair))
        for pair, state in sorted(pairs._states.items())
    }
    held = [(each.key, each.status, each.lines) for each in place.live.reservations()]
    return sorted(letters), shown, held


def reserve(place: Site, number: int) -> None:
    """A reservation under an id that both sites give it, every other one confirmed."""
    with (
        general_path() if isinstance(place, GeneralSite) else nullcontext(),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(grant.secrets, "randbelow", lambda _: number)
        held = place.reserve(number + 1, f"K{number}", allow_partial=True, order_ref="SO-1")
        if held and number % 2:
            place.live.confirm("C1", held, "SO-1")


BIG = st.sampled_from([INT64_MAX, INT64_MIN + 1, INT64_MAX - 4])
UNITS = st.integers(-9, 30).map(lambda units: units * MICROS)
INSTANTS = st.sampled_from([LOADED_US - 1, LOADED_US, LOADED_US + 1, at(0), at(0), at(1)])
STEPS = st.sampled_from([0, 2, 3, -1, -2, -5])
ODD = ("",) * 24 + (
    "again",
    "again",
    "item",
    "measure",
    "measure",
    "source",
    "sequence",
    "bare",
    "branch",
    "big",
)


@st.composite
def messages(draw: st.DrawFn) -> list[list[Event]]:
    """Messages of mostly what follows in its stream, with repeats, gaps, late ones, and what can't be applied."""
    lasts: dict[tuple[str, Source], int] = {}
    made: list[Event] = []

    def one() -> Event:
        odd = draw(st.sampled_from(ODD))
        if odd == "again" and made:
            return draw(st.sampled_from(made))
        sku = draw(st.sampled_from(SKUS)) if odd == "item" else draw(st.sampled_from("XXYZ"))
        measure = draw(
            st.sampled_from(Measure if odd == "measure" else [Measure.ON_HAND] * 3 + [Measure.UNAVAILABLE])
        )
        source = draw(st.sampled_from(Source)) if odd == "source" else SOURCE_OF[measure]
        last = lasts.get((sku, source), 0)
        sequence = last + (draw(STEPS) if odd == "sequence" else 1)
        lasts[sku, source] = max(last, sequence)
        is_bare = source is Source.ERP and odd != "bare"
        found = Event(
            source,
            sequence,
            draw(INSTANTS),
            measure,
            draw(st.sampled_from([Kind.SET, Kind.DELTA])),
            sku,
            "NOWHERE" if odd == "branch" else "MAIN",
            draw(BIG if odd == "big" else UNITS),
            None if is_bare else draw(st.none() | st.just(at(2))),
            "" if is_bare else draw(st.sampled_from(["", "SO-1"])),
            "" if is_bare else draw(st.sampled_from(["", "1"])),
            0 if is_bare else draw(st.integers(0, 2)),
        )
        made.append(found)
        return found

    return [[one() for _ in range(draw(st.integers(1, 12)))] for _ in range(draw(st.integers(1, 6)))]


@settings(max_examples=examples(25, long=1_500), deadline=None, suppress_health_check=list(HealthCheck))
@given(messages(), st.booleans(), st.booleans())
def test_a_message_does_the_same_whichever_way_its_events_go(sent, is_complete, is_reserved):
    with two_sites(is_complete=is_complete) as (one, other):
        for number, batch in enumerate(sent):
            raw = encode_events(batch)
            assert outcome(one, raw) == outcome(other, raw)
            assert standing(one) == standing(other)
            if is_reserved:
                for place in (one, other):
                    reserve(place, number)
        for place in (one, other):
            place.restart()
        assert standing(one) == standing(other)


COMPILED_PATH = {
    "at the loaded instant": [down(2, 7, effective_us=LOADED_US), down(3, 1)],
    "just after it": [down(2, 7, effective_us=LOADED_US + 1), down(3, 1, effective_us=LOADED_US + 1)],
    "a set at the loaded instant after newer ones": [
        down(2, 7),
        event(3, 9, effective_us=LOADED_US),
        down(4, 1),
    ],
    "an older set after a newer one": [event(2, 7, effective_us=at(1)), event(3, 8, effective_us=at(0))],
    "more than 64 bits": [down(2, -(INT64_MAX // MICROS)), down(3, 1)],
    "less than 64 bits": [down(2, INT64_MAX // MICROS), down(3, INT64_MAX // MICROS), down(4, 1)],
    "more unavailable than 64 bits": [
        event(2, INT64_MAX // MICROS, Kind.DELTA, Measure.UNAVAILABLE),
        event(3, 1_000_000, Kind.DELTA, Measure.UNAVAILABLE),
    ],
    "less than nothing unavailable": [down(2, 9, measure=Measure.UNAVAILABLE), event(3, 50)],
    "again, and again as another": [down(2, 3), down(2, 3), down(2, 4), down(3, 1)],
    "again under another measure": [down(2, 3), down(2, 3, measure=Measure.UNAVAILABLE), down(3, 1)],
    "again what a set has replaced": [event(2, 7), down(1, 1), down(3, 1)],
    "a change, then a set": [down(2, 3), event(3, 9), down(4, 1)],
    "a gap": [down(4, 3), down(5, 1), down(3, 1), down(2, 1), down(6, 1)],
    "longer ago than it is searched for": [*(down(n, 1) for n in range(2, 90)), down(3, 1), down(90, 1)],
}


@pytest.mark.parametrize("name", COMPILED_PATH)
def test_what_follows_on_an_in_order_stream(name):
    """Event by event, and all in one message; compared with the general path."""
    events = COMPILED_PATH[name]
    for size in (max(1, len(events) // 10), len(events)):
        with two_sites(is_complete=size == 1) as (one, other):
            batches = [
                [event(1, 50)],
                *(events[start : start + size] for start in range(0, len(events), size)),
            ]
            for batch, sku in itertools.product(batches, SKUS[:3]):
                raw = encode_events([replace(each, sku=sku) for each in batch])
                assert outcome(one, raw) == outcome(other, raw)
            assert standing(one) == standing(other)


MESSAGE = encode_events(
    [event(1, 5), event(2, -1, Kind.DELTA), event(3, 0), event(1, 7, sku="Y"), event(4, 9, sku="Ü")]
)


@settings(max_examples=examples(25, long=1_500), deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.tuples(st.integers(0, len(MESSAGE) - 1), st.integers(0, 255)), max_size=2),
    st.integers(0, len(MESSAGE)),
    st.integers(0, 9),
)
def test_damaged_bytes_have_the_same_effect_on_both_paths(flips, cut, is_cut):
    damaged = bytearray(MESSAGE)
    for at_byte, value in flips:
        damaged[at_byte] = value
    raw = bytes(damaged[:cut] if is_cut == 0 else damaged)
    with two_sites(is_complete=True) as (one, other):
        for place in (one, other):
            outcome(place, encode_events([event(1, 5), event(1, 7, sku="Y")]))
        assert outcome(one, raw) == outcome(other, raw)
        assert standing(one) == standing(other)
    rows = scanned_events(raw)
    for row in rows if rows is not None else ():
        if row[ROW_FORM] == FIGURE_ONLY:
            frame = raw[row[ROW_START] : row[ROW_END]]
            try:
                read = decode_events(frame)
            except RequestRefusedError:
                continue  # a name that is no text: no pair has it
            assert len(read.events) + len(read.unreadable) == 1


def test_simple_events_take_the_compiled_path(tmp_path, monkeypatch):
    """Otherwise the tests above would compare the general path with itself."""
    place = site(tmp_path)
    place.publish(event(1, 50), event(1, 2, sku="Y"))
    seen: list[bytes] = []
    monkeypatch.setattr(live_events, "decode_events", lambda raw: seen.append(raw) or decode_events(raw))

    place.publish(event(2, -1, Kind.DELTA), event(2, 4, sku="Y"), event(3, 3, measure=Measure.UNAVAILABLE))
    place.publish(event(2, -1, Kind.DELTA), event(3, 3, measure=Measure.UNAVAILABLE))

    assert (place.free("X"), place.free("Y")) == (46, 4)
    assert seen == []
    place.publish(event(9, 9, sku="Y"))  # not the next one
    assert len(seen) == 1


def test_a_stream_with_a_gap_takes_the_general_path_until_it_is_closed(tmp_path):
    place = site(tmp_path)
    streams = place.live._pairs._in_order

    place.publish(event(1, 50))
    assert streams.is_in_order(0)
    place.publish(event(3, -1, Kind.DELTA))
    assert not streams.is_in_order(0)
    place.publish(event(2, -1, Kind.DELTA))
    assert streams.is_in_order(0)
    assert place.free() == 48 - 3


def test_many_pairs_and_long_streams_find_room(tmp_path):
    """More than the arrays begin with, in every direction."""
    names = [f"SKU-{number:04d}" for number in range(1_500)]
    rows = world(*names)
    place = Site(rows, tmp_path)
    for start in range(0, len(names), 500):
        place.publish(*(event(1, 10, sku=sku) for sku in names[start : start + 500]))
    for sequence in range(2, 5):
        place.publish(*(event(sequence, -1, Kind.DELTA, sku=sku) for sku in names))
    place.publish(*(event(5, 20, sku=sku) for sku in names[:750]))  # frees entries of the log
    place.publish(*(event(6, -2, Kind.DELTA, sku=sku) for sku in names[:750]))

    assert {place.free(sku) for sku in names[:750]} == {18}
    assert {place.free(sku) for sku in names[750:]} == {7}


@pytest.mark.parametrize(
    "fields",
    [
        {"version": 1},
        {"order_ref": "SO-1"},
        {"expected_at_us": 1},
        {"quantity_micros": None},
        {"sequence": 0},
        {"kind": 0},
        {"kind": 3},
        {"shipped_micros": 0},
        {"receipt_kind": 1},
        {"confidence_micros": 0},
        {"supersedes": "PO-1"},
    ],
)
def test_an_event_with_more_than_a_figure_takes_the_general_path(fields):
    """Such an event leaves the compiled path alone; the others of the message stay."""
    rows = scanned_events(request(good(), good(**fields), good(source=2, measure=3)))

    assert [row == FIGURE_ONLY for row in rows[:, ROW_FORM]] == [True, False, False]

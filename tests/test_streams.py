"""A stream of events: what it is depends on their set alone, also where its source begins its numbers anew (A10)."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from pricegrid.atp.model import Source
from pricegrid.atp.rules.events import DeadReason, Event, EventStatus, Kind, Measure
from pricegrid.atp.rules.stream import Stream

ON_HAND, UNAVAILABLE = Measure.ON_HAND, Measure.UNAVAILABLE


def said(
    sequence: int, at_us: int, kind: Kind = Kind.SET, quantity: int = 0, measure: Measure = ON_HAND
) -> Event:
    return Event(Source.ERP, sequence, at_us, measure, kind, "X", "MAIN", quantity)


def reset(sequence: int, at_us: int) -> Event:
    return said(sequence, at_us, Kind.RESET)


def stream_of(*events: Event) -> Stream:
    stream = Stream()
    for event in events:
        stream.add(event)
    return stream


def figures(stream: Stream) -> dict[Measure, int]:
    found: dict[Measure, int] = {}
    for event in stream.events:
        before = 0 if event.kind is Kind.SET else found.get(event.measure, 0)
        found[event.measure] = before + event.quantity_micros
    return found


@st.composite
def numberings(draw: st.DrawFn) -> list[Event]:
    """What a source says that begins anew now and then, in order."""
    made, now_us, last = [], 0, 0
    for number in range(draw(st.integers(1, 3))):
        now_us += draw(st.integers(1, 2))
        if number:
            last = draw(st.sampled_from([0, 1, 5]))
            made.append(reset(last, now_us))
        for _ in range(draw(st.integers(1, 5))):
            last, now_us = last + 1, now_us + draw(st.integers(1, 2))
            kind, measure = (
                draw(st.sampled_from([Kind.SET, Kind.DELTA])),
                draw(st.sampled_from([ON_HAND, UNAVAILABLE])),
            )
            made.append(said(last, now_us, kind, draw(st.integers(0, 9)), measure))
        last = 0
    return made


@given(numberings(), st.data())
def test_every_order_and_repetition_of_the_same_events_ends_the_same(made, data):
    in_order = stream_of(*made)
    again = data.draw(st.lists(st.sampled_from(made), max_size=4))
    shuffled = stream_of(*data.draw(st.permutations([*made, *again])))

    assert figures(shuffled) == figures(in_order)
    assert shuffled.has_gap(0) == in_order.has_gap(0)
    assert shuffled.spans == in_order.spans


def test_after_a_reset_the_numbers_count_again():
    stream = stream_of(said(2**63 - 1, 10, quantity=0), reset(0, 20), said(1, 21, quantity=50))

    assert figures(stream) == {ON_HAND: 50}
    assert not stream.has_gap(0)


def test_a_source_that_begins_anew_without_a_reset_is_noticed_and_its_figures_are_doubtful():
    stream = stream_of(said(1, 10, quantity=5), said(2, 11, quantity=6), said(3, 12, quantity=7))

    outcome = stream.add(said(2, 100, quantity=50))

    assert outcome.status is EventStatus.OLDER
    assert outcome.is_restart
    assert stream.has_gap(0)
    assert figures(stream) == {ON_HAND: 7}
    stream.add(reset(0, 90))
    assert figures(stream) == {ON_HAND: 50}
    assert not stream.has_gap(0)


def test_an_event_that_comes_late_is_no_restart():
    stream = stream_of(said(1, 10, quantity=5), said(3, 12, quantity=7))

    assert not stream.add(said(2, 11, quantity=6)).is_restart
    assert stream.add(said(2, 11, quantity=6)).status is EventStatus.DUPLICATE


def test_another_event_of_the_same_number_and_instant_is_a_dead_letter():
    stream = stream_of(said(1, 10, quantity=5))

    outcome = stream.add(said(1, 10, quantity=6))

    assert (outcome.status, outcome.reason) == (EventStatus.DEAD_LETTER, DeadReason.SEQUENCE_REUSED)


def test_a_set_that_is_in_what_was_loaded_does_not_hide_what_came_after():
    """Its number may be ever so high: one event never blocks a pair for good."""
    stream = stream_of(said(2**63 - 1, 10, quantity=0), said(2, 30, quantity=50))

    assert [event.quantity_micros for event in stream.events if event.effective_us > 20] == [50]


def test_missing_numbers_are_named():
    stream = stream_of(*(said(sequence, sequence, Kind.DELTA) for sequence in (1, 2, 5, 9)))

    assert stream.missing() == [(3, 4), (6, 8)]
    assert stream_of(said(4, 4), replace(said(5, 5), measure=UNAVAILABLE)).missing() == []

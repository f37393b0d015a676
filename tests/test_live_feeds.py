"""Events in live state: judged once, one dead letter for one content, gaps by number, resets, owners, kits, notices."""

from dataclasses import replace

import pytest

from pricegrid.atp.arrays.pair_rows import decode_pair
from pricegrid.atp.live.positions import look
from pricegrid.atp.model import MICROS, Source
from pricegrid.atp.rules.events import Event, EventStatus, Kind, Measure, ReceiptKind
from pricegrid.atp.rules.receipts import net_receipts
from pricegrid.atp.rules.rows import Demand, Receipt
from pricegrid.atp.rules.streams import figures_of
from pricegrid.service.codec.events import encode_events
from pricegrid.service.errors import Reason, RequestRefusedError
from pricegrid.service.limits import EVENT_AHEAD_US
from pricegrid.service.live import dead_letters
from pricegrid.service.live.api import ResetAsk
from tests.atp_world import at, q, world
from tests.live_site import Site, down, event, new_site

HOUR_US = 3_600 * MICROS


@pytest.fixture
def place(tmp_path):
    place = new_site(tmp_path)
    yield place
    place.cache.close()


def letters(place: Site):
    return place.live.dead_letters().letters


def published(place: Site, *events: Event):
    return place.live.publish(encode_events(events))


# ---- judged once


@pytest.mark.parametrize("first", [[], [event(1, 90)]], ids=["unheard", "plain"])
def test_an_event_from_the_future_is_a_dead_letter_and_blocks_nothing(place, first):
    place.publish(*first)
    ahead = event(2**63 - 1, 0, effective_us=place.now_us + EVENT_AHEAD_US + 1)

    assert place.publish(ahead)[EventStatus.DEAD_LETTER] == 1
    assert [letter.reason for letter in letters(place)] == ["FUTURE"]
    place.publish(event(2, 50))
    assert place.free() == 50


def test_an_event_may_be_a_day_ahead(place):
    assert place.publish(event(1, 7, effective_us=place.now_us + EVENT_AHEAD_US)) == {EventStatus.APPLIED: 1}
    assert place.free() == 7


def test_a_replay_judges_by_no_other_clock(place):
    place.publish(
        event(1, 60, effective_us=place.now_us + EVENT_AHEAD_US), event(1, 5, sku="X", branch="NOWHERE")
    )
    place.publish(event(2, 0, effective_us=place.now_us + 48 * HOUR_US))
    place.now_us += 100 * HOUR_US  # by now it could be applied

    place.restart()
    assert place.free() == 60
    place.now_us = at(0)  # and by then the first one could not
    place.restart()
    assert place.free() == 60
    assert sorted(letter.reason for letter in letters(place)) == ["FUTURE", "UNKNOWN_BRANCH"]


def test_an_event_that_was_dropped_is_not_brought_to_life_by_a_later_load(place):
    place.publish(event(1, 7, sku="NEW"))
    (letter,) = letters(place)
    place.live.drop_dead_letters([letter.dead_letter_id])
    place.rows = world(X=100, NEW=100)

    place.restart()

    assert place.free("NEW") == 100
    assert list(letters(place)) == []


def test_a_dead_letter_is_applied_when_it_is_replayed_and_stays_applied(place):
    place.publish(event(1, 7, sku="NEW"))
    place.rows = world(X=100, NEW=100)
    place.restart()

    assert place.live.replay_dead_letters([letters(place)[0].dead_letter_id]) == []
    assert place.free("NEW") == 7
    place.restart()
    assert place.free("NEW") == 7


# ---- dead letters


def test_the_same_bad_event_again_is_one_dead_letter_with_a_count(place):
    bad = event(1, 7, sku="NONE")
    first = published(place, bad, event(1, 8))
    place.now_us += 5
    again = published(place, bad, bad)

    (letter,) = letters(place)
    assert set(first.dead_letter_ids) == set(again.dead_letter_ids) == {letter.dead_letter_id}
    assert (letter.count, letter.last_us - letter.at_us) == (3, 5)
    assert place.free() == 8


def test_beyond_their_bounds_they_are_refused_and_counted_and_the_others_go_on(place, monkeypatch):
    monkeypatch.setattr(dead_letters, "DEAD_LETTERS_MAX", 2)
    bad = [event(1, units, sku="NONE") for units in range(4)]

    result = published(place, *bad, event(1, 8))

    assert (result.counts[EventStatus.DEAD_LETTER], result.refused, len(letters(place))) == (2, 2, 2)
    assert place.free() == 8
    place.live.drop_dead_letters(result.dead_letter_ids)
    assert published(place, *bad[2:]).refused == 0


def test_their_bytes_are_bounded_too(place, monkeypatch):
    monkeypatch.setattr(dead_letters, "DEAD_LETTER_BYTES_MAX", 700)

    assert published(place, *(event(1, units, sku="NONE") for units in range(4))).refused == 3
    place.restart()
    assert published(place, event(1, 9, sku="NONE")).refused == 1


def test_a_list_of_them_comes_in_pages(place, monkeypatch):
    monkeypatch.setattr(dead_letters, "LIST_BYTES_MAX", 1)
    for units in range(3):
        place.now_us += 1
        place.publish(event(1, units, sku="NONE"))

    page = place.live.dead_letters()
    found = list(page.letters)
    while page.after:
        page = place.live.dead_letters(after=page.after)
        found += page.letters

    assert [letter.at_us for letter in found] == sorted(letter.at_us for letter in found)
    assert len(found) == 3


# ---- gaps, restarts, resets


def test_gaps_are_named(place):
    place.publish(down(1, 1), down(4, 1), down(7, 1))

    (issue,) = place.live.feed_issues()
    assert (issue.source, issue.sku, issue.branch) == (Source.ERP, "X", "MAIN")
    assert list(issue.missing) == [(2, 3), (5, 6)]
    place.publish(event(8, 50))
    assert place.live.feed_issues() == []


def test_a_source_that_restarts_is_noticed_named_and_can_be_reset(place):
    place.publish(*(event(sequence, 90 - sequence) for sequence in range(1, 6)))
    later_us = at(0, 14)

    result = published(place, event(1, 40, effective_us=later_us), event(2, 41, effective_us=later_us + 1))

    assert result.restarts == 2
    assert place.free() == 85
    (issue,) = place.live.feed_issues(restarts=True)
    assert (issue.restarts, issue.restart_sequence, issue.restart_us) == (2, 2, later_us + 1)
    place.now_us = at(0, 15)
    done = place.live.reset_streams(ResetAsk("ann", Source.ERP, "X", "MAIN", later_us))
    assert (done.actor, done.streams, done.at_us) == ("ann", 1, place.now_us)
    assert place.free() == 41
    assert place.live.feed_issues(restarts=True) == []
    assert list(place.live.resets()) == [done]
    place.restart()
    assert place.free() == 41
    assert list(place.live.resets()) == [done]


def test_one_event_blocks_a_pair_no_longer_than_until_a_reset(place):
    place.publish(event(1, 90), event(2**63 - 1, 0, effective_us=at(0, 13) + 2))
    assert published(place, event(2, 50, effective_us=at(0, 14))).restarts == 1
    assert place.free() == 0

    place.now_us = at(0, 14)
    place.live.reset_streams(ResetAsk("ann", Source.ERP, branch="MAIN"))

    assert place.free() == 50
    place.publish(event(3, 49, effective_us=at(0, 15)))
    assert place.free() == 49


def test_a_reset_event_has_the_same_effect(place):
    place.publish(event(7, 90))
    place.publish(event(1, 0, Kind.RESET, effective_us=at(0, 14)), event(2, 30, effective_us=at(0, 14) + 1))

    assert place.free() == 30


def test_a_stream_without_events_can_not_be_reset(place):
    with pytest.raises(RequestRefusedError) as refused:
        place.live.reset_streams(ResetAsk("ann", Source.WMS, "X", "MAIN"))

    assert refused.value.reason is Reason.NO_STREAMS


# ---- owners, kits, notices


def test_the_measure_of_another_source_is_a_dead_letter(tmp_path, monkeypatch):
    place = new_site(tmp_path)
    owners = place.engine.positions.arrays["feed_owner"].copy()
    owners[:, Measure.ON_HAND] = Source.WMS
    place.engine.positions.arrays["feed_owner"] = owners

    told = replace(event(1, 40), source=Source.WMS)
    assert place.publish(told, event(1, 90)) == {EventStatus.APPLIED: 1, EventStatus.DEAD_LETTER: 1}

    assert place.free() == 40
    assert [letter.reason for letter in letters(place)] == ["WRONG_SOURCE"]
    place.publish(replace(event(2, 5, measure=Measure.ALLOCATED), source=Source.WMS))
    assert place.free() == 35
    place.cache.close()


def test_a_demand_told_for_a_kit_is_one_of_its_components(tmp_path):
    rows = world("KIT", X=100)
    rows.kits["KIT"] = [("X", 2)]
    rows.demands["KIT", "MAIN"] = [Demand(q(3), at(2), "SO-1")]
    rows.demands["X", "MAIN"] = [Demand(q(1), at(2), "SO-1")]
    place = new_site(tmp_path, rows)
    assert place.free() == 93

    place.publish(event(1, 5, measure=Measure.DEMAND, sku="KIT", order_ref="SO-1", expected_at_us=at(3)))
    assert place.free() == 89
    place.publish(event(2, -2, Kind.DELTA, Measure.DEMAND, sku="KIT", order_ref="SO-1"))
    assert place.free() == 93
    place.publish(event(1, 4, measure=Measure.DEMAND, order_ref="SO-1", expected_at_us=at(3)))
    assert place.free() == 90
    place.restart()
    assert place.free() == 90
    assert place.publish(event(1, 4, sku="KIT"))[EventStatus.DEAD_LETTER] == 1
    place.cache.close()


def coming(place: Site) -> int:
    """Whole units at the horizon beyond what is free today, as readers see it."""
    found = place.live._pairs
    state = found._states["X", "MAIN"]
    view = look(place.engine.positions.live, state.item, state.branch)
    return sum(net_receipts(decode_pair(view, ("X", "MAIN"), "UTC").receipts)) // MICROS


def receipt(sequence: int, units: int, ref: str, kind: Kind = Kind.SET, **more) -> Event:
    return event(sequence, units, kind, Measure.RECEIPT, order_ref=ref, **{"expected_at_us": at(5), **more})


def notice(sequence: int, units: int, **more) -> Event:
    return receipt(sequence, units, "ASN-1", supersedes="PO-1", receipt_kind=ReceiptKind.ASN, **more)


def test_an_order_and_its_notice_promise_the_order(place):
    place.publish(receipt(1, 100, "PO-1"), notice(2, 60))
    assert coming(place) == 100
    place.publish(receipt(3, -60, "ASN-1", Kind.DELTA))  # received
    assert coming(place) == 40
    place.publish(notice(4, 20))
    assert coming(place) == 40
    place.publish(notice(5, 0))  # received
    assert coming(place) == 20
    place.publish(receipt(6, 30, "PO-1"))
    assert coming(place) == 30


def test_a_cancelled_notice_is_restored_by_a_new_event_of_its_order(place):
    place.publish(receipt(1, 100, "PO-1"), notice(2, 60), notice(3, 0))
    assert coming(place) == 40

    place.publish(receipt(4, 100, "PO-1"))
    assert coming(place) == 100


def test_a_loaded_order_and_its_notice(tmp_path):
    rows = world(X=5)
    rows.receipts["X", "MAIN"] = [
        Receipt(q(100), at(5), reference="PO-1", line="10"),
        Receipt(q(7), at(5), reference="PO-1", line="20"),
        Receipt(q(60), at(3), kind="asn", reference="ASN-1", line="10", supersedes="PO-1"),
    ]
    place = new_site(tmp_path, rows)
    place.publish(receipt(1, -60, "ASN-1", Kind.DELTA, order_line="10"))

    assert coming(place) == 47
    place.cache.close()


def test_confidence_and_kind_stay_until_an_event_changes_them(place):
    place.publish(
        replace(receipt(1, 10, "PO-1"), confidence_micros=400_000), receipt(2, 5, "PO-1", Kind.DELTA)
    )
    state = place.live._pairs._states["X", "MAIN"]
    rows = figures_of(state.base, state.streams).receipts
    assert {row.confidence_micros for row in rows} == {400_000}
    assert {row.kind for row in rows} == {"purchase"}

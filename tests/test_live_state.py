"""Live state over the real embedded cache: events (A10), reservations (A8, A9), and what a restart keeps."""

import itertools
import os
import random
from datetime import timedelta

import pytest

from pricegrid.atp.arrays.pair_rows import PairRows, decode_pair, image_of
from pricegrid.atp.live.positions import look
from pricegrid.atp.model import MICROS, AvailabilityStatus, Source
from pricegrid.atp.rules.clearing import cleared_micros
from pricegrid.atp.rules.events import SOURCE_OF, Event, EventStatus, Kind, Measure
from pricegrid.atp.rules.reservations import (
    HeldReservation,
    Part,
    ReservationStatus,
    ReserveAsk,
    ReservedLine,
    ReserveLine,
    claims_on,
)
from pricegrid.atp.rules.rows import Allocation, Demand, Receipt, Stock
from pricegrid.atp.rules.streams import Base, Stream, figures_of
from pricegrid.service.codec.events import encode_events
from pricegrid.service.errors import Reason, RequestRefusedError
from pricegrid.service.limits import ENDED_KEPT_US
from pricegrid.service.live.api import Release
from tests.atp_world import at, on, q, world
from tests.live_site import Site, down, event, new_site
from tests.profiles import examples

LONG = os.environ.get("PRICEGRID_LONG_TESTS") == "1"


@pytest.fixture
def site(tmp_path):
    return lambda rows=None: new_site(tmp_path, rows)


def test_a_delta_a_set_and_a_delta_make_99(site):
    place = site(world(X=102))

    place.publish(down(1, 2), event(2, 100), down(3, 1))

    assert place.free() == 99


EVENTS = [
    down(1, 2),
    event(2, 100),
    down(3, 1),
    down(
        4,
        7,
    ),
    event(5, 90),
    down(6, 4),
]


@pytest.mark.parametrize("count", range(1, 7))
def test_every_order_and_duplication_ends_the_same(count):
    """By the streams themselves: 6 events in every order, each also twice."""
    base = Base(PairRows(stock=Stock(q(102), at(0))), erp_us=at(0))
    events = EVENTS[:count]
    expected = None
    for order in itertools.permutations(events):
        stream = Stream()
        for each in order:
            stream.add(each)
            stream.add(order[0])
        found = figures_of(base, {Source.ERP: stream})
        expected = expected or found
        assert found == expected
    assert expected.stock.on_hand_micros == q([100, 100, 99, 92, 90, 86][count - 1])
    assert not expected.gaps


def test_random_orders_of_long_streams_end_the_same():
    chance = random.Random(4)
    base = Base(PairRows(stock=Stock(q(50), at(0))), erp_us=at(0))
    for _ in range(10_000 if LONG else examples(100)):
        events = [
            event(
                n,
                chance.randint(0, 90),
                chance.choice([Kind.SET, Kind.DELTA, Kind.DELTA]),
                chance.choice([Measure.ON_HAND, Measure.ON_HAND, Measure.UNAVAILABLE]),
            )
            for n in range(1, 201)
        ]
        in_order, shuffled = Stream(), Stream()
        for each in events:
            in_order.add(each)
        for each in chance.sample(events + events[:50], len(events) + 50):
            shuffled.add(each)
        assert figures_of(base, {Source.ERP: shuffled}) == figures_of(base, {Source.ERP: in_order})


def test_a_gap_is_stale_until_what_is_missing_arrives_or_a_set_does(site):
    place = site()

    assert place.live.publish(encode_events([down(1, 1), down(3, 1)])).gaps == 1
    assert place.live.publish(encode_events([down(2, 1)])).gaps == 0
    assert place.live.publish(encode_events([down(6, 1)])).gaps == 1
    assert place.live.publish(encode_events([event(7, 50)])).gaps == 0
    assert place.free() == 50


def test_events_at_or_before_the_loaded_instant_are_in_it(site):
    place = site()

    counts = place.publish(down(1, 5, effective_us=at(0)), down(2, 5, effective_us=at(0) + 1))

    assert counts == {EventStatus.OLDER: 1, EventStatus.APPLIED: 1}
    assert place.free() == 95


def test_a_delta_on_unknown_stock_leaves_it_unknown(tmp_path):
    place = Site(world("X"), tmp_path)

    place.publish(down(1, 5))
    assert place.free() is None

    place.publish(event(2, 8))
    assert place.free() == 8


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (event(1, 5, sku="NONE"), "UNKNOWN_ITEM"),
        (event(1, 5, branch="NOWHERE"), "UNKNOWN_BRANCH"),
        (event(0, 5), "INVALID_SEQUENCE"),
        (Event(Source.WMS, 1, at(1), Measure.ON_HAND, Kind.SET, "X", "MAIN", 5), "WRONG_SOURCE"),
        (event(1, -5, measure=Measure.UNAVAILABLE), "INVALID_QUANTITY"),
        (event(1, 5, measure=Measure.RECEIPT), "MISSING_DATE"),
    ],
)
def test_what_cannot_be_applied_is_kept_with_its_reason(site, wrong, reason):
    place = site()

    assert place.publish(wrong) == {EventStatus.DEAD_LETTER: 1}

    (letter,) = place.live.dead_letters().letters
    assert letter.reason == reason
    assert [left.replays for left in place.live.replay_dead_letters([letter.dead_letter_id])] == [1]
    assert place.live.drop_dead_letters([letter.dead_letter_id]) == 1
    assert place.live.dead_letters().letters == []


def test_on_hand_100_reserved_30_allocated_20_is_70_at_every_instant(site):
    """A9, whichever of confirm and report comes first, when the reservation knows its order."""
    allocate = event(1, 20, measure=Measure.ALLOCATED, order_ref="SO-1", order_line="1")
    for first in ("confirm", "report"):
        place = site()
        place.directory = place.directory / first
        place.start()
        held = place.reserve(30, order_ref="SO-1", ttl_us=2 * 3_600 * MICROS)
        seen = [place.free()]
        for step in ("confirm", "report") if first == "confirm" else ("report", "confirm"):
            if step == "confirm":
                place.live.confirm("C1", held, "SO-1", ["1"])
            else:
                place.publish(allocate)
            seen.append(place.free())
        place.publish(event(2, 0, measure=Measure.ALLOCATED, order_ref="SO-1", order_line="1"), event(1, 80))
        assert seen == [70, 70, 70]
        assert place.free() == 70  # shipped: a later de-allocation does not bring the reservation back
        place.restart()
        assert place.free() == 70


def test_an_unknown_order_is_cleared_when_it_is_confirmed(site):
    place = site()
    held = place.reserve(30)

    place.publish(event(1, 20, measure=Measure.ALLOCATED, order_ref="SO-1"))
    assert place.free() == 50  # nobody can know yet that it is the same order: never too much is promised

    place.live.confirm("C1", held, "SO-1")
    assert place.free() == 70


def test_a_wholly_allocated_reservation_is_consumed(site):
    place = site()
    held = place.reserve(30)
    place.live.confirm("C1", held, "SO-1")
    assert [each.reservation_id for each in place.live.reservations(unreported_for_us=0)] == [held]

    place.publish(event(1, 30, measure=Measure.ALLOCATED, order_ref="SO-1"))

    assert place.live.reservations() == []
    assert place.free() == 70


def test_the_same_key_is_the_same_reservation_and_other_content_is_refused(site):
    place = site()
    held = place.reserve(30)

    assert place.reserve(30) == held
    assert place.free() == 70
    with pytest.raises(RequestRefusedError) as refused:
        place.reserve(31)
    assert refused.value.reason is Reason.KEY_REUSED
    assert place.free() == 70


def test_a_reservation_ends_with_its_time_half_open(site):
    place = site()
    held = place.reserve(30)

    place.now_us += 60 * MICROS - 1
    assert place.free() == 70
    place.now_us += 1
    assert place.free() == 100
    with pytest.raises(RequestRefusedError) as refused:
        place.live.confirm("C1", held, "SO-1")
    assert refused.value.reason is Reason.RESERVATION_EXPIRED
    assert place.live.expire() == 0


def test_what_ended_long_ago_is_forgotten_but_for_what_the_warehouse_took_over(site):
    place = site()
    names = {
        key: place.reserve(10, key) for key in ("released", "expired", "confirmed", "consumed", "in part")
    }
    place.live.release("C1", names["released"])
    for key in ("confirmed", "consumed", "in part"):
        place.live.confirm("C1", names[key], f"SO-{key}")
    place.publish(event(1, 10, measure=Measure.ALLOCATED, order_ref="SO-consumed"))
    place.publish(event(2, 4, measure=Measure.ALLOCATED, order_ref="SO-in part"))
    place.live.release("C1", names["in part"])
    place.now_us += 60 * MICROS
    assert place.live.expire() == 1
    free = place.free()

    place.now_us += ENDED_KEPT_US - 60 * MICROS - 1
    assert place.live.forget() == 0
    place.now_us += 1
    assert place.live.forget() == 1
    place.now_us += 60 * MICROS
    assert place.live.forget() == 1

    for _ in range(2):
        known = {each.reservation_id for each in place.live._reservations.views()}
        assert known == {names[key] for key in ("confirmed", "consumed", "in part")}
        assert place.free() == free
        with pytest.raises(RequestRefusedError) as refused:
            place.live.release("C1", names["released"])
        assert refused.value.reason is Reason.RESERVATION_NOT_FOUND
        place.restart()
    assert place.reserve(12, "released") not in ("", names["released"])


def test_what_one_server_forgets_the_others_forget_too(site, tmp_path):
    one = site()
    other = Site(one.rows, tmp_path)
    ended = one.reserve(10, "cart")
    one.live.release("C1", ended)
    other.live.follow()

    assert one.live.forget(kept_us=0) == 1
    other.live.follow()

    assert other.live._reservations.views() == []
    assert other.reserve(20, "cart") not in ("", ended)


def test_nothing_is_held_twice_and_what_is_given_back_is_free(site):
    place = site()

    assert place.reserve(60, "A")
    assert place.reserve(60, "B") == ""
    partly = place.reserve(60, "C", allow_partial=True)
    assert place.free() == 0
    place.live.release("C1", partly, [Release(0, q(15))])
    assert place.free() == 15
    place.live.release("C1", partly)
    assert place.free() == 40
    assert place.free(exclude=place.reserve(40, "D")) == 40


def test_all_or_nothing_and_lines_that_share_stock(site):
    place = site()
    lines = [ReserveLine("X", q(60), "MAIN"), ReserveLine("X", q(60), "MAIN")]

    nothing = place.live.reserve(ReserveAsk("A", "C1", lines, 10**9, all_or_nothing=True))
    assert nothing.reservation.reservation_id == ""
    first = place.live.reserve(ReserveAsk("B", "C1", lines, 10**9)).reservation
    assert [line.held_micros for line in first.lines] == [q(60), 0]
    assert place.free() == 40


def test_a_day_from_which_it_holds(site):
    rows = world(X=10)
    rows.demands["X", "MAIN"] = [Demand(q(4), at(5), None)]
    place = site(rows)
    line = ReserveLine("X", q(6), "MAIN", from_date=on(3))

    assert place.live.reserve(ReserveAsk("A", "C1", [line], 10**9)).reservation.reservation_id
    assert place.free() == 0  # what is promised now could not be replaced by then


def test_a_kit_holds_its_components(site):
    rows = world("KIT", X=100, Y=10)
    from fractions import Fraction

    rows.kits["KIT"] = [("X", Fraction(4)), ("Y", Fraction(1))]
    place = site(rows)

    assert place.reserve(5, sku="KIT")
    assert (place.free("X"), place.free("Y"), place.free("KIT")) == (80, 5, 5)


def test_everything_is_there_after_a_restart(site):
    place = site()
    held = place.reserve(30, ttl_us=10**12)
    place.publish(event(1, 90), down(2, 5))
    place.publish(event(1, 25, measure=Measure.RECEIPT, order_ref="PO-1", expected_at_us=at(0, 15)))
    before = place.free()

    place.restart()

    assert before == place.free() == 90 - 5 - 30 + 25
    assert [each.reservation_id for each in place.live.reservations()] == [held]


def test_loaded_allocations_of_an_order_give_way_to_its_events(site):
    rows = world(X=100)
    rows.allocations["X", "MAIN"] = [Allocation(q(20), at(0, 6), "SO-1"), Allocation(q(5), at(0, 6), None)]
    place = site(rows)
    assert place.free() == 75

    place.publish(event(1, 8, measure=Measure.ALLOCATED, order_ref="SO-1", order_line="1"))
    assert place.free() == 87


def test_receipts_are_set_changed_and_taken_in(site):
    place = site()
    soon = timedelta(hours=1) // timedelta(microseconds=1)
    place.publish(event(1, 40, measure=Measure.RECEIPT, order_ref="PO-1", expected_at_us=at(0) + soon))
    assert place.free() == 140
    place.publish(event(2, -15, Kind.DELTA, Measure.RECEIPT, order_ref="PO-1"))
    assert place.free() == 125
    place.publish(event(3, 0, measure=Measure.RECEIPT, order_ref="PO-1"))
    assert place.free() == 100


def test_reservations_that_end_when_there_is_no_more_room_are_forgotten_once(site):
    """The pair is written again into a larger memory, after some of its reservations were written one by one."""
    place = site()
    names = [place.reserve(1, f"K{number}") for number in range(12)]
    for name in names[:6]:
        place.live.release("C1", name)

    place.restart()

    assert place.free() == 94


def test_what_was_taken_over_stays_so_when_nothing_reports_it_any_more():
    line = ReservedLine(
        ReserveLine("X", q(30), "MAIN"), AvailabilityStatus.OK, q(30), q(30), (Part("X", q(30), q(20)),)
    )
    held = HeldReservation("R1", "K", "C1", ReservationStatus.CONFIRMED, (line,), 0, 1, "SO-1", 0)

    claims = claims_on(held, ("X", "MAIN"))
    assert cleared_micros([], claims) == {("R1", 0): q(20)}


def test_figures_shown_alone_are_those_shown_with_all_lists(site):
    """The figures written for an ERP event alone equal those of the pair's rows."""
    chance = random.Random(9)
    rows = world("X", "Y", X=100)
    rows.receipts["X", "MAIN"] = [Receipt(q(7), at(3), reference="PO-1")]
    place, sequences = site(rows), dict.fromkeys(itertools.product("XY", Source), 0)
    for _ in range(120):
        batch = []
        for _ in range(chance.randint(1, 5)):
            measure, sku = chance.choice(list(Measure)), chance.choice("XY")
            source = SOURCE_OF[measure]
            sequences[sku, source] += chance.choice([1, 1, 1, 2])
            kind, units = chance.choice([Kind.SET, Kind.DELTA]), chance.randint(0, 30)
            extra = {} if source is Source.ERP else {"order_ref": "SO-1", "expected_at_us": at(1)}
            batch.append(event(sequences[sku, source], units, kind, measure, sku=sku, **extra))
        place.publish(*batch)
        for pair, state in place.live._pairs._states.items():
            plain = figures_of(state.base, place.live._pairs.streams(pair))
            shown = look(place.engine.positions.live, state.item, state.branch)
            assert shown.figures == image_of(plain, pair, "UTC").figures
            assert decode_pair(shown, pair, "UTC") == plain

"""What can be done with a hold (A8): replaced, extended, asked for; parts that add up; the same key again."""

from dataclasses import replace
from fractions import Fraction

import pytest

from pricegrid.atp.model import MICROS
from pricegrid.atp.rules.events import Kind, Measure
from pricegrid.atp.rules.reservations import (
    HeldReservation,
    ReservationStatus,
    ReserveAsk,
    ReserveLine,
    shown_micros,
)
from pricegrid.cache.redis_options import RedisOptions
from pricegrid.cache.redis_store import RedisStateCache
from pricegrid.service.errors import Reason, RequestRefusedError
from pricegrid.service.live.api import Release
from tests.atp_world import q, world
from tests.cache_worlds import healthy
from tests.live_site import Site, event, new_site
from tests.redis_servers import DEADLINE_S, redis_server, until


@pytest.fixture
def site(tmp_path):
    return lambda rows=None: new_site(tmp_path, rows)


def reserved(place: Site, units: int, key: str, **more) -> HeldReservation:
    ask = ReserveAsk(key, "C1", [ReserveLine("X", q(units), "MAIN")], more.pop("ttl_us", 60 * MICROS), **more)
    return place.live.reserve(ask).reservation


def status(place: Site, reservation_id: str) -> ReservationStatus:
    return place.live.reservation("C1", reservation_id).status


def refusal(call, *args) -> Reason:
    with pytest.raises(RequestRefusedError) as refused:
        call(*args)
    return refused.value.reason


@pytest.mark.parametrize("how", ["replace_reservation", "exclude_reservation"])
def test_6_held_of_8_become_8_in_one_step(site, how):
    place = site(world(X=8))
    old = place.reserve(6, "cart")
    assert reserved(place, 8, "no").reservation_id == ""

    new = reserved(place, 8, "order", **{how: old})

    assert [line.held_micros for line in new.lines] == [q(8)]
    assert (place.free(), status(place, old)) == (0, ReservationStatus.RELEASED)
    assert reserved(place, 8, "order", **{how: old}).reservation_id == new.reservation_id
    place.restart()
    assert (place.free(), status(place, old)) == (0, ReservationStatus.RELEASED)


def test_what_is_excluded_stays_where_both_can_be_held(site):
    place = site(world(X=10))
    old = place.reserve(6, "cart")

    assert reserved(place, 3, "more", exclude_reservation=old).reservation_id
    assert (place.free(), status(place, old)) == (1, ReservationStatus.HELD)


def test_nothing_is_given_up_for_what_cannot_be_held(site):
    place = site(world(X=8))
    old = place.reserve(6, "cart")

    assert reserved(place, 9, "more", replace_reservation=old).reservation_id == ""
    assert (place.free(), status(place, old)) == (2, ReservationStatus.HELD)


def test_only_a_reservation_of_ones_own_can_make_room(site):
    place = site(world(X=8))
    line = [ReserveLine("X", q(6), "MAIN")]
    other = place.live.reserve(ReserveAsk("cart", "C2", line, 60 * MICROS)).reservation.reservation_id

    for how in ("replace_reservation", "exclude_reservation"):
        assert (
            refusal(lambda how=how: reserved(place, 8, "mine", **{how: other}))
            is Reason.RESERVATION_NOT_FOUND
        )
    assert place.free() == 2


def test_what_the_warehouse_took_over_counts_for_the_one_that_takes_its_place(site):
    """8 on hand, 6 reserved, 4 of them allocated: the order edited to 8 has all 8."""
    place = site(world(X=8))
    old = place.reserve(6, "cart")
    place.live.confirm("C1", old, "SO-1")
    place.publish(event(1, 4, measure=Measure.ALLOCATED, order_ref="SO-1"))

    new = reserved(place, 8, "edited", order_ref="SO-1", replace_reservation=old)

    assert [part.cleared_micros for line in new.lines for part in line.parts] == [q(4)]
    place.live.confirm("C1", new.reservation_id, "SO-1")
    assert place.free() == 0
    place.publish(event(2, 8, measure=Measure.ALLOCATED, order_ref="SO-1"))
    assert (place.free(), status(place, new.reservation_id)) == (0, ReservationStatus.CONSUMED)
    place.publish(event(1, 0), event(3, 0, measure=Measure.ALLOCATED, order_ref="SO-1"))
    assert place.free() == 0


def test_a_reservation_that_the_warehouse_has_taken_is_not_replaced(site):
    place = site(world(X=8))
    old = place.reserve(6, "cart")
    place.live.confirm("C1", old, "SO-1")
    place.publish(event(1, 6, measure=Measure.ALLOCATED, order_ref="SO-1"))

    assert refusal(lambda: reserved(place, 2, "new", replace_reservation=old)) is Reason.RESERVATION_ENDED


@pytest.mark.slow
def test_two_hosts_on_one_redis_replace_in_one_step(tmp_path):
    """Whoever is second works it out again: never more than there is, and the old one goes once."""
    with redis_server(tmp_path / "redis") as server:
        options = RedisOptions(nodes=(server.address,), prefix="replace", commit_budget_s=DEADLINE_S)
        hosts = []
        for name in ("a", "b"):
            place = Site.__new__(Site)
            place.rows, place.directory = new_site(tmp_path / "rows", world(X=8)).rows, tmp_path / name
            place.now_us = new_site(tmp_path / "rows", world(X=8)).now_us

            def opened(directory):
                cache = RedisStateCache(options, directory)
                healthy(cache)
                return cache

            place.open_cache = opened
            place.start()
            hosts.append(place)
        old = hosts[0].reserve(6, "cart")
        until(lambda: hosts[1].live.reservation("C1", old), "the other host hears of it")

        new = reserved(hosts[1], 8, "order", replace_reservation=old)

        assert [line.held_micros for line in new.lines] == [q(8)]
        assert reserved(hosts[0], 1, "late").reservation_id == ""
        assert status(hosts[0], old) is ReservationStatus.RELEASED
        for place in hosts:
            place.cache.close()


def test_a_hold_is_extended_before_it_ends(site):
    place = site()
    held = place.reserve(30)
    place.now_us += 59 * MICROS

    extended = place.live.extend("C1", held, 60 * MICROS)

    assert extended.expires_us == place.now_us + 60 * MICROS
    assert place.live.extend("C1", held, MICROS) == extended  # never sooner
    place.now_us += 60 * MICROS - 1
    assert place.free() == 70
    place.restart()
    assert place.free() == 70
    place.now_us += 1
    assert place.free() == 100
    assert refusal(place.live.extend, "C1", held, MICROS) is Reason.RESERVATION_EXPIRED


def test_a_confirmed_one_needs_no_extension_and_a_released_one_has_none(site):
    place = site()
    held = place.reserve(30)
    confirmed = place.live.confirm("C1", held, "SO-1")
    assert place.live.extend("C1", held, 10**12) == confirmed
    place.live.release("C1", held)
    assert refusal(place.live.extend, "C1", held, MICROS) is Reason.RESERVATION_ENDED


def test_one_can_ask_for_a_reservation_after_its_time(site):
    place = site()
    held = place.reserve(30)
    assert status(place, held) is ReservationStatus.HELD
    place.now_us += 60 * MICROS
    assert status(place, held) is ReservationStatus.EXPIRED
    place.live.expire()
    assert status(place, held) is ReservationStatus.EXPIRED
    assert refusal(place.live.reservation, "C2", held) is Reason.RESERVATION_NOT_FOUND


def test_a_reservation_of_which_nothing_is_left_has_ended(site):
    place = site()
    held = place.reserve(30)
    place.live.confirm("C1", held, "SO-1")
    place.publish(event(1, 20, measure=Measure.ALLOCATED, order_ref="SO-1"))

    after = place.live.release("C1", held, [Release(0, q(10))])

    assert after.status is ReservationStatus.CONSUMED
    assert place.live.reservations() == []
    assert place.free() == 80


def test_the_same_key_with_another_time_or_policy_is_refused(site):
    place = site()
    ask = ReserveAsk("K", "C1", [ReserveLine("X", q(5), "MAIN")], 60 * MICROS)
    held = place.live.reserve(ask).reservation
    place.live.confirm("C1", held.reservation_id, "SO-1", ["10"])

    assert place.live.reserve(ask).reservation.reservation_id == held.reservation_id
    for other in ({"ttl_us": 61 * MICROS}, {"allow_partial": True}, {"all_or_nothing": True}):
        assert refusal(place.live.reserve, replace(ask, **other)) is Reason.KEY_REUSED
    assert place.free() == 95


def thirds(on_hand: int = 1):
    rows = world(X=on_hand)
    rows.uoms["X", "THIRD"] = Fraction(1, 3)
    return rows


def third(place: Site, key: str, **more) -> str:
    ask = ReserveAsk(key, "C1", [ReserveLine("X", q(1), "MAIN", "THIRD")], 60 * MICROS, **more)
    return place.live.reserve(ask).reservation.reservation_id


def test_three_thirds_hold_one_and_a_fourth_holds_nothing(site):
    place = site(thirds())
    held = [third(place, key) for key in "ABC"]

    assert all(held)
    assert third(place, "D") == ""
    assert place.free() == 0
    place.live.release("C1", held[0])
    assert third(place, "D")
    assert third(place, "E") == ""
    place.restart()
    assert third(place, "E") == ""


def test_thirds_that_the_warehouse_takes_over_have_ended(site):
    place = site(thirds())
    for line, key in enumerate("ABC"):
        place.live.confirm("C1", third(place, key), "SO-1", [str(line)])
    for line in range(3):
        third_micros = replace(
            event(line + 1, 0, Kind.SET, Measure.ALLOCATED, order_ref="SO-1", order_line=str(line)),
            quantity_micros=333_333,
        )
        place.publish(third_micros)
    assert place.live.reservations() == []


def test_what_is_shown_of_parts_of_a_micro_adds_up_whatever_ends_first():
    held = [(0, expires_us, Fraction(1_000_000, 3)) for expires_us in (30, 10, 20)]
    shown = shown_micros(held)
    assert sum(shown) == 1_000_000
    assert shown[0] + shown[2] == 666_666  # the one that ends at 10 is over
    assert shown[0] == 333_333
    assert shown_micros([(5, 10, Fraction(1, 3))]) == [1]


def test_a_refused_release_counts_lines_as_the_command_does(site):
    place = site()
    held = place.reserve(30)
    with pytest.raises(RequestRefusedError, match=r"line 1 of the reservation \(line_index 0\)"):
        place.live.release("C1", held, [Release(0, q(31))])

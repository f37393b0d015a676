"""What the warehouse allocates clears the reservations of its order, once (A9)."""

import pytest

from pricegrid.atp.rules.events import Measure
from pricegrid.service.live.api import Release
from tests.atp_world import q
from tests.live_site import event, new_site


@pytest.fixture
def site(tmp_path):
    return lambda rows=None: new_site(tmp_path, rows)


def test_two_reservations_of_one_order_share_what_is_allocated(site):
    place = site()
    for key in ("A", "B"):
        place.live.confirm("C1", place.reserve(30, key), "SO-1")

    place.publish(event(1, 40, measure=Measure.ALLOCATED, order_ref="SO-1"))

    assert place.free() == 100 - 40 - 20


@pytest.mark.parametrize("ends", ["consumed", "released", "given back in part"])
def test_what_one_reservation_of_an_order_was_cleared_by_clears_no_other(site, ends):
    """Also when that one has ended: what is allocated counts once."""
    place = site()
    first = place.reserve(30, "A")
    place.live.confirm("C1", first, "SO-1")
    allocated = 30 if ends == "consumed" else 20
    place.publish(event(1, allocated, measure=Measure.ALLOCATED, order_ref="SO-1"))
    if ends != "consumed":
        place.live.release("C1", first, [] if ends == "released" else [Release(0, q(10))])
    second = place.reserve(30, "B")
    assert place.free() == 100 - allocated - 30

    place.live.confirm("C1", second, "SO-1")

    assert place.free() == 100 - allocated - 30
    place.restart()
    assert place.free() == 100 - allocated - 30


def test_who_confirms_first_is_cleared_whoever_reserved_first(site):
    place = site()
    early, late = place.reserve(30, "A"), place.reserve(30, "B")
    place.now_us += 1
    place.live.confirm("C1", late, "SO-1")
    place.publish(event(1, 30, measure=Measure.ALLOCATED, order_ref="SO-1"))
    assert place.free() == 40

    place.live.confirm("C1", early, "SO-1")

    assert place.free() == 40


def test_a_line_and_the_order_as_a_whole_share_what_is_allocated(site):
    place = site()
    named, whole = place.reserve(30, "A"), place.reserve(30, "B")
    place.live.confirm("C1", named, "SO-1", ["1"])
    place.live.confirm("C1", whole, "SO-1")

    place.publish(event(1, 30, measure=Measure.ALLOCATED, order_ref="SO-1", order_line="1"))
    assert place.free() == 40
    place.publish(event(2, 10, measure=Measure.ALLOCATED, order_ref="SO-1", order_line="2"))
    assert place.free() == 40

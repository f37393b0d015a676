"""A replay of the log writes nothing, and no stored reservation ever goes back (A8, A9)."""

import contextlib
import itertools
import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from pricegrid.atp.model import MICROS, Source
from pricegrid.atp.rules.events import Kind, Measure
from pricegrid.atp.rules.reservations import ReservationStatus, check_progress
from pricegrid.atp.rules.rows import Allocation
from pricegrid.cache.protocol import START
from pricegrid.service.errors import RequestRefusedError
from pricegrid.service.live.api import Release
from pricegrid.service.live.records import decode_reservation
from tests.atp_world import at, complete_feed, q, world
from tests.live_site import Site, event, new_site
from tests.profiles import examples


@pytest.fixture
def site(tmp_path):
    return lambda rows=None: new_site(tmp_path, rows)


def allocated(sequence: int, units: int, kind: Kind = Kind.SET, order: str = "SO-1", **more):
    return event(sequence, units, kind, Measure.ALLOCATED, order_ref=order, **more)


def stored_states(place: Site) -> dict[str, list]:
    """Every state of each reservation that was ever stored, in the order of the log."""
    states: dict[str, list] = {}
    for change in place.cache.changes(START, 1_000_000):
        for record in change.records:
            if record.space == "reservation" and record.value is not None:
                states.setdefault(record.name, []).append((record.version, decode_reservation(record.value)))
    return states


def no_state_went_back(place: Site) -> None:
    for states in stored_states(place).values():
        for (old_version, old), (version, state) in itertools.pairwise(states):
            assert version > old_version
            check_progress(old, state)


def test_loads_restarts_and_listings_write_nothing(site):
    place = site()
    for number in range(12):
        held = place.reserve(5, f"K{number}", order_ref=f"SO-{number}")
        place.publish(allocated(number + 1, 5 if number % 2 else 2, order=f"SO-{number}"))
        place.live.confirm("C1", held, f"SO-{number}")
    listed, free, written = place.live.reservations(), place.free(), place.cache.position()

    for _ in range(2):
        place.load()
        assert (place.live.reservations(), place.free()) == (listed, free)
        place.restart()
        assert (place.live.reservations(), place.free()) == (listed, free)

    assert place.cache.position() == written


@pytest.mark.parametrize("seed", range(examples(12)))
def test_no_stored_state_ever_goes_back(tmp_path, seed):
    """Two hosts on one cache, any requests and allocations in any order, loads and restarts between."""
    chance = random.Random(seed)
    hosts = [new_site(tmp_path), Site(new_site(tmp_path / "other").rows, tmp_path)]
    held, sequences = [], list(range(1, 40))
    for step in range(80):
        place = chance.choice(hosts)
        now_us = place.now_us + chance.randint(0, 20) * MICROS
        for each in hosts:
            each.now_us = now_us
        match chance.choice(
            ["reserve", "confirm", "release", "allocate", "allocate", "load", "restart", "tick"]
        ):
            case "reserve":
                order = chance.choice(["", "SO-1", "SO-2"])
                held.append(place.reserve(chance.randint(1, 20), f"K{step}", order_ref=order))
            case "confirm" if held:
                order = chance.choice(["SO-1", "SO-2"])
                attempt(place.live.confirm, "C1", chance.choice(held), order)
            case "release" if held:
                parts = chance.choice([[], [Release(0, q(chance.randint(1, 9)))]])
                attempt(place.live.release, "C1", chance.choice(held), parts)
            case "allocate" if sequences:
                number = sequences.pop(chance.randint(0, min(2, len(sequences) - 1)))
                kind = chance.choice([Kind.SET, Kind.DELTA])
                units = chance.randint(0 if kind is Kind.SET else -9, 20)
                place.publish(allocated(number, units, kind, chance.choice(["SO-1", "SO-2"])))
            case "load":
                place.load()
            case "restart":
                place.restart()
            case "tick":
                place.live.expire()
    for each in hosts:
        each.live.follow()
    no_state_went_back(hosts[0])
    assert hosts[0].live.reservations() == hosts[1].live.reservations()
    assert hosts[0].free() == hosts[1].free()
    hosts[0].restart()
    assert hosts[0].live.reservations() == hosts[1].live.reservations()


def attempt(call: Callable[..., object], *args: object) -> None:
    """What was refused changes nothing."""
    with contextlib.suppress(RequestRefusedError):
        call(*args)


def test_what_would_go_back_is_not_stored(site):
    place = site()
    held = place.reserve(10)
    confirmed = place.live.confirm("C1", held, "SO-1")
    position = place.cache.position()

    for behind in (
        replace(confirmed, status=ReservationStatus.HELD),
        replace(confirmed, confirmed_us=None),
        replace(confirmed, order_ref=""),
        replace(confirmed, lines=tuple(replace(line, held_micros=q(11)) for line in confirmed.lines)),
    ):
        with pytest.raises(AssertionError, match="would go back"):
            place.live._store([behind])
    assert place.cache.position() == position


def test_what_a_loaded_row_has_cleared_stays_so_when_the_next_load_shows_it_no_more(site):
    place = site()
    held = place.reserve(30)
    place.live.confirm("C1", held, "SO-1")

    rows = world(X=100)
    for source in Source:
        complete_feed(rows, "MAIN", source, at(1, 6))
    rows.allocations["X", "MAIN"] = [Allocation(q(20), at(1, 6), "SO-1")]
    place.load(rows)
    assert place.free() == 70
    place.live.expire()  # the writer's next look

    shipped = world(X=80)
    for source in Source:
        complete_feed(shipped, "MAIN", source, at(2, 6))
    place.load(shipped)
    assert place.free() == 70
    written = place.cache.position()
    place.live.expire()
    place.restart()
    place.live.expire()
    assert place.free() == 70
    assert place.cache.position() == written
    no_state_went_back(place)


def test_a_reservation_that_was_given_back_and_forgotten_stays_so(tmp_path):
    place = new_site(tmp_path)
    held = place.reserve(30)
    place.live.release("C1", held)
    place.now_us += 1
    assert place.live.forget(0) == 1

    place.restart()

    assert place.free() == 100
    place.cache.close()

"""Group commit: requests that wait for the writer at the same time are made durable together, each for itself."""

import subprocess
import sys
from collections.abc import Callable
from contextlib import contextmanager
from fractions import Fraction
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atp.model import MICROS, Source
from atp.reservations import HeldReservation, ReservationStatus, ReserveAsk, ReserveLine
from atp.rows import Receipt
from cache.protocol import CacheUnavailableError, CommitUnknownError
from service.errors import Reason
from service.group_commit import that_meet
from service.limits import COMMIT_TRIES_MAX, GROUP_MAX
from service.reservation_book import ReservationBook
from tests import live_child
from tests.atp_world import at, complete_feed, on, q, world
from tests.cache_worlds import world as cache_world
from tests.live_site import Site, new_site, together
from tests.redis_servers import redis_server

ROOT = Path(__file__).parent.parent
SOURCES = tuple(Source)


class Watched:
    """A cache that says how many commits each call makes, and does something before."""

    def __init__(self, cache) -> None:
        self._cache = cache
        self.calls: list[int] = []
        self.before: Callable[[], None] = lambda: None

    def commit(self, commits):
        self.calls.append(len(commits))
        self.before()
        return self._cache.commit(commits)

    def __getattr__(self, name):
        return getattr(self._cache, name)


@contextmanager
def sites(kind: str, directory: Path, **stock: int):
    """Two servers that share their state, and the cache of the first."""
    rows = world(**stock)
    for source in SOURCES:
        complete_feed(rows, "MAIN", source, at(0, 6))
    with cache_world(kind, directory) as opened:
        made = []
        for _ in range(2):
            site = Site.__new__(Site)
            site.rows, site.now_us, site.directory = rows, at(0), directory
            site.open_cache = lambda _: Watched(opened())
            site.start()
            made.append(site)
        yield (*made, made[0].cache)


KINDS = pytest.mark.parametrize("kind", ["embedded", "redis"])


@KINDS
def test_requests_that_wait_together_are_made_durable_by_one_call(kind, tmp_path):
    stock = {f"X{number}": 10 for number in range(8)}
    with sites(kind, tmp_path, **stock) as (place, other, cache):
        ids = together(place.live, *(partial(place.reserve, 3, f"K{sku}", sku=sku) for sku in stock))
        assert cache.calls == [8]
        confirmed = together(
            place.live, *(partial(place.live.confirm, "C1", name, f"SO-{name}") for name in ids)
        )
        assert cache.calls == [8, 8]

        assert [held.order_ref for held in confirmed] == [f"SO-{name}" for name in ids]
        assert [place.free(sku) for sku in stock] == [7] * 8
        other.live.follow()
        assert {held.reservation_id for held in other.live.reservations()} == set(ids)
        assert [other.free(sku) for sku in stock] == [7] * 8


@KINDS
def test_a_group_sells_exactly_the_stock_of_an_item_and_one_refused_takes_no_other_with_it(kind, tmp_path):
    with sites(kind, tmp_path, X=10, Y=5) as (place, other, cache):
        used = place.reserve(1, "used")
        expired = place.reserve(1, "short", sku="Y", ttl_us=MICROS)
        place.now_us += MICROS
        cache.calls.clear()

        answers = together(
            place.live,
            partial(place.reserve, 4, "A"),
            partial(place.reserve, 2, "used"),  # used for one before
            partial(place.reserve, 4, "B"),
            partial(place.live.confirm, "C1", "nobody's", "SO-1"),
            partial(place.reserve, 4, "C"),  # one is left
            partial(place.reserve, 1, "D", sku="unknown"),
            partial(place.live.confirm, "C1", expired, "SO-2"),
            partial(place.reserve, 4, "E", allow_partial=True),
            partial(place.live.confirm, "C1", used, "SO-3"),
        )

        a, reused, b, not_found, c, unknown, over, e, confirmed = answers
        assert all((a, b, e))
        assert c == unknown == ""
        assert [refused.reason for refused in (reused, not_found, over)] == [
            Reason.KEY_REUSED,
            Reason.RESERVATION_NOT_FOUND,
            Reason.RESERVATION_EXPIRED,
        ]
        assert confirmed.status is ReservationStatus.CONFIRMED
        assert cache.calls == [2]  # of X all in one, of Y another
        other.live.follow()
        for site in (place, other):
            assert (site.free(), site.free("Y")) == (0, 5)
            assert {held.reservation_id for held in site.live.reservations()} == {a, b, e, used}


def test_who_finds_no_room_in_a_group_is_in_the_next(tmp_path):
    with sites("embedded", tmp_path, X=100) as (place, _, cache):
        ids = together(place.live, *(partial(place.reserve, 1, f"K{n}") for n in range(GROUP_MAX + 6)))

        assert len(set(ids)) == GROUP_MAX + 6
        assert cache.calls == [1, 1]
        assert place.free() == 100 - len(ids)


@KINDS
def test_two_with_the_same_key_or_of_the_same_reservation_come_one_after_the_other(kind, tmp_path):
    with sites(kind, tmp_path, X=10) as (place, _, cache):
        held = place.reserve(1, "held")
        cache.calls.clear()

        first, again, confirmed, released = together(
            place.live,
            partial(place.reserve, 4, "A"),
            partial(place.reserve, 4, "A"),
            partial(place.live.confirm, "C1", held, "SO-1"),
            partial(place.live.release, "C1", held),
        )

        assert first == again != ""
        assert (confirmed.status, released.status) == (
            ReservationStatus.CONFIRMED,
            ReservationStatus.RELEASED,
        )
        assert released.order_ref == "SO-1"
        assert cache.calls == [1, 1]
        assert place.free() == 6


@KINDS
def test_what_another_server_takes_in_between_is_not_sold_again(kind, tmp_path):
    """The change of another raises the version of X to just what the second of the group would find after the first."""
    with sites(kind, tmp_path, X=10, Y=10) as (place, other, cache):
        theirs = []

        def between() -> None:
            cache.before = lambda: None
            theirs.append(other.reserve(9, "theirs"))

        cache.before = between
        first, second, beside = together(
            place.live,
            partial(place.reserve, 1, "A"),
            partial(place.reserve, 9, "B"),
            partial(place.reserve, 1, "C", sku="Y"),
        )

        assert theirs[0]
        assert first
        assert beside
        assert second == ""
        assert cache.calls == [2, 1]  # Y was not in the way
        assert (place.free(), place.free("Y")) == (0, 9)


@KINDS
def test_who_finds_others_first_each_time_is_sent_away_alone(kind, tmp_path):
    with sites(kind, tmp_path, X=100, Y=10) as (place, other, cache):
        cache.before = lambda: other.reserve(1, f"theirs {len(cache.calls)}")

        busy, beside = together(
            place.live, partial(place.reserve, 1, "A"), partial(place.reserve, 1, "B", sku="Y")
        )

        assert busy.reason is Reason.LIVE_STATE_UNAVAILABLE
        assert beside
        assert len(cache.calls) == COMMIT_TRIES_MAX
        place.live.follow()
        assert place.free() == 100 - COMMIT_TRIES_MAX


@pytest.mark.parametrize("error", [CacheUnavailableError, CommitUnknownError])
def test_when_the_cache_fails_nothing_of_the_group_is_acknowledged_or_shown(tmp_path, error):
    with sites("embedded", tmp_path, X=10, Y=10) as (place, _, cache):
        known = place.reserve(1, "known")

        def fail() -> None:
            raise error("the disk is full")

        cache.before = fail
        asks = [
            partial(place.reserve, 4, "A"),
            partial(place.reserve, 4, "B", sku="Y"),
            partial(place.reserve, 1, "known"),
            partial(place.reserve, 8, "C"),  # 9 are free: nothing was taken of them
        ]
        *refused, repeated, also = together(place.live, *asks)
        assert [each.reason for each in (*refused, also)] == [Reason.LIVE_STATE_UNAVAILABLE] * 3
        assert len({id(each) for each in (*refused, also)}) == 3
        assert repeated == known
        assert (place.free(), place.free("Y")) == (9, 10)

        cache.before = lambda: None
        a, b, _, c = together(place.live, *asks)
        assert a
        assert b
        assert c == ""
        assert (place.free(), place.free("Y")) == (5, 6)


def test_an_error_that_nobody_knows_is_told_to_its_own_caller_and_the_next_are_served(tmp_path, monkeypatch):
    place = new_site(tmp_path)
    of_key = ReservationBook.of_key

    def broken(book: ReservationBook, customer_id: str, key: str) -> HeldReservation | None:
        if key == "B":
            raise ZeroDivisionError
        return of_key(book, customer_id, key)

    monkeypatch.setattr(ReservationBook, "of_key", broken)
    a, b, c = together(place.live, *(partial(place.reserve, 1, key) for key in "ABC"))
    assert a
    assert c
    assert isinstance(b, ZeroDivisionError)

    monkeypatch.setattr(place.live, "_round", lambda _: 1 // 0)
    assert all(
        isinstance(each, ZeroDivisionError)
        for each in together(place.live, *(partial(place.reserve, 1, key) for key in "DEF"))
    )
    monkeypatch.undo()
    assert all(together(place.live, *(partial(place.reserve, 1, key) for key in "DEF")))
    assert place.free() == 95


def test_all_whose_time_is_over_are_ended_together(tmp_path):
    with sites("embedded", tmp_path, X=100, Y=100) as (place, _, cache):
        for number in range(70):
            place.reserve(1, f"K{number}", sku="XY"[number % 2], ttl_us=MICROS)
        place.now_us += MICROS
        cache.calls.clear()

        assert place.live.expire() == 70

        assert cache.calls == [2, 2]  # groups of 64, in each those of X and those of Y
        assert place.live.expire() == 0
        assert (place.free(), place.free("Y")) == (100, 100)


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([], []),
        (["X", "Y", "Z"], [[0], [1], [2]]),
        (["X", "Y", "X", "Y"], [[0, 2], [1, 3]]),
        (["X", "Y", "XY", "Z"], [[0, 1, 2], [3]]),
        (["XY", "ZV", "YZ", "W", "V"], [[0, 1, 2, 4], [3]]),
        (["", "X", ""], [[0], [1], [2]]),
    ],
)
def test_changes_that_meet_at_a_pair_go_together_also_through_others(pairs, expected):
    assert that_meet([[(sku, "MAIN") for sku in of_one] for of_one in pairs]) == expected


LINES = st.builds(
    ReserveLine,
    sku=st.sampled_from(["A", "B", "KIT", "TEN", "?"]),
    quantity_micros=st.integers(-1, 12).map(lambda units: units * MICROS // 2),
    branch=st.sampled_from(["MAIN", "MAIN", "MAIN", "?"]),
    uom=st.sampled_from(["", "", "BOX"]),
    from_date=st.sampled_from([None, None, on(0), on(3)]),
)
ASKS = st.lists(
    st.tuples(st.lists(LINES, min_size=1, max_size=3), st.sampled_from(["", "partial", "all"])),
    min_size=1,
    max_size=6,
)


@settings(deadline=None, max_examples=60)
@given(asks=ASKS)
def test_a_group_is_granted_what_its_requests_one_after_the_other_would_be(asks, tmp_path_factory):
    folder = tmp_path_factory.mktemp("groups")
    rows = world(A=9, B=6, TEN=25)
    rows.items["TEN"] = rows.items["TEN"].__class__("TEN", "EA", order_multiple_micros=10 * MICROS)
    rows.items["KIT"] = rows.items["A"].__class__("KIT", "EA")
    rows.kits["KIT"] = [("A", Fraction(2)), ("B", Fraction(1))]
    rows.uoms["A", "BOX"] = Fraction(3)
    rows.receipts["A", "MAIN"] = [Receipt(q(4), at(2))]
    alone, grouped = new_site(folder / "alone", rows), new_site(folder / "grouped", rows)

    def ask(site: Site, number: int) -> list:
        lines, how = asks[number]
        found = site.live.reserve(
            ReserveAsk(f"K{number}", "C1", lines, 60 * MICROS, how == "partial", how == "all")
        )
        return [found.reservation.reservation_id != "", *found.reservation.lines]

    one_by_one = [ask(alone, number) for number in range(len(asks))]
    at_once = together(grouped.live, *(partial(ask, grouped, number) for number in range(len(asks))))

    assert at_once == one_by_one
    assert [grouped.free(sku) for sku in ("A", "B", "TEN")] == [alone.free(sku) for sku in ("A", "B", "TEN")]
    alone.cache.close()
    grouped.cache.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "moment", "survive"),
    [
        ("embedded", "in the transaction", 0),
        ("embedded", "durable", live_child.GROUP),
        ("embedded", "shown in part", live_child.GROUP),
        ("redis", "made in Redis", live_child.GROUP),
        ("redis", "in the mirror's transaction", live_child.GROUP),
        ("redis", "durable", live_child.GROUP),
    ],
)
def test_a_writer_killed_in_a_group_commit_loses_nothing_and_leaves_no_part_of_it(
    tmp_path, kind, moment, survive
):
    with redis_server(tmp_path / "redis") as server:
        port = server.port if kind == "redis" else 0
        words = [str(tmp_path / "store"), str(port), moment]
        child = subprocess.run(
            [sys.executable, "-m", "tests.live_child", *words],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        assert child.returncode == -9
        acknowledged = {line.split()[1] for line in child.stdout.splitlines()}
        assert len(acknowledged) == live_child.GROUP

        place = live_child.opened_site(tmp_path / "store", port)
        living = {held.reservation_id for held in place.live.reservations()}
        assert acknowledged <= living
        assert len(living) == live_child.GROUP + survive
        left = 100 - len(living) // live_child.GROUP
        assert {place.free(sku) for sku in live_child.SKUS} == {left}
        again = [place.reserve(1, f"{sku} 2", sku) for sku in live_child.SKUS]
        assert (set(again) <= living) == (survive > 0)  # asked for again: what was made is found by its key
        place.cache.close()

"""WatchAvailability: what is sent and when, with a clock and changes that the test controls; then over gRPC."""

import contextlib
import threading
import time
from collections.abc import Iterator
from datetime import timedelta

import grpc
import pytest

import pricegrid
from pricegrid import AvailabilityStatus, Client, Line, WatchedLine, v1
from pricegrid.service.errors import Reason, RequestRefusedError
from pricegrid.service.methods.watch import PolledChanges, WatchService
from pricegrid.service.rpc.call import Caller
from pricegrid.service.rpc.handlers import Handlers
from pricegrid.service.rpc.in_process import InProcessChannel
from pricegrid.service.rpc.metrics import NoMetrics
from pricegrid.service.rpc.pools import CountingPool, ThreadPools
from pricegrid.service.rpc.response import Response
from pricegrid.service.rpc.services import services
from tests.fakes import OneSnapshot, fake_snapshot

DEADLINE_S = 30.0  # far beyond what anything here takes: reaching it is the failure
UNKNOWN = None


class World:
    """Availability of lines at branches, a clock, and the waits of a watch: all as the test says.

    `script` is run one step a wait: each may change figures; the watch is over when it is used up.
    """

    def __init__(self, *script) -> None:
        self.script = list(script)
        self.figures: dict[str, int | None] = {"HAM": 10_000_000}
        self.now_s = 1_000.0
        self.answer_s = 0.0
        self.age_ms = 0
        self.stock_version = 0
        self.is_over = False
        self.waits: list[float] = []
        self.pauses: list[float] = []
        self.checked: list[v1.CheckAvailabilityRequest] = []

    def check(self, raw: bytes, caller: Caller) -> Response:
        request = v1.CheckAvailabilityRequest.FromString(raw)
        if not request.lines:
            raise RequestRefusedError(Reason.NO_LINES, "the request has no lines")
        self.checked.append(request)
        self.now_s += self.answer_s
        self.age_ms += 1
        branches = []
        for branch, micros in self.figures.items():
            pair = v1.BranchAvailability(branch=branch, status=7 if micros is None else 1)
            pair.freshness.CopyFrom(v1.Freshness(erp=1, wms=1, transit=1, erp_age_ms=self.age_ms))
            if micros is not None:
                pair.available_micros = micros
            branches.append(pair)
        results = [v1.LineAvailability(status=1, branches=branches) for _ in request.lines]
        response = v1.CheckAvailabilityResponse(
            results=results, snapshot_version="V", correlation_id=caller.correlation_id
        )
        return Response(response.SerializeToString())

    def clock_s(self) -> float:
        return self.now_s

    def version(self) -> object:
        return self.stock_version

    def wait(self, seen: object, timeout_s: float, is_over) -> None:
        self.waits.append(timeout_s)
        if seen != self.stock_version:
            return
        if self.script:
            self.script.pop(0)(self)
        else:
            self.is_over = True

    def pause(self, timeout_s: float, is_over) -> None:
        self.pauses.append(timeout_s)

    def wake(self) -> None:
        pass

    def told(self, request: v1.WatchAvailabilityRequest, caller: Caller | None = None) -> list[list[tuple]]:
        """The answers, each the branches and figures in it."""
        service = WatchService(self.check, self, self.clock_s)
        raw = request.SerializeToString()
        answers = map(
            v1.WatchAvailabilityResponse.FromString,
            service.watch_availability(raw, caller or Caller("id"), lambda: self.is_over),
        )
        return [
            [
                (
                    change.line_index,
                    change.availability.branch,
                    change.availability.available_micros // 1_000_000
                    if change.availability.HasField("available_micros")
                    else UNKNOWN,
                )
                for change in answer.changes
            ]
            for answer in answers
        ]


def becomes(**figures):
    """A step: some branches have so many now."""

    def step(world: World) -> None:
        for branch, units in figures.items():
            world.figures[branch] = None if units is None else units * 1_000_000
        world.stock_version += 1

    return step


def passes(seconds: float):
    """A step: nothing but time."""

    def step(world: World) -> None:
        world.now_s += seconds

    return step


def watching(*thresholds: int | None, **fields) -> v1.WatchAvailabilityRequest:
    lines = []
    for threshold in thresholds or (None,):
        line = v1.WatchedLine(line=v1.AvailabilityLine(sku="A", quantity_micros=1_000_000))
        if threshold is not None:
            line.threshold_micros = threshold * 1_000_000
        lines.append(line)
    return v1.WatchAvailabilityRequest(lines=lines, **fields)


FIRST = [(0, "HAM", 10)]
TABLE = [
    ("at once", [], [FIRST]),
    ("every change", [becomes(HAM=9), becomes(HAM=10)], [FIRST, [(0, "HAM", 9)], FIRST]),
    ("no change where another item changed", [becomes(), becomes(HAM=3)], [FIRST, [(0, "HAM", 3)]]),
    ("only the branch that changed", [becomes(RTM=1), becomes(RTM=2)], [FIRST, [(0, "RTM", 1)], [(0, "RTM", 2)]]),
    ("known and unknown", [becomes(HAM=None), becomes(HAM=0)], [FIRST, [(0, "HAM", UNKNOWN)], [(0, "HAM", 0)]]),
    ("a heartbeat when nothing changes", [passes(15), passes(15)], [FIRST, [], []]),
    ("no heartbeat before its time", [passes(14.9), passes(0.1)], [FIRST, []]),
    ("a change puts the heartbeat off", [passes(10), becomes(HAM=9), passes(10)], [FIRST, [(0, "HAM", 9)]]),
]  # fmt: skip


@pytest.mark.parametrize(("script", "told"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_what_is_sent(script, told):
    assert World(*script).told(watching()) == told


CROSSINGS = [
    ("what stays above is not told", [becomes(HAM=6), becomes(HAM=5)], [FIRST]),
    ("below, and back", [becomes(HAM=4), becomes(HAM=3), becomes(HAM=5)], [FIRST, [(0, "HAM", 4)], [(0, "HAM", 5)]]),
    ("unknown, and known again", [becomes(HAM=None), becomes(HAM=9)], [FIRST, [(0, "HAM", UNKNOWN)], [(0, "HAM", 9)]]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("script", "told"), [row[1:] for row in CROSSINGS], ids=[row[0] for row in CROSSINGS]
)
def test_with_a_threshold_only_crossings_are_sent(script, told):
    assert World(*script).told(watching(5)) == told


def test_each_line_has_a_threshold_of_its_own():
    told = World(becomes(HAM=4), becomes(HAM=1)).told(watching(5, 2, None))

    everything = [(line, "HAM", 10) for line in range(3)]
    assert told == [everything, [(0, "HAM", 4), (2, "HAM", 4)], [(1, "HAM", 1), (2, "HAM", 1)]]


def test_a_branch_that_is_no_more_is_told_once():
    def drop(world: World) -> None:
        del world.figures["HAM"]
        world.stock_version += 1

    assert World(drop, becomes(), becomes()).told(watching()) == [FIRST, [(0, "HAM", UNKNOWN)]]


def test_a_change_during_an_answer_is_seen_next():
    world = World(passes(0))
    check = world.check

    def changed_meanwhile(raw: bytes, caller: Caller) -> Response:
        answer = check(raw, caller)
        if len(world.checked) == 1:
            becomes(HAM=7)(world)
        return answer

    world.check = changed_meanwhile

    assert world.told(watching()) == [FIRST, [(0, "HAM", 7)]]


def test_a_watch_rests_in_proportion_to_its_work_and_to_how_many_watch():
    world = World(becomes(HAM=9))
    world.answer_s = 0.005

    world.told(watching())

    assert world.pauses[0] == pytest.approx(0.005 * 2), "alone it takes half a core, as all of them do"


class SlowChecks(World):
    """After the first, a check lasts until a heartbeat was sent."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()

    def check(self, raw: bytes, caller: Caller) -> Response:
        if self.checked:
            assert self.go_on.wait(DEADLINE_S)
        return super().check(raw, caller)

    def clock_s(self) -> float:
        return 100 * time.monotonic()


def test_heartbeats_keep_their_time_while_a_look_takes_its_own():
    world = SlowChecks()
    service = WatchService(world.check, world, world.clock_s)
    answers = service.watch_availability(watching().SerializeToString(), Caller("id"), lambda: False)

    first, second, third = (v1.WatchAvailabilityResponse.FromString(next(answers)) for _ in range(3))

    assert len(world.checked) == 1, "the second look is still under way"
    assert [len(each.changes) for each in (first, second, third)] == [1, 0, 0]
    world.go_on.set()
    answers.close()


def test_heartbeats_keep_their_time_while_a_watch_rests():
    world = World(passes(0))
    world.answer_s = 20.0  # and 40 of rest
    world.pause = lambda timeout_s, is_over: world.pauses.append(timeout_s) or passes(timeout_s)(world)

    told = world.told(watching(heartbeat_ms=15_000))

    assert told[:3] == [FIRST, [], []]
    assert max(world.pauses) <= 15


def test_a_watch_waits_no_longer_than_its_heartbeat_or_its_caller():
    world = World(passes(1))
    world.told(watching(heartbeat_ms=2_000))
    assert world.waits == [2.0, 1.0]

    short = World(passes(1))
    short.told(watching(), Caller("id", deadline_s=time.monotonic()))
    assert short.waits == [0.0, 0.0]


def test_the_question_goes_on_as_it_is():
    world = World()
    world.told(
        watching(
            customer_id="C1",
            branches=["HAM"],
            exclude_reservation="R1",
            supply=v1.SupplyPolicy(horizon_days=9),
        )
    )

    (asked,) = world.checked
    assert (asked.customer_id, asked.branches, asked.exclude_reservation) == ("C1", ["HAM"], "R1")
    assert (asked.supply.horizon_days, asked.projected, asked.HasField("supply")) == (9, False, True)


REFUSED = [
    ("no lines", v1.WatchAvailabilityRequest(), Reason.NO_LINES),
    ("a line without a line", v1.WatchAvailabilityRequest(lines=[v1.WatchedLine()]), Reason.NO_LINES),
    ("a negative threshold", watching(-1), Reason.INVALID_WATCH),
    ("a short heartbeat", watching(heartbeat_ms=999), Reason.INVALID_WATCH),
    ("a long heartbeat", watching(heartbeat_ms=300_001), Reason.INVALID_WATCH),
    ("too many lines", watching(*[None] * 1_001), Reason.TOO_MANY_PAIRS),
    ("too many pairs", watching(*[None] * 501, branches=["HAM", "RTM"]), Reason.TOO_MANY_PAIRS),
]


@pytest.mark.parametrize(
    ("request_", "reason"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_a_watch_that_makes_no_sense_is_refused(request_, reason):
    with pytest.raises(RequestRefusedError) as refused:
        World().told(request_)

    assert refused.value.reason is reason


def test_more_pairs_than_allowed_are_found_without_naming_branches():
    world = World()
    world.figures = dict.fromkeys("AB", 1)

    with pytest.raises(RequestRefusedError) as refused:
        world.told(watching(*[None] * 501))

    assert (refused.value.reason, refused.value.metadata["pairs"]) == (Reason.TOO_MANY_PAIRS, "1002")


# ---- waiting for changes


def test_a_change_ends_the_wait():
    version = [0]
    changes = PolledChanges(lambda: version[0], poll_s=0.001)
    ended = threading.Event()

    def wait() -> None:
        changes.wait(0, DEADLINE_S, lambda: False)
        ended.set()

    waiter = threading.Thread(target=wait)
    waiter.start()
    version[0] = 1

    assert ended.wait(DEADLINE_S / 2)
    waiter.join()


def test_being_over_ends_the_wait_and_the_pause():
    changes = PolledChanges(lambda: 0, poll_s=DEADLINE_S)
    for pausing in (
        lambda is_over: changes.wait(0, DEADLINE_S, is_over),
        lambda is_over: changes.pause(DEADLINE_S, is_over),
    ):
        over, ended = threading.Event(), threading.Event()

        def wait(pausing=pausing, over=over, ended=ended) -> None:
            pausing(over.is_set)
            ended.set()

        waiter = threading.Thread(target=wait)
        waiter.start()
        over.set()
        changes.wake()
        assert ended.wait(DEADLINE_S / 2)
        waiter.join()


# ---- over gRPC and in one process


class Shop:
    """What is free of A at HAM, a number that grows with each change, and a server that says so."""

    def __init__(self) -> None:
        self.world = World()
        self.changes = PolledChanges(self.world.version, poll_s=0.001)
        offered = services(OneSnapshot(fake_snapshot()), lambda: 0)
        watch = WatchService(self.world.check, self.changes).method
        self.offered = {
            **offered,
            v1.AVAILABILITY_SERVICE: {**offered[v1.AVAILABILITY_SERVICE], "WatchAvailability": watch},
        }

    @contextlib.contextmanager
    def served(self, watches: int = 2) -> Iterator[tuple[Client, Handlers]]:
        pool = CountingPool(1)
        server = grpc.server(pool)
        handlers = Handlers(self.offered, NoMetrics(), pool.queue, pools=ThreadPools(watches=watches))
        handlers.register(server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            with Client(f"127.0.0.1:{port}") as client:
                yield client, handlers
        finally:
            server.stop(0).wait()


@pytest.fixture
def shop() -> Shop:
    return Shop()


@pytest.fixture(params=["over gRPC", "in one process"])
def client(request, shop) -> Iterator[Client]:
    if request.param == "over gRPC":
        with shop.served() as (client, _):
            yield client
    else:
        with Client(channel=InProcessChannel(shop.offered, service_desk=True)) as client:
            yield client


def figures(update: pricegrid.WatchUpdate) -> list[tuple[str, object]]:
    return [(change.availability.branch, change.availability.available) for change in update.changes]


def test_changes_reach_the_client_as_they_happen(client, shop):
    with client.watch_availability([Line("A")], timeout_s=DEADLINE_S) as watch:
        first = next(watch)
        becomes(HAM=4)(shop.world)
        second = next(watch)
        becomes(HAM=None)(shop.world)
        third = next(watch)

    assert [figures(update) for update in (first, second, third)] == [
        [("HAM", 10)],
        [("HAM", 4)],
        [("HAM", None)],
    ]
    assert third.changes[0].availability.status is AvailabilityStatus.UNKNOWN_STOCK
    assert (first.snapshot_version, len(first.correlation_id)) == ("V", 32)
    assert list(watch) == []


def test_a_watch_ends_with_its_time(client):
    for timeout_s in (0.3, 3.0, 10.0):  # a busy machine may need some of it for the first answer
        watch = client.watch_availability([Line("A")], timeout_s=timeout_s)
        found = [figures(update) for update in watch]
        assert list(watch) == []
        if found:
            break

    assert found == [[("HAM", 10)]]


def test_a_watch_is_closed_by_another_thread(client):
    watch = client.watch_availability([Line("A")], timeout_s=DEADLINE_S)
    seen = []
    begun = threading.Event()

    def read() -> None:
        for update in watch:
            seen.append(figures(update))
            begun.set()

    reader = threading.Thread(target=read)
    reader.start()
    assert begun.wait(DEADLINE_S)
    watch.close()
    reader.join(DEADLINE_S)

    assert not reader.is_alive()
    assert seen == [[("HAM", 10)]]


def test_a_watch_is_refused_with_its_reason(client):
    for lines, heartbeat, reason in (
        ([WatchedLine(Line("A"), -1)], None, "INVALID_WATCH"),
        ([Line("A")], timedelta(hours=1), "INVALID_WATCH"),
        ([], None, "NO_LINES"),
    ):
        with pytest.raises(pricegrid.InvalidRequestError) as refused:
            next(client.watch_availability(lines, heartbeat=heartbeat, timeout_s=DEADLINE_S))
        assert refused.value.reason == reason


def test_watches_take_no_thread_of_reads_and_are_only_so_many(shop):
    with shop.served(watches=2) as (client, _):
        watches = [client.watch_availability([Line("A")], timeout_s=DEADLINE_S) for _ in range(2)]
        for watch in watches:
            next(watch)
        with pytest.raises(pricegrid.UnavailableError) as refused:
            next(client.watch_availability([Line("A")], timeout_s=DEADLINE_S))
        priced = client.price_lines("C", [Line("A")], timeout_s=DEADLINE_S)
        watches[0].close()
        again = _first_of_a_new_watch(client)
        watches[1].close()

    assert refused.value.reason == "TOO_MANY_STREAMS"
    assert priced.lines[0].status.value == "OK"
    assert figures(again) == [("HAM", 10)]


def _first_of_a_new_watch(client: Client) -> pricegrid.WatchUpdate:
    give_up_s = time.monotonic() + DEADLINE_S
    while time.monotonic() < give_up_s:  # the place is free when the server has seen the end of the other
        with contextlib.suppress(pricegrid.UnavailableError):
            return next(client.watch_availability([Line("A")], timeout_s=DEADLINE_S))
    raise AssertionError("the place was never free")


def test_a_server_that_stops_ends_its_watches(shop):
    with shop.served() as (client, handlers):
        watch = client.watch_availability([Line("A")], timeout_s=DEADLINE_S)
        next(watch)
        handlers.end_watches()
        with pytest.raises(pricegrid.UnavailableError) as ended:
            next(watch)

    assert (ended.value.reason, ended.value.retry_after_s) == ("SERVER_STOPPING", 0.25)

"""While snapshots are swapped and workers killed, every answered line agrees with the reference for its snapshot."""

import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import cycle
from random import Random

import grpc
import pytest

from pricegrid import errors, v1
from pricegrid.loaders.store.snapshot import activate
from pricegrid.pricing_engine.model import ExceptionPolicy
from pricegrid.service.fast_path.kernel import QUOTE
from pricegrid.service.process.bootstrap import open_snapshot_engines
from pricegrid.service.rpc.call import CORRELATION_KEY
from tests.served_worlds import Asked, Expected, random_requests, shop
from tests.servers import DEADLINE_S, Server, running
from tests.stores import publish

LONG = os.environ.get("PRICEGRID_LONG_TESTS") == "1"
VERSIONS = 5 if LONG else 3
LINES_MIN = 3_000_000 if LONG else 60_000
LINES_ASKED = 300 if LONG else 60  # of most requests
CALLERS = 2
CHANNELS = 3  # of each caller: a connection stays with the worker that took it
KILL_EVERY_S, SWAP_EVERY_S, LOAD_S = 5.0, 3.0, 90.0
CHANNEL_OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1),  # a connection of its own
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
)

Answer = v1.PriceLinesResponse | v1.QuoteLinesResponse


class Book:
    """The requests and, for each snapshot version, what the references answer to them."""

    def __init__(self, store, *, versions: int, lines: int) -> None:
        now_us = time.time_ns() // 1000
        shops = {publish(store, shop(number), minute=number): shop(number) for number in range(versions)}
        self.versions = list(shops)
        self.requests = random_requests(Random(6), lines=lines)
        self.requests += [
            pinned(self.requests[at], version) for at, version in zip((0, 2, 3), cycle(self.versions))
        ]
        self._answers = {}
        for version, rows in shops.items():
            expected = Expected(rows)
            self._answers[version] = [expected.answer(asked, version, now_us) for asked in self.requests]

    def answers(self, at: int) -> dict[str, Answer]:
        """The answers to request number `at`, by version."""
        named = self.requests[at].message.snapshot_version
        return {
            version: answers[at]
            for version, answers in self._answers.items()
            if not named or version == named
        }


def pinned(asked: Asked, version: str) -> Asked:
    """The same of one version, whichever is active."""
    message = type(asked.message)()
    message.CopyFrom(asked.message)
    message.snapshot_version = version
    return Asked(message, asked.is_simple)


# -- checking ---------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Tally:
    """What one caller saw. A line that is not as expected is mixed if others would answer so, otherwise wrong."""

    calls: int = 0
    lines: int = 0
    retries: int = 0
    wrong: int = 0
    mixed: int = 0
    faults: list[str] = field(default_factory=list)
    """The first of the wrong and mixed ones."""
    latest: str = ""
    """The version of the last answer to a request that names none."""
    versions: Counter[str] = field(default_factory=Counter)
    doubted: int = 0
    """Lines with STALE stock, where the server could not prove its live state."""

    def check(
        self, asked: Asked, got: Answer, answers: dict[str, Answer], moments_us: tuple[int, int]
    ) -> None:
        """Holds an answer against that of the version it names; `moments_us` is when it was asked and came."""
        self.calls += 1
        self.lines += len(asked.message.lines)
        self.versions[got.snapshot_version] += 1
        if not asked.message.snapshot_version:
            self.latest = got.snapshot_version
        expected = answers.get(got.snapshot_version)
        if expected is None:
            self._fault(
                "wrong", f"no such version was asked: {got.snapshot_version!r}", len(asked.message.lines)
            )
            return
        if got.snapshot_age_ms < 0:
            self._fault("wrong", f"made {got.snapshot_age_ms} ms ago")
        got.snapshot_age_ms = 0
        if not asked.message.HasField("as_of_time") and moments_us[0] <= got.as_of_us <= moments_us[1]:
            got.as_of_us = expected.as_of_us
        if got == expected:
            return
        before = self.wrong + self.mixed + self.doubted
        self._check_lines(asked, got, expected, answers)
        if self.wrong + self.mixed + self.doubted == before:
            self._fault("wrong", f"the header of {head(got)}, not {head(expected)}")

    def _check_lines(self, asked: Asked, got: Answer, expected: Answer, answers: dict[str, Answer]) -> None:
        if len(got.results) != len(expected.results):
            self._fault("wrong", f"{len(got.results)} results of {len(expected.results)} lines")
            return
        for at, (result, right) in enumerate(zip(got.results, expected.results, strict=True)):
            if is_doubted(result, right):
                self.doubted += 1
            elif result != right:
                is_mixed = is_of(result, [other.results[at] for other in answers.values()])
                what = f"{asked.message.customer_id!r} {asked.message.lines[at]} of {got.snapshot_version}"
                self._fault("mixed" if is_mixed else "wrong", f"{what}: {result}, not {right}")

    def _fault(self, kind: str, text: str, lines: int = 1) -> None:
        setattr(self, kind, getattr(self, kind) + lines)
        if len(self.faults) < 5:
            self.faults.append(f"{kind}: {text}")


def is_doubted(
    result: v1.PriceLineResult | v1.QuoteLineResult, right: v1.PriceLineResult | v1.QuoteLineResult
) -> bool:
    """Whether a quote is right but for calling fresh stock STALE, which is honest where it is not proven."""
    if result == right or not isinstance(result, v1.QuoteLineResult):
        return False
    doubted = v1.QuoteLineResult()
    doubted.CopyFrom(right)
    for source in ("erp", "wms", "transit"):
        if getattr(doubted.availability.freshness, source) == v1.FreshnessState.FRESHNESS_STATE_FRESH:
            setattr(doubted.availability.freshness, source, v1.FreshnessState.FRESHNESS_STATE_STALE)
    return result == doubted


def is_of(
    result: v1.PriceLineResult | v1.QuoteLineResult, others: Sequence[v1.PriceLineResult | v1.QuoteLineResult]
) -> bool:
    """Whether one of the others says the same; of a quote, one of its price and one of what is free."""
    if isinstance(result, v1.PriceLineResult):
        return result in others
    prices, free = [other.price for other in others], [other.availability for other in others]
    return result.price in prices and result.availability in free


def head(answer: Answer) -> str:
    """All but the lines."""
    bare = type(answer)()
    bare.CopyFrom(answer)
    bare.ClearField("results")
    return str(bare)


# -- asking -----------------------------------------------------------------------------------------------------------


class Load:
    """Callers that ask without a pause until `stop`."""

    def __init__(self, address: str, book: Book) -> None:
        self.tallies = [Tally() for _ in range(CALLERS)]
        self.progress = threading.Condition()
        self._address, self._book = address, book
        self._stopped = threading.Event()
        self._pool = ThreadPoolExecutor(CALLERS)
        self._callers = [
            self._pool.submit(self._ask_on, number, tally) for number, tally in enumerate(self.tallies)
        ]

    def stop(self) -> None:
        """Lets each caller end its call; raises what any of them met."""
        self._stopped.set()
        self._pool.shutdown(wait=True)
        for caller in self._callers:
            caller.result()

    def lines(self) -> int:
        """Checked so far."""
        return sum(tally.lines for tally in self.tallies)

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Waits, looking after each answer."""
        with self.progress:
            came = self.progress.wait_for(
                lambda: condition() or any(caller.done() for caller in self._callers), DEADLINE_S
            )
        if any(caller.done() for caller in self._callers):
            self.stop()
        assert came, f"never came about: {what}"

    def wait(self, seconds: float) -> None:
        """Lets them ask."""
        self._stopped.wait(seconds)
        if any(caller.done() for caller in self._callers):
            self.stop()

    def _ask_on(self, number: int, tally: Tally) -> None:
        try:
            rng, requests = Random(number), self._book.requests
            raw = [asked.message.SerializeToString() for asked in requests]
            answers = [self._book.answers(at) for at in range(len(requests))]
            channels = [
                grpc.insecure_channel(self._address, options=CHANNEL_OPTIONS) for _ in range(CHANNELS)
            ]
            methods = [methods_of(channel) for channel in channels]
            while not self._stopped.is_set():
                at = rng.randrange(len(requests))
                method = rng.choice(methods)[requests[at].is_quote]
                name = f"caller-{number}-{tally.calls}"
                asked_us = time.time_ns() // 1000
                got = self._answer(method, raw[at], name, tally)
                assert got.correlation_id == name
                got.correlation_id = ""
                tally.check(requests[at], got, answers[at], (asked_us, time.time_ns() // 1000))
                with self.progress:
                    self.progress.notify_all()
            for channel in channels:
                channel.close()
        finally:
            with self.progress:
                self.progress.notify_all()

    @staticmethod
    def _answer(method: Callable[..., Answer], raw: bytes, name: str, tally: Tally) -> Answer:
        """Retries until a worker lives long enough to answer. A refusal by the server is a failure."""
        while True:
            try:
                return method(
                    raw, metadata=((CORRELATION_KEY, name),), timeout=DEADLINE_S, wait_for_ready=True
                )
            except grpc.RpcError as error:
                if errors.error_from_rpc(error).reason != grpc.StatusCode.UNAVAILABLE.name:
                    raise
                tally.retries += 1


def methods_of(channel: grpc.Channel) -> tuple[Callable[..., Answer], Callable[..., Answer]]:
    """PriceLines and QuoteLines from the bytes of a request."""
    return (
        channel.unary_unary(
            "/pricegrid.v1.PricingService/PriceLines",
            response_deserializer=v1.PriceLinesResponse.FromString,
        ),
        channel.unary_unary(
            "/pricegrid.v1.QuoteService/QuoteLines",
            response_deserializer=v1.QuoteLinesResponse.FromString,
        ),
    )


# -- disturbing -------------------------------------------------------------------------------------------------------


class Disturber:
    """Swaps the snapshots of a server round and round and kills its workers, the oldest first."""

    def __init__(self, server: Server, store, book: Book) -> None:
        self.swaps = self.kills = 0
        self._server, self._store = server, store
        self._next = cycle(book.versions)  # what was published last is active

    def swap(self) -> str:
        """Makes the next snapshot the active one; its version."""
        version = next(self._next)
        activate(self._store, version)
        self.swaps += 1
        return version

    def kill(self) -> int:
        """Kills a worker, if there is one now; its process id, 0 for none."""
        workers = self._server.workers()
        if not workers:
            return 0
        os.kill(workers[0], signal.SIGKILL)
        self.kills += 1
        return workers[0]

    def is_replaced(self, killed: int) -> bool:
        """Whether there are as many workers again, and none of them is the killed one."""
        workers = self._server.workers()
        return len(workers) == 2 and killed not in workers


def disturb_in_turn(load: Load, disturber: Disturber) -> None:
    """Three swaps with two kills between them, each when the one before has come about and lines have been asked."""
    for step in ("swap", "kill", "swap", "kill", "swap"):
        enough = load.lines() + LINES_MIN // 5
        if step == "kill":
            killed = disturber.kill()
            assert killed
            load.until(lambda killed=killed: disturber.is_replaced(killed), "the worker is replaced")
        else:
            version = disturber.swap()
            load.until(
                lambda version=version: all(tally.latest == version for tally in load.tallies),
                f"all are answered from {version}",
            )
        load.until(lambda enough=enough: load.lines() >= enough, "lines are answered")


def disturb_by_the_clock(load: Load, disturber: Disturber) -> None:
    """A swap and a kill every few seconds until enough lines have been asked, for a minute and a half at least."""
    begun_s = time.monotonic()
    due_s = {disturber.swap: begun_s + SWAP_EVERY_S, disturber.kill: begun_s + KILL_EVERY_S}
    every_s = {disturber.swap: SWAP_EVERY_S, disturber.kill: KILL_EVERY_S}
    while load.lines() < LINES_MIN or time.monotonic() < begun_s + LOAD_S:
        act = min(due_s, key=due_s.__getitem__)
        load.wait(max(0.0, due_s[act] - time.monotonic()))
        act()
        due_s[act] += every_s[act]


# -- the tests --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("loaded")


@pytest.fixture(scope="module")
def book(store) -> Book:
    return Book(store, versions=VERSIONS, lines=LINES_ASKED)


def results(answers: Iterable[Answer]) -> list[v1.PriceLineResult]:
    return [
        result if isinstance(result, v1.PriceLineResult) else result.price
        for answer in answers
        for result in answer.results
    ]


def test_the_requests_go_both_ways_and_meet_every_status(store, book):
    loaded, _ = open_snapshot_engines(store, book.versions[0], ExceptionPolicy())
    went = Counter()
    for asked in book.requests:
        if asked.message.snapshot_version:
            continue
        raw, flags = asked.message.SerializeToString(), QUOTE if asked.is_quote else 0
        is_simple = loaded.fast_path.answer(raw, flags, time.time_ns() // 1000, "") is not None
        assert is_simple == asked.is_simple, asked.message
        went[is_simple] += 1
    first, second = (results(book.answers(at)[version] for at in range(40)) for version in book.versions[:2])
    seen = Counter(result.status for result in first)
    tells_apart = sum(one != other for one, other in zip(first, second, strict=True))

    assert min(went.values()) >= 10
    assert {"OK", "INVALID_QUANTITY", "UNKNOWN_ITEM", "UNKNOWN_UOM", "NO_PRICE", "BELOW_MINIMUM"} == {
        v1.LineStatus.Name(status).removeprefix("LINE_STATUS_") for status in seen
    }
    assert tells_apart > 0.95 * seen[v1.LineStatus.LINE_STATUS_OK] > len(first) / 4


def test_the_check_finds_a_wrong_line_a_mixed_one_and_a_wrong_header(book):
    asked, answers = book.requests[1], book.answers(1)
    first, second = (answers[version] for version in book.versions[:2])
    priced = [at for at, result in enumerate(first.results) if result != second.results[at]]

    def tally_of(change: Callable[[Answer], None]) -> tuple[int, int]:
        got, tally = type(first)(), Tally()
        got.CopyFrom(first)
        change(got)
        tally.check(asked, got, answers, (0, 0))
        return tally.wrong, tally.mixed

    assert tally_of(lambda got: None) == (0, 0)
    assert tally_of(lambda got: got.results[priced[3]].CopyFrom(second.results[priced[3]])) == (0, 1)
    assert tally_of(lambda got: setattr(got.results[priced[3]], "unit_price_micros", 1)) == (1, 0)
    assert tally_of(lambda got: setattr(got, "as_of_us", 1)) == (1, 0)
    assert tally_of(lambda got: setattr(got, "currency", "USD")) == (1, 0)
    assert tally_of(lambda got: got.results.pop()) == (1, 0)
    assert tally_of(lambda got: setattr(got, "snapshot_version", second.snapshot_version)) == (0, len(priced))
    assert tally_of(lambda got: setattr(got, "snapshot_version", "")) == (len(first.results), 0)


@pytest.mark.slow
def test_every_line_is_as_its_own_snapshot_says_through_swaps_and_kills(store, book):
    """3 million lines and more with PRICEGRID_LONG_TESTS=1, a worker killed every 5 seconds."""
    with running(store, "--workers", "2") as server:
        load, disturber = Load(server.address, book), Disturber(server, store, book)
        try:
            (disturb_by_the_clock if LONG else disturb_in_turn)(load, disturber)
        finally:
            load.stop()
    tallies = load.tallies
    wrong, mixed = sum(tally.wrong for tally in tallies), sum(tally.mixed for tally in tallies)
    retries = sum(tally.retries for tally in tallies)
    counts = sum((tally.versions for tally in tallies), Counter())
    sys.stderr.write(
        f"{load.lines()} lines in {sum(tally.calls for tally in tallies)} calls: {wrong} wrong, {mixed} mixed, "
        f"{sum(tally.doubted for tally in tallies)} STALE without need; "
        f"{disturber.swaps} swaps, {disturber.kills} kills, {retries} calls asked again; "
        f"calls by version {dict(counts)}\n"
    )

    assert [fault for tally in tallies for fault in tally.faults] == []
    assert (wrong, mixed) == (0, 0)
    assert load.lines() >= LINES_MIN
    assert set(counts) == set(book.versions)
    # each kill can break each connection once: a call under way, or one given to it before its end was noticed
    assert retries <= disturber.kills * CALLERS * CHANNELS

"""Reserve and confirm by concurrent callers, on SQLite and through Redis, beside an empty Lua script called alike.

As many callers as the writer has threads (16). Each reserves one of an item that nobody asked for before, confirms it,
and begins anew when it has the answer, in two ways:

- *in the process*: threads that call `LiveState`. The floor: as many threads of one process that run the empty script
  twice, each over a Redis connection of its own.
- *over gRPC*: a process of callers, and one with the writer's own server, as workers ask it over a unix socket. The
  floor: the same callers and a server of the same kind with as many threads, whose handlers run the empty script, each
  thread over a connection of its own. (In production a hop from the storefront to a worker lies before it.)

Floor and figure are run in turn a few times; the pair with the median ratio is shown. SQLite has the same floor, though
a script in Redis syncs nothing to a disk.
"""

import contextlib
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc

from bench import datasets as data
from bench.measure import ROOT, Figure, figure
from bench.place import PAIRS, Place
from pricegrid import v1
from pricegrid.atp.rules.reservations import ReserveAsk, ReserveLine
from pricegrid.cache.embedded import EmbeddedStateCache
from pricegrid.cache.protocol import StateCache
from pricegrid.cache.redis_link import Link
from pricegrid.cache.redis_options import RedisOptions
from pricegrid.cache.redis_scripts import EMPTY
from pricegrid.cache.redis_store import RedisStateCache
from pricegrid.pricing_engine.model import MICROS
from pricegrid.service.limits import WRITER_THREADS
from pricegrid.service.live.state import LiveState
from tests.cache_worlds import healthy
from tests.redis_servers import redis_server

CALLERS = WRITER_THREADS
WARMING = 10 * CALLERS
SERVER = "bench.reservation_server"
FLOOR = "an empty script twice"

Call = Callable[[int], object]
"""Reserves and confirms; each number once."""


def measure(size_name: str, store: Path, count: int, rounds: int) -> list[Figure]:
    """Reserve + confirm a second, `count` of them a round."""
    figures = []
    place = Place(getattr(data, size_name), store)
    with tempfile.TemporaryDirectory() as name, redis_server(Path(name) / "redis") as server:
        folder = Path(name)
        options = RedisOptions(nodes=(server.address,))
        for kind, goal in (("SQLite", ""), ("Redis", "≥ 0.5")):
            with contextlib.closing(opened(kind, options, folder / f"in {kind}")) as cache:
                live, _ = place.live(cache)
                calls = _in_process(place, live)
                figures.append(
                    _figure(kind, goal, "in the process", calls, _script_calls(options), count, rounds)
                )
        for kind, goal in (("SQLite", ""), ("Redis", "≥ 0.5")):
            words = (kind, str(server.port), str(folder / f"over {kind}"), size_name, str(store))
            with _served(folder, *words) as channel, _served(folder, "script", str(server.port)) as floor:
                calls, scripts = _over_grpc(place, channel), _over_grpc(place, floor)
                figures.append(_figure(kind, goal, "over gRPC", calls, scripts, count, rounds))
    return figures


def opened(kind: str, options: RedisOptions, folder: Path) -> StateCache:
    """The cache that is measured."""
    if kind == "SQLite":
        return EmbeddedStateCache(folder)
    cache = RedisStateCache(options, folder)
    healthy(cache)
    return cache


def _figure(kind: str, goal: str, how: str, call: Call, floor: Call, count: int, rounds: int) -> Figure:
    numbers = iter(range(PAIRS))
    pairs = []
    for each in (call, floor):
        _a_second(each, [next(numbers) for _ in range(WARMING)])
    for _ in range(rounds):
        some = [next(numbers) for _ in range(count)]
        pairs.append((_a_second(call, some), _a_second(floor, some)))
    reached, of_floor = sorted(pairs, key=lambda pair: pair[0] / pair[1])[rounds // 2]
    name = f"reserve + confirm, {kind}, {CALLERS} callers {how}"
    return figure(name, goal, reached, of_floor, f"{FLOOR}, {how}", "a second")


def _a_second(call: Call, numbers: list[int]) -> float:
    """Of calls by as many threads as there are callers."""
    failed: list[BaseException] = []

    def calling(own: list[int]) -> None:
        try:
            for number in own:
                call(number)
        except BaseException as error:  # noqa: BLE001 -- a thread can't raise it to whom it concerns
            failed.append(error)

    threads = [threading.Thread(target=calling, args=(numbers[at::CALLERS],)) for at in range(CALLERS)]
    begin_s = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return len(numbers) / (time.perf_counter() - begin_s)


def _in_process(place: Place, live: LiveState) -> Call:
    def call(number: int) -> None:
        line = ReserveLine(place.skus[number], MICROS, place.branch)
        ask = ReserveAsk(f"K{number}", "C", [line], 60 * MICROS, allow_partial=True)
        held = live.reserve(ask).reservation
        if held.reservation_id:
            live.confirm("C", held.reservation_id, f"SO-{number}")

    return call


def empty_script(options: RedisOptions) -> Callable[[], object]:
    """Runs the empty script, over a connection of each thread's own."""
    local = threading.local()
    head = EMPTY.head(options.prefix)

    def run() -> object:
        link: Link | None = getattr(local, "link", None)
        if link is None:
            link = local.link = Link(options)
            link.run("x", [("SCRIPT", "LOAD", EMPTY.source)])
        return link.run("x", [head])

    return run


def _script_calls(options: RedisOptions) -> Call:
    run = empty_script(options)
    return lambda _: (run(), run())


@contextlib.contextmanager
def _served(folder: Path, *words: str) -> Iterator[grpc.Channel]:
    """A connection to a server in a process of its own."""
    socket = folder / f"{words[0]}.sock"
    command = [sys.executable, "-m", SERVER, str(socket), *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True) as server:
        try:
            assert server.stdout is not None
            server.stdout.readline()
            with grpc.insecure_channel(f"unix:{socket}") as channel:
                yield channel
        finally:
            server.terminate()


def _over_grpc(place: Place, channel: grpc.Channel) -> Call:
    of = f"/{v1.AVAILABILITY_SERVICE}/"
    reserve: Any = channel.unary_unary(f"{of}Reserve")
    confirm: Any = channel.unary_unary(f"{of}ConfirmReservation")

    def call(number: int) -> None:
        line = v1.ReserveLine(sku=place.skus[number], quantity_micros=MICROS, branch=place.branch)
        ask = v1.ReserveRequest(
            idempotency_key=f"K{number}", customer_id="C", lines=[line], ttl_ms=60_000, allow_partial=True
        )
        found = v1.ReserveResponse.FromString(reserve(ask.SerializeToString()))
        name = found.reservation.reservation_id
        if name:
            asked = v1.ConfirmReservationRequest(
                customer_id="C", reservation_id=name, order_ref=f"SO-{number}"
            )
            confirm(asked.SerializeToString())

    return call

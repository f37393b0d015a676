"""A server under everything at once, for as long as one likes: `python -m tests.soak --minutes 20 --store DIR`.

Two workers over a made-up store whose snapshots, each with prices and stock of its own, are swapped every 20 seconds;
events and reservations all the time; processes that are killed or stopped at random; both cores busy. Every answer is
checked: prices against those of its snapshot, worked out before, availability against a model of what was acknowledged.
What was acknowledged two seconds before a question was asked must be in its answer, or the answer says STALE.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc

from pricegrid.service.process.kernel_cache import use_kernel_cache

use_kernel_cache(os.environ)  # before any kernel is imported

from pricegrid import (  # noqa: E402
    Client,
    InventoryEvent,
    InventoryEventKind,
    InventoryMeasure,
    InventorySource,
    PricegridError,
    ReserveLine,
    v1,
)
from pricegrid.loaders.store.snapshot import activate  # noqa: E402
from tests.datasets import Rows  # noqa: E402
from tests.servers import DEADLINE_S, Server, running  # noqa: E402
from tests.stores import publish  # noqa: E402

MICROS = 1_000_000
VERSIONS, ITEMS, LIVE_ITEMS = 4, 400, 40
SEEN_S = 2.0
"""An acknowledged change must be seen after so long, or the answer says STALE."""
BRANCH = "HAM"
FRESH = v1.FreshnessState.FRESHNESS_STATE_FRESH
OK_PRICE, OK_STOCK = v1.LineStatus.LINE_STATUS_OK, v1.AvailabilityStatus.AVAILABILITY_STATUS_OK
OWN_CHANNEL = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]


def sku_of(item: int) -> str:
    return f"I{item:04}"


def price_of(number: int, item: int) -> int:
    """Cents, in the snapshot of that number."""
    return 1_000 + 7 * item + 100_003 * number


def stock_of(number: int, item: int) -> int:
    return 1_000_000 + 1_000 * item + 100 * number


def rows_of(number: int) -> Rows:
    as_of = (datetime.now(UTC) - timedelta(hours=1)).isoformat(timespec="seconds")
    items = range(ITEMS)
    return {
        "items": [{"sku": sku_of(item), "base_uom": "EA"} for item in items],
        "layers": [{"layer": "list", "rank": "1"}],
        "price_books": [{"book_id": "LIST", "layer": "list", "currency": "EUR"}],
        "agreements": [{"book_id": "LIST", "everyone": "true"}],
        "price_entries": [
            {
                "book_id": "LIST",
                "sku": sku_of(item),
                "method": "net",
                "value": f"{price_of(number, item) // 100}.{price_of(number, item) % 100:02}",
            }
            for item in items
        ],
        "branches": [{"branch": BRANCH}],
        "feeds": [
            {
                "branch": BRANCH,
                "source": source,
                "as_of": as_of,
                "complete": "true",
                "stale_after_min": "100000",
            }
            for source in ("erp", "wms", "transit")
        ],
        "stock": [
            {"sku": sku_of(item), "branch": BRANCH, "on_hand": str(stock_of(number, item)), "as_of": as_of}
            for item in items
        ],
    }


@dataclass(frozen=True, slots=True)
class Stock:
    """What has become of the stock of an item since it was loaded."""

    on_hand: int | None = None
    """None: as loaded."""
    delta: int = 0
    held: int = 0
    allocated: int = 0

    def available(self, loaded: int) -> int:
        on_hand = loaded if self.on_hand is None else self.on_hand
        return on_hand + self.delta - self.held - self.allocated


@dataclass(slots=True)
class Item:
    """The history of an item: each state with when it was first asked for and when it was acknowledged."""

    states: list[Stock] = field(default_factory=lambda: [Stock()])
    asked_s: list[float] = field(default_factory=lambda: [0.0])
    acknowledged_s: list[float] = field(default_factory=lambda: [0.0])
    sequences: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, state: Stock) -> None:
        with self.lock:
            self.states.append(state)
            self.asked_s.append(time.monotonic())
            self.acknowledged_s.append(float("inf"))

    def acknowledge(self) -> None:
        with self.lock:
            self.acknowledged_s[-1] = time.monotonic()

    def between(self, began_s: float, ended_s: float) -> list[Stock]:
        """The states that an answer may show of which one can say it is fresh."""
        with self.lock:
            first = max(k for k, at_s in enumerate(self.acknowledged_s) if at_s <= began_s - SEEN_S)
            last = max(k for k, at_s in enumerate(self.asked_s) if at_s <= ended_s)
            found = self.states[first : last + 1]
            if first > 50:  # nobody asks for what was long ago
                for history in (self.states, self.asked_s, self.acknowledged_s):
                    del history[: first - 5]
            return found


@dataclass(slots=True)
class Counts:
    """What was seen, by many threads."""

    of: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, what: str, number: int = 1) -> None:
        with self.lock:
            self.of[what] += number

    def wrong(self, what: str, example: str) -> None:
        with self.lock:
            self.of[what] += 1
            if len(self.examples) < 50:
                self.examples.append(f"{what}: {example}")


class Soak:
    """One run."""

    def __init__(self, server: Server, store: Path, versions: list[str], seed: int) -> None:
        self.server, self.store, self.versions = server, store, versions
        self.number_of = {version: number for number, version in enumerate(versions)}
        self.items = [Item() for _ in range(ITEMS)]
        self.counts = Counts()
        self.random = random.Random(seed)
        self.stopping = threading.Event()

    # ---- changes

    def change(self, items: range, seed: int) -> None:
        """Publish events and reserve, one change of an item after the other."""
        chance = random.Random(seed)
        held: list[tuple[int, str, int]] = []
        with self.client() as client:
            while not self.stopping.is_set():
                at = chance.choice(items)
                item = self.items[at]
                kind = chance.choices(("delta", "set", "allocated", "reserve", "end"), (5, 2, 2, 3, 3))[0]
                if kind == "reserve":
                    self._reserve(client, at, item, chance.randint(1, 9), held)
                elif kind == "end" and held:
                    self._end(
                        client, held.pop(chance.randrange(len(held))), is_released=chance.random() < 0.8
                    )
                elif kind in ("delta", "set", "allocated"):
                    self._publish(client, at, item, kind, chance.randint(1, 90))
                self.stopping.wait(0.02)

    def client(self) -> contextlib.closing[Client]:
        return contextlib.closing(
            Client(channel=grpc.insecure_channel(self.server.address, options=OWN_CHANNEL))
        )

    def _until_done(self, item: Item, act: Callable[[], object]) -> object | None:
        """Ask for the same until it is acknowledged; None: the soak is over."""
        while not self.stopping.is_set():
            try:
                done = act()
            except PricegridError as error:
                self.counts.add(f"changes asked again after {error.reason}")
                self.stopping.wait(0.1)
            else:
                item.acknowledge()
                self.counts.add("changes acknowledged")
                return done
        return None

    def _publish(self, client: Client, at: int, item: Item, kind: str, quantity: int) -> None:
        last = item.states[-1]
        if kind == "delta":
            quantity -= 45
            after = replace(last, delta=last.delta + quantity)
        elif kind == "set":
            quantity += 1_000_000
            after = replace(last, on_hand=quantity, delta=0)
        else:
            after = replace(last, allocated=quantity)
        of_warehouse = kind == "allocated"
        source = InventorySource.WMS if of_warehouse else InventorySource.ERP
        item.sequences[source.name] += 1
        event = InventoryEvent(
            source,
            item.sequences[source.name],
            datetime.now(UTC),
            InventoryMeasure.ALLOCATED if of_warehouse else InventoryMeasure.ON_HAND,
            InventoryEventKind.DELTA if kind == "delta" else InventoryEventKind.SET,
            sku_of(at),
            BRANCH,
            quantity,
            order_ref=f"WEB-{at}" if of_warehouse else "",
        )
        item.begin(after)
        self._until_done(item, lambda: client.publish_events([event], timeout_s=10))

    def _reserve(
        self, client: Client, at: int, item: Item, quantity: int, held: list[tuple[int, str, int]]
    ) -> None:
        last = item.states[-1]
        item.begin(replace(last, held=last.held + quantity))
        lines, key = [ReserveLine(sku_of(at), quantity, BRANCH)], f"K{at}-{time.monotonic_ns()}"
        day = timedelta(days=1)
        done = self._until_done(
            item, lambda: client.reserve(lines, key=key, customer_id="", ttl=day, timeout_s=10)
        )
        if done is not None:
            held.append((at, done.reservation.reservation_id, quantity))
            if not done.reservation.reservation_id:
                self.counts.wrong("wrong", f"{quantity} of {sku_of(at)} were not reserved")

    def _end(self, client: Client, held: tuple[int, str, int], *, is_released: bool) -> None:
        at, reservation, quantity = held
        item = self.items[at]
        last = item.states[-1]
        if is_released:
            item.begin(replace(last, held=last.held - quantity))
            self._until_done(
                item, lambda: client.release_reservation(reservation, customer_id="", timeout_s=10)
            )
        else:
            item.begin(last)
            order = f"SO-{reservation}"
            self._until_done(
                item, lambda: client.confirm_reservation(reservation, order, customer_id="", timeout_s=10)
            )

    # ---- answers

    def ask(self, seed: int) -> None:
        """Ask and check, over connections that come and go: any worker may answer."""
        chance = random.Random(seed)
        while not self.stopping.is_set():
            with grpc.insecure_channel(self.server.address, options=OWN_CHANNEL) as channel:
                for _ in range(20):
                    if self.stopping.is_set():
                        return
                    ask = chance.choices((self._prices, self._quotes, self._availability), (6, 3, 1))[0]
                    try:
                        ask(channel, chance)
                    except grpc.RpcError as error:
                        self.counts.add(f"questions that failed with {error.code().name}")
                        break

    def _prices(self, channel: grpc.Channel, chance: random.Random) -> None:
        items = [chance.randrange(ITEMS) for _ in range(300)]
        request = v1.PriceLinesRequest(currency="EUR", lines=lines_of(v1.PriceLine, items))
        answer = v1.PricingServiceStub(channel).PriceLines(request, timeout=10)
        self._check_prices(answer.snapshot_version, items, answer.results)

    def _check_prices(self, version: str, items: list[int], results: list[v1.PriceLineResult]) -> None:
        number = self.number_of[version]
        for item, found in zip(items, results, strict=True):
            if found.status != OK_PRICE or found.unit_price_micros != price_of(number, item) * MICROS // 100:
                self.counts.wrong("wrong", f"{sku_of(item)} in {version}: {found}")
        self.counts.add("prices checked", len(items))

    def _quotes(self, channel: grpc.Channel, chance: random.Random) -> None:
        items = [chance.randrange(LIVE_ITEMS) for _ in range(60)]
        request = v1.QuoteLinesRequest(currency="EUR", branches=[BRANCH], lines=lines_of(v1.PriceLine, items))
        began_s = time.monotonic()
        answer = v1.QuoteServiceStub(channel).QuoteLines(request, timeout=10)
        ended_s = time.monotonic()
        self._check_prices(answer.snapshot_version, items, [result.price for result in answer.results])
        for item, result in zip(items, answer.results, strict=True):
            self._check_stock(answer.snapshot_version, item, result.availability, began_s, ended_s)

    def _availability(self, channel: grpc.Channel, chance: random.Random) -> None:
        items = [chance.randrange(LIVE_ITEMS) for _ in range(20)]
        lines = lines_of(v1.AvailabilityLine, items)
        request = v1.CheckAvailabilityRequest(branches=[BRANCH], lines=lines)
        began_s = time.monotonic()
        answer = v1.AvailabilityServiceStub(channel).CheckAvailability(request, timeout=10)
        ended_s = time.monotonic()
        for item, result in zip(items, answer.results, strict=True):
            self._check_stock(answer.snapshot_version, item, result.branches[0], began_s, ended_s)

    def _check_stock(
        self,
        version: str,
        item: int,
        found: v1.QuoteAvailability | v1.BranchAvailability,
        began_s: float,
        ended_s: float,
    ) -> None:
        loaded = stock_of(self.number_of[version], item)
        allowed = {state.available(loaded) * MICROS for state in self.items[item].between(began_s, ended_s)}
        is_fresh = found.freshness.erp == found.freshness.wms == FRESH
        is_right = found.status == OK_STOCK and found.available_micros in allowed
        self.counts.add("availability checked")
        if is_fresh and not is_right:
            said = found.available_micros // MICROS
            wanted = sorted(units // MICROS for units in allowed)
            self.counts.wrong("FRESH that are not", f"{sku_of(item)} in {version}: {said}, not {wanted}")
        elif not is_fresh:
            self.counts.add("answers that say STALE")
            if not is_right:
                self.counts.add("changes late, which the answer said")

    # ---- what happens to the server

    def swap(self, every_s: float) -> None:
        """Activate another snapshot now and then."""
        while not self.stopping.wait(every_s):
            activate(self.store, self.random.choice(self.versions))
            self.counts.add("swaps")

    def disturb(self, every_s: tuple[float, float], stopped_s: tuple[float, float]) -> None:
        """Kill or stop a process now and then."""
        while not self.stopping.wait(self.random.uniform(*every_s)):
            processes = self.server.workers() + self.server.writer() * 2
            if not processes:
                continue
            pid, is_killed = self.random.choice(processes), self.random.random() < 0.4
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL if is_killed else signal.SIGSTOP)
                self.counts.add("processes killed" if is_killed else "processes stopped")
                if not is_killed:
                    self.stopping.wait(self.random.uniform(*stopped_s))
                    os.kill(pid, signal.SIGCONT)


def lines_of(line: type, items: list[int]) -> list[v1.PriceLine] | list[v1.AvailabilityLine]:
    return [line(sku=sku_of(item), quantity_micros=MICROS) for item in items]


@contextlib.contextmanager
def busy_cores(count: int) -> Iterator[None]:
    """So many processes that do nothing but turn."""
    spinners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.wait()


def soak(
    store: Path,
    seconds: float,
    *,
    seed: int = 1,
    swap_s: float = 20.0,
    disturb_s: tuple[float, float] = (5.0, 15.0),
    stopped_s: tuple[float, float] = (0.5, 15.0),
    spinners: int = 2,
    report_s: float = 60.0,
    is_enough: Callable[[Counter[str]], bool] = lambda _: True,
) -> Counts:
    """Run it; what was seen. A machine that has not seen enough of it in time gets some more."""
    versions = [publish(store, rows_of(number), minute=number) for number in range(VERSIONS)]
    with running(store, "--workers", "2") as server, busy_cores(spinners):
        run = Soak(server, store, versions, seed)
        half = LIVE_ITEMS // 2
        jobs = [
            *[lambda at=at: run.ask(seed * 100 + at) for at in range(4)],
            lambda: run.change(range(half), seed * 100 + 10),
            lambda: run.change(range(half, LIVE_ITEMS), seed * 100 + 11),
            lambda: run.swap(swap_s),
            lambda: run.disturb(disturb_s, stopped_s),
        ]
        failed: list[BaseException] = []

        def guarded(job: Callable[[], None]) -> None:
            try:
                job()
            except BaseException as error:  # noqa: BLE001 -- the run fails with it
                failed.append(error)
                run.stopping.set()

        threads = [threading.Thread(target=guarded, args=(job,)) for job in jobs]
        for thread in threads:
            thread.start()
        end_s = time.monotonic() + seconds
        while not run.stopping.is_set() and (left_s := end_s - time.monotonic()) > -DEADLINE_S:
            if left_s <= 0 and is_enough(run.counts.of):
                break
            run.stopping.wait(min(report_s, left_s if left_s > 0 else 1.0))
            print(json.dumps(dict(sorted(run.counts.of.items()))), file=sys.stderr, flush=True)
        run.stopping.set()
        for thread in threads:
            thread.join()
        if failed:
            raise failed[0]
        code = server.stop()
        if code != 0:
            run.counts.wrong("wrong", f"the server ended with {code}")
        Path(store, "server.log").write_text("".join(server.log))
    return run.counts


def main() -> int:
    """0 when nothing was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--store", type=Path, help="an empty directory; a temporary one if not given")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--spinners", type=int, default=2, help="processes that keep the cores busy")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        store = args.store or Path(directory)
        store.mkdir(parents=True, exist_ok=True)
        counts = soak(store, args.minutes * 60, seed=args.seed, spinners=args.spinners)
    seen = counts.of
    for example in counts.examples:
        print(example)
    print(
        json.dumps(
            {"answers checked": seen["prices checked"] + seen["availability checked"], **seen}, indent=2
        )
    )
    return 1 if seen["wrong"] or seen["FRESH that are not"] else 0


if __name__ == "__main__":
    sys.exit(main())

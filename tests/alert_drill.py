"""The real cause of each alert, made to happen to a real server that a real Prometheus scrapes.

    python -m tests.alert_drill [--prometheus FILE] [--hour S] [--workers N] [--give-up S] [NAME ...]

Each alert must fire, and heal once its cause is gone; what was seen is printed as a table. It is no test of CI's: it
takes minutes. The rules are those of deploy/prometheus with shorter times: an hour of age is `--hour` seconds, windows
and pauses a sixtieth, so that what takes a night takes a minute. `prometheus` is in Debian's package of that name:
`apt-get download prometheus && dpkg -x prometheus_*.deb .` unpacks it without installing.
"""

import argparse
import contextlib
import itertools
import json
import multiprocessing.process
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, TypeVar

from deploy.prometheus.make_rules import ALERTS, rules
from pricegrid import (
    Client,
    DeadlineExceededError,
    InventoryEvent,
    InventoryEventKind,
    InventoryMeasure,
    InventorySource,
    Line,
    PricegridError,
    ReserveLine,
    UnavailableError,
)
from tests.datasets import as_frames
from tests.erp_server import Fault, SmallErp, serving
from tests.ports import free_port
from tests.redis_servers import RedisServer, redis_server
from tests.servers import Server, running
from tests.stores import stocked_rows

START_S = 900.0
"""What a start may take, and a change while the server is busy with what was done to it."""
WORKERS = 3
"""Fewer bring the writer no more calls at a time than it has threads: then it is never too busy."""
SCRAPE_S = 5
"""Also what a busy machine may take to answer."""
FLOODING, FLOOD = 3, 16
"""Processes that reserve at once, and threads of each: together more than the writer has."""
T = TypeVar("T")
COMMAND: Final = (sys.executable, "-m", "pricegrid.service.cli.main")


def quick_rules(hour_s: float) -> str:
    """The rules with shorter times."""

    def window(found: re.Match[str]) -> str:
        return f"[{max(6 * SCRAPE_S, int(found[1]) * (60 if found[2] == 'h' else 1))}s]"

    text = re.sub(r"\[(\d+)([mh])\]", window, rules())
    text = re.sub(r"for: (\d+)m", lambda found: f"for: {max(2, int(found[1]))}s", text)
    text = text.replace("> 86400", f"> {24 * hour_s:g}")
    return re.sub(r"> (\d+) \* 3600", lambda found: f"> {int(found[1]) * hour_s:g}", text)


def insist(ask: Callable[[], T]) -> T:
    """What comes of it, once the server can: it may be busy with what was done to it."""
    give_up_s = time.monotonic() + START_S
    while True:
        try:
            return ask()
        except (UnavailableError, DeadlineExceededError):
            if time.monotonic() > give_up_s:
                raise
            time.sleep(0.5)


class NotSeenError(Exception):
    """An alert did not fire, or did not heal."""


@dataclass
class Site:
    """What the drill works on."""

    folder: Path
    store: Path
    server: Server
    client: Client
    redis: RedisServer
    erp: SmallErp
    prometheus: str
    give_up_s: float
    sequence: int = 0
    held: list[str] = field(default_factory=list)

    def firing(self) -> set[str]:
        """The alerts that fire now."""
        with urllib.request.urlopen(f"{self.prometheus}/api/v1/alerts", timeout=30) as answer:
            found = json.load(answer)["data"]["alerts"]
        return {each["labels"]["alertname"] for each in found if each["state"] == "firing"}

    def load(self, *, feeds_age: timedelta = timedelta(), without: str = "", code: int = 0) -> None:
        """Loads the shop as a night would; its extracts are of then."""
        self._write(feeds_age, without)
        command = [*COMMAND, "load", str(self.folder / "dataset"), "--store", str(self.store)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr

    def _write(self, feeds_age: timedelta, without: str) -> None:
        write_dataset(self.folder / "dataset", feeds_age, without)

    def event(self, sku: str = "S4") -> None:
        """The WMS tells an allocation."""
        self.sequence += 1
        told = [
            InventoryEvent(
                source=InventorySource.WMS,
                sequence=self.sequence,
                effective=datetime.now(UTC),
                measure=InventoryMeasure.ALLOCATED,
                kind=InventoryEventKind.SET,
                sku=sku,
                branch="HAM",
                quantity=1,
                order_ref=f"SO-{self.sequence}",
            )
        ]
        insist(lambda: self.client.publish_events(told))

    def reserve(self, key: str) -> bool:
        """A shopper takes a bolt; whether that was possible."""
        with contextlib.suppress(PricegridError):
            made = self.client.reserve([ReserveLine("BOLT", 1, "HAM")], key=key, customer_id="C1")
            self.held.append(made.reservation.reservation_id)
            return True
        return False

    def ask(self, sku: str, quantity: int = 1) -> None:
        """A shopper asks for a price, whatever becomes of it."""
        with contextlib.suppress(PricegridError):
            self.client.price_lines("C1", [Line(sku, quantity)], timeout_s=10)


def write_dataset(folder: Path, feeds_age: timedelta = timedelta(), without: str = "") -> None:
    """The shop of tests.stores, whose extracts are so old; perhaps without a table."""
    rows = stocked_rows()
    as_of = f"{datetime.now(UTC) - feeds_age:%Y-%m-%dT%H:%M:%SZ}"
    for table in ("feeds", "stock"):
        rows[table] = [{**row, "as_of": as_of} for row in rows[table]]
    rows.pop(without, None)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, frame in as_frames(rows).items():
        frame.write_csv(folder / f"{name}.csv")


@dataclass(frozen=True)
class Cause:
    """What makes alerts fire, and what heals them; `while_firing` and `while_healing` go on until that is seen."""

    alerts: Sequence[str]
    begin: Callable[[Site], object]
    heal: Callable[[Site], object]
    while_firing: Callable[[Site], object] = lambda _: None
    while_healing: Callable[[Site], object] = lambda _: None
    before: Callable[[Site], object] = lambda _: None
    """What makes them quiet, if they fire by themselves as time goes by."""


def _nothing(_: Site) -> None:
    """It comes or goes by itself."""


def _forget(site: Site) -> None:
    """A day in which nobody tells anything: an event of an unknown item, and an order that is never reported."""
    site.event()
    site.event("no such item")
    line = [ReserveLine("BOLT", 1, "HAM")]
    made = insist(lambda: site.client.reserve(line, key="order", customer_id="C1").reservation.reservation_id)
    insist(lambda: site.client.confirm_reservation(made, "SO-late", customer_id="C1"))
    site.held.append(made)


def _catch_up(site: Site) -> None:
    site.load()
    letters = insist(lambda: [each.dead_letter_id for each in site.client.dead_letters()])
    insist(lambda: site.client.drop_dead_letters(letters))
    order = site.held.pop()
    insist(lambda: site.client.release_reservation(order, customer_id="C1"))


def _damage(site: Site) -> None:
    """The store names a snapshot of which a byte has changed."""
    snapshots, named = site.store / "snapshots", (site.store / "current").read_text().strip()
    damaged = snapshots / "20200101T000000Z-00000000"
    shutil.copytree(snapshots / named, damaged)
    largest = max(damaged.glob("*.npy"), key=lambda each: each.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:-1] + b"\x7f")
    (site.folder / "named").write_text(named)
    (site.store / "current").write_text(damaged.name + "\n")


def _mend(site: Site) -> None:
    (site.store / "current").write_text((site.folder / "named").read_text() + "\n")
    shutil.rmtree(site.store / "snapshots" / "20200101T000000Z-00000000")


def _kill_workers(site: Site) -> None:
    for pid in site.server.workers():
        os.kill(pid, signal.SIGKILL)


def _stop_writer(site: Site) -> None:
    for pid in site.server.writer():
        os.kill(pid, signal.SIGSTOP)  # it is found out, killed and replaced


_flooding: list[multiprocessing.process.BaseProcess] = []


def _flood(site: Site) -> None:
    """More shoppers at once than one writer has threads for; processes, for one has no more than a core."""
    context = multiprocessing.get_context("spawn")
    for number in range(FLOODING):
        process = context.Process(target=_reserve_on, args=(site.server.address, number), daemon=True)
        process.start()
        _flooding.append(process)


def _reserve_on(address: str, process: int) -> None:
    """Reserves and releases until it is ended."""

    def reserve(thread: int) -> None:
        # over sockets of its own: those of grpcio share one, and so one worker, which has fewer threads than the writer
        with Client(address, transport="http2") as client:
            for number in itertools.count():
                with contextlib.suppress(PricegridError):
                    line = [ReserveLine("PANEL", 1, "HAM")]
                    key = f"{process}-{thread}-{number}"
                    held = client.reserve(line, key=key, customer_id="C1").reservation
                    client.release_reservation(held.reservation_id, customer_id="C1")

    threads = [threading.Thread(target=reserve, args=(thread,), daemon=True) for thread in range(FLOOD)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _ebb(_: Site) -> None:
    while _flooding:
        process = _flooding.pop()
        process.kill()
        process.join()


_asked = iter(range(1, 1_000_000))
CAUSES = (
    Cause(
        (
            "PricegridDeadLettersOld",
            "PricegridEventsSilent",
            "PricegridOrdersNotReported",
            "PricegridPricesOld",
        ),
        _forget,
        _catch_up,
        while_healing=lambda site: site.event(),
        before=lambda site: site.load(),
    ),
    Cause(
        ("PricegridBranchRefreshLate", "PricegridBranchStale"),
        lambda site: site.load(feeds_age=timedelta(hours=25)),
        lambda site: site.load(),
    ),
    Cause(
        ("PricegridLoadFailed",),
        lambda site: site.load(without="price_entries", code=1),
        lambda site: site.load(),
    ),
    Cause(("PricegridSnapshotRefused",), _damage, _mend),
    Cause(
        ("PricegridErpAway",),
        lambda site: setattr(site.erp, "fault", Fault.ERRORS),
        lambda site: setattr(site.erp, "fault", Fault.NONE),
        while_firing=lambda site: site.ask("X1", next(_asked)),
    ),
    Cause(
        ("PricegridParityMismatch",),
        lambda site: site.erp.prices.update({("", "S4"): "10.01"}),
        lambda site: site.erp.prices.update({("", "S4"): "10"}),
        while_firing=lambda site: [site.ask("S4") for _ in range(10)],
        while_healing=lambda site: site.ask("S4"),
    ),
    Cause(
        ("PricegridRedisAway", "PricegridRequestsFail"),
        lambda site: site.redis.kill(),
        lambda site: site.redis.start(),
        while_firing=lambda site: site.reserve(f"away-{next(_asked)}"),
        while_healing=lambda site: [site.ask("S4") for _ in range(10)],
    ),
    Cause(("PricegridProcessesEnd",), _kill_workers, _nothing, while_firing=_kill_workers),
    Cause(("PricegridLivePositionsUnproven",), _stop_writer, _nothing),
    Cause(("PricegridWriterBusy",), _flood, _ebb),
)


@dataclass
class Seen:
    """When an alert fired, and when it had healed, in seconds from when its cause was there, and was gone."""

    fired_s: float | None = None
    fired_at: str = ""
    healed_s: float | None = None
    healed_at: str = ""


def until(
    site: Site, what: str, is_so: Callable[[set[str], float], bool], also: Callable[[Site], object]
) -> None:
    """Waits; `is_so` is told what fires now, and the seconds since this began."""
    began_s = time.monotonic()
    while not is_so(site.firing(), time.monotonic() - began_s):
        if time.monotonic() > began_s + site.give_up_s:
            raise NotSeenError(f"never came about: {what}; the log ends with {site.server.log[-3:]}")
        also(site)
        time.sleep(0.2)


def drill(site: Site, cause: Cause, seen: dict[str, Seen]) -> None:
    """Makes the alerts of a cause fire, and heals them. Raises NotSeenError."""

    def fire(firing: set[str], after_s: float) -> bool:
        for alert in cause.alerts:
            if alert in firing and seen[alert].fired_s is None:
                seen[alert].fired_s, seen[alert].fired_at = after_s, _now()
        return all(each.fired_s is not None for each in seen.values())

    def heal(firing: set[str], after_s: float) -> bool:
        for alert in cause.alerts:
            if alert in firing:
                seen[alert].healed_s = None  # it comes back
            elif seen[alert].healed_s is None:
                seen[alert].healed_s, seen[alert].healed_at = after_s, _now()
        return firing.isdisjoint(cause.alerts)

    cause.before(site)
    names = ", ".join(cause.alerts)
    until(site, f"{names} are quiet before", lambda firing, _: firing.isdisjoint(cause.alerts), cause.before)
    try:
        cause.begin(site)
        until(site, f"{names} fire", fire, cause.while_firing)
    finally:
        cause.heal(site)
    until(site, f"{names} heal", heal, cause.while_healing)


def _now() -> str:
    return f"{datetime.now(UTC):%H:%M:%S}"


@contextlib.contextmanager
def watching(executable: str, folder: Path, target: str, hour_s: float) -> Iterator[str]:
    """A Prometheus that scrapes the server; its address."""
    folder.mkdir()
    (folder / "rules.yml").write_text(quick_rules(hour_s))
    config = {
        "global": {
            "scrape_interval": f"{SCRAPE_S}s",
            "scrape_timeout": f"{SCRAPE_S}s",
            "evaluation_interval": "1s",
        },
        "rule_files": ["rules.yml"],
        "scrape_configs": [{"job_name": "pricegrid", "static_configs": [{"targets": [target]}]}],
    }
    (folder / "prometheus.yml").write_text(json.dumps(config))
    address = f"127.0.0.1:{free_port()}"
    command = [
        executable,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*command, f"--web.listen-address={address}"], stdout=log, stderr=log)
    try:
        give_up_s = time.monotonic() + START_S
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://{address}/-/ready", timeout=5):
                break
            if process.poll() is not None or time.monotonic() > give_up_s:
                raise AssertionError((folder / "log").read_text()[-2000:])
            time.sleep(0.2)
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait()


def run(args: argparse.Namespace, folder: Path) -> int:
    """Carries the drills out: 0 all were seen."""
    store = folder / "store"
    write_dataset(folder / "dataset")
    subprocess.run([*COMMAND, "load", str(folder / "dataset"), "--store", str(store)], check=True)
    small = SmallErp()
    small.prices = {("", "S4"): "10", ("", "X1"): "10"}
    parity = "[parity]\nsample_per_million = 1000000\nchecks_per_s = 50\n"
    with contextlib.ExitStack() as stack:
        stack.enter_context(serving(small))
        redis = stack.enter_context(redis_server(folder / "redis"))
        options = [
            "--workers",
            str(args.workers),
            "--metrics-port",
            "0",
            "--erp-config",
            str(small.config(folder, parity)),
        ]
        server = stack.enter_context(
            running(store, *options, "--redis-url", f"redis://127.0.0.1:{redis.port}")
        )
        target = f"127.0.0.1:{server.ready['metrics_port']}"
        address = stack.enter_context(watching(args.prometheus, folder / "prometheus", target, args.hour))
        client = stack.enter_context(Client(server.address))
        site = Site(folder, store, server, client, redis, small, address, args.give_up)
        causes = [each for each in CAUSES if not args.alert or set(args.alert) & set(each.alerts)]
        table = [
            "| alert | drill began | fired after its cause was there | at | healed after it was gone | at |",
            "|---|---|---|---|---|---|",
        ]
        was_seen = [_is_seen(site, each, table) for each in causes]
        print("\n".join(table))
        return int(not all(was_seen))


def _is_seen(site: Site, cause: Cause, table: list[str]) -> bool:
    """Whether all alerts of a cause fired and healed; adds their rows to the table, and shows them at once."""
    began, seen = _now(), {alert: Seen() for alert in cause.alerts}
    try:
        drill(site, cause, seen)
    except (NotSeenError, PricegridError, AssertionError, OSError) as error:
        print(f"pricegrid: {error}", file=sys.stderr)
    for alert, found in seen.items():
        fired, healed = _told(found.fired_s, found.fired_at), _told(found.healed_s, found.healed_at)
        table.append(f"| `{alert}` | {began} | {fired} | {healed} |")
        print(table[-1], file=sys.stderr, flush=True)
    return all(each.fired_s is not None and each.healed_s is not None for each in seen.values())


def _told(seconds: float | None, at: str) -> str:
    return "not seen | " if seconds is None else f"{seconds:.0f} s | {at}"


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.alert_drill", description=__doc__)
    parser.add_argument(
        "--prometheus", default=shutil.which("prometheus"), help="its executable (default: on PATH)"
    )
    parser.add_argument("--hour", type=float, default=3.0, help="seconds of an hour (default %(default)s)")
    parser.add_argument("--workers", type=int, default=WORKERS, help="of the server (default %(default)s)")
    parser.add_argument("--give-up", type=float, default=600.0, help="seconds to wait (default %(default)s)")
    parser.add_argument("alert", nargs="*", help="the alerts to try (default: all)")
    args = parser.parse_args()
    unknown = set(args.alert) - {each.name for each in ALERTS}
    if unknown or not args.prometheus:
        parser.error(
            f"no such alert: {', '.join(unknown)}" if unknown else "there is no prometheus; name one"
        )
    with tempfile.TemporaryDirectory() as folder:
        return run(args, Path(folder))


if __name__ == "__main__":
    sys.exit(main())

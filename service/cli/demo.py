"""`pricegrid demo`: a made-up distributor, loaded, served and asked for a basket; on a terminal it goes on serving."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pricegrid
from pricegrid.service.cli.availability import age_text
from pricegrid.service.cli.quote import available_cells, json_rows
from pricegrid.service.cli.text import (
    UsageError,
    decimal_text,
    parse_decimal,
    print_json_list,
    print_table,
    unit_price_text,
)
from pricegrid.service.cli.waterfall import print_waterfall

if TYPE_CHECKING:  # what makes it up takes a while to import: something is said first
    from pricegrid.loaders.demo.dataset import DemoDataset

SEED = 7
STOP_S = 15.0
LOAD_MAX_S = 86_400
EVERYTHING = 1_000_000
"""More than any branch will ever hold."""


def add_demo_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `demo`."""
    parser.add_argument(
        "--dir",
        metavar="DIR",
        type=Path,
        default=Path(".demo"),
        help="where to work; made anew (default %(default)s)",
    )
    parser.add_argument(
        "--items", metavar="N", type=int, default=30_000, help="items to make up (default %(default)s)"
    )
    parser.add_argument(
        "--customers", metavar="N", type=int, default=4_000, help="customers to make up (default %(default)s)"
    )
    parser.add_argument(
        "--seed", metavar="N", type=int, default=SEED, help="another seed, another distributor"
    )
    parser.add_argument(
        "--port", metavar="PORT", type=int, default=0, help="port to serve on (default: a free one)"
    )
    parser.add_argument("--json", action="store_true", help="print the basket as JSON, as `quote` does")


def run_demo(args: argparse.Namespace) -> int:
    """Generates, loads, serves and asks; 0 when the server answered."""
    from pricegrid.service.process.kernel_build import compiler_ahead, provide
    from pricegrid.service.process.kernel_cache import use_kernel_cache

    # However it ends, a terminal that is closed included, the server is stopped.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    say = partial(print, file=sys.stderr if args.json else sys.stdout, flush=True)
    use_kernel_cache(os.environ)
    with compiler_ahead("demo", None, os.environ):
        dataset = _make_up(args, say)
    provide(
        "demo", None, os.environ, sys.stderr
    )  # where it is seen: the server's progress would go to its log
    store = args.dir / "store"
    with _server(store, args.port) as server:  # it imports what it needs while this process loads
        say("2. loading it")
        began_s = time.monotonic()
        if not _load(dataset, store):
            return 1
        say(f"   published, {time.monotonic() - began_s:.1f} s")
        say("3. serving it")
        began_s = time.monotonic()
        ready = _ready(server, store)
        address = ready["address"]
        say(f"   {ready['workers']} workers on {address}, {time.monotonic() - began_s:.1f} s")
        say(
            f"4. a basket of {dataset.customer_id} from branch {dataset.branch}, in {dataset.currency}, over gRPC\n"
        )
        with pricegrid.Client(str(address)) as client:
            _quote_basket(client, dataset, as_json=args.json)
        attended = sys.stdin.isatty() and sys.stdout.isatty()
        _suggest(say, dataset, f"--address {address}" if attended else f"--store {store}")
        if attended:
            say("\nServing until Ctrl-C.")
            with contextlib.suppress(KeyboardInterrupt):
                signal.pause()
    return 0


def _make_up(args: argparse.Namespace, say: Callable[[str], None]) -> DemoDataset:
    say("1. making up a distributor")
    began_s = time.monotonic()
    from pricegrid.loaders.demo.dataset import CUSTOMERS_MIN, ITEMS_MIN, generate

    if args.items < ITEMS_MIN or args.customers < CUSTOMERS_MIN:
        raise UsageError(f"the demo needs at least {ITEMS_MIN} --items and {CUSTOMERS_MIN} --customers")
    _make_room(args.dir)
    dataset = generate(
        args.dir / "dataset",
        seed=args.seed,
        items=args.items,
        customers=args.customers,
        now=datetime.now(UTC).replace(microsecond=0),
    )
    rows = f"{sum(dataset.rows.values()):,} rows in {len(dataset.rows)} tables"
    say(f"   {rows}, {time.monotonic() - began_s:.1f} s")
    return dataset


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _suggest(say: Callable[[str], None], dataset: DemoDataset, where: str) -> None:
    first = dataset.basket[0]
    line = f"{first.sku}:{first.quantity}" + (f":{first.uom}" if first.uom else "")
    say("\nAsk more" + (", in another terminal:" if where.startswith("--address") else ":"))
    customer, branch = f"--customer {dataset.customer_id}", f"--branch {dataset.branch}"
    for command, of in (
        ("quote", customer),
        ("explain", customer),
        ("availability", branch),
        ("promise", branch),
    ):
        say(f"  {_as_typed()} {command} {where} {of} {line}")


def _as_typed() -> str:
    """This command as a shell finds it: by its name if that is on the path, else by its place from here."""
    own = Path(sys.executable).with_name("pricegrid")
    found = shutil.which("pricegrid")
    if found and Path(found).resolve() == own.resolve():
        return "pricegrid"
    if not own.exists():
        return f"{shlex.quote(sys.executable)} -m pricegrid.service.cli.main"
    with contextlib.suppress(ValueError):
        return shlex.quote(os.path.relpath(own) if own.is_relative_to(Path.cwd()) else str(own))
    return shlex.quote(str(own))


def _quote_basket(client: pricegrid.Client, dataset: DemoDataset, *, as_json: bool) -> None:
    lines = [pricegrid.Line(line.sku, parse_decimal(line.quantity), line.uom) for line in dataset.basket]
    result = client.quote_lines(
        dataset.customer_id, lines, branches=(dataset.branch,), as_of=dataset.as_of, timeout_s=30
    )
    if as_json:
        print_json_list(json_rows(lines, result))
        return
    rows = [
        (
            line.sku,
            decimal_text(line.quantity) + (f" {line.uom}" if line.uom else ""),
            unit_price_text(quoted.price.unit_price, result.currency, quoted.price.price_per)
            or quoted.price.status.value,
            *available_cells(quoted),
            asked.caption,
        )
        for asked, line, quoted in zip(dataset.basket, lines, result.lines, strict=True)
    ]
    print_table(["SKU", "QUANTITY", "UNIT PRICE", "FREE", "PROMISE", "WHY"], rows, right=(2, 3))
    _explain_one(client, dataset, lines, result)
    _promise_one(client, dataset, lines)


def _explain_one(
    client: pricegrid.Client, dataset: DemoDataset, lines: list[pricegrid.Line], result: pricegrid.QuoteResult
) -> None:
    prices = [line.price for line in result.lines]
    # A price that took some working out shows more than a net one.
    told = max(range(len(lines)), key=lambda i: (prices[i].floor_lifted, prices[i].converted))
    print(f"\n5. why {lines[told].sku} costs what it costs\n")
    explained = client.explain_price(
        dataset.customer_id, lines[told], branch=dataset.branch, as_of=dataset.as_of, timeout_s=30
    )
    print_waterfall(lines[told], explained)


def _promise_one(client: pricegrid.Client, dataset: DemoDataset, lines: list[pricegrid.Line]) -> None:
    """Promises more of a line than is free today, to where two branches deliver that know what they have."""
    from pricegrid.loaders.demo.stock import BRANCHES, STALE_BRANCH

    stale = {zone for branch in BRANCHES if branch.branch == STALE_BRANCH for zone, *_ in branch.zones}
    delivers = next(branch for branch in BRANCHES if branch.branch == dataset.branch)
    zone = next(zone for zone, *_ in delivers.zones if zone not in stale)
    ask = partial(
        client.promise_order,
        customer_id=dataset.customer_id,
        as_of=dataset.as_of,
        ship_to=zone,
        timeout_s=30,
    )
    everything = [pricegrid.Line(line.sku, EVERYTHING, line.uom) for line in lines]
    for line, all_of_it in zip(lines, ask(everything).lines, strict=True):
        days = sorted({part.pick_date for part in all_of_it.promised})
        if len(days) > 1:  # some is free now, more comes later
            total = sum(part.quantity for part in all_of_it.promised if part.pick_date <= days[1])
            uom = f" {line.uom}" if line.uom else ""
            print(
                f"\n6. {decimal_text(total)}{uom} of {line.sku} to {zone}: all that is free now and what comes next\n"
            )
            (promised,) = ask([pricegrid.Line(line.sku, total, line.uom)]).lines
            rows = [
                (
                    decimal_text(part.quantity),
                    part.branch,
                    *(day.isoformat() for day in (part.pick_date, part.ship_date, part.arrival_date)),
                )
                for part in promised.promised
            ]
            print_table(["PROMISED", "BRANCH", "PICK", "SHIP", "ARRIVE"], rows, right=(0,))
            sources = (promised.freshness.erp, promised.freshness.wms, promised.freshness.transit)
            told = zip(("ERP", "WMS", "transit"), map(age_text, sources), strict=True)
            print("\nstock as told by " + ", ".join(f"{name} {age}" for name, age in told))
            return


def _load(dataset: DemoDataset, store: Path) -> bool:
    """Publishes it, as `pricegrid load` does; whether that was possible."""
    from pricegrid.loaders.publish import run_load
    from pricegrid.service.cli.main import command_parser

    words = [str(dataset.directory), "--store", str(store), "--time-zone", dataset.time_zone, "--json"]
    told = io.StringIO()
    if run_load(command_parser("load").parse_args(words), out=told) != 0:
        print(told.getvalue(), file=sys.stderr)
        return False
    return True


@contextlib.contextmanager
def _server(store: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    """A server in a process of its own, as it would run for real, which waits for a snapshot; stopped at the end."""
    from pricegrid.loaders.store.snapshot import STORE_MODE

    options = ["--store", str(store), "--port", str(port), "--wait", str(LOAD_MAX_S), "--json"]
    store.mkdir(mode=STORE_MODE)
    # A session of its own: Ctrl-C is for us, and we stop it.
    with (
        _log_of(store).open("w", encoding="utf-8") as log,
        subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "pricegrid.service.cli.main", "serve", *options],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        ) as server,
    ):
        try:
            yield server
        finally:
            server.send_signal(signal.SIGTERM)
            try:
                server.wait(STOP_S)
            except subprocess.TimeoutExpired:
                server.kill()


def _log_of(store: Path) -> Path:
    return store / "serve.log"


def _ready(server: subprocess.Popen[str], store: Path) -> dict[str, object]:
    """What a server says when it answers."""
    line = server.stdout.readline() if server.stdout else ""
    if not line:
        raise RuntimeError(f"the server did not start; see {_log_of(store)}")
    ready: dict[str, object] = json.loads(line)
    return ready


def _make_room(directory: Path) -> None:
    """Makes the directory anew, if it is one of ours: a dataset and a store, nothing else."""
    if directory.exists():
        foreign = {path.name for path in directory.iterdir()} - {"dataset", "store"}
        if foreign:
            raise UsageError(
                f"{directory} holds {', '.join(sorted(foreign))}, not ours; choose another --dir"
            )
        shutil.rmtree(directory)
    directory.mkdir(parents=True)

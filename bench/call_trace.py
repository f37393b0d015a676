"""What a call passes on its way: files, calls, moves between files; and how deep imports go within a folder.

    python -m bench.call_trace [--json] [--store DIR]

Each call goes from its bytes to the bytes of its answer, through the handler that gRPC calls, over a small store that
is made up for it. It is done three times and the last is traced: what the others fill (windows, memos) stays
filled. A *call* is one of a function of ours, comprehensions being part of theirs. A *move* is a call from a function
of ours in another file. Of a compiled kernel the call from Python counts, and its file is counted apart; what it calls
in turn does not show. *Levels* of a folder are its modules that import one another in a row while they are imported.
"""

import argparse
import ast
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from pricegrid.service.process.kernel_cache import use_kernel_cache

PACKAGES = ("atp", "cache", "columnar", "erp", "loaders", "pricing_engine", "service")
ROOT = Path(__file__).parent.parent
_PARTS_OF_FUNCTIONS = frozenset({"<listcomp>", "<genexpr>", "<dictcomp>", "<setcomp>", "<lambda>"})


class Trace(NamedTuple):
    """What one call passed."""

    files: list[str]
    """Of Python, in the order in which they were first entered, relative to the repository."""
    kernels: list[str]
    """Other files, of which compiled functions were called."""
    calls: int
    moves: int


class _Tracer:
    """A profile function that notes the calls of our functions."""

    def __init__(self) -> None:
        self._own: dict[str, str] = {}
        self._files: dict[str, None] = {}
        self._kernels: dict[str, None] = {}
        self._calls = self._moves = 0

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        if event != "call" or frame.f_code.co_name in _PARTS_OF_FUNCTIONS:
            return
        file = self._file_of(frame)
        if not file:
            return
        is_kernel = (
            "__name__" not in frame.f_globals
        )  # numba shows a compiled call by a frame without a module
        (self._kernels if is_kernel else self._files)[file] = None
        self._calls += 1
        caller = frame.f_back
        while caller is not None and not self._file_of(caller):
            caller = caller.f_back
        if caller is not None and self._file_of(caller) != file:
            self._moves += 1

    def _file_of(self, frame: FrameType) -> str:
        """The file of a frame's function relative to the repository; '' if it is not ours."""
        path = frame.f_code.co_filename
        if path not in self._own:
            found = Path(path).resolve()
            inside = found.is_relative_to(ROOT) and found.relative_to(ROOT).parts[0] in PACKAGES
            self._own[path] = str(found.relative_to(ROOT)) if inside else ""
        return self._own[path]

    def trace(self) -> Trace:
        kernels = [file for file in self._kernels if file not in self._files]
        return Trace(list(self._files), kernels, self._calls, self._moves)


def trace(call: Callable[[], object]) -> Trace:
    """What a call passes in this thread."""
    tracer = _Tracer()
    sys.setprofile(tracer)
    try:
        call()
    finally:
        sys.setprofile(None)
    return tracer.trace()


# -- calls ------------------------------------------------------------------------------------------------------------


class _Context:
    """What handlers ask of gRPC's side of a call."""

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return ()

    def time_remaining(self) -> float:
        return 1e10

    def set_trailing_metadata(self, _: object) -> None:
        pass

    def abort(self, code: object, details: str) -> None:
        raise AssertionError(f"refused: {code} {details}")


@contextlib.contextmanager
def open_calls(folder: Path) -> Iterator[dict[str, Callable[[], object]]]:
    """The calls by name, over a store in `folder`, which is made if it is not there."""
    import polars as pl

    from pricegrid import v1

    if not (folder / "store").exists():
        _make_store(folder)
    with _handlers(folder / "store") as (call, live):
        dataset = folder / "dataset"
        items = pl.read_csv(dataset / "items.csv", infer_schema=False)["sku"].to_list()
        kit = pl.read_csv(dataset / "kits.csv", infer_schema=False)["kit_sku"][0]
        branches = pl.read_csv(dataset / "branches.csv", infer_schema=False)["branch"].to_list()[:2]
        kits = set(pl.read_csv(dataset / "kits.csv", infer_schema=False)["kit_sku"])
        plain = next(sku for sku in items if sku not in kits)

        def quote(*skus: str) -> bytes:
            lines = [v1.PriceLine(sku=sku, quantity_micros=1_000_000) for sku in skus]
            raw: bytes = v1.QuoteLinesRequest(
                lines=lines, currency="EUR", branches=branches
            ).SerializeToString()
            return raw

        numbers = iter(range(1, 1_000_000))

        def reserve() -> object:
            line = v1.ReserveLine(sku=plain, quantity_micros=1_000_000, branch=branches[0])
            raw = v1.ReserveRequest(
                idempotency_key=f"trace-{next(numbers)}", lines=[line]
            ).SerializeToString()
            return call(v1.AVAILABILITY_SERVICE, "Reserve")(raw)

        yield {
            "quote, general path": lambda: call(v1.QUOTE_SERVICE, "QuoteLines")(quote(plain, kit)),
            "quote, fast path": lambda: call(v1.QUOTE_SERVICE, "QuoteLines")(quote(plain)),
            "inventory event": lambda: call(v1.INVENTORY_FEED_SERVICE, "PublishEvents")(
                iter([_event(plain, branches[0], next(numbers))])
            ),
            "inventory event of a Redis stream": lambda: _entry(
                live, _event_fields(plain, branches[0], next(numbers))
            ),
            "reservation": reserve,
            "price entry at load": partial(_load_entry, folder, plain, numbers),
        }


def _event(sku: str, branch: str, sequence: int) -> bytes:
    from pricegrid import v1

    event = v1.InventoryEvent(
        source=1, sequence=sequence, effective_us=time.time_ns() // 1000, measure=1, kind=1, sku=sku,
        branch=branch, quantity_micros=10_000_000,
    )  # fmt: skip
    raw: bytes = v1.PublishEventsRequest(events=[event]).SerializeToString()
    return raw


def _event_fields(sku: str, branch: str, sequence: int) -> Mapping[bytes, bytes]:
    event = {
        "source": "erp", "sequence": sequence, "effective_time": "2026-01-15T12:00:00Z", "measure": "on_hand",
        "kind": "set", "sku": sku, "branch": branch, "quantity": "10",
    }  # fmt: skip
    return {b"event": json.dumps(event).encode()}


def _entry(live: Any, fields: Mapping[bytes, bytes]) -> object:
    """What a consumer does with an entry between reading and acknowledging it."""
    from pricegrid.service.live import event_stream

    if hasattr(event_stream, "read_entries"):
        return live.publish_events(*event_stream.read_entries([fields]))
    return live.publish(event_stream.request_of([fields]))


def _make_store(folder: Path) -> None:
    from pricegrid.loaders.demo.dataset import CUSTOMERS_MIN, ITEMS_MIN, generate

    dataset = generate(folder / "dataset", items=2 * ITEMS_MIN, customers=CUSTOMERS_MIN)
    _load(dataset.directory, folder / "store", dataset.time_zone)


def _load(directory: Path, store: Path, time_zone: str, *, delta: bool = False) -> None:
    from pricegrid.loaders.publish import LoadJob, load
    from pricegrid.loaders.report import Progress

    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        load(
            LoadJob(directory, store, time_zone=time_zone, delta=delta, force=delta),
            progress=Progress(nowhere),
        )


def _load_entry(folder: Path, sku: str, numbers: Iterator[int]) -> None:
    """A delta of one price."""
    import polars as pl

    from pricegrid.loaders.demo.dataset import TIME_ZONE

    entries = pl.read_csv(folder / "dataset" / "price_entries.csv", infer_schema=False)
    changes = folder / "changes"
    changes.mkdir(exist_ok=True)
    one = entries.filter(pl.col("sku") == sku).head(1).with_columns(value=pl.lit(f"{next(numbers)}"))
    one.write_csv(changes / "price_entries.csv")
    _load(changes, folder / "store", TIME_ZONE, delta=True)


@contextlib.contextmanager
def _handlers(store: Path) -> Iterator[tuple[Callable[[str, str], Callable[[Any], object]], Any]]:
    """(service and method to its handler, live state) over a store, in one process."""
    from pricegrid.atp.live.positions import LiveWriter
    from pricegrid.cache.embedded import EmbeddedStateCache
    from pricegrid.pricing_engine.model import ExceptionPolicy
    from pricegrid.service.clock import now_us
    from pricegrid.service.limits import LIVE_PAIRS, LIVE_WORDS
    from pricegrid.service.live.state import LiveState
    from pricegrid.service.methods.live import live_methods
    from pricegrid.service.process.bootstrap import open_snapshot_engines
    from pricegrid.service.process.snapshots import SnapshotHolder
    from pricegrid.service.rpc.handlers import Handlers
    from pricegrid.service.rpc.metrics import NoMetrics
    from pricegrid.service.rpc.overload import Queue
    from pricegrid.service.rpc.services import services

    loaded, _ = open_snapshot_engines(store, None, ExceptionPolicy(), verify=False)
    assert loaded.availability is not None
    with tempfile.TemporaryDirectory() as name, contextlib.closing(EmbeddedStateCache(Path(name))) as cache:
        live = LiveState(
            cache,
            loaded.availability,
            loaded.version,
            loaded.created_at_us,
            lambda grown: LiveWriter.in_memory(LIVE_PAIRS << grown, LIVE_WORDS << grown),
            now_us,
        )
        holder = SnapshotHolder(loaded, lambda _: loaded)
        handlers = Handlers(services(holder, now_us, live=live_methods(live, now_us)), NoMetrics(), Queue())
        context: Any = _Context()
        yield lambda service, method: lambda raw: handlers.call(service, method)(raw, context), live


def measure(folder: Path) -> dict[str, Trace]:
    """The trace of each call."""
    with open_calls(folder) as calls:
        found = {}
        for name, call in calls.items():
            call()
            call()
            found[name] = trace(call)
        return found


# -- imports ----------------------------------------------------------------------------------------------------------


def levels() -> dict[str, int]:
    """The most modules of each folder that import one another in a row; folders without any are left out."""
    found = {}
    for package in PACKAGES:
        for folder in sorted({path.parent for path in (ROOT / package).rglob("*.py")}):
            modules = {path.stem: _imported(path) for path in folder.glob("*.py") if path.stem != "__init__"}
            deepest = max((_depth(name, modules, ()) for name in modules), default=0)
            if deepest:
                found[str(folder.relative_to(ROOT))] = deepest
    return found


def _depth(name: str, modules: Mapping[str, set[str]], above: tuple[str, ...]) -> int:
    below = [other for other in modules[name] if other in modules and other not in (*above, name)]
    return 1 + max((_depth(other, modules, (*above, name)) for other in below), default=0)


def _imported(path: Path) -> set[str]:
    """The modules of the same folder that a module imports when it is itself imported."""
    own = ".".join(("pricegrid", *path.relative_to(ROOT).parent.parts))
    found: set[str] = set()
    for node in ast.parse(
        path.read_text(encoding="utf-8")
    ).body:  # not under `if TYPE_CHECKING`, not in functions
        if isinstance(node, ast.Import):
            found |= {alias.name.removeprefix(f"{own}.") for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module == own:
                found |= {alias.name for alias in node.names}
            found.add(node.module.removeprefix(f"{own}."))
    return found


# -- the command ------------------------------------------------------------------------------------------------------


def table(traces: Mapping[str, Trace], depths: Mapping[str, int]) -> str:
    """Both as Markdown."""
    rows = [
        f"| {name} | {len(t.files)} | {len(t.kernels)} | {t.calls} | {t.moves} |"
        for name, t in traces.items()
    ]
    deep = ", ".join(
        f"`{name}/` {depth}" for name, depth in sorted(depths.items(), key=lambda each: -each[1])
    )
    return "\n".join(
        [
            "| call | files | kernels | calls | moves |",
            "|---|---|---|---|---|",
            *rows,
            "",
            f"Levels of imports: {deep}.",
        ]
    )


def main() -> None:
    """The command."""
    use_kernel_cache(os.environ)
    parser = argparse.ArgumentParser(prog="python -m bench.call_trace", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print numbers and files as JSON")
    parser.add_argument("--store", type=Path, help="a folder to keep the made-up store in, and use it again")
    asked = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = asked.store or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        traces, depths = measure(folder), levels()
    if asked.json:
        document = {"calls": {name: t._asdict() for name, t in traces.items()}, "levels": depths}
        sys.stdout.write(json.dumps(document, indent=1) + "\n")
    else:
        sys.stdout.write(table(traces, depths) + "\n")


if __name__ == "__main__":
    main()

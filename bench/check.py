"""A profile of a minute for continuous integration: fails if a ratio is far out of line.

`bench/check.py` measures a few ratios on a hundred thousand items and compares them with `bench/bounds.py`: server CPU
a call beside an echo of the same bytes, the price kernel and availability beside `np.take`, services from request
bytes to answer bytes beside the protobuf runtime, cost as cells grow, bytes a cell. Absolute times decide nothing.

It has to hold on a busy machine, so all times are CPU times. In process a thing and its floor are timed in turn, in
blocks of some milliseconds, and the least median of each counts, for a disturbance only ever makes a block slower. Over
gRPC it is the CPU time of the server, and the median of the rounds. What is beyond its bound is measured once more
before it fails, and the lower ratio counts.
"""

import argparse
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if (
    __name__ == "__main__"
):  # run as a script, from anywhere: `bench` is a folder of the repository, not installed
    sys.path[0] = str(ROOT)

from pricegrid.service.process.kernel_cache import use_kernel_cache  # noqa: E402

use_kernel_cache(os.environ)  # before any kernel is imported

import numpy as np  # noqa: E402

from bench import datasets as data  # noqa: E402
from bench import kernel, loads, rpc  # noqa: E402
from bench.bounds import BOUNDS, Bound  # noqa: E402
from bench.measure import Figure, figure, median_us  # noqa: E402
from pricegrid import v1  # noqa: E402
from pricegrid.atp.model import CheckAsk  # noqa: E402
from pricegrid.loaders.compile.prices import compile_prices  # noqa: E402
from pricegrid.loaders.store.snapshot import open_snapshot  # noqa: E402
from pricegrid.pricing_engine.engine import PriceEngine  # noqa: E402
from pricegrid.pricing_engine.model import MICROS, ExceptionPolicy  # noqa: E402
from pricegrid.service.methods.pricing import PricingService  # noqa: E402
from pricegrid.service.methods.quotes import QuoteService  # noqa: E402
from pricegrid.service.process.bootstrap import load_snapshot  # noqa: E402
from pricegrid.service.process.snapshots import LoadedSnapshot, SnapshotHolder  # noqa: E402
from pricegrid.service.rpc.call import Caller  # noqa: E402
from pricegrid.service.transport.choice import TRANSPORTS  # noqa: E402

SIZE = "QUOTES_TENTH"
SMALL = data.Size(items=10_000, class_entries=200, customers=100, contract_entries=20)
ROUNDS = 7

Calls = Iterable[Callable[[], object]]
Measure = Callable[[], list[Figure]]


def in_turn(
    ours: Callable[[], Calls], floor: Callable[[], Calls], rounds: int = ROUNDS
) -> tuple[float, float]:
    """The least of the blocks' medians in µs of CPU, of each; a block of one, a block of the other."""
    clock_ns = time.process_time_ns
    blocks = [(median_us(ours(), clock_ns), median_us(floor(), clock_ns)) for _ in range(rounds)]
    return min(us for us, _ in blocks), min(us for _, us in blocks)


class World:
    """A published store of `SIZE`, and what is measured in it."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._size = folder, getattr(data, SIZE)
        self._store = loads.publish(SIZE, folder / SIZE)
        self._loaded = load_snapshot(self._store, None, ExceptionPolicy())
        self._questions = kernel.Questions(self._size, seed=7)
        self._rng = np.random.default_rng(8)

    def measures(self) -> list[Measure]:
        """Everything, in groups that can be measured again by themselves."""
        return [
            self.over_grpc,
            self.kernels,
            self.services,
            self.availability,
            self.growth,
            self.bytes_a_cell,
        ]

    def over_grpc(self) -> list[Figure]:
        """CPU time of the server a quote, beside an echo."""
        made = [
            figure
            for transport in TRANSPORTS
            for figure in rpc.measure(
                rpc.QUOTE_LINES, self._size, self._store, self._folder, 3, 0.4, transport
            )
        ]
        return [each for each in made if each.name in BOUNDS]

    def kernels(self) -> list[Figure]:
        """The price kernel beside `np.take`."""
        engine = self._loaded.engine
        arrays = dict(open_snapshot(self._store, verify=False).arrays)
        made = []
        for kind in ("list", "mixed"):
            reached, floor = in_turn(
                lambda kind=kind: [
                    kernel.kernel_call(engine, self._questions.ask(1000, kind)) for _ in range(15)
                ],
                lambda: kernel.take_calls(arrays, 1000, 50, self._rng),
            )
            made.append(figure(f"kernel, {kind}, 1,000 lines", "", reached, floor, "np.take", "µs"))
        return made

    def services(self) -> list[Figure]:
        """From request bytes to answer bytes, beside the protobuf runtime."""
        holder, caller = SnapshotHolder(self._loaded, self._same), Caller("check")
        prices, quotes = (
            PricingService(holder, lambda: data.AS_OF_US),
            QuoteService(holder, lambda: data.AS_OF_US),
        )
        price_types = (v1.PriceLinesRequest, v1.PriceLinesResponse)
        quote_types = (v1.QuoteLinesRequest, v1.QuoteLinesResponse)
        branches = data.branch_names(self._size)[:1]
        made = []
        for name, lines, answer, (request, response) in (
            ("PriceLines", 1, prices.price_lines, price_types),
            ("PriceLines", 1000, prices.price_lines, price_types),
            ("QuoteLines", 1000, quotes.quote_lines, quote_types),
        ):
            asks = [self._questions.ask(lines, "mixed") for _ in range(15 if lines > 1 else 200)]
            raws = [
                kernel.request_bytes(ask) if name == "PriceLines" else kernel.quote_bytes(ask, branches)
                for ask in asks
            ]
            answers = [response.FromString(answer(raw, caller).raw) for raw in raws]
            reached, floor = in_turn(
                lambda raws=raws, answer=answer: [partial(answer, raw, caller) for raw in raws],
                lambda raws=raws, answers=answers, request=request: [
                    partial(_read_and_write, request, raw, message)
                    for raw, message in zip(raws, answers, strict=True)
                ],
            )
            what = f"{name} in process, {lines:,} line{'s' if lines > 1 else ''}"
            made.append(figure(what, "", reached, floor, "the protobuf runtime, same messages", "µs"))
        return made

    def availability(self) -> list[Figure]:
        """Availability of 1,000 pairs, beside `np.take`."""
        engine, rng = self._loaded.availability, self._rng
        if engine is None:
            raise AssertionError("the store has no positions")
        on_hand, count = rng.integers(0, 10**9, self._size.items * self._size.branches), 1_000
        skus, branch = [sku.encode() for sku in data.item_skus(self._size)], data.branch_names(self._size)[0]

        def asked() -> CheckAsk:
            chosen = [skus[place] for place in rng.integers(0, len(skus), count).tolist()]
            return CheckAsk(data.AS_OF_US, chosen, np.full(count, MICROS), [b""] * count, (branch.encode(),))

        reached, floor = in_turn(
            lambda: [partial(engine.check, asked()) for _ in range(9)],
            lambda: [partial(np.take, on_hand, rng.integers(0, len(on_hand), count)) for _ in range(50)],
        )
        return [figure("availability of 1,000 pairs", "", reached, floor, "np.take", "µs")]

    def growth(self) -> list[Figure]:
        """The kernel in a world of ten times as much as a small one."""
        small, questions = PriceEngine(compile_prices(data.frames(SMALL))), kernel.Questions(SMALL, seed=7)
        reached, floor = in_turn(
            lambda: [
                kernel.kernel_call(self._loaded.engine, self._questions.ask(1000, "mixed")) for _ in range(15)
            ],
            lambda: [kernel.kernel_call(small, questions.ask(1000, "mixed")) for _ in range(15)],
        )
        return [figure("cost a line, ten times the cells", "", reached, floor, "a tenth of the cells", "µs")]

    @staticmethod
    def bytes_a_cell() -> list[Figure]:
        """Counted, on a list of one break."""
        list_only = data.Size(items=100_000, class_entries=0, customers=10, contract_entries=0, breaks=False)
        return [each for each in kernel.bytes_a_cell(list_only) if each.name in BOUNDS]

    def _same(self, _: str) -> LoadedSnapshot:
        return self._loaded


def _read_and_write(request: type[v1.PriceLinesRequest], raw: bytes, answer: v1.PriceLinesResponse) -> bytes:
    request.FromString(raw)
    written: bytes = answer.SerializeToString()
    return written


def judge(
    measures: Iterable[Measure], bounds: Mapping[str, Bound], say: Callable[[str], None] = print
) -> list[str]:
    """What is wrong, in words: a ratio beyond its bound twice, one that has none, a bound that nothing was held to."""
    wrong, seen = [], set()
    for measure in measures:
        least = {each.name: each for each in measure()}
        if any(_is_beyond(each, bounds) for each in least.values()):
            say("  beyond a bound, so once more:")
            for each in measure():
                least[each.name] = min(each, least[each.name], key=_ratio)
        for name, each in least.items():
            seen.add(name)
            if name not in bounds:
                wrong.append(f"{name}: has no bound in bench/bounds.py")
                continue
            said = f"{name}: {_ratio(each):.2f}× of {each.floor_is}, at most {bounds[name].ratio_max:.2f}×"
            say(f"  {said}")
            if _is_beyond(each, bounds):
                wrong.append(f"{said} (usual {bounds[name].usual:g}×)")
    wrong.extend(f"{name}: was not measured" for name in bounds if name not in seen)
    return wrong


def _ratio(each: Figure) -> float:
    """Infinite if there is none."""
    return math.inf if each.ratio is None or math.isnan(each.ratio) else each.ratio


def _is_beyond(each: Figure, bounds: Mapping[str, Bound]) -> bool:
    return each.name in bounds and _ratio(each) > bounds[each.name].ratio_max


def check(measures: Iterable[Measure], bounds: Mapping[str, Bound]) -> int:
    """The exit code: 1 if anything is far out of line, which is said last."""
    begin = time.perf_counter()
    wrong = judge(measures, bounds)
    print(f"{len(bounds)} ratios in {time.perf_counter() - begin:.0f} s", flush=True)
    for each in wrong:
        print(f"far out of line: {each}", file=sys.stderr)
    return 1 if wrong else 0


def main() -> int:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    with tempfile.TemporaryDirectory(prefix="pricegrid-check-") as folder:
        return check(World(Path(folder)).measures(), BOUNDS)


if __name__ == "__main__":
    sys.exit(main())

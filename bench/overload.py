"""What a worker does when far more is asked than it can answer.

    python -m bench.overload [--transport http2] [--lines 1000] [--seconds 60] [--factors 2 5 10]

`pricegrid serve --workers 1` is pinned to one core, the load to another. First the knee: how many calls a second are
answered with 32 in flight. Then, for each factor, so many times as many are begun a second, whatever becomes of the
others (an open loop), on connections enough that none waits for another. What counts: answers a second beside the knee
(goodput), how long a refusal takes, how many calls found no stream free, and how long after the end a single call takes
no longer than before.
"""

import argparse
import json
import os
import select
import tempfile
import time
from pathlib import Path

import numpy as np

from bench import datasets as data
from bench import loads, rpc
from bench.http2_load import Connection, Record, run
from bench.kernel import Questions
from pricegrid.service.process.kernel_cache import use_kernel_cache

STREAMS = 120
"""Calls on a connection, of the 128 that a server lets be under way."""
CONNECTIONS = 24
KNEE_S = 5.0
TICK_S = 0.001
PAUSE_S = 3.0
"""After which the flood before is over for the server too: the knee is of answers."""
NORMAL = 2.0
"""A call takes no longer than so many times what it took before."""


class Load:
    """Connections on which calls are begun at a rate."""

    def __init__(self, address: str, path: str, messages: list[bytes]) -> None:
        self._all = [Connection(address, path, messages) for _ in range(CONNECTIONS)]
        self._open = [0] * CONNECTIONS
        self._out = [bytearray() for _ in self._all]
        self._begun: list[dict[int, float]] = [{} for _ in self._all]
        self.started = self.no_stream = self.answered = 0
        self.refused_s: list[float] = []
        for each in self._all:
            each.record = Record()

    def begin(self, calls: int) -> None:
        """Begins calls on the connections that have most streams free."""
        for _ in range(calls):
            at = min(range(CONNECTIONS), key=self._open.__getitem__)
            if self._open[at] >= STREAMS:
                self.no_stream += 1
                continue
            connection = self._all[at]
            self._begun[at][connection._next_stream] = time.perf_counter()  # noqa: SLF001 -- of this folder
            connection.start(1, self._out[at])
            self._open[at] += 1
            self.started += 1

    def turn(self, wait_s: float) -> None:
        """Sends and receives what there is."""
        for connection, out in zip(self._all, self._out, strict=True):
            connection.flush(out)
            out.clear()
        ready, _, _ = select.select(self._all, [], [], wait_s)
        for connection in ready:
            at = self._all.index(connection)
            self._out[at] += connection.receive()
            record = connection.record
            assert record is not None
            for stream, ended_s in record.ended_s.items():
                begun_s = self._begun[at].pop(stream, None)
                if begun_s is None:  # it was refused before, and is closed now
                    continue
                self._open[at] -= 1
                if record.answers.pop(stream, None):
                    self.answered += 1
                else:
                    self.refused_s.append(ended_s - begun_s)
            record.ended_s.clear()

    def run(self, rate: float, seconds: float) -> None:
        """Begins so many calls a second."""
        begin_s = time.perf_counter()
        while (gone_s := time.perf_counter() - begin_s) < seconds:
            self.begin(int(rate * gone_s) - self.started - self.no_stream)
            self.turn(TICK_S)

    def drain(self, seconds: float) -> None:
        """Waits for what is under way."""
        ends_s = time.perf_counter() + seconds
        while sum(self._open) and time.perf_counter() < ends_s:
            self.turn(0.01)


def single_s(connection: Connection, calls: int = 30) -> float:
    """The median time of calls one after the other."""
    times = []
    for _ in range(calls):
        began_s = time.perf_counter()
        connection.call()
        times.append(time.perf_counter() - began_s)
    return float(np.median(times))


def measure(
    address: str, path: str, messages: list[bytes], factor: float, seconds: float
) -> dict[str, float]:
    """One factor, after a knee of its own: a machine is not equally fast for long."""
    time.sleep(PAUSE_S)
    quiet = Connection(address, path, messages)
    before_s = single_s(quiet)
    closed = run(Connection(address, path, messages), KNEE_S, 32)
    knee = closed["calls"] / closed["seconds"]
    load = Load(address, path, messages)
    load.run(knee * factor, seconds)
    goodput = load.answered / seconds
    ended_s = time.perf_counter()
    load.drain(10.0)
    while single_s(quiet, 5) > NORMAL * before_s and time.perf_counter() - ended_s < 60:
        pass
    refused_ms = np.array(load.refused_s or [0.0]) * 1e3
    return {
        "factor": factor,
        "knee_per_s": round(knee),
        "begun_per_s": round(load.started / seconds),
        "no_stream_free": load.no_stream,
        "goodput_of_knee": round(goodput / knee, 3),
        "refused": len(load.refused_s),
        "refusal_ms_p50": round(float(np.median(refused_ms)), 2),
        "refusal_ms_p99": round(float(np.quantile(refused_ms, 0.99)), 2),
        "normal_after_s": round(time.perf_counter() - ended_s, 2),
    }


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--transport", default="http2")
    parser.add_argument("--lines", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--factors", type=float, nargs="+", default=[2, 5, 10])
    args = parser.parse_args()
    use_kernel_cache(os.environ)
    size, method = data.QUOTES_TENTH, rpc.QUOTE_LINES
    questions = Questions(size, seed=6)
    server_core, load_core = rpc.cores()
    with tempfile.TemporaryDirectory() as folder:
        store = loads.publish("QUOTES_TENTH", Path(folder) / "store")
        messages = [method.request(size, questions.ask(args.lines, "mixed")) for _ in range(200)]
        with rpc.pricegrid_server(store, server_core, args.transport) as (address, _), rpc.on_core(load_core):
            for factor in args.factors:
                found = measure(address, method.path, messages, factor, args.seconds)
                print(json.dumps({"transport": args.transport, "lines": args.lines, **found}), flush=True)


if __name__ == "__main__":
    main()

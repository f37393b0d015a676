"""One window of the swap measurement, in a process of its own: calls at random instants, each answer checked.

`python -m bench.swap_load HOST:PORT PATH FOLDER RATE SECONDS CORE SEED` prints one JSON object. FOLDER holds `requests`
(of `bench.http2_load`), `versions.json` and `prices.npy`, (versions, requests, lines) int64 micros: what each version
says. Calls begin when they are due, by a Poisson process, whatever came of those before; the time of a call counts
from when it was due, so that a server that stands still is not asked less. Answers are kept and checked at the end.
"""

import json
import os
import select
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.http2_load import Connection, Record, read_messages
from pricegrid import v1

_LAST_ANSWER_S = 20.0


def paced(connection: Connection, due_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Begins a call at each of the instants (seconds from now) and returns when each was due on the clock."""
    assert connection.record is not None
    begin = time.perf_counter()
    due, out, begun = (due_s + begin).tolist(), bytearray(), 0
    while len(connection.record.ended_s) < len(due):
        now = time.perf_counter()
        if now > due[-1] + _LAST_ANSWER_S:
            break
        ready = begun
        while ready < len(due) and due[ready] <= now:
            ready += 1
        connection.start(ready - begun, out)
        begun = ready
        connection.flush(out)
        out = bytearray()
        pause = max(0.0, due[begun] - time.perf_counter()) if begun < len(due) else _LAST_ANSWER_S
        if select.select([connection], [], [], pause)[0]:
            out = connection.receive()
    return np.array(due)


def check(record: Record, calls: int, versions: list[str], prices: NDArray[np.int64]) -> dict[str, Any]:
    """Failed calls, answers that are not as one version alone says, and how many answers came from each version."""
    failed = mixed = 0
    seen: Counter[str] = Counter()
    place = {version: at for at, version in enumerate(versions)}
    for call in range(calls):
        raw = bytes(record.answers.get(2 * call + 1, b""))[5:]
        if not raw:
            failed += 1
            continue
        answer = v1.QuoteLinesResponse.FromString(raw)
        seen[answer.snapshot_version] += 1
        got = [result.price.unit_price_micros for result in answer.results]
        said = prices[place[answer.snapshot_version], call % prices.shape[1]].tolist()
        mixed += got != said
    return {"failed": failed, "mixed": mixed, "versions": dict(seen)}


def main() -> None:
    address, path, folder, rate, seconds, core, seed = sys.argv[1:]
    os.sched_setaffinity(0, {int(core)})
    rng = np.random.default_rng(int(seed))
    due = np.cumsum(rng.exponential(1 / float(rate), int(float(rate) * float(seconds))))
    connection = Connection(address, path, read_messages(Path(folder) / "requests"))
    connection.record = record = Record()
    cpu, begin = time.process_time(), time.perf_counter()
    due = paced(connection, due)
    client = (time.process_time() - cpu) / (time.perf_counter() - begin)
    ended = np.array([record.ended_s.get(2 * call + 1, np.inf) for call in range(len(due))])
    p50, p99, p999, most = np.quantile((ended - due) * 1000, [0.5, 0.99, 0.999, 1.0], method="higher")
    versions = json.loads((Path(folder) / "versions.json").read_text())
    checked = check(record, len(due), versions, np.load(Path(folder) / "prices.npy"))
    times = {"p50_ms": p50, "p99_ms": p99, "p999_ms": p999, "max_ms": most}
    print(json.dumps({"calls": len(due), **checked, **times, "client": client}))


if __name__ == "__main__":
    main()

"""A store that answers a small question without compiled kernels: the same services over the references.

A command that asks for a few lines and ends takes longer to import numba and fetch kernels than the references take to
answer. The methods, the checks of a request and the errors are those of a server; what differs is who resolves a line
(`PriceEngine`, `AvailabilityEngine` with `by_reference`) and who writes the answer (`codec.plain_writer`).
"""

from __future__ import annotations

import contextlib
import enum
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pricegrid.service.process.interpreted import ORDERS_LOADS, interpret_kernels

if TYPE_CHECKING:
    from pricegrid import Client
    from pricegrid.pricing_engine.model import ExceptionPolicy
    from pricegrid.service.process.snapshots import LoadedSnapshot

PAIRS_MAX: Final = 50
"""Lines times branches of a question that is small: of the demo each takes about 3 ms, and kernels 0.7 s to fetch."""


class LiveState(enum.Enum):
    """What there is of live state in a store, for who only reads it."""

    NONE = enum.auto()
    """No server has kept any: the snapshot says it all."""
    FOLLOWED = enum.auto()
    """A server is at work, and shows it; or one was, and nobody may write here: then all is STALE."""
    KEPT = enum.auto()
    """It is kept and nobody shows it: to work it out takes kernels."""


def is_small(store: Path, lines: int, branches: int | None, version: str | None = None) -> bool:
    """Whether the references should answer so many lines at so many branches from a store; takes numba's place then.

    `branches` is None for all that the snapshot `version` has (None: the active one).
    """
    if lines * (_branches_of(store, version) if branches is None else branches) > PAIRS_MAX:
        return False
    live = live_state(store)
    if live is LiveState.KEPT or (live is LiveState.FOLLOWED and not ORDERS_LOADS):
        return False
    return interpret_kernels()


def _branches_of(store: Path, version: str | None) -> int:
    """How many branches a snapshot has; 0 if it can't be told: who opens it says why."""
    from pricegrid.loaders.errors import SnapshotError
    from pricegrid.loaders.store.snapshot import current_version, read_manifest, snapshot_folder

    with contextlib.suppress(SnapshotError):
        folder = snapshot_folder(store, current_version(store) if version is None else version)
        return int(read_manifest(folder).get("counts", {}).get("branches", 0))
    return 0


def live_state(store: Path) -> LiveState:
    """Looks without becoming the writer: a lock that can be shared is free."""
    directory = store / "live"
    if not directory.is_dir():
        return LiveState.NONE
    if not os.access(directory, os.W_OK) or _is_written(directory / "writer.lock"):
        return LiveState.FOLLOWED
    return LiveState.KEPT if _has_records(directory / "state.sqlite") else LiveState.NONE


def _is_written(lock: Path) -> bool:
    try:
        with lock.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _has_records(database: Path) -> bool:
    """Whether a state cache holds anything; True where it can't be asked, so that who opens it says why."""
    import sqlite3

    if not database.exists():
        return False
    try:
        with contextlib.closing(
            sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)
        ) as asked:
            return bool(asked.execute("SELECT EXISTS (SELECT 1 FROM record)").fetchone()[0])
    except sqlite3.Error:
        return True


@contextlib.contextmanager
def plain_store_client(store: Path, policy: ExceptionPolicy) -> Iterator[Client]:
    """A client that answers questions about prices and availability as that of `in_process.store_client` does.

    Raises `SnapshotError`. The files of the snapshot are compared with their hashes; that its arrays hold what kernels
    take for granted, which check no bounds, is not looked at: here every index is checked when it is used.
    """
    import numpy as np

    from pricegrid import Client, v1
    from pricegrid.erp.operator_flags import OperatorFlags
    from pricegrid.service.clock import now_us
    from pricegrid.service.erp_overlay.flags import Flagging
    from pricegrid.service.methods.availability import AvailabilityService
    from pricegrid.service.methods.other_names import taking_names
    from pricegrid.service.methods.pricing import PricingService
    from pricegrid.service.methods.quotes import QuoteService
    from pricegrid.service.process.bootstrap import plain_snapshot, refusing_unknown
    from pricegrid.service.process.snapshots import SnapshotHolder
    from pricegrid.service.rpc.call import Method
    from pricegrid.service.rpc.in_process import InProcessChannel

    shown = _shown_live(store)
    holder = SnapshotHolder(
        shown(plain_snapshot(store, None, policy)),
        refusing_unknown(lambda version: shown(plain_snapshot(store, version, policy))),
    )
    flagging = Flagging(OperatorFlags(store))
    taking = taking_names(holder, now_us)
    pricing = PricingService(holder, now_us, flagging=flagging, taking_names=taking)
    quotes = QuoteService(holder, now_us, flagging=flagging, taking_names=taking)
    stock = AvailabilityService(holder, now_us)
    offered: dict[str, dict[str, Method]] = {
        v1.PRICING_SERVICE: {
            "PriceLines": pricing.price_lines,
            "ExplainPrice": taking("ExplainPrice", pricing.explain_price),
        },
        v1.QUOTE_SERVICE: {"QuoteLines": quotes.quote_lines},
        v1.AVAILABILITY_SERVICE: {
            "CheckAvailability": taking("CheckAvailability", stock.check_availability),
            "PromiseOrder": taking("PromiseOrder", stock.promise_order),
        },
    }
    # kernels hash by products that leave 64 bits, which NumPy would warn of
    with np.errstate(over="ignore"), Client(channel=InProcessChannel(offered, service_desk=True)) as client:
        yield client


def _shown_live(store: Path) -> Callable[[LoadedSnapshot], LoadedSnapshot]:
    """What joins a snapshot with the live positions that a server shows."""
    if live_state(store) is not LiveState.FOLLOWED:
        return lambda loaded: loaded
    from pricegrid.service.live.reader import OnDemandReader, reading

    return lambda loaded: reading(store, loaded, OnDemandReader)

"""Composition root: joins the snapshot store and the price engine to something that answers."""

import contextlib
import mmap
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from loaders.errors import NoSnapshotError, SnapshotError
from loaders.snapshot import Snapshot, open_snapshot
from pricing_engine.engine import PriceAsk, PriceEngine
from pricing_engine.errors import PricingError
from pricing_engine.model import MICROS, ExceptionPolicy
from service.errors import Reason, RequestRefusedError
from service.instants import created_at_us
from service.snapshots import LoadedSnapshot

_MADV_POPULATE_READ = 22  # Linux 5.14; not in the mmap module before Python 3.13
_VERSION = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}", re.ASCII)


def open_engine(
    store: Path, version: str | None, policy: ExceptionPolicy, *, verify: bool = True
) -> tuple[PriceEngine, Snapshot]:
    """The engine over a snapshot of the store (None: the active one), its files checked against their hashes.

    Raises:
        NoSnapshotError: the store has none, or not that one.
        SnapshotError: it can't be used; the text says which file is wrong.

    """
    snapshot = open_snapshot(store, version, verify=verify)
    try:
        return PriceEngine(snapshot.arrays, policy=policy), snapshot
    except (
        KeyError,
        TypeError,
        ValueError,
    ) as error:  # whole, but its arrays are not what this release works with
        raise SnapshotError(f"snapshot {snapshot.version} has other arrays, load again: {error}") from error


def load_snapshot(
    store: Path, version: str | None, policy: ExceptionPolicy, *, verify: bool = True
) -> LoadedSnapshot:
    """A snapshot ready to answer: mapped, its pages read in, its kernels compiled. Raises as `open_engine`."""
    engine, snapshot = open_engine(store, version, policy, verify=verify)
    populate(snapshot.arrays)
    warm(engine)
    return _loaded(engine, snapshot)


def check_snapshot(store: Path, version: str | None, policy: ExceptionPolicy) -> str:
    """Checks that a snapshot (None: the active one) is whole and answers, and compiles what answers; its version.

    Raises as `open_engine`.
    """
    engine, snapshot = open_engine(store, version, policy, verify=True)
    warm(engine)
    return snapshot.version


def populate(arrays: Mapping[str, np.ndarray]) -> None:
    """Maps every page of memory-mapped arrays now, as well as the system can: the first requests needn't."""
    seen: set[int] = set()
    for array in arrays.values():
        base: object = array
        while isinstance(base, (np.ndarray, memoryview)):
            base = base.base if isinstance(base, np.ndarray) else base.obj
        if isinstance(base, mmap.mmap) and id(base) not in seen:
            seen.add(id(base))
            with contextlib.suppress(OSError, ValueError):
                base.madvise(_MADV_POPULATE_READ)


def warm(engine: PriceEngine) -> None:
    """Compiles (or loads from the cache) what answers a request, by asking one."""
    ask = PriceAsk(
        customer_id="",
        currency="XXX",
        branch="",
        as_of_us=0,
        skus=[b"?"],
        quantities_micros=np.full(1, MICROS, np.int64),
        uoms=[b""],
    )
    with contextlib.suppress(PricingError):
        engine.price(ask)


def version_opener(
    store: Path, policy: ExceptionPolicy, is_verified: Callable[[str], bool]
) -> Callable[[str], LoadedSnapshot]:
    """Opens a snapshot that a request names; hashes are checked unless `is_verified` says it was done."""

    def open_version(version: str) -> LoadedSnapshot:
        unknown = RequestRefusedError(
            Reason.UNKNOWN_SNAPSHOT, "there is no such snapshot", snapshot_version=version
        )
        if not _VERSION.fullmatch(version):  # it becomes part of a path
            raise unknown
        try:
            engine, snapshot = open_engine(store, version, policy, verify=not is_verified(version))
        except NoSnapshotError:
            raise unknown from None
        except SnapshotError as error:
            raise RequestRefusedError(
                Reason.SNAPSHOT_UNUSABLE, "this snapshot is damaged", snapshot_version=version
            ) from error
        return _loaded(engine, snapshot)

    return open_version


def _loaded(engine: PriceEngine, snapshot: Snapshot) -> LoadedSnapshot:
    return LoadedSnapshot(
        version=snapshot.version,
        created_at_us=created_at_us(snapshot.version),
        engine=engine,
        time_zone=str(snapshot.manifest.get("time_zone", "UTC")),
    )

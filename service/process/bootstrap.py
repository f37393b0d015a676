"""Composition root: joins the snapshot store and the engines to something that answers."""

import ctypes
import mmap
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from pricegrid.atp.arrays.positions import PREFIX
from pricegrid.atp.engine import AvailabilityEngine
from pricegrid.columnar.names import Names
from pricegrid.loaders.errors import NoSnapshotError, SnapshotError
from pricegrid.loaders.store.snapshot import Snapshot, open_snapshot
from pricegrid.pricing_engine.arrays.matrix import CUSTOMER_BRANCH
from pricegrid.pricing_engine.engine import PriceEngine
from pricegrid.pricing_engine.model import ExceptionPolicy
from pricegrid.service.clock import created_at_us
from pricegrid.service.errors import Reason, RequestRefusedError
from pricegrid.service.fast_path.path import Lane
from pricegrid.service.process.snapshots import LoadedSnapshot
from pricegrid.service.process.verify import verify_arrays
from pricegrid.service.process.warm_up import warm

_MADV_POPULATE_READ = 22  # Linux 5.14; not in the mmap module before Python 3.13
_LIBC = ctypes.CDLL(None)
_LIBC.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
_VERSION = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}", re.ASCII)


def open_snapshot_engines(
    store: Path, version: str | None, policy: ExceptionPolicy, *, verify: bool = True
) -> tuple[LoadedSnapshot, Mapping[str, np.ndarray]]:
    """Both engines over a snapshot of the store (None: the active one), and its arrays.

    With `verify` its files are compared with their hashes, and what is in them with what kernels take for granted.

    Raises:
        NoSnapshotError: the store has none, or not that one.
        SnapshotError: it can't be used; the text says which file is wrong.

    """
    snapshot = open_snapshot(store, version, verify=verify)
    arrays = {name: np.asarray(array) for name, array in snapshot.arrays.items()}  # memmap is slow to slice
    try:
        if verify:  # before any kernel reads them
            verify_arrays(arrays)
        return _engines(snapshot, arrays, policy), snapshot.arrays
    except (
        KeyError,
        TypeError,
        ValueError,
    ) as error:  # whole, but its arrays are not what this release works with
        raise SnapshotError(
            f"snapshot {snapshot.version} can't be used, load again: "
            f"{f'it has no array {error}' if isinstance(error, KeyError) else error}"
        ) from error


def _engines(snapshot: Snapshot, arrays: Mapping[str, np.ndarray], policy: ExceptionPolicy) -> LoadedSnapshot:
    has_positions = any(name.startswith(PREFIX) for name in arrays)
    version, made_us = snapshot.version, created_at_us(snapshot.version)
    prices = PriceEngine(arrays, policy=policy)
    availability = AvailabilityEngine(arrays) if has_positions else None
    return LoadedSnapshot(
        version=version,
        created_at_us=made_us,
        engine=prices,
        time_zone=str(snapshot.manifest.get("time_zone", "UTC")),
        availability=availability,
        branch_of=CustomerBranches(arrays),
        lane=Lane(version, made_us, prices, availability),
    )


class CustomerBranches:
    """The branch of each customer, from the arrays of the price side."""

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self._customers = Names(arrays["customer_bytes"], arrays["customer_offsets"])
        self._branches = Names(arrays["branch_bytes"], arrays["branch_offsets"])
        self._rows = arrays["customers"]

    def __call__(self, customer_id: str) -> str:
        """The branch of a customer, '' for none, and for no such customer."""
        customer = self._customers.find(customer_id) if customer_id else -1
        branch = int(self._rows[customer, CUSTOMER_BRANCH]) if customer >= 0 else -1
        return self._branches[branch] if branch >= 0 else ""


def load_snapshot(
    store: Path, version: str | None, policy: ExceptionPolicy, *, verify: bool = True
) -> LoadedSnapshot:
    """A snapshot ready to answer: mapped, its pages read in, its kernels compiled. Raises as
    `open_snapshot_engines`."""
    loaded, arrays = open_snapshot_engines(store, version, policy, verify=verify)
    populate(arrays)
    warm(loaded)
    return loaded


def check_snapshot(store: Path, version: str | None, policy: ExceptionPolicy) -> str:
    """Checks that a snapshot (None: the active one) is whole and answers, and compiles what answers; its version.

    Raises as `open_snapshot_engines`.
    """
    loaded, _ = open_snapshot_engines(store, version, policy, verify=True)
    warm(loaded)
    return loaded.version


def populate(arrays: Mapping[str, np.ndarray]) -> None:
    """Maps every page of memory-mapped arrays now, as well as the system can: the first requests needn't.

    In large pages where the system has them of files: a lookup then seldom waits for the page tables as well.
    """
    seen: set[int] = set()
    for array in arrays.values():
        base: object = array
        while isinstance(base, (np.ndarray, memoryview)):
            base = base.base if isinstance(base, np.ndarray) else base.obj
        if isinstance(base, mmap.mmap) and id(base) not in seen:
            seen.add(id(base))
            whole = np.frombuffer(base, np.uint8)
            # not by `mmap.madvise`, which keeps every other thread waiting while files are read
            for advice in (mmap.MADV_HUGEPAGE, _MADV_POPULATE_READ):
                _LIBC.madvise(whole.ctypes.data, len(whole), advice)


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
            return open_snapshot_engines(store, version, policy, verify=not is_verified(version))[0]
        except NoSnapshotError:
            raise unknown from None
        except SnapshotError as error:
            raise RequestRefusedError(
                Reason.SNAPSHOT_UNUSABLE, "this snapshot is damaged", snapshot_version=version
            ) from error

    return open_version

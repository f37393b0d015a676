"""Composition root: opens snapshots of the store and builds the engines over them."""

import contextlib
import logging
import mmap
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from pricegrid.columnar.names import Names
from pricegrid.loaders.errors import NoSnapshotError, SnapshotError
from pricegrid.loaders.store.signing import SigningKeyError, TrustedKeys, read_trusted_keys
from pricegrid.loaders.store.snapshot import Snapshot, open_snapshot
from pricegrid.pricing_engine.arrays.matrix import CUSTOMER_BRANCH
from pricegrid.pricing_engine.arrays.other_names import OtherNames
from pricegrid.pricing_engine.engine import PriceEngine
from pricegrid.pricing_engine.model import ExceptionPolicy
from pricegrid.service.clock import created_at_us
from pricegrid.service.errors import Reason, RequestRefusedError
from pricegrid.service.process.snapshots import LoadedSnapshot

_log = logging.getLogger(__name__)
_MADV_POPULATE_READ = 22  # Linux 5.14; not in the mmap module before Python 3.13
_POSITIONS = "atp_"
"""As `atp.arrays.positions.PREFIX`; an import of that module is what a store without them needn't wait for."""
_VERSION = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}", re.ASCII)


def open_snapshot_engines(
    store: Path,
    version: str | None,
    policy: ExceptionPolicy,
    *,
    verify: bool = True,
    snapshot_keys: Path | None = None,
) -> tuple[LoadedSnapshot, Mapping[str, np.ndarray]]:
    """Both engines over a snapshot of the store (None: the active one), and its arrays.

    With `verify`, checks the hashes of its files, and everything in its arrays that kernels rely on; with a file
    of keys, that one of them signed it.

    Raises:
        NoSnapshotError: the store has no snapshot, or not this one.
        SnapshotError: it can't be used; the text names the damaged file.

    """
    snapshot = open_snapshot(store, version, verify=verify, keys=trusted_keys(snapshot_keys))
    arrays = _plain_arrays(snapshot)
    with _told_as_unusable(snapshot):
        if verify:  # before any kernel reads them
            from pricegrid.service.process.verify import verify_arrays

            verify_arrays(arrays)
        return _engines(snapshot, arrays, policy), snapshot.arrays


def trusted_keys(snapshot_keys: Path | None) -> TrustedKeys | None:
    """The keys as they are now: they may have changed since the last snapshot."""
    if snapshot_keys is None:
        return None
    try:
        return read_trusted_keys(snapshot_keys)
    except OSError as error:
        raise SigningKeyError(f"{snapshot_keys} can't be read: {error.strerror}") from None


def plain_snapshot(store: Path, version: str | None, policy: ExceptionPolicy) -> LoadedSnapshot:
    """A snapshot of the store (None: the active one) whose questions the references answer; for a few of them.

    Its files are compared with their hashes. Raises as `open_snapshot_engines`.
    """
    snapshot = open_snapshot(store, version, verify=True)
    with _told_as_unusable(snapshot):
        return _engines(snapshot, _plain_arrays(snapshot), policy, by_reference=True)


def _plain_arrays(snapshot: Snapshot) -> dict[str, np.ndarray]:
    return {name: np.asarray(array) for name, array in snapshot.arrays.items()}  # memmap is slow to slice


@contextlib.contextmanager
def _told_as_unusable(snapshot: Snapshot) -> Iterator[None]:
    """A snapshot is whole, but its arrays are not what this release works with."""
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        raise SnapshotError(
            f"snapshot {snapshot.version} can't be used, load again: "
            f"{f'it has no array {error}' if isinstance(error, KeyError) else error}"
        ) from error


def _engines(
    snapshot: Snapshot,
    arrays: Mapping[str, np.ndarray],
    policy: ExceptionPolicy,
    *,
    by_reference: bool = False,
) -> LoadedSnapshot:
    version, made_us = snapshot.version, created_at_us(snapshot.version)
    prices = PriceEngine(arrays, policy=policy, by_reference=by_reference)
    availability = fast_path = None
    if any(name.startswith(_POSITIONS) for name in arrays):
        from pricegrid.atp.engine import AvailabilityEngine

        availability = AvailabilityEngine(arrays, by_reference=by_reference)
    if not by_reference:
        from pricegrid.service.fast_path.path import FastPath

        fast_path = FastPath(version, made_us, prices, availability)
    return LoadedSnapshot(
        version=version,
        created_at_us=made_us,
        engine=prices,
        time_zone=str(snapshot.manifest.get("time_zone", "UTC")),
        availability=availability,
        branch_of=CustomerBranches(arrays),
        fast_path=fast_path,
        names=OtherNames(arrays),
    )


class CustomerBranches:
    """The branch of each customer, from the arrays of the price engine."""

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self._customers = Names(arrays["customer_bytes"], arrays["customer_offsets"])
        self._branches = Names(arrays["branch_bytes"], arrays["branch_offsets"])
        self._rows = arrays["customers"]

    def __call__(self, customer_id: str) -> str:
        """The branch of a customer, '' for none and for an unknown customer."""
        customer = self._customers.find(customer_id) if customer_id else -1
        branch = int(self._rows[customer, CUSTOMER_BRANCH]) if customer >= 0 else -1
        return self._branches[branch] if branch >= 0 else ""


def load_snapshot(
    store: Path,
    version: str | None,
    policy: ExceptionPolicy,
    *,
    verify: bool = True,
    snapshot_keys: Path | None = None,
) -> LoadedSnapshot:
    """A snapshot ready to serve: mapped, its pages read, its kernels compiled. Raises as `open_snapshot_engines`."""
    from pricegrid.service.process.warm_up import warm

    loaded, arrays = open_snapshot_engines(store, version, policy, verify=verify, snapshot_keys=snapshot_keys)
    populate(arrays)
    warm(loaded)
    return loaded


def check_snapshot(
    store: Path, version: str | None, policy: ExceptionPolicy, *, snapshot_keys: Path | None = None
) -> str:
    """Verifies a snapshot (None: the active one), compiles its kernels and runs them once; returns its version.

    Raises as `open_snapshot_engines`.
    """
    from pricegrid.service.process.warm_up import warm

    loaded, _ = open_snapshot_engines(store, version, policy, verify=True, snapshot_keys=snapshot_keys)
    warm(loaded)
    return loaded.version


def populate(arrays: Mapping[str, np.ndarray]) -> None:
    """Populates the page tables of memory-mapped arrays, so that the first requests don't take page faults.

    With huge pages where the kernel supports them for files: lookups then rarely miss the TLB.
    """
    import ctypes

    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    seen: set[int] = set()
    for array in arrays.values():
        base: object = array
        while isinstance(base, (np.ndarray, memoryview)):
            base = base.base if isinstance(base, np.ndarray) else base.obj
        if isinstance(base, mmap.mmap) and id(base) not in seen:
            seen.add(id(base))
            whole = np.frombuffer(base, np.uint8)
            # Not `mmap.madvise`, which holds the GIL while files are read.
            for advice in (mmap.MADV_HUGEPAGE, _MADV_POPULATE_READ):
                madvise(whole.ctypes.data, len(whole), advice)


def version_opener(
    store: Path,
    policy: ExceptionPolicy,
    is_verified: Callable[[str], bool],
    snapshot_keys: Path | None = None,
) -> Callable[[str], LoadedSnapshot]:
    """A function that opens a snapshot named by a request; it checks hashes unless `is_verified`."""
    return refusing_unknown(
        lambda version: open_snapshot_engines(
            store, version, policy, verify=not is_verified(version), snapshot_keys=snapshot_keys
        )[0]
    )


def refusing_unknown(open_named: Callable[[str], LoadedSnapshot]) -> Callable[[str], LoadedSnapshot]:
    """Refuses as requests are refused what the store does not have, and what can't be used."""

    def open_version(version: str) -> LoadedSnapshot:
        unknown = RequestRefusedError(
            Reason.UNKNOWN_SNAPSHOT, "there is no such snapshot", snapshot_version=version
        )
        if not _VERSION.fullmatch(version):  # it becomes part of a path
            raise unknown
        try:
            return open_named(version)
        except NoSnapshotError:
            raise unknown from None
        except SnapshotError as error:
            raise RequestRefusedError(
                Reason.SNAPSHOT_UNUSABLE, "this snapshot is damaged", snapshot_version=version
            ) from error
        except OSError as error:  # no more files or memory: the snapshot is not to blame
            _log.warning("snapshot %s can't be opened: %s", version, error)
            raise RequestRefusedError(
                Reason.OVERLOADED, "no other snapshot can be opened now; ask again", snapshot_version=version
            ) from error

    return open_version

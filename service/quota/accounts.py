"""The accounts of callers, in a file that all workers of a host map: STORE/live/quotas-….

The file is named after the layout and the boot of the host, whose clock it counts by, so whatever is in it can be used,
and empty is what it begins as. An account is found by its key, in one of PROBES places from where the key says; it is
claimed under a lock of the file, so that a caller never has two. One that was idle for a while and owes nothing says
nothing that an empty one would not say, and may be given to another.

Behind the accounts are the one that those share who find no place, and what is common to all: the name under which this
host shares quotas with others, and the share with which an account begins.
"""

import fcntl
import hashlib
import logging
import mmap
import os
import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pricegrid.service.clock import host_number
from pricegrid.service.live.files import live_directory
from pricegrid.service.quota.kernel import (
    CALLS,
    CALLS_SHARE,
    KEY,
    LINES,
    LINES_SHARE,
    SEEN,
    SLOT_WORDS,
    WHOLE,
    use_shares,
)
from pricegrid.service.quota.limits import ACCOUNTS, CLAIM_POLL_S, CLAIM_WAIT_S, FORGET_NS, PROBES

_log = logging.getLogger(__name__)
_LAYOUT: Final = 2
_WORD_BYTES: Final = 8
SHARED_KEY: Final = 1
"""The account of all who found no place."""
_COMMON: Final = -1
"""The last slot, which is no account: its key is the host's, and its shares are those that accounts begin with."""
_SHARES: Final = [CALLS_SHARE, LINES_SHARE]


def key_of(subject: str) -> int:
    """The key of a caller's account: a 63-bit hash, never that of an empty place or of the shared account."""
    found = int.from_bytes(hashlib.sha256(subject.encode()).digest()[:8], "little") >> 1
    return max(found, SHARED_KEY + 1)


def accounts_path(store: Path) -> Path:
    """Where the accounts of a store are, as long as this host runs; those of former boots are deleted."""
    directory = live_directory(store)
    boot = f"{host_number():016x}"
    for other in directory.glob("quotas-*"):
        if not other.name.endswith(f"-{boot}"):
            other.unlink(missing_ok=True)
    return directory / f"quotas-{_LAYOUT}-{boot}"


class Accounts:
    """The accounts in a file, which is created if it is missing; safe to use from many threads. Raises OSError."""

    def __init__(self, path: Path, clock_ns: Callable[[], int], *, accounts: int = ACCOUNTS) -> None:
        self._clock_ns = clock_ns
        self._lock = threading.Lock()
        self._count = accounts
        size = (accounts + 2) * SLOT_WORDS * _WORD_BYTES
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(
                self._file, 0, size
            )  # a page that the disk has no room for would end the process
            self._map = mmap.mmap(self._file, size)
        except BaseException:
            os.close(self._file)
            raise
        self._slots = np.frombuffer(self._map, np.int64).reshape(accounts + 2, SLOT_WORDS)
        self._slots[accounts, KEY] = SHARED_KEY

    @property
    def slots(self) -> NDArray[np.int64]:
        """All accounts, (ACCOUNTS + 1, SLOT_WORDS), which others change."""
        return self._slots[:_COMMON]

    def host(self) -> int:
        """A number that no other file has: of this host, for this store."""
        common = self._slots[_COMMON]
        if common[KEY] <= 0:
            common[KEY] = secrets.randbits(62) + 1
        return int(common[KEY])

    @property
    def first_share(self) -> int:
        """The share with which accounts begin, in 1/WHOLE."""
        return int(self._slots[_COMMON, CALLS_SHARE]) or WHOLE

    def begin_with(self, share: int) -> None:
        """Lets accounts that are opened from now on begin with this share, in 1/WHOLE."""
        self._slots[_COMMON, _SHARES] = share

    def forget_shares(self) -> None:
        """Whatever was shared with other hosts, this one counts for itself."""
        self.begin_with(0)
        keys = self.slots[:, KEY].copy()
        self.use_shares(np.arange(len(keys)), keys, np.zeros((len(keys), 2), np.int64))

    def use_shares(
        self, places: NDArray[np.int64], keys: NDArray[np.int64], shares: NDArray[np.int64]
    ) -> None:
        """Charges the accounts at `places` (n,) by these `shares` (n, 2) of calls and of lines, in 1/WHOLE, if they are
        still those of `keys` (n,)."""
        use_shares(self.slots, places, keys, shares, self._clock_ns())

    def account(self, key: int) -> tuple[NDArray[np.int64], int]:
        """(slot (SLOT_WORDS,), its key): the caller's own, which is claimed if they have none, or the shared one."""
        at = self._find(key)
        if at < 0:
            with self._lock:
                at = self._claim(key)
        return (self._slots[at], key) if at >= 0 else (self._slots[self._count], SHARED_KEY)

    def _places(self, key: int) -> NDArray[np.int64]:
        return (key + np.arange(min(PROBES, self._count))) % self._count

    def _find(self, key: int) -> int:
        places = self._places(key)
        found = np.flatnonzero(self._slots[places, KEY] == key)
        return int(places[found[0]]) if len(found) else -1

    def _claim(self, key: int) -> int:
        """A place for a new account; -1: there is none, or whoever looks for one does not come to an end."""
        until_s = time.monotonic() + CLAIM_WAIT_S
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until_s:
                    return -1
                time.sleep(CLAIM_POLL_S)
        try:
            at = self._find(key)
            return at if at >= 0 else self._take(key)
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def _take(self, key: int) -> int:
        now_ns = self._clock_ns()
        places = self._places(key)
        slots = self._slots[places]
        is_idle = (slots[:, SEEN] < now_ns - FORGET_NS) & (slots[:, [CALLS, LINES]] <= now_ns).all(axis=1)
        for free in (slots[:, KEY] == 0, is_idle):
            found = np.flatnonzero(free)
            if len(found):
                slot = self._slots[places[found[0]]]
                slot[KEY] = 0  # whoever still charges it finds that it is no longer theirs
                slot[1:] = 0
                slot[SEEN] = now_ns
                slot[_SHARES] = self._slots[_COMMON, _SHARES]
                slot[KEY] = key
                return int(places[found[0]])
        return -1


def open_accounts(store: Path, clock_ns: Callable[[], int]) -> Accounts:
    """The accounts of a store; where it can't be written, those of this process alone."""
    try:
        return Accounts(accounts_path(store), clock_ns)
    except OSError as error:
        _log.warning("quotas: the store can't be written, this worker counts for itself: %s", error)
    memory = os.memfd_create("pricegrid-quotas")
    try:
        return Accounts(Path(f"/proc/self/fd/{memory}"), clock_ns)
    finally:
        os.close(memory)

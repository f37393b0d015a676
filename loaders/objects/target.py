"""Which snapshot a follower is to serve, by the pointers of its object storage."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pricegrid.loaders.errors import StorageError
from pricegrid.loaders.objects.layout import CANARY, CURRENT
from pricegrid.loaders.objects.pointer import Pointer, ReadPointer, read_pointer
from pricegrid.loaders.objects.seen import Seen
from pricegrid.loaders.objects.storage import Answer, ObjectStorage
from pricegrid.loaders.store.signing import TrustedKeys


@dataclass(frozen=True, slots=True)
class Target:
    """What is to be served, and the pointers that said so."""

    snapshot: str
    manifest_sha256: str
    """'' for a pinned one: the manifest says itself which snapshot it is of."""
    pointers: tuple[Pointer, ...]


@dataclass(slots=True)
class Pointers:
    """The pointers of one storage, read again only where they have changed."""

    storage: ObjectStorage
    store: Path
    is_canary: bool = False
    pin: str = ""
    """The snapshot to serve, whatever the pointers say; '' for none."""
    _read: dict[str, ReadPointer] = field(default_factory=dict)

    def look(self, keys: TrustedKeys | None, *, accept_older: bool = False) -> Target:
        """What is to be served now. Raises StorageError, SnapshotError, SnapshotReplayedError unless `accept_older`."""
        seen = Seen(self.store, self.storage.url)
        for name in (CURRENT, CANARY) if self.is_canary else (CURRENT,):
            known = self._read.get(name)
            read = read_pointer(self.storage, name, keys, unless=None if known is None else known.mark)
            if isinstance(read, ReadPointer):
                self._read[name] = read
            elif read is Answer.ABSENT:
                self._read.pop(name, None)
        pointers = tuple(read.pointer for read in self._read.values())
        for pointer in () if accept_older else pointers:
            seen.check(pointer)
        if self.pin:
            return Target(self.pin, "", pointers)
        if not pointers:
            raise StorageError(
                f"{self.storage.url} has no snapshot yet: `pricegrid snapshots push` makes one current"
            )
        newest = max(pointers, key=lambda each: (each.sequence, each.name == CANARY))
        return Target(newest.snapshot, newest.manifest_sha256, pointers)

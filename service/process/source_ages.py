"""How old the extracts are that a snapshot has of each source at each branch (A11)."""

from pathlib import Path
from typing import NamedTuple

from pricegrid.atp.model import NO_INSTANT, Source
from pricegrid.columnar.names import Names
from pricegrid.loaders.errors import SnapshotError
from pricegrid.loaders.store.snapshot import open_snapshot


class SourceAge(NamedTuple):
    """One source at one branch."""

    as_of_us: int
    branch: str
    source: Source
    stale_after_us: int


class SourceAges:
    """Reads them once a snapshot. For one thread at a time."""

    def __init__(self, store: Path) -> None:
        self._store = store
        self._version = ""
        self._found: list[SourceAge] = []

    def oldest(self, version: str, branches: int) -> list[SourceAge]:
        """The sources of at most so many branches, those that have the oldest extracts."""
        if version != self._version:
            self._found, self._version = _read(self._store, version), version
        kept = set(list(dict.fromkeys(each.branch for each in self._found))[:branches])
        return [each for each in self._found if each.branch in kept]


def _read(store: Path, version: str) -> list[SourceAge]:
    """Oldest first; empty for a snapshot without positions, or one that can't be read."""
    try:
        arrays = open_snapshot(store, version, verify=False).arrays
        names = Names(arrays["atp_branch_text"], arrays["atp_branch_offsets"])
        as_of, stale_after = arrays["atp_feed_as_of"].tolist(), arrays["atp_feed_stale_us"].tolist()
        found = [
            SourceAge(as_of[at][source], names[at], source, stale_after[at][source])
            for at in range(len(names))
            for source in Source
            if as_of[at][source] != NO_INSTANT
        ]
    except (SnapshotError, OSError, KeyError, IndexError):
        return []
    return sorted(found)

"""The highest sequence that a store has seen of each object storage: `STORE/followed.json`."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pricegrid.loaders.errors import SnapshotError, SnapshotReplayedError
from pricegrid.loaders.objects.pointer import Pointer
from pricegrid.loaders.store.files import sync_directory, write_text

_FILE: Final = "followed.json"


@dataclass(frozen=True, slots=True)
class Seen:
    """What one store has seen of one URL."""

    store: Path
    url: str

    def check(self, pointer: Pointer) -> None:
        """Raises SnapshotReplayedError if the pointer is older than one that was seen, or another storage's."""
        known = _read(self.store).get(self.url)
        if known is None:
            return
        if known.get("origin") != pointer.origin:
            raise SnapshotReplayedError(
                f"{self.url} is another storage than was followed there: if that is meant, "
                "`pricegrid snapshots pull` with --accept-older"
            )
        sequence, snapshot = known.get(pointer.name, (0, ""))
        if pointer.sequence < sequence:
            raise SnapshotReplayedError(
                f"{self.url}/{pointer.name} is publication {pointer.sequence}, and {sequence} was seen there: "
                "if that is meant, `pricegrid snapshots pull` with --accept-older"
            )
        if pointer.sequence == sequence and pointer.snapshot != snapshot:
            raise SnapshotReplayedError(
                f"{self.url}/{pointer.name} has two snapshots as publication {sequence}, "
                f"{snapshot} and {pointer.snapshot}"
            )

    def note(self, pointer: Pointer) -> None:
        """Keeps that this pointer was seen. Raises OSError."""
        every = _read(self.store)
        known = every.get(self.url, {})
        if known.get("origin") != pointer.origin:
            known = {"origin": pointer.origin}
        if known.get(pointer.name) == [pointer.sequence, pointer.snapshot]:
            return
        every[self.url] = {**known, pointer.name: [pointer.sequence, pointer.snapshot]}
        _write(self.store, every)


def _read(store: Path) -> dict[str, Any]:
    try:
        document = json.loads((store / _FILE).read_text(encoding="utf-8"))
        if isinstance(document, dict) and all(isinstance(each, dict) for each in document.values()):
            return document
    except FileNotFoundError:
        return {}
    except ValueError:
        pass
    raise SnapshotError(f"{store / _FILE} is damaged: remove it, and anything is taken for new once")


def _write(store: Path, every: dict[str, Any]) -> None:
    temporary = store / f".{_FILE}-{os.getpid()}"
    temporary.unlink(missing_ok=True)
    write_text(temporary, json.dumps(every, indent=1, sort_keys=True) + "\n")
    temporary.replace(store / _FILE)
    sync_directory(store)

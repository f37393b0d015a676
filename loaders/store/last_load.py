"""What became of the last load of a store, for whoever watches it: a load is a process of its own, and gone by then."""

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pricegrid.loaders.store.files import write_text

NAME = "last-load.json"


@dataclass(frozen=True, slots=True)
class LastLoad:
    """The end of a load, published or not."""

    at_us: int
    published: bool
    gates: Mapping[str, bool] = field(default_factory=dict)
    """Whether it passed each gate that it came to."""


def note_load(store: Path, last: LastLoad) -> None:
    """Keeps it in the store. That it can't be kept stops no load."""
    temporary = store / f"{NAME}-{os.getpid()}"
    with contextlib.suppress(OSError):
        temporary.unlink(missing_ok=True)
        write_text(temporary, json.dumps(asdict(last)) + "\n")
        temporary.replace(store / NAME)


def last_load(store: Path) -> LastLoad | None:
    """None: there was none yet, or what is there can't be read."""
    try:
        found = json.loads((store / NAME).read_text(encoding="utf-8"))
        gates = {str(gate): bool(passed) for gate, passed in found["gates"].items()}
        return LastLoad(int(found["at_us"]), bool(found["published"]), gates)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None

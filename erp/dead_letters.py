"""Dead letters of the ERP: refused answers, stored with the reason for inspection and replay.

A letter has the form of an inventory event's: a source, a reason and a JSON payload. `DeadLetterSink` is the interface
of a store for them; `DeadLetterFile` implements it for workers with an SQLite file of the store.
"""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Protocol

SOURCE: Final = "erp"
KEPT_MAX: Final = 10_000
"""Letters in the file; beyond, the oldest are deleted."""
PAYLOAD_BYTES_MAX: Final = 16_384
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS dead_letters (
    id TEXT PRIMARY KEY, first_us INTEGER NOT NULL, last_us INTEGER NOT NULL, times INTEGER NOT NULL,
    reason TEXT NOT NULL, payload TEXT NOT NULL, replays INTEGER NOT NULL DEFAULT 0)
"""
_ADD_REPLAYS: Final = "ALTER TABLE dead_letters ADD COLUMN replays INTEGER NOT NULL DEFAULT 0"
"""For a file of a release that did not count them."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One refused answer."""

    reason: str
    """A `Refusal`."""
    message: str
    payload: dict[str, Any]
    """For JSON: `kind` (`price` or `stock`), `erp`, `question`, `matrix_price`, `answer`; enough for a replay."""
    at_us: int
    source: str = SOURCE

    @property
    def letter_id(self) -> str:
        """Equal for equal questions with equal reasons, which are counted in one letter."""
        asked = {key: self.payload.get(key) for key in ("kind", "erp", "question")}
        text = json.dumps([self.source, self.reason, asked], sort_keys=True)
        return sha256(text.encode()).hexdigest()[:16]


class DeadLetterSink(Protocol):
    """Stores refused answers."""

    def __call__(self, letter: DeadLetter) -> None:
        """Store a letter. Must not block for long."""
        ...


@dataclass(frozen=True, slots=True)
class KeptLetter:
    """A stored letter."""

    letter_id: str
    reason: str
    message: str
    payload: dict[str, Any]
    first_us: int
    last_us: int
    times: int
    replays: int = 0
    """How often it was asked again in vain."""


class DeadLetterFile:
    """Dead letters in `STORE/erp-dead-letters.sqlite`."""

    def __init__(self, store: Path) -> None:
        self._path = store / "erp-dead-letters.sqlite"

    def __call__(self, letter: DeadLetter) -> None:
        """See `DeadLetterSink`."""
        text = json.dumps({**letter.payload, "message": letter.message}, ensure_ascii=False)
        if len(text.encode()) > PAYLOAD_BYTES_MAX:
            text = json.dumps({**letter.payload, "message": letter.message, "answer": "too long to be kept"})
        with self._open() as db:
            db.execute(
                "INSERT INTO dead_letters VALUES (?, ?, ?, 1, ?, ?, 0) ON CONFLICT (id) DO UPDATE SET "
                "last_us = excluded.last_us, times = times + 1, payload = excluded.payload",
                (letter.letter_id, letter.at_us, letter.at_us, letter.reason, text),
            )
            db.execute(
                "DELETE FROM dead_letters WHERE id IN "
                "(SELECT id FROM dead_letters ORDER BY last_us DESC LIMIT -1 OFFSET ?)",
                (KEPT_MAX,),
            )

    def letters(self) -> list[KeptLetter]:
        """All letters, oldest first."""
        if not self._path.exists():
            return []
        with self._open() as db:
            rows = db.execute(
                "SELECT id, reason, payload, first_us, last_us, times, replays FROM dead_letters "
                "ORDER BY first_us, id"
            ).fetchall()
        found = []
        for letter_id, reason, text, *counts in rows:
            payload = json.loads(text)
            message = payload.pop("message")
            found.append(KeptLetter(letter_id, reason, message, payload, *counts))
        return found

    def oldest(self) -> dict[str, tuple[int, int]]:
        """(how many, when the oldest came first) by reason."""
        if not self._path.exists():
            return {}
        with self._open() as db:
            rows = db.execute("SELECT reason, count(*), min(first_us) FROM dead_letters GROUP BY reason")
            return {reason: (count, first_us) for reason, count, first_us in rows}

    def drop(self, letter_id: str) -> bool:
        """Deletes a letter; returns whether it existed."""
        with self._open() as db:
            return db.execute("DELETE FROM dead_letters WHERE id = ?", (letter_id,)).rowcount > 0

    def replayed(self, letter_id: str) -> None:
        """Counts a replay in vain."""
        with self._open() as db:
            db.execute("UPDATE dead_letters SET replays = replays + 1 WHERE id = ?", (letter_id,))

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        db = sqlite3.connect(self._path, timeout=5.0)
        try:
            db.execute(_SCHEMA)
            with db:
                if not any(
                    name == "replays" for _, name, *_ in db.execute("PRAGMA table_info(dead_letters)")
                ):
                    db.execute(_ADD_REPLAYS)
                yield db
        finally:
            db.close()

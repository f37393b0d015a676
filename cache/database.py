"""One SQLite file: opened, checked, written in transactions, its errors in the words of this package."""

import contextlib
import errno
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from pricegrid.cache.protocol import (
    CacheCorruptError,
    CacheError,
    CacheUnavailableError,
    CommitUnknownError,
    DiskFullError,
)

BUSY_TIMEOUT_S: Final = 5.0
"""How long a writer waits for the writer of another process."""
SQLITE_IOERR_SHMSIZE: Final = 10 | 19 << 8
CHECKED_BYTES_MAX: Final = 1 << 30
"""Larger files are checked as they are read, not when they are opened."""

REWRITTEN_BYTES_MAX: Final = 128 << 20
"""Larger files of a release that never gave pages back stay as they are."""
SHRUNK_PAGES_MIN: Final = 256
SHRUNK_PAGES: Final = 1000
"""At a time: what a step writes fits into the room that is kept back."""
SHRUNK_STEPS_MAX: Final = 50
_INCREMENTAL: Final = 2
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT})
_FULL: Final = frozenset({sqlite3.SQLITE_FULL, SQLITE_IOERR_SHMSIZE})
_SYNCED: Final = {True: "FULL", False: "NORMAL"}


class Database:
    """A connection to a file, for one thread at a time. Several processes may have the same file open."""

    def __init__(
        self, path: Path, schema: str, application: int, *, busy_timeout_s: float = BUSY_TIMEOUT_S
    ) -> None:
        """`schema` creates what a new file holds; `application` (31 bits) marks files as ours, and of this release."""
        self.path = path
        self._durable: bool | None = None
        with self.errors():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._sqlite = sqlite3.connect(
                path, timeout=busy_timeout_s, isolation_level=None, check_same_thread=False
            )
        try:
            with self.errors():
                self._prepare(schema, application, time.monotonic() + busy_timeout_s)
        except BaseException:
            self._sqlite.close()
            raise

    def _prepare(self, schema: str, application: int, deadline_s: float) -> None:
        found = self._pragma("application_id")
        if found not in {0, application} or (found == 0 and self._pragma("schema_version")):
            raise CacheCorruptError(
                f"{self.path}: not a file of this release (mark {found}, not {application})"
            )
        if found == 0:
            self._sqlite.execute("PRAGMA auto_vacuum=INCREMENTAL")
        # What is deleted is not written once more, which a full disk could not bear.
        self._sqlite.execute("PRAGMA secure_delete=FAST")
        while True:
            try:
                self._sqlite.execute("PRAGMA journal_mode=WAL")
            except sqlite3.OperationalError as error:
                # Changing the journal does not wait for its turn by itself, unlike all else.
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline_s:
                    raise
                time.sleep(0.01)
            else:
                break
        if self.path.stat().st_size <= CHECKED_BYTES_MAX:
            verdict = self._pragma("quick_check(1)")
            if verdict != "ok":
                raise CacheCorruptError(f"{self.path}: damaged: {verdict}")
        with self.transaction(durable=True):
            if self._pragma("application_id") == 0:
                for statement in schema.split(";"):
                    self._sqlite.execute(statement)
                self._sqlite.execute(f"PRAGMA application_id={application}")
        if self._pragma("auto_vacuum") != _INCREMENTAL and self.path.stat().st_size <= REWRITTEN_BYTES_MAX:
            with contextlib.suppress(
                sqlite3.OperationalError
            ):  # another process has it open, or there is no room
                self._sqlite.execute("PRAGMA auto_vacuum=INCREMENTAL")
                self._sqlite.execute("VACUUM")
        directory = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def _pragma(self, name: str) -> Any:
        return self._sqlite.execute(f"PRAGMA {name}").fetchone()[0]

    @contextmanager
    def errors(self) -> Iterator[None]:
        """What SQLite or the file system say, as an error of this package that names the file."""
        try:
            yield
        except sqlite3.Error as error:
            raise self._told(error) from error
        except OSError as error:
            kind = DiskFullError if error.errno == errno.ENOSPC else CacheUnavailableError
            raise kind(f"{self.path}: {error}") from error

    def _told(self, error: sqlite3.Error) -> CacheError:
        code = getattr(error, "sqlite_errorcode", 0)
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        text = f"{self.path}: {error} ({name})"
        if code in _FULL:
            return DiskFullError(text)
        return CacheCorruptError(text) if code & 0xFF in _DAMAGED else CacheUnavailableError(text)

    @contextmanager
    def transaction(self, *, durable: bool) -> Iterator[None]:
        """All that is written inside, or nothing. Durable: on the disk at its end; otherwise it survives the end of
        the process, and the next durable one puts it on the disk as well."""
        with self.errors():
            if durable is not self._durable:
                self._sqlite.execute(f"PRAGMA synchronous={_SYNCED[durable]}")
                self._durable = durable
            self._sqlite.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._roll_back()
                raise
            self._commit()

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """All that is read inside is of one instant."""
        with self.errors():
            self._sqlite.execute("BEGIN")
            try:
                yield
            finally:
                self._roll_back()

    def _commit(self) -> None:
        try:
            self._sqlite.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_IOERR:
                # All of it may be in the write-ahead log by now: a crash before the next commit would bring it up.
                raise CommitUnknownError(f"{self._told(error)}") from error
            raise

    def _roll_back(self) -> None:
        if self._sqlite.in_transaction:
            self._sqlite.execute("ROLLBACK")

    def shrink(self) -> None:
        """Give the disk back what was deleted, when it is worth it: some at a time, so that a full one can bear it."""
        with self.errors():
            for _ in range(SHRUNK_STEPS_MAX):
                if self._pragma("freelist_count") < SHRUNK_PAGES_MIN:
                    return
                # One statement, run to its end: `execute` stops after its first page.
                self._sqlite.executescript(f"PRAGMA incremental_vacuum({SHRUNK_PAGES})")
                self._sqlite.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """What a query answers."""
        with self.errors():
            return self._sqlite.execute(sql, parameters).fetchall()

    def row(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        """The only row, or None."""
        return self._sqlite.execute(sql, parameters).fetchone()

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> sqlite3.Cursor:
        """One statement, inside a transaction."""
        return self._sqlite.execute(sql, parameters)

    def run_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """One statement for many rows, inside a transaction."""
        self._sqlite.executemany(sql, rows)

    def close(self) -> None:
        """End; the last process to close the file folds its write-ahead log into it."""
        with self.errors():
            self._sqlite.close()

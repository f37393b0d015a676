"""One SQLite file: opened, checked, written in transactions, its errors translated into those of this package."""

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
"""How long to wait for the lock of another process."""
SQLITE_IOERR_SHMSIZE: Final = 10 | 19 << 8
CHECKED_BYTES_MAX: Final = 1 << 30
"""Larger files are checked as they are read, not when they are opened."""

REWRITTEN_BYTES_MAX: Final = 128 << 20
"""Larger files without auto-vacuum, of an earlier release, are not converted."""
SHRUNK_PAGES_MIN: Final = 256
SHRUNK_PAGES: Final = 1000
"""Pages released per step: what a step writes fits into the disk reserve."""
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
        """`schema` creates the tables of a new file; `application` (31 bits) identifies the file format."""
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
                f"{self.path}: not a file of this release (application_id {found}, not {application})"
            )
        if found == 0:
            self._sqlite.execute("PRAGMA auto_vacuum=INCREMENTAL")
        # Do not overwrite deleted content where that needs extra writes, for which a full disk has no room.
        self._sqlite.execute("PRAGMA secure_delete=FAST")
        while True:
            try:
                self._sqlite.execute("PRAGMA journal_mode=WAL")
            except sqlite3.OperationalError as error:
                # Unlike other statements, a change of the journal mode does not wait for the lock.
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
        """Translates errors of SQLite and the file system into those of this package, with the name of the file."""
        try:
            yield
        except sqlite3.Error as error:
            raise self._translated(error) from error
        except OSError as error:
            kind = DiskFullError if error.errno == errno.ENOSPC else CacheUnavailableError
            raise kind(f"{self.path}: {error}") from error

    def _translated(self, error: sqlite3.Error) -> CacheError:
        code = getattr(error, "sqlite_errorcode", 0)
        name = getattr(error, "sqlite_errorname", type(error).__name__)
        text = f"{self.path}: {error} ({name})"
        if code in _FULL:
            return DiskFullError(text)
        return CacheCorruptError(text) if code & 0xFF in _DAMAGED else CacheUnavailableError(text)

    @contextmanager
    def transaction(self, *, durable: bool) -> Iterator[None]:
        """A write transaction. A durable one is on disk at its end; another survives the end of the process only, until
        the next durable one."""
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
        """A read transaction: all reads inside see the same instant."""
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
                # The transaction may be in the write-ahead log: after a crash before the next commit it would count.
                raise CommitUnknownError(f"{self._translated(error)}") from error
            raise

    def _roll_back(self) -> None:
        if self._sqlite.in_transaction:
            self._sqlite.execute("ROLLBACK")

    def shrink(self) -> None:
        """Return free pages to the file system if there are many; in steps, so that it works on a full disk."""
        with self.errors():
            for _ in range(SHRUNK_STEPS_MAX):
                if self._pragma("freelist_count") < SHRUNK_PAGES_MIN:
                    return
                # `execute` would stop after the first page.
                self._sqlite.executescript(f"PRAGMA incremental_vacuum({SHRUNK_PAGES})")
                self._sqlite.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """The rows of a query."""
        with self.errors():
            return self._sqlite.execute(sql, parameters).fetchall()

    def row(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        """The only row, or None."""
        return self._sqlite.execute(sql, parameters).fetchone()

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Run one statement; inside a transaction."""
        return self._sqlite.execute(sql, parameters)

    def run_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run one statement for many rows; inside a transaction."""
        self._sqlite.executemany(sql, rows)

    def close(self) -> None:
        """Close the file; the last process to do so checkpoints the write-ahead log."""
        with self.errors():
            self._sqlite.close()

"""Values that expire, cached in memory and written through: to SQLite for one host, to Redis for several.

A value is stored together with its owner and key, and both are compared when it is read: a value of another owner is
counted and never returned, however it got there.
"""

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pricegrid.cache.coding import joined, parted
from pricegrid.cache.database import Database
from pricegrid.cache.io_thread import Abandoned, IoThread
from pricegrid.cache.protocol import CacheCorruptError, CacheError, Value

ENTRIES_MAX: Final = 100_000
"""Values in memory, and pending writes while the store is unreachable; the oldest are evicted."""
CLOSE_S: Final = 2.0
IDLE_S: Final = 3600.0
RETRY_S: Final = 0.2

FILE: Final = "values.sqlite"
FORMAT: Final = 0x50475601
SCHEMA: Final = (
    "CREATE TABLE value (owner TEXT, key TEXT, payload BLOB NOT NULL, expires_us INTEGER NOT NULL,"
    " PRIMARY KEY (owner, key)) WITHOUT ROWID"
)

Name = tuple[str, str]
"""(owner, key)"""


def payload_of(value: Value) -> bytes:
    """Encodes a value with its owner and key."""
    instants = (str(value.stored_at_us).encode(), str(value.expires_us).encode())
    return joined((value.owner.encode(), value.key.encode(), value.value, *instants))


def value_from(payload: bytes) -> Value:
    """Decodes a value."""
    try:
        owner, key, value, stored_at, expires = parted(payload)
        return Value(owner.decode(), key.decode(), value, int(stored_at), int(expires))
    except ValueError as error:
        raise CacheCorruptError(f"a value is not in the format of this release: {error}") from error


@dataclass(frozen=True, slots=True)
class Held:
    """What memory has of a name."""

    value: Value | None
    """None: deleted."""
    read_us: int
    stamp: int
    """Of the last write here: a read that began before it must not replace it."""


class Remembered:
    """What both caches share: memory, pending writes, and the comparison of owner and key. Guarded by `lock`."""

    _io: IoThread
    """Of the cache itself: passes on what is pending."""

    def __init__(self, entries_max: int) -> None:
        self.lock = threading.Lock()
        self.mismatches = 0
        """Stored values that were damaged, or of another owner or key."""
        self._entries_max = entries_max
        self._memory: OrderedDict[Name, Held] = OrderedDict()
        self._pending: OrderedDict[Name, Value | None] = OrderedDict()
        self._stamp = 0

    def put(self, values: Sequence[Value]) -> None:
        """See `ValueCache.put`."""
        self._write(((value.owner, value.key), value) for value in values)
        self._io.wake()

    def drop(self, owner: str, keys: Sequence[str]) -> None:
        """See `ValueCache.drop`."""
        self._write(((owner, key), None) for key in keys)
        self._io.wake()

    def _write(self, items: Iterable[tuple[Name, Value | None]]) -> None:
        with self.lock:
            for name, value in items:
                self._stamp += 1
                self._remember(name, Held(value, value.stored_at_us if value else 0, self._stamp))
                self._pending[name] = value
                self._pending.move_to_end(name)
            while len(self._pending) > self._entries_max:
                self._pending.popitem(last=False)

    def _remember(self, name: Name, held: Held) -> None:
        self._memory[name] = held
        self._memory.move_to_end(name)
        while len(self._memory) > self._entries_max:
            self._memory.popitem(last=False)

    def _compared(self, name: Name, payload: bytes | None) -> Value | None:
        """The decoded value, if its owner and key match."""
        if payload is None:
            return None
        with contextlib.suppress(CacheCorruptError):
            value = value_from(payload)
            if (value.owner, value.key) == name:
                return value
        self.mismatches += 1
        return None

    def _taken(self) -> dict[Name, Value | None]:
        """The pending writes."""
        with self.lock:
            return dict(self._pending)

    def _passed_on(self, items: dict[Name, Value | None]) -> None:
        with self.lock:
            for name, value in items.items():
                if name in self._pending and self._pending[name] is value:
                    del self._pending[name]


def valid(value: Value | None, now_us: int) -> Value | None:
    """The value, unless it has expired."""
    return value if value is not None and now_us < value.expires_us else None


class EmbeddedValueCache(Remembered):
    """Values in `directory`/values.sqlite, shared by the processes of a host. A damaged file is replaced."""

    def __init__(self, directory: Path, *, entries_max: int = ENTRIES_MAX) -> None:
        super().__init__(entries_max)
        path = directory / FILE
        try:
            self._reading = Database(path, SCHEMA, FORMAT)
        except CacheCorruptError:
            for suffix in ("", "-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            self._reading = Database(path, SCHEMA, FORMAT)
        self._writing = Database(path, SCHEMA, FORMAT)
        self._seen = self._data_version()
        self._io = IoThread("values", self._pass_on)

    def _data_version(self) -> int:
        """Changes when another process has written to the file."""
        return int(self._reading.rows("PRAGMA data_version")[0][0])

    def get(self, owner: str, keys: Sequence[str], now_us: int) -> list[Value | None]:
        """See `ValueCache.get`."""
        with self.lock:
            with contextlib.suppress(CacheError):
                seen = self._data_version()
                if seen != self._seen:
                    self._memory.clear()
                    self._seen = seen
            return [valid(self._known((owner, key)), now_us) for key in keys]

    def _known(self, name: Name) -> Value | None:
        if name in self._pending:
            return self._pending[name]
        if name in self._memory:
            return self._memory[name].value
        try:
            rows = self._reading.rows("SELECT payload FROM value WHERE owner = ? AND key = ?", name)
        except CacheError:
            return None
        value = self._compared(name, rows[0][0] if rows else None)
        if value is not None:
            self._remember(name, Held(value, 0, self._stamp))
        return value

    def _pass_on(self) -> float:
        items = self._taken()
        if not items:
            return IDLE_S
        puts = [value for value in items.values() if value is not None]
        try:
            with self._writing.transaction(durable=False):
                self._writing.run_many(
                    "INSERT OR REPLACE INTO value VALUES (?, ?, ?, ?)",
                    [(value.owner, value.key, payload_of(value), value.expires_us) for value in puts],
                )
                self._writing.run_many(
                    "DELETE FROM value WHERE owner = ? AND key = ?",
                    [name for name, value in items.items() if value is None],
                )
                newest_us = max((value.stored_at_us for value in puts), default=0)
                if len(puts) * 10 > self._writing.row("SELECT count(*) FROM value")[0]:
                    self._writing.run("DELETE FROM value WHERE expires_us <= ?", (newest_us,))
        except CacheError:
            return RETRY_S
        self._passed_on(items)
        return IDLE_S

    def close(self) -> None:
        """See `ValueCache.close`."""
        with contextlib.suppress(Abandoned):
            self._io.call(self._pass_on, CLOSE_S)
        if self._io.close(CLOSE_S):
            self._writing.close()
        with self.lock:
            self._reading.close()

"""A value cache in the memory of one process."""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from pricegrid.cache.protocol import Value

VALUES_MAX: Final = 100_000


class MemoryValueCache:
    """See `cache.protocol.ValueCache`. Evicts the least recently used values."""

    def __init__(self, values_max: int = VALUES_MAX) -> None:
        self._values: OrderedDict[tuple[str, str], Value] = OrderedDict()
        self._values_max = values_max
        self._lock = threading.Lock()

    def get(self, owner: str, keys: Sequence[str], now_us: int) -> list[Value | None]:
        """See `ValueCache`."""
        with self._lock:
            return [self._get(owner, key, now_us) for key in keys]

    def _get(self, owner: str, key: str, now_us: int) -> Value | None:
        value = self._values.get((owner, key))
        if value is None:
            return None
        if value.expires_us <= now_us:
            del self._values[owner, key]
            return None
        self._values.move_to_end((owner, key))
        return value if (value.owner, value.key) == (owner, key) else None

    def put(self, values: Sequence[Value]) -> None:
        """See `ValueCache`."""
        with self._lock:
            for value in values:
                self._values[value.owner, value.key] = value
                self._values.move_to_end((value.owner, value.key))
            while len(self._values) > self._values_max:
                self._values.popitem(last=False)

    def drop(self, owner: str, keys: Sequence[str]) -> None:
        """See `ValueCache`."""
        with self._lock:
            for key in keys:
                self._values.pop((owner, key), None)

    def close(self) -> None:
        """See `ValueCache`."""

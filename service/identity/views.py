"""What a snapshot looks like to a caller who may ask for some customers alone.

They get a *view* of the snapshot in which there are no others
(`PriceEngine.limited_to`). So a customer outside of the grant is not compared with anything and refused: there is no
such customer, and what follows is what follows for an id that never existed, by the same code at the same cost. Views
are worked out once for each grant and snapshot.

What is below a customer is what the active snapshot says, also of an older snapshot that a request names: who has left
a buying group is no longer shown to it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np

from pricegrid.pricing_engine.arrays.limited import limited_slots
from pricegrid.service.identity.grants import CustomerGrant
from pricegrid.service.identity.limits import VIEW_CUSTOMERS_MAX, VIEWS_MAX
from pricegrid.service.process.snapshots import LoadedSnapshot

if TYPE_CHECKING:
    from pricegrid.pricing_engine.engine import PriceEngine
    from pricegrid.service.fast_path.path import FastPath


@dataclass(frozen=True, slots=True)
class _Limited:
    """What a view has of its own. It does not refer to the snapshot, which must be free to go."""

    engine: PriceEngine
    fast_path: FastPath | None
    customers: int


class CustomerViews:
    """The views of a worker's snapshots; safe to use from many threads."""

    def __init__(self, views_max: int = VIEWS_MAX, customers_max: int = VIEW_CUSTOMERS_MAX) -> None:
        self._views_max = views_max
        self._customers_max = customers_max
        self._known: WeakKeyDictionary[LoadedSnapshot, OrderedDict[tuple[str, CustomerGrant], _Limited]] = (
            WeakKeyDictionary()
        )
        self._lock = threading.Lock()

    def view(self, loaded: LoadedSnapshot, active: LoadedSnapshot, grant: CustomerGrant) -> LoadedSnapshot:
        """The snapshot as a caller with this grant sees it."""
        if grant.is_all:
            return loaded
        limited = self._limited(loaded, active, grant)
        return LoadedSnapshot(
            loaded.version,
            loaded.created_at_us,
            limited.engine,
            loaded.time_zone,
            loaded.availability,
            loaded.branch_of,
            limited.fast_path,
            loaded.live,
            loaded.names,
            loaded,
        )

    def covers(self, customer_id: str, active: LoadedSnapshot, grant: CustomerGrant) -> bool:
        """Whether a caller with this grant may act for a customer.

        One who is named may be acted for even when the snapshot has lost them: what they hold must be given back.
        """
        if grant.is_all or customer_id in grant.customers:
            return True
        if not grant.roots or not customer_id:
            return False
        return self._limited(active, active, grant).engine.knows(customer_id)

    def _limited(self, loaded: LoadedSnapshot, active: LoadedSnapshot, grant: CustomerGrant) -> _Limited:
        key = (active.version, grant)
        with self._lock:
            known = self._known.get(loaded)
            found = None if known is None else known.get(key)
            if known is not None and found is not None:
                known.move_to_end(key)
                return found
        made = _limited_to(loaded, active, grant)
        with self._lock:
            known = self._known.setdefault(loaded, OrderedDict())
            found = known.setdefault(key, made)
            customers = sum(each.customers for each in known.values())
            while len(known) > 1 and (len(known) > self._views_max or customers > self._customers_max):
                customers -= known.popitem(last=False)[1].customers
        return found


def warm_up() -> None:
    """Fetches the kernel that makes views, so that no call waits for it."""
    limited_slots(np.zeros(0, np.uint8), np.zeros(1, np.int64), np.zeros(0, np.int64))


def _limited_to(loaded: LoadedSnapshot, active: LoadedSnapshot, grant: CustomerGrant) -> _Limited:
    engine = loaded.engine
    found = engine.ordinals("customer", grant.customers)
    if grant.roots:
        below = active.engine.below(grant.roots)
        if loaded is not active:
            names = frozenset(map(active.engine.customer_id, below.tolist()))
            below = engine.ordinals("customer", names)
        found = np.union1d(found, below)
    limited = engine.limited_to(found)
    fast_path = loaded.fast_path
    return _Limited(limited, None if fast_path is None else fast_path.limited_to(limited), len(found))

"""The thread that keeps a host's shares of the quotas, in the one process of the host that writes."""

import logging
import threading
from pathlib import Path

from pricegrid.cache.redis_options import RedisOptions
from pricegrid.service.clock import host_ns
from pricegrid.service.quota.accounts import Accounts, accounts_path
from pricegrid.service.quota.exchange import RedisExchange
from pricegrid.service.quota.leases import Leases
from pricegrid.service.quota.limits import LEASE_S

_log = logging.getLogger(__name__)


class Leaser:
    """Leases shares over a Redis until closed. It goes on whatever fails: quotas hold by the last shares meanwhile."""

    def __init__(self, store: Path, options: RedisOptions) -> None:
        self._store = store
        self._exchange = RedisExchange(options)
        self._leases: Leases | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="quota-leases", daemon=True)
        self._thread.start()

    @property
    def hosts(self) -> int:
        """As in Leases."""
        return 0 if self._leases is None else self._leases.hosts

    def close(self) -> None:
        """Stops after the turn that is under way. The shares stay; others take them when they miss the reports."""
        self._stopping.set()
        self._thread.join()
        self._exchange.close()

    def _run(self) -> None:
        is_said = False
        while not self._stopping.is_set():
            try:
                if self._leases is None:
                    accounts = Accounts(accounts_path(self._store), host_ns)
                    self._leases = Leases(accounts, self._exchange, host_ns)
                self._leases.turn()
                is_said = False
            except Exception:  # noqa: BLE001 -- whatever it is, the next turn may succeed
                if not is_said:
                    _log.exception("quotas: the shares could not be renewed, trying again")
                is_said = True
            self._stopping.wait(LEASE_S)


def open_leaser(store: Path, options: RedisOptions | None) -> Leaser | None:
    """The leaser of the quotas of a store. Without a Redis there is none, and what was shared before is forgotten."""
    if options is not None:
        return Leaser(store, options)
    try:
        Accounts(accounts_path(store), host_ns).forget_shares()
    except OSError as error:
        _log.warning("quotas: the shares of before can't be forgotten: %s", error)
    return None

"""Leases a host its shares of the quotas that it has in common with others.

Twice a second each host reports how much of each quota it wants, and reads what the others do. All reckon the same
shares out of the same reports, each for itself, so nobody has to be asked before a call is answered, and none is in
charge. Whether a host is still there is seen by its report, which differs each time: no clock of another machine is
believed. While Redis is away nothing ages: shares stay as they are, and become equal ones when that takes long.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pricegrid.cache.protocol import CacheUnavailableError
from pricegrid.service.quota.accounts import Accounts
from pricegrid.service.quota.demand import Demand, Wanted
from pricegrid.service.quota.exchange import Exchange
from pricegrid.service.quota.kernel import WHOLE
from pricegrid.service.quota.limits import AGED_NS, HOSTS_MAX, KEEP_NS
from pricegrid.service.quota.report import NOTHING, Report, ReportError, greatest, pack, unpack
from pricegrid.service.quota.shares import equal_share, least_of, shares_of

_log = logging.getLogger(__name__)
_AT_ONCE: Final = 4_096
"""Quotas whose shares are reckoned at a time."""


@dataclass(slots=True)
class _Peer:
    """Another host, or whatever else is in its place."""

    raw: bytes | None = None
    report: Report | None = None
    """The last that could be read; None: none could."""
    age_ns: int = 0
    """How long no report has come that could be read, in time in which it would have been seen."""
    still_ns: int = 0
    """How long nothing has changed at all."""


class Leases:
    """The shares of one host. For one thread; `hosts` for others too."""

    def __init__(self, accounts: Accounts, exchange: Exchange, clock_ns: Callable[[], int]) -> None:
        self._accounts = accounts
        self._exchange = exchange
        self._clock_ns = clock_ns
        now_ns = clock_ns()
        self._host = f"{accounts.host():016x}"
        self._demand = Demand(accounts.slots, now_ns)
        self._told = NOTHING
        self._peers: dict[str, _Peer] = {}
        self._heard_ns: int | None = None
        self._away_since_ns: int | None = now_ns
        self._is_said = False
        self._said: set[str] = set()
        self.damaged = 0
        """Reports of others that could not be read."""
        self.hosts = 0
        """How many share the quotas now, this one too; 0 while Redis is away."""

    def turn(self) -> None:
        """Reports, reads what others report, and takes the shares. Does not raise when Redis is away."""
        now_ns = self._clock_ns()
        wanted = self._demand.turn(now_ns)
        told = greatest(wanted.keys, wanted.wanted, least_of(HOSTS_MAX))
        gone = [host for host, peer in self._peers.items() if peer.still_ns > AGED_NS]
        try:
            found = self._exchange.swap(self._host, pack(told, now_ns), gone)
        except CacheUnavailableError as error:
            self._lose(error)
        else:
            self._told = told
            for host in gone:
                del self._peers[host]
            self._hear(found, now_ns)
        self._take(wanted, now_ns)

    def _hear(self, found: Mapping[str, bytes], now_ns: int) -> None:
        """Takes in what was read."""
        passed_ns = 0
        if self._heard_ns is not None and self._away_since_ns is None:
            passed_ns = now_ns - self._heard_ns
        self._heard_ns = now_ns
        for host in sorted({*found, *self._peers} - {self._host}):
            if host not in self._peers and len(self._peers) >= HOSTS_MAX - 1:
                if self._is_first("too many"):
                    _log.warning("quotas: more than %d hosts share them; those beyond are ignored", HOSTS_MAX)
                continue
            self._follow(host, found.get(host), passed_ns)
        hosts = 1 + len(self._known())
        if self._away_since_ns is not None or hosts != self.hosts:
            _log.info("quotas are shared by %d host(s) over %s", hosts, self._exchange)
        self._away_since_ns, self._is_said = None, False
        self.hosts = hosts

    def _follow(self, host: str, raw: bytes | None, passed_ns: int) -> None:
        peer = self._peers.setdefault(host, _Peer())
        peer.age_ns += passed_ns
        peer.still_ns += passed_ns
        if raw is None or raw == peer.raw:
            return
        peer.raw, peer.still_ns = raw, 0
        try:
            peer.report = unpack(raw)
            peer.age_ns = 0
        except ReportError as error:
            self.damaged += 1
            if self._is_first("damaged"):
                _log.warning("quotas: the report of host %s can't be read, so it is skipped: %s", host, error)

    def _is_first(self, problem: str) -> bool:
        """Whether it is the first of its kind: others write often."""
        is_first = problem not in self._said
        self._said.add(problem)
        return is_first

    def _lose(self, error: CacheUnavailableError) -> None:
        self.hosts = 0
        if self._away_since_ns is None:
            self._away_since_ns = self._clock_ns()
        if self._is_said:
            return
        self._is_said = True
        if self._heard_ns is None:
            _log.warning(
                "quotas can't be shared, this host counts by the shares of before, or for itself: %s", error
            )
        else:
            _log.warning("quotas are shared as they were, and equally in %d s: %s", KEEP_NS // 10**9, error)

    def _known(self) -> list[Report]:
        """The reports of the others, as far as they are there."""
        return [
            peer.report for peer in self._peers.values() if peer.report is not None and peer.age_ns <= AGED_NS
        ]

    def _take(self, wanted: Wanted, now_ns: int) -> None:
        """Writes the shares into the accounts."""
        is_long_away = self._away_since_ns is not None and now_ns - self._away_since_ns > KEEP_NS
        if self._heard_ns is None and not is_long_away:
            return  # those of before, if the process began anew
        others = self._known()
        first = self._accounts.first_share
        if self._heard_ns is not None:
            first = equal_share(1 + len(others))
            self._accounts.begin_with(first)
        shares = np.full((len(wanted.keys), 2), first)
        if not is_long_away:
            reports = [self._told, *others]
            named = np.flatnonzero(np.isin(wanted.keys, np.concatenate([each.keys for each in reports])))
            for at in range(0, len(named), _AT_ONCE):
                some = named[at : at + _AT_ONCE]
                shares[some] = _own_shares(reports, wanted.keys[some])
        changed = np.flatnonzero((shares != np.where(wanted.shares == 0, WHOLE, wanted.shares)).any(axis=1))
        if len(changed):
            self._accounts.use_shares(wanted.places[changed], wanted.keys[changed], shares[changed])


def _own_shares(reports: list[Report], keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """What the first of these hosts gets of the accounts `keys` (n,): (n, 2)."""
    wanted = np.stack([report.of(keys).ravel() for report in reports])
    own: NDArray[np.int64] = shares_of(wanted)[0].reshape(-1, 2)
    return own

"""Hosts that share quotas over a real Redis, side by side: each with accounts and leases of its own, at one clock that
is set by hand."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pricegrid.cache.redis_options import RedisOptions
from pricegrid.service.errors import RequestRefusedError
from pricegrid.service.quota import kernel
from pricegrid.service.quota.accounts import Accounts, key_of
from pricegrid.service.quota.exchange import RedisExchange
from pricegrid.service.quota.leases import Leases
from pricegrid.service.quota.quotas import Quotas
from pricegrid.service.quota.rules import LimitRule

S = 1_000_000_000
STEP_NS = S // 1_000
TURN_NS = S // 2
LINE = 0x12


class Clock:
    """Stands still until it is set on."""

    def __init__(self) -> None:
        self.now_ns = 7 * 86_400 * S

    def __call__(self) -> int:
        return self.now_ns


class Host:
    """What there is of a host as far as quotas go: a worker, and the leases of the writer."""

    def __init__(self, folder: Path, clock: Clock, options: RedisOptions, rule: LimitRule) -> None:
        folder.mkdir(exist_ok=True)
        self._path, self._options, self._clock = folder / "quotas", options, clock
        self.accounts = Accounts(self._path, clock)
        self.quotas = Quotas([rule], self.accounts, clock)
        self.begin()

    def begin(self) -> None:
        """The writer's process begins, or begins anew."""
        self.exchange = RedisExchange(self._options)
        self.leases = Leases(Accounts(self._path, self._clock), self.exchange, self._clock)

    def admits(self, caller: str, raw: bytes) -> bool:
        quota = self.quotas.of(caller, "storefront")
        assert quota is not None
        try:
            quota.charge(raw, LINE if raw else 0)
        except RequestRefusedError:
            return False
        return True

    def share(self, caller: str, word: int = kernel.CALLS_SHARE) -> float:
        """What the account of a caller says, 1.0 for the whole."""
        slot, _ = self.accounts.account(key_of(caller))
        return (int(slot[word]) or kernel.WHOLE) / kernel.WHOLE


@contextmanager
def closed(*hosts: Host) -> Iterator[None]:
    """Closes their connections at the end."""
    try:
        yield
    finally:
        for host in hosts:
            host.exchange.close()


class Load:
    """Calls of one caller to several hosts, at random times, less than 1,000 a second each."""

    def __init__(self, clock: Clock, hosts: Sequence[Host], raw: bytes = b"", caller: str = "shop") -> None:
        self._random = random.Random(7)
        self._clock, self._hosts, self._raw, self._caller = clock, hosts, raw, caller
        self._turn_ns = clock.now_ns

    def run(
        self, seconds: int, per_s: Sequence[float], is_leasing: Callable[[Host], bool] = lambda _: True
    ) -> list[int]:
        """How many calls each host admits while so many come; `is_leasing`: whose leases are renewed."""
        counts = [0] * len(self._hosts)
        for _ in range(seconds * S // STEP_NS):
            self._clock.now_ns += STEP_NS
            for at, host in enumerate(self._hosts):
                if self._random.random() < per_s[at] * STEP_NS / S:
                    counts[at] += host.admits(self._caller, self._raw)
            if self._clock.now_ns >= self._turn_ns:
                self._turn_ns += TURN_NS
                for host in filter(is_leasing, self._hosts):
                    host.leases.turn()
        return counts

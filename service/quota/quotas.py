"""What a worker asks before it answers a call: whether its caller has calls and lines left."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from pricegrid.service.errors import Reason, RequestRefusedError
from pricegrid.service.quota import kernel
from pricegrid.service.quota.accounts import Accounts, key_of
from pricegrid.service.quota.limits import ACCOUNTS, PACE_S
from pricegrid.service.quota.rules import LimitRule

_NS_A_MS: Final = 1_000_000
_CLAIMS: Final = 8
"""How often an account is looked for that others take away or spoil."""
_NO_LINES: Final = np.frombuffer(b"", np.uint8)


class Quota:
    """What one caller may use; safe to use from many threads."""

    __slots__ = ("_account", "_accounts", "_clock_ns", "_key", "_rule")

    def __init__(
        self, accounts: Accounts, subject: str, rule: LimitRule, clock_ns: Callable[[], int]
    ) -> None:
        self._accounts = accounts
        self._key = key_of(subject)
        self._rule = rule
        self._clock_ns = clock_ns
        self._account = self._opened()

    def _opened(self) -> tuple[np.ndarray, np.ndarray]:
        """(slot, terms) as the kernel takes them."""
        slot, key = self._accounts.account(self._key)
        terms = np.zeros(kernel.TERMS, np.int64)
        terms[kernel.OWNER] = key
        for rate, cost, ahead in (
            (self._rule.calls, kernel.CALL_NS, kernel.CALLS_AHEAD_NS),
            (self._rule.lines, kernel.LINE_NS, kernel.LINES_AHEAD_NS),
        ):
            if rate is not None:
                terms[cost], terms[ahead] = rate.cost_ns, rate.ahead_ns
        return slot, terms

    def charge(self, raw: bytes, tag: int) -> None:
        """Charges a call and the lines of its request, those with this tag; raises QUOTA_EXCEEDED."""
        lines = np.frombuffer(raw, np.uint8) if tag else _NO_LINES
        wait_ns = self._charged(lines, tag)
        if wait_ns:
            raise self._refused(wait_ns)

    def pace(self, raw: bytes, tag: int, is_over: Callable[[], bool]) -> bool:
        """As `charge`, but waits for what is too early: a stream is slowed down. False: it was over before, and nothing
        was charged."""
        lines = np.frombuffer(raw, np.uint8) if tag else _NO_LINES
        while wait_ns := self._charged(lines, tag):
            if is_over():
                return False
            time.sleep(min(abs(wait_ns) / 1e9, PACE_S))
        return True

    def _charged(self, lines: np.ndarray, tag: int) -> int:
        wait_ns = kernel.LOST
        for _ in range(_CLAIMS):
            slot, terms = self._account
            wait_ns = kernel.charge(slot, terms, lines, tag, self._clock_ns())
            if wait_ns != kernel.LOST:
                return int(wait_ns)
            self._account = self._opened()
        return 0  # somebody spoils the file: that is no reason to lock callers out

    def _refused(self, wait_ns: int) -> RequestRefusedError:
        what, rate = ("calls", self._rule.calls) if wait_ns > 0 else ("lines", self._rule.lines)
        assert rate is not None  # noqa: S101 -- it is what refused
        wait_ms = -(-abs(wait_ns) // _NS_A_MS)
        return RequestRefusedError(
            Reason.QUOTA_EXCEEDED,
            f"more than {rate.per_s} {what} a second; ask again in {wait_ms} ms",
            retry_ms=wait_ms,
            limit=what,
            per_second=str(rate.per_s),
            burst=str(rate.burst),
        )


class Quotas:
    """The quotas of a worker's callers; safe to use from many threads."""

    def __init__(
        self,
        rules: Sequence[LimitRule],
        accounts: Accounts,
        clock_ns: Callable[[], int],
        *,
        known_max: int = ACCOUNTS,
    ) -> None:
        self._rules = {(rule.subject, rule.role): rule for rule in rules}
        self._accounts = accounts
        self._clock_ns = clock_ns
        self._known_max = known_max
        self._known: dict[str, tuple[str, Quota | None]] = {}
        self._lock = threading.Lock()

    def of(self, subject: str, role: str) -> Quota | None:
        """The quota of a caller; None: they have no limit."""
        known = self._known.get(subject)
        if known is not None and known[0] == role:
            return known[1]
        rules = self._rules
        rule = rules.get((subject, "")) or rules.get(("", role)) or rules.get(("", ""))
        made = None
        if rule is not None and (rule.calls or rule.lines):
            made = Quota(self._accounts, subject, rule, self._clock_ns)
        with self._lock:
            self._known.pop(subject, None)
            while len(self._known) >= self._known_max:
                del self._known[next(iter(self._known))]
            self._known[subject] = role, made
        return made


def warm_up() -> None:
    """Fetches the kernels, so that no call waits for them."""
    slots = np.zeros((1, kernel.SLOT_WORDS), np.int64)
    kernel.charge(slots[0], np.zeros(kernel.TERMS, np.int64), _NO_LINES, 0, 0)
    none = np.zeros(0, np.int64)
    kernel.use_shares(slots, none, none, np.zeros((0, 2), np.int64), 0)

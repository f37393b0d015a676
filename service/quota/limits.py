"""The limits of quotas. Apart from `service.limits`, of which compiled kernels are made."""

from typing import Final

ACCOUNTS: Final = 65_536  # callers that a host counts apart; those beyond share one account
PROBES: Final = 128  # places where an account may be
FORGET_NS: Final = (
    60_000_000_000  # an account that was idle for so long, and owes nothing, may be given to another
)
CLAIM_WAIT_S: Final = 0.05  # how long a worker waits for another that looks for a place
CLAIM_POLL_S: Final = 0.001
RATE_MAX: Final = 10_000_000  # calls or lines a second
RULES_MAX: Final = 1_000  # [[limit]] tables
PACE_S: Final = 0.25  # how often a stream that waits for its quota looks whether its caller is still there
HOSTS_MAX: Final = 64  # that share quotas by one Redis
REPORTED_MAX: Final = 4_096  # accounts that a host reports, those it wants most of
LEASE_S: Final = 0.5  # how often a host reports what it wants, and takes its shares
LEASE_TIMEOUT_S: Final = 1.0  # how long it waits for Redis
AGED_NS: Final = 5_000_000_000  # a host whose report did not change for so long is gone
KEEP_NS: Final = 60_000_000_000  # how long shares stay when Redis is away; then all hosts get equal ones
SMOOTHED_NS: Final = 500_000_000  # what a host wants is an average over about so long
SETTLED_NS: Final = 2_000_000_000  # what is owed is wanted within so long
REPORTS_KEPT_S: Final = 60  # how long Redis keeps what the last host of all wrote

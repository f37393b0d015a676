"""How much tests try, and what they need: what `make test-fast` leaves out, and how the long runs are asked for."""

import os
from types import ModuleType

PROFILE = os.environ.get("PRICEGRID_HYPOTHESIS_PROFILE", "")
"""`fast`, `long`, or nothing for what continuous integration runs."""
if PROFILE not in {"", "fast", "long"}:
    raise ValueError(f"PRICEGRID_HYPOTHESIS_PROFILE is {PROFILE!r}; it may be fast, long or not set")
FAST, LONG = PROFILE == "fast", PROFILE == "long"

FAST_SHARE, FAST_MIN = 12, 2

HELPERS = {
    "tests.erp_server": "server",
    "tests.identity_world": "server",
    "tests.json_server": "server",
    "tests.live_servers": "server",
    "tests.page_commands": "server",
    "tests.servers": "server",
    "tests.supervised": "server",
    "tests.hostile_worlds": "http2",
    "tests.transport_worlds": "http2",
    "tests.cache_worlds": "redis",
    "tests.redis_servers": "redis",
    "tests.tryton_server": "tryton",
}
"""What a test needs whose module takes something from one of these."""


def examples(ordinary: int, long: int | None = None) -> int:
    """How many random cases a test tries: few in the fast profile, `long` (else as ordinarily) in the long one."""
    if FAST:
        return max(FAST_MIN, ordinary // FAST_SHARE)
    return long if LONG and long is not None else ordinary


def needs(module: ModuleType) -> set[str]:
    """The markers of a test module, by the helpers that it uses. To wait (`until`) needs nothing."""
    homes = {getattr(value, "__module__", "") for name, value in vars(module).items() if name != "until"}
    return {HELPERS[home] for home in homes if home in HELPERS}

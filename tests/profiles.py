"""How much tests try, and what they need: what `make test-fast` leaves out, and how the long runs are asked for."""

import os
import re
from pathlib import Path
from types import ModuleType

from hypothesis import settings

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


def use_profile() -> None:
    """Where a test says nothing, hypothesis tries as many cases as `examples` says, each as long as it takes. To be
    called before any test is imported."""
    ordinary = settings.get_profile("default").max_examples
    settings.register_profile("pricegrid", max_examples=examples(ordinary), deadline=None)
    settings.load_profile("pricegrid")


def needs(module: ModuleType) -> set[str]:
    """The markers of a test module, by the helpers that it uses. To wait (`until`) needs nothing."""
    homes = {getattr(value, "__module__", "") for name, value in vars(module).items() if name != "until"}
    return {HELPERS[home] for home in homes if home in HELPERS}


_TAKEN = re.compile(r"^from (tests\.\w+) import (?:\(([^)]*)\)|([^\n#]*))", re.MULTILINE)


def needs_by_text(path: Path) -> set[str]:
    """The same of a module that is not imported: what it surely needs, by the functions and classes that it takes."""
    found = set()
    for home, many, few in _TAKEN.findall(path.read_text(encoding="utf-8")):
        taken = {name.split()[0] for name in (many or few).split(",") if name.strip()} - {"until"}
        if home in HELPERS and any(not name.isupper() for name in taken):
            found.add(HELPERS[home])
    return found


def is_left_out(path: Path, chosen: str) -> bool:
    """Whether `-m` leaves out all tests of a module, so that it need not be imported: that takes longer than its tests
    do."""
    if not (path.name.startswith("test_") and path.suffix == ".py") or re.search(r"[()]|\bor\b", chosen):
        return False
    words = chosen.split(" and ")
    return any(f"not {marker}" in words for marker in needs_by_text(path))

"""The configuration of an ERP, read from a TOML file and validated (docs/erp.md lists every field).

Durations have their unit in the name; the defaults suit most installations. Secrets come from the environment or from
a file of their own, never from this one.
"""

import os
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from pricegrid.erp.protocol import ErpConfigError
from pricegrid.pricing_engine.model import MICROS

_CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII)
_NUMBER_MAX: Final = 10**9


class Section:
    """One table of the file: reads members by type and limits; `done` refuses members that were not read."""

    def __init__(self, members: Mapping[str, Any], path: str) -> None:
        self._members = dict(members)
        self._path = path
        self._read: set[str] = set()

    def name(self, key: str) -> str:
        """The full name of a member, for messages."""
        return f"{self._path}.{key}" if self._path else key

    def _take(self, key: str) -> Any:
        self._read.add(key)
        return self._members.get(key)

    def __contains__(self, key: str) -> bool:
        return key in self._members

    def text(self, key: str, default: str | None = None) -> str:
        """A text that is not empty."""
        value = self._take(key)
        value = default if value is None else value
        if not isinstance(value, str) or not value:
            raise ErpConfigError(f"{self.name(key)} must be a text that is not empty")
        return value

    def optional(self, key: str) -> str | None:
        """A text, or None if absent."""
        return self.text(key) if key in self._members else None

    def word(self, key: str, words: Iterable[str], default: str | None = None) -> str:
        """One of `words`."""
        value, allowed = self.text(key, default), tuple(words)
        if value not in allowed:
            raise ErpConfigError(f"{self.name(key)} is {value!r}; it may be {', '.join(allowed)}")
        return value

    def integer(self, key: str, default: int, low: int = 0, high: int = _NUMBER_MAX) -> int:
        """A whole number from `low` to `high`, both inclusive."""
        value = self._take(key)
        value = default if value is None else value
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ErpConfigError(f"{self.name(key)} is {value!r}; it must be a whole number, {low} to {high}")
        return value

    def decimal(self, key: str, default: str | None, low: str = "0", high: str = "1000000") -> Decimal:
        """A number from `low` to `high`; TOML's fractions are read as decimals."""
        value = self._take(key)
        try:
            number = Decimal(str(default if value is None else value))
        except InvalidOperation:
            number = Decimal("NaN")
        if isinstance(value, bool) or not number.is_finite() or not Decimal(low) <= number <= Decimal(high):
            raise ErpConfigError(f"{self.name(key)} is {value!r}; it must be a number, {low} to {high}")
        return number

    def flag(self, key: str, *, default: bool) -> bool:
        """True or false."""
        value = self._take(key)
        value = default if value is None else value
        if not isinstance(value, bool):
            raise ErpConfigError(f"{self.name(key)} is {value!r}; it must be true or false")
        return value

    def texts(self, key: str) -> Mapping[str, str]:
        """A table of texts."""
        value = self._take(key) or {}
        if not isinstance(value, Mapping) or not all(isinstance(v, str) for v in value.values()):
            raise ErpConfigError(f"{self.name(key)} must be a table of texts")
        return dict(value)

    def prefix(self, key: str, default: str) -> str:
        """A text that may be empty."""
        value = self._take(key)
        value = default if value is None else value
        if not isinstance(value, str):
            raise ErpConfigError(f"{self.name(key)} must be a text")
        return value

    def table(self, key: str) -> Mapping[str, Any] | None:
        """A table, None if absent."""
        value = self._take(key)
        if value is not None and not isinstance(value, Mapping):
            raise ErpConfigError(f"{self.name(key)} must be a table")
        return value

    def names(self) -> tuple[str, ...]:
        """The names of its members."""
        return tuple(self._members)

    def section(self, key: str) -> "Section":
        """A nested table, empty if absent."""
        value = self._take(key)
        if value is not None and not isinstance(value, Mapping):
            raise ErpConfigError(f"{self.name(key)} must be a table")
        return Section(value or {}, self.name(key))

    def secret(self, key: str) -> "Secret | None":
        """A secret from `KEY_env` or `KEY_file`, of which at most one may be set; the value itself is refused."""
        if key in self._members:
            raise ErpConfigError(f"{self.name(key)} is not allowed in this file: use {key}_env or {key}_file")
        variable, path = self.optional(f"{key}_env"), self.optional(f"{key}_file")
        if variable and path:
            raise ErpConfigError(f"{self.name(key)}_env and {key}_file are both set: set only one of them")
        if variable:
            value = os.environ.get(variable, "")
            if not value:
                raise ErpConfigError(f"{self.name(key)}_env: the environment variable {variable} is not set")
            return Secret(value)
        if path:
            try:
                return Secret(Path(path).read_text(encoding="utf-8").strip())
            except OSError as error:
                raise ErpConfigError(f"{self.name(key)}_file: {error}") from None
        return None

    def zone(self, key: str) -> ZoneInfo:
        """An IANA time zone, UTC if absent."""
        name = self.text(key, "UTC")
        try:
            return ZoneInfo(name)
        except (KeyError, ValueError, OSError):
            raise ErpConfigError(f"{self.name(key)}: there is no time zone {name!r}") from None

    def done(self) -> None:
        """Refuses unknown members."""
        unknown = sorted(self._members.keys() - self._read)
        if unknown:
            known = ", ".join(sorted(self._read))
            raise ErpConfigError(f"{self.name(unknown[0])} is not known; known are {known}")


@dataclass(frozen=True, slots=True)
class Secret:
    """A password or token that is masked when printed."""

    value: str = field(repr=False)

    def __str__(self) -> str:
        return "***"


@dataclass(frozen=True, slots=True)
class GuardSettings:
    """`[limits]`: protects the ERP from overload, and callers from a slow ERP."""

    timeout_ms: int = 800
    """The longest time of one call, whatever the caller's deadline."""
    request_wait_ms: int = 1500
    """The longest time that one request waits for all its calls, whatever its deadline."""
    concurrent_max: int = 4
    """Concurrent calls of each worker."""
    waiting_max: int = 64
    """Calls that may wait for a slot; beyond, they are refused at once."""
    requests_max: int = 4
    """Requests of each worker that may wait for the ERP; beyond, they are answered without it."""
    calls_per_s: int = 50
    burst: int = 20
    """Calls that may be made at once after a pause."""
    failures_max: int = 3
    """Consecutive failed calls that open the circuit breaker; a single timeout opens it too."""
    probe_ms: int = 1000
    """The interval of probes while the breaker is open, with a random jitter of up to a quarter."""
    retry_pct: int = 20
    """Retries in percent of first calls; bounds the extra load on an ERP in trouble."""
    retries_max: int = 1
    backoff_ms: int = 50
    """The mean wait before a retry; the actual one is random, between 50 % and 150 % of it."""
    answer_bytes_max: int = 1_048_576

    def __post_init__(self) -> None:
        if not 0 <= self.retry_pct <= 100:
            raise ErpConfigError(f"limits.retry_pct is {self.retry_pct}; it must be 0 to 100")


@dataclass(frozen=True, slots=True)
class ValidationSettings:
    """`[validation]`: the conditions for using an answer."""

    band_pct: Decimal = Decimal(50)
    """The greatest deviation from the matrix price, in percent of the latter."""
    unit_price_max: Mapping[str, Decimal] = field(default_factory=dict)
    """The highest accepted unit price by currency, also without a matrix price."""
    zero_allowed: bool = False
    echo_customer: bool = False
    """Refuse answers that do not echo the customer; one that echoes another is always refused."""
    echo_currency: bool = False
    """The same for the currency."""
    echo_uom: bool = False
    """The same for the unit."""


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """`[cache]`: how long validated answers are cached."""

    ttl_s: int = 300
    """How long a cached price is fresh; never beyond its `valid_until`."""
    last_known_s: int = 86_400
    """How long a price serves as the last known one while the ERP is down; never beyond its `valid_until`."""
    stock_ttl_s: int = 30


@dataclass(frozen=True, slots=True)
class ParitySettings:
    """`[parity]`: ordinary answers compared with the ERP in the background."""

    sample_per_million: int = 1000
    """The share of ordinary lines that is compared; 0 disables parity."""
    checks_per_s: int = 2
    """Questions to the ERP by each worker."""
    mismatch_pct_max: Decimal = Decimal(100)
    """A book with more mismatches than this, in percent of its checks, is flagged; 100: never."""
    checks_min: int = 20
    """The checks of a book before that limit applies."""


@dataclass(frozen=True, slots=True)
class ErpSettings:
    """The whole configuration."""

    adapter: str
    """`tryton` or `http_json`."""
    name: str
    source: Section
    """The adapter's own table, which the adapter reads."""
    limits: GuardSettings = field(default_factory=GuardSettings)
    validation: ValidationSettings = field(default_factory=ValidationSettings)
    cache: CacheSettings = field(default_factory=CacheSettings)
    parity: ParitySettings = field(default_factory=ParitySettings)


ADAPTERS: Final = ("tryton", "http_json")


def read_settings(path: Path) -> ErpSettings:
    """Reads a configuration file; raises ErpConfigError, whose text names the file and the field."""
    try:
        members = tomllib.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
    except OSError as error:
        raise ErpConfigError(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ErpConfigError(f"{path}: {error}") from None
    try:
        return _settings(Section(members, ""))
    except ErpConfigError as error:
        raise ErpConfigError(f"{path}: {error}") from None


def _settings(top: Section) -> ErpSettings:
    adapter = top.word("adapter", ADAPTERS)
    settings = ErpSettings(
        adapter=adapter,
        name=top.text("name", adapter),
        source=top.section(adapter),
        limits=GuardSettings(**_integers(top.section("limits"), GuardSettings, at_least_one=_GUARD_POSITIVE)),
        validation=_validation(top.section("validation")),
        cache=CacheSettings(**_integers(top.section("cache"), CacheSettings)),
        parity=_parity(top.section("parity")),
    )
    top.done()
    return settings


_GUARD_POSITIVE = frozenset(
    {
        "timeout_ms",
        "request_wait_ms",
        "concurrent_max",
        "requests_max",
        "calls_per_s",
        "burst",
        "failures_max",
        "probe_ms",
        "answer_bytes_max",
    }
)


def _integers(
    section: Section, kind: Callable[..., Any], at_least_one: frozenset[str] = frozenset()
) -> dict[str, int]:
    """The members of a dataclass of integers."""
    values = {
        each.name: section.integer(each.name, int(str(each.default)), low=int(each.name in at_least_one))
        for each in fields(kind)  # type: ignore[arg-type]
    }
    section.done()
    return values


def _validation(section: Section) -> ValidationSettings:
    highest = {}
    for currency, amount in (section.table("unit_price_max") or {}).items():
        name = section.name(f"unit_price_max.{currency}")
        try:
            number = Decimal(str(amount))
        except InvalidOperation:
            number = Decimal("NaN")
        if not _CURRENCY.fullmatch(currency) or not number.is_finite() or number <= 0:
            raise ErpConfigError(f"{name} is {amount!r}; it must be a currency and an amount above 0")
        highest[currency] = number
    settings = ValidationSettings(
        band_pct=section.decimal("band_pct", "50"),
        unit_price_max=highest,
        zero_allowed=section.flag("zero_allowed", default=False),
        echo_customer=section.flag("echo_customer", default=False),
        echo_currency=section.flag("echo_currency", default=False),
        echo_uom=section.flag("echo_uom", default=False),
    )
    section.done()
    return settings


def _parity(section: Section) -> ParitySettings:
    default = ParitySettings()
    settings = ParitySettings(
        sample_per_million=section.integer("sample_per_million", default.sample_per_million, high=MICROS),
        checks_per_s=section.integer("checks_per_s", default.checks_per_s, low=1),
        mismatch_pct_max=section.decimal("mismatch_pct_max", "100", high="100"),
        checks_min=section.integer("checks_min", default.checks_min, low=1),
    )
    section.done()
    return settings

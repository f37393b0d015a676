"""Words, limits, policies, questions and answers of the availability domain.

Quantities are int64 micros (10^-6 of the unit), instants int64 microseconds since the epoch in UTC, local days
whole days since 1970-01-01 in the branch's own time zone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

MICROS: Final = 1_000_000
INT64_MAX: Final = 2**63 - 1
INT64_MIN: Final = -(2**63)
HORIZON_DAYS: Final = 90
HORIZON_DAYS_MAX: Final = 730
CALENDAR_EXTRA_DAYS: Final = 400
"""How far past the horizon working days are counted (handling, transit). A date beyond it is no promise."""
STALE_AFTER_MIN: Final = 1_440
NO_INSTANT: Final = INT64_MIN
AS_OF_MIN_US: Final = 0
AS_OF_MAX_US: Final = 221_845_392_000_000_000
"""1970 to 9000: every question about an instant outside is refused."""


class AvailabilityStatus(IntEnum):
    """How one line ended; failures in order of precedence."""

    OK = 0
    INVALID_QUANTITY = 1
    UNKNOWN_ITEM = 2
    NOT_ENTITLED = 3
    UNKNOWN_UOM = 4
    UNKNOWN_BRANCH = 5
    UNKNOWN_STOCK = 6
    OUT_OF_RANGE = 7
    AMBIGUOUS_ITEM = 8
    """A part number names several items or packs (P15); the engine, which knows SKUs, never says it."""


class Freshness(IntEnum):
    """Whether a source's data is young enough (A11); the larger value is the worse one."""

    FRESH = 0
    STALE = 1
    UNKNOWN = 2


class Source(IntEnum):
    """Where figures come from: on-hand (erp), allocation (wms), receipts and demands (transit)."""

    ERP = 0
    WMS = 1
    TRANSIT = 2


class AvailabilityError(Exception):
    """Root of the errors of this package; all of them are the caller's to mend."""


class PolicyError(AvailabilityError):
    """A policy or a question contradicts itself or leaves the documented limits."""


class TooComplexError(AvailabilityError):
    """A promise would take more work than one request may."""


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise PolicyError(message)


@dataclass(frozen=True, slots=True)
class SupplyPolicy:
    """Which supply counts, and over which days (A2, A3, A4)."""

    horizon_days: int = HORIZON_DAYS
    past_due_offset_days: int = 1
    """A late receipt is expected this many days after today; at least 1: it never counts as available now."""
    past_due_max_days: int = 30
    """A receipt more than this many days late is dropped and reported."""
    min_confidence_micros: int = 0
    """Receipts below it are left out; MICROS means certain ones only."""
    look_ahead_days: int | None = None
    """None: ATP looks to the horizon. 0: mode `period`, the balance of the day itself. n: the lowest of n more days."""

    def __post_init__(self) -> None:
        _require(1 <= self.horizon_days <= HORIZON_DAYS_MAX, f"horizon_days must be 1 to {HORIZON_DAYS_MAX}")
        _require(
            1 <= self.past_due_offset_days <= HORIZON_DAYS_MAX,
            f"past_due_offset_days must be 1 to {HORIZON_DAYS_MAX}: a late receipt never counts as available now",
        )
        _require(0 <= self.past_due_max_days <= 36_500, "past_due_max_days must be 0 to 36500")
        _require(0 <= self.min_confidence_micros <= MICROS, "min_confidence must be 0 to 1")
        _require(
            self.look_ahead_days is None or self.look_ahead_days >= 0, "look_ahead_days must not be negative"
        )


@dataclass(frozen=True, slots=True)
class PromisePolicy:
    """What the caller accepts (A5, A7). Days are local to the shipping branch."""

    on: date | None = None
    """The first pick day wanted; blank: as soon as can be."""
    need_by: date | None = None
    """The latest arrival, inclusive."""
    late_until: date | None = None
    """The latest pick day, inclusive."""
    no_late: bool = False
    """Only each branch's first pick day counts."""
    ship_complete: bool = False
    no_split: bool = False
    minimum_shipment_micros: int = 0
    """In the asked unit of the line."""
    allow_substitutes: bool = False

    def __post_init__(self) -> None:
        _require(self.minimum_shipment_micros >= 0, "minimum_shipment must not be negative")


@dataclass(frozen=True, slots=True)
class Reservation:
    """One item held at one branch (A8). It counts while `as_of < expires_us`, on all days from `holds_from_us` on.

    A confirmed one never expires (`expires_us` is INT64_MAX) and nets the demand of the same order reference, line,
    item and branch (A1).
    """

    reservation_id: str
    sku: str
    branch: str
    quantity_micros: int
    order_ref: str = ""
    confirmed: bool = False
    holds_from_us: int = INT64_MIN
    expires_us: int = INT64_MAX
    order_line: str = ""


@dataclass(frozen=True, slots=True)
class CheckAsk:
    """How much of each line is free at each branch (A2)."""

    as_of_us: int
    skus: Sequence[bytes]
    quantities_micros: NDArray[np.int64]
    """Shape (n,); in the asked unit; 0 or less is INVALID_QUANTITY."""
    uoms: Sequence[bytes]
    """b'' asks in base units."""
    branches: Sequence[bytes] = ()
    """Empty: every branch, in the order of their names."""
    supply: SupplyPolicy = SupplyPolicy()
    projected: bool = False
    exclude_reservation: str = ""
    hidden_skus: frozenset[bytes] = frozenset()
    """Items this customer may not see: UNKNOWN_ITEM, or NOT_ENTITLED at the service desk."""
    service_desk: bool = False

    def __post_init__(self) -> None:
        _require_lines(self.as_of_us, len(self.skus), len(self.quantities_micros), len(self.uoms))


@dataclass(frozen=True, slots=True)
class PromiseAsk:
    """When, from where and how much of each line can be shipped (A7)."""

    as_of_us: int
    skus: Sequence[bytes]
    quantities_micros: NDArray[np.int64]
    uoms: Sequence[bytes]
    branches: Sequence[bytes] = ()
    ship_to: bytes = b""
    """A ship zone or a destination branch of `lanes`; excludes `branches`."""
    supply: SupplyPolicy = SupplyPolicy()
    policy: PromisePolicy = PromisePolicy()
    exclude_reservation: str = ""
    hidden_skus: frozenset[bytes] = frozenset()
    service_desk: bool = False

    def __post_init__(self) -> None:
        _require_lines(self.as_of_us, len(self.skus), len(self.quantities_micros), len(self.uoms))
        _require(not (self.branches and self.ship_to), "name branches or a ship-to, not both")
        _require(self.supply.look_ahead_days is None, "a promise always looks to the horizon")


def _require_lines(as_of_us: int, skus: int, quantities: int, uoms: int) -> None:
    _require(AS_OF_MIN_US <= as_of_us < AS_OF_MAX_US, "as_of must lie between the years 1970 and 9000")
    _require(skus == quantities == uoms, "skus, quantities and uoms must be equally many")


@dataclass(frozen=True, slots=True)
class Steps:
    """Step functions of all results: those of result r are `start[r]:start[r + 1]`."""

    start: NDArray[np.int64]
    day: NDArray[np.int32]
    """Local days since 1970-01-01."""
    atp_micros: NDArray[np.int64]
    balance_micros: NDArray[np.int64]


class Limit(IntEnum):
    """What leaves nothing, or not all, of a line to promise though there is stock."""

    NONE = 0
    UNIT = 1
    """Only whole units are promised."""
    ORDER_MULTIPLE = 2
    """Only whole order multiples of the item are."""
    MINIMUM_SHIPMENT = 3
    """No shipment may be as small as what there is."""


@dataclass(frozen=True, slots=True)
class CheckAnswers:
    """Dense: result `line * branches + branch`. Quantities are in the line's asked unit, 0 unless status is OK."""

    branches: NDArray[np.int32]
    """(b,) branch ordinals in the order asked, -1 for an unknown one."""
    status: NDArray[np.uint8]
    atp_micros: NDArray[np.int64]
    """Signed ATP on the as_of day."""
    available_micros: NDArray[np.int64]
    shortage_micros: NDArray[np.int64]
    dropped_receipts: NDArray[np.int32]
    """How many receipts were too late to count (A3)."""
    freshness: NDArray[np.uint8]
    """(results, 3) by `Source`."""
    source_as_of_us: NDArray[np.int64]
    """(results, 3) by `Source`; NO_INSTANT where unknown."""
    total_available_micros: NDArray[np.int64]
    """(lines,) sum over the branches, each clamped at 0; what is unknown adds nothing; at most INT64_MAX."""
    projected: Steps | None = None
    limit: NDArray[np.uint8] | None = None
    """(results,) `Limit`: why nothing could be promised of what is available; None: no line has any."""


@dataclass(frozen=True, slots=True)
class PromiseAnswers:
    """Line i is promised the parts `part_start[i]:part_start[i + 1]`. Quantities are in the line's asked unit."""

    status: NDArray[np.uint8]
    requested_micros: NDArray[np.int64]
    shortage_micros: NDArray[np.int64]
    dropped_receipts: NDArray[np.int32]
    """Receipts too late to count (A3), over every pair that the line reads."""
    freshness: NDArray[np.uint8]
    """(lines, 3) by `Source`: the worst over every pair that the line reads (A11)."""
    source_as_of_us: NDArray[np.int64]
    """(lines, 3) by `Source`: the oldest of them; NO_INSTANT where unknown."""
    part_start: NDArray[np.int64]
    part_item: NDArray[np.int32]
    part_branch: NDArray[np.int32]
    part_quantity_micros: NDArray[np.int64]
    pick_day: NDArray[np.int32]
    ship_day: NDArray[np.int32]
    arrival_day: NDArray[np.int32]
    limit: NDArray[np.uint8] | None = None
    """(lines,) `Limit`: why nothing is promised though there is stock; None: of no line."""


@dataclass(frozen=True, slots=True)
class Step:
    """From `day` on the figures are these."""

    day: int
    atp_micros: int
    balance_micros: int


@dataclass(frozen=True, slots=True)
class PairAvailability:
    """The reference's answer for one line at one branch; None is unknown, never zero."""

    status: AvailabilityStatus
    atp_micros: int | None = None
    available_micros: int | None = None
    shortage_micros: int | None = None
    dropped_receipts: int = 0
    freshness: tuple[Freshness, Freshness, Freshness] = (Freshness.UNKNOWN,) * 3
    source_as_of_us: tuple[int, int, int] = (NO_INSTANT,) * 3
    projected: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class PromisedPart:
    """One shipment: this much of `sku`, picked at `branch` on `pick_day` (all days local, since 1970-01-01)."""

    sku: str
    branch: str
    quantity_micros: int
    pick_day: int
    ship_day: int
    arrival_day: int


@dataclass(frozen=True, slots=True)
class LinePromise:
    """The reference's answer for one line of a promise."""

    status: AvailabilityStatus
    requested_micros: int
    shortage_micros: int
    parts: tuple[PromisedPart, ...] = field(default=())
    dropped_receipts: int = 0
    freshness: tuple[Freshness, Freshness, Freshness] = (Freshness.UNKNOWN,) * 3
    source_as_of_us: tuple[int, int, int] = (NO_INSTANT,) * 3

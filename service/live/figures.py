"""What live state says of itself to whoever watches it: how much is held, what is kept, how far events lag."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pricegrid.atp.model import Source
from pricegrid.atp.rules.reservations import LIVING, HeldReservation, ReservationStatus


@dataclass(frozen=True, slots=True)
class LiveFigures:
    """As of one moment."""

    reservations: Mapping[ReservationStatus, int]
    """How many there are of those that hold stock."""
    unreported_us: int | None
    """When the oldest of the confirmed ones was confirmed; None: there is none."""
    dead_letters: Mapping[str, tuple[int, int]]
    """(how many, when the oldest came) by reason."""
    newest_us: Mapping[Source, int]
    """When the newest applied event of a source took effect; those of which there was one."""


def held_now(
    reservations: Iterable[HeldReservation], now_us: int
) -> tuple[dict[ReservationStatus, int], int | None]:
    """(how many of each status hold stock, when the oldest confirmed one was confirmed)."""
    counts = dict.fromkeys(LIVING, 0)
    oldest_us: int | None = None
    for each in reservations:
        if each.status not in counts or (each.status is ReservationStatus.HELD and now_us >= each.expires_us):
            continue
        counts[each.status] += 1
        if each.confirmed_us is not None and (oldest_us is None or each.confirmed_us < oldest_us):
            oldest_us = each.confirmed_us
    return counts, oldest_us

"""Which pages there are, and how each is asked and answered."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pricegrid.service.console import (
    availability,
    freshness,
    letters,
    parity,
    price,
    reservations,
    search,
    snapshots,
    timeline,
)
from pricegrid.service.console.asked import Asked
from pricegrid.service.console.html import Node


@dataclass(frozen=True, slots=True)
class Page:
    """A page: what asks, and what answers."""

    path: str
    name: str
    form: Callable[[Asked], Node]
    answer: Callable[[Asked], Node]
    needs_store: bool = False


@dataclass(frozen=True, slots=True)
class Action:
    """Something that a page can change."""

    page: Page
    run: Callable[[Asked], Node]


PAGES = (
    Page(price.PATH, "Price", price.form, price.answer),
    Page(timeline.PATH, "Price over time", timeline.form, timeline.answer),
    Page(availability.PATH, "Availability", availability.form, availability.answer),
    Page(search.PATH, "Find", search.form, search.answer, needs_store=True),
    Page(freshness.PATH, "Freshness", freshness.form, freshness.answer),
    Page(reservations.PATH, "Reservations", reservations.form, reservations.answer),
    Page(letters.PATH, "Dead letters", letters.form, letters.answer),
    Page(parity.PATH, "Parity", parity.form, parity.answer, needs_store=True),
    Page(snapshots.PATH, "Snapshots", snapshots.form, snapshots.answer, needs_store=True),
)
_BY_PATH = {page.path: page for page in PAGES}
ACTIONS: Mapping[str, Action] = MappingProxyType(
    {
        letters.REPLAY: Action(_BY_PATH[letters.PATH], letters.replay),
        snapshots.ACTIVATE: Action(_BY_PATH[snapshots.PATH], snapshots.activate),
    }
)

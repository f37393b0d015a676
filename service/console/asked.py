"""What a page is asked with: the fields of a form, and whom to ask for the answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Final, Protocol

from pricegrid import Client, Line
from pricegrid.service.cli.text import parse_decimal
from pricegrid.service.clock import instant_of_us, now_us, parse_as_of

_ROWS_MAX: Final = 1_000


class FormError(Exception):
    """A field of a form can't be read; says which one and why."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class Server(Protocol):
    """The server that a console asks, as whoever a token names."""

    def client(self, token: str | None) -> Client:
        """A client that sends this token; None: none."""

    def health(self, token: str | None) -> Mapping[str, str]:
        """The health of the server and of each of its services, by name."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A page that someone asks for."""

    fields: Mapping[str, str]
    server: Server
    token: str | None = None
    store: Path | None = None
    """The store that the server serves, where it is on this host."""

    @property
    def client(self) -> Client:
        """Asks the server as the caller."""
        return self.server.client(self.token)

    def text(self, name: str) -> str:
        """A field without outer blanks; '' where it is not filled."""
        return self.fields.get(name, "").strip()

    def needed(self, name: str, label: str) -> str:
        """A field that must be filled."""
        found = self.text(name)
        if not found:
            raise FormError(name, f"{label}: please fill this in")
        return found

    def quantity(self) -> Decimal:
        """The quantity; 1 where none is said."""
        try:
            return parse_decimal(self.text("quantity") or "1")
        except ValueError as error:
            raise FormError("quantity", f"Quantity: {error}") from None

    def line(self) -> Line:
        """The item, how much of it, in which unit."""
        return Line(self.needed("sku", "Item"), self.quantity(), self.text("uom"))

    def as_of(self, name: str = "as_of", label: str = "As of") -> date | datetime | None:
        """A date or an instant; None where none is said."""
        said = self.text(name)
        try:
            return parse_as_of(said) if said else None
        except ValueError as error:
            raise FormError(name, f"{label}: {error}") from None

    def day(self, name: str, label: str) -> date:
        """A date; today (UTC) where none is said."""
        found = self.as_of(name, label)
        if isinstance(found, datetime):
            raise FormError(name, f"{label}: {self.text(name)!r} is not a date YYYY-MM-DD")
        return found or instant_of_us(now_us()).date()

    def count(self, name: str, label: str, default: int) -> int:
        """How many rows at most."""
        said = self.text(name)
        if not said:
            return default
        if not (said.isascii() and said.isdecimal() and len(said) <= 6 and 1 <= int(said) <= _ROWS_MAX):
            raise FormError(name, f"{label}: {said[:20]!r} is not a number from 1 to {_ROWS_MAX:,}")
        return int(said)

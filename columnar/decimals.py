"""Numbers that are kept in micros (10^-6), as text."""

from typing import Final

MICROS: Final = 1_000_000


def decimal_text(micros: int) -> str:
    """A number of micros as a decimal without exponent or trailing zeros, exact: 12500000 is '12.5'."""
    whole, fraction = divmod(abs(micros), MICROS)
    text = f"{whole}.{fraction:06d}".rstrip("0").rstrip(".")
    return f"-{text}" if micros < 0 else text


def per_text(price_per: int) -> str:
    """What follows a price that is for more than one unit: ' per 1000', and nothing for one (P14)."""
    return f" per {price_per}" if price_per > 1 else ""

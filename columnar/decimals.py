"""Numbers that are kept in micros (10^-6), as text."""

from typing import Final

MICROS: Final = 1_000_000


def decimal_text(micros: int) -> str:
    """A number of micros as a decimal without exponent or trailing zeros, exact: 12500000 is '12.5'."""
    whole, fraction = divmod(abs(micros), MICROS)
    text = f"{whole}.{fraction:06d}".rstrip("0").rstrip(".")
    return f"-{text}" if micros < 0 else text

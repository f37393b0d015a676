"""Which customers a caller may ask for: one (`C7`), one and all below (`G00001/*`), or all (`*`)."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

from pricegrid.service.identity.limits import GRANTS_MAX
from pricegrid.service.limits import FIELD_BYTES_MAX

ALL: Final = "*"
_BELOW: Final = "/*"


@dataclass(frozen=True, slots=True)
class CustomerGrant:
    """The customers that a caller may ask for."""

    is_all: bool = False
    customers: frozenset[str] = frozenset()
    """Each of these."""
    roots: frozenset[str] = frozenset()
    """Each of these and all below."""

    @classmethod
    def of(cls, texts: Iterable[object]) -> Self:
        """From `C7` (one), `G00001/*` (one and all below) and `*` (all); raises ValueError."""
        named = list(texts)
        if len(named) > GRANTS_MAX:
            raise ValueError(f"{len(named)} customers; at most {GRANTS_MAX}")
        for text in named:
            if not isinstance(text, str) or not text.removesuffix(_BELOW).strip():
                raise ValueError(f"{text!r} is neither a customer id, ID/* nor *")
            if len(text.encode()) > FIELD_BYTES_MAX + len(_BELOW):
                raise ValueError(f"a customer id is longer than {FIELD_BYTES_MAX} bytes")
        words = [str(text).strip() for text in named]
        return cls(
            ALL in words,
            frozenset(word for word in words if word != ALL and not word.endswith(_BELOW)),
            frozenset(word.removesuffix(_BELOW) for word in words if word.endswith(_BELOW)),
        )

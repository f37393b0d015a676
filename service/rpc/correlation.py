"""What names an exchange in logs and answers."""

import itertools
import secrets
from collections.abc import Sequence

from pricegrid.service.limits import CORRELATION_ID_MAX

CORRELATION_KEY = "x-correlation-id"
# of this process; a random name for each exchange costs as much as a tenth of a quote
_NAMED = secrets.token_hex(8)
_COUNT = itertools.count()


def correlation_id_of(metadata: Sequence[tuple[str, str | bytes]] | None) -> str:
    """The caller's correlation id, or a new one if there is none that is fit to be logged."""
    for key, value in metadata or ():
        if key == CORRELATION_KEY and isinstance(value, str) and 0 < len(value) <= CORRELATION_ID_MAX:
            if value.isascii() and value.isprintable():
                return value
            break
    return f"{_NAMED}{next(_COUNT):016x}"

"""Which of the servers speaks HTTP/2, and to whom it opens."""

from dataclasses import dataclass
from typing import Final

GRPCIO: Final = "grpcio"
HTTP2: Final = "http2"
TRANSPORTS: Final = (GRPCIO, HTTP2)


@dataclass(frozen=True, slots=True)
class Transport:
    """grpcio, or uvloop and libnghttp2."""

    name: str = GRPCIO
    """One of TRANSPORTS."""
    origins: tuple[str, ...] = ()
    """Pages of these may ask from a browser (`service.transport.cors`)."""
    is_local: bool = False
    """Nobody is asked who they are, so callers are of this machine."""

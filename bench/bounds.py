"""How far the ratios of `bench.check` may go before it fails: the one place where that is said.

Never times: each is a ratio to a floor that was measured beside it, in the same process or in turn with it, so that a
slow or busy machine moves both. `usual` is what a quiet two-core machine shows with the data of the check, `factor`
how far beyond it is "far out of line". A change that makes something faster lowers `usual`; nothing fails if it is
not lowered.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Bound:
    """The largest ratio that passes is `usual` × `factor`."""

    usual: float
    factor: float = 3.0

    @property
    def ratio_max(self) -> float:
        """Beyond it the check fails."""
        return self.usual * self.factor


BOUNDS: Final = {
    "QuoteLines over gRPC, 1 line, server CPU a call": Bound(1.5),
    "QuoteLines over gRPC, 100 lines, server CPU a call": Bound(2.5),
    "QuoteLines over gRPC, 1,000 lines, server CPU a call": Bound(8),
    "QuoteLines over gRPC by uvloop, 1 line, server CPU a call": Bound(0.25),
    "QuoteLines over gRPC by uvloop, 100 lines, server CPU a call": Bound(0.7),
    "QuoteLines over gRPC by uvloop, 1,000 lines, server CPU a call": Bound(6),
    "kernel, list, 1,000 lines": Bound(36),
    "kernel, mixed, 1,000 lines": Bound(60),
    "PriceLines in process, 1 line": Bound(6),
    "PriceLines in process, 1,000 lines": Bound(6),
    "QuoteLines in process, 1,000 lines": Bound(4.5),
    "availability of 1,000 pairs": Bound(250),
    "cost a line, ten times the cells": Bound(1.4),
    "bytes a cell, index and price": Bound(1.31, factor=1.2),  # counted, not timed
}
"""By figure. Those in process are beside the protobuf runtime reading the same request and writing the same answer."""

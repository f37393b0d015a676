"""Lines of a question as arrays, their names resolved."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines with their names resolved: status so far, item ordinal, exact factor of the asked unit."""

    status: NDArray[np.uint8]
    item: NDArray[np.int32]
    numerator: NDArray[np.int64]
    denominator: NDArray[np.int64]
    is_unit_asked: NDArray[np.bool_]

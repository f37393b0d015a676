"""What the receipts of a snapshot count, by the same function as those of live positions."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from pricegrid.atp.rules.receipts import net_receipts
from pricegrid.atp.rules.rows import Receipt


def net_column(rows: pl.DataFrame, starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """What each receipt counts: an order less its ship notices (A12)."""
    net = rows["quantity_micros"].to_numpy().copy()
    notices = np.flatnonzero(rows["supersedes"].is_not_null().to_numpy())
    for pair in np.unique(np.searchsorted(starts, notices, side="right") - 1).tolist():
        first, end = int(starts[pair]), int(starts[pair + 1])
        net[first:end] = net_receipts(
            [
                Receipt(
                    row["quantity_micros"],
                    row["expected_at_us"],
                    reference=row["reference"],
                    line=row["line"],
                    supersedes=row["supersedes"],
                )
                for row in rows[first:end].iter_rows(named=True)
            ]
        )
    return net

"""Blocks of the snapshot's pairs: what is in them, and that positions whose blocks don't fit are refused."""

import numpy as np
import pytest

from pricegrid.atp.arrays.positions import BLOCK_SHIFT, DEMANDS_SHIFT, FLAGS, Positions, pair_blocks
from pricegrid.atp.model import MICROS
from pricegrid.atp.rules.rows import Demand, Receipt
from pricegrid.loaders.compile.positions import compile_positions
from tests.atp_world import at, frames_of, q, world


def test_a_block_has_its_counts_then_receipts_then_demands():
    places, blocks = pair_blocks(
        np.array([0, 2, 2, 2, 3]),
        [np.array([10, 11, 12]), np.array([5, 6, 7]), np.array([1, 2, 3])],
        np.array([0, 1, 1, 3, 3]),
        [np.array([20, 21, 22]), np.array([8, 9, 4])],
    )

    assert blocks.tolist() == [
        *(2 | 1 << DEMANDS_SHIFT, 10, 5, 1, 11, 6, 2, 20, 8),
        *(0 | 2 << DEMANDS_SHIFT, 21, 9, 22, 4),
        *(1, 12, 7, 3),
    ]
    assert places.tolist() == [1, 0, 10, 15]


def test_pairs_without_receipts_and_demands_have_no_blocks():
    nothing = np.array([], dtype=np.int64)
    places, blocks = pair_blocks(np.zeros(3, np.int64), [nothing] * 3, np.zeros(3, np.int64), [nothing] * 2)

    assert places.tolist() == [0, 0]
    assert len(blocks) == 0


def arrays_of_a_world():
    """X with a receipt and a demand, Y with neither, Z with a demand."""
    rows = world(X=1, Y=2, Z=3)
    rows.receipts["X", "MAIN"] = [Receipt(q(5), at(2))]
    for sku in "XZ":
        rows.demands[sku, "MAIN"] = [Demand(q(1), at(3), None)]
    return dict(compile_positions(frames_of(rows)))


def test_positions_have_the_blocks_of_their_pairs():
    positions = Positions(arrays_of_a_world())

    places = positions.arrays["pair_record"][:, FLAGS] >> BLOCK_SHIFT
    assert places.tolist() == [1, 0, 7]
    blocks = positions.arrays["pair_blocks"].tolist()
    assert blocks[0] == 1 | 1 << DEMANDS_SHIFT
    assert blocks[2:4] == [5 * MICROS, MICROS]
    assert blocks[5:] == [MICROS, 1 << DEMANDS_SHIFT, blocks[4], MICROS]


@pytest.mark.parametrize(
    "damage",
    [
        lambda record, blocks: (record + np.eye(3, 8, 7, dtype=np.int64) * (1 << BLOCK_SHIFT), blocks),
        lambda record, blocks: (record, blocks[:-1]),
        lambda record, blocks: (record, np.append(blocks, 0)),
        lambda record, blocks: (record, blocks + (np.arange(len(blocks)) == 0)),
    ],
    ids=["a place is another", "a word is missing", "a word is too many", "a count is another"],
)
def test_blocks_that_do_not_fit_are_refused(damage):
    arrays = arrays_of_a_world()
    arrays["atp_pair_record"], arrays["atp_pair_blocks"] = damage(
        arrays["atp_pair_record"], arrays["atp_pair_blocks"]
    )

    with pytest.raises(ValueError, match="atp_pair_blocks does not fit its pairs"):
        Positions(arrays)

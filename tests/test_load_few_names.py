"""A load looks at few names one by one and at many by queries: both give the same places and the same snapshot."""

from random import Random

import numpy as np
import polars as pl
import pytest

from pricegrid.loaders.compile.ordinals import FEW, Names, sorted_names, string_table, table_names
from pricegrid.loaders.publish import compile_dataset
from tests.datasets import as_frames, random_rows
from tests.stores import stocked_rows
from tests.written import accepted

ODD = ["b", "", "Z", "\uff5e", "é", "a", "𝄞", "ab", "\0"]
"""In another order by the units of UTF-16 than by bytes."""


@pytest.fixture
def by_queries(monkeypatch):
    """From here on."""
    return lambda: monkeypatch.setattr("pricegrid.loaders.compile.ordinals.FEW", 0)


def test_names_are_in_byte_order_and_found_where_they_stand(by_queries):
    def answers():
        names = sorted_names([pl.Series(ODD), pl.Series(["a", None]), pl.Series([None], dtype=pl.Null)])
        places = Names(names).places(pl.Series(["𝄞", None, "c", "", "a", "𝄞"]))
        arrays = string_table("name", names)
        assert table_names(arrays, "name") == names.to_list()
        return names.to_list(), places.tolist(), arrays["name_offsets"].tolist()

    few = answers()
    by_queries()

    assert few[0] == sorted(ODD, key=str.encode)
    assert few[1] == [8, -1, -1, 0, 3, 8]
    assert answers() == few


@pytest.mark.parametrize("seed", [0, 1, 2, "stock"])
def test_few_rows_make_the_snapshot_that_queries_make(by_queries, seed):
    rows = stocked_rows() if seed == "stock" else random_rows(Random(seed))
    frames = accepted(as_frames(rows)).frames

    few = compile_dataset(frames, "UTC")
    by_queries()
    many = compile_dataset(frames, "UTC")

    assert max(frame.height for frame in frames.values()) <= FEW
    assert few.keys() == many.keys()
    for name, array in few.items():
        assert array.dtype == many[name].dtype, name
        np.testing.assert_array_equal(array, many[name], err_msg=name)

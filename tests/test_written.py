"""A dataset of a test with a misspelt column or table fails; nothing of it is ignored."""

import pytest

from tests.atp_world import frames_of, world
from tests.datasets import as_frames
from tests.load_tables import loaded
from tests.written import READ_COLUMNS, accepted, check_declared, write_tables

MISSPELT = "branches has no column order_cutoff: the loader would ignore it"


def test_rows_with_a_column_that_is_not_declared_are_refused():
    with pytest.raises(AssertionError, match=MISSPELT):
        as_frames({"branches": [{"branch": "NYC"}, {"branch": "BER", "order_cutoff": "14:30"}]})


def test_texts_and_files_too(tmp_path):
    text = "branch, order_cutoff\nNYC, 14:30"

    with pytest.raises(AssertionError, match=MISSPELT):
        loaded({"branches": text})
    with pytest.raises(AssertionError, match=MISSPELT):
        write_tables(tmp_path, {"branches": text.replace(" ", "")})

    assert list(tmp_path.iterdir()) == []


def test_a_table_that_is_not_declared_is_refused(tmp_path):
    with pytest.raises(AssertionError, match='no such table: "prices"'):
        write_tables(tmp_path, {"prices": "sku,price\nA,1"})


def test_only_a_delta_has_deletions(tmp_path):
    entries = {"price_entries": "book_id,sku,method,value,deleted\nLIST,A,net,1,true"}

    write_tables(tmp_path, entries, is_delta=True)
    with pytest.raises(AssertionError, match="price_entries has no column deleted"):
        write_tables(tmp_path, entries)


def test_a_rejected_row_of_a_generator_is_a_fault_of_the_test():
    rows = {
        "items": [{"sku": "A", "base_uom": "EA"}],
        "costs": [{"sku": "B", "cost": "1", "currency": "EUR"}],
    }

    with pytest.raises(AssertionError, match="is an unknown SKU"):
        accepted(as_frames(rows))


def test_frames_as_the_compiler_takes_them_are_checked_by_their_names_once_read():
    frames = frames_of(world("X"))

    with pytest.raises(AssertionError, match="branches has no column cutoff"):
        check_declared({"branches": [*frames["branches"].columns, "cutoff"]}, READ_COLUMNS)

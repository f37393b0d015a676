"""`branch` of entries from the file to the arrays and back: names, keys, digests, deltas (P17)."""

import numpy as np
import polars as pl
import pytest

from pricegrid.loaders.compile.decode import decode_entries
from pricegrid.loaders.compile.entries import entry_rows
from pricegrid.loaders.compile.ordinals import Ordinals
from pricegrid.loaders.compile.prices import compile_prices
from pricegrid.loaders.delta import DeltaBase
from pricegrid.loaders.gates.gates import ENTRY_KEY, compare
from pricegrid.loaders.store.kept import entry_digests
from pricegrid.loaders.validate.tables import Dataset, validate_delta
from pricegrid.pricing_engine.arrays import matrix as mx
from tests.load_tables import loaded, rejected, table

HEADER = "book_id, sku, price_class, branch, method, value"
BRANCHES = {"branches": "branch\nHAM\nKIEL"}


def _of(*lines: str, **more: str) -> Dataset:
    return loaded({"price_entries": "\n".join([HEADER, *lines]), **more})


def test_entries_of_branches_survive_compilation() -> None:
    dataset = _of(
        "LIST, BOLT, , , net, 1",
        "LIST, BOLT, , HAM, net, 2",
        "LIST, BOLT, GOLD, KIEL, net, 3",
        "LIST, BOLT, GOLD, , net, 4",
        **BRANCHES,
    )

    arrays = compile_prices(dataset.frames)
    decoded = decode_entries(arrays).sort("value_micros")

    assert decoded["branch"].to_list() == [None, "HAM", "KIEL", None]
    assert decoded["price_class"].to_list() == [None, None, "GOLD", "GOLD"]
    assert compare(decoded, dataset.frames["price_entries"], 9)["rows"] == []


def test_a_book_without_branches_is_not_searched_for_them() -> None:
    dataset = _of("LIST, BOLT, , , net, 1", "DEAL, BOLT, , HAM, net, 2", **BRANCHES)

    arrays = compile_prices(dataset.frames)
    names = arrays["books"][:, mx.BOOK_BUNDLE]
    marked = arrays["bundles"][names, mx.BUNDLE_LEVELS] & mx.HAS_BRANCHES

    assert marked.tolist() == [mx.HAS_BRANCHES, 0]  # DEAL, LIST
    assert (len(arrays["records"]), len(arrays["cell_value"])) == (1, 2)


def test_an_unknown_branch_is_rejected_where_branches_are_known() -> None:
    assert _of("LIST, BOLT, , BONN, net, 1").rejects == {}
    [(_, column, reason)] = rejected(_of("LIST, BOLT, , BONN, net, 1", **BRANCHES), "price_entries")

    assert (column, reason) == ("branch", '"BONN" is an unknown branch')


def test_prices_of_two_branches_do_not_contradict_each_other() -> None:
    dataset = _of("LIST, BOLT, , HAM, net, 1", "LIST, BOLT, , KIEL, net, 2", "LIST, BOLT, , , net, 3")

    assert dataset.counts["price_entries"].accepted == 3
    again = rejected(_of("LIST, BOLT, , HAM, net, 1", "LIST, BOLT, , HAM, net, 2"), "price_entries")
    assert [column for _, column, _ in again] == ["value"] * 2


def test_digests_of_entries_without_a_branch_are_those_of_earlier_releases() -> None:
    entries = _of("LIST, BOLT, , , net, 1", "LIST, NUT, GOLD, , net, 2").frames["price_entries"]
    before = [name for name in ENTRY_KEY if name != "branch"]

    assert entry_digests(entries).tolist() == sorted(entries.select(before).hash_rows().to_list())
    of_branch = entries.with_columns(branch=pl.lit("HAM"))
    assert not set(entry_digests(entries).tolist()) & set(entry_digests(of_branch).tolist())


def test_a_delta_brings_the_first_price_of_a_branch() -> None:
    frames = _of("LIST, BOLT, , , net, 1", **BRANCHES).frames
    arrays = compile_prices(frames)
    base = DeltaBase(arrays)
    delta = validate_delta(
        table(f"{HEADER}\nLIST, BOLT, , KIEL, net, 2\nLIST, NUT, , BONN, net, 2"), base.known_names
    )

    assert [reason for _, _, reason in rejected(delta, "price_entries")] == ['"BONN" is an unknown branch']
    after = {**arrays, **base.apply(delta.frames["price_entries"]).arrays}
    assert decode_entries(after).sort("value_micros")["branch"].to_list() == [None, "KIEL"]
    assert (after["bundles"][:, mx.BUNDLE_LEVELS] & mx.HAS_BRANCHES).any()


@pytest.mark.parametrize(("column", "most"), [("branch", mx.BRANCH_MASK), ("price_class", mx.CLASS_MASK)])
def test_more_names_than_a_record_has_room_for_are_refused(column: str, most: int, monkeypatch) -> None:
    dataset = _of("LIST, BOLT, GOLD, HAM, net, 1")
    ordinals = Ordinals.from_frames(dataset.frames)
    books = compile_prices(dataset.frames)["books"]
    entries = dataset.frames["price_entries"]
    entry_rows(entries, books, ordinals)
    known = ordinals.of

    def far(name: str, *rest: object, **more: object) -> np.ndarray:
        return known(name, *rest, **more) + (most if name == column else 0)

    monkeypatch.setattr(ordinals, "of", far)
    with pytest.raises(ValueError, match=f"more than {most}"):
        entry_rows(entries, books, ordinals)

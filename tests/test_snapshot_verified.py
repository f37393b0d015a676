"""A snapshot whose hashes are right and whose arrays are wrong is refused when it is opened, or does no harm."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from pricegrid.atp.arrays import verify as atp_verify
from pricegrid.atp.arrays import verify_reference as atp_reference
from pricegrid.atp.arrays.positions import COLUMNS, Positions
from pricegrid.atp.kernels import verify as atp_kernel
from pricegrid.pricing_engine.arrays import matrix as mx
from pricegrid.pricing_engine.arrays import verify as price_verify
from pricegrid.pricing_engine.arrays import verify_reference as price_reference
from pricegrid.pricing_engine.kernels import verify as price_kernel
from pricegrid.service.process import verify
from pricegrid.service.process.verify import verify_arrays
from tests.damaged_snapshots import KINDS, Case, DamagedStore, answers, cases, damaged, rich_arrays, run

LONG = os.environ.get("PRICEGRID_LONG_TESTS") == "1"
CASES = 10_000 if LONG else 110
STRUCTURE = frozenset(
    {
        *(
            "sku_slots",
            "customer_slots",
            "uom_slots",
            "cell_directory",
            "cell_ranks",
            "cell_entry",
            "attachments",
        ),
        *("atp_item_record", "atp_pair_start", "atp_receipt_start", "atp_demand_start", "atp_kit_start"),
    }
)
"""Arrays that only say where things are: another word there is never just another price."""


@pytest.fixture(scope="module")
def arrays():
    return rich_arrays()


@pytest.fixture(scope="module")
def store(arrays, tmp_path_factory):
    return DamagedStore(tmp_path_factory.mktemp("damaged"), arrays)


def test_a_whole_snapshot_is_sound_and_no_array_of_it_is_empty(arrays):
    verify_arrays(arrays)

    assert [name for name, array in arrays.items() if not array.size] == []


@pytest.mark.slow
def test_damaged_arrays_are_refused_or_do_no_harm(store, arrays):
    good = answers(store.whole)
    assert good == answers(store.whole)
    assert len(good) > 100
    found: Counter[str] = Counter()
    harm, lost = [], []
    for verdict in run(store, cases(arrays, CASES, seed=CASES), good):
        found[verdict.word] += 1
        if verdict.word not in {"refused", "same", "changed"}:
            harm.append(verdict)
        elif verdict.word == "changed" and verdict.case.array in STRUCTURE:
            lost.append(verdict)
    print(dict(found))

    assert harm == []
    assert lost == []
    assert found.total() == CASES
    assert min(found["refused"], found["same"], found["changed"]) > 0


# -- the loops -----------------------------------------------------------------------------------------------

PLAIN = {
    **{
        (price_kernel, name): plain
        for name, plain in vars(price_reference).items()
        if name.endswith("_fault")
    },
    **{(atp_kernel, name): plain for name, plain in vars(atp_reference).items() if name.endswith("_fault")},
}


@pytest.fixture
def both(monkeypatch):
    """Every loop asked in both forms; how often each was, and how often it found a fault."""
    asked: Counter[str] = Counter()
    faults: Counter[str] = Counter()

    def pair(name, compiled, plain):
        def ask(*arguments):
            found = compiled(*arguments)
            assert found == plain(*arguments), name
            asked[name] += 1
            faults[name] += found != price_kernel.SOUND
            return found

        return ask

    for (module, name), plain in PLAIN.items():
        label = f"{module.__name__}.{name}"
        monkeypatch.setattr(module, name, pair(label, getattr(module, name), plain))
    return asked, faults


def test_every_compiled_loop_has_a_reference():
    for module in (price_kernel, atp_kernel):
        compiled = {name for name in vars(module) if name.endswith("_fault") and not name.startswith("_")}
        assert compiled == {name for of, name in PLAIN if of is module}


def test_the_loops_find_what_their_references_find(arrays, both):
    asked, faults = both
    seldom = ("group_parents", "customers", "entitlements", "atp_pair_record", "atp_pair_branch", "items")
    often = [Case(name, kind, "one", seed) for name in seldom for kind in KINDS for seed in range(8)]
    for case in [*often, *cases(arrays, 6_000 if LONG else 400, seed=7)]:
        try:
            verify_arrays({**arrays, case.array: damaged(arrays[case.array], case)})
        except (ValueError, TypeError):
            continue

    assert set(asked) == {f"{module.__name__}.{name}" for module, name in PLAIN}
    assert [name for name in asked if not faults[name]] == []


# -- what each check is for ----------------------------------------------------------------------------------


def changed(arrays, name, place, value):
    array = arrays[name].copy()
    array[place] = value
    return {**arrays, name: array}


@pytest.mark.parametrize(
    ("name", "place", "value", "message"),
    [
        ("books", (0, mx.BOOK_CURRENCY), 99, "books, row 0: 99 in column 1 is out of range"),
        ("books", (0, mx.BOOK_INCREMENT), 0, "books, row 0: 0 in column 5 is out of range"),
        ("uoms", (0, mx.UOM_DENOMINATOR), 0, "uoms, row 0: 0 in column 2"),
        ("group_parents", slice(None), [1, 0, 0], "group_parents, row 0: is too deep, or a circle"),
        ("customers", (0, mx.CUSTOMER_PARENT), 0, "customers, row 0: is too deep, or a circle"),
        ("sku_slots", slice(None), 1, "sku_slots, row .*: does not lead to its name"),
        ("cell_directory", -1, 0, "bundles, row .*: its cells are out of order"),
        ("cell_value", 0, -(2**63), "cell_value, row 0: does not lead to the entries that follow"),
        ("cell_ranks", (0, mx.RANK_BITS), -1, "its cells are out of order, or not where they are looked for"),
        ("audience_starts", -1, 10**6, "audience_starts, row .*: does not fit"),
        ("attachments", (0, mx.ATTACHMENT_END), 10**6, "attachments, row 0: out of order"),
        ("delta_keys", 0, 10**9, "delta_keys: out of order"),
        ("layer_bytes", 0, 0xFF, "layer_offsets: its text is not UTF-8"),
        ("atp_sku_text", 0, ord("A"), "atp_sku_text: not the same as sku_bytes"),
        ("atp_uom_numerator", 0, 13_000_000, "atp_uom_name, atp_uom_numerator"),
        ("atp_branch_zone", 0, 99, r"atp_branch_zone: holds what is not in \[0, 1\]"),
        ("atp_zone_text", 0, ord("."), "atp_zone_text: '.* is no time zone"),
        ("atp_pair_branch", slice(None), 1, "atp_pair_branch: not in order at pair_start"),
        ("atp_pair_blocks", 1, 2**40, "atp_pair_blocks: does not fit the receipts and demands of pair"),
        ("atp_kit_component", 0, 9, "atp_kit_component: not in order|is a kit itself"),
    ],
)
def test_the_message_names_the_array_and_the_row(arrays, name, place, value, message):
    with pytest.raises(ValueError, match=message):
        verify_arrays(changed(arrays, name, place, value))


def _moved_unit(starts):
    """The last unit of an item becomes one of the next item, which has none."""
    counts = np.diff(starts)
    item = next(at for at in range(len(counts) - 1) if counts[at] and not counts[at + 1])
    starts[item + 1] -= 1


def _other(values):
    values[0] = (values[0] + 1) % 3  # there are three units


def _more(values):
    values[0] += 1


def _longer(offsets):
    offsets[1] += 1


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("atp_sku_text", _more, "atp_sku_text: not the same as sku_bytes"),
        ("atp_sku_offsets", _longer, "atp_sku_offsets: not the same as sku_offsets"),
        ("atp_item_base_uom", _other, "atp_item_base_uom: not the base units of items"),
        ("atp_uom_start", _moved_unit, "atp_uom_start: not the units of items"),
        ("atp_uom_name", _other, "atp_uom_name, .*: not those of uoms"),
        ("atp_uom_numerator", _more, "atp_uom_name, .*: not those of uoms"),
        ("atp_uom_denominator", _more, "atp_uom_name, .*: not those of uoms"),
    ],
)
def test_what_the_fast_path_takes_from_one_side_for_the_other_must_agree(arrays, name, change, message):
    array = arrays[name].copy()
    change(array)

    with pytest.raises(ValueError, match=message):
        verify_arrays({**arrays, name: array})


@pytest.mark.parametrize(
    ("limit", "message"),
    [("ITEMS_MAX", "atp_sku_offsets: .* names, at most 1"), ("BRANCHES_MAX", "atp_branch_offsets: 2 names")],
)
def test_more_items_or_branches_than_pairs_have_numbers_for_are_refused(arrays, monkeypatch, limit, message):
    monkeypatch.setattr(verify, limit, 1)

    with pytest.raises(ValueError, match=message):
        verify_arrays(arrays)


def test_a_missing_array_and_one_in_column_order_are_refused(arrays):
    with pytest.raises(KeyError, match="books"):
        verify_arrays({name: array for name, array in arrays.items() if name != "books"})
    with pytest.raises(TypeError, match="array books is not in C order"):
        verify_arrays({**arrays, "books": np.asfortranarray(arrays["books"])})


def test_every_column_of_every_table_has_a_check():
    """One that is added without is an index that nobody looks at."""
    assert {table: sorted(columns) for table, columns in price_verify.RANGES.items()} == {
        table: list(range(columns)) for table, columns in mx.TABLES.items()
    }
    assert set(atp_verify.CHECKS) == set(COLUMNS)


def test_positions_alone_are_verified_too(arrays):
    atp_verify.verify_positions(Positions(arrays))


# -- out of range --------------------------------------------------------------------------------------------

CHECKED = """
import sys
from pathlib import Path
from collections import Counter
from tests.damaged_snapshots import DamagedStore, cases, check_bounds, rich_arrays, run
arrays = rich_arrays()
store = DamagedStore(Path(sys.argv[1]), arrays)
check_bounds()
from tests.damaged_snapshots import answers
good = answers(store.whole)
assert not [each for each in good if "INTERNAL" in each], good
count = Counter()
for verdict in run(store, cases(arrays, int(sys.argv[2]), seed=99), good):
    count[verdict.word] += 1
    if verdict.word not in ("refused", "same", "changed"):
        print(verdict)
print("inside", dict(count), file=sys.stderr)
"""


@pytest.mark.slow
@pytest.mark.skipif(not LONG, reason="compiles every kernel again, which takes minutes")
def test_no_index_leaves_its_array(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "NUMBA_BOUNDSCHECK": "1",
        "NUMBA_CACHE_DIR": str(tmp_path / "kernels"),
        "PYTHONPATH": ".",
    }
    run_checked = subprocess.run(
        [sys.executable, "-c", CHECKED, str(tmp_path / "store"), str(CASES // 5)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    print(run_checked.stderr[-300:])
    assert run_checked.returncode == 0, run_checked.stderr[-2000:]
    assert run_checked.stdout == ""

"""Since when each book says what it says, from load to load."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from pricegrid.columnar.instants import DAY_US, us_of
from pricegrid.loaders.compile.book_digests import book_digests
from pricegrid.loaders.errors import SnapshotCorruptError
from pricegrid.loaders.publish import LoadJob, compile_dataset, load
from pricegrid.loaders.store.book_age_ranges import AGE_RANGES
from pricegrid.loaders.store.book_ages import FILE, book_ages, readable_ages
from pricegrid.loaders.store.snapshot import activate, current_version, write_snapshot
from pricegrid.service.process.scrape import SupervisorMetrics
from tests.datasets import Rows, as_frames
from tests.stores import stocked_rows
from tests.test_scrape import watched
from tests.written import accepted

BEGIN = datetime(2026, 3, 1, 2, tzinfo=UTC)


class Nights:
    """A store into which datasets are loaded, a night after the other."""

    def __init__(self, folder: Path) -> None:
        self.store, self._dataset = folder / "store", folder / "dataset"
        self._night = 0

    def load(self, rows: Rows, *, delta: bool = False) -> str:
        """The version that it is loaded as."""
        self._dataset.mkdir(exist_ok=True)
        for path in self._dataset.iterdir():
            path.unlink()
        for name, frame in as_frames(rows).items():
            frame.write_csv(self._dataset / f"{name}.csv")
        now = BEGIN + timedelta(days=self._night)
        self._night += 1
        report = load(LoadJob(self._dataset, self.store, delta=delta, force=True), clock=lambda: now)
        assert report.published, report.as_text()
        return str(report.snapshot_version)

    def since(self) -> dict[str, int | None]:
        """The night since which each book is unchanged."""
        ages = book_ages(self.store, current_version(self.store))
        found = {name: ages.since(name) for name in ages.names.ordinals()}
        return {name: None if us is None else (us - us_of(BEGIN)) // DAY_US for name, us in found.items()}


def priced(rows: Rows, book: str, **changes: str) -> Rows:
    """With another first entry of a book."""
    entries = [dict(row) for row in rows["price_entries"]]
    next(row for row in entries if row["book_id"] == book).update(changes)
    return {**rows, "price_entries": entries}


def books(rows: Rows, book: str, **changes: str) -> Rows:
    """With another row of a book."""
    return {
        **rows,
        "price_books": [
            {**row, **(changes if row["book_id"] == book else {})} for row in rows["price_books"]
        ],
    }


def digests(rows: Rows) -> dict[str, int]:
    frames = accepted(as_frames(rows)).frames
    names, found = book_digests(frames["price_books"], frames["price_entries"])
    return dict(zip(names, found.tolist(), strict=True))


def test_what_says_the_same_has_the_same_digest():
    rows = stocked_rows()
    before = digests(rows)

    turned = {**rows, "price_entries": rows["price_entries"][::-1], "price_books": rows["price_books"][::-1]}
    assert digests(turned) == before
    more = {**rows, "items": [{"sku": "A-FIRST", "base_uom": "BOX"}, *rows["items"]]}
    assert digests(more) == before, "other ordinals"
    assert digests(priced(rows, "LIST", entry_id="another")) == before
    assert digests(books(rows, "LIST", name="Our list")) == before
    frames = accepted(as_frames(rows)).frames
    wider = frames["price_entries"].with_columns(of_a_later_release=pl.lit(None, dtype=pl.Utf8))
    assert book_digests(frames["price_books"], wider)[1].tolist() == list(before.values())


@pytest.mark.parametrize(
    "changed",
    [
        lambda rows: priced(rows, "LIST", value="77"),
        lambda rows: priced(rows, "LIST", min_quantity="77"),
        lambda rows: priced(rows, "LIST", valid_from="2026-07-07"),
        lambda rows: priced(rows, "LIST", sku="BOLT"),
        lambda rows: priced(rows, "LIST", branch="HAM"),
        lambda rows: books(rows, "LIST", rounding_increment="0.05"),
        lambda rows: books(rows, "LIST", valid_to="2030-01-01"),
        lambda rows: {
            **rows,
            "price_entries": [*rows["price_entries"], {**rows["price_entries"][0], "min_quantity": "9000"}],
        },
    ],
)
def test_what_says_something_else_has_another_digest_and_no_other_book_has(changed):
    rows = stocked_rows()
    assert rows["price_entries"][0]["book_id"] == "LIST"
    before, after = digests(rows), digests(changed(rows))

    assert {name for name in before if after[name] != before[name]} == {"LIST"}


def test_instants_are_carried_over_from_load_to_load(tmp_path):
    nights, rows = Nights(tmp_path), stocked_rows()
    others = {row["book_id"] for row in rows["price_books"]} - {"LIST"}

    def of(list_night: int, others_night: int) -> dict[str, int]:
        return {"LIST": list_night, **dict.fromkeys(others, others_night)}

    first = nights.load(rows)
    assert nights.since() == of(0, 0)
    second = nights.load(rows)
    assert nights.since() == of(0, 0)
    manifests = [
        json.loads((nights.store / "snapshots" / each / "manifest.json").read_text())
        for each in (first, second)
    ]
    assert manifests[0]["content_sha256"] == manifests[1]["content_sha256"]
    assert manifests[0]["kept_files"][FILE] == manifests[1]["kept_files"][FILE]
    changed = nights.load(priced(rows, "LIST", value="77"))
    assert nights.since() == of(2, 0)
    wider = {**rows, "items": [{"sku": "A-FIRST", "base_uom": "EA"}, *rows["items"]]}
    nights.load(priced(wider, "LIST", value="77"))
    assert nights.since() == of(2, 0)
    activate(nights.store, first)
    assert nights.since() == of(0, 0)
    nights.load(priced(rows, "LIST", value="77"))
    assert nights.since() == of(4, 0), "what is served meanwhile was another price"
    assert changed != first


def test_a_delta_changes_the_books_that_it_touches(tmp_path):
    nights, rows = Nights(tmp_path), stocked_rows()
    nights.load(rows)
    entry = next(row for row in rows["price_entries"] if row["book_id"] == "LIST")

    nights.load({"price_entries": [entry]}, delta=True)
    assert nights.since()["LIST"] == 0, "it says what is there"
    nights.load({"price_entries": [{**entry, "value": "77"}]}, delta=True)
    after = nights.since()
    assert after.pop("LIST") == 2
    assert set(after.values()) == {0}
    nights.load(priced(rows, "LIST", value="77"))
    assert nights.since() == {"LIST": 2, **after}, "the full load says what the delta has said"


def test_a_snapshot_without_instants_is_served_and_its_books_have_no_age(tmp_path):
    frames = accepted(as_frames(stocked_rows())).frames
    version = write_snapshot(
        tmp_path / "store", compile_dataset(frames, "UTC"), {"time_zone": "UTC"}, created_at=BEGIN
    )

    ages = book_ages(tmp_path / "store", version)

    assert ages.since("LIST") is None
    assert ages.span(us_of(BEGIN)) is None
    assert list(ages.oldest(us_of(BEGIN))) == []
    assert ages.counts(us_of(BEGIN))["unknown"] == sum(ages.counts(us_of(BEGIN)).values()) > 0


def test_a_damaged_file_is_named(tmp_path):
    nights = Nights(tmp_path)
    version = nights.load(stocked_rows())
    path = nights.store / "snapshots" / version / FILE
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")

    with pytest.raises(SnapshotCorruptError, match=FILE):
        book_ages(nights.store, version)
    assert readable_ages(nights.store, version) is None
    assert nights.load(stocked_rows()) != version, "the next load begins anew"


def test_books_in_force_are_counted_by_age(tmp_path):
    nights, rows = Nights(tmp_path), stocked_rows()
    rows["price_books"] += [
        {"book_id": "PAST", "layer": "list", "currency": "EUR", "valid_to": "2020-01-01"},
        {"book_id": "TRADE", "layer": "list", "currency": "EUR"},
    ]
    nights.load(rows)
    nights.load(priced(rows, "LIST", value="77"))
    ages = book_ages(nights.store, current_version(nights.store))
    changed_us = us_of(BEGIN) + DAY_US

    def counted(now_us: int) -> dict[str, int]:
        return {age: count for age, count in ages.counts(now_us).items() if count}

    assert counted(changed_us) == {"0-1 days": 1, "1-7 days": 2}
    assert counted(changed_us + DAY_US) == {"1-7 days": 3}
    assert counted(changed_us + 6 * DAY_US - 1) == {"1-7 days": 3}
    assert counted(changed_us + 6 * DAY_US) == {"1-7 days": 1, "7-30 days": 2}
    assert counted(changed_us + 364 * DAY_US) == {"90-365 days": 1, "over 365 days": 2}
    assert ages.span(changed_us) == (us_of(BEGIN), changed_us)
    assert [name for name, _ in ages.oldest(changed_us)] == ["C1", "TRADE", "LIST"]


def test_prometheus_is_told_the_ages(tmp_path):
    nights, rows = Nights(tmp_path), stocked_rows()
    nights.load(rows)
    version = nights.load(priced(rows, "LIST", value="77"))
    metrics = SupervisorMetrics(
        watched(nights.store, snapshot_version=lambda: version), lambda: us_of(BEGIN) + 3 * DAY_US
    )

    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in metrics.collect()
        for sample in family.samples
    }

    assert found["pricegrid_books_oldest_seconds",] == 3 * 86_400
    assert found["pricegrid_books_newest_seconds",] == 2 * 86_400
    assert {key[1] for key in found if key[0] == "pricegrid_books"} == set(AGE_RANGES)
    assert found["pricegrid_books", "1-7 days"] == 2

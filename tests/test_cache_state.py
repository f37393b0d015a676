"""The contract of both state caches."""

import contextlib
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from pricegrid.cache.protocol import START, Commit, Committed, Conflict, Put, Record
from tests.cache_worlds import made, set_to, world


@pytest.fixture(params=["embedded", "redis"])
def open_one(request, tmp_path):
    with world(request.param, tmp_path) as opener:
        yield opener


def test_a_commit_writes_all_its_records_and_logs_one_change(open_one):
    store, other = open_one(), open_one()
    begin = other.position()  # a host that is new to a Redis begins with an incomplete change

    (done,) = made(
        store,
        Commit({("a", "x"): 0, ("a", "only"): 0}, [Put("a", "x", b"1"), Put("b", "y", b"2")], [b"n1", b""]),
    )
    (change,) = other.changes(begin, 10)

    assert done.versions == {("a", "x"): 1, ("a", "only"): 1, ("b", "y"): 1}
    assert (set(change.records), change.notes, change.complete) == (
        {Record("a", "x", 1, b"1"), Record("a", "only", 1, None), Record("b", "y", 1, b"2")},
        [b"n1", b""],
        True,
    )
    assert other.get([("b", "y"), ("no", "such"), ("a", "x")]) == [
        Record("b", "y", 1, b"2"),
        Record("no", "such", 0, None),
        Record("a", "x", 1, b"1"),
    ]
    assert [change.position for change in store.changes(START, 10)][-1] == done.position


def test_a_commit_that_expects_another_version_changes_nothing(open_one):
    store = open_one()
    made(store, set_to("x", b"1", 0))
    before = store.position()

    (refused,) = store.commit([Commit({("s", "x"): 0, ("s", "z"): 0}, [Put("s", "z", b"2")], [b"note"])])

    assert refused == Conflict({("s", "x"): 1, ("s", "z"): 0})
    assert (store.position(), store.get([("s", "z")])[0].version) == (before, 0)


def test_commits_of_one_call_see_each_other_and_stand_alone(open_one):
    store = open_one()

    results = store.commit([set_to("x", b"1", 0), set_to("x", b"2", 0), set_to("x", b"3", 1)])

    assert [type(result) for result in results] == [Committed, Conflict, Committed]
    assert store.get([("s", "x")]) == [Record("s", "x", 2, b"3")]


def test_a_put_that_expects_nothing_overwrites_and_the_last_of_one_key_counts(open_one):
    store = open_one()
    made(store, set_to("x", b"1", 0))

    (done,) = made(store, Commit(puts=[Put("s", "x", b"2"), Put("s", "x", None)]))

    assert done.versions == {("s", "x"): 2}
    assert store.get([("s", "x")]) == [Record("s", "x", 2, None)]
    assert list(store.scan("s")) == []


def test_expecting_without_putting_keeps_the_value(open_one):
    store = open_one()
    made(store, set_to("x", b"\x00:1-2", 0))

    made(store, Commit({("s", "x"): 1}))

    assert store.get([("s", "x")]) == [Record("s", "x", 2, b"\x00:1-2")]


def test_a_scan_is_one_space_by_name(open_one):
    store = open_one()
    made(
        store,
        Commit(
            puts=[Put("s", f"{n:04}", b"v") for n in range(2500)] + [Put("s2", "a", b""), Put("r", "z", b"")]
        ),
    )

    names = [record.name for record in store.scan("s")]

    assert names == [f"{n:04}" for n in range(2500)]


def test_a_batch_of_many_puts_and_notes_is_one_change(open_one):
    store, other = open_one(), open_one()
    begin = other.position()
    notes = [b"%d" % n for n in range(20_000)]

    made(store, Commit(puts=[Put("s", str(n), b"v") for n in range(5000)], notes=notes))

    (change,) = other.changes(begin, 10)
    assert (len(change.records), change.notes) == (5000, notes)


def test_changes_come_in_order_once_and_in_pages(open_one):
    store, other = open_one(), open_one()
    position, seen = other.position(), []
    for n in range(10):
        made([store, other][n % 2], Commit(puts=[Put("s", str(n), b"")], notes=[b"%d" % n]))

    while page := other.changes(position, 3):
        assert len(page) <= 3
        seen += [note for change in page for note in change.notes]
        position = page[-1].position

    assert seen == [b"%d" % n for n in range(10)]


def test_whoever_is_behind_what_was_trimmed_gets_the_records_and_is_told(open_one):
    store = open_one()
    first, second, third = made(store, set_to("x", b"1", 0), set_to("y", b"1", 0), set_to("x", b"2", 1))

    trimmed = store.trim(second.position)

    assert trimmed == 2
    changes = store.changes(START, 10)
    assert [change.complete for change in changes] == [False, True]
    assert changes[0].records == [Record("s", "y", 1, b"1")]
    assert changes[0].notes == ()
    assert store.changes(second.position, 10) == changes[1:]
    store.trim(third.position)
    assert store.position() == third.position
    assert [change.complete for change in store.changes(first.position, 10)] == [False, False]


def test_spaces_that_would_blur_are_refused(open_one):
    store = open_one()

    for space in ("a\0b", "~told"):
        with pytest.raises(ValueError, match="space"):
            store.commit([Commit(puts=[Put(space, "x", b"")])])
    assert store.changes(START, 10) == []


NAMES = st.sampled_from("abcd")
VALUES = st.one_of(st.none(), st.binary(max_size=4))


class TwoStores(RuleBasedStateMachine):
    """Two caches on one state against a dict."""

    kind = "embedded"

    @initialize()
    def begin(self):
        self.stack = contextlib.ExitStack()
        directory = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        opener = self.stack.enter_context(world(self.kind, directory))
        self.stores = [opener(), opener()]
        self.model: dict[str, tuple[int, bytes | None]] = {}
        self.log: list[bytes] = []
        self.followed = [(store.position(), []) for store in self.stores]

    @rule(
        which=st.integers(0, 1),
        keys=st.dictionaries(NAMES, st.booleans()),
        puts=st.dictionaries(NAMES, VALUES),
        note=st.binary(max_size=3),
    )
    def commit(self, which, keys, puts, note):
        expected = {
            ("s", k): self.model.get(k, (0, None))[0] + (0 if right else 1) for k, right in keys.items()
        }
        (result,) = self.stores[which].commit(
            [Commit(expected, [Put("s", k, v) for k, v in puts.items()], [note])]
        )
        assert isinstance(result, Committed) == all(keys.values())
        if isinstance(result, Committed):
            for k in {*keys, *puts}:
                version, value = self.model.get(k, (0, None))
                self.model[k] = version + 1, puts.get(k, value)
            self.log.append(note)
            assert result.versions == {("s", k): self.model[k][0] for k in {*keys, *puts}}

    @rule(which=st.integers(0, 1), limit=st.integers(1, 4))
    def follow(self, which, limit):
        position, seen = self.followed[which]
        for change in self.stores[which].changes(position, limit):
            assert change.complete
            seen += change.notes
            position = change.position
        self.followed[which] = position, seen
        assert seen == self.log[: len(seen)]

    @invariant()
    def records_agree(self):
        for store in getattr(self, "stores", ()):
            store.changes(store.position(), 1)  # reads what the other did
            found = {
                record.name: (record.version, record.value)
                for record in store.get([("s", k) for k in "abcd"])
            }
            assert found == {k: self.model.get(k, (0, None)) for k in "abcd"}
            assert [r.name for r in store.scan("s")] == [
                k for k in "abcd" if self.model.get(k, (0, None))[1] is not None
            ]

    def teardown(self):
        if hasattr(self, "stack"):
            self.stack.close()


@pytest.mark.parametrize(
    ("kind", "examples"), [("embedded", 40), pytest.param("redis", 6, marks=pytest.mark.slow)]
)
def test_two_stores_agree_with_a_plain_model(kind, examples):
    machine = type("Machine", (TwoStores,), {"kind": kind})
    run_state_machine_as_test(
        machine, settings=settings(max_examples=examples, stateful_step_count=30, deadline=None)
    )

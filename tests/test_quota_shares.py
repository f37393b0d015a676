"""How hosts share a quota: the shares themselves, what they report to each other, and what a share does to a caller."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricegrid.service.quota import kernel
from pricegrid.service.quota.kernel import LEAST_SHARE, WHOLE
from pricegrid.service.quota.limits import HOSTS_MAX, REPORTED_MAX
from pricegrid.service.quota.report import (
    REPORT_BYTES_MAX,
    Report,
    ReportError,
    greatest,
    pack,
    unpack,
)
from pricegrid.service.quota.rules import Rate
from pricegrid.service.quota.shares import RESERVE, ROOM, shares_of

S = 1_000_000_000
BOOTED_NS = 7 * 86_400 * S
LINE = 0x12

wants = st.lists(
    st.integers(0, 2 * WHOLE) | st.sampled_from([0, 1, WHOLE // 3, WHOLE // 2, WHOLE]),
    min_size=1,
    max_size=HOSTS_MAX,
)


def shared(wanted: list[int]) -> list[int]:
    return shares_of(np.array(wanted, np.int64)[:, None])[:, 0].tolist()


def filled(wanted: list[int]) -> list[Fraction]:
    """The same in fractions, by the definition: raise a level that cuts the greedy until the whole is given away."""
    count = len(wanted)
    least = WHOLE // (RESERVE * count)
    asked = [Fraction(min(max(min(each, WHOLE) * (ROOM + 1) // ROOM, least), WHOLE)) for each in wanted]
    if sum(asked) <= WHOLE:
        return [each + (WHOLE - sum(asked)) / count for each in asked]
    for greedy in range(1, count + 1):
        modest = sorted(asked)[: count - greedy]
        level = (WHOLE - sum(modest)) / greedy
        if all(each <= level for each in modest) and sorted(asked)[count - greedy] > level:
            return [min(each, level) for each in asked]
    raise AssertionError("there is a level")


@settings(deadline=None)
@given(wanted=wants)
def test_shares_are_those_of_the_definition(wanted):
    assert all(abs(a - b) <= 1 for a, b in zip(shared(wanted), filled(wanted), strict=True))


@settings(deadline=None)
@given(wanted=wants)
def test_shares_give_the_whole_away_and_no_more(wanted):
    shares = shared(wanted)

    assert WHOLE - len(wanted) <= sum(shares) <= WHOLE
    assert min(shares) >= WHOLE // (RESERVE * len(wanted)) >= LEAST_SHARE


@settings(deadline=None)
@given(wanted=wants)
def test_nobody_is_cut_who_wants_no_more_than_an_equal_share(wanted):
    equal = WHOLE // len(wanted)

    assert all(share >= min(each, equal) for each, share in zip(wanted, shared(wanted), strict=True))


@settings(deadline=None)
@given(wanted=wants, chance=st.randoms())
def test_the_order_of_hosts_does_not_matter(wanted, chance):
    order = list(range(len(wanted)))
    chance.shuffle(order)

    assert shared([wanted[at] for at in order]) == [shared(wanted)[at] for at in order]


def test_a_host_alone_has_the_whole():
    assert shared([0]) == shared([WHOLE // 2]) == shared([9 * WHOLE]) == [WHOLE]


@settings(deadline=None)
@given(columns=st.lists(st.lists(st.integers(0, 2 * WHOLE), min_size=4, max_size=4), min_size=1, max_size=9))
def test_quotas_are_shared_each_for_itself(columns):
    together = shares_of(np.array(columns, np.int64).T)

    assert together.T.tolist() == [shared(column) for column in columns]


# ---- reports


entries = st.dictionaries(
    st.integers(1, 2**63 - 1), st.tuples(st.integers(0, WHOLE), st.integers(0, WHOLE)), max_size=20
)


def report_of(found: dict[int, tuple[int, int]]) -> Report:
    keys = np.array(sorted(found), np.int64)
    return Report(keys, np.array([found[key] for key in sorted(found)], np.int64).reshape(-1, 2))


@settings(deadline=None)
@given(found=entries, now_ns=st.integers(0, 2**62))
def test_a_report_is_read_as_it_was_written(found, now_ns):
    report, read = report_of(found), unpack(pack(report_of(found), now_ns))

    assert read.keys.tolist() == report.keys.tolist()
    assert read.wanted.tolist() == report.wanted.tolist()
    asked = np.array([*found, 7, 8], np.int64)
    assert read.of(asked).tolist() == [list(found.get(key, (0, 0))) for key in asked.tolist()]


@settings(deadline=None)
@given(found=entries, at=st.integers(0, 10_000), bit=st.integers(0, 7), cut=st.integers(0, 40))
def test_a_damaged_report_is_refused(found, at, bit, cut):
    whole = pack(report_of(found), 77)
    flipped = bytearray(whole)
    flipped[at % len(whole)] ^= 1 << bit

    for raw in (bytes(flipped), whole[: len(whole) - 1 - cut], whole + b"\0", b""):
        with pytest.raises(ReportError):
            unpack(raw)


@settings(deadline=None)
@given(raw=st.binary(max_size=80))
def test_whatever_is_read_is_a_report_or_refused(raw):
    with pytest.raises(ReportError):
        unpack(b"PGQ1" + raw)


@pytest.mark.parametrize(
    ("keys", "wanted"),
    [([3, 2], [[0, 0], [0, 0]]), ([2, 2], [[0, 0], [0, 0]]), ([0], [[0, 0]]), ([2], [[WHOLE + 1, 0]])],
)
def test_a_report_that_nobody_would_write_is_refused(keys, wanted):
    raw = pack(Report(np.array(keys, np.int64), np.array(wanted, np.int64)), 1)

    with pytest.raises(ReportError, match="out of order, or want more"):
        unpack(raw)


def test_of_too_many_accounts_those_are_reported_of_which_most_is_wanted():
    keys = np.arange(1, REPORTED_MAX + 101)[::-1].copy()
    wanted = np.stack([keys * 10, np.zeros_like(keys)], axis=1)

    report = greatest(keys, wanted, least=100)

    assert report.keys.tolist() == list(range(101, REPORTED_MAX + 101))
    assert report.of(keys[:1]).tolist() == [[10 * (REPORTED_MAX + 100), 0]]
    assert len(pack(report, 0)) == REPORT_BYTES_MAX
    assert greatest(keys, wanted, least=10 * (REPORTED_MAX + 98)).keys.tolist() == [
        REPORTED_MAX + 99,
        REPORTED_MAX + 100,
    ]


# ---- what a share does


def terms_of(calls: Rate | None, lines: Rate | None) -> np.ndarray:
    terms = np.zeros(kernel.TERMS, np.int64)
    for rate, cost, ahead in (
        (calls, kernel.CALL_NS, kernel.CALLS_AHEAD_NS),
        (lines, kernel.LINE_NS, kernel.LINES_AHEAD_NS),
    ):
        if rate is not None:
            terms[cost], terms[ahead] = rate.cost_ns, rate.ahead_ns
    return terms


def slot_with(calls_share: int = 0, lines_share: int = 0) -> np.ndarray:
    slot = np.zeros(kernel.SLOT_WORDS, np.int64)
    slot[kernel.CALLS_SHARE], slot[kernel.LINES_SHARE] = calls_share, lines_share
    return slot


def used(slot: np.ndarray, terms: np.ndarray, count: int, seconds: int, begin_ns: int = BOOTED_NS) -> int:
    """How many requests of so many lines are let in, of one each millisecond."""
    raw = np.frombuffer(count * b"\x12\x00", np.uint8)
    times = itertools.islice(itertools.count(begin_ns, 1_000_000), seconds * 1_000)
    return sum(kernel.charge(slot, terms, raw, LINE, at) == 0 for at in times)


@pytest.mark.parametrize("share", [WHOLE // 2, WHOLE // 3, WHOLE // 10, WHOLE - 1])
@pytest.mark.parametrize(("rate", "count"), [(200, 1), (1_000, 100), (400, 250)])
def test_a_share_of_the_lines_is_so_much_of_the_rate_and_burst_of_a_few_requests_or_so_much(
    share, rate, count
):
    of_lines = Rate(rate, rate)
    begin, later = (
        used(slot_with(lines_share=share), terms_of(None, of_lines), count, seconds) for seconds in (60, 120)
    )

    assert (later - begin) * count == pytest.approx(60 * rate * share / WHOLE, rel=0.02, abs=count)
    at_once = max(rate * share / WHOLE, min(kernel.FEW * count, rate))
    assert begin * count <= 60 * rate * share / WHOLE + at_once + count


def test_a_share_of_calls_lets_a_few_come_at_once_but_no_more_than_the_whole_burst():
    counts = {}
    for burst in (1, 3, 100):
        slot, terms = slot_with(WHOLE // 50), terms_of(Rate(100, burst), None)
        counts[burst] = sum(
            kernel.charge(slot, terms, np.zeros(0, np.uint8), 0, BOOTED_NS) == 0 for _ in range(99)
        )
        in_the_long_run = used(slot, terms, 0, 60, BOOTED_NS + 10 * S)
        assert in_the_long_run == pytest.approx(60 * 2, abs=4)

    assert counts == {1: 1, 3: 3, 100: 4}


@pytest.mark.parametrize("word", [0, -1, WHOLE, WHOLE + 1, LEAST_SHARE - 1, 2**62, -(2**63)])
def test_what_is_no_share_is_the_whole(word):
    slot, whole, terms = slot_with(word, word), slot_with(), terms_of(Rate(100, 7), Rate(300, 30))
    raw = np.frombuffer(4 * b"\x12\x00", np.uint8)

    for step in range(200):
        assert kernel.charge(slot, terms, raw, LINE, BOOTED_NS + step * 3_000_000) == kernel.charge(
            whole, terms, raw, LINE, BOOTED_NS + step * 3_000_000
        )


@settings(deadline=None)
@given(
    calls=st.builds(Rate, st.integers(1, 10_000_000), st.integers(1, 10_000_000)),
    of_lines=st.builds(Rate, st.integers(1, 10_000_000), st.integers(1, 10_000_000)),
    share=st.integers(LEAST_SHARE, WHOLE),
    count=st.integers(0, 50),
)
def test_no_share_locks_anybody_out_or_lets_everybody_in(calls, of_lines, share, count):
    """Also of rates that nobody has: nothing overflows."""
    slot, terms = slot_with(share, share), terms_of(calls, of_lines)
    raw = np.frombuffer(count * b"\x12\x00", np.uint8)
    answers = [kernel.charge(slot, terms, raw, LINE, BOOTED_NS) for _ in range(50)]
    wait_ns = abs(answers[-1])

    assert answers[0] == 0
    if not wait_ns:
        assert max(calls.burst * share // WHOLE, min(kernel.FEW, calls.burst)) >= 49
    else:
        assert wait_ns <= max(terms[kernel.CALLS_AHEAD_NS], terms[kernel.LINES_AHEAD_NS]) + kernel.OWED_NS
        assert kernel.charge(slot, terms, raw, LINE, BOOTED_NS + wait_ns - 1) != 0


@settings(deadline=None)
@given(
    before=st.integers(LEAST_SHARE, WHOLE),
    after=st.integers(LEAST_SHARE, WHOLE),
    owed_ns=st.integers(0, 20 * S),
)
def test_what_is_owed_stays_as_many_lines_when_the_share_changes(before, after, owed_ns):
    slots = slot_with(before, before)[None, :]
    slots[0, [kernel.KEY, kernel.CALLS, kernel.LINES]] = 7, BOOTED_NS + owed_ns, BOOTED_NS - 5
    places, keys = np.array([0]), np.array([7])

    kernel.use_shares(slots, places, np.array([8]), np.array([[after, after]]), BOOTED_NS)
    assert slots[0, kernel.CALLS_SHARE] == before, "the account is another's by now"
    kernel.use_shares(slots, places, keys, np.array([[after, after]]), BOOTED_NS)

    assert slots[0, kernel.CALLS] - BOOTED_NS == -(-owed_ns * before // after)
    assert slots[0, kernel.LINES] == BOOTED_NS - 5
    assert slots[0, [kernel.CALLS_SHARE, kernel.LINES_SHARE]].tolist() == [after, after]


@pytest.mark.parametrize("word", [2**63 - 1, 2**62, -(2**63)])
def test_a_share_of_a_damaged_account_locks_nobody_out(word):
    slots = slot_with()[None, :]
    slots[0, [kernel.KEY, kernel.CALLS, kernel.LINES]] = 7, word, word
    kernel.use_shares(slots, np.array([0]), np.array([7]), np.array([[LEAST_SHARE, LEAST_SHARE]]), BOOTED_NS)
    terms = np.array([7, 1_000_000, 10_000_000, 100_000, 10_000_000])

    waits = [kernel.charge(slots[0], terms, np.zeros(0, np.uint8), 0, BOOTED_NS + at * S) for at in range(40)]

    assert 0 in waits

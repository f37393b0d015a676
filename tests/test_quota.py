"""Quotas of callers: the kernel that charges them, the accounts that processes share, and what a caller is told."""

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pricegrid import v1
from pricegrid.service.clock import host_number
from pricegrid.service.errors import Reason, RequestRefusedError
from pricegrid.service.quota import kernel
from pricegrid.service.quota.accounts import SHARED_KEY, Accounts, accounts_path, key_of
from pricegrid.service.quota.limits import FORGET_NS
from pricegrid.service.quota.lines import line_tag
from pricegrid.service.quota.quotas import Quota, Quotas
from pricegrid.service.quota.rules import LimitRule, Rate
from tests.quota_reference import Account

S = 1_000_000_000
BOOTED_NS = 7 * 86_400 * S
LINE = 0x12


class Clock:
    """Stands still until it is set on."""

    def __init__(self) -> None:
        self.now_ns = BOOTED_NS

    def __call__(self) -> int:
        return self.now_ns


def lines(count: int) -> bytes:
    return count * b"\x12\x00"


def quotas(path: Path, clock: Clock, *rules: LimitRule, **settings) -> Quotas:
    return Quotas(rules, Accounts(path / "quotas", clock, **settings), clock)


def admitted(quota: Quota, tries: int, raw: bytes = b"", tag: int = 0) -> int:
    count = 0
    for _ in range(tries):
        try:
            quota.charge(raw, tag)
            count += 1
        except RequestRefusedError:
            pass
    return count


# ---- the kernel


rates = st.none() | st.builds(Rate, st.integers(1, 10_000_000), st.integers(1, 100))
steps = st.tuples(st.integers(0, 3 * S) | st.sampled_from([0, 1, 999, S]), st.integers(0, 120))


@settings(deadline=None)
@given(calls=rates, of_lines=rates, asked=st.lists(steps, max_size=60))
def test_the_kernel_charges_as_the_reference(calls, of_lines, asked):
    clock, rule = Clock(), LimitRule(calls=calls, lines=of_lines)
    slot, terms = np.zeros(kernel.SLOT_WORDS, np.int64), np.zeros(kernel.TERMS, np.int64)
    for rate, cost, ahead in (
        (calls, kernel.CALL_NS, kernel.CALLS_AHEAD_NS),
        (of_lines, kernel.LINE_NS, kernel.LINES_AHEAD_NS),
    ):
        if rate is not None:
            terms[cost], terms[ahead] = rate.cost_ns, rate.ahead_ns
    account, answers = Account(rule), []
    for step_ns, count in asked:
        clock.now_ns += step_ns
        raw = np.frombuffer(lines(count), np.uint8)
        answers.append(kernel.charge(slot, terms, raw, LINE, clock.now_ns))
        assert answers[-1] == account.charge(count, clock.now_ns)

    assert slot[kernel.CALLS_WANTED] == len(answers) * (0 if calls is None else calls.cost_ns)
    most = 0 if of_lines is None else of_lines.burst
    assert slot[kernel.LINES_WANTED] == sum(
        min(count, most) * of_lines.cost_ns for _, count in asked if of_lines is not None
    )


@settings(deadline=None)
@given(wait=st.integers(1, 1_000), burst=st.integers(1, 50))
def test_whoever_waits_as_long_as_they_are_told_is_let_in(wait, burst):
    rate, now_ns = Rate(wait, burst), BOOTED_NS
    account = Account(LimitRule(calls=rate))
    assert [account.charge(0, now_ns) for _ in range(burst)] == [0] * burst

    wait_ns = account.charge(0, now_ns)

    assert account.charge(0, now_ns + wait_ns - 1) == 1
    assert account.charge(0, now_ns + wait_ns) == 0


@pytest.mark.parametrize("word", [2**62, -(2**62), 2**63 - 1])
def test_nobody_is_locked_out_by_what_a_damaged_account_says(word):
    slot = np.array([7, word, word, 0, 0, 0, 0, 0])
    terms = np.array([7, 1_000, 5_000, 10, 100_000])
    none = np.frombuffer(b"", np.uint8)

    waits = [kernel.charge(slot, terms, none, 0, BOOTED_NS + at) for at in range(0, 6_000, 1_000)]

    assert 0 in waits
    assert max(abs(wait) for wait in waits) <= 5_000


def longer(number: int, more: int) -> bytes:
    """A varint with as many bytes more than it needs."""
    found = []
    while number >= 128:
        found.append(number & 127 | 128)
        number >>= 7
    found.append(number)
    for _ in range(more):
        found[-1] |= 128
        found.append(0)
    return bytes(found)


def parsed(raw: bytes) -> int | None:
    try:
        return len(v1.PriceLinesRequest.FromString(raw).lines)
    except DecodeError:
        return None


encoded_lines = st.builds(
    lambda tag, length, sku: (
        longer(LINE, tag) + longer(2 + len(sku), length) + b"\x0a" + bytes([len(sku)]) + sku
    ),
    st.integers(0, 3),
    st.integers(0, 3),
    st.binary(max_size=12).filter(lambda sku: sku.isascii()),
)
others = st.one_of(
    st.just(b"\x0a\x01C"),
    st.just(b"\x7b\x08\x01\x7c"),  # a group of an unknown field
    st.builds(lambda value: b"\x78" + longer(value, 0), st.integers(0, 2**64 - 1)),
    st.binary(min_size=8, max_size=8).map(lambda eight: b"\x79" + eight),
    st.binary(min_size=4, max_size=4).map(lambda four: b"\x7d" + four),
    st.binary(max_size=3),
)


@settings(deadline=None)
@given(parts=st.lists(encoded_lines | others, max_size=30))
@example(parts=[longer(LINE, 4) + b"\x00"])
@example(parts=[b"\x7b", b"\x12\x00", b"\x7c", b"\x12\x00"])
def test_no_encoding_hides_lines(parts):
    raw = b"".join(parts)
    count, there = kernel.count_lines(np.frombuffer(raw, np.uint8), LINE), parsed(raw)

    assert there is None or count >= there


@settings(deadline=None)
@given(raw=st.binary(max_size=60))
def test_whatever_the_runtime_reads_is_counted(raw):
    there = parsed(raw)

    assert there is None or kernel.count_lines(np.frombuffer(raw, np.uint8), LINE) >= there


@settings(deadline=None)
@given(count=st.integers(0, 300), sku=st.text(max_size=40))
def test_lines_are_counted_as_they_are(count, sku):
    line = v1.PriceLine(sku=sku, quantity_micros=2_000_000, uom="BOX")
    raw = v1.PriceLinesRequest(
        customer_id="C", lines=[line] * count, currency="EUR", as_of_date="2026-01-01"
    ).SerializeToString()

    assert kernel.count_lines(np.frombuffer(raw, np.uint8), LINE) == count


def test_every_request_with_lines_has_a_tag():
    tags = {
        (method.name): line_tag(service.full_name, method.name)
        for file in (v1.QUOTE_SERVICE_FILE, v1.AVAILABILITY_SERVICE_FILE, v1.INVENTORY_FEED_SERVICE_FILE)
        for service in file.services_by_name.values()
        for method in service.methods
    }

    assert tags["QuoteLines"] == tags["CheckAvailability"] == tags["WatchAvailability"] == LINE
    assert (tags["Reserve"], tags["PublishEvents"], tags["GetReservation"]) == (0x1A, 0x0A, 0)


# ---- accounts


@pytest.mark.slow
@pytest.mark.parametrize(("calls", "of_lines"), [(300_000, 10_000_000), (10_000_000, 900_000)])
def test_processes_admit_exactly_the_quota(tmp_path, calls, of_lines):
    told = map(str, (tmp_path / "quotas", BOOTED_NS, calls, of_lines, 200_000))
    command = [sys.executable, "-m", "tests.quota_child", *told]
    children = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    try:
        assert [child.stdout.readline() for child in children] == ["ready\n"] * 3
        for child in children:
            child.stdin.write("go\n")
            child.stdin.flush()
        counts = [int(child.stdout.readline()) for child in children]
    finally:
        for child in children:
            child.kill()
            child.communicate()

    assert sum(counts) == 300_000
    assert max(counts) <= 200_000, "one process alone could not use the quota up"


def test_threads_that_come_first_share_one_account(tmp_path):
    clock = Clock()
    files = [Accounts(tmp_path / "quotas", clock) for _ in range(8)]
    start, found = threading.Barrier(8), []

    def claim(accounts: Accounts) -> None:
        start.wait()
        slot, _ = accounts.account(key_of("shop"))
        found.append(slot)

    threads = [threading.Thread(target=claim, args=(accounts,)) for accounts in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found[0][kernel.CALLS_WANTED] = 42

    assert [int(slot[kernel.CALLS_WANTED]) for slot in found] == [42] * 8


def test_the_file_is_its_owners_alone_and_of_this_boot(tmp_path):
    path = accounts_path(tmp_path)
    former = path.with_name(f"quotas-1-{host_number() ^ 1:016x}")
    former.touch()

    Accounts(accounts_path(tmp_path), Clock())

    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_those_who_find_no_place_share_one_account(tmp_path):
    clock = Clock()
    some = quotas(tmp_path, clock, LimitRule(calls=Rate(1, 5)), accounts=2)
    callers = [some.of(f"shop-{number}", "storefront") for number in range(4)]

    counts = [admitted(caller, 9) for caller in callers]

    assert counts == [5, 5, 5, 0]


def test_an_idle_account_is_given_to_another_and_its_owner_gets_a_new_one(tmp_path):
    clock = Clock()
    some = quotas(tmp_path, clock, LimitRule(calls=Rate(1, 5)), accounts=1)
    first = some.of("first", "storefront")
    assert admitted(first, 9) == 5
    clock.now_ns += FORGET_NS + 6 * S

    second = some.of("second", "storefront")

    assert admitted(second, 9) == 5
    clock.now_ns += FORGET_NS + 6 * S
    assert admitted(first, 9) == 5, "its place was lost, and found again"


def test_an_account_that_owes_something_stays(tmp_path):
    clock = Clock()
    accounts = Accounts(tmp_path / "quotas", clock, accounts=1)
    slow = Quota(accounts, "slow", LimitRule(calls=Rate(1, 1_000)), clock)
    assert admitted(slow, 1_000) == 1_000
    clock.now_ns += FORGET_NS + S

    assert accounts.account(key_of("other"))[1] == SHARED_KEY
    assert admitted(slow, 100) == 61


# ---- what a caller may use, and is told


def test_a_rule_for_one_goes_before_that_of_their_role_and_that_for_everybody(tmp_path):
    rules = (
        LimitRule(calls=Rate(1, 1)),
        LimitRule(role="desk", calls=Rate(1, 2)),
        LimitRule(subject="https://login.example ann", calls=Rate(1, 3)),
    )
    some = quotas(tmp_path, Clock(), *rules)
    who = [("https://login.example ann", "desk"), ("bob", "desk"), ("shop", "storefront")]

    assert [admitted(some.of(*each), 9) for each in who] == [3, 2, 1]


def test_where_no_rule_is_for_them_there_is_no_limit(tmp_path):
    some = quotas(tmp_path, Clock(), LimitRule(role="desk", calls=Rate(1, 1)))

    assert some.of("shop", "storefront") is None


def test_a_change_of_role_changes_the_limit(tmp_path):
    some = quotas(tmp_path, Clock(), LimitRule(role="desk", calls=Rate(1, 1)))

    assert some.of("ann", "desk") is not None
    assert some.of("ann", "storefront") is None


def test_a_refusal_says_which_limit_and_when_to_ask_again(tmp_path):
    clock = Clock()
    some = quotas(tmp_path, clock, LimitRule(calls=Rate(100, 2), lines=Rate(1_000, 10_000)))
    quota = some.of("shop", "storefront")
    quota.charge(lines(9_990), LINE)

    with pytest.raises(RequestRefusedError) as of_lines:
        quota.charge(lines(30), LINE)
    quota.charge(lines(10), LINE)
    with pytest.raises(RequestRefusedError) as of_calls:
        quota.charge(lines(0), LINE)

    assert of_lines.value.reason is of_calls.value.reason is Reason.QUOTA_EXCEEDED
    assert (of_lines.value.message, of_lines.value.retry_ms) == (
        "more than 1000 lines a second; ask again in 20 ms",
        20,
    )
    assert (of_calls.value.message, of_calls.value.retry_ms) == (
        "more than 100 calls a second; ask again in 10 ms",
        10,
    )
    assert of_lines.value.metadata == {"limit": "lines", "per_second": "1000", "burst": "10000"}
    clock.now_ns += 20_000_000
    quota.charge(lines(20), LINE)


def test_what_is_refused_costs_nothing(tmp_path):
    some = quotas(tmp_path, Clock(), LimitRule(calls=Rate(1, 3), lines=Rate(1, 10)))
    quota = some.of("shop", "storefront")

    assert admitted(quota, 1, lines(10), LINE) == 1
    assert admitted(quota, 50, lines(1), LINE) == 0
    assert admitted(quota, 50, lines(0), LINE) == 2


def test_a_request_of_more_than_a_burst_waits_for_a_whole_one(tmp_path):
    clock = Clock()
    quota = quotas(tmp_path, clock, LimitRule(lines=Rate(10, 20))).of("shop", "storefront")

    assert admitted(quota, 2, lines(1_000), LINE) == 1
    clock.now_ns += 2 * S
    assert admitted(quota, 2, lines(1_000), LINE) == 1


def test_a_stream_waits_for_its_quota(tmp_path, monkeypatch):
    clock = Clock()
    quota = quotas(tmp_path, clock, LimitRule(lines=Rate(10, 10))).of("feed", "loader")
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock.now_ns += round(seconds * 1e9)

    monkeypatch.setattr("pricegrid.service.quota.quotas.time.sleep", sleep)
    for _ in range(3):
        assert quota.pace(lines(10), LINE, lambda: False)

    assert sum(slept) == pytest.approx(2)
    began_ns = clock.now_ns
    assert not quota.pace(lines(10), LINE, lambda: True), "nor is what they sent applied"
    assert clock.now_ns == began_ns, "a caller who is gone is not waited for"

"""What callers get while the ERP is stopped, slow, wrong or hostile; and how it is left alone and found again."""

import threading
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from time import monotonic

import pytest

from pricegrid import Client, ExceptionReason, Line, LinePrice, LineStatus, PriceSource
from pricegrid.cache.memory import MemoryValueCache
from pricegrid.erp.dead_letters import DeadLetter
from pricegrid.erp.gateway import LOOKUP_KEYS, ErpGateway
from pricegrid.erp.http_json import HttpJsonAdapter
from pricegrid.erp.observe import BreakerState, NoErpMetrics
from pricegrid.erp.operator_flags import OperatorFlags
from pricegrid.erp.protocol import Refusal, StockQuestion
from pricegrid.erp.settings import read_settings
from pricegrid.erp.validation import PriceCheck
from pricegrid.pricing_engine.model import ExceptionPolicy, PriceQuestion
from pricegrid.service.clock import now_us
from pricegrid.service.erp_overlay.fallback import ErpFallback, open_erp
from pricegrid.service.process.bootstrap import load_snapshot, version_opener
from pricegrid.service.process.snapshots import SnapshotHolder
from pricegrid.service.rpc.in_process import InProcessChannel
from pricegrid.service.rpc.services import services
from tests.erp_server import Fault, SmallErp, serving
from tests.ports import free_port
from tests.servers import until
from tests.stores import publish, stocked_rows

ORDINARY = [Line("S2", 2), Line("S4", 3), Line("?", 1)]
REQUESTS_UNTIL_OPEN_MAX = 5
"""Of 400 ms at most each: on a quiet machine the breaker is open within a second."""
LIMITS = "[limits]\ntimeout_ms = 400\nprobe_ms = 100\nretry_pct = 20\n[parity]\nsample_per_million = 0\n"
PATIENT = "[limits]\ntimeout_ms = 20000\nrequest_wait_ms = 30000\nprobe_ms = 100\n[parity]\nsample_per_million = 0\n"


class Shop:
    """A client over a store with the small ERP behind it, and the refused answers it left."""

    def __init__(self, client: Client, erp: ErpFallback, letters: list[DeadLetter]) -> None:
        self.client = client
        self.erp = erp
        self.letters = letters

    def ask(self, *lines: Line, customer: str = "C1", timeout_s: float = 30.0):
        return self.client.price_lines(customer, list(lines), timeout_s=timeout_s).lines


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("store")
    rows = stocked_rows()
    rows["branches"].append({"branch": "NEW"})  # of which nobody has told the stock
    rows["customers"].append({"customer_id": "C3", "currency": "EUR"})
    publish(path, rows)
    return path


@pytest.fixture
def small() -> SmallErp:
    erp = SmallErp()
    erp.prices = {("", "X1"): "9.75", ("C1", "X1"): "9.5", ("", "N1"): "4.125"}
    with serving(erp):
        yield erp


def open_shop(store: Path, config: Path, policy: ExceptionPolicy | None = None) -> Shop:
    policy = policy or ExceptionPolicy()
    letters: list[DeadLetter] = []
    erp = open_erp(
        read_settings(config), store, now_us, dead_letters=letters.append, cache=MemoryValueCache()
    )
    holder = SnapshotHolder(
        load_snapshot(store, None, policy), version_opener(store, policy, lambda _: False)
    )
    channel = InProcessChannel(services(holder, now_us, erp=erp), service_desk=False)
    return Shop(Client(channel=channel), erp, letters)


@pytest.fixture
def shop(store, small, tmp_path):
    opened = open_shop(store, small.config(tmp_path, LIMITS))
    yield opened
    opened.erp.close()


@pytest.fixture
def patient_shop(store, small, tmp_path):
    """For answers that are wrong however long they take."""
    opened = open_shop(store, small.config(tmp_path, PATIENT))
    yield opened
    opened.erp.close()


def check_ordinary(lines) -> None:
    assert [(line.status, line.unit_price) for line in lines] == [
        (LineStatus.OK, Decimal(10)),
        (LineStatus.OK, Decimal(10)),
        (LineStatus.UNKNOWN_ITEM, None),
    ]
    assert all(line.source in {PriceSource.MATRIX, None} for line in lines)


def from_erp(shop: Shop, line: Line) -> LinePrice:
    """As the ERP prices it; on a busy machine an answer that came too late may have been cached."""
    found: list[LinePrice] = []

    def is_from_erp() -> bool:
        found[:] = shop.ask(line)
        return found[0].source in {PriceSource.ERP, PriceSource.ERP_CACHED}

    until(is_from_erp, "the ERP is asked")
    return found[0]


def test_a_valid_answer_is_used_with_its_source_and_cached(patient_shop, small):
    shop = patient_shop
    lines = shop.ask(*ORDINARY, Line("X1", 2), Line("N1", 3))
    again = shop.ask(Line("X1", 2), Line("N1", 3))

    check_ordinary(lines[:3])
    assert [(line.unit_price, line.extended_price) for line in lines[3:]] == [
        (Decimal("9.5"), Decimal(19)),
        (Decimal("4.125"), Decimal("12.38")),
    ]
    assert [line.source for line in lines[3:]] == [PriceSource.ERP] * 2
    assert [line.exception for line in lines[3:]] == [None, None]
    assert [line.source for line in again] == [PriceSource.ERP_CACHED] * 2
    assert [line.unit_price for line in again] == [Decimal("9.5"), Decimal("4.125")]
    assert len(small.calls) == 1


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault.WRONG_CURRENCY, Refusal.CURRENCY),
        (Fault.WRONG_UNIT, Refusal.UNIT),
        (Fault.NEGATIVE, Refusal.SIGN),
        (Fault.NAN, Refusal.NOT_A_NUMBER),
        (Fault.NAN_TEXT, Refusal.NOT_A_NUMBER),
        (Fault.HUGE, Refusal.SIZE),
        (Fault.HUGE_CHUNKED, Refusal.SIZE),
        (Fault.HUGE_PACKED, Refusal.SIZE),
        (Fault.REDIRECT, Refusal.REDIRECT),
        (Fault.OTHER_ITEM, Refusal.OTHER_ITEM),
        (Fault.OTHER_CUSTOMER, Refusal.OTHER_CUSTOMER),
        (Fault.NO_JSON, Refusal.SCHEMA),
        (Fault.FAR_OFF, Refusal.BAND),
        (Fault.TOO_FINE, Refusal.PRECISION),
    ],
    ids=lambda value: value.name,
)
def test_a_wrong_answer_is_refused_dead_lettered_and_never_kept(patient_shop, small, fault, reason):
    shop = patient_shop
    small.fault = fault

    lines = shop.ask(*ORDINARY, Line("X1", 2))

    check_ordinary(lines[:3])
    assert (lines[3].status, lines[3].unit_price) == (LineStatus.OK, Decimal(10))
    assert (lines[3].source, lines[3].exception) == (PriceSource.MATRIX, ExceptionReason.PRICE_SOURCE_ERP)
    until(lambda: len(shop.letters) == 1, "a dead letter")
    letter = shop.letters[0]
    assert (letter.source, letter.reason, letter.payload["question"]["sku"]) == ("erp", reason, "X1")
    small.fault = Fault.NONE
    (mended,) = shop.ask(Line("X1", 2))
    assert (mended.source, mended.unit_price) == (PriceSource.ERP, Decimal("9.5"))


@pytest.mark.parametrize(
    "fault", [Fault.HANGING, Fault.SLOW, Fault.DRIPPING, Fault.ERRORS], ids=lambda f: f.name
)
def test_an_erp_in_trouble_degrades_its_lines_opens_the_breaker_and_is_found_again(shop, small, fault):
    known = from_erp(shop, Line("X1", 2))
    small.fault = fault

    asked = 0
    while shop.erp.gateway.state is not BreakerState.OPEN:
        lines = shop.ask(*ORDINARY, Line("X1", 7), Line("N1", 7))
        asked += 1
        assert asked <= REQUESTS_UNTIL_OPEN_MAX

    check_ordinary(lines[:3])
    assert (lines[3].status, lines[3].exception) == (LineStatus.OK, ExceptionReason.PRICE_SOURCE_ERP)
    assert (lines[4].status, lines[4].exception) == (LineStatus.NO_PRICE, ExceptionReason.NO_PRICE)
    shop.ask(Line("X1", 8))
    asked_of = {line["quantity"] for call in small.calls for line in call["lines"]}
    assert 7 in asked_of
    assert 8 not in asked_of, "an open breaker asks nothing"
    (still,) = shop.ask(Line("X1", 2))
    assert (still.source, still.unit_price) == (PriceSource.ERP_CACHED, known.unit_price)
    small.fault = Fault.NONE
    from_erp(shop, Line("X1", 9))
    until(lambda: shop.erp.gateway.state is BreakerState.CLOSED, "it is as before")


def test_a_stopped_erp_is_found_again_when_it_is_back(store, tmp_path):
    erp = SmallErp()
    erp.prices = {("", "X1"): "9.75"}
    with serving(erp, port := free_port()):
        shop = open_shop(store, erp.config(tmp_path, LIMITS))
        from_erp(shop, Line("X1", 1))
    try:
        asked = 0
        while shop.erp.gateway.state is not BreakerState.OPEN:
            lines = shop.ask(*ORDINARY, Line("X1", 5))
            asked += 1
            assert asked <= REQUESTS_UNTIL_OPEN_MAX
        check_ordinary(lines[:3])
        assert (lines[3].source, lines[3].unit_price) == (PriceSource.MATRIX, Decimal(10))
        with serving(erp, port):
            from_erp(shop, Line("X1", 6))
    finally:
        shop.erp.close()


def test_the_last_known_price_is_marked_with_its_age(store, small, tmp_path):
    shop = open_shop(store, small.config(tmp_path, PATIENT + "[cache]\nttl_s = 0\n"))
    began_s = monotonic()
    (first,) = shop.ask(Line("N1", 3))
    took_s = monotonic() - began_s
    small.fault = Fault.ERRORS

    (last,) = shop.ask(Line("N1", 3))

    shop.erp.close()
    assert (first.source, first.exception) == (PriceSource.ERP, None)
    assert first.source_age.total_seconds() <= took_s, "it was asked just now"
    assert (last.status, last.unit_price, last.source) == (
        LineStatus.OK,
        Decimal("4.125"),
        PriceSource.ERP_CACHED,
    )
    assert last.exception is ExceptionReason.NO_PRICE, "it is not confirmed now"
    assert last.source_age >= first.source_age


def test_nobody_waits_beyond_the_callers_deadline(patient_shop, small):
    shop = patient_shop
    small.fault = Fault.HANGING

    lines = shop.ask(*ORDINARY, Line("X1", 2), timeout_s=0.2)

    check_ordinary(lines[:3])
    assert lines[3].exception is ExceptionReason.PRICE_SOURCE_ERP
    assert shop.erp.gateway.state is BreakerState.CLOSED, "it waited as long as the ERP itself is given"


def test_a_caller_leaves_at_the_deadline_though_the_loop_itself_is_busy(store, small, tmp_path):
    class Busy(HttpJsonAdapter):
        """Works in the loop and lets nobody else in."""

        async def prices(self, questions, deadline_s):
            small.released.wait(30)
            return await super().prices(questions, deadline_s)

    settings = read_settings(small.config(tmp_path, PATIENT))
    gateway = ErpGateway(settings, MemoryValueCache(), lambda _: None, NoErpMetrics(), now_us, make=Busy)
    gateway.start()
    check = PriceCheck(PriceQuestion("C1", "X1", 1_000_000, now_us(), "EA", "EUR"))
    let_go = threading.Timer(5.0, small.released.set)  # whoever waits for the loop
    let_go.start()

    (answer,) = gateway.prices([check], monotonic() + 0.2)
    was_released = small.released.is_set()
    let_go.cancel()
    small.released.set()
    gateway.close()

    assert answer is None
    assert not was_released, "it waited for the loop"


@pytest.mark.parametrize("what", ["prices", "stock"])
def test_ten_thousand_lines_are_looked_up_as_long_as_there_is_time(small, tmp_path, what):
    class SlowCache(MemoryValueCache):
        looks, keys_max = 0, 0

        def get(self, owner, keys, now_us):
            self.looks += 1
            self.keys_max = max(self.keys_max, len(keys))
            threading.Event().wait(0.05)
            return super().get(owner, keys, now_us)

    settings, cache = read_settings(small.config(tmp_path, PATIENT)), SlowCache()
    gateway = ErpGateway(settings, cache, lambda _: None, NoErpMetrics(), now_us)
    gateway.start()
    checks = [
        PriceCheck(PriceQuestion("C1", f"S{n}", 1_000_000, now_us(), "EA", "EUR")) for n in range(10_000)
    ]

    pairs = [StockQuestion(check.question.sku, "HAM", now_us()) for check in checks]
    ask, asked = {"prices": (gateway.prices, checks), "stock": (gateway.stock, pairs)}[what]

    answers = ask(asked, monotonic() + 0.1)
    hurried = ask(asked, monotonic())
    gateway.close()

    assert answers == hurried == [None] * 10_000
    assert 2 <= cache.looks <= 8, "of 80: a caller in a hurry gets one at least"
    assert cache.keys_max == LOOKUP_KEYS


def test_an_erp_that_answers_errors_sees_a_fifth_more_calls_at_most(store, small, tmp_path):
    limits = "failures_max = 1000000\nbackoff_ms = 0\ncalls_per_s = 100000\nretries_max = 5\n[parity]"
    shop = open_shop(store, small.config(tmp_path, PATIENT.replace("[parity]", limits)))
    small.fault = Fault.ERRORS

    for quantity in range(1, 101):
        shop.ask(Line("X1", quantity))

    shop.erp.close()
    assert 100 < len(small.calls) <= 120


def test_equal_questions_at_once_make_one_call(patient_shop, small):
    shop = patient_shop
    small.holding.set()
    found: list[PriceSource | None] = []

    def ask() -> None:
        found.extend(line.source for line in shop.ask(Line("X1", 2)))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    until(lambda: shop.erp.gateway.asking == 4, "all four wait")
    small.holding.clear()
    small.released.set()
    for thread in threads:
        thread.join()

    assert found == [PriceSource.ERP] * 4
    assert len(small.calls) == 1


def test_two_customers_who_ask_the_same_at_once_get_each_their_own_price(patient_shop, small):
    shop = patient_shop
    small.prices["C3", "X1"] = "8.25"
    small.holding.set()
    found: dict[str, Decimal | None] = {}

    def ask(customer: str) -> None:
        found[customer] = shop.ask(Line("X1", 2), customer=customer)[0].unit_price

    threads = [threading.Thread(target=ask, args=(customer,)) for customer in ("C1", "C3")]
    for thread in threads:
        thread.start()
    until(lambda: len(small.calls) == 2, "both are asked")
    small.holding.clear()
    small.released.set()
    for thread in threads:
        thread.join()

    assert found == {"C1": Decimal("9.5"), "C3": Decimal("8.25")}


def test_a_line_that_is_answered_in_time_is_used_though_another_is_not(store, small, tmp_path):
    config = small.config(tmp_path, PATIENT)
    config.write_text(config.read_text().replace("batch_lines_max = 50", "batch_lines_max = 1"))
    shop = open_shop(store, config)
    small.held.add("N1")

    for quantity, timeout_s in enumerate(
        (1.0, 10.0, 30.0), 2
    ):  # a busy machine needs longer for what is in time
        lines = shop.ask(*ORDINARY, Line("X1", quantity), Line("N1", 3), timeout_s=timeout_s)
        if lines[3].source is PriceSource.ERP:
            break

    shop.erp.close()
    check_ordinary(lines[:3])
    assert (lines[3].source, lines[3].unit_price) == (PriceSource.ERP, Decimal("9.5"))
    assert (lines[4].status, lines[4].exception) == (LineStatus.NO_PRICE, ExceptionReason.NO_PRICE)


def test_an_invalidation_also_voids_an_answer_that_is_under_way(patient_shop, small, store):
    shop = patient_shop
    small.holding.set()
    asking = threading.Thread(target=shop.ask, args=(Line("X1", 4),))
    asking.start()
    until(lambda: len(small.calls) == 1, "the ERP is asked")
    OperatorFlags(store).invalidate(
        "C1", "X1", now_us()
    )  # the price was changed while it worked on the old one
    small.holding.clear()
    small.released.set()
    asking.join()

    until(lambda: shop.ask(Line("X1", 4))[0].source is PriceSource.ERP, "it is asked again")


def test_the_same_line_twice_in_a_request_is_asked_once(patient_shop, small):
    shop = patient_shop
    lines = shop.ask(Line("X1", 2), Line("X1", 2), Line("X1", -2))

    assert [line.extended_price for line in lines] == [Decimal(19), Decimal(19), Decimal(-19)]
    assert sum(len(call["lines"]) for call in small.calls) == 1


def test_too_many_waiting_requests_are_answered_without_the_erp(store, small, tmp_path):
    limits = PATIENT.replace("[limits]", "[limits]\nrequests_max = 1")
    shop = open_shop(store, small.config(tmp_path, limits))
    small.holding.set()
    waiting = threading.Thread(target=shop.ask, args=(Line("X1", 1),))
    waiting.start()
    until(lambda: len(small.calls) == 1, "one waits for the ERP")

    lines = shop.ask(*ORDINARY, Line("X1", 2))

    check_ordinary(lines[:3])
    assert lines[3].exception is ExceptionReason.PRICE_SOURCE_ERP
    small.released.set()
    waiting.join()
    assert len(small.calls) == 1
    shop.erp.close()


def free(shop: Shop, branch: str, *lines: Line):
    found = shop.client.check_availability(list(lines), branches=[branch]).lines
    return [
        (
            line.branches[0].status.value,
            line.branches[0].available,
            line.branches[0].freshness.erp.state.value,
        )
        for line in found
    ]


def test_unknown_stock_is_asked_from_the_erp_and_last_known_when_it_is_gone(store, small, tmp_path):
    shop = open_shop(store, small.config(tmp_path, PATIENT + "[cache]\nstock_ttl_s = 0\n"))
    small.stock = {("S4", "NEW"): ("7", "5.5"), ("S2", "NEW"): ("30", "30"), ("S4", "HAM"): ("99", "99")}

    asked = free(shop, "NEW", Line("S4", 6), Line("S2", 1, "BOX"), Line("S5", 1), Line("?", 1))
    known = free(shop, "HAM", Line("S4", 6))
    (quoted,) = shop.client.quote_lines("C1", [Line("S4", 6)], branches=["NEW"]).lines
    small.fault = Fault.ERRORS
    last = free(shop, "NEW", Line("S4", 6), Line("S5", 1))

    shop.erp.close()
    assert asked == [
        ("OK", Decimal("5.5"), "FRESH"),
        ("OK", Decimal(2), "FRESH"),
        ("UNKNOWN_STOCK", None, "UNKNOWN"),
        ("UNKNOWN_ITEM", None, "UNKNOWN"),
    ]
    assert known[0][:2] == ("OK", Decimal(10)), "what is known here is not asked"
    assert (quoted.availability.available, quoted.availability.shortage) == (Decimal("5.5"), Decimal("0.5"))
    assert last == [("OK", Decimal("5.5"), "STALE"), ("UNKNOWN_STOCK", None, "UNKNOWN")]


class Waits:
    """Stands where prices or stock are laid over, and notes until when its caller waits."""

    def __init__(self) -> None:
        self.until_s: list[float | None] = []

    def has_flags(self):
        return False

    def is_due(self, lines):
        return False

    def overlay(self, loaded, ask, answers, caller, **_):
        self.until_s.append(caller.deadline_s)
        return {}


def test_prices_and_stock_of_one_request_wait_together_no_longer_than_one(shop, store):
    waits = Waits()
    erp = replace(shop.erp, prices=waits, stock=waits)
    policy = ExceptionPolicy()
    holder = SnapshotHolder(
        load_snapshot(store, None, policy), version_opener(store, policy, lambda _: False)
    )
    client = Client(channel=InProcessChannel(services(holder, now_us, erp=erp), service_desk=False))

    client.quote_lines("C1", [Line("X1", 1)], branches=["NEW"], timeout_s=3600)
    client.quote_lines("C1", [Line("X1", 1)], branches=["NEW"], timeout_s=1)

    assert None not in waits.until_s
    prices, stock, hurried, hurried_too = waits.until_s
    assert prices == stock < monotonic() + 1.5
    assert hurried == hurried_too < monotonic() + 1


@pytest.mark.parametrize("field", ["sku", "branch"])
def test_stock_of_another_item_or_branch_is_refused(patient_shop, small, field):
    shop = patient_shop
    small.stock = {("S4", "NEW"): ("7", "7")}
    small.rename = field

    assert free(shop, "NEW", Line("S4", 6)) == [("UNKNOWN_STOCK", None, "UNKNOWN")]
    until(lambda: len(shop.letters) == 1, "a dead letter")
    assert shop.letters[0].reason == {"sku": Refusal.OTHER_ITEM, "branch": Refusal.OTHER_BRANCH}[field]

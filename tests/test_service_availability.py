"""AvailabilityService and QuoteService over a real snapshot, in one process: what they answer, hide and refuse."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

import pricegrid
from pricegrid import AvailabilityStatus, Client, Line, LineStatus, PromisePolicy, SupplyPolicy, v1
from pricegrid.pricing_engine.model import ExceptionPolicy
from pricegrid.service.codec.request import branch_names
from pricegrid.service.errors import Reason, RequestRefusedError
from pricegrid.service.limits import BRANCHES_MAX, EXPLAINED_PAIRS_MAX, PAIRS_MAX, PROJECTED_PAIRS_MAX
from pricegrid.service.methods.availability import check_pairs
from pricegrid.service.process.bootstrap import load_snapshot
from pricegrid.service.rpc.call import Caller
from pricegrid.service.rpc.in_process import InProcessChannel
from pricegrid.service.rpc.services import services
from tests.fakes import OneSnapshot, fake_snapshot
from tests.stores import publish, stocked_rows

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
NOW_US = int(NOON.timestamp()) * 1_000_000


@pytest.fixture(scope="module")
def offered(tmp_path_factory):
    store = tmp_path_factory.mktemp("stocked")
    publish(store, stocked_rows())
    return services(OneSnapshot(load_snapshot(store, None, ExceptionPolicy())), lambda: NOW_US)


@pytest.fixture
def client(offered):
    with Client(channel=InProcessChannel(offered, service_desk=False)) as connected:
        yield connected


@pytest.fixture
def desk(offered):
    with Client(channel=InProcessChannel(offered, service_desk=True)) as connected:
        yield connected


def test_says_what_is_free_at_every_branch_and_in_all(client):
    (line,) = client.check_availability([Line("S4", 12)]).lines

    assert (line.status, line.available, line.shortage) == (AvailabilityStatus.OK, 13, 0)
    assert [(pair.branch, pair.available, pair.shortage) for pair in line.branches] == [
        ("HAM", 10, 2),
        ("RTM", 3, 9),
    ]


def test_says_how_old_the_figures_are(client):
    result = client.check_availability([Line("S4")], branches=["HAM"])

    freshness = result.lines[0].branches[0].freshness
    assert freshness.erp == pricegrid.SourceFreshness(pricegrid.FreshnessState.FRESH, timedelta(hours=6))
    assert result.as_of == NOON


def test_the_answer_names_its_snapshot_and_the_exchange(client):
    checked, promised = client.check_availability([Line("S4")]), client.promise_order([Line("S4")])

    for result in (checked, promised, client.quote_lines("C1", [Line("S4")])):
        assert result.snapshot_version.startswith("20260101T000000Z-")
        assert result.snapshot_age == NOON - datetime(2026, 1, 1, tzinfo=UTC)
        assert result.correlation_id


def test_a_branch_named_twice_counts_once(client):
    (line,) = client.check_availability([Line("S4")], branches=["HAM", "HAM"]).lines

    assert (line.available, len(line.branches)) == (10, 1)


def test_projects_only_on_request(client):
    (plain,) = client.check_availability([Line("S4")], branches=["HAM"]).lines
    (projected,) = client.check_availability([Line("S4")], branches=["HAM"], projected=True).lines

    assert plain.branches[0].projected == ()
    assert [(step.date, step.atp) for step in projected.branches[0].projected] == [
        (date(2026, 3, 2), 10),
        (date(2026, 3, 7), 20),
    ]


def test_promises_with_dates(client):
    (line,) = client.promise_order([Line("S4", 15)], ship_to="NORTH").lines

    assert [(part.branch, part.quantity, part.pick_date, part.arrival_date) for part in line.promised] == [
        ("RTM", 3, date(2026, 3, 2), date(2026, 3, 3)),
        ("HAM", 10, date(2026, 3, 2), date(2026, 3, 4)),
        ("HAM", 2, date(2026, 3, 7), date(2026, 3, 9)),
    ]
    assert line.shortage == 0


def test_a_policy_is_carried(client):
    policy = PromisePolicy(no_split=True, need_by=date(2026, 3, 6), minimum_shipment=Decimal("2.5"))

    (line,) = client.promise_order([Line("S4", 15)], ship_to="NORTH", policy=policy).lines

    assert [(part.branch, part.quantity) for part in line.promised] == [("HAM", 10)]


# ---- a quote is the same answers in one


LINES = [
    Line("S4", 12),
    Line("S4", 12),
    Line("S2", Decimal("1.5"), "BOX"),
    Line("S5", 4),
    Line("S6"),
    Line("N1"),
    Line("S1", 2),
    Line("KIT", 251),
    Line("E1"),
    Line("nope"),
    Line("S4", -1),
    Line("S4", 0),
    Line("S4", 1, "XX"),
]


@pytest.mark.parametrize("branches", [["HAM"], ["RTM", "HAM"], ["HAM", "NOPE"], ["NOPE"], []])
@pytest.mark.parametrize("caller", ["client", "desk"])
def test_a_quote_says_what_price_and_availability_say_when_asked_separately(request, caller, branches):
    client = request.getfixturevalue(caller)
    asked = branches or ["HAM"]  # C1's own

    quote = client.quote_lines("C1", LINES, branches=branches)
    prices = client.price_lines("C1", LINES, branch=asked[0])
    checked = client.check_availability(LINES, customer_id="C1", branches=asked)
    promised = client.promise_order(LINES, customer_id="C1", branches=asked)

    assert [line.price for line in quote.lines] == list(prices.lines)
    for line, alone, promise in zip(quote.lines, checked.lines, promised.lines, strict=True):
        free = line.availability
        assert (free.status, free.available, free.shortage) == (alone.status, alone.available, alone.shortage)
        full = promise.status is AvailabilityStatus.OK and promise.shortage == 0
        assert free.promise_date == (max(part.pick_date for part in promise.promised) if full else None)
        states = [pair.freshness.erp.state for pair in alone.branches]
        assert free.freshness.erp.state is max(states, key=list(pricegrid.FreshnessState).index)


def test_a_quote_is_in_place_of_two_calls(client):
    first, second = client.quote_lines("C1", [Line("S4", 12), Line("S4", 8)]).lines

    assert (first.price.unit_price, first.availability.available) == (10, 10)
    assert (first.availability.promise_date, second.availability.promise_date) == (
        date(2026, 3, 7),
        date(2026, 3, 7),
    )


def test_a_quote_without_a_branch_has_no_availability(client):
    (nobody,) = client.quote_lines("", [Line("S4")], currency="EUR").lines
    (elsewhere,) = client.quote_lines("C2", [Line("S4")]).lines
    (long_ago,) = client.quote_lines("C1", [Line("S4")], as_of=date(1969, 12, 31)).lines

    assert (nobody.availability, elsewhere.availability, long_ago.availability) == (None, None, None)
    assert nobody.price.status is LineStatus.OK


def test_without_positions_there_are_still_prices():
    with Client(
        channel=InProcessChannel(services(OneSnapshot(fake_snapshot()), int), service_desk=False)
    ) as client:
        (line,) = client.quote_lines("C", [Line("A")], branches=["HAM"]).lines
        with pytest.raises(pricegrid.PricegridError) as refused:
            client.check_availability([Line("A")])

    assert (line.price.unit_price, line.availability) == (Decimal("1.5"), None)
    assert refused.value.reason == "NO_AVAILABILITY_DATA"


# ---- what a customer may not see (P11)


def test_an_item_they_may_not_buy_does_not_exist(client):
    forbidden, unknown = client.check_availability([Line("E1"), Line("nope")], customer_id="C1").lines
    promised, never = client.promise_order([Line("E1"), Line("nope")], customer_id="C1").lines
    quoted, nothing = client.quote_lines("C1", [Line("E1"), Line("nope")]).lines

    assert forbidden == unknown
    assert promised == never
    assert quoted == nothing
    assert forbidden.status is AvailabilityStatus.UNKNOWN_ITEM


def test_the_service_desk_sees_why(desk):
    (checked,) = desk.check_availability([Line("E1")], customer_id="C1").lines
    (promised,) = desk.promise_order([Line("E1")], customer_id="C1").lines
    (quoted,) = desk.quote_lines("C1", [Line("E1")]).lines

    assert {checked.status, promised.status, quoted.availability.status} == {AvailabilityStatus.NOT_ENTITLED}
    assert quoted.price.status is LineStatus.NOT_ENTITLED
    assert checked.available is None


def test_others_may_see_it(client):
    (anyone,) = client.check_availability([Line("E1")]).lines
    (other,) = client.check_availability([Line("E1")], customer_id="C2").lines

    assert (anyone.available, other.available) == (100, 100)


def test_a_substitute_they_may_not_buy_is_not_offered(client):
    policy = PromisePolicy(allow_substitutes=True)

    (theirs,) = client.promise_order(
        [Line("OLD", 50)], customer_id="C1", branches=["HAM"], policy=policy
    ).lines
    (others,) = client.promise_order(
        [Line("OLD", 50)], customer_id="C2", branches=["HAM"], policy=policy
    ).lines

    assert {part.sku for part in theirs.promised} == {"S4"}
    assert {part.sku for part in others.promised} == {"S4", "E1"}


def test_an_explanation_does_not_name_a_component_they_may_not_buy(tmp_path):
    rows = stocked_rows()
    rows["entitlements"].append({"customer_id": "C1", "sku": "BOLT", "allowed": "false"})
    publish(tmp_path, rows)
    offered = services(OneSnapshot(load_snapshot(tmp_path, None, ExceptionPolicy())), lambda: NOW_US)

    named = []
    for service_desk in (False, True):
        with Client(channel=InProcessChannel(offered, service_desk=service_desk)) as client:
            asking = {"customer_id": "C1", "branches": ["HAM"], "explain": True}
            (line,) = client.check_availability([Line("KIT")], **asking).lines
        named.append([part["sku"] for part in line.branches[0].explanation["components"]])
        assert line.available == 250

    assert named == [[None, "PANEL"], ["BOLT", "PANEL"]]


# ---- what is refused


REFUSED = [
    ("no lines", lambda c: c.check_availability([]), "NO_LINES"),
    ("10,001 lines", lambda c: c.promise_order([Line("A")] * 10_001), "TOO_MANY_LINES"),
    ("a long SKU", lambda c: c.promise_order([Line("S" * 129)]), "SKU_TOO_LONG"),
    ("a long unit", lambda c: c.check_availability([Line("S", 1, "U" * 33)]), "UOM_TOO_LONG"),
    ("a long branch", lambda c: c.check_availability([Line("S")], branches=["B" * 129]), "FIELD_TOO_LONG"),
    ("a long ship-to", lambda c: c.promise_order([Line("S")], ship_to="Z" * 129), "FIELD_TOO_LONG"),
    (
        "a long reservation",
        lambda c: c.promise_order([Line("S")], exclude_reservation="Z" * 129),
        "FIELD_TOO_LONG",
    ),
    (
        "too many branches",
        lambda c: c.quote_lines("C1", [Line("S")], branches=[str(n) for n in range(1001)]),
        "TOO_MANY_BRANCHES",
    ),
    (
        "too many pairs",
        lambda c: c.check_availability([Line("S4")] * 5_001, projected=True),
        "TOO_MANY_PAIRS",
    ),
    ("too many to explain", lambda c: c.promise_order([Line("S4")] * 51, explain=True), "TOO_MANY_PAIRS"),
    (
        "an unknown customer",
        lambda c: c.check_availability([Line("S4")], customer_id="C9"),
        "CUSTOMER_NOT_ALLOWED",
    ),
    ("a quote of an unknown customer", lambda c: c.quote_lines("C9", [Line("S4")]), "CUSTOMER_NOT_ALLOWED"),
    ("before 1970", lambda c: c.check_availability([Line("S4")], as_of=date(1969, 12, 31)), "INVALID_AS_OF"),
    (
        "no horizon",
        lambda c: c.check_availability([Line("S4")], supply=SupplyPolicy(horizon_days=0)),
        "INVALID_POLICY",
    ),
    (
        "a late receipt counted today",
        lambda c: c.check_availability([Line("S4")], supply=SupplyPolicy(past_due_offset_days=0)),
        "INVALID_POLICY",
    ),
    (
        "a confidence above 1",
        lambda c: c.check_availability([Line("S4")], supply=SupplyPolicy(min_confidence=2)),
        "INVALID_POLICY",
    ),
    (
        "a confidence finer than micros",
        lambda c: c.check_availability(
            [Line("S4")], supply=SupplyPolicy(min_confidence=Decimal("0.1234567"))
        ),
        "INVALID_POLICY",
    ),
    (
        "a negative shipment",
        lambda c: c.promise_order([Line("S4")], policy=PromisePolicy(minimum_shipment=-1)),
        "INVALID_POLICY",
    ),
    (
        "branches and a ship-to",
        lambda c: c.promise_order([Line("S4")], branches=["HAM"], ship_to="NORTH"),
        "INVALID_POLICY",
    ),
]


@pytest.mark.parametrize(("ask", "reason"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_refuses(client, ask, reason):
    with pytest.raises((pricegrid.InvalidRequestError, pricegrid.CustomerNotAllowedError)) as refused:
        ask(client)

    assert refused.value.reason == reason


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", Reason.NO_LINES),
        (b"\xff\xff\xff", Reason.MALFORMED_REQUEST),
        (b"\x12\x05\x0a\x04AB", Reason.MALFORMED_REQUEST),  # a line cut short
        (b"\x12\x04\x0a\x02\xff\xfe", Reason.MALFORMED_REQUEST),  # a SKU that is not UTF-8
    ],
)
def test_every_method_that_reads_refuses_bytes_that_are_no_question(offered, raw, reason):
    found = set()
    for methods in offered.values():
        for answer in filter(callable, methods.values()):
            with pytest.raises(RequestRefusedError) as refused:
                answer(raw, Caller("id"))
            found.add(refused.value.reason)

    assert found == {reason}


@pytest.mark.parametrize("field", ["on_date", "need_by_date", "late_until_date"])
@pytest.mark.parametrize("text", ["tomorrow", "2026-02-30", "20260302", "2026-W10-1"])
def test_a_date_that_is_none_is_refused(offered, field, text):
    request = v1.PromiseOrderRequest(
        lines=[v1.AvailabilityLine(sku="S4", quantity_micros=1)], policy=v1.PromisePolicy(**{field: text})
    )
    with pytest.raises(RequestRefusedError) as refused:
        offered[v1.AVAILABILITY_SERVICE]["PromiseOrder"](request.SerializeToString(), Caller("id"))

    assert (refused.value.reason, refused.value.metadata) == (Reason.INVALID_DATE, {"field": field})


def test_takes_as_many_branches_and_pairs_as_it_says():
    assert len(branch_names(str(n) for n in range(BRANCHES_MAX))) == BRANCHES_MAX
    check_pairs(PAIRS_MAX)
    check_pairs(PROJECTED_PAIRS_MAX, projected=True)
    check_pairs(EXPLAINED_PAIRS_MAX, explained=True)


def test_answers_ten_thousand_pairs_in_one_call(client):
    result = client.check_availability([Line("S4", 1), Line("S5", 6)] * 2_500, timeout_s=60)

    assert {line.available for line in result.lines} == {Decimal(13), Decimal(5)}
    assert sum(len(line.branches) for line in result.lines) == 10_000

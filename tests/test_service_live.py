"""Events, reservations and dead letters through the client: in one process, over gRPC, and by the writer link."""

import contextlib
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal

import grpc
import pytest

import pricegrid
from pricegrid import (
    AvailabilityStatus,
    Client,
    InventoryEvent,
    Release,
    ReservationStatus,
    ReservedPart,
    ReserveLine,
    UnreadableEvent,
)
from pricegrid.service.errors import Reason, RequestRefusedError
from pricegrid.service.methods.live import live_methods
from pricegrid.service.rpc.in_process import InProcessChannel
from pricegrid.service.rpc.services import services
from tests.fakes import OneSnapshot, fake_snapshot
from tests.live_memory import NOW_US, VERSION, MemoryLive, held_reservation
from tests.live_servers import DEADLINE_S, grpc_server, linked, on_hand, writer


@pytest.fixture
def live() -> MemoryLive:
    return MemoryLive(B=5_000_000)


@pytest.fixture(params=["in one process", "over gRPC", "by the writer link"])
def client(request, live) -> Iterator[Client]:
    with contextlib.ExitStack() as stack:
        if request.param == "in one process":
            offered = services(
                OneSnapshot(fake_snapshot()), lambda: NOW_US, live=live_methods(live, lambda: NOW_US)
            )
            yield stack.enter_context(Client(channel=InProcessChannel(offered, service_desk=True)))
            return
        if request.param == "over gRPC":
            address = stack.enter_context(grpc_server(live_methods(live, lambda: NOW_US)))
        else:
            address = stack.enter_context(linked(stack.enter_context(writer(live))))
        yield stack.enter_context(Client(address))


# ---- events


def test_events_are_published_in_several_messages_and_counted_once(client, live):
    asked = [on_hand(sequence, sequence) for sequence in range(1, 8)]

    result = client.publish_events([*asked, asked[0]], events_per_message=3, timeout_s=DEADLINE_S)

    counted = (result.applied, result.duplicate, result.older, result.dead_letter, result.gaps)
    assert counted == (7, 1, 0, 0, 0)
    assert live.stock["A", "HAM"] == 7_000_000
    assert len(result.correlation_id) == 32


def test_what_can_not_be_read_is_a_dead_letter_and_stops_nothing(client):
    result = client.publish_events(
        [UnreadableEvent("sku;qty", "line 1: not JSON"), on_hand(3)], timeout_s=DEADLINE_S
    )

    assert (result.applied, result.dead_letter) == (1, 1)
    letter = client.dead_letter(*result.dead_letter_ids)
    assert (letter.reason, letter.detail, letter.payload) == ("MALFORMED", "line 1: not JSON", "sku;qty")
    assert (letter.origin, letter.replays) == ("events", 0)


def test_no_events_are_no_events(client):
    assert client.publish_events([], timeout_s=DEADLINE_S).applied == 0


def test_an_error_of_the_events_themselves_reaches_the_caller(client):
    def events() -> Iterator[InventoryEvent]:
        yield on_hand(1)
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        client.publish_events(events(), timeout_s=DEADLINE_S)


BAD_EVENTS = [
    ("finer than micros", on_hand(Decimal("0.0000001")), "more than 6 decimals"),
    ("not a number", on_hand(Decimal("NaN")), "NaN"),
    ("beyond 64 bits", on_hand(10**13), "beyond 64 bits"),
    ("without a zone", on_hand(1, expected_at=datetime(2026, 3, 7)), "expected_at needs a time zone"),  # noqa: DTZ001
    ("a sequence beyond 64 bits", on_hand(1, sequence=2**63), "9223372036854775808"),
]


@pytest.mark.parametrize(
    ("event", "message"), [row[1:] for row in BAD_EVENTS], ids=[row[0] for row in BAD_EVENTS]
)
def test_an_event_that_can_not_be_carried_is_never_sent_as_another(client, live, event, message):
    with pytest.raises(pricegrid.InvalidRequestError, match=message) as refused:
        client.publish_events([event], timeout_s=DEADLINE_S)

    assert refused.value.reason == "INVALID_EVENT"
    assert live.stock["A", "HAM"] == 10_000_000


def test_a_quantity_of_nothing_is_carried(client, live):
    client.publish_events([on_hand(0)], timeout_s=DEADLINE_S)

    assert live.stock["A", "HAM"] == 0


def test_only_the_first_thousand_dead_letters_are_named(client):
    result = client.publish_events([UnreadableEvent("?")] * 1_500, timeout_s=DEADLINE_S)

    assert (result.dead_letter, len(result.dead_letter_ids)) == (1_500, 1_000)


def test_what_was_applied_before_a_refusal_stays(client, live):
    def fail_second(name: str) -> None:
        if live.seen:
            raise RequestRefusedError(Reason.LIVE_STATE_UNAVAILABLE, "the disk is full")

    live.before = fail_second
    with pytest.raises(pricegrid.UnavailableError, match="the disk is full") as refused:
        client.publish_events([on_hand(3, 1), on_hand(4, 2)], events_per_message=1, timeout_s=DEADLINE_S)

    assert refused.value.retry_after_s == 0.25
    assert live.stock["A", "HAM"] == 3_000_000


# ---- reservations


def test_a_reservation_is_held_confirmed_and_listed(client, live):
    line = ReserveLine("A", Decimal("2.5"), "HAM", from_date=date(2026, 3, 7), order_line="10")

    result = client.reserve([line], key="cart-1", customer_id="C1", ttl=timedelta(minutes=1))

    held = result.reservation
    assert (held.status, held.key, held.customer_id) == (ReservationStatus.HELD, "cart-1", "C1")
    assert held.expires - held.created == timedelta(minutes=1)
    assert [(found.line, found.held, found.shortage) for found in held.lines] == [(line, Decimal("2.5"), 0)]
    assert (result.is_repeat, result.snapshot_version) == (False, VERSION)
    confirmed = client.confirm_reservation(held.reservation_id, "SO-1", customer_id="C1", order_lines=["10"])
    assert (confirmed.status, confirmed.order_ref) == (ReservationStatus.CONFIRMED, "SO-1")
    assert client.reservations(unreported_for=timedelta(minutes=30)) == (confirmed,)
    assert live.asked[-1] == ("", 1_800_000_000, 1_000)
    assert client.reservations(customer_id="C2") == ()


def test_the_same_key_for_the_same_is_the_same_reservation(client):
    first = client.reserve([ReserveLine("A", 1, "HAM")], key="cart-1")
    again = client.reserve([ReserveLine("A", 1, "HAM")], key="cart-1")

    assert (first.is_repeat, again.is_repeat) == (False, True)
    assert again.reservation == first.reservation


def test_the_default_is_held_for_a_quarter_of_an_hour(client, live):
    client.reserve([ReserveLine("A", 1, "HAM")], key="k")

    assert live.asked[0].ttl_us == 900_000_000


def test_a_line_may_be_held_in_part_where_that_is_allowed(client):
    wanted = [ReserveLine("B", 7, "HAM"), ReserveLine("?", 1, "HAM")]

    nothing = client.reserve(wanted, key="k1").reservation
    some = client.reserve(wanted, key="k2", allow_partial=True).reservation

    assert (nothing.reservation_id, nothing.status) == ("", None)
    assert [(line.status, line.held, line.shortage) for line in nothing.lines] == [
        (AvailabilityStatus.OK, 0, 7),
        (AvailabilityStatus.UNKNOWN_ITEM, 0, 1),
    ]
    assert [(line.held, line.granted, line.shortage) for line in some.lines] == [(5, 5, 2), (0, 0, 1)]


def test_a_reservation_is_given_back_in_part_and_whole(client):
    name = client.reserve([ReserveLine("A", 4, "HAM")], key="k").reservation.reservation_id

    part = client.release_reservation(name, parts=[Release(0, Decimal("1.5"))])
    whole = client.release_reservation(name)

    assert [line.held for line in part.lines] == [Decimal("2.5")]
    assert (whole.status, whole.lines[0].held, whole.lines[0].granted) == (ReservationStatus.RELEASED, 0, 4)


def test_everything_a_reservation_holds_comes_over(client, live):
    live.held["R-7"] = held_reservation()

    (found,) = client.reservations()

    (line,) = found.lines
    assert line.line == ReserveLine("KIT", 3, "HAM", "BOX", date(2026, 3, 7), "10")
    assert (line.held, line.granted, line.shortage) == (Decimal("1.5"), 2, 1)
    assert line.parts == (
        ReservedPart("BOLT", Decimal(8), Decimal(4)),
        ReservedPart("PANEL", Decimal(2), Decimal(0)),
    )
    assert (found.order_ref, found.confirmed.microsecond, found.status) == (
        "SO-1",
        3,
        ReservationStatus.CONFIRMED,
    )


def test_a_reservation_of_another_customer_is_not_there(client):
    name = client.reserve([ReserveLine("A", 1, "HAM")], key="k", customer_id="C1").reservation.reservation_id

    for ask in (
        lambda: client.confirm_reservation(name, "SO-1", customer_id="C2"),
        lambda: client.release_reservation(name, customer_id="C2"),
        lambda: client.release_reservation("nope", customer_id="C2"),
    ):
        with pytest.raises(pricegrid.NotFoundError) as refused:
            ask()
        assert (refused.value.reason, str(refused.value)) == (
            "RESERVATION_NOT_FOUND",
            "this customer has no such reservation",
        )


REFUSED_RESERVES = [
    ("no key", {"key": ""}, "KEY_REQUIRED"),
    ("a long key", {"key": "k" * 129}, "FIELD_TOO_LONG"),
    ("no lines", {"lines": []}, "NO_LINES"),
    ("a thousand and one lines", {"lines": [ReserveLine("A", 1, "HAM")] * 1_001}, "TOO_MANY_LINES"),
    ("a long item", {"lines": [ReserveLine("A" * 129, 1, "HAM")]}, "SKU_TOO_LONG"),
    ("a long unit", {"lines": [ReserveLine("A", 1, "HAM", "U" * 33)]}, "UOM_TOO_LONG"),
    ("a long branch", {"lines": [ReserveLine("A", 1, "H" * 129)]}, "FIELD_TOO_LONG"),
    ("a long order line", {"lines": [ReserveLine("A", 1, "H", order_line="1" * 129)]}, "FIELD_TOO_LONG"),
    ("no time", {"ttl": timedelta(0)}, "INVALID_TTL"),
    ("less than a second", {"ttl": timedelta(milliseconds=999)}, "INVALID_TTL"),
    ("more than a month", {"ttl": timedelta(days=30, milliseconds=1)}, "INVALID_TTL"),
    ("a contradiction", {"allow_partial": True, "all_or_nothing": True}, "INVALID_RESERVATION"),
]


@pytest.mark.parametrize(
    ("options", "reason"), [row[1:] for row in REFUSED_RESERVES], ids=[row[0] for row in REFUSED_RESERVES]
)
def test_a_reserve_that_makes_no_sense_is_refused(client, live, options, reason):
    with pytest.raises(pricegrid.InvalidRequestError) as refused:
        client.reserve(**{"lines": [ReserveLine("A", 1, "HAM")], "key": "k", **options})

    assert refused.value.reason == reason
    assert live.asked == []


REFUSED_RELEASES = [
    ("a negative line", [Release(-1, 1)], "counts? from 0"),
    ("a line that is not there", [Release(3, 1)], "no line 3"),
    ("nothing of a line", [Release(0, 0)], "more than 0"),
    ("finer than micros", [Release(0, Decimal("0.0000001"))], "more than 0"),
    ("a line twice", [Release(0, 1), Release(0, 1)], "twice"),
]


@pytest.mark.parametrize(
    ("parts", "message"), [row[1:] for row in REFUSED_RELEASES], ids=[row[0] for row in REFUSED_RELEASES]
)
def test_a_release_that_makes_no_sense_is_refused(client, parts, message):
    name = client.reserve([ReserveLine("A", 1, "HAM")], key="k").reservation.reservation_id

    with pytest.raises(pricegrid.InvalidRequestError, match=message) as refused:
        client.release_reservation(name, parts=parts)

    assert refused.value.reason == "INVALID_RESERVATION"


def test_a_confirmation_needs_an_order(client):
    with pytest.raises(pricegrid.InvalidRequestError) as refused:
        client.confirm_reservation("R1", "")

    assert (refused.value.reason, refused.value.metadata["field"]) == ("INVALID_RESERVATION", "order_ref")


CONFLICTS = [
    (Reason.KEY_REUSED, grpc.StatusCode.ALREADY_EXISTS),
    (Reason.RESERVATION_EXPIRED, grpc.StatusCode.FAILED_PRECONDITION),
    (Reason.RESERVATION_ENDED, grpc.StatusCode.FAILED_PRECONDITION),
    (Reason.ORDER_MISMATCH, grpc.StatusCode.FAILED_PRECONDITION),
]


@pytest.mark.parametrize(("reason", "code"), CONFLICTS)
def test_a_conflict_is_told_with_its_reason(client, live, reason, code):
    def refuse(_: str) -> None:
        raise RequestRefusedError(reason, "no", reservation_id="R1")

    live.before = refuse
    with pytest.raises(pricegrid.ConflictError) as refused:
        client.confirm_reservation("R1", "SO-1")

    assert (refused.value.reason, refused.value.metadata["reservation_id"]) == (reason, "R1")
    assert refused.value.__cause__.code() is code


# ---- dead letters


def test_dead_letters_are_listed_replayed_and_dropped(client):
    texts = [UnreadableEvent("{}", "line 1"), UnreadableEvent("?", "line 2"), UnreadableEvent("!", "line 3")]
    first, second, third = client.publish_events(texts, timeout_s=DEADLINE_S).dead_letter_ids

    assert [letter.detail for letter in client.dead_letters(limit=2)] == ["line 1", "line 2"]
    assert client.dead_letters(origin="erp") == ()
    left = client.replay_dead_letters([first, second, "nope"])
    assert [(letter.dead_letter_id, letter.replays) for letter in left] == [(second, 1)]
    assert client.drop_dead_letters([second, second, "nope"]) == 1
    assert [letter.dead_letter_id for letter in client.dead_letters()] == [third]
    with pytest.raises(pricegrid.NotFoundError) as refused:
        client.dead_letter(first)
    assert refused.value.reason == "DEAD_LETTER_NOT_FOUND"


@pytest.mark.parametrize(
    ("ask", "reason"),
    [
        (lambda client: client.dead_letters(limit=-1), "INVALID_LIMIT"),
        (lambda client: client.dead_letters(limit=10_001), "INVALID_LIMIT"),
        (lambda client: client.dead_letters(origin="x" * 129), "FIELD_TOO_LONG"),
        (lambda client: client.reservations(limit=10_001), "INVALID_LIMIT"),
        (lambda client: client.reservations(unreported_for=timedelta(seconds=-1)), "INVALID_UNREPORTED_FOR"),
        (lambda client: client.replay_dead_letters([]), "NO_IDS"),
        (lambda client: client.drop_dead_letters(["x"] * 10_001), "TOO_MANY_IDS"),
        (lambda client: client.drop_dead_letters(["x" * 129]), "FIELD_TOO_LONG"),
    ],
)
def test_a_list_that_makes_no_sense_is_refused(client, ask, reason):
    with pytest.raises(pricegrid.InvalidRequestError) as refused:
        ask(client)

    assert refused.value.reason == reason

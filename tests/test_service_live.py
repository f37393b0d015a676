"""Events, reservations and dead letters through the client: in one process, over gRPC, and by a worker's writer link."""

import contextlib
import tempfile
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import grpc
import pytest

import pricegrid
from pricegrid import (
    AvailabilityStatus,
    Client,
    InventoryEvent,
    InventoryEventKind,
    InventoryMeasure,
    InventorySource,
    Release,
    ReservationStatus,
    ReservedPart,
    ReserveLine,
    UnreadableEvent,
    v1,
)
from service.errors import Reason, RequestRefusedError
from service.exchange import Services
from service.handlers import CountingPool, Handlers, Lanes
from service.inprocess import InProcessChannel
from service.live_service import live_methods, no_live_methods
from service.metrics import NoMetrics
from service.services import services
from service.writer_link import WriterLink, build_writer_server
from tests.fakes import OneSnapshot, fake_snapshot
from tests.live_memory import NOW_US, VERSION, MemoryLive, held_reservation

DEADLINE_S = 30.0  # far beyond what anything here takes: reaching it is the failure
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


@contextlib.contextmanager
def grpc_server(live: Services, lanes: Lanes | None = None) -> Iterator[str]:
    pool = CountingPool(2)
    server = grpc.server(pool)
    offered = services(OneSnapshot(fake_snapshot()), lambda: NOW_US, live=live)
    Handlers(offered, NoMetrics(), lambda: pool.waiting, lanes=lanes).register(server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(0).wait()


@contextlib.contextmanager
def writer(live: MemoryLive) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as directory:  # the path of a unix socket must be short
        path = Path(directory) / "writer.sock"
        server = build_writer_server(live, path)
        server.start()
        try:
            yield path
        finally:
            server.stop(0).wait()


@contextlib.contextmanager
def linked(path: Path, lanes: Lanes | None = None, timeout_s: float = DEADLINE_S) -> Iterator[str]:
    with (
        contextlib.closing(WriterLink(path, timeout_s=timeout_s)) as link,
        grpc_server(link.methods(), lanes) as address,
    ):
        yield address


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


def on_hand(quantity: Decimal | int, sequence: int = 1, sku: str = "A", **fields) -> InventoryEvent:
    return InventoryEvent(
        InventorySource.ERP,
        sequence,
        NOON,
        InventoryMeasure.ON_HAND,
        InventoryEventKind.SET,
        sku,
        "HAM",
        quantity,
        **fields,
    )


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


# ---- the way there


def test_where_there_is_no_live_state_each_method_says_so():
    for methods in no_live_methods().values():
        assert methods
    offered = services(OneSnapshot(fake_snapshot()), lambda: NOW_US)
    with Client(channel=InProcessChannel(offered, service_desk=True)) as connected:
        for ask in (
            lambda: connected.reserve([ReserveLine("A", 1, "HAM")], key="k"),
            lambda: connected.publish_events([on_hand(1)]),
            connected.dead_letters,
        ):
            with pytest.raises(pricegrid.UnavailableError) as refused:
                ask()
            assert refused.value.reason == "LIVE_STATE_UNAVAILABLE"


def test_a_writer_that_is_not_there_is_told_and_found_when_it_comes(live):
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "writer.sock"
        with linked(path) as address, Client(address) as connected:
            with pytest.raises(pricegrid.UnavailableError, match="can't be reached") as refused:
                connected.dead_letters()
            assert (refused.value.reason, refused.value.retry_after_s) == ("LIVE_STATE_UNAVAILABLE", 0.25)
            server = build_writer_server(live, path)
            server.start()
            try:
                found = _asked_until_answered(connected)
            finally:
                server.stop(0).wait()
    assert found == ()


def _asked_until_answered(connected: Client) -> object:
    give_up = datetime.now(UTC) + timedelta(seconds=DEADLINE_S)
    while datetime.now(UTC) < give_up:
        with contextlib.suppress(pricegrid.UnavailableError):
            return connected.dead_letters()
    raise AssertionError("the writer was never found")


def test_a_refusal_of_the_writer_reaches_the_caller_word_for_word(live):
    def refuse(_: str) -> None:
        raise RequestRefusedError(Reason.KEY_REUSED, "the key was used before: ü", key="k", until="noon")

    live.before = refuse
    request = v1.ReserveRequest(idempotency_key="k", lines=[v1.ReserveLine(sku="A", branch="HAM")])
    said = []
    with writer(live) as path, linked(path) as address, grpc_server(live_methods(live, lambda: 0)) as direct:
        for target in (address, direct):
            with grpc.insecure_channel(target) as channel, pytest.raises(grpc.RpcError) as refused:
                v1.AvailabilityServiceStub(channel).Reserve(
                    request, metadata=(("x-correlation-id", "web-7"),), timeout=DEADLINE_S
                )
            call = refused.value
            said.append((call.code(), call.details(), sorted(call.trailing_metadata())))

    assert said[0] == said[1]
    assert b"web-7" in dict(said[0][2])["grpc-status-details-bin"]


def test_a_writer_that_takes_too_long_may_have_done_it(live):
    go_on = threading.Event()
    live.before = lambda _: go_on.wait(DEADLINE_S)
    with writer(live) as path, linked(path, timeout_s=0.2) as address, Client(address) as connected:
        with pytest.raises(pricegrid.UnavailableError, match="may have been carried out") as refused:
            connected.reserve([ReserveLine("A", 1, "HAM")], key="k", timeout_s=DEADLINE_S)
        go_on.set()
        live.before = lambda _: None
        again = connected.reserve([ReserveLine("A", 1, "HAM")], key="k", timeout_s=DEADLINE_S)

    assert refused.value.reason == "LIVE_STATE_UNAVAILABLE"
    assert len(live.held) == 1
    assert again.reservation.reservation_id == "R1"


@pytest.mark.parametrize("way", ["over gRPC", "by the writer link"])
def test_a_caller_that_goes_away_cancels_nothing(live, way):
    begun, go_on, done = threading.Event(), threading.Event(), threading.Event()

    def hold(_: str) -> None:
        begun.set()
        go_on.wait(DEADLINE_S)
        done.set()

    live.before = hold
    with contextlib.ExitStack() as stack:
        if way == "over gRPC":
            address = stack.enter_context(grpc_server(live_methods(live, lambda: NOW_US)))
        else:
            address = stack.enter_context(linked(stack.enter_context(writer(live))))
        channel = stack.enter_context(grpc.insecure_channel(address))
        request = v1.ReserveRequest(
            idempotency_key="k", lines=[v1.ReserveLine(sku="A", branch="HAM", quantity_micros=1_000_000)]
        )
        call = v1.AvailabilityServiceStub(channel).Reserve.future(request)
        assert begun.wait(DEADLINE_S)
        call.cancel()
        go_on.set()
        assert done.wait(DEADLINE_S)
        stack.close()  # waits for the handlers

    assert live.stock["A", "HAM"] == 9_000_000


def test_a_publisher_that_goes_away_leaves_what_was_applied(live):
    applied = threading.Event()
    never = threading.Event()

    def messages() -> Iterator[v1.PublishEventsRequest]:
        yield v1.PublishEventsRequest(
            events=[
                v1.InventoryEvent(
                    source=1,
                    sequence=1,
                    effective_us=1,
                    measure=1,
                    kind=1,
                    sku="A",
                    branch="HAM",
                    quantity_micros=5,
                )
            ]
        )
        never.wait(DEADLINE_S)

    lanes = Lanes(publish_streams=1)
    with grpc_server(live_methods(live, lambda: NOW_US), lanes) as address, Client(address) as connected:
        with grpc.insecure_channel(address) as channel:
            live.before = lambda _: applied.set()
            call = v1.InventoryFeedServiceStub(channel).PublishEvents.future(messages())
            assert applied.wait(DEADLINE_S)
            with pytest.raises(pricegrid.UnavailableError) as refused:
                connected.publish_events([on_hand(1)], timeout_s=DEADLINE_S)
            call.cancel()
            never.set()
        give_up = datetime.now(UTC) + timedelta(seconds=DEADLINE_S)
        while datetime.now(UTC) < give_up:  # the one place is free again
            with contextlib.suppress(pricegrid.UnavailableError):
                result = connected.publish_events([on_hand(7, 2)], timeout_s=DEADLINE_S)
                break

    assert (refused.value.reason, refused.value.retry_after_s) == ("TOO_MANY_STREAMS", 0.25)
    assert refused.value.__cause__.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert result.applied == 1
    assert (0, "A", "HAM", 1) in live.seen


def test_a_writer_that_hangs_keeps_no_read_waiting(live):
    go_on, waiting = threading.Event(), threading.Semaphore(0)

    def hold(_: str) -> None:
        waiting.release()
        go_on.wait(DEADLINE_S)

    live.before = hold
    lanes = Lanes(mutation_threads=3)
    with grpc_server(live_methods(live, lambda: NOW_US), lanes) as address, Client(address) as connected:
        with grpc.insecure_channel(address) as channel:
            stub = v1.AdminServiceStub(channel)
            calls = [stub.ListDeadLetters.future(v1.ListDeadLettersRequest()) for _ in range(9)]
            for _ in range(3):
                assert waiting.acquire(timeout=DEADLINE_S)
            priced = connected.price_lines("C", [pricegrid.Line("A")], timeout_s=DEADLINE_S)
            go_on.set()
            answered = [call.result(DEADLINE_S) for call in calls]

    assert priced.lines[0].status.value == "OK"
    assert len(answered) == 9

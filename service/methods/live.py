"""The methods that change live state: request bytes to response bytes over a `LiveApi`, without gRPC."""

from collections import Counter
from collections.abc import Callable, Iterator

from pricegrid import v1
from pricegrid.atp.rules.events import EventStatus
from pricegrid.service.clock import created_at_us
from pricegrid.service.codec import feeds as feeds_codec
from pricegrid.service.codec import live as codec
from pricegrid.service.errors import Reason, RequestRefusedError
from pricegrid.service.limits import DEAD_LETTER_IDS_MAX
from pricegrid.service.live.api import LiveApi, PublishResult
from pricegrid.service.rpc.call import Caller, Ingest, Method, Mutation, Services
from pricegrid.service.rpc.response import Response

PUBLISH_EVENTS = "PublishEvents"
UNARY_METHODS = {
    v1.AVAILABILITY_SERVICE: (
        "Reserve",
        "ConfirmReservation",
        "ReleaseReservation",
        "ExtendReservation",
        "GetReservation",
    ),
    v1.ORDER_SERVICE: ("ValidateOrder", "GetOrderAnswer"),
    v1.ADMIN_SERVICE: (
        "ListDeadLetters",
        "GetDeadLetter",
        "ReplayDeadLetters",
        "DropDeadLetters",
        "ListReservations",
        "ListFeedIssues",
        "ResetStreams",
        "ListResets",
    ),
}
"""The unary methods of live state; PUBLISH_EVENTS is the one that streams."""

Publish = Callable[[bytes, Caller], PublishResult]
"""Applies the events of one message, durable when it returns."""


class LiveService:
    """Answers the methods that change live state; safe to call from many threads."""

    def __init__(self, live: LiveApi, now_us: Callable[[], int]) -> None:
        self._live = live
        self._now_us = now_us

    def publish(self, raw: bytes, _: Caller) -> PublishResult:
        """Applies the events of one `PublishEventsRequest`."""
        return self._live.publish(raw)

    def reserve(self, raw: bytes, caller: Caller) -> Response:
        """Answers a `ReserveRequest`."""
        reserved = self._live.reserve(codec.decode_reserve(raw))
        age_ms = max(0, self._now_us() - created_at_us(reserved.snapshot_version)) // 1000
        return Response(codec.encode_reserve(reserved, age_ms, caller.correlation_id))

    def confirm_reservation(self, raw: bytes, caller: Caller) -> Response:
        """Answers a `ConfirmReservationRequest`."""
        ask = codec.decode_confirm(raw)
        held = self._live.confirm(ask.customer_id, ask.reservation_id, ask.order_ref, ask.order_lines)
        return Response(
            codec.encode_reservation(v1.ConfirmReservationResponse(), held, caller.correlation_id)
        )

    def release_reservation(self, raw: bytes, caller: Caller) -> Response:
        """Answers a `ReleaseReservationRequest`."""
        ask = codec.decode_release(raw)
        held = self._live.release(ask.customer_id, ask.reservation_id, ask.parts)
        return Response(
            codec.encode_reservation(v1.ReleaseReservationResponse(), held, caller.correlation_id)
        )

    def extend_reservation(self, raw: bytes, caller: Caller) -> Response:
        """Answers an `ExtendReservationRequest`."""
        ask = codec.decode_extend(raw)
        held = self._live.extend(ask.customer_id, ask.reservation_id, ask.ttl_us)
        return Response(codec.encode_reservation(v1.ExtendReservationResponse(), held, caller.correlation_id))

    def get_reservation(self, raw: bytes, caller: Caller) -> Response:
        """Answers a `GetReservationRequest`."""
        held = self._live.reservation(*codec.decode_get_reservation(raw))
        return Response(codec.encode_reservation(v1.GetReservationResponse(), held, caller.correlation_id))

    def keep_order(self, raw: bytes, _: Caller) -> Response:
        """The second half of ValidateOrder: keeps the `OrderRecord` that a worker has worked out, and returns what is
        kept under its key."""
        return Response(self._live.keep_order(v1.OrderRecord.FromString(raw)).SerializeToString())

    def find_order(self, raw: bytes, _: Caller) -> Response:
        """What a worker asks of GetOrderAnswer: the `OrderRecord`, an empty one where there is none."""
        ask = v1.GetOrderAnswerRequest.FromString(raw)
        found = self._live.order(ask.customer_id, ask.idempotency_key, ask.order_ref, ask.correlation_id)
        return Response((found or v1.OrderRecord()).SerializeToString())

    def list_reservations(self, raw: bytes, caller: Caller) -> Response:
        """Answers a `ListReservationsRequest`."""
        ask = codec.decode_list_reservations(raw)
        found = self._live.reservations(
            customer_id=ask.customer_id, unreported_for_us=ask.unreported_for_us, limit=ask.limit
        )
        return Response(codec.encode_reservations(found, caller.correlation_id))

    def list_dead_letters(self, raw: bytes, caller: Caller) -> Response:
        """Answers a `ListDeadLettersRequest`."""
        origin, limit, after = codec.decode_list_dead_letters(raw)
        page = self._live.dead_letters(origin=origin, limit=limit, after=after)
        response = v1.ListDeadLettersResponse(next_page_token=page.after)
        return Response(codec.encode_dead_letters(response, page.letters, caller.correlation_id))

    def get_dead_letter(self, raw: bytes, caller: Caller) -> Response:
        """Answers a `GetDeadLetterRequest`."""
        found = self._live.dead_letter(codec.decode_get_dead_letter(raw))
        return Response(codec.encode_dead_letter(found, caller.correlation_id))

    def replay_dead_letters(self, raw: bytes, caller: Caller) -> Response:
        """Answers a `ReplayDeadLettersRequest`."""
        ids = codec.decode_dead_letter_ids(v1.ReplayDeadLettersRequest(), raw)
        left = self._live.replay_dead_letters(ids)
        return Response(
            codec.encode_dead_letters(v1.ReplayDeadLettersResponse(), left, caller.correlation_id)
        )

    def drop_dead_letters(self, raw: bytes, caller: Caller) -> Response:
        """Answers a `DropDeadLettersRequest`."""
        ids = codec.decode_dead_letter_ids(v1.DropDeadLettersRequest(), raw)
        return Response(codec.encode_dropped(self._live.drop_dead_letters(ids), caller.correlation_id))

    def list_feed_issues(self, raw: bytes, caller: Caller) -> Response:
        """Answers a `ListFeedIssuesRequest`."""
        restarts, limit = feeds_codec.decode_list_feed_issues(raw)
        found = self._live.feed_issues(restarts=restarts, limit=limit)
        return Response(feeds_codec.encode_feed_issues(found, caller.correlation_id))

    def reset_streams(self, raw: bytes, caller: Caller) -> Response:
        """Answers a `ResetStreamsRequest`."""
        done = self._live.reset_streams(feeds_codec.decode_reset_streams(raw))
        return Response(feeds_codec.encode_reset(done, caller.correlation_id))

    def list_resets(self, raw: bytes, caller: Caller) -> Response:
        """Answers a `ListResetsRequest`."""
        found = self._live.resets(feeds_codec.decode_list_resets(raw))
        return Response(feeds_codec.encode_resets(found, caller.correlation_id))


def live_methods(live: LiveApi, now_us: Callable[[], int]) -> Services:
    """All methods that change live state, over live state in this process."""
    service = LiveService(live, now_us)
    return mutating_methods(
        service.publish,
        lambda _, method: {
            "Reserve": service.reserve,
            "ConfirmReservation": service.confirm_reservation,
            "ReleaseReservation": service.release_reservation,
            "ExtendReservation": service.extend_reservation,
            "GetReservation": service.get_reservation,
            "ValidateOrder": service.keep_order,
            "GetOrderAnswer": service.find_order,
            "ListDeadLetters": service.list_dead_letters,
            "GetDeadLetter": service.get_dead_letter,
            "ReplayDeadLetters": service.replay_dead_letters,
            "DropDeadLetters": service.drop_dead_letters,
            "ListReservations": service.list_reservations,
            "ListFeedIssues": service.list_feed_issues,
            "ResetStreams": service.reset_streams,
            "ListResets": service.list_resets,
        }[method],
    )


def no_live_methods() -> Services:
    """All methods that change live state where there is none: each refuses with LIVE_STATE_UNAVAILABLE."""

    def refuse(_: bytes, __: Caller) -> Response:
        raise _no_live_state()

    def refuse_events(_: bytes, __: Caller) -> PublishResult:
        raise _no_live_state()

    return mutating_methods(refuse_events, lambda _, __: refuse)


def _no_live_state() -> RequestRefusedError:
    return RequestRefusedError(Reason.LIVE_STATE_UNAVAILABLE, "there is no live state here to change")


def mutating_methods(publish: Publish, method_of: Callable[[str, str], Method]) -> Services:
    """All methods that change live state; `method_of` returns the one of a service and a name."""
    methods = {
        service: {method: Mutation(method_of(service, method)) for method in names}
        for service, names in UNARY_METHODS.items()
    }
    return {**methods, v1.INVENTORY_FEED_SERVICE: {PUBLISH_EVENTS: publish_events(publish)}}


def publish_events(publish: Publish) -> Ingest:
    """Ingests a stream of `PublishEventsRequest`. Each message is durable before the next is read: what was applied
    stays applied however the stream ends, and a sender faster than the disk is slowed down."""

    def ingest(messages: Iterator[bytes], caller: Caller) -> Response:
        counts: Counter[EventStatus] = Counter()
        dead_letter_ids: list[str] = []
        gaps = refused = restarts = 0
        for raw in messages:
            result = publish(raw, caller)
            counts.update(result.counts)
            dead_letter_ids += result.dead_letter_ids[: DEAD_LETTER_IDS_MAX - len(dead_letter_ids)]
            gaps, refused = gaps + result.gaps, refused + result.refused
            restarts += result.restarts
        total = PublishResult(dict(counts), dead_letter_ids, gaps, refused, restarts)
        return Response(encode_published(total, caller.correlation_id), events=outcomes_of(total))

    return Ingest(ingest)


def encode_published(result: PublishResult, correlation_id: str) -> bytes:
    """Encodes a `PublishEventsResponse`."""
    return v1.PublishEventsResponse(
        applied_count=result.counts.get(EventStatus.APPLIED, 0),
        duplicate_count=result.counts.get(EventStatus.DUPLICATE, 0),
        older_count=result.counts.get(EventStatus.OLDER, 0),
        dead_letter_count=result.counts.get(EventStatus.DEAD_LETTER, 0),
        dead_letter_ids=result.dead_letter_ids[:DEAD_LETTER_IDS_MAX],
        refused_count=result.refused,
        restart_count=result.restarts,
        gap_count=result.gaps,
        correlation_id=correlation_id,
    ).SerializeToString()


def outcomes_of(result: PublishResult) -> dict[str, int]:
    """How many events had each outcome, as the metrics call them."""
    counts = {status.name: count for status, count in result.counts.items()}
    return counts | {"REFUSED": result.refused, "GAP": result.gaps, "RESTART": result.restarts}


def decode_published(raw: bytes) -> PublishResult:
    """Decodes a `PublishEventsResponse` of the writer process."""
    response = v1.PublishEventsResponse.FromString(raw)
    counts = {
        EventStatus.APPLIED: response.applied_count,
        EventStatus.DUPLICATE: response.duplicate_count,
        EventStatus.OLDER: response.older_count,
        EventStatus.DEAD_LETTER: response.dead_letter_count,
    }
    ids = list(response.dead_letter_ids)
    return PublishResult(counts, ids, response.gap_count, response.refused_count, response.restart_count)

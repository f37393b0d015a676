"""The methods that change live state: bytes in, bytes out, over a `LiveApi`; knows nothing of gRPC calls."""

from collections import Counter
from collections.abc import Callable, Iterator

from pricegrid import v1
from pricegrid.atp.rules.events import EventStatus
from pricegrid.service.clock import created_at_us
from pricegrid.service.codec import feeds as wire_feeds
from pricegrid.service.codec import live as wire
from pricegrid.service.errors import Reason, RequestRefusedError
from pricegrid.service.limits import DEAD_LETTER_IDS_MAX
from pricegrid.service.live.api import LiveApi, PublishResult
from pricegrid.service.rpc.call import Answer, Caller, Intake, Mutation, Services
from pricegrid.service.rpc.response import Answered

PUBLISH_EVENTS = "PublishEvents"
UNARY_METHODS = {
    v1.AVAILABILITY_SERVICE: (
        "Reserve",
        "ConfirmReservation",
        "ReleaseReservation",
        "ExtendReservation",
        "GetReservation",
    ),
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
"""What one message is asked and answered of live state; beside them there is `PUBLISH_EVENTS`."""

Publish = Callable[[bytes, Caller], PublishResult]
"""Applies the events of one message; what it returns is durable."""


class LiveService:
    """Answers the methods that change live state; safe to call from many threads."""

    def __init__(self, live: LiveApi, now_us: Callable[[], int]) -> None:
        self._live = live
        self._now_us = now_us

    def publish(self, raw: bytes, _: Caller) -> PublishResult:
        """Applies the events of one `PublishEventsRequest`."""
        return self._live.publish(raw)

    def reserve(self, raw: bytes, caller: Caller) -> Answered:
        """Answers a `ReserveRequest`."""
        reserved = self._live.reserve(wire.decode_reserve(raw))
        age_ms = max(0, self._now_us() - created_at_us(reserved.snapshot_version)) // 1000
        return Answered(wire.encode_reserve(reserved, age_ms, caller.correlation_id))

    def confirm_reservation(self, raw: bytes, caller: Caller) -> Answered:
        """Answers a `ConfirmReservationRequest`."""
        ask = wire.decode_confirm(raw)
        held = self._live.confirm(ask.customer_id, ask.reservation_id, ask.order_ref, ask.order_lines)
        return Answered(wire.encode_reservation(v1.ConfirmReservationResponse(), held, caller.correlation_id))

    def release_reservation(self, raw: bytes, caller: Caller) -> Answered:
        """Answers a `ReleaseReservationRequest`."""
        ask = wire.decode_release(raw)
        held = self._live.release(ask.customer_id, ask.reservation_id, ask.parts)
        return Answered(wire.encode_reservation(v1.ReleaseReservationResponse(), held, caller.correlation_id))

    def extend_reservation(self, raw: bytes, caller: Caller) -> Answered:
        """Answers an `ExtendReservationRequest`."""
        ask = wire.decode_extend(raw)
        held = self._live.extend(ask.customer_id, ask.reservation_id, ask.ttl_us)
        return Answered(wire.encode_reservation(v1.ExtendReservationResponse(), held, caller.correlation_id))

    def get_reservation(self, raw: bytes, caller: Caller) -> Answered:
        """Answers a `GetReservationRequest`."""
        held = self._live.reservation(*wire.decode_get_reservation(raw))
        return Answered(wire.encode_reservation(v1.GetReservationResponse(), held, caller.correlation_id))

    def list_reservations(self, raw: bytes, caller: Caller) -> Answered:
        """Answers a `ListReservationsRequest`."""
        ask = wire.decode_list_reservations(raw)
        found = self._live.reservations(
            customer_id=ask.customer_id, unreported_for_us=ask.unreported_for_us, limit=ask.limit
        )
        return Answered(wire.encode_reservations(found, caller.correlation_id))

    def list_dead_letters(self, raw: bytes, caller: Caller) -> Answered:
        """Answers a `ListDeadLettersRequest`."""
        origin, limit, after = wire.decode_list_dead_letters(raw)
        page = self._live.dead_letters(origin=origin, limit=limit, after=after)
        response = v1.ListDeadLettersResponse(next_page_token=page.after)
        return Answered(wire.encode_dead_letters(response, page.letters, caller.correlation_id))

    def get_dead_letter(self, raw: bytes, caller: Caller) -> Answered:
        """Answers a `GetDeadLetterRequest`."""
        found = self._live.dead_letter(wire.decode_get_dead_letter(raw))
        return Answered(wire.encode_dead_letter(found, caller.correlation_id))

    def replay_dead_letters(self, raw: bytes, caller: Caller) -> Answered:
        """Answers a `ReplayDeadLettersRequest`."""
        ids = wire.decode_dead_letter_ids(v1.ReplayDeadLettersRequest(), raw)
        left = self._live.replay_dead_letters(ids)
        return Answered(wire.encode_dead_letters(v1.ReplayDeadLettersResponse(), left, caller.correlation_id))

    def drop_dead_letters(self, raw: bytes, caller: Caller) -> Answered:
        """Answers a `DropDeadLettersRequest`."""
        ids = wire.decode_dead_letter_ids(v1.DropDeadLettersRequest(), raw)
        return Answered(wire.encode_dropped(self._live.drop_dead_letters(ids), caller.correlation_id))

    def list_feed_issues(self, raw: bytes, caller: Caller) -> Answered:
        """Answers a `ListFeedIssuesRequest`."""
        restarts, limit = wire_feeds.decode_list_feed_issues(raw)
        found = self._live.feed_issues(restarts=restarts, limit=limit)
        return Answered(wire_feeds.encode_feed_issues(found, caller.correlation_id))

    def reset_streams(self, raw: bytes, caller: Caller) -> Answered:
        """Answers a `ResetStreamsRequest`."""
        done = self._live.reset_streams(wire_feeds.decode_reset_streams(raw))
        return Answered(wire_feeds.encode_reset(done, caller.correlation_id))

    def list_resets(self, raw: bytes, caller: Caller) -> Answered:
        """Answers a `ListResetsRequest`."""
        found = self._live.resets(wire_feeds.decode_list_resets(raw))
        return Answered(wire_feeds.encode_resets(found, caller.correlation_id))


def live_methods(live: LiveApi, now_us: Callable[[], int]) -> Services:
    """All methods that change live state, where that is in this process."""
    service = LiveService(live, now_us)
    return mutating_methods(
        service.publish,
        lambda _, method: {
            "Reserve": service.reserve,
            "ConfirmReservation": service.confirm_reservation,
            "ReleaseReservation": service.release_reservation,
            "ExtendReservation": service.extend_reservation,
            "GetReservation": service.get_reservation,
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
    """All methods that change live state, where there is none: each refuses."""

    def refuse(_: bytes, __: Caller) -> Answered:
        raise _no_live_state()

    def refuse_events(_: bytes, __: Caller) -> PublishResult:
        raise _no_live_state()

    return mutating_methods(refuse_events, lambda _, __: refuse)


def _no_live_state() -> RequestRefusedError:
    return RequestRefusedError(Reason.LIVE_STATE_UNAVAILABLE, "there is no live state here")


def mutating_methods(publish: Publish, answer_of: Callable[[str, str], Answer]) -> Services:
    """All methods that change live state, from what applies events and the answer of each service and method."""
    methods = {
        service: {method: Mutation(answer_of(service, method)) for method in names}
        for service, names in UNARY_METHODS.items()
    }
    return {**methods, v1.INVENTORY_FEED_SERVICE: {PUBLISH_EVENTS: publish_events(publish)}}


def publish_events(publish: Publish) -> Intake:
    """Takes in a stream of `PublishEventsRequest`: each message is durable before the next is looked at, so whatever
    ends the stream, what was applied stays so, and a sender that is faster than the disk is slowed down."""

    def take_in(messages: Iterator[bytes], caller: Caller) -> Answered:
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
        told = {status.name: count for status, count in counts.items()}
        told |= {"REFUSED": refused, "GAP": gaps, "RESTART": restarts}
        return Answered(wire.encode_published(total, caller.correlation_id), events=told)

    return Intake(take_in)

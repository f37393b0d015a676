"""The client's calls about live state: events, reservations, watching, dead letters."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import grpc

from pricegrid import v1
from pricegrid.dead_letters import DeadLetter, dead_letter
from pricegrid.errors import error_from_rpc
from pricegrid.feeds import FeedIssue, StreamReset, feed_issue, source_number, stream_reset
from pricegrid.inventory import (
    InventoryEvent,
    InventorySource,
    PublishResult,
    UnreadableEvent,
    publish_messages,
    publish_result,
    us_from_instant,
)
from pricegrid.limits import EVENTS_PER_MESSAGE
from pricegrid.requests import Line, SupplyPolicy, check_line_count, supply_message
from pricegrid.reservations import (
    Release,
    Reservation,
    ReserveLine,
    ReserveResult,
    extend_message,
    release_message,
    reservation,
    reserve_message,
    reserve_result,
)
from pricegrid.watching import AvailabilityWatch, WatchedLine, watch_message

TIMEOUT_S = 5.0
LIST_LIMIT = 1_000


class LiveClient:
    """What `Client` asks of live state. Arguments and errors as in `Client`."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._availability = v1.AvailabilityServiceStub(channel)
        self._feed = v1.InventoryFeedServiceStub(channel)
        self._admin = v1.AdminServiceStub(channel)
        self._orders = v1.OrderServiceStub(channel)

    def validate_order(
        self, order: v1.ValidateOrderRequest, *, timeout_s: float = TIMEOUT_S
    ) -> v1.ValidateOrderResponse:
        """Compares an order with prices and stock, and holds its stock if it says so. The same order with the same key
        is answered the same, byte for byte: ask again after an error."""
        found: v1.ValidateOrderResponse = ask(self._orders.ValidateOrder, order, timeout_s)
        return found

    def order_answer(
        self,
        customer_id: str,
        *,
        key: str = "",
        order_ref: str = "",
        correlation_id: str = "",
        timeout_s: float = TIMEOUT_S,
    ) -> v1.GetOrderAnswerResponse:
        """What was answered to an order, by its key, its number of the buyer, or the id of the call."""
        request = v1.GetOrderAnswerRequest(
            customer_id=customer_id,
            idempotency_key=key,
            order_ref=order_ref,
            correlation_id=correlation_id,
        )
        found: v1.GetOrderAnswerResponse = ask(self._orders.GetOrderAnswer, request, timeout_s)
        return found

    def publish_events(
        self,
        events: Iterable[InventoryEvent | UnreadableEvent],
        *,
        events_per_message: int = EVENTS_PER_MESSAGE,
        timeout_s: float | None = None,
    ) -> PublishResult:
        """Publishes events, which may be any number and are taken as they come; when it returns all are durable.

        After an error, publish the same again: what was applied by then counts as duplicate. `timeout_s` is for all of
        them together. An error that `events` raises is passed on; what came before it may be applied.
        """
        failed: list[Exception] = []

        def messages() -> Iterator[v1.PublishEventsRequest]:
            try:
                yield from publish_messages(events, events_per_message)
            except Exception as error:
                failed.append(error)  # gRPC takes them in a thread of its own, and would keep it to itself
                raise

        try:
            return publish_result(self._feed.PublishEvents(messages(), timeout=timeout_s))
        except grpc.RpcError as error:
            if failed:
                raise failed[0] from None
            raise error_from_rpc(error) from error

    def reserve(
        self,
        lines: Sequence[ReserveLine],
        *,
        key: str,
        customer_id: str = "",
        ttl: timedelta | None = None,
        allow_partial: bool = False,
        all_or_nothing: bool = False,
        order_ref: str = "",
        exclude_reservation: str = "",
        replace_reservation: str = "",
        timeout_s: float = TIMEOUT_S,
    ) -> ReserveResult:
        """Holds stock for `ttl` (default: the server's 15 minutes); nothing is held twice.

        `key` is the caller's own name for this reservation: asked again with the same key after an error, there is one
        reservation all the same. A line gets all it asks or nothing, with `allow_partial` what there is; with
        `all_or_nothing` every line in full, or none. `replace_reservation` is given back in the same step;
        `exclude_reservation` only where both can't be held side by side.
        """
        request = reserve_message(
            customer_id,
            key,
            lines,
            ttl=ttl,
            allow_partial=allow_partial,
            all_or_nothing=all_or_nothing,
            order_ref=order_ref,
            exclude_reservation=exclude_reservation,
            replace_reservation=replace_reservation,
        )
        return reserve_result(ask(self._availability.Reserve, request, timeout_s))

    def confirm_reservation(
        self,
        reservation_id: str,
        order_ref: str,
        *,
        customer_id: str = "",
        order_lines: Sequence[str] = (),
        timeout_s: float = TIMEOUT_S,
    ) -> Reservation:
        """Makes a held reservation permanent for an order; `order_lines` names its lines, in their order."""
        request = v1.ConfirmReservationRequest(
            customer_id=customer_id,
            reservation_id=reservation_id,
            order_ref=order_ref,
            order_lines=order_lines,
        )
        return reservation(ask(self._availability.ConfirmReservation, request, timeout_s).reservation)

    def release_reservation(
        self,
        reservation_id: str,
        *,
        customer_id: str = "",
        parts: Sequence[Release] = (),
        timeout_s: float = TIMEOUT_S,
    ) -> Reservation:
        """Gives back all of a reservation, or `parts` of it."""
        request = release_message(customer_id, reservation_id, parts)
        return reservation(ask(self._availability.ReleaseReservation, request, timeout_s).reservation)

    def extend_reservation(
        self,
        reservation_id: str,
        *,
        customer_id: str = "",
        ttl: timedelta | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> Reservation:
        """Holds a reservation for `ttl` (default: the server's 15 minutes) from now on, before its time ends."""
        request = extend_message(customer_id, reservation_id, ttl)
        return reservation(ask(self._availability.ExtendReservation, request, timeout_s).reservation)

    def reservation(
        self, reservation_id: str, *, customer_id: str = "", timeout_s: float = TIMEOUT_S
    ) -> Reservation:
        """How a reservation stands, also after it has ended."""
        request = v1.GetReservationRequest(customer_id=customer_id, reservation_id=reservation_id)
        return reservation(ask(self._availability.GetReservation, request, timeout_s).reservation)

    def reservations(
        self,
        *,
        customer_id: str = "",
        unreported_for: timedelta | None = None,
        limit: int = LIST_LIMIT,
        timeout_s: float = TIMEOUT_S,
    ) -> tuple[Reservation, ...]:
        """The reservations that hold something, of all customers or one.

        With `unreported_for` the confirmed ones that the warehouse has not wholly taken over so long afterwards.
        """
        request = v1.ListReservationsRequest(customer_id=customer_id, limit=limit)
        if unreported_for is not None:
            request.unreported_for_ms = unreported_for // timedelta(milliseconds=1)
        return tuple(map(reservation, ask(self._admin.ListReservations, request, timeout_s).reservations))

    def watch_availability(
        self,
        lines: Sequence[Line | WatchedLine],
        *,
        customer_id: str = "",
        branches: Sequence[str] = (),
        supply: SupplyPolicy | None = None,
        exclude_reservation: str = "",
        heartbeat: timedelta | None = None,
        timeout_s: float | None = None,
    ) -> AvailabilityWatch:
        """How much of each line is free at each of `branches` (default: every branch), now and whenever it changes.

        Goes on until it is closed, or for `timeout_s`. When nothing changes, an empty update comes every `heartbeat`
        (default: the server's 15 seconds).
        """
        check_line_count([line.line if isinstance(line, WatchedLine) else line for line in lines])
        request = watch_message(lines, heartbeat)
        request.customer_id = customer_id
        request.branches.extend(branches)
        request.exclude_reservation = exclude_reservation
        if supply is not None:
            request.supply.CopyFrom(supply_message(supply))
        return AvailabilityWatch(self._availability.WatchAvailability(request, timeout=timeout_s))

    def dead_letters(
        self, *, origin: str = "", limit: int = LIST_LIMIT, timeout_s: float = TIMEOUT_S
    ) -> tuple[DeadLetter, ...]:
        """What could not be applied, the oldest first; of one `origin` ('events', 'erp') or all."""
        found: list[DeadLetter] = []
        request = v1.ListDeadLettersRequest(origin=origin, limit=limit)
        while True:
            answer = ask(self._admin.ListDeadLetters, request, timeout_s)
            found += map(dead_letter, answer.dead_letters)
            if not answer.next_page_token or len(found) >= (limit or LIST_LIMIT):
                return tuple(found)
            request.page_token = answer.next_page_token
            request.limit = (limit or LIST_LIMIT) - len(found)

    def dead_letter(self, dead_letter_id: str, *, timeout_s: float = TIMEOUT_S) -> DeadLetter:
        """One of them."""
        request = v1.GetDeadLetterRequest(dead_letter_id=dead_letter_id)
        return dead_letter(ask(self._admin.GetDeadLetter, request, timeout_s).dead_letter)

    def replay_dead_letters(
        self, dead_letter_ids: Sequence[str], *, timeout_s: float = TIMEOUT_S
    ) -> tuple[DeadLetter, ...]:
        """Tries them again; those that still can't be applied, with what is wrong now."""
        request = v1.ReplayDeadLettersRequest(dead_letter_ids=dead_letter_ids)
        return tuple(map(dead_letter, ask(self._admin.ReplayDeadLetters, request, timeout_s).dead_letters))

    def drop_dead_letters(self, dead_letter_ids: Sequence[str], *, timeout_s: float = TIMEOUT_S) -> int:
        """Forgets them; how many there were."""
        request = v1.DropDeadLettersRequest(dead_letter_ids=dead_letter_ids)
        return int(ask(self._admin.DropDeadLetters, request, timeout_s).dropped_count)

    def feed_issues(
        self, *, restarts: bool = False, limit: int = LIST_LIMIT, timeout_s: float = TIMEOUT_S
    ) -> tuple[FeedIssue, ...]:
        """Streams of events that miss some; with `restarts` those whose source seems to have begun anew."""
        request = v1.ListFeedIssuesRequest(restarts=restarts, limit=limit)
        return tuple(map(feed_issue, ask(self._admin.ListFeedIssues, request, timeout_s).issues))

    def reset_streams(
        self,
        source: InventorySource,
        *,
        actor: str,
        sku: str = "",
        branch: str = "",
        every: bool = False,
        begins: datetime | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> StreamReset:
        """Lets a source begin its numbers anew: of an item, a branch, an item at a branch, or `every` stream.

        Events that took effect at `begins` (default: now) or later count by the new numbers.
        """
        request = v1.ResetStreamsRequest(
            source=source_number(source), sku=sku, branch=branch, all=every, actor=actor
        )
        if begins is not None:
            request.effective_us = us_from_instant(begins)
        return stream_reset(ask(self._admin.ResetStreams, request, timeout_s).reset)

    def resets(self, *, limit: int = LIST_LIMIT, timeout_s: float = TIMEOUT_S) -> tuple[StreamReset, ...]:
        """What was reset, the newest first."""
        request = v1.ListResetsRequest(limit=limit)
        return tuple(map(stream_reset, ask(self._admin.ListResets, request, timeout_s).resets))


def ask(call: Any, request: Any, timeout_s: float) -> Any:
    """The answer of a call; raises `PricegridError`."""
    try:
        return call(request, timeout=timeout_s)
    except grpc.RpcError as error:
        raise error_from_rpc(error) from error

"""The methods for dead letters of every origin: events by live state, refused ERP answers by the host that got them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, TypeVar

from pricegrid import v1
from pricegrid.service.codec import live as codec
from pricegrid.service.erp_overlay.letters import ORIGIN_ERP, ErpLetters
from pricegrid.service.limits import LIST_BYTES_MAX
from pricegrid.service.rpc.call import AnyMethod, Caller, Mutation
from pricegrid.service.rpc.response import Response

if TYPE_CHECKING:
    from google.protobuf.message import Message

REPLAY_S: Final = 10.0
"""How long the questions of one replay may take where the caller sets no deadline."""
_SPLIT: Final = "|"
"""Between the places in both lists in a page token."""
_ALL_SEEN: Final = "-"
T = TypeVar("T", bound="Message")


class DeadLetterService:
    """Answers the dead-letter methods; safe to call from many threads."""

    def __init__(
        self, events: Mapping[str, AnyMethod], erp: ErpLetters, has_events: Callable[[], bool]
    ) -> None:
        """`events`: the methods of live state by name; `has_events`: whether there is live state at all."""
        self._events = events
        self._erp = erp
        self._has_events = has_events

    def methods(self) -> dict[str, AnyMethod]:
        """The methods by name."""
        return {
            "ListDeadLetters": Mutation(self.list_dead_letters),
            "GetDeadLetter": Mutation(self.get_dead_letter),
            "ReplayDeadLetters": Mutation(self.replay_dead_letters),
            "DropDeadLetters": Mutation(self.drop_dead_letters),
        }

    def list_dead_letters(self, raw: bytes, caller: Caller) -> Response:
        """Answers a `ListDeadLettersRequest`: those of one origin, or all by the instant they came first."""
        origin, limit, token = codec.decode_list_dead_letters(raw)
        if origin == ORIGIN_ERP or (not origin and not self._has_events()):
            page = self._erp.page(limit, token)
            response = v1.ListDeadLettersResponse(next_page_token=page.after)
            return Response(codec.encode_dead_letters(response, page.letters, caller.correlation_id))
        if origin:
            return self._of_events("ListDeadLetters")(raw, caller)
        return Response(self._merged(limit, token, caller).SerializeToString())

    def get_dead_letter(self, raw: bytes, caller: Caller) -> Response:
        """Answers a `GetDeadLetterRequest`."""
        name = codec.decode_get_dead_letter(raw)
        if not self._erp.owns(name):
            return self._of_events("GetDeadLetter")(raw, caller)
        return Response(codec.encode_dead_letter(self._erp.one(name), caller.correlation_id))

    def replay_dead_letters(self, raw: bytes, caller: Caller) -> Response:
        """Answers a `ReplayDeadLettersRequest`."""
        ids = codec.decode_dead_letter_ids(v1.ReplayDeadLettersRequest(), raw)
        of_events, of_erp = self._sorted_out(ids)
        response = v1.ReplayDeadLettersResponse(correlation_id=caller.correlation_id)
        if of_events:
            asked = v1.ReplayDeadLettersRequest(dead_letter_ids=of_events)
            self._ask("ReplayDeadLetters", asked, response, caller)
        deadline_s = time.monotonic() + REPLAY_S if caller.deadline_s is None else caller.deadline_s
        left = self._erp.replay(of_erp, deadline_s) if of_erp else []
        return Response(codec.encode_dead_letters(response, left, caller.correlation_id))

    def drop_dead_letters(self, raw: bytes, caller: Caller) -> Response:
        """Answers a `DropDeadLettersRequest`."""
        ids = codec.decode_dead_letter_ids(v1.DropDeadLettersRequest(), raw)
        of_events, of_erp = self._sorted_out(ids)
        response = v1.DropDeadLettersResponse()
        if of_events:
            asked = v1.DropDeadLettersRequest(dead_letter_ids=of_events)
            self._ask("DropDeadLetters", asked, response, caller)
        count = response.dropped_count + self._erp.drop(of_erp)
        return Response(codec.encode_dropped(count, caller.correlation_id))

    def _merged(self, limit: int, token: str, caller: Caller) -> v1.ListDeadLettersResponse:
        """A page of both lists in one order. What lies behind a list that was cut comes with a later page."""
        after_events, _, after_erp = token.partition(_SPLIT)
        events = v1.ListDeadLettersResponse()
        if after_events != _ALL_SEEN:
            asked = v1.ListDeadLettersRequest(limit=limit, page_token=after_events)
            self._ask("ListDeadLetters", asked, events, caller)
        page = self._erp.page(limit, after_erp)
        refused = [codec.dead_letter_message(letter) for letter in page.letters]
        order = sorted([*events.dead_letters, *refused], key=_order)
        if events.next_page_token:
            order = [each for each in order if _order(each) <= _order(events.dead_letters[-1])]
        if page.after:
            order = [each for each in order if _order(each) <= _order(refused[-1])]
        taken = order[: _fitting(order[:limit])]
        count = len(taken)
        names = {each.dead_letter_id for each in taken}
        is_rest = count < len(events.dead_letters) + len(refused) or events.next_page_token or page.after
        response = v1.ListDeadLettersResponse(dead_letters=taken, correlation_id=caller.correlation_id)
        if is_rest:
            seen = [each.dead_letter_id for each in events.dead_letters if each.dead_letter_id in names]
            is_all = len(seen) == len(events.dead_letters) and not events.next_page_token
            place = _ALL_SEEN if is_all else (seen or [after_events])[-1]
            last = [each.dead_letter_id for each in refused if each.dead_letter_id in names] or [after_erp]
            response.next_page_token = f"{place}{_SPLIT}{last[-1]}"
        return response

    def _sorted_out(self, ids: Sequence[str]) -> tuple[list[str], list[str]]:
        """(those of events, those of the ERP)."""
        return (
            [each for each in ids if not self._erp.owns(each)],
            [each for each in ids if self._erp.owns(each)],
        )

    def _ask(self, name: str, request: Message, response: T, caller: Caller) -> None:
        response.MergeFromString(self._of_events(name)(request.SerializeToString(), caller).raw)

    def _of_events(self, name: str) -> Callable[[bytes, Caller], Response]:
        method = self._events[name]
        assert isinstance(method, Mutation)  # noqa: S101 -- for the type checker: `mutating_methods` made it
        return method.call


def _order(letter: v1.DeadLetter) -> tuple[int, str]:
    return letter.received_us, letter.dead_letter_id


def _fitting(letters: Sequence[v1.DeadLetter]) -> int:
    """How many of these fit into one response, at least one."""
    size = 0
    for count, letter in enumerate(letters):
        size += letter.ByteSize()
        if count and size > LIST_BYTES_MAX:
            return count
    return len(letters)

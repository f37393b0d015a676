"""The methods of live state for operators: dead letters, missing events, resets of feeds. A part of `LiveState`."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from pricegrid.cache.protocol import Commit, Put
from pricegrid.service.codec.event_json import EventError, event_from_json
from pricegrid.service.codec.events import encode_events
from pricegrid.service.errors import Reason, RequestRefusedError
from pricegrid.service.limits import EVENT_AHEAD_US
from pricegrid.service.live.api import DeadLetter, DeadLetterPage, FeedIssue, ResetAsk, ResetRecord
from pricegrid.service.live.dead_letters import DEAD_LETTER, Faulty, put_of
from pricegrid.service.live.events import Ingesting, faulty, read_message
from pricegrid.service.live.feed_watch import RESET, reset_from, reset_notes, reset_put, reset_record


class OperatorActions(Ingesting):
    """The methods of `LiveApi` that only operators use."""

    def dead_letters(self, *, origin: str = "", limit: int = 1_000, after: str = "") -> DeadLetterPage:
        """See `LiveApi`."""
        with self._lock:
            return self._letters.page(origin, limit, after)

    def dead_letter(self, dead_letter_id: str) -> DeadLetter:
        """See `LiveApi`."""
        with self._lock:
            return self._letters.one(dead_letter_id)

    def replay_dead_letters(self, ids: Sequence[str]) -> Sequence[DeadLetter]:
        """See `LiveApi`."""
        left = []
        with self._lock:
            for letter in self._letters.get(ids):
                fault = self._replay(letter)
                if fault is None:
                    self._commit(Commit(puts=[Put(DEAD_LETTER, letter.dead_letter_id, None)]))
                else:
                    reason, detail, _ = fault
                    left.append(replace(letter, reason=reason, detail=detail, replays=letter.replays + 1))
            if left:
                self._commit(Commit(puts=[put_of(letter) for letter in left]))
        return left

    def _replay(self, letter: DeadLetter) -> Faulty | None:
        """Try to apply a letter; returns why it still can't be applied, or None."""
        try:
            event = event_from_json(letter.payload_json)
        except EventError as error:
            return Faulty(error.reason.name, error.detail, letter.payload_json)
        fault = self._pairs.fault(event, self._now_us() + EVENT_AHEAD_US)
        if fault is not None:
            return faulty(event, fault)
        self._commit(Commit(notes=[encode_events([event])]))
        wrong, _, _ = self._apply([event], Counter())
        return wrong[0] if wrong else None

    def drop_dead_letters(self, ids: Sequence[str]) -> int:
        """See `LiveApi`."""
        with self._lock:
            letters = self._letters.get(ids)
            if letters:
                self._commit(Commit(puts=[Put(DEAD_LETTER, each.dead_letter_id, None) for each in letters]))
            return len(letters)

    def feed_issues(self, *, restarts: bool = False, limit: int = 1_000) -> Sequence[FeedIssue]:
        """See `LiveApi`."""
        with self._lock:
            self._follow()
            return self._pairs.issues(restarts=restarts, limit=limit)

    def reset_streams(self, ask: ResetAsk) -> ResetRecord:
        """See `LiveApi`."""
        with self._lock:
            self._follow()
            now_us = self._now_us()
            effective_us = now_us if ask.effective_us is None else ask.effective_us
            if effective_us > now_us + EVENT_AHEAD_US:
                raise RequestRefusedError(Reason.INVALID_RESET, "effective_us is too far in the future")
            streams = self._pairs.heard(ask.source, ask.sku, ask.branch)
            if not streams:
                message = f"no event of {ask.source.name.lower()} for such a pair since the load"
                raise RequestRefusedError(Reason.NO_STREAMS, message)
            record = reset_record(ask, effective_us, now_us, len(streams))
            notes = reset_notes(effective_us, streams)
            self._commit(Commit(puts=[reset_put(record)], notes=notes))
            for note in notes:
                self._ingest(read_message(note, self._pairs.look_up), Counter())
            return record

    def resets(self, limit: int = 1_000) -> Sequence[ResetRecord]:
        """See `LiveApi`."""
        with self._lock:
            found = [reset_from(record.value or b"") for record in self._cache.scan(RESET)]
        return sorted(found, key=lambda each: (each.at_us, each.reset_id), reverse=True)[:limit]

"""WatchAvailability: the answers of CheckAvailability, again whenever they have changed (design section 9).

A stream looks again when the version of what availability is made of is another one, and at its heartbeat for what
only time changes. It compares with what it sent last, so a caller that reads slowly misses steps between, never the
last one. Heartbeats keep their time whatever a look costs: one that is due meanwhile says what the last look found.
"""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Protocol

from pricegrid import v1
from pricegrid.service.codec.request import parse
from pricegrid.service.errors import Reason, RequestRefusedError
from pricegrid.service.limits import (
    CHANGE_POLL_S,
    HEARTBEAT_MS_DEFAULT,
    HEARTBEAT_MS_MAX,
    HEARTBEAT_MS_MIN,
    WATCH_PAIRS_MAX,
    WATCH_PAUSE_FACTOR,
    WATCHES_MAX,
)
from pricegrid.service.rpc.call import Caller, Method, Watch

_OK = v1.AvailabilityStatus.AVAILABILITY_STATUS_OK
_UNKNOWN_BRANCH = v1.AvailabilityStatus.AVAILABILITY_STATUS_UNKNOWN_BRANCH

_OVER_POLL_S = 0.25  # how often a stream that waits for a look finds out that it is over
_QUICK_S = 0.1
IsOver = Callable[[], bool]
Pair = tuple[int, str]
"""Line and branch."""


class Changes(Protocol):
    """When to look again."""

    def version(self) -> object:
        """Another one after each change of what availability is made of."""

    def wait(self, seen: object, timeout_s: float, is_over: IsOver) -> None:
        """Returns when the version is not `seen` any more, after `timeout_s`, or when `is_over`."""

    def pause(self, timeout_s: float, is_over: IsOver) -> None:
        """Returns after `timeout_s`, or when `is_over`."""

    def wake(self) -> None:
        """Makes all that wait look whether they are over."""


class PolledChanges:
    """Changes of a version that is cheap to read: one thread looks for all that wait, while there are any."""

    def __init__(self, version: Callable[[], object], poll_s: float = CHANGE_POLL_S) -> None:
        self._version = version
        self._poll_s = poll_s
        self._changed = threading.Condition()
        self._waiting = 0
        self._is_polling = False

    def version(self) -> object:
        """See `Changes`."""
        return self._version()

    def wait(self, seen: object, timeout_s: float, is_over: IsOver) -> None:
        """See `Changes`."""
        self._wait(lambda: is_over() or self._version() != seen, timeout_s, is_polled=True)

    def pause(self, timeout_s: float, is_over: IsOver) -> None:
        """See `Changes`."""
        self._wait(is_over, timeout_s, is_polled=False)

    def wake(self) -> None:
        """See `Changes`."""
        with self._changed:
            self._changed.notify_all()

    def _wait(self, is_done: Callable[[], bool], timeout_s: float, *, is_polled: bool) -> None:
        with self._changed:
            self._waiting += is_polled
            try:
                if is_polled and not self._is_polling:
                    self._is_polling = True
                    # Read before `is_done` reads it: a change in between must not go unseen.
                    seen = self._version()
                    threading.Thread(
                        target=self._poll, args=(seen,), name="pricegrid-changes", daemon=True
                    ).start()
                self._changed.wait_for(is_done, timeout_s)
            finally:
                self._waiting -= is_polled

    def _poll(self, seen: object) -> None:
        """Wakes those that wait at every change, until nobody does."""
        while True:
            time.sleep(self._poll_s)
            try:
                version = self._version()
            except Exception:  # noqa: BLE001 -- those that wait meet it too, and tell their callers
                version = object()
            with self._changed:
                if not self._waiting:
                    self._is_polling = False
                    return
                if version != seen:
                    self._changed.notify_all()
            seen = version


@dataclass(frozen=True, slots=True)
class WatchQuery:
    """What a WatchAvailability request asks, checked."""

    check: bytes
    """The `CheckAvailabilityRequest` to ask again and again."""
    thresholds_micros: tuple[int | None, ...]
    """Of each line, in 10^-6 of its unit; None: every change is told."""
    heartbeat_s: float


def decode_watch(raw: bytes) -> WatchQuery:
    """Reads and checks what `CheckAvailability` does not; raises `RequestRefusedError`."""
    request = v1.WatchAvailabilityRequest()
    parse(request, raw)
    if len(request.lines) * max(1, len(request.branches)) > WATCH_PAIRS_MAX:
        raise _too_many_pairs(len(request.lines) * max(1, len(request.branches)))
    for at, watched in enumerate(request.lines):
        if not watched.HasField("line"):
            raise RequestRefusedError(Reason.NO_LINES, f"lines[{at}] has no line", index=str(at))
        if watched.threshold_micros < 0:
            message = f"threshold_micros of lines[{at}] is {watched.threshold_micros}, less than 0"
            raise RequestRefusedError(Reason.INVALID_WATCH, message, index=str(at))
    heartbeat_ms = request.heartbeat_ms or HEARTBEAT_MS_DEFAULT
    if not HEARTBEAT_MS_MIN <= heartbeat_ms <= HEARTBEAT_MS_MAX:
        message = f"heartbeat_ms is {heartbeat_ms}, not {HEARTBEAT_MS_MIN} to {HEARTBEAT_MS_MAX}"
        raise RequestRefusedError(Reason.INVALID_WATCH, message, heartbeat_ms=str(heartbeat_ms))
    check = v1.CheckAvailabilityRequest(
        customer_id=request.customer_id,
        lines=[watched.line for watched in request.lines],
        branches=request.branches,
        supply=request.supply if request.HasField("supply") else None,
        exclude_reservation=request.exclude_reservation,
    )
    thresholds = tuple(
        watched.threshold_micros if watched.HasField("threshold_micros") else None
        for watched in request.lines
    )
    return WatchQuery(check.SerializeToString(), thresholds, heartbeat_ms / 1000)


class WatchService:
    """Answers `WatchAvailability` from the answers of `check`; safe to call from many threads."""

    def __init__(
        self, check: Method, changes: Changes, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._check = check
        self._changes = changes
        self._clock_s = clock_s
        self._active = _Active()

    @property
    def method(self) -> Watch:
        """How it is offered."""
        return Watch(self.watch_availability, self._changes.wake)

    def watch_availability(self, raw: bytes, caller: Caller, is_over: IsOver) -> Iterator[bytes]:
        """Answers a `WatchAvailabilityRequest` until it is over; raises what `check` raises."""
        query = decode_watch(raw)
        with self._active:
            yield from self._watch(query, caller, is_over)

    def _watch(self, query: WatchQuery, caller: Caller, is_over: IsOver) -> Iterator[bytes]:
        told = _Told(query.thresholds_micros)
        heart = _Heart(query.heartbeat_s, self._clock_s)
        answer: v1.CheckAvailabilityResponse | None = None
        while not is_over():
            version = self._changes.version()  # before the answer: a change during it is seen next time
            began_s = self._clock_s()
            look = self._active.looks.submit(self._check, query.check, caller)
            while not wait([look], _wait_s(heart.left_s())).done and not is_over():
                if answer is not None and heart.is_due():
                    yield heart.beats(_response(answer, []))
            if not look.done():
                return
            answer = v1.CheckAvailabilityResponse.FromString(look.result().raw)
            ended_s = self._clock_s()
            changes = told.changes(answer)
            if changes or heart.is_due():
                yield heart.beats(_response(answer, changes))
            rest_s = (ended_s - began_s) * self._active.pause_factor()
            while rest_s > heart.left_s() and not is_over():
                rest_s -= heart.left_s()
                self._changes.pause(heart.left_s(), is_over)
                yield heart.beats(_response(answer, []))
            self._changes.pause(rest_s, is_over)
            caller_left_s = caller.left_s()
            self._changes.wait(
                version,
                heart.left_s() if caller_left_s is None else min(heart.left_s(), caller_left_s),
                is_over,
            )


def _wait_s(heartbeat_left_s: float) -> float:
    """For a look: one that is quick is itself the heartbeat that was due when it began."""
    return min(max(heartbeat_left_s, _QUICK_S), _OVER_POLL_S)


class _Active:
    """The streams that watch now: each looks in a thread beside its own, and all together rest as long as they need."""

    def __init__(self) -> None:
        self.looks = ThreadPoolExecutor(WATCHES_MAX, thread_name_prefix="pricegrid-look")
        self._count = 0
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        with self._lock:
            self._count += 1

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._count -= 1

    def pause_factor(self) -> float:
        """How long each rests, as a multiple of what its look took: all of them take half a core."""
        return self._count * WATCH_PAUSE_FACTOR / WATCHES_MAX


class _Heart:
    """When something must be sent so that the caller knows that the stream lives."""

    def __init__(self, every_s: float, clock_s: Callable[[], float]) -> None:
        self._every_s = every_s
        self._clock_s = clock_s
        self._sent_s = -every_s

    def left_s(self) -> float:
        """Until then."""
        return max(0.0, self._sent_s + self._every_s - self._clock_s())

    def is_due(self) -> bool:
        """Whether it is time."""
        return self._clock_s() - self._sent_s >= self._every_s

    def beats(self, message: bytes) -> bytes:
        """This message is sent now."""
        self._sent_s = self._clock_s()
        return message


class _Told:
    """What the caller of one stream knows: the figures of each pair, or which side of its threshold it is on."""

    def __init__(self, thresholds_micros: tuple[int | None, ...]) -> None:
        self._thresholds = thresholds_micros
        self._known: dict[Pair, bytes] = {}

    def changes(self, answer: v1.CheckAvailabilityResponse) -> list[v1.AvailabilityChange]:
        """What the caller does not know yet; they do then."""
        found = {
            (line, pair.branch): pair
            for line, result in enumerate(answer.results)
            for pair in result.branches
        }
        if len(found) > WATCH_PAIRS_MAX:
            raise _too_many_pairs(len(found))
        for line, branch in self._known.keys() - found.keys():  # another snapshot has it no more
            found[line, branch] = v1.BranchAvailability(branch=branch, status=_UNKNOWN_BRANCH)
        changes = []
        for (line, branch), pair in found.items():
            said = self._said(line, pair)
            if self._known.get((line, branch)) != said:
                self._known[line, branch] = said
                changes.append(v1.AvailabilityChange(line_index=line, availability=pair))
        return changes

    def _said(self, line: int, pair: v1.BranchAvailability) -> bytes:
        """All that a change of is told; ages change all the time and are not."""
        threshold = self._thresholds[line]
        if threshold is not None:
            if pair.status != _OK:
                return b"unknown"
            return b"reached" if pair.available_micros >= threshold else b"below"
        said = v1.BranchAvailability()
        said.CopyFrom(pair)
        for age in ("erp_age_ms", "wms_age_ms", "transit_age_ms"):
            said.freshness.ClearField(age)
        return said.SerializeToString(deterministic=True)


def _response(answer: v1.CheckAvailabilityResponse, changes: list[v1.AvailabilityChange]) -> bytes:
    return v1.WatchAvailabilityResponse(
        changes=changes,
        snapshot_version=answer.snapshot_version,
        snapshot_age_ms=answer.snapshot_age_ms,
        as_of_us=answer.as_of_us,
        correlation_id=answer.correlation_id,
    ).SerializeToString()


def _too_many_pairs(pairs: int) -> RequestRefusedError:
    return RequestRefusedError(
        Reason.TOO_MANY_PAIRS,
        f"{pairs} pairs of line and branch in one watch; at most {WATCH_PAIRS_MAX}",
        pairs=str(pairs),
        pairs_max=str(WATCH_PAIRS_MAX),
    )

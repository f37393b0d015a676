"""WatchAvailability: sends the answer of CheckAvailability again whenever it has changed (docs/api.md).

A stream checks again when the version of the positions has changed, and at every heartbeat for changes that come with
time alone. It sends the difference to what it sent last, so a slow reader may miss intermediate states but never the
latest one. Heartbeats are sent on time however long a check takes: one that is due during a check repeats the header of
the last answer.
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

_OVER_POLL_S = 0.25  # how often a stream that waits for a check tests whether it is over
_QUICK_S = 0.1  # a check that takes no longer serves as the heartbeat itself
IsOver = Callable[[], bool]
Pair = tuple[int, str]
"""Line and branch."""


class Changes(Protocol):
    """Tells when to check again."""

    def version(self) -> object:
        """Differs after each change of what availability depends on."""

    def wait(self, seen: object, timeout_s: float, is_over: IsOver) -> None:
        """Returns when the version is no longer `seen`, after `timeout_s`, or when `is_over`."""

    def pause(self, timeout_s: float, is_over: IsOver) -> None:
        """Returns after `timeout_s`, or when `is_over`."""

    def wake(self) -> None:
        """Makes all waiting streams test whether they are over."""


class PolledChanges:
    """Changes of a version that is cheap to read: one thread polls it while any stream waits."""

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
                    # Read before `is_done` reads it, so that no change in between is missed.
                    seen = self._version()
                    threading.Thread(
                        target=self._poll, args=(seen,), name="pricegrid-changes", daemon=True
                    ).start()
                self._changed.wait_for(is_done, timeout_s)
            finally:
                self._waiting -= is_polled

    def _poll(self, seen: object) -> None:
        """Wakes the waiting streams at every change, until none waits."""
        while True:
            time.sleep(self._poll_s)
            try:
                version = self._version()
            except Exception:  # noqa: BLE001 -- the streams meet it too, and refuse
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
    """A validated WatchAvailability request."""

    check: bytes
    """The `CheckAvailabilityRequest` to repeat."""
    thresholds_micros: tuple[int | None, ...]
    """One per line, in 10^-6 of its unit; None: every change is sent."""
    heartbeat_s: float


def decode_watch(raw: bytes) -> WatchQuery:
    """Decodes a request and validates what CheckAvailability does not; raises `RequestRefusedError`."""
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
    """Implements `WatchAvailability` by repeated calls of `check`; safe to call from many threads."""

    def __init__(
        self, check: Method, changes: Changes, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._check = check
        self._changes = changes
        self._clock_s = clock_s
        self._active = _Active()

    @property
    def method(self) -> Watch:
        """The method as `Handlers` takes it."""
        return Watch(self.watch_availability, self._changes.wake)

    def watch_availability(self, raw: bytes, caller: Caller, is_over: IsOver) -> Iterator[bytes]:
        """Streams responses to a `WatchAvailabilityRequest` until it is over; raises what `check` raises."""
        query = decode_watch(raw)
        with self._active:
            yield from self._watch(query, caller, is_over)

    def _watch(self, query: WatchQuery, caller: Caller, is_over: IsOver) -> Iterator[bytes]:
        sent = _SentState(query.thresholds_micros)
        heartbeat = _Heartbeat(query.heartbeat_s, self._clock_s)
        answer: v1.CheckAvailabilityResponse | None = None
        while not is_over():
            version = self._changes.version()  # before the check: a change during it is noticed afterwards
            began_s = self._clock_s()
            check = self._active.checks.submit(self._check, query.check, caller)
            while not wait([check], _wait_s(heartbeat.left_s())).done and not is_over():
                if answer is not None and heartbeat.is_due():
                    yield heartbeat.sent(_response(answer, []))
            if not check.done():
                return
            answer = v1.CheckAvailabilityResponse.FromString(check.result().raw)
            ended_s = self._clock_s()
            changes = sent.changes(answer)
            if changes or heartbeat.is_due():
                yield heartbeat.sent(_response(answer, changes))
            pause_s = (ended_s - began_s) * self._active.pause_factor()
            while pause_s > heartbeat.left_s() and not is_over():
                pause_s -= heartbeat.left_s()
                self._changes.pause(heartbeat.left_s(), is_over)
                yield heartbeat.sent(_response(answer, []))
            self._changes.pause(pause_s, is_over)
            caller_left_s = caller.left_s()
            self._changes.wait(
                version,
                heartbeat.left_s() if caller_left_s is None else min(heartbeat.left_s(), caller_left_s),
                is_over,
            )


def _wait_s(heartbeat_left_s: float) -> float:
    """How long to wait for a check before a heartbeat: a quick check serves as the heartbeat that was due."""
    return min(max(heartbeat_left_s, _QUICK_S), _OVER_POLL_S)


class _Active:
    """The open streams: each runs its checks in a second thread, and their pauses limit the load of all together."""

    def __init__(self) -> None:
        self.checks = ThreadPoolExecutor(WATCHES_MAX, thread_name_prefix="pricegrid-check")
        self._count = 0
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        with self._lock:
            self._count += 1

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._count -= 1

    def pause_factor(self) -> float:
        """How long a stream pauses, as a multiple of the time of its check: all streams take half a core."""
        return self._count * WATCH_PAUSE_FACTOR / WATCHES_MAX


class _Heartbeat:
    """When a message must be sent to show the caller that the stream is alive."""

    def __init__(self, every_s: float, clock_s: Callable[[], float]) -> None:
        self._every_s = every_s
        self._clock_s = clock_s
        self._sent_s = -every_s

    def left_s(self) -> float:
        """Seconds until the next heartbeat is due."""
        return max(0.0, self._sent_s + self._every_s - self._clock_s())

    def is_due(self) -> bool:
        """Whether a heartbeat is due."""
        return self._clock_s() - self._sent_s >= self._every_s

    def sent(self, message: bytes) -> bytes:
        """Notes that a message is sent now, and returns it."""
        self._sent_s = self._clock_s()
        return message


class _SentState:
    """What one stream has sent: the figures of each pair, or the side of the threshold that it is on."""

    def __init__(self, thresholds_micros: tuple[int | None, ...]) -> None:
        self._thresholds = thresholds_micros
        self._known: dict[Pair, bytes] = {}

    def changes(self, answer: v1.CheckAvailabilityResponse) -> list[v1.AvailabilityChange]:
        """What has changed since the last call."""
        names = [result.named_items for result in answer.results]
        found = {
            (line, pair.branch): pair
            for line, result in enumerate(answer.results)
            for pair in result.branches
        }
        if len(found) > WATCH_PAIRS_MAX:
            raise _too_many_pairs(len(found))
        for line, branch in self._known.keys() - found.keys():  # the new snapshot no longer has the branch
            found[line, branch] = v1.BranchAvailability(branch=branch, status=_UNKNOWN_BRANCH)
        changes = []
        for (line, branch), pair in found.items():
            state = self._state(line, pair)
            if self._known.get((line, branch)) != state:
                self._known[line, branch] = state
                change = v1.AvailabilityChange(line_index=line, availability=pair, named_items=names[line])
                changes.append(change)
        return changes

    def _state(self, line: int, pair: v1.BranchAvailability) -> bytes:
        """All of a pair whose change is sent; ages are left out, because they change all the time."""
        threshold = self._thresholds[line]
        if threshold is not None:
            if pair.status != _OK:
                return b"unknown"
            return b"reached" if pair.available_micros >= threshold else b"below"
        ageless = v1.BranchAvailability()
        ageless.CopyFrom(pair)
        for age in ("erp_age_ms", "wms_age_ms", "transit_age_ms"):
            ageless.freshness.ClearField(age)
        return ageless.SerializeToString(deterministic=True)


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

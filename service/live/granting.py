"""The reservation methods of live state: work out a change, make it durable, show it (A8, A9).

A change comes from a request, from an expiry, or from the warehouse. It is committed on condition that the versions on
which it is based are still current; after a conflict the other server's changes are read and the change is worked out
again.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from fractions import Fraction

from pricegrid.atp.engine import AvailabilityEngine
from pricegrid.atp.rules.reservations import (
    LIVING,
    HeldReservation,
    ReservationStatus,
    ReserveAsk,
    ReservedLine,
    check_progress,
    released,
    replaced,
    taken_over,
)
from pricegrid.atp.rules.rows import Pair
from pricegrid.cache.protocol import Commit, Committed, Conflict, Key, Put
from pricegrid.service.errors import Reason, RequestRefusedError
from pricegrid.service.limits import COMMIT_TRIES_MAX, ENDED_KEPT_US, FORGET_MAX
from pricegrid.service.live.api import Release, Reserved
from pricegrid.service.live.events import Ingesting
from pricegrid.service.live.grant import GrantContext, grant_lines, new_reservation
from pricegrid.service.live.link import busy
from pricegrid.service.live.records import asked_for, encode_record, same_ask

RESERVATION = "reservation"
PAIR = "pair"
KEY = "key"


class Granting(Ingesting):
    """The part of `LiveState` that changes reservations."""

    _engine: AvailabilityEngine
    _version: str
    _versions: dict[Key, int]
    _is_cleared_stored: bool
    """Whether everything that the tables of this snapshot have cleared is stored."""

    # ---- reserve

    def reserve(self, ask: ReserveAsk) -> Reserved:
        """See `LiveApi`."""
        with self._lock:
            for _ in range(COMMIT_TRIES_MAX):
                self._catch_up()
                known = self._reservations.of_key(ask.customer_id, ask.key)
                if known is not None:
                    if not same_ask(ask, known):
                        raise RequestRefusedError(
                            Reason.KEY_REUSED, "this idempotency key was used for something else"
                        )
                    return Reserved(self._as_of_now(known), self._version, is_repeat=True)
                held, given_up = self._worked_out(ask)
                if not _touched(held):
                    return Reserved(replace(held, reservation_id=""), self._version)
                changes = [held] if given_up is None else [held, given_up]
                if self._store(changes, is_new=True):
                    return Reserved(self._view(held.reservation_id), self._version)
        raise busy()

    def _worked_out(self, ask: ReserveAsk) -> tuple[HeldReservation, HeldReservation | None]:
        """(the reservation to grant, the one that it replaces)."""
        now_us = self._now_us()
        given_up = self._own_living(ask.customer_id, ask.replace_reservation)
        excluded = self._own_living(ask.customer_id, ask.exclude_reservation)
        if given_up is None and excluded is None:
            return self._new(
                ask, grant_lines(self._engine, ask, now_us, GrantContext(self._slack)), now_us
            ), None
        beside = None
        if given_up is None:
            beside = grant_lines(self._engine, ask, now_us, GrantContext(self._slack))
        old = given_up or excluded
        assert old is not None  # noqa: S101 -- for the type checker: one of the two is
        order_ref = ask.order_ref or old.order_ref
        bonus = dict(taken_over(old)) if order_ref == old.order_ref and order_ref else {}
        context = GrantContext(self._slack, old.reservation_id, bonus)
        alone = grant_lines(self._engine, ask, now_us, context)
        if beside is not None and [each.held_micros for each in beside] == [
            each.held_micros for each in alone
        ]:
            return self._new(ask, beside, now_us), None
        held = self._new(replace(ask, order_ref=order_ref), alone, now_us, asked_for(ask))
        if not _touched(held):
            return held, None
        gone, held = replaced(old, held)
        return held, gone

    def _new(
        self, ask: ReserveAsk, lines: Sequence[ReservedLine], now_us: int, asked: str = ""
    ) -> HeldReservation:
        return new_reservation(ask, lines, now_us, self._pairs.mark, asked or asked_for(ask))

    def _slack(self, pair: Pair) -> Fraction:
        return self._pairs.slack(pair, self._now_us())

    def _own_living(self, customer_id: str, reservation_id: str) -> HeldReservation | None:
        """The reservation to replace or exclude; None: none is named, or it no longer holds anything."""
        if not reservation_id:
            return None
        held = self._of(customer_id, reservation_id)
        if held.status is ReservationStatus.CONSUMED:
            raise _ended(held)
        return held if held.status in LIVING else None

    # ---- existing reservations

    def confirm(
        self, customer_id: str, reservation_id: str, order_ref: str, order_lines: Sequence[str] = ()
    ) -> HeldReservation:
        """See `LiveApi`."""
        with self._lock:
            for _ in range(COMMIT_TRIES_MAX):
                self._catch_up()
                held = self._of(customer_id, reservation_id)
                if held.order_ref not in ("", order_ref):
                    raise RequestRefusedError(Reason.ORDER_MISMATCH, "the reservation is for another order")
                if held.status in (ReservationStatus.CONFIRMED, ReservationStatus.CONSUMED):
                    return held
                self._must_live(held)
                if order_lines and len(order_lines) != len(held.lines):
                    message = f"{len(order_lines)} order lines for a reservation of {len(held.lines)} lines"
                    raise RequestRefusedError(Reason.INVALID_RESERVATION, message, field="order_lines")
                stored = self._stored(reservation_id)
                names = order_lines or [each.line.order_line for each in stored.lines]
                named = zip(stored.lines, names, strict=True)
                confirmed = replace(
                    stored,
                    status=ReservationStatus.CONFIRMED,
                    order_ref=order_ref,
                    named_us=stored.named_us if stored.order_ref else self._now_us(),
                    confirmed_us=self._now_us(),
                    lines=tuple(
                        replace(each, line=replace(each.line, order_line=name)) for each, name in named
                    ),
                )
                if self._store([confirmed]):
                    return self._view(reservation_id)
        raise busy()

    def extend(self, customer_id: str, reservation_id: str, ttl_us: int) -> HeldReservation:
        """See `LiveApi`."""
        with self._lock:
            for _ in range(COMMIT_TRIES_MAX):
                self._catch_up()
                held = self._of(customer_id, reservation_id)
                self._must_live(held)
                expires_us = max(held.expires_us, self._now_us() + ttl_us)
                if held.status is ReservationStatus.CONFIRMED or expires_us == held.expires_us:
                    return held
                if self._store([replace(self._stored(reservation_id), expires_us=expires_us)]):
                    return self._view(reservation_id)
        raise busy()

    def release(
        self, customer_id: str, reservation_id: str, parts: Sequence[Release] = ()
    ) -> HeldReservation:
        """See `LiveApi`."""
        with self._lock:
            for _ in range(COMMIT_TRIES_MAX):
                self._catch_up()
                held = self._of(customer_id, reservation_id)
                if held.status is ReservationStatus.RELEASED and not parts:
                    return held
                self._must_live(held)
                try:
                    after = released(held, {part.line: part.quantity_micros for part in parts})
                except ValueError as error:
                    raise RequestRefusedError(Reason.INVALID_RESERVATION, str(error)) from None
                if self._store([after]):
                    return self._view(reservation_id)
        raise busy()

    def reservation(self, customer_id: str, reservation_id: str) -> HeldReservation:
        """See `LiveApi`."""
        with self._lock:
            self._follow()
            return self._as_of_now(self._of(customer_id, reservation_id))

    def reservations(
        self, *, customer_id: str = "", unreported_for_us: int | None = None, limit: int = 1_000
    ) -> Sequence[HeldReservation]:
        """See `LiveApi`."""
        with self._lock:
            self._follow()
            now_us = self._now_us()
            found = [
                held
                for held in self._reservations.views()
                if self._as_of_now(held).status in LIVING
                and customer_id in ("", held.customer_id)
                and (
                    unreported_for_us is None
                    or (held.confirmed_us is not None and now_us - held.confirmed_us >= unreported_for_us)
                )
            ]
            return found[:limit]

    def _of(self, customer_id: str, reservation_id: str) -> HeldReservation:
        held = self._reservations.view(reservation_id)
        if held is None or held.customer_id != customer_id:
            raise RequestRefusedError(Reason.RESERVATION_NOT_FOUND, "this customer has no such reservation")
        return held

    def _view(self, reservation_id: str) -> HeldReservation:
        held = self._reservations.view(reservation_id)
        assert held is not None  # noqa: S101 -- for the type checker: it was stored
        return held

    def _stored(self, reservation_id: str) -> HeldReservation:
        held = self._reservations.stored(reservation_id)
        assert held is not None  # noqa: S101 -- for the type checker: it was found
        return held

    def _as_of_now(self, held: HeldReservation) -> HeldReservation:
        """The reservation with its expiry, also if that is not stored yet."""
        is_over = held.status is ReservationStatus.HELD and self._now_us() >= held.expires_us
        return replace(held, status=ReservationStatus.EXPIRED) if is_over else held

    def _must_live(self, held: HeldReservation) -> None:
        before, held = held, self._as_of_now(held)
        if held.status is ReservationStatus.EXPIRED:
            if before is not held:
                self._store([held])
            raise RequestRefusedError(Reason.RESERVATION_EXPIRED, "the reservation has expired")
        if held.status not in LIVING:
            raise _ended(held)

    # ---- expiry

    def expire(self) -> int:
        """End the expired reservations, which readers already ignore; returns how many."""
        with self._lock:
            self._catch_up()
            held_ids = [
                held.reservation_id
                for held in self._reservations.every()
                if self._as_of_now(held) is not held
            ]
            return sum(map(self._end_if_over, held_ids))

    def _end_if_over(self, reservation_id: str) -> bool:
        """End a reservation in its current state: a conflict may have changed it meanwhile."""
        held = self._reservations.view(reservation_id)
        ended = held and self._as_of_now(held)
        return ended is not None and ended is not held and self._store([ended])

    def forget(self, kept_us: int = ENDED_KEPT_US) -> int:
        """Delete some of the reservations that ended at least `kept_us` ago; their keys may be used again. Returns how
        many.

        One of which the warehouse has allocated something is kept, so that the same allocation can't clear another
        reservation of its order.
        """
        with self._lock:
            self._follow()
            until_us = self._now_us() - kept_us
            over = [
                held
                for held in self._reservations.every()
                if held.ended_us is not None and held.ended_us <= until_us and not held.was_taken_over
            ][:FORGET_MAX]
            keys = [(RESERVATION, held.reservation_id) for held in over]
            commits = [Commit({key: self._versions[key]}, [Put(*key, None)]) for key in keys]
            answers = self._commit_all(commits) if commits else []
            if any(isinstance(answer, Conflict) for answer in answers):
                self._follow()  # another server was first
            for key, answer in zip(keys, answers, strict=True):
                if isinstance(answer, Committed) or self._cache.get([key])[0].value is None:
                    self._forget(key[1])
            return sum(isinstance(answer, Committed) for answer in answers)

    def _forget(self, reservation_id: str) -> None:
        self._reservations.forget(reservation_id)
        self._versions.pop((RESERVATION, reservation_id), None)

    # ---- storing

    def _catch_up(self) -> None:
        """Before a change: read what others did, and once per snapshot store what its tables have cleared."""
        self._follow()
        if not self._is_cleared_stored:
            self._is_cleared_stored = self._store_cleared(
                [held.reservation_id for held in self._reservations.every()]
            )

    def _store_cleared(self, reservation_ids: Iterable[str]) -> bool:
        """Store what the warehouse has allocated, where it can't be worked out again later. While the shared side is
        unreachable nothing is lost, since it is worked out each time. False: something is still to be stored."""
        names = list(reservation_ids)
        for _ in range(COMMIT_TRIES_MAX):
            changed = [held for name in names if (held := self._reservations.to_store(name)) is not None]
            if not changed:
                return True
            changed = [self._checked(held) for held in changed]
            keys = [(RESERVATION, held.reservation_id) for held in changed]
            commits = [
                Commit({key: self._versions[key]}, [Put(*key, encode_record(held))])
                for key, held in zip(keys, changed, strict=True)
            ]
            try:
                answers = self._commit_all(commits)
            except RequestRefusedError:
                return False
            for held, answer in zip(changed, answers, strict=True):
                if isinstance(answer, Committed):
                    self._versions.update(answer.versions)
                    self._pairs.refresh(self._reservations.update(held))
            if all(isinstance(answer, Committed) for answer in answers):
                return True
            self._follow()
        return False

    def _store(self, changes: Sequence[HeldReservation], *, is_new: bool = False) -> bool:
        """Store reservations in one commit and show them, then what of them and of others of their orders is cleared by
        that; False: a conflict. With `is_new` the first one is new, the others exist."""
        before = [self._reservations.stored(held.reservation_id) for held in changes]
        changes = [self._checked(held) for held in changes]
        puts = [Put(RESERVATION, held.reservation_id, encode_record(held)) for held in changes]
        touched = [pair for held in (*changes, *before) if held is not None for pair in _touched(held)]
        names: list[Key] = [(RESERVATION, held.reservation_id) for held in changes]
        names += [(PAIR, f"{sku}\0{branch}") for sku, branch in dict.fromkeys(touched)]
        if is_new:
            names.append((KEY, f"{changes[0].customer_id}\0{changes[0].key}"))
        expected = {name: self._versions.get(name, 0) for name in names}
        answer = self._commit_all([Commit(expected, puts)])[0]
        if isinstance(answer, Conflict):
            self._follow()  # a version may be expected only when all changes up to it are read
            self._versions.update(answer.versions)
            return False
        self._versions.update(answer.versions)
        shown = {pair for held in changes for pair in self._reservations.update(held)}
        self._pairs.refresh(sorted(shown))
        self._store_cleared({*self._reservations.take_moved(), *(held.reservation_id for held in changes)})
        return True

    def _checked(self, held: HeldReservation) -> HeldReservation:
        """The reservation as it is to be stored; AssertionError if it would undo progress."""
        if held.status not in LIVING and held.ended_us is None:
            held = replace(held, ended_us=self._now_us())
        check_progress(self._reservations.stored(held.reservation_id), held)
        return held


def _touched(held: HeldReservation) -> list[Pair]:
    return list(dict.fromkeys((part.sku, each.line.branch) for each in held.lines for part in each.parts))


def _ended(held: HeldReservation) -> RequestRefusedError:
    message = f"the reservation is {held.status.name.lower()}"
    return RequestRefusedError(Reason.RESERVATION_ENDED, message, status=held.status.name)

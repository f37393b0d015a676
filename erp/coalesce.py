"""Coalesces concurrent equal questions into one call, and batches questions that one call can answer.

A question equal to one in flight waits for that answer. A call continues after its caller has left, and its answer is
cached.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Generic, TypeVar

from pricegrid.erp.guard import Guard
from pricegrid.erp.observe import ErpMetrics
from pricegrid.erp.protocol import (
    ErpAnswerError,
    ErpError,
    ErpRefusedError,
    ErpTimeoutError,
    ErpUnavailableError,
    Refusal,
)

Q = TypeVar("Q")
R = TypeVar("R")
A = TypeVar("A")

_log = logging.getLogger(__name__)

WORTH_ASKING_S: Final = 0.02
"""The least time left for a repeated call, after a shared call was ended by another caller's shorter deadline."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A question without an answer."""

    error: ErpError
    deadline_s: float
    """Of the failed call."""


class Coalescer(Generic[Q, R, A]):
    """Asks questions Q, identified by a key, and validates their replies R to answers A. For one event loop."""

    def __init__(
        self,
        guard: Guard,
        metrics: ErpMetrics,
        batches: Callable[[Sequence[Q]], list[list[int]]],
        ask: Callable[[Sequence[Q], float], Awaitable[list[R]]],
        validate: Callable[[Q, R | ErpAnswerError], A],
    ) -> None:
        self._guard = guard
        self._metrics = metrics
        self._batches = batches
        self._ask = ask
        self._validate = validate
        self._under_way: dict[Hashable, asyncio.Future[A | Failure]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def answers(
        self,
        questions: Sequence[tuple[Hashable, Q]],
        deadline_s: float,
        now_s: Callable[[], float],
        answered: list[A | Failure | None],
    ) -> None:
        """Fills `answered`, which has one element per question, as answers arrive: a caller that leaves early has those
        that arrived in time. At the end, questions without an answer before the deadline are failures."""
        await self._once(questions, range(len(questions)), deadline_s, now_s, answered)
        again = [
            index
            for index, answer in enumerate(answered)
            if isinstance(answer, Failure)
            and isinstance(answer.error, ErpTimeoutError)
            and answer.deadline_s < deadline_s
        ]
        if again and deadline_s - now_s() > WORTH_ASKING_S:
            await self._once(questions, again, deadline_s, now_s, answered)

    async def _once(
        self,
        questions: Sequence[tuple[Hashable, Q]],
        indices: Sequence[int],
        deadline_s: float,
        now_s: Callable[[], float],
        answered: list[A | Failure | None],
    ) -> None:
        if not indices:
            return
        loop = asyncio.get_running_loop()
        futures = []
        mine: list[tuple[Hashable, Q]] = []
        for index in indices:
            key, question = questions[index]
            future = self._under_way.get(key)
            if future is None:
                future = self._under_way[key] = loop.create_future()
                mine.append((key, question))
            future.add_done_callback(partial(_put, answered, index))
            futures.append(future)
        if joined := len(indices) - len(mine):
            self._metrics.coalesced(joined)
        for batch in self._batches([question for _, question in mine]) if mine else ():
            self._start([mine[index] for index in batch], deadline_s)
        await asyncio.wait(futures, timeout=max(0.0, deadline_s - now_s()))
        late = Failure(ErpTimeoutError("no answer before the caller's deadline"), deadline_s)
        for index, future in zip(indices, futures, strict=True):
            answered[index] = future.result() if future.done() else late

    def _start(self, batch: list[tuple[Hashable, Q]], deadline_s: float) -> None:
        task = asyncio.get_running_loop().create_task(self._answer(batch, deadline_s))
        self._tasks.add(task)  # the event loop has only weak references to tasks
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, batch: list[tuple[Hashable, Q]], deadline_s: float) -> None:
        try:
            answers = await self._call([question for _, question in batch], deadline_s, first=True)
        except asyncio.CancelledError:
            self._fail(batch, ErpUnavailableError("the gateway is closing"), deadline_s)
            raise
        except Exception as error:  # noqa: BLE001 -- the waiting callers must get it, and the loop goes on
            _log.exception("the ERP's answer could not be handled")
            self._fail(batch, ErpAnswerError(Refusal.SCHEMA, repr(error)), deadline_s)
        else:
            self._deliver(batch, answers)

    def _fail(self, batch: list[tuple[Hashable, Q]], error: ErpError, deadline_s: float) -> None:
        self._deliver(batch, [Failure(error, deadline_s)] * len(batch))

    def _deliver(self, batch: list[tuple[Hashable, Q]], answers: Sequence[A | Failure]) -> None:
        for (key, _), answer in zip(batch, answers, strict=True):
            future = self._under_way.pop(key)
            if not future.done():
                future.set_result(answer)

    async def _call(self, questions: list[Q], deadline_s: float, *, first: bool) -> list[A | Failure]:
        try:
            replies = await self._guard.call(
                lambda until_s: self._read(questions, until_s), deadline_s, first=first
            )
            if len(replies) != len(questions):
                message = f"{len(replies)} answers to {len(questions)} questions"
                raise ErpAnswerError(Refusal.SCHEMA, message)
        except ErpAnswerError as error:
            return [self._validate(question, error) for question in questions]
        except ErpRefusedError as error:
            return await self._halves(questions, deadline_s, error)
        except ErpError as error:
            return [Failure(error, deadline_s)] * len(questions)
        return [self._validate(question, reply) for question, reply in zip(questions, replies, strict=True)]

    async def _read(self, questions: list[Q], until_s: float) -> list[R]:
        """Calls the adapter; an exception in it counts as an unusable answer of the ERP."""
        try:
            return await self._ask(questions, until_s)
        except (ErpError, TimeoutError):
            raise
        except Exception as error:
            _log.exception("the ERP's answer could not be decoded")
            raise ErpAnswerError(Refusal.SCHEMA, f"the answer can't be decoded: {error!r}") from error

    async def _halves(
        self, questions: list[Q], deadline_s: float, error: ErpRefusedError
    ) -> list[A | Failure]:
        """Splits a refused batch in halves, within the retry budget, so that one bad line does not spoil the others."""
        if len(questions) == 1 or not self._guard.may_repeat():
            return [Failure(error, deadline_s)] * len(questions)
        middle = len(questions) // 2
        first = await self._call(questions[:middle], deadline_s, first=False)
        if not self._guard.may_repeat():
            return [*first, *[Failure(error, deadline_s)] * (len(questions) - middle)]
        return [*first, *await self._call(questions[middle:], deadline_s, first=False)]

    async def close(self) -> None:
        """Cancels the calls in flight."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _put(answered: list[A | Failure | None], index: int, future: "asyncio.Future[A | Failure]") -> None:
    answered[index] = future.result()

"""Equal questions at once make one call, and questions that a call can answer together go together.

Who asks what is already being asked waits for that answer. A call goes on when its caller has left: its answer is kept.
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
"""Left of a deadline, for asking again after another caller's shorter one ended the call."""


@dataclass(frozen=True, slots=True)
class Failure:
    """No answer."""

    error: ErpError
    deadline_s: float
    """Of the call that failed."""


class Coalescer(Generic[Q, R, A]):
    """Asks questions Q, each known by a key, whose replies R are settled to answers A. In one event loop."""

    def __init__(
        self,
        guard: Guard,
        metrics: ErpMetrics,
        batches: Callable[[Sequence[Q]], list[list[int]]],
        ask: Callable[[Sequence[Q], float], Awaitable[list[R]]],
        settle: Callable[[Q, R | ErpAnswerError], A],
    ) -> None:
        self._guard = guard
        self._metrics = metrics
        self._batches = batches
        self._ask = ask
        self._settle = settle
        self._under_way: dict[Hashable, asyncio.Future[A | Failure]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def answers(
        self,
        questions: Sequence[tuple[Hashable, Q]],
        deadline_s: float,
        now_s: Callable[[], float],
        answered: list[A | Failure | None],
    ) -> None:
        """Fills `answered`, one place for each question, as answers come: a caller who leaves in the midst has those
        that were in time. In the end those that did not come before the deadline are failures."""
        await self._once(questions, range(len(questions)), deadline_s, now_s, answered)
        again = [
            place
            for place, answer in enumerate(answered)
            if isinstance(answer, Failure)
            and isinstance(answer.error, ErpTimeoutError)
            and answer.deadline_s < deadline_s
        ]
        if again and deadline_s - now_s() > WORTH_ASKING_S:
            await self._once(questions, again, deadline_s, now_s, answered)

    async def _once(
        self,
        questions: Sequence[tuple[Hashable, Q]],
        places: Sequence[int],
        deadline_s: float,
        now_s: Callable[[], float],
        answered: list[A | Failure | None],
    ) -> None:
        if not places:
            return
        loop = asyncio.get_running_loop()
        futures = []
        mine: list[tuple[Hashable, Q]] = []
        for place in places:
            key, question = questions[place]
            future = self._under_way.get(key)
            if future is None:
                future = self._under_way[key] = loop.create_future()
                mine.append((key, question))
            future.add_done_callback(partial(_put, answered, place))
            futures.append(future)
        if joined := len(places) - len(mine):
            self._metrics.coalesced(joined)
        for batch in self._batches([question for _, question in mine]) if mine else ():
            self._start([mine[place] for place in batch], deadline_s)
        await asyncio.wait(futures, timeout=max(0.0, deadline_s - now_s()))
        late = Failure(ErpTimeoutError("no answer before the caller's deadline"), deadline_s)
        for place, future in zip(places, futures, strict=True):
            answered[place] = future.result() if future.done() else late

    def _start(self, batch: list[tuple[Hashable, Q]], deadline_s: float) -> None:
        task = asyncio.get_running_loop().create_task(self._answer(batch, deadline_s))
        self._tasks.add(task)  # the loop itself holds tasks weakly
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, batch: list[tuple[Hashable, Q]], deadline_s: float) -> None:
        try:
            answers = await self._call([question for _, question in batch], deadline_s, first=True)
        except asyncio.CancelledError:
            self._fail(batch, ErpUnavailableError("the gateway is closing"), deadline_s)
            raise
        except Exception as error:  # noqa: BLE001 -- whoever waits must hear of it, and the loop goes on
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
            return [self._settle(question, error) for question in questions]
        except ErpRefusedError as error:
            return await self._halves(questions, deadline_s, error)
        except ErpError as error:
            return [Failure(error, deadline_s)] * len(questions)
        return [self._settle(question, reply) for question, reply in zip(questions, replies, strict=True)]

    async def _read(self, questions: list[Q], until_s: float) -> list[R]:
        """Asks; an answer that breaks its adapter is one that can't be used, and counts against the ERP as such."""
        try:
            return await self._ask(questions, until_s)
        except (ErpError, TimeoutError):
            raise
        except Exception as error:
            _log.exception("the ERP's answer could not be read")
            raise ErpAnswerError(Refusal.SCHEMA, f"the answer can't be read: {error!r}") from error

    async def _halves(
        self, questions: list[Q], deadline_s: float, error: ErpRefusedError
    ) -> list[A | Failure]:
        """One bad line does not spoil the others: what was refused together is asked in halves, within the budget."""
        if len(questions) == 1 or not self._guard.may_repeat():
            return [Failure(error, deadline_s)] * len(questions)
        middle = len(questions) // 2
        first = await self._call(questions[:middle], deadline_s, first=False)
        if not self._guard.may_repeat():
            return [*first, *[Failure(error, deadline_s)] * (len(questions) - middle)]
        return [*first, *await self._call(questions[middle:], deadline_s, first=False)]

    async def close(self) -> None:
        """Gives up what is under way."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _put(answered: list[A | Failure | None], place: int, future: "asyncio.Future[A | Failure]") -> None:
    answered[place] = future.result()

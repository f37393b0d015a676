"""The gateway to the ERP: takes questions from any thread and returns validated answers within a deadline.

    caller's thread ──cache──▶ fresh? ──no──▶ event loop: coalesce ▶ guard ▶ adapter ▶ validate ▶ cache, dead letters
                        └────────────── last known, when no answer comes ──────────────┘

A cached answer is used until its `fresh_until`; later, and never beyond its `valid_until`, it serves as the last known
one. Refused answers are never cached. All waiting is done in the event loop, so a caller always leaves at its deadline.
"""

import asyncio
import concurrent.futures
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final, TypeVar

from pricegrid.cache.protocol import Value, ValueCache
from pricegrid.columnar.decimals import decimal_text
from pricegrid.erp.adapters import make_adapter
from pricegrid.erp.answer_cache import (
    CachedAnswer,
    cached_price,
    cached_stock,
    price_key,
    price_value,
    stock_key,
    stock_value,
)
from pricegrid.erp.coalesce import Coalescer
from pricegrid.erp.dead_letters import DeadLetter, DeadLetterSink
from pricegrid.erp.guard import Guard
from pricegrid.erp.observe import BreakerState, CallSpans, ErpMetrics, LineResult, NoCallSpans, Turned
from pricegrid.erp.protocol import (
    ErpAdapter,
    ErpAnswerError,
    LineFailure,
    PriceReply,
    StockQuestion,
    StockReply,
)
from pricegrid.erp.settings import ErpSettings
from pricegrid.erp.validation import (
    PriceCheck,
    RefusedError,
    ValidPrice,
    ValidStock,
    valid_price,
    valid_stock,
)

_log = logging.getLogger(__name__)

LETTER_PAUSE_US: Final = 10_000_000
"""The least time between two letters with the same question and reason."""
LETTERS_REMEMBERED_MAX: Final = 10_000
LETTERS_WAITING_MAX: Final = 1_000
LOOKUP_MIN_S: Final = 0.02
"""The least time for cache lookups, also for a caller with a short deadline."""
LOOKUP_KEYS: Final = 256
"""Keys per cache lookup; the deadline is checked between lookups."""
ASKED_MAX: Final = 10_000
"""Lines or pairs per request for which the ERP is asked; the limits of calls allow no more within a deadline."""
_START_TIMEOUT_S: Final = 30.0
_MINUTE_US: Final = 60_000_000


@dataclass(frozen=True, slots=True)
class Answer:
    """The ERP's answer for one line."""

    result: LineResult
    """ERP: received now. ERP_CACHED: cached and fresh. LAST_KNOWN: cached, no longer fresh, and the ERP is down."""
    asked_at_us: int
    """When the ERP was asked."""
    price: ValidPrice | None = None
    stock: ValidStock | None = None


R = TypeVar("R")
TimedReply = tuple[R, int]
"""(reply, when it was requested in microseconds)"""

Invalidated = Callable[[str, str, int], bool]
"""Whether an answer for a customer and item that was cached at an instant is invalidated."""


def lookup_deadline_s(deadline_s: float) -> float:
    """When to stop preparing and looking up lines, on the monotonic clock: ten thousand take half a second."""
    return max(deadline_s, monotonic() + LOOKUP_MIN_S)


def _nothing(_: str, __: str, ___: int) -> bool:
    return False


class ErpGateway:
    """One ERP with its guard, in one process. Call `start` before use; questions may come from any thread."""

    def __init__(
        self,
        settings: ErpSettings,
        cache: ValueCache,
        dead_letters: DeadLetterSink,
        metrics: ErpMetrics,
        now_us: Callable[[], int],
        *,
        make: Callable[[ErpSettings], ErpAdapter] = make_adapter,
        invalidated: Invalidated = _nothing,
        spans: CallSpans | None = None,
    ) -> None:
        self.settings = settings
        self._cache = cache
        self._dead_letters = dead_letters
        self._metrics = metrics
        self._now_us = now_us
        self._make = make
        self._invalidated = invalidated
        self._spans = spans or NoCallSpans()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="erp", daemon=True)
        self._asking = 0
        self._asking_lock = threading.Lock()
        self._letters: OrderedDict[str, int] = OrderedDict()
        self._writer = concurrent.futures.ThreadPoolExecutor(1, "erp-dead-letters")
        self._writing = threading.BoundedSemaphore(LETTERS_WAITING_MAX)

    def start(self) -> None:
        """Makes the adapter; raises ErpConfigError. The ERP need not be up."""
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._set_up(), self._loop).result(_START_TIMEOUT_S)
        except BaseException:
            self._end()
            raise

    def close(self) -> None:
        """Cancels the calls in flight and closes connections."""
        asyncio.run_coroutine_threadsafe(self._tear_down(), self._loop).result(_START_TIMEOUT_S)
        self._end()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._writer.shutdown()

    @property
    def state(self) -> BreakerState:
        """The state of the circuit breaker."""
        return self._guard.state

    @property
    def asking(self) -> int:
        """The number of requests that wait for the ERP."""
        return self._asking

    @property
    def has_room(self) -> bool:
        """Whether a low-priority question would not delay others."""
        return self._guard.has_room

    def prices(self, checks: Sequence[PriceCheck], deadline_s: float) -> list[Answer | None]:
        """The ERP's prices, in order; None where there is no usable one. Returns at the deadline at the latest."""
        cached = self._cached_prices(checks, lookup_deadline_s(deadline_s))
        return self._answers(
            cached,
            lambda indices, found: self._prices.answers(
                [(self._same(checks[p]), checks[p]) for p in indices], deadline_s, monotonic, found
            ),
            deadline_s,
        )

    def stock(self, questions: Sequence[StockQuestion], deadline_s: float) -> list[Answer | None]:
        """The ERP's stock, as `prices`; all None if this ERP has no stock interface."""
        if not self._adapter.stock_batches(questions[:1]):
            return [None] * len(questions)
        cached = self._cached_stock(questions, lookup_deadline_s(deadline_s))
        return self._answers(
            cached,
            lambda indices, found: self._stock.answers(
                [((questions[p].sku, questions[p].branch), questions[p]) for p in indices],
                deadline_s,
                monotonic,
                found,
            ),
            deadline_s,
        )

    def compare(self, checks: Sequence[PriceCheck], deadline_s: float) -> list[Answer | None]:
        """As `prices`, but without the cache and the band check, to compare the ERP's prices with ours."""
        bare = [PriceCheck(check.question, None, check.valid_until_us) for check in checks]
        asked = self._ask(
            len(bare),
            lambda found: self._comparing.answers(
                [(self._same(check), check) for check in bare], deadline_s, monotonic, found
            ),
            deadline_s,
        )
        now_us = self._now_us()
        return [
            Answer(LineResult.ERP, now_us, price=answer) if isinstance(answer, ValidPrice) else None
            for answer in asked
        ]

    def _answers(
        self, cached: list[CachedAnswer | None], ask: Callable[[list[int], list[Any]], Any], deadline_s: float
    ) -> list[Answer | None]:
        now_us = self._now_us()
        answers: list[Answer | None] = [None] * len(cached)
        asked: list[int] = []
        for index, each in enumerate(cached):
            if each is not None and now_us < each.fresh_until_us:
                answers[index] = _of(LineResult.ERP_CACHED, each)
                self._metrics.line(LineResult.ERP_CACHED)
            else:
                asked.append(index)
        del asked[ASKED_MAX:]
        if not asked:
            return answers
        with self._spans.asking(len(asked)):
            found = self._ask(len(asked), lambda filled: ask(asked, filled), deadline_s)
        now_us = self._now_us()
        for index, each in zip(asked, found, strict=True):
            last = cached[index]
            if isinstance(each, ValidPrice):
                answers[index] = Answer(LineResult.ERP, now_us, price=each)
            elif isinstance(each, ValidStock):
                answers[index] = Answer(LineResult.ERP, now_us, stock=each)
            elif last is not None:
                answers[index] = _of(LineResult.LAST_KNOWN, last)
            answer = answers[index]
            unanswered = LineResult.REFUSED if isinstance(each, RefusedError) else LineResult.UNAVAILABLE
            self._metrics.line(answer.result if answer else unanswered)
        return answers

    def _ask(self, lines: int, ask: Callable[[list[Any]], Any], deadline_s: float) -> list[Any]:
        """Runs a question with that many lines in the event loop; returns the answers, None where none came in time."""
        found: list[Any] = [None] * lines
        if deadline_s <= monotonic():
            self._metrics.turned_away(Turned.DEADLINE)
            return found
        if self.state is BreakerState.OPEN:
            self._metrics.turned_away(Turned.CIRCUIT)
            return found
        with self._asking_lock:
            if self._asking >= self.settings.limits.requests_max:
                self._metrics.turned_away(Turned.REQUESTS)
                return found
            self._asking += 1
        try:
            asking = asyncio.run_coroutine_threadsafe(ask(found), self._loop)
            try:
                asking.result(max(0.0, deadline_s - monotonic()))
            except concurrent.futures.TimeoutError:
                asking.cancel()  # the answers that have arrived are used
            except Exception:  # noqa: BLE001 -- the other lines of the request must be answered
                _log.exception("the ERP could not be asked")
            return list(found)
        finally:
            with self._asking_lock:
                self._asking -= 1

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    async def _set_up(self) -> None:
        self._adapter = adapter = self._make(self.settings)
        self._guard = guard = Guard(self.settings.limits, adapter.ping, self._metrics, spans=self._spans)
        self._prices = Coalescer[PriceCheck, TimedReply[PriceReply | LineFailure], ValidPrice | RefusedError](
            guard, self._metrics, self._price_batches, self._ask_prices, self._validate_price
        )
        self._comparing = Coalescer[
            PriceCheck, TimedReply[PriceReply | LineFailure], ValidPrice | RefusedError
        ](guard, self._metrics, self._price_batches, self._ask_prices, self._validate_comparison)
        self._stock = Coalescer[
            StockQuestion, TimedReply[StockReply | LineFailure], ValidStock | RefusedError
        ](guard, self._metrics, adapter.stock_batches, self._ask_stock, self._validate_stock)

    async def _tear_down(self) -> None:
        await self._guard.close()
        for asking in (self._prices, self._comparing, self._stock):
            await asking.close()
        await self._adapter.close()

    def _price_batches(self, checks: Sequence[PriceCheck]) -> list[list[int]]:
        return self._adapter.price_batches([check.question for check in checks])

    async def _ask_prices(
        self, checks: Sequence[PriceCheck], deadline_s: float
    ) -> list[TimedReply[PriceReply | LineFailure]]:
        asked_at_us = self._now_us()
        replies = await self._adapter.prices([check.question for check in checks], deadline_s)
        return [(reply, asked_at_us) for reply in replies]

    async def _ask_stock(
        self, questions: Sequence[StockQuestion], deadline_s: float
    ) -> list[TimedReply[StockReply | LineFailure]]:
        asked_at_us = self._now_us()
        replies = await self._adapter.stock(questions, deadline_s)
        return [(reply, asked_at_us) for reply in replies]

    def _validate_price(
        self, check: PriceCheck, timed: TimedReply[PriceReply | LineFailure] | ErpAnswerError
    ) -> ValidPrice | RefusedError:
        """Validates a reply; caches it, or makes it a dead letter."""
        reply, asked_at_us = self._reply_of(timed)
        try:
            price = valid_price(check, _line(reply), self.settings.validation)
        except RefusedError as error:
            self._refuse(_price_payload(self._adapter.name, check, reply, self._now_us()), error)
            return error
        cached = price_value(self._price_key(check), check.question, price, self.settings.cache, asked_at_us)
        if cached is not None:
            self._cache.put([cached])
        return price

    def _validate_comparison(
        self, check: PriceCheck, timed: TimedReply[PriceReply | LineFailure] | ErpAnswerError
    ) -> ValidPrice | RefusedError:
        """Validates a reply for a comparison, which is neither cached nor made a dead letter."""
        reply, _ = self._reply_of(timed)
        try:
            return valid_price(check, _line(reply), self.settings.validation)
        except RefusedError as error:
            self._metrics.refused(error.reason)
            return error

    def _validate_stock(
        self, question: StockQuestion, timed: TimedReply[StockReply | LineFailure] | ErpAnswerError
    ) -> ValidStock | RefusedError:
        reply, asked_at_us = self._reply_of(timed)
        try:
            stock = valid_stock(question, _line(reply))
        except RefusedError as error:
            asked = {"sku": question.sku, "branch": question.branch}
            payload = {
                "kind": "stock",
                "erp": self._adapter.name,
                "question": asked,
                "answer": repr(reply)[:2000],
            }
            self._refuse(payload, error)
            return error
        self._cache.put([stock_value(question, stock, self.settings, asked_at_us)])
        return stock

    def _reply_of(self, timed: TimedReply[R] | ErpAnswerError) -> tuple[R | ErpAnswerError, int]:
        """(reply, when it was requested). An answer is as old as its question; otherwise an invalidation that comes
        while the ERP works would miss that answer."""
        return (timed, self._now_us()) if isinstance(timed, ErpAnswerError) else timed

    def _refuse(self, payload: dict[str, Any], error: RefusedError) -> None:
        self._metrics.refused(error.reason)
        now_us = self._now_us()
        letter = DeadLetter(error.reason.value, str(error), payload, now_us)
        letter_id = letter.letter_id
        if now_us - self._letters.get(letter_id, 0) < LETTER_PAUSE_US:
            return
        self._letters[letter_id] = now_us
        self._letters.move_to_end(letter_id)
        while len(self._letters) > LETTERS_REMEMBERED_MAX:
            self._letters.popitem(last=False)
        if not self._writing.acquire(blocking=False):
            _log.error("dead letter dropped, too many are pending: %s: %s", letter.reason, letter.message)
            return
        self._writer.submit(self._write, letter)

    def _write(self, letter: DeadLetter) -> None:
        try:
            self._dead_letters(letter)
        except Exception:  # noqa: BLE001 -- a full disk must not end the thread
            _log.exception("dead letter lost: %s: %s", letter.reason, letter.message)
        finally:
            self._writing.release()

    def _same(self, check: PriceCheck) -> Hashable:
        """The key of equal questions: one answer, validated once, serves all of them."""
        key = self._price_key(check)
        return check.question.customer_id, key, check.matrix_price_micros, check.valid_until_us

    def _price_key(self, check: PriceCheck) -> str:
        return price_key(self._adapter.name, check.question, self._adapter.time_zone)

    def _cached_prices(self, checks: Sequence[PriceCheck], until_s: float) -> list[CachedAnswer | None]:
        """Looks up many keys at a time; lines for which no time is left count as not cached."""
        cached: list[CachedAnswer | None] = [None] * len(checks)
        indices: dict[str, list[int]] = {}
        for index, check in enumerate(checks):
            indices.setdefault(check.question.customer_id, []).append(index)
        for customer_id, all_of_them in indices.items():
            for start in range(0, len(all_of_them), LOOKUP_KEYS):
                if monotonic() >= until_s:
                    return cached
                own = all_of_them[start : start + LOOKUP_KEYS]
                keys = [self._price_key(checks[index]) for index in own]
                for index, value in zip(own, self._cache.get(customer_id, keys, self._now_us()), strict=True):
                    question = checks[index].question
                    cached[index] = self._still(
                        cached_price(value, question), value, customer_id, question.sku
                    )
        return cached

    def _cached_stock(self, questions: Sequence[StockQuestion], until_s: float) -> list[CachedAnswer | None]:
        cached: list[CachedAnswer | None] = []
        while len(cached) < len(questions) and monotonic() < until_s:
            own = questions[len(cached) : len(cached) + LOOKUP_KEYS]
            keys = [stock_key(self._adapter.name, question) for question in own]
            cached += [
                self._still(cached_stock(value, question), value, "", question.sku)
                for question, value in zip(own, self._cache.get("", keys, self._now_us()), strict=True)
            ]
        return cached + [None] * (len(questions) - len(cached))

    def _still(
        self, cached: CachedAnswer | None, value: Value | None, customer_id: str, sku: str
    ) -> CachedAnswer | None:
        if cached is None or value is None or self._invalidated(customer_id, sku, value.stored_at_us):
            return None
        return cached


def _of(result: LineResult, cached: CachedAnswer) -> Answer:
    return Answer(result, cached.asked_at_us, cached.price, cached.stock)


def _line(reply: Any) -> Any:
    """Turns a failure of the whole answer into a failure of the line."""
    return LineFailure(reply.reason, str(reply)) if isinstance(reply, ErpAnswerError) else reply


def _price_payload(erp: str, check: PriceCheck, reply: object, now_us: int) -> dict[str, Any]:
    question = check.question
    matrix = check.matrix_price_micros
    is_now = abs(question.as_of_us - now_us) < _MINUTE_US
    answer = reply.excerpt if isinstance(reply, ErpAnswerError) and reply.excerpt else repr(reply)
    return {
        "kind": "price",
        "erp": erp,
        "question": {
            "customer_id": question.customer_id,
            "sku": question.sku,
            "quantity": decimal_text(question.quantity_micros),
            "uom": question.uom,
            "currency": question.currency,
            "as_of_us": None if is_now else question.as_of_us,
        },
        "matrix_price": None if matrix is None else decimal_text(matrix),
        "answer": answer[:2000],
    }

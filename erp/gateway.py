"""The ERP as the rest of the process sees it: questions in, validated answers out, within a deadline, from any thread.

    caller's thread ──cache──▶ fresh? ──no──▶ event loop: coalesce ▶ guard ▶ adapter ▶ validate ▶ cache, dead letters
                        └────────────── last known, when no answer comes ──────────────┘

An answer is kept until its `fresh_until`, and beyond as the last known one; never past its `valid_until`. What was
refused is never kept. Every part that waits waits in the loop, so a caller leaves when its deadline comes.
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
    Kept,
    kept_price,
    kept_stock,
    price_key,
    price_value,
    stock_key,
    stock_value,
)
from pricegrid.erp.coalesce import Coalescer
from pricegrid.erp.dead_letters import DeadLetter, DeadLetterSink
from pricegrid.erp.guard import Guard
from pricegrid.erp.observe import BreakerState, ErpMetrics, LineResult, Turned
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
"""Between two letters of the same question and reason."""
LETTERS_REMEMBERED_MAX: Final = 10_000
LETTERS_WAITING_MAX: Final = 1_000
LOOKING_S: Final = 0.02
"""For looking up what is kept, at least: a caller in a hurry gets that too."""
LOOK_KEYS: Final = 256
"""Of one look; between two the deadline is looked at."""
ASKED_MAX: Final = 10_000
"""Lines or pairs of a request that the ERP is asked; no limit on calls lets more through before the deadline."""
_START_TIMEOUT_S: Final = 30.0
_MINUTE_US: Final = 60_000_000


@dataclass(frozen=True, slots=True)
class Answer:
    """The ERP's word on one line."""

    result: LineResult
    """ERP: validated now. ERP_CACHED: kept and fresh. LAST_KNOWN: kept, and the ERP does not answer."""
    asked_at_us: int
    """When the ERP said so."""
    price: ValidPrice | None = None
    stock: ValidStock | None = None


R = TypeVar("R")
Told = tuple[R, int]
"""A reply, and when it was asked, in microseconds."""

Invalidated = Callable[[str, str, int], bool]
"""Whether what was kept of a customer and item at an instant is not to be used any more."""


def looking_until_s(deadline_s: float) -> float:
    """Until when lines are prepared and looked up, of the monotonic clock: ten thousand take half a second."""
    return max(deadline_s, monotonic() + LOOKING_S)


def _nothing(_: str, __: str, ___: int) -> bool:
    return False


class ErpGateway:
    """One ERP with its guard, of one process. `start` before use; all questions may come from any thread."""

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
    ) -> None:
        self.settings = settings
        self._cache = cache
        self._dead_letters = dead_letters
        self._metrics = metrics
        self._now_us = now_us
        self._make = make
        self._invalidated = invalidated
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="erp", daemon=True)
        self._asking = 0
        self._asking_lock = threading.Lock()
        self._letters: OrderedDict[str, int] = OrderedDict()
        self._writer = concurrent.futures.ThreadPoolExecutor(1, "erp-dead-letters")
        self._writing = threading.BoundedSemaphore(LETTERS_WAITING_MAX)

    def start(self) -> None:
        """Makes the adapter; raises ErpConfigError. The ERP need not be there."""
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._set_up(), self._loop).result(_START_TIMEOUT_S)
        except BaseException:
            self._end()
            raise

    def close(self) -> None:
        """Gives up what is under way and ends connections."""
        asyncio.run_coroutine_threadsafe(self._tear_down(), self._loop).result(_START_TIMEOUT_S)
        self._end()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._writer.shutdown()

    @property
    def state(self) -> BreakerState:
        """Of the breaker."""
        return self._guard.state

    @property
    def asking(self) -> int:
        """Requests that wait for the ERP now."""
        return self._asking

    @property
    def has_room(self) -> bool:
        """Whether a question of little importance would be in nobody's way."""
        return self._guard.has_room

    def prices(self, checks: Sequence[PriceCheck], deadline_s: float) -> list[Answer | None]:
        """The ERP's prices, in order; None where there is none to be used. Never later than the deadline."""
        kept = self._kept_prices(checks, looking_until_s(deadline_s))
        return self._answers(
            kept,
            lambda places, found: self._prices.answers(
                [(self._same(checks[p]), checks[p]) for p in places], deadline_s, monotonic, found
            ),
            deadline_s,
        )

    def stock(self, questions: Sequence[StockQuestion], deadline_s: float) -> list[Answer | None]:
        """The ERP's stock, as `prices`; all None where this ERP tells none."""
        if not self._adapter.stock_batches(questions[:1]):
            return [None] * len(questions)
        kept = self._kept_stock(questions, looking_until_s(deadline_s))
        return self._answers(
            kept,
            lambda places, found: self._stock.answers(
                [((questions[p].sku, questions[p].branch), questions[p]) for p in places],
                deadline_s,
                monotonic,
                found,
            ),
            deadline_s,
        )

    def compare(self, checks: Sequence[PriceCheck], deadline_s: float) -> list[Answer | None]:
        """As `prices`, asked whatever is kept, and without the band: to find out how far apart both are."""
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
        self, kept: list[Kept | None], ask: Callable[[list[int], list[Any]], Any], deadline_s: float
    ) -> list[Answer | None]:
        now_us = self._now_us()
        answers: list[Answer | None] = [None] * len(kept)
        asked: list[int] = []
        for place, each in enumerate(kept):
            if each is not None and now_us < each.fresh_until_us:
                answers[place] = _of(LineResult.ERP_CACHED, each)
                self._metrics.line(LineResult.ERP_CACHED)
            else:
                asked.append(place)
        del asked[ASKED_MAX:]
        if not asked:
            return answers
        found = self._ask(len(asked), lambda filled: ask(asked, filled), deadline_s)
        now_us = self._now_us()
        for place, each in zip(asked, found, strict=True):
            last = kept[place]
            if isinstance(each, ValidPrice):
                answers[place] = Answer(LineResult.ERP, now_us, price=each)
            elif isinstance(each, ValidStock):
                answers[place] = Answer(LineResult.ERP, now_us, stock=each)
            elif last is not None:
                answers[place] = _of(LineResult.LAST_KNOWN, last)
            answer = answers[place]
            unanswered = LineResult.REFUSED if isinstance(each, RefusedError) else LineResult.UNAVAILABLE
            self._metrics.line(answer.result if answer else unanswered)
        return answers

    def _ask(self, lines: int, ask: Callable[[list[Any]], Any], deadline_s: float) -> list[Any]:
        """Runs a question of so many lines in the loop, which fills a list; None where no answer comes in time."""
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
                asking.cancel()  # the lines that were answered until now are used
            except Exception:  # noqa: BLE001 -- the other lines of the request are answered whatever happens here
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
        self._guard = guard = Guard(self.settings.limits, adapter.ping, self._metrics)
        self._prices = Coalescer[PriceCheck, Told[PriceReply | LineFailure], ValidPrice | RefusedError](
            guard, self._metrics, self._price_batches, self._ask_prices, self._settle_price
        )
        self._comparing = Coalescer[PriceCheck, Told[PriceReply | LineFailure], ValidPrice | RefusedError](
            guard, self._metrics, self._price_batches, self._ask_prices, self._settle_comparison
        )
        self._stock = Coalescer[StockQuestion, Told[StockReply | LineFailure], ValidStock | RefusedError](
            guard, self._metrics, adapter.stock_batches, self._ask_stock, self._settle_stock
        )

    async def _tear_down(self) -> None:
        await self._guard.close()
        for asking in (self._prices, self._comparing, self._stock):
            await asking.close()
        await self._adapter.close()

    def _price_batches(self, checks: Sequence[PriceCheck]) -> list[list[int]]:
        return self._adapter.price_batches([check.question for check in checks])

    async def _ask_prices(
        self, checks: Sequence[PriceCheck], deadline_s: float
    ) -> list[Told[PriceReply | LineFailure]]:
        asked_at_us = self._now_us()
        replies = await self._adapter.prices([check.question for check in checks], deadline_s)
        return [(reply, asked_at_us) for reply in replies]

    async def _ask_stock(
        self, questions: Sequence[StockQuestion], deadline_s: float
    ) -> list[Told[StockReply | LineFailure]]:
        asked_at_us = self._now_us()
        replies = await self._adapter.stock(questions, deadline_s)
        return [(reply, asked_at_us) for reply in replies]

    def _settle_price(
        self, check: PriceCheck, told: Told[PriceReply | LineFailure] | ErpAnswerError
    ) -> ValidPrice | RefusedError:
        """Validates and keeps; or dead-letters."""
        reply, asked_at_us = self._parted(told)
        try:
            price = valid_price(check, _line(reply), self.settings.validation)
        except RefusedError as error:
            self._refuse(_price_payload(self._adapter.name, check, reply, self._now_us()), error)
            return error
        kept = price_value(self._price_key(check), check.question, price, self.settings.cache, asked_at_us)
        if kept is not None:
            self._cache.put([kept])
        return price

    def _settle_comparison(
        self, check: PriceCheck, told: Told[PriceReply | LineFailure] | ErpAnswerError
    ) -> ValidPrice | RefusedError:
        """Validates; what is compared is neither kept nor dead-lettered."""
        reply, _ = self._parted(told)
        try:
            return valid_price(check, _line(reply), self.settings.validation)
        except RefusedError as error:
            self._metrics.refused(error.reason)
            return error

    def _settle_stock(
        self, question: StockQuestion, told: Told[StockReply | LineFailure] | ErpAnswerError
    ) -> ValidStock | RefusedError:
        reply, asked_at_us = self._parted(told)
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

    def _parted(self, told: Told[R] | ErpAnswerError) -> tuple[R | ErpAnswerError, int]:
        """What came, and when it was asked: an answer is as old as its question, or an invalidation that comes while
        the ERP works would leave out the answer it is about."""
        return (told, self._now_us()) if isinstance(told, ErpAnswerError) else told

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
            _log.error("dead letter dropped, too many wait: %s: %s", letter.reason, letter.message)
            return
        self._writer.submit(self._write, letter)

    def _write(self, letter: DeadLetter) -> None:
        try:
            self._dead_letters(letter)
        except Exception:  # noqa: BLE001 -- a full disk must not end the writer
            _log.exception("dead letter lost: %s: %s", letter.reason, letter.message)
        finally:
            self._writing.release()

    def _same(self, check: PriceCheck) -> Hashable:
        """What equal questions have in common: one answer is right for all of them, and validated alike."""
        key = self._price_key(check)
        return check.question.customer_id, key, check.matrix_price_micros, check.valid_until_us

    def _price_key(self, check: PriceCheck) -> str:
        return price_key(self._adapter.name, check.question, self._adapter.time_zone)

    def _kept_prices(self, checks: Sequence[PriceCheck], until_s: float) -> list[Kept | None]:
        """In looks of many keys each; lines for which no time is left count as not kept."""
        kept: list[Kept | None] = [None] * len(checks)
        places: dict[str, list[int]] = {}
        for place, check in enumerate(checks):
            places.setdefault(check.question.customer_id, []).append(place)
        for customer_id, all_of_them in places.items():
            for start in range(0, len(all_of_them), LOOK_KEYS):
                if monotonic() >= until_s:
                    return kept
                own = all_of_them[start : start + LOOK_KEYS]
                keys = [self._price_key(checks[place]) for place in own]
                for place, value in zip(own, self._cache.get(customer_id, keys, self._now_us()), strict=True):
                    question = checks[place].question
                    kept[place] = self._still(kept_price(value, question), value, customer_id, question.sku)
        return kept

    def _kept_stock(self, questions: Sequence[StockQuestion], until_s: float) -> list[Kept | None]:
        kept: list[Kept | None] = []
        while len(kept) < len(questions) and monotonic() < until_s:
            own = questions[len(kept) : len(kept) + LOOK_KEYS]
            keys = [stock_key(self._adapter.name, question) for question in own]
            kept += [
                self._still(kept_stock(value, question), value, "", question.sku)
                for question, value in zip(own, self._cache.get("", keys, self._now_us()), strict=True)
            ]
        return kept + [None] * (len(questions) - len(kept))

    def _still(self, kept: Kept | None, value: Value | None, customer_id: str, sku: str) -> Kept | None:
        if kept is None or value is None or self._invalidated(customer_id, sku, value.stored_at_us):
            return None
        return kept


def _of(result: LineResult, kept: Kept) -> Answer:
    return Answer(result, kept.asked_at_us, kept.price, kept.stock)


def _line(reply: Any) -> Any:
    """A failure of the whole answer as that of each line."""
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

"""An old and a new ERP asked the same, and where they disagree: for the months in which both run."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from time import monotonic
from typing import Final

from pricegrid.erp.mastering import Mastering
from pricegrid.erp.protocol import ErpAdapter, ErpError, LineFailure, PriceReply
from pricegrid.erp.settings import ValidationSettings
from pricegrid.erp.validation import PriceCheck, RefusedError, valid_price
from pricegrid.pricing_engine.model import PriceQuestion

BATCH_TIMEOUT_S: Final = 30.0


class Verdict(StrEnum):
    """How two ERPs stand to one question."""

    EQUAL = "EQUAL"
    DIFFERENT = "DIFFERENT"
    ONLY_FIRST = "ONLY_FIRST"
    """Only the first has a price."""
    ONLY_SECOND = "ONLY_SECOND"
    UNANSWERED = "UNANSWERED"
    """One of them did not answer, or its answer was refused."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One question, and what both say; None where there is no price."""

    question: PriceQuestion
    verdict: Verdict
    first_micros: int | None
    second_micros: int | None
    why: str = ""
    """Why it is UNANSWERED."""


@dataclass(frozen=True, slots=True)
class DualRun:
    """The report."""

    first: str
    second: str
    lines: Sequence[Compared]
    owner: str | None
    """Who owns prices by the mastering table: whose price is right where they differ. None: it does not say."""

    @property
    def counts(self) -> Counter[Verdict]:
        """Lines by verdict."""
        return Counter(line.verdict for line in self.lines)


async def dual_run(
    first: ErpAdapter,
    second: ErpAdapter,
    questions: Sequence[PriceQuestion],
    mastering: Mastering,
    validation: ValidationSettings,
) -> DualRun:
    """Asks both, both at once, a batch after the other each."""
    one, other = await asyncio.gather(_ask(first, questions, validation), _ask(second, questions, validation))
    lines = [
        _compare(question, mine, theirs) for question, mine, theirs in zip(questions, one, other, strict=True)
    ]
    return DualRun(first.name, second.name, lines, mastering.owner("prices"))


Told = int | None | str
"""A price in micros, None for none, or why there is no answer."""


async def _ask(
    adapter: ErpAdapter, questions: Sequence[PriceQuestion], validation: ValidationSettings
) -> list[Told]:
    found: list[Told] = ["not asked"] * len(questions)
    for places in adapter.price_batches(questions):
        batch = [questions[place] for place in places]
        replies: Sequence[PriceReply | LineFailure | str]
        try:
            replies = await adapter.prices(batch, monotonic() + BATCH_TIMEOUT_S)
        except ErpError as error:
            replies = [f"{adapter.name}: {error}"] * len(batch)
        for place, question, reply in zip(places, batch, replies, strict=True):
            found[place] = reply if isinstance(reply, str) else _price(adapter, question, reply, validation)
    return found


def _price(
    adapter: ErpAdapter,
    question: PriceQuestion,
    reply: PriceReply | LineFailure,
    validation: ValidationSettings,
) -> Told:
    try:
        return valid_price(PriceCheck(question), reply, validation).unit_price_micros
    except RefusedError as error:
        return f"{adapter.name}: {error.reason}: {error}"


def _compare(question: PriceQuestion, mine: Told, theirs: Told) -> Compared:
    if isinstance(mine, str) or isinstance(theirs, str):
        why = "; ".join(told for told in (mine, theirs) if isinstance(told, str))
        first, second = (None if isinstance(told, str) else told for told in (mine, theirs))
        return Compared(question, Verdict.UNANSWERED, first, second, why)
    verdict = Verdict.EQUAL
    if mine != theirs:
        verdict = Verdict.DIFFERENT
        if theirs is None:
            verdict = Verdict.ONLY_FIRST
        elif mine is None:
            verdict = Verdict.ONLY_SECOND
    return Compared(question, verdict, mine, theirs)

"""Asks an old and a new ERP the same questions and compares their prices, for the months in which both run."""

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
    """How the answers of two ERPs compare."""

    EQUAL = "EQUAL"
    DIFFERENT = "DIFFERENT"
    ONLY_FIRST = "ONLY_FIRST"
    """Only the first has a price."""
    ONLY_SECOND = "ONLY_SECOND"
    UNANSWERED = "UNANSWERED"
    """One of them did not answer, or its answer was refused."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One question and both prices; None where there is no price."""

    question: PriceQuestion
    verdict: Verdict
    first_micros: int | None
    second_micros: int | None
    why: str = ""
    """Why it is UNANSWERED."""


@dataclass(frozen=True, slots=True)
class DualRun:
    """The report of a comparison."""

    first: str
    second: str
    lines: Sequence[Compared]
    owner: str | None
    """The owner of prices in the mastering table, whose price is right where they differ. None: not specified."""

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
    """Asks both ERPs concurrently, each one batch at a time."""
    one, other = await asyncio.gather(_ask(first, questions, validation), _ask(second, questions, validation))
    lines = [
        _compare(question, mine, theirs) for question, mine, theirs in zip(questions, one, other, strict=True)
    ]
    return DualRun(first.name, second.name, lines, mastering.owner("prices"))


PriceOrReason = int | None | str
"""A price in micros, None for no price, or why there is no answer."""


async def _ask(
    adapter: ErpAdapter, questions: Sequence[PriceQuestion], validation: ValidationSettings
) -> list[PriceOrReason]:
    found: list[PriceOrReason] = ["not asked"] * len(questions)
    for indices in adapter.price_batches(questions):
        batch = [questions[index] for index in indices]
        replies: Sequence[PriceReply | LineFailure | str]
        try:
            replies = await adapter.prices(batch, monotonic() + BATCH_TIMEOUT_S)
        except ErpError as error:
            replies = [f"{adapter.name}: {error}"] * len(batch)
        for index, question, reply in zip(indices, batch, replies, strict=True):
            found[index] = reply if isinstance(reply, str) else _price(adapter, question, reply, validation)
    return found


def _price(
    adapter: ErpAdapter,
    question: PriceQuestion,
    reply: PriceReply | LineFailure,
    validation: ValidationSettings,
) -> PriceOrReason:
    try:
        return valid_price(PriceCheck(question), reply, validation).unit_price_micros
    except RefusedError as error:
        return f"{adapter.name}: {error.reason}: {error}"


def _compare(question: PriceQuestion, mine: PriceOrReason, theirs: PriceOrReason) -> Compared:
    if isinstance(mine, str) or isinstance(theirs, str):
        why = "; ".join(found for found in (mine, theirs) if isinstance(found, str))
        first, second = (None if isinstance(found, str) else found for found in (mine, theirs))
        return Compared(question, Verdict.UNANSWERED, first, second, why)
    verdict = Verdict.EQUAL
    if mine != theirs:
        verdict = Verdict.DIFFERENT
        if theirs is None:
            verdict = Verdict.ONLY_FIRST
        elif mine is None:
            verdict = Verdict.ONLY_SECOND
    return Compared(question, verdict, mine, theirs)

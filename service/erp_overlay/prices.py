"""Asks the ERP for the prices of exceptions (P13), and overlays the answers of the matrices with them (docs/erp.md).

A line that the ERP answers gets the ERP's price, no book, and loses its exception. A line that it does not answer in
time keeps its exception and gets the newer of two prices: the ERP's last known one, with its age, or the matrix price
of a snapshot made after that. Other lines are not changed.
"""

from collections.abc import Callable
from decimal import Decimal
from time import monotonic
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pricegrid import v1
from pricegrid.erp.gateway import Answer, ErpGateway, lookup_deadline_s
from pricegrid.erp.observe import LineResult
from pricegrid.erp.operator_flags import OperatorFlags
from pricegrid.erp.parity import ParitySampler
from pricegrid.erp.validation import PriceCheck, price_of_one_micros
from pricegrid.pricing_engine.engine import PriceAnswers, PriceAsk
from pricegrid.pricing_engine.kernels import price as kn
from pricegrid.pricing_engine.model import MICROS, ExceptionReason, LineStatus, PriceQuestion
from pricegrid.pricing_engine.rules.money import extended_price_micros
from pricegrid.service.erp_overlay.flags import Flagging
from pricegrid.service.erp_overlay.price_sources import NO_PRICE_SOURCES, LineSource, PriceSources
from pricegrid.service.process.snapshots import LoadedSnapshot
from pricegrid.service.rpc.call import Caller

ENCODING_S: Final = 0.02
"""The least time to leave of the caller's deadline for encoding the response."""


class ErpPrices:
    """Overlays answers with the ERP's prices. Safe to call from many threads."""

    def __init__(
        self,
        gateway: ErpGateway,
        flags: OperatorFlags,
        sampler: ParitySampler | None,
        now_us: Callable[[], int],
    ) -> None:
        self.gateway = gateway
        self._flagging = Flagging(flags)
        self._sampler = sampler
        self._now_us = now_us

    def has_flags(self) -> bool:
        """Whether operators have flagged anything: then every request needs the general path."""
        return bool(self._flagging.state().flags)

    def is_due(self, lines: int) -> bool:
        """Draws at random whether to compare a request with that many lines with the ERP."""
        return self._sampler is not None and self._sampler.is_due(lines)

    def overlay(
        self,
        loaded: LoadedSnapshot,
        ask: PriceAsk,
        answers: PriceAnswers,
        caller: Caller,
        *,
        is_due: bool = False,
    ) -> PriceSources:
        """Asks the ERP for the exceptions among the answers and changes these in place; returns the price sources.

        `is_due`: the caller has drawn already that this request is to be compared.
        """
        self._flagging.flag_lines(loaded, ask, answers)
        exceptions = np.flatnonzero(answers.exception)
        due = is_due or self.is_due(len(ask.skus))
        if self._sampler is not None and due and len(exceptions) < len(ask.skus):
            self._sampler.offer(loaded, ask, answers)
        if not len(exceptions):
            return NO_PRICE_SOURCES
        deadline_s = erp_deadline_s(caller, self.gateway)
        checks = {}
        until_s = lookup_deadline_s(deadline_s)
        for line in exceptions.tolist():
            if monotonic() >= until_s:
                break  # the remaining lines keep their exception
            checks[line] = price_check(loaded, ask, answers, line)
        found = self.gateway.prices(list(checks.values()), deadline_s)
        sources = {}
        now_us = self._now_us()
        for (line, check), answer in zip(checks.items(), found, strict=True):
            if answer is None or self._is_older(answer, answers, loaded, line):
                continue
            if _lay(answers.columns[line], check, answer):
                source = v1.PriceSource.PRICE_SOURCE_ERP_CACHED
                if answer.result is LineResult.ERP:
                    source = v1.PriceSource.PRICE_SOURCE_ERP
                sources[line] = LineSource(source, max(0, now_us - answer.asked_at_us) // 1000)
        return sources

    @staticmethod
    def _is_older(answer: Answer, answers: PriceAnswers, loaded: LoadedSnapshot, line: int) -> bool:
        """Whether the matrix price is newer than the last known price of the ERP."""
        return (
            answer.result is LineResult.LAST_KNOWN
            and answers.status[line] == LineStatus.OK
            and answers.exception[line] != ExceptionReason.PRICE_SOURCE_ERP
            and loaded.created_at_us > answer.asked_at_us
        )


def erp_deadline_s(caller: Caller, gateway: ErpGateway) -> float:
    """When a request stops waiting for the ERP, on the monotonic clock: within the caller's deadline."""
    wait_s = gateway.settings.limits.request_wait_ms / 1000
    left_s = caller.left_s()
    if left_s is not None:
        wait_s = min(wait_s, left_s - max(ENCODING_S, left_s / 10))
    return monotonic() + wait_s


def price_check(loaded: LoadedSnapshot, ask: PriceAsk, answers: PriceAnswers, line: int) -> PriceCheck:
    """The question to the ERP for one line, with explicit names, and the matrix price."""
    sku = ask.skus[line].decode()
    question = PriceQuestion(
        customer_id=ask.customer_id,
        sku=sku,
        quantity_micros=int(ask.quantities_micros[line]),
        as_of_us=ask.line_as_of_us(line),
        uom=ask.uoms[line].decode() or loaded.engine.base_uom(sku),
        currency=answers.currency,
        branch=ask.branch,
    )
    priced = answers.status[line] == LineStatus.OK
    matrix = price_of_one_micros(answers, line) if priced else None
    return PriceCheck(question, matrix, int(answers.valid_until_us[line]))


def _lay(row: NDArray[np.int64], check: PriceCheck, answer: Answer) -> bool:
    """Writes one answer of the ERP into a row; returns whether it has a price."""
    price = answer.price
    if price is None:
        return False
    known = answer.result is not LineResult.LAST_KNOWN
    if known:
        row[kn.ANSWER_EXCEPTION] = ExceptionReason.NONE
    row[kn.ANSWER_VALID_UNTIL] = price.valid_until_us
    if price.unit_price_micros is None:  # the ERP confirms that there is none
        if row[kn.ANSWER_STATUS] == LineStatus.ERP_UNAVAILABLE:
            row[kn.ANSWER_STATUS] = LineStatus.NO_PRICE
        return False
    question = check.question
    row[kn.ANSWER_STATUS] = LineStatus.OK
    row[kn.ANSWER_UNIT_PRICE], row[kn.ANSWER_PRICE_PER] = price.unit_price_micros, 1
    row[kn.ANSWER_EXTENDED_PRICE] = extended_price_micros(
        price.unit_price_micros, question.quantity_micros, question.currency
    )
    for column in (kn.ANSWER_BOOK, kn.ANSWER_LAYER, kn.ANSWER_ENTRY):
        row[column] = -1
    for column in (kn.ANSWER_MINIMUM, kn.ANSWER_LIFTED, kn.ANSWER_CONVERTED):
        row[column] = 0
    return True


def erp_document(answers: PriceAnswers, sources: PriceSources) -> dict[str, object] | None:
    """The ERP's part of an explanation; None: its answer was not used."""
    if 0 not in sources:
        return None
    price = Decimal(int(answers.unit_price_micros[0])) / MICROS
    source = v1.PriceSource.Name(sources[0].source).removeprefix("PRICE_SOURCE_")
    return {"source": source, "unit_price": f"{price:f}", "age_ms": sources[0].age_ms}

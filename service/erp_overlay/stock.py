"""Asks the ERP for unknown stock and the stock of flagged items, and overlays the positions with it.

The ERP returns one figure, the lowest balance from today on. It stands for all three sources, with the age of the ERP's
answer; a last known one is STALE. Projected availability and promises always come from the positions.
"""

from collections.abc import Callable
from fractions import Fraction

import numpy as np

from pricegrid.atp.model import AvailabilityStatus, CheckAnswers, CheckAsk, Freshness
from pricegrid.erp.gateway import Answer, ErpGateway
from pricegrid.erp.observe import LineResult
from pricegrid.erp.operator_flags import OperatorFlags
from pricegrid.erp.protocol import StockQuestion
from pricegrid.pricing_engine.model import INT64_MAX, MICROS
from pricegrid.service.erp_overlay.prices import erp_deadline_s
from pricegrid.service.process.snapshots import LoadedSnapshot
from pricegrid.service.rpc.call import Caller

NOW_US = 60_000_000
"""A request as of an instant further from now than this does not ask for today's stock."""


class ErpStock:
    """Overlays answers with the ERP's stock. Safe to call from many threads."""

    def __init__(self, gateway: ErpGateway, flags: OperatorFlags, now_us: Callable[[], int]) -> None:
        self._gateway = gateway
        self._flags = flags
        self._now_us = now_us

    def overlay(self, loaded: LoadedSnapshot, ask: CheckAsk, answers: CheckAnswers, caller: Caller) -> None:
        """Asks the ERP for the unknown and flagged among the answers and changes these in place."""
        if abs(ask.as_of_us - self._now_us()) > NOW_US:
            return
        branches = len(answers.branches)
        wanted = answers.status == AvailabilityStatus.UNKNOWN_STOCK
        if skus := self._flags.state().flagged("sku", loaded.version):
            flagged = np.fromiter((sku.decode() in skus for sku in ask.skus), bool, len(ask.skus))
            wanted |= np.repeat(flagged, branches) & (answers.status == AvailabilityStatus.OK)
        pairs = np.flatnonzero(wanted).tolist()
        if not pairs:
            return
        questions = [
            StockQuestion(
                ask.skus[at // branches].decode(), ask.branches[at % branches].decode(), ask.as_of_us
            )
            for at in pairs
        ]
        found = self._gateway.stock(questions, erp_deadline_s(caller, self._gateway))
        for at, question, answer in zip(pairs, questions, found, strict=True):
            if answer is not None:
                _lay(loaded, ask, answers, at, question, answer)
        for line in {at // branches for at in pairs}:
            own = slice(line * branches, (line + 1) * branches)
            total = int(answers.available_micros[own].astype(object).sum())
            answers.total_available_micros[line] = min(total, INT64_MAX)


def _lay(
    loaded: LoadedSnapshot,
    ask: CheckAsk,
    answers: CheckAnswers,
    at: int,
    question: StockQuestion,
    answer: Answer,
) -> None:
    """Writes one answer; if the line names a unit, in whole units, rounded down (A6)."""
    line = at // len(answers.branches)
    uom = ask.uoms[line].decode()
    factor = loaded.engine.unit_factor(question.sku, uom) if uom else Fraction(1)
    if answer.stock is None or factor is None:
        return
    atp_micros = answer.stock.available_micros
    if uom:
        atp_micros = Fraction(atp_micros, MICROS) // factor * MICROS
    if abs(atp_micros) > INT64_MAX:
        return
    available = max(0, atp_micros)
    answers.status[at] = AvailabilityStatus.OK
    answers.atp_micros[at] = atp_micros
    answers.available_micros[at] = available
    answers.shortage_micros[at] = max(0, int(ask.quantities_micros[line]) - available)
    stale = answer.result is LineResult.LAST_KNOWN
    answers.freshness[at] = Freshness.STALE if stale else Freshness.FRESH
    answers.source_as_of_us[at] = answer.asked_at_us

"""What operators have flagged in a store, laid over answers (P13): with and without an ERP, while servers run."""

import numpy as np
from numpy.typing import NDArray

from pricegrid.erp.control import LOOK_S, NO_FLAGS, ControlState, ErpControl
from pricegrid.pricing_engine.engine import PriceAnswers, PriceAsk, mark_flagged
from pricegrid.service.process.snapshots import LoadedSnapshot

_LOOK_US = int(LOOK_S * 1_000_000)


class Flagging:
    """Marks flagged lines; the store is looked at a few times a second. Safe to call from many threads."""

    def __init__(self, control: ErpControl) -> None:
        self._control = control
        self._seen_us = -_LOOK_US
        self._seen = NO_FLAGS

    def state(self) -> ControlState:
        """What is flagged now."""
        return self._control.state()

    def state_at(self, now_us: int) -> ControlState:
        """The same for plain requests, which know the time: a number to compare is all that it costs most of them."""
        if not 0 <= now_us - self._seen_us < _LOOK_US:
            self._seen = self._control.state()
            self._seen_us = now_us
        return self._seen

    def mark(self, loaded: LoadedSnapshot, ask: PriceAsk, answers: PriceAnswers) -> None:
        """Marks the lines that nothing else makes exceptions, in place: the last of P13's reasons."""
        state = self.state()
        if not state.flags:
            return
        flagged: NDArray[np.bool_] = np.zeros(len(ask.skus), bool)
        if ask.customer_id in state.flagged("customer", loaded.version):
            flagged[:] = True
        if skus := state.flagged("sku", loaded.version):
            flagged |= np.fromiter((sku.decode() in skus for sku in ask.skus), bool, len(ask.skus))
        if books := state.flagged("book", loaded.version):
            ordinals = [book for book in set(answers.book.tolist()) if book >= 0]
            marked = [book for book in ordinals if loaded.engine.book_id(book) in books]
            flagged |= np.isin(answers.book, marked)
        mark_flagged(answers.columns, flagged)

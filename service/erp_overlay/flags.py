"""Makes exceptions of lines that operators have flagged (P13), with and without an ERP, while servers run."""

import numpy as np
from numpy.typing import NDArray

from pricegrid.erp.operator_flags import NO_FLAGS, RELOAD_S, FlagSet, OperatorFlags
from pricegrid.pricing_engine.engine import PriceAnswers, PriceAsk, mark_flagged
from pricegrid.service.process.snapshots import LoadedSnapshot

_RELOAD_US = int(RELOAD_S * 1_000_000)


class Flagging:
    """Flags lines; checks the store for new flags a few times a second. Safe to call from many threads."""

    def __init__(self, flags: OperatorFlags) -> None:
        self._flags = flags
        self._seen_us = -_RELOAD_US
        self._seen = NO_FLAGS

    def state(self) -> FlagSet:
        """The current flags."""
        return self._flags.state()

    def state_at(self, now_us: int) -> FlagSet:
        """The current flags, for the fast path, which knows the time: mostly the cost is one comparison."""
        if not 0 <= now_us - self._seen_us < _RELOAD_US:
            self._seen = self._flags.state()
            self._seen_us = now_us
        return self._seen

    def flag_lines(self, loaded: LoadedSnapshot, ask: PriceAsk, answers: PriceAnswers) -> None:
        """Makes exceptions of flagged lines that have no other reason, the last of P13's, in place."""
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
            own = [book for book in ordinals if loaded.engine.book_id(book) in books]
            flagged |= np.isin(answers.book, own)
        mark_flagged(answers.columns, flagged)

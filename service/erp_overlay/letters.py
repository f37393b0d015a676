"""Refused ERP answers among the dead letters of the service: listed, asked again and dropped like events.

Each host keeps those of its own workers in a file of its store; their ids begin with `E`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from pricegrid.pricing_engine.engine import PriceAsk
from pricegrid.pricing_engine.errors import PricingError
from pricegrid.service.erp_overlay.prices import price_check
from pricegrid.service.errors import Reason, RequestRefusedError
from pricegrid.service.limits import LIST_BYTES_MAX
from pricegrid.service.live.api import DeadLetter, DeadLetterPage

if TYPE_CHECKING:
    from pricegrid.erp.dead_letters import DeadLetterFile, KeptLetter
    from pricegrid.erp.gateway import ErpGateway
    from pricegrid.erp.validation import PriceCheck
    from pricegrid.service.process.snapshots import LoadedSnapshot

ORIGIN_ERP: Final = "erp"
_PREFIX: Final = "E"


class ErpLetters:
    """The refused answers of a host. Safe to call from many threads."""

    def __init__(
        self,
        file: DeadLetterFile,
        gateway: ErpGateway | None,
        snapshot: Callable[[], LoadedSnapshot],
        now_us: Callable[[], int],
    ) -> None:
        """Without a gateway none can be asked again."""
        self._file = file
        self._gateway = gateway
        self._snapshot = snapshot
        self._now_us = now_us

    @staticmethod
    def owns(dead_letter_id: str) -> bool:
        """Whether an id is that of a refused answer."""
        return dead_letter_id.startswith(_PREFIX)

    def page(self, limit: int, after: str) -> DeadLetterPage:
        """Oldest first, beginning after that id: at most `limit`, and as many as fit into one response. Raises
        DEAD_LETTER_NOT_FOUND for an unknown `after`."""
        letters = self._file.letters()
        names = [_name(each) for each in letters]
        if after and after not in names:
            raise _not_found(after)
        begin = names.index(after) + 1 if after else 0
        found: list[DeadLetter] = []
        size = 0
        for kept in letters[begin:]:
            letter = _letter(kept)
            size += len(letter.payload_json.encode())
            if found and (len(found) == limit or size > LIST_BYTES_MAX):
                return DeadLetterPage(found, found[-1].dead_letter_id)
            found.append(letter)
        return DeadLetterPage(found)

    def one(self, dead_letter_id: str) -> DeadLetter:
        """One refused answer; raises DEAD_LETTER_NOT_FOUND."""
        for kept in self._file.letters():
            if _name(kept) == dead_letter_id:
                return _letter(kept)
        raise _not_found(dead_letter_id)

    def replay(self, dead_letter_ids: Sequence[str], deadline_s: float) -> list[DeadLetter]:
        """Ask the questions of these letters again. Those answered well are gone; returns the others, with what is
        wrong now."""
        wanted = set(dead_letter_ids)
        left = []
        for kept in self._file.letters():
            if _name(kept) not in wanted:
                continue
            fault = self._fault(kept, deadline_s)
            if fault:
                self._file.replayed(kept.letter_id)
                left.append(replace(_letter(kept), detail=fault, replays=kept.replays + 1))
            else:
                self._file.drop(kept.letter_id)
        return left

    def drop(self, dead_letter_ids: Sequence[str]) -> int:
        """Delete letters; returns how many existed."""
        return sum(self._file.drop(each.removeprefix(_PREFIX)) for each in dead_letter_ids)

    def _fault(self, kept: KeptLetter, deadline_s: float) -> str:
        """Ask again; what is wrong, or '' when there is a good answer."""
        from pricegrid.erp.replay import ReplayError, replay

        if self._gateway is None:
            return "no ERP is configured here, so it can't be asked again"
        erp = kept.payload.get("erp")
        if erp != self._gateway.settings.name:
            return f"it is of another ERP, {erp}"
        try:
            answer = replay(self._gateway, kept.payload, self._now_us(), deadline_s, self._refreshed)
        except ReplayError as error:
            return str(error)
        return "refused again, or no answer" if answer is None else ""

    def _refreshed(self, check: PriceCheck) -> PriceCheck:
        """The check with what the matrices say now; as it is where they can't say."""
        question = check.question
        ask = PriceAsk(
            customer_id=question.customer_id,
            currency=question.currency,
            branch="",
            as_of_us=question.as_of_us,
            skus=[question.sku.encode()],
            quantities_micros=np.array([question.quantity_micros], np.int64),
            uoms=[question.uom.encode()],
            service_desk=True,
        )
        loaded = self._snapshot()
        try:
            return price_check(loaded, ask, loaded.engine.price(ask), 0)
        except PricingError:
            return check


def _name(kept: KeptLetter) -> str:
    return f"{_PREFIX}{kept.letter_id}"


def _letter(kept: KeptLetter) -> DeadLetter:
    return DeadLetter(
        _name(kept),
        kept.first_us,
        ORIGIN_ERP,
        kept.reason,
        kept.message,
        json.dumps(kept.payload, ensure_ascii=False),
        replays=kept.replays,
        count=kept.times,
        last_us=kept.last_us,
    )


def _not_found(dead_letter_id: str) -> RequestRefusedError:
    return RequestRefusedError(Reason.DEAD_LETTER_NOT_FOUND, f"there is no dead letter {dead_letter_id}")

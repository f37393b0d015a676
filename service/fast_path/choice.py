"""Which requests try the fast path, and which take the general path at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pricegrid.erp.control import NO_FLAGS
from pricegrid.service.erp_overlay.flags import Flagging
from pricegrid.service.fast_path import kernel
from pricegrid.service.rpc.call import Caller
from pricegrid.service.rpc.response import Answered

if TYPE_CHECKING:
    from pricegrid.service.erp_overlay.prices import ErpPrices
    from pricegrid.service.fast_path.path import Lane


def answer_plainly(
    lane: Lane | None,
    flags: int,
    raw: bytes,
    caller: Caller,
    now_us: int,
    erp: ErpPrices | None,
    flagging: Flagging | None,
) -> tuple[Answered | None, bool]:
    """(the answer of the short way, None where the request must go the usual one; whether that is because its answer is
    due to be compared with the ERP's).

    `flags` is QUOTE or 0. Beside an ERP only what it need not look at is plain: no line to confirm, no stock unknown,
    nothing flagged. Without one nothing is while a book is flagged.
    """
    if lane is None or (erp is not None and erp.has_flags()):
        return None, False
    if caller.service_desk:
        flags |= kernel.SERVICE_DESK
    flags |= kernel.COUNT if erp is None else kernel.EXCEPTIONS_UNUSUAL
    flagged = flagging.state_at(now_us) if flagging is not None and erp is None else NO_FLAGS
    if flagged.flags and flagged.has_books:
        return None, False
    plain = lane.answer(raw, flags, now_us, caller.correlation_id, flagged)
    if erp is not None and plain is not None and plain.status is not None and erp.is_due(len(plain.status)):
        return None, True
    return plain, False

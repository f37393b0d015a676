"""Decides which requests may take the fast path; what it leaves, the general path goes on with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from pricegrid.erp.operator_flags import NO_FLAGS
from pricegrid.service.erp_overlay.flags import Flagging
from pricegrid.service.fast_path import kernel
from pricegrid.service.rpc.call import Caller
from pricegrid.service.rpc.response import Response

if TYPE_CHECKING:
    from pricegrid.service.codec.scan import ScannedRequest
    from pricegrid.service.erp_overlay.prices import ErpPrices
    from pricegrid.service.fast_path.path import FastPath, ResolvedLines


class Left(NamedTuple):
    """A request that needs the general path, as far as the fast path came with it."""

    request: ScannedRequest | None = None
    """None: it has not been decoded yet."""
    resolved: ResolvedLines | None = None
    """What has been computed of its lines, from the active snapshot; None: nothing."""
    is_due: bool = False
    """Its prices are due to be compared with the ERP's."""


_UNTRIED: Final = Left()


def try_fast_path(
    fast_path: FastPath | None,
    flags: int,
    raw: bytes,
    caller: Caller,
    now_us: int,
    erp: ErpPrices | None,
    flagging: Flagging | None,
) -> Response | Left:
    """The response, or what the general path begins with.

    `flags` is QUOTE or 0. With an ERP, a request is simple only if the ERP has nothing to add: no line to confirm, no
    unknown stock, nothing flagged. Without one, no request is simple while a book is flagged.
    """
    if fast_path is None or (erp is not None and erp.has_flags()):
        return _UNTRIED
    if caller.service_desk:
        flags |= kernel.SERVICE_DESK
    flags |= kernel.COUNT if erp is None else kernel.EXCEPTIONS_NEED_ERP
    flagged = flagging.state_at(now_us) if flagging is not None and erp is None else NO_FLAGS
    if flagged.flags and flagged.has_books:
        return _UNTRIED
    response = fast_path.answer(raw, flags, now_us, caller.correlation_id, flagged)
    if response is None:
        return Left(*fast_path.left(raw))
    if erp is not None and response.status is not None and erp.is_due(len(response.status)):
        return Left(*fast_path.left(raw), is_due=True)
    return response

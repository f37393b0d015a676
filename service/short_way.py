"""When a request goes the short way (`lane`), and when the usual one."""

from collections.abc import Callable

from service.erp_prices import ErpPrices
from service.exchange import Answered, Caller
from service.lane import LaneAnswer, LaneAsk


def answer_plainly(
    answer: Callable[[bytes, LaneAsk], LaneAnswer | None] | None,
    raw: bytes,
    caller: Caller,
    now_us: int,
    erp: ErpPrices | None,
) -> tuple[Answered | None, bool]:
    """(the answer of the short way, None where the request must go the usual one; whether that is because its answer is
    due to be compared with the ERP's).

    Beside an ERP only what it need not look at is plain: no line to confirm, no stock unknown, nothing flagged.
    """
    if answer is None or (erp is not None and erp.has_flags()):
        return None, False
    asked = LaneAsk(now_us, caller.correlation_id, caller.service_desk, exceptions_unusual=erp is not None)
    plain = answer(raw, asked)
    if plain is None:
        return None, False
    if erp is not None and erp.is_due(len(plain.status)):
        return None, True
    return Answered(*plain), False

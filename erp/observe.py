"""The metrics and traces of an ERP as interfaces; `service.erp_overlay.metrics` and `service.tracing.parts` implement
them."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Protocol

from pricegrid.erp.protocol import Refusal


class CallOutcome(StrEnum):
    """How one call of the ERP ended."""

    OK = "OK"
    TIMEOUT = "TIMEOUT"
    UNAVAILABLE = "UNAVAILABLE"
    BUSY = "BUSY"
    ANSWER = "ANSWER"
    """The answer as a whole is unusable."""
    REFUSED = "REFUSED"
    ABANDONED = "ABANDONED"
    """The caller's deadline was too short to tell anything about the ERP."""


class Turned(StrEnum):
    """Why a call was not made."""

    CIRCUIT = "CIRCUIT"
    BULKHEAD = "BULKHEAD"
    RATE = "RATE"
    REQUESTS = "REQUESTS"
    """Too many requests wait for the ERP."""
    DEADLINE = "DEADLINE"


CALL_HEADERS: Final[ContextVar[Mapping[str, str]]] = ContextVar(
    "pricegrid_erp_headers", default=MappingProxyType({})
)
"""What the ERP is told of the call beside the question, in headers: the trace that it belongs to."""


class CallSpans(Protocol):
    """What surrounds the asking of an ERP, to be seen in a trace."""

    def asking(self, lines: int) -> AbstractContextManager[None]:
        """A request waits for so many lines, in its thread. Calls that it causes are parts of it."""
        ...

    def calling(self) -> AbstractContextManager[Callable[[CallOutcome], None]]:
        """One call, in its task; gives what is to be told how it ended."""
        ...


class NoCallSpans:
    """Surrounds nothing."""

    def asking(self, lines: int) -> AbstractContextManager[None]:  # noqa: ARG002 -- of the interface
        """See `CallSpans`."""
        return nullcontext()

    def calling(self) -> AbstractContextManager[Callable[[CallOutcome], None]]:
        """See `CallSpans`."""
        return nullcontext(_untold)


def _untold(_: CallOutcome) -> None:
    """Nobody listens."""


class LineResult(StrEnum):
    """The result of one line for the ERP."""

    ERP = "ERP"
    ERP_CACHED = "ERP_CACHED"
    LAST_KNOWN = "LAST_KNOWN"
    REFUSED = "REFUSED"
    """The ERP's answer was refused."""
    UNAVAILABLE = "UNAVAILABLE"


class BreakerState(StrEnum):
    """The state of the circuit breaker."""

    CLOSED = "CLOSED"
    HALF_OPEN = "HALF_OPEN"
    OPEN = "OPEN"


class ErpMetrics(Protocol):
    """Counters. All methods are safe to call from any thread."""

    def called(self, outcome: CallOutcome, seconds: float) -> None:
        """A call ended."""

    def turned_away(self, why: Turned) -> None:
        """A call was not made."""

    def retried(self) -> None:
        """A call is retried."""

    def coalesced(self, lines: int) -> None:
        """Lines share the call of an equal question."""

    def breaker(self, state: BreakerState) -> None:
        """The circuit breaker changed its state."""

    def probed(self, *, answered: bool) -> None:
        """A probe ended."""

    def refused(self, reason: Refusal) -> None:
        """An answer was refused."""

    def line(self, result: LineResult) -> None:
        """A line got this result."""

    def compared(self, book_id: str, *, equal: bool) -> None:
        """An ordinary price was compared with the ERP's."""


class NoErpMetrics:
    """Counts nothing."""

    def called(self, outcome: CallOutcome, seconds: float) -> None:
        """See `ErpMetrics`."""

    def turned_away(self, why: Turned) -> None:
        """See `ErpMetrics`."""

    def retried(self) -> None:
        """See `ErpMetrics`."""

    def coalesced(self, lines: int) -> None:
        """See `ErpMetrics`."""

    def breaker(self, state: BreakerState) -> None:
        """See `ErpMetrics`."""

    def probed(self, *, answered: bool) -> None:
        """See `ErpMetrics`."""

    def refused(self, reason: Refusal) -> None:
        """See `ErpMetrics`."""

    def line(self, result: LineResult) -> None:
        """See `ErpMetrics`."""

    def compared(self, book_id: str, *, equal: bool) -> None:
        """See `ErpMetrics`."""

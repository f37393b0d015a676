"""Spans of what a call waits for elsewhere: calls of the ERP, and commits to the cache that keeps live state."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, cast

from opentelemetry.semconv.attributes.db_attributes import DB_OPERATION_NAME, DB_SYSTEM_NAME
from opentelemetry.trace import SpanKind

from pricegrid.cache.protocol import Commit, Committed, Conflict, StateCache
from pricegrid.erp.observe import CALL_HEADERS, CallOutcome
from pricegrid.service.tracing.spans import Traces, headers

OUTCOME: Final = "pricegrid.erp.outcome"
ERP_LINES: Final = "pricegrid.erp.lines"
COMMITS: Final = "pricegrid.commits"


class ErpSpans:
    """Spans around what an ERP is asked; see `erp.observe.CallSpans`."""

    def __init__(self, traces: Traces) -> None:
        self._traces = traces

    @contextmanager
    def asking(self, lines: int) -> Iterator[None]:
        """See `CallSpans`."""
        with self._traces.part("ERP lines", {ERP_LINES: lines}, SpanKind.INTERNAL):
            yield

    @contextmanager
    def calling(self) -> Iterator[Callable[[CallOutcome], None]]:
        """See `CallSpans`."""
        with self._traces.part("ERP call", {}, SpanKind.CLIENT) as span:
            sent = CALL_HEADERS.set(headers())
            try:
                yield lambda outcome: span.set_attribute(OUTCOME, outcome.value)
            finally:
                CALL_HEADERS.reset(sent)


class _TracedCache:
    """A cache whose commits have spans; in all else the cache itself."""

    def __init__(self, cache: StateCache, system: str, traces: Traces) -> None:
        self._cache = cache
        self._system = system
        self._traces = traces

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cache, name)

    def commit(self, commits: Sequence[Commit]) -> list[Committed | Conflict]:
        """See `StateCache`."""
        named: dict[str, str | int] = {
            DB_SYSTEM_NAME: self._system,
            DB_OPERATION_NAME: "commit",
            COMMITS: len(commits),
        }
        with self._traces.part(f"{self._system} commit", named, SpanKind.CLIENT):
            return self._cache.commit(commits)


def traced_cache(cache: StateCache, system: str, traces: Traces) -> StateCache:
    """The cache, with a span for each commit of a traced call; `system` is what it is kept in."""
    return cast("StateCache", _TracedCache(cache, system, traces))

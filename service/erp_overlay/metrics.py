"""The metrics of ERP calls for Prometheus, with labels bound once (see `service.rpc.metrics`)."""

import threading

from pricegrid.erp.observe import BreakerState, CallOutcome, LineResult, Turned
from pricegrid.erp.protocol import Refusal
from pricegrid.service import metric_table as table


class PrometheusErpMetrics:
    """See `erp.observe.ErpMetrics`."""

    def __init__(self) -> None:
        from prometheus_client import Counter, Gauge, Histogram

        calls = Counter(*table.ERP_CALLS.declared)
        turned = Counter(*table.ERP_TURNED_AWAY.declared)
        refused = Counter(*table.ERP_REFUSED_ANSWERS.declared)
        lines = Counter(*table.ERP_LINES.declared)
        probes = Counter(*table.ERP_PROBES.declared)
        changes = Counter(*table.ERP_BREAKER_CHANGES.declared)
        state = Gauge(*table.ERP_BREAKER_OPEN.declared, multiprocess_mode="livesum")
        self._seconds = Histogram(*table.ERP_CALL_SECONDS.declared, buckets=table.ERP_BUCKETS_S)
        self._retries = Counter(*table.ERP_RETRIES.declared)
        self._coalesced = Counter(*table.ERP_COALESCED_LINES.declared)
        self._compared = Counter(*table.PARITY_CHECKS.declared)
        self._mismatched = Counter(*table.PARITY_MISMATCHES.declared)
        self._calls = {outcome: calls.labels(outcome) for outcome in CallOutcome}
        self._turned = {why: turned.labels(why) for why in Turned}
        self._refused = {reason: refused.labels(reason) for reason in Refusal}
        self._lines = {result: lines.labels(result) for result in LineResult}
        self._probes = {answered: probes.labels(str(answered).lower()) for answered in (True, False)}
        self._changes = {each: changes.labels(each) for each in BreakerState}
        self._open = state
        self._books: dict[str, tuple[Counter, Counter]] = {}
        self._books_lock = threading.Lock()

    def called(self, outcome: CallOutcome, seconds: float) -> None:
        """See `ErpMetrics`."""
        self._calls[outcome].inc()
        self._seconds.observe(seconds)

    def turned_away(self, why: Turned) -> None:
        """See `ErpMetrics`."""
        self._turned[why].inc()

    def retried(self) -> None:
        """See `ErpMetrics`."""
        self._retries.inc()

    def coalesced(self, lines: int) -> None:
        """See `ErpMetrics`."""
        self._coalesced.inc(lines)

    def breaker(self, state: BreakerState) -> None:
        """See `ErpMetrics`."""
        self._changes[state].inc()
        self._open.set(state is BreakerState.OPEN)

    def probed(self, *, answered: bool) -> None:
        """See `ErpMetrics`."""
        self._probes[answered].inc()

    def refused(self, reason: Refusal) -> None:
        """See `ErpMetrics`."""
        self._refused[reason].inc()

    def line(self, result: LineResult) -> None:
        """See `ErpMetrics`."""
        self._lines[result].inc()

    def compared(self, book_id: str, *, equal: bool) -> None:
        """See `ErpMetrics`."""
        with self._books_lock:
            if book_id not in self._books:
                name = book_id if len(self._books) < table.BOOKS_MAX else table.OTHER_BOOK
                self._books.setdefault(name, (self._compared.labels(name), self._mismatched.labels(name)))
                book_id = name
            checks, mismatches = self._books[book_id]
        checks.inc()
        if not equal:
            mismatches.inc()

"""The metrics of ERP calls for Prometheus, with labels bound once (see `service.rpc.metrics`)."""

import threading

from pricegrid.erp.observe import BreakerState, CallOutcome, LineResult, Turned
from pricegrid.erp.protocol import Refusal

BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
BOOKS_MAX = 1_000
"""Books with counters of their own; the others count as `(other)`, to bound the number of labels."""
OTHER = "(other)"


class PrometheusErpMetrics:
    """See `erp.observe.ErpMetrics`."""

    def __init__(self) -> None:
        from prometheus_client import Counter, Gauge, Histogram

        calls = Counter("pricegrid_erp_calls", "Calls of the ERP by outcome.", ("outcome",))
        turned = Counter("pricegrid_erp_turned_away", "Calls of the ERP that were not made.", ("why",))
        refused = Counter(
            "pricegrid_erp_refused_answers", "Answers of the ERP that were refused.", ("reason",)
        )
        lines = Counter("pricegrid_erp_lines", "Lines for the ERP, by result.", ("result",))
        probes = Counter("pricegrid_erp_probes", "Probes of an ERP that did not answer.", ("answered",))
        changes = Counter("pricegrid_erp_breaker_changes", "Changes of the circuit breaker.", ("state",))
        state = Gauge(
            "pricegrid_erp_breaker_open",
            "Processes whose circuit breaker is not closed.",
            multiprocess_mode="livesum",
        )
        self._seconds = Histogram(
            "pricegrid_erp_call_seconds", "Duration of a call of the ERP.", buckets=BUCKETS_S
        )
        self._retries = Counter("pricegrid_erp_retries", "Retried calls of the ERP.")
        self._coalesced = Counter(
            "pricegrid_erp_coalesced_lines", "Lines that shared the call of an equal question."
        )
        self._compared = Counter(
            "pricegrid_parity_checks", "Ordinary prices compared with the ERP's.", ("book_id",)
        )
        self._mismatched = Counter(
            "pricegrid_parity_mismatches", "Ordinary prices that differed from the ERP's.", ("book_id",)
        )
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
        self._open.set(state is not BreakerState.CLOSED)

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
                name = book_id if len(self._books) < BOOKS_MAX else OTHER
                self._books.setdefault(name, (self._compared.labels(name), self._mismatched.labels(name)))
                book_id = name
            checks, mismatches = self._books[book_id]
        checks.inc()
        if not equal:
            mismatches.inc()

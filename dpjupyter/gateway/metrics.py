"""What the owner's Prometheus sees. Only counts, times and balances: no SQL, no names of analysts.

Timings of the warehouse depend on data: ``/metrics`` is the owner's alone.
"""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


class Metrics:
    """Counters of one gateway, in a registry of their own so that several gateways fit in one process."""

    content_type = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(self, taken: Callable[[], int]) -> None:
        """``taken`` tells how many questions run or wait now."""
        self.registry = CollectorRegistry()
        self._requests = Counter("dpjupyter_requests_total", "Requests by route and status", ["route", "status"], registry=self.registry)
        self._verdicts = Counter("dpjupyter_questions_total", "Questions by verdict", ["verdict"], registry=self.registry)
        self._seconds = Histogram(
            "dpjupyter_question_seconds", "Question to reply, before the time grid", buckets=SECONDS, registry=self.registry
        )
        self._quotes = Counter("dpjupyter_quotes_total", "Prices computed", registry=self.registry)
        self._recovered = Counter("dpjupyter_recovered_rows_total", "Budget rows recovered by this process", registry=self.registry)
        self._reloads = Counter("dpjupyter_policy_reloads_total", "Reloads of the policy folder", ["outcome"], registry=self.registry)
        self._residual = Gauge("dpjupyter_residual_budget", "Residual budget", ["prefix", "db_name", "table_name"], registry=self.registry)
        busy = Gauge("dpjupyter_workers_taken", "Questions that run or wait", registry=self.registry)
        busy.set_function(taken)

    def request(self, route: str, status: int) -> None:
        """Count one HTTP reply."""
        self._requests.labels(route, str(status)).inc()

    def question(self, verdict: str, seconds: float) -> None:
        """Count one question and how long it took."""
        self._verdicts.labels(verdict).inc()
        self._seconds.observe(seconds)

    def quote(self) -> None:
        """Count one price; quotes are counted, not logged one by one."""
        self._quotes.inc()

    def recovered(self, rows: int) -> None:
        """Count budget rows brought back by a recovery."""
        self._recovered.inc(rows)

    def reload(self, outcome: str) -> None:
        """Count a reload: ``done`` or ``refused``."""
        self._reloads.labels(outcome).inc()

    def residual(self, prefix: str, db_name: str, table_name: str, epsilon: float) -> None:
        """Set a shared budget row's balance."""
        self._residual.labels(prefix, db_name, table_name).set(epsilon)

    def render(self) -> bytes:
        """The registry in Prometheus' text format."""
        return generate_latest(self.registry)

"""Figures for Prometheus: what was answered, and what the orders are doing. No label names an order, a device or a
person; their values are few and known beforehand.

What is open is counted when it is asked for; the rest only rises, per process.
"""

from __future__ import annotations

from collections import Counter as Tally
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from starlette.types import Scope

    from lastmetre.supplier.ports import Desk

BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
METHODS: Final = frozenset({"GET", "POST", "DELETE", "PUT", "PATCH", "HEAD", "OPTIONS"})


class Metrics:
    """One application's figures."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "lastmetre_api_requests", "Requests answered", ("method", "route", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "lastmetre_api_seconds", "Seconds until the answer ended", ("route",), buckets=BUCKETS,
            registry=self._registry,
        )  # fmt: skip
        self._open = Gauge(
            "lastmetre_orders_open", "Orders that have not ended", ("state", "service"), registry=self._registry
        )
        self._alarms = Gauge("lastmetre_orders_unknown", "Alarms: orders that may have run", registry=self._registry)
        self._oldest = Gauge(
            "lastmetre_orders_oldest_accepted_seconds", "When the oldest open order was accepted",
            registry=self._registry,
        )  # fmt: skip
        self._head = Gauge("lastmetre_audit_head", "Entries of the audit", registry=self._registry)

    def count(self, scope: Scope, status: int, seconds: float) -> None:
        """One answer. A path that is no route counts under one name: strangers make no labels."""
        route = getattr(scope.get("route"), "path", "none")
        method = scope["method"] if scope["method"] in METHODS else "other"
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    async def text(self, desk: Desk) -> bytes:
        """All of it, in Prometheus's words."""
        views = (await desk.at_work())["orders"]
        assert isinstance(views, list)
        self._open.clear()
        for (state, service), count in Tally((str(view["state"]), str(view["service"])) for view in views).items():
            self._open.labels(state, service).set(count)
        self._alarms.set(sum(view["state"] == "unknown" for view in views))
        self._oldest.set(min((int(view["accepted_at"]) for view in views), default=0))
        self._head.set(await desk.head())
        return generate_latest(self._registry)

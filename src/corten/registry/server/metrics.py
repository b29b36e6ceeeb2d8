"""What the registry tells Prometheus."""

from __future__ import annotations

import threading
from collections import Counter

from corten.prometheus import Histogram, Page
from corten.registry.server.parts import Parts

_BUCKETS_S = (0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0)


class Metrics:
    """Counts requests; the rest is read when it is asked for."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._bytes: Counter[str] = Counter()
        self._durations = Histogram(_BUCKETS_S)

    def observe(self, kind: str, method: str, status: int, size: int, seconds: float) -> None:
        """A request was answered: size in bytes of the body; seconds until its first byte."""
        if method not in ("GET", "HEAD", "PUT", "POST", "PATCH", "DELETE"):
            method = "other"  # clients must not make labels
        with self._lock:
            self._requests[kind, method, status] += 1
            if method == "GET":
                self._bytes[kind] += size
            self._durations.observe(seconds)

    def text(self) -> bytes:
        """Everything, in Prometheus' format."""
        page = Page()
        with self._lock:
            page.counters(
                "corten_registry_requests_total",
                "Requests answered",
                [
                    ({"kind": kind, "method": method, "status": status}, n)
                    for (kind, method, status), n in sorted(self._requests.items())
                ],
            )
            page.counters(
                "corten_registry_sent_bytes_total",
                "Bytes of bodies sent",
                [({"kind": kind}, n) for kind, n in sorted(self._bytes.items())],
            )
            page.histograms(
                "corten_registry_request_seconds",
                "Time until an answer's first byte",
                [({}, self._durations)],
            )
        for name, value in self._parts.store.catalogue.totals().items():
            page.gauge(f"corten_registry_{name}", f"The {name.replace('_', ' ')} in the store", value)
        if (upstreams := self._parts.upstreams) is not None:
            found = [({"result": "hit"}, upstreams.hits), ({"result": "miss"}, upstreams.misses)]
            page.counters("corten_registry_upstream_requests_total", "What mirrors were asked for", found)
        if (webhooks := self._parts.webhooks) is not None:
            told = [({"result": "sent"}, webhooks.sent), ({"result": "dropped"}, webhooks.dropped)]
            page.counters("corten_registry_events_total", "Events for webhooks", told)
        return page.text()

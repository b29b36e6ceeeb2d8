"""What the registry tells Prometheus. Source: the text exposition format 0.0.4."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter

from corten.registry.server.parts import Parts

_BUCKETS_S = (0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0)


class Metrics:
    """Counts requests; the rest is read when it is asked for."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._bytes: Counter[str] = Counter()
        self._durations = [0] * (len(_BUCKETS_S) + 1)
        self._seconds = 0.0

    def observe(self, kind: str, method: str, status: int, size: int, seconds: float) -> None:
        """A request was answered: size in bytes of the body; seconds until its first byte."""
        if method not in ("GET", "HEAD", "PUT", "POST", "PATCH", "DELETE"):
            method = "other"  # clients must not make labels
        with self._lock:
            self._requests[kind, method, status] += 1
            if method == "GET":
                self._bytes[kind] += size
            self._durations[bisect_left(_BUCKETS_S, seconds)] += 1
            self._seconds += seconds

    def text(self) -> bytes:
        """Everything, in Prometheus' format."""
        with self._lock:
            requests, sent = dict(self._requests), dict(self._bytes)
            durations, seconds = [*self._durations], self._seconds
        lines = ["# TYPE corten_registry_requests_total counter"]
        lines += [
            f'corten_registry_requests_total{{kind="{kind}",method="{method}",status="{status}"}} {n}'
            for (kind, method, status), n in sorted(requests.items())
        ]
        lines.append("# TYPE corten_registry_sent_bytes_total counter")
        lines += [
            f'corten_registry_sent_bytes_total{{kind="{kind}"}} {n}' for kind, n in sorted(sent.items())
        ]
        lines += _histogram(durations, seconds)
        for name, value in self._parts.store.catalogue.totals().items():
            lines += [f"# TYPE corten_registry_{name} gauge", f"corten_registry_{name} {value}"]
        if (upstreams := self._parts.upstreams) is not None:
            lines.append("# TYPE corten_registry_upstream_requests_total counter")
            lines.append(f'corten_registry_upstream_requests_total{{result="hit"}} {upstreams.hits}')
            lines.append(f'corten_registry_upstream_requests_total{{result="miss"}} {upstreams.misses}')
        if (webhooks := self._parts.webhooks) is not None:
            lines.append("# TYPE corten_registry_events_total counter")
            lines.append(f'corten_registry_events_total{{result="sent"}} {webhooks.sent}')
            lines.append(f'corten_registry_events_total{{result="dropped"}} {webhooks.dropped}')
        return ("\n".join(lines) + "\n").encode()


def _histogram(durations: list[int], seconds: float) -> list[str]:
    name = "corten_registry_request_seconds"
    lines, total = [f"# TYPE {name} histogram"], 0
    for bound, count in zip((*_BUCKETS_S, "+Inf"), durations, strict=True):
        total += count
        lines.append(f'{name}_bucket{{le="{bound}"}} {total}')
    return [*lines, f"{name}_sum {seconds:.6f}", f"{name}_count {total}"]

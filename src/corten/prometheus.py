"""Prometheus' text exposition format 0.0.4: counters, gauges and histograms as lines.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Prometheus' usual upper bounds, those of Docker's timers."""

Labels = Mapping[str, object]


class Histogram:
    """How long something took, in seconds. Observing allocates nothing; the caller sees to locks."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float] = SECONDS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds


class Page:
    """What one scrape reads, family by family."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def counter(self, name: str, help: str, value: float) -> None:
        """Something that only grows; the name ends with _total."""
        self.counters(name, help, [({}, value)])

    def counters(self, name: str, help: str, samples: Iterable[tuple[Labels, float]]) -> None:
        """The same with labels."""
        self._family(name, "counter", help, samples)

    def gauge(self, name: str, help: str, value: float) -> None:
        """Something that goes up and down."""
        self.gauges(name, help, [({}, value)])

    def gauges(self, name: str, help: str, samples: Iterable[tuple[Labels, float]]) -> None:
        """The same with labels."""
        self._family(name, "gauge", help, samples)

    def histograms(self, name: str, help: str, samples: Iterable[tuple[Labels, Histogram]]) -> None:
        """How long things took, by labels."""
        self._head(name, "histogram", help)
        for labels, histogram in samples:
            below = 0
            for bound, count in zip((*histogram.bounds, "+Inf"), histogram.counts, strict=True):
                below += count
                self._lines.append(f"{name}_bucket{_shown({**labels, 'le': bound})} {below}")
            self._lines.append(f"{name}_sum{_shown(labels)} {histogram.total:.6f}")
            self._lines.append(f"{name}_count{_shown(labels)} {below}")

    def text(self) -> bytes:
        """All of it."""
        return ("\n".join(self._lines) + "\n").encode()

    def _head(self, name: str, kind: str, help: str) -> None:
        self._lines += [f"# HELP {name} {help}", f"# TYPE {name} {kind}"]

    def _family(self, name: str, kind: str, help: str, samples: Iterable[tuple[Labels, float]]) -> None:
        self._head(name, kind, help)
        self._lines += [f"{name}{_shown(labels)} {value}" for labels, value in samples]


def _shown(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(str(value))}"' for name, value in labels.items()) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')

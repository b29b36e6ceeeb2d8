"""A build as OpenTelemetry spans, for `buildx history trace`: one of the build, below it one of each step.

They are made of what the history has kept when somebody asks for them, the same each time. The form is that
of BuildKit's history: spans as Go's SDK writes them in JSON (tracetest.SpanStub), one after the other.
Source: docker/buildx, util/otelutil/span.go; moby/buildkit, solver/llbsolver/history.go.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec

from corten import __version__
from corten.buildkit.proto.control_pb2 import BuildHistoryRecord, StatusResponse, Vertex
from corten.digest import digest_of, hex_of
from corten.units import format_time

Json: TypeAlias = "dict[str, Any]"

MEDIA_TYPE = "application/vnd.buildkit.otlp.json.v0"
_INTERNAL, _SERVER = 1, 2  # kinds of spans
_NOBODY = "0" * 16


class Spans:
    """The spans of one build; `take` all that it has told."""

    def __init__(self, record: BuildHistoryRecord) -> None:
        self._record = record
        self._trace = hex_of(digest_of(record.ref.encode()))[:32]
        self._steps: dict[str, Vertex] = {}

    def take(self, told: StatusResponse) -> None:
        """Part of what the build has told; of a step the last that was said counts."""
        self._steps.update((vertex.digest, vertex) for vertex in told.vertexes)

    def encoded(self) -> bytes:
        """All spans."""
        record = self._record
        done = [step for step in self._steps.values() if step.HasField("completed")]
        root = self._span(
            "moby.buildkit.v1.Control/Solve",
            "",
            (record.created_at.ToNanoseconds(), record.completed_at.ToNanoseconds()),
            record.error.message,
            {"ref": record.ref, "frontend": record.frontend},
        )
        spans = [root | {"SpanKind": _SERVER, "ChildSpanCount": len(done)}]
        for step in done:
            times = (step.started.ToNanoseconds(), step.completed.ToNanoseconds())
            about: dict[str, str | bool] = {"vertex": step.digest, "cached": step.cached}
            spans.append(self._span(step.name, step.digest, times, step.error, about))
        return b"\n".join(map(msgspec.json.encode, spans))

    def _span(
        self, name: str, digest: str, times: tuple[int, int], error: str, about: Mapping[str, str | bool]
    ) -> Json:
        """`digest`: of the step, "" = the build. `times`: beginning and end in ns since 1970."""
        return {
            "Name": name,
            "SpanContext": self._context(self._identifier(digest)),
            "Parent": self._context(self._identifier("")) if digest else _context(_NOBODY * 2, _NOBODY),
            "SpanKind": _INTERNAL,
            "StartTime": format_time(times[0]),
            "EndTime": format_time(times[1]),
            "Attributes": [_attribute(key, value) for key, value in about.items()],
            "Events": None,
            "Links": None,
            "Status": {"Code": "Error" if error else "Unset", "Description": error},
            "DroppedAttributes": 0,
            "DroppedEvents": 0,
            "DroppedLinks": 0,
            "ChildSpanCount": 0,
            "Resource": [_attribute("service.name", "corten"), _attribute("service.version", __version__)],
            "InstrumentationLibrary": {"Name": "corten", "Version": __version__, "SchemaURL": ""},
        }

    def _identifier(self, digest: str) -> str:
        return hex_of(digest_of(f"{self._record.ref} {digest}".encode()))[:16]

    def _context(self, span: str) -> Json:
        return _context(self._trace, span)


def _context(trace: str, span: str) -> Json:
    return {"TraceID": trace, "SpanID": span, "TraceFlags": "01", "TraceState": "", "Remote": False}


def _attribute(key: str, value: str | bool) -> Json:
    kind = "BOOL" if isinstance(value, bool) else "STRING"
    return {"Key": key, "Value": {"Type": kind, "Value": value}}

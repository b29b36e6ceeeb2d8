"""What we tell clients that we can do: they adapt to it, so only what works is named.

Source: moby/buildkit, frontend/gateway/pb/caps.go and solver/pb/caps.go.
"""

from __future__ import annotations

from corten.buildkit.proto.gateway_pb2 import APICap

_FRONTEND = (
    "solve.base",
    "solve.inlinereturn",
    "return",
    "returnmap",
    "proto.refarray",
    "reference.output",
    "gateway.solve.metadata",
    "gateway.evaluate",
    "gateway.solve.evaluate",
    "gateway.warnings",
    "frontend.caps",
    "frontend.inputs",
)
_LLB = (
    "constraints",
    "platform",
    "meta.ignorecache",
    "meta.description",
    "exporter.sourcedateepoch",
)


def frontend_capabilities() -> list[APICap]:
    """Of the bridge."""
    return [APICap(id=name, enabled=True) for name in _FRONTEND]


def llb_capabilities() -> list[APICap]:
    """Of the graphs that are solved, and of the exporters."""
    return [APICap(id=name, enabled=True) for name in _LLB]

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
# buildx drops these kinds of caches in silence unless they are named. That is worse than our refusing them.
_REFUSED = ("cache.gha", "cache.s3", "cache.azblob")
_LLB = (
    *_REFUSED,
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

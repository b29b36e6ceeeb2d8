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
    "gateway.exec",
    "gateway.exec.extrahosts",
    "gateway.exec.filesystem",
    "gateway.exec.secretenv",
    "gateway.exec.signals",
    "frontend.caps",
    "frontend.inputs",
    "resolveimage",
    "resolveimage.resolvemode",
    "source.metaresolver",
    "readfile",
    "readdir",
    "statfile",
    "importcaches",
)
# buildx drops these kinds of caches in silence unless they are named. That is worse than our refusing them.
_REFUSED = ("cache.gha", "cache.s3", "cache.azblob")
_LLB = (
    *_REFUSED,
    "source.image",
    "source.image.resolvemode",
    "source.image.layerlimit",
    "source.local",
    "source.local.unique",
    "source.local.sessionid",
    "source.local.includepatterns",
    "source.local.followpaths",
    "source.local.excludepatterns",
    "source.local.sharedkeyhint",
    "source.local.differ",
    "source.git",
    "source.git.keepgitdir",
    "source.git.fullurl",
    "source.git.httpauth",
    "source.git.subdir",
    "source.git.checksum",
    "source.git.skipsubmodules",
    "source.http",
    "source.http.checksum",
    "source.ocilayout",
    "source.buildop.llbfilename",
    "exec.meta.base",
    "exec.meta.network",
    "exec.meta.proxyenv",
    "exec.meta.security",
    "exec.meta.setsdefaultpath",
    "exec.meta.cdi",
    "exec.mount.bind",
    "exec.mount.bind.readwrite-nooutput",
    "exec.mount.cache",
    "exec.mount.cache.sharing",
    "exec.mount.selector",
    "exec.mount.tmpfs",
    "exec.mount.tmpfs.size",
    "exec.mount.secret",
    "exec.mount.ssh",
    "exec.secretenv",
    "exec.validexitcode",
    "file.base",
    "file.rm.wildcard",
    "file.rm.nofollowsymlink",
    "file.copy.includeexcludepatterns",
    "file.copy.modestring",
    "file.symlink.create",
    "mergeop",
    "diffop",
    "constraints",
    "platform",
    "meta.ignorecache",
    "meta.description",
    "exporter.image.attestations",
    "exporter.image.annotations",
    "exporter.sourcedateepoch",
    "exporter.multiple",
    "gc.freespacefilter",
    "history.filter",
)


def frontend_capabilities() -> list[APICap]:
    """Of the bridge."""
    return [APICap(id=name, enabled=True) for name in _FRONTEND]


def llb_capabilities() -> list[APICap]:
    """Of the graphs that are solved, and of the exporters."""
    return [APICap(id=name, enabled=True) for name in _LLB]

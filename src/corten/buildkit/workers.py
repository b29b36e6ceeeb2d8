"""The one worker that we are, as clients see it."""

from __future__ import annotations

from corten import __version__
from corten.buildkit.proto.control_pb2 import BuildkitVersion, WorkerRecord
from corten.buildkit.proto.llb_pb2 import Platform
from corten.platforms import host_platform


def buildkit_version() -> BuildkitVersion:
    """What Info answers: who we are, and which BuildKit we are as good as."""
    return BuildkitVersion(
        package="github.com/moby/buildkit", version="v0.13.1", revision=f"corten-{__version__}"
    )


def worker(identifier: str, host_gateway: str = "") -> WorkerRecord:
    """The worker. `host_gateway`: what "host-gateway" stands for: buildx fills it in itself; or ""."""
    labels = {
        "org.mobyproject.buildkit.worker.executor": "corten",
        # What makes clients offer archives, several platforms and pushing by us.
        "org.mobyproject.buildkit.worker.snapshotter": "overlay",
    }
    if host_gateway:
        labels["org.mobyproject.buildkit.worker.moby.host-gateway-ip"] = host_gateway
    platform = host_platform()
    return WorkerRecord(
        id=identifier,
        labels=labels,
        platforms=[Platform(architecture=platform.architecture, os=platform.os, variant=platform.variant)],
        version=buildkit_version(),
    )

"""The one worker that we are, as clients see it."""

from __future__ import annotations

import time
from collections.abc import Sequence

from corten import __version__
from corten.builder.keeping import KeepRule
from corten.builder.pruning import AGES, unused_since
from corten.buildkit.proto.control_pb2 import BuildkitVersion, GCPolicy, WorkerRecord
from corten.buildkit.proto.llb_pb2 import Platform
from corten.platforms import host_platform
from corten.units import SECOND_NS


def buildkit_version() -> BuildkitVersion:
    """What Info answers: who we are, and which BuildKit we are as good as."""
    return BuildkitVersion(
        package="github.com/moby/buildkit", version="v0.13.1", revision=f"corten-{__version__}"
    )


def worker(identifier: str, host_gateway: str = "", keep_rules: Sequence[KeepRule] = ()) -> WorkerRecord:
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
        gc_policy=map(_gc_policy, keep_rules),
        version=buildkit_version(),
    )


def _gc_policy(rule: KeepRule) -> GCPolicy:
    unused = unused_since(rule.filters)
    return GCPolicy(
        all=rule.all,
        keep_duration=0 if unused is None else round((time.time_ns() - unused) / SECOND_NS) * SECOND_NS,
        filters=[
            f"{name}=={value}" for name in rule.filters if name not in AGES for value in rule.filters[name]
        ],
        reserved_space=rule.space.reserved,
        max_used_space=rule.space.max_used,
        min_free_space=rule.space.min_free,
    )

"""`corten system prune` and the prunes of containers, images and volumes."""

from __future__ import annotations

import sys

from corten.cli import filters, sizes
from corten.cli.command import Command
from corten.cli.context import Context, out
from corten.cli.errors import ExitError
from corten.cli.flags import Flag, Options
from corten.client.errors import APIError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SURE = "Are you sure you want to continue? [y/N] "
_NOT_SERVED = (404, 501)


def prune_containers(context: Context, options: Options, _: list[str]) -> int:
    """Remove all stopped containers."""
    if _confirmed(options, "WARNING! This will remove all stopped containers.\n"):
        out(f"{_containers(context, options)}")
    return 0


def prune_images(context: Context, options: Options, _: list[str]) -> int:
    """Remove dangling images, or with -a all that no container uses."""
    what = (
        "images without at least one container associated to them" if options.on("all") else "dangling images"
    )
    if _confirmed(options, f"WARNING! This will remove all {what}.\n"):
        report, freed = _images(context, options)
        out(report + _total(freed))
    return 0


def prune_volumes(context: Context, options: Options, _: list[str]) -> int:
    """Remove anonymous volumes that no container has, or with -a all of them."""
    more: dict[str, list[str]] = {}
    what = "anonymous local volumes"
    if options.on("all"):
        for item in options.items("filter"):
            if item.partition("=")[0] == "all":
                raise ExitError(f"conflicting options: cannot specify both --all and --filter {item}")
        more["all"], what = ["true"], "local volumes"
    if _confirmed(options, f"WARNING! This will remove {what} not used by at least one container.\n"):
        answer = context.engine.post("/volumes/prune", filters=filters.encode(options, more))
        out(_listed("Deleted Volumes:", answer.get("VolumesDeleted")))
        out(_total(int(answer.get("SpaceReclaimed", 0))))
    return 0


def prune_networks(context: Context, options: Options, _: list[str]) -> int:
    """Remove networks that no running container is on."""
    warning = "WARNING! This will remove all custom networks not used by at least one container.\n"
    if _confirmed(options, warning):
        out(_networks_report(context, options)[0])
    return 0


def prune_system(context: Context, options: Options, _: list[str]) -> int:
    """Remove stopped containers, unused networks, images and build cache."""
    kinds = ["all stopped containers", "all networks not used by at least one container"]
    if options.on("volumes"):
        kinds.append("all anonymous volumes not used by at least one container")
    unused = "all images without at least one container associated to them"
    kinds.append(unused if options.on("all") else "all dangling images")
    kinds.append("all build cache" if options.on("all") else "unused build cache")
    listed = "".join(f"  - {kind}\n" for kind in kinds)
    warning = f"WARNING! This will remove:\n{listed}"
    items = options.items("filter")
    if options.on("volumes") and any(item.partition("=")[0] == "until" for item in items):
        raise ExitError('ERROR: The "until" filter is not supported with "--volumes"')
    if items:
        warning += "\n  Items to be pruned will be filtered with:\n" + "".join(f"  - {i}\n" for i in items)
    if not _confirmed(options, warning + "\n"):
        return 0
    freed = 0
    for part in (_containers_report, _networks_report, _volumes_report, _images, _cache_report):
        report, size = part(context, options)
        out(report)
        freed += size
    out(_total(freed).lstrip("\n"))
    return 0


def _confirmed(options: Options, warning: str) -> bool:
    if options.on("force"):
        return True
    out(warning + _SURE)
    return sys.stdin.readline().strip().lower() == "y"


def _total(freed: int) -> str:
    return f"Total reclaimed space: {sizes.decimal(freed)}\n"


def _containers(context: Context, options: Options) -> str:
    report, freed = _containers_report(context, options)
    return report + _total(freed)


def _containers_report(context: Context, options: Options) -> tuple[str, int]:
    answer = context.engine.post("/containers/prune", filters=filters.encode(options))
    return _listed("Deleted Containers:", answer.get("ContainersDeleted")), int(
        answer.get("SpaceReclaimed", 0)
    )


def _networks_report(context: Context, options: Options) -> tuple[str, int]:
    answer = _if_served(context, "/networks/prune", options)
    return _listed("Deleted Networks:", answer.get("NetworksDeleted")), 0


def _volumes_report(context: Context, options: Options) -> tuple[str, int]:
    if not options.on("volumes"):
        return "", 0
    answer = _if_served(context, "/volumes/prune", options)
    return _listed("Deleted Volumes:", answer.get("VolumesDeleted")), int(answer.get("SpaceReclaimed", 0))


def _cache_report(context: Context, options: Options) -> tuple[str, int]:
    answer = _if_served(context, "/build/prune", options)
    return _listed("Deleted build cache objects:", answer.get("CachesDeleted")), int(
        answer.get("SpaceReclaimed", 0)
    )


def _if_served(context: Context, path: str, options: Options) -> dict[str, Any]:
    """An engine that has no such things yet has nothing of them to prune."""
    try:
        answer: dict[str, Any] = context.engine.post(path, filters=filters.encode(options)) or {}
    except APIError as e:
        if e.status in _NOT_SERVED:
            return {}
        raise
    return answer


def _images(context: Context, options: Options) -> tuple[str, int]:
    chosen = filters.encode(options, {"dangling": ["false" if options.on("all") else "true"]})
    answer = context.engine.post("/images/prune", filters=chosen)
    lines = []
    for item in answer.get("ImagesDeleted") or ():
        if item.get("Untagged"):
            lines.append(f"untagged: {item['Untagged']}")
        else:
            lines.append(f"deleted: {item['Deleted']}")
    return _listed("Deleted Images:", lines), int(answer.get("SpaceReclaimed", 0))


def _listed(title: str, names: list[str] | None) -> str:
    return "\n".join([title, *names, "", ""]) if names else ""


_FILTER = Flag("filter", "filter", 'Provide filter values (e.g. "until=<timestamp>")')
_FORCE = Flag("force", "bool", "Do not prompt for confirmation", "f")

PRUNE_CONTAINERS = Command("[OPTIONS]", prune_containers, (_FILTER, _FORCE))
PRUNE_IMAGES = Command(
    "[OPTIONS]",
    prune_images,
    (Flag("all", "bool", "Remove all unused images, not just dangling ones", "a"), _FILTER, _FORCE),
)
PRUNE_VOLUMES = Command(
    "[OPTIONS]",
    prune_volumes,
    (
        Flag("all", "bool", "Remove all unused volumes, not just anonymous ones", "a"),
        Flag("filter", "filter", 'Provide filter values (e.g. "label=<label>")'),
        _FORCE,
    ),
)
PRUNE_NETWORKS = Command("[OPTIONS]", prune_networks, (_FILTER, _FORCE))
PRUNE_SYSTEM = Command(
    "[OPTIONS]",
    prune_system,
    (
        Flag("all", "bool", "Remove all unused images not just dangling ones", "a"),
        _FILTER,
        _FORCE,
        Flag("volumes", "bool", "Prune anonymous volumes"),
    ),
)

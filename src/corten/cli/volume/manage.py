"""`corten volume create`, `rm` and `update`."""

from __future__ import annotations

from corten.cli.command import UNLIMITED, Command
from corten.cli.context import Context, out
from corten.cli.each import for_each
from corten.cli.errors import ExitError
from corten.cli.flags import Flag, Options
from corten.client.query import quote


def create(context: Context, options: Options, names: list[str]) -> int:
    """Make a volume and print its name."""
    name = options["name"]
    if names:
        if name:
            twice = "cannot specify a volume-name through both --name and as a positional arg"
            raise ExitError(f"conflicting options: {twice}")
        name = names[0]
    body = {
        "Driver": options["driver"],
        "DriverOpts": _pairs(options.items("opt")),
        "Labels": _pairs(options.items("label")),
        "Name": name,
    }
    out(f"{context.engine.post('/volumes/create', body=body)['Name']}\n")
    return 0


def _pairs(items: list[str]) -> dict[str, str]:
    return dict(item.partition("=")[::2] for item in items)


def remove(context: Context, options: Options, names: list[str]) -> int:
    """Remove volumes; with -f those that are not there are no error."""
    force = 1 if options.on("force") else None
    return for_each(names, lambda name: context.engine.delete(f"/volumes/{quote(name)}", force=force))


def update(context: Context, options: Options, names: list[str]) -> int:
    """Give a volume another size (ours), or change a cluster volume."""
    path = f"/volumes/{quote(names[0] if names else '')}"
    if options["size"]:
        context.engine.put(path, body={"DriverOpts": {"size": options["size"]}})
        return 0
    cluster = context.engine.get(path).get("ClusterVolume")
    if cluster is None:
        raise ExitError("can only update cluster volumes")
    version = cluster.get("Version", {}).get("Index", 0)
    body = {"Spec": {**cluster.get("Spec", {}), "Availability": options["availability"]}}
    context.engine.put(path, version=version, body=body)
    return 0


CREATE = Command(
    "[OPTIONS] [VOLUME]",
    create,
    (
        Flag("driver", "string", "Specify volume driver name", "d", default="local"),
        Flag("label", "list", "Set metadata for a volume"),
        Flag("name", "string", "Specify volume name", hidden=True),
        Flag("opt", "map", "Set driver specific options", "o", show_default="map[]"),
    ),
    most=1,
)
REMOVE = Command(
    "[OPTIONS] VOLUME [VOLUME...]",
    remove,
    (Flag("force", "bool", "Force the removal of one or more volumes", "f"),),
    least=1,
    most=UNLIMITED,
    note="A volume that a container has, running or not, is not removed.",
)
UPDATE = Command(
    "[OPTIONS] [VOLUME]",
    update,
    (
        Flag(
            "availability",
            "string",
            'Cluster Volume availability ("active", "pause", "drain")',
            default="active",
        ),
        Flag("size", "string", "Another size for a volume that was made with one"),
    ),
    most=1,
)

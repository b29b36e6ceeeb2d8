"""`corten rmi` and `corten tag`."""

from __future__ import annotations

from corten.cli import reference
from corten.cli.command import UNLIMITED, Command
from corten.cli.context import Context, err, out
from corten.cli.flags import Flag, Options
from corten.client.errors import APIError
from corten.client.query import quote


def remove(context: Context, options: Options, names: list[str]) -> int:
    """Remove names and, when nothing else holds them, images."""
    fields: dict[str, object] = {"force": 1 if options.on("force") else None}
    fields["noprune"] = 1 if options.on("no-prune") else None
    if platforms := options.items("platform"):
        from corten.cli.image.platform import encode

        fields["platforms"] = [encode(platform) for platform in platforms]
    failures = []
    only_missing = True
    for name in names:
        try:
            answer = context.engine.delete(f"/images/{quote(name, b'/:@')}", **fields)
        except APIError as e:
            only_missing = only_missing and e.status == 404
            failures.append(str(e))
            continue
        for line in answer or ():
            if "Deleted" in line:
                out(f"Deleted: {line['Deleted']}\n")
            else:
                out(f"Untagged: {line['Untagged']}\n")
    if failures:
        err("\n".join(failures) + "\n")
    return 1 if failures and not (only_missing and options.on("force")) else 0


def tag(context: Context, _: Options, names: list[str]) -> int:
    """Give an image another name."""
    source, target = names
    repository, label, _digest = reference.split(target)
    context.engine.post(f"/images/{quote(source, b'/:@')}/tag", repo=repository, tag=label or "latest")
    return 0


REMOVE = Command(
    "[OPTIONS] IMAGE [IMAGE...]",
    remove,
    (
        Flag("force", "bool", "Force removal of the image", "f"),
        Flag("no-prune", "bool", "Do not delete untagged parents"),
        Flag("platform", "strings", 'Remove only the given platform variant ("os[/arch[/variant]]")'),
    ),
    least=1,
    most=UNLIMITED,
)
TAG = Command("SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]", tag, least=2, most=2)

"""Making a container: the body, the pull of an image that is missing, the files that keep its id."""

from __future__ import annotations

import os

from corten.cli import reference
from corten.cli.command import UNLIMITED, Command
from corten.cli.container.flags import CREATE_FLAGS
from corten.cli.container.spec import create_body
from corten.cli.context import Context, err, out
from corten.cli.errors import ExitError, HintedError
from corten.cli.flags import Options
from corten.client.errors import APIError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PULLS = ("always", "missing", "never", "")


def create(context: Context, options: Options, arguments: list[str]) -> int:
    """Create a container and print its id."""
    body = create_body(options, arguments[0], arguments[1:])
    out(make(context, options, body) + "\n")
    return 0


def make(context: Context, options: Options, body: dict[str, Any]) -> str:
    """Create the container that `body` describes, pulling its image if asked or needed; give its id."""
    policy = options["pull"]
    if policy not in _PULLS:
        known = '"always", "missing" or "never"'
        raise HintedError(f"invalid pull option: '{policy}': must be one of {known}")
    cidfile = _CidFile(options["cidfile"])
    if policy == "always":
        _pull(context, options, body["Image"])
    if options["platform"]:
        from corten.cli.image import platform

        platform.check(options["platform"])
    fields: dict[str, object] = {"name": options["name"] or None, "platform": options["platform"] or None}
    try:
        answer = context.engine.post("/containers/create", body, **fields)
    except APIError as e:
        if e.status != 404 or policy not in ("missing", "") or reference.is_id(body["Image"]):
            raise
        if not options.on("quiet"):
            err(f"Unable to find image '{reference.familiar(body['Image'])}' locally\n")
        _pull(context, options, body["Image"])
        answer = context.engine.post("/containers/create", body, **fields)
    for warning in answer.get("Warnings") or ():
        err(f"WARNING: {warning}\n")
    container = str(answer["Id"])
    cidfile.write(container)
    return container


def _pull(context: Context, options: Options, image: str) -> None:
    from corten.cli.image.pull import fetch

    fetch(context, image, options["platform"], fd=2, quiet=options.on("quiet"))


class _CidFile:
    """The file of `--cidfile`: must not exist before, gets the id when there is one."""

    def __init__(self, path: str) -> None:
        self._path = path
        if path and os.path.exists(path):
            raise ExitError(
                f"container ID file found, make sure the other container isn't running or delete {path}"
            )

    def write(self, container: str) -> None:
        if not self._path:
            return
        try:
            with open(self._path, "x", encoding="ascii") as f:
                f.write(container)
        except OSError as e:
            problem = f"open {self._path}: {(e.strerror or '').lower()}"
            raise ExitError(f"failed to create the container ID file: {problem}") from e


CREATE = Command(
    "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    create,
    CREATE_FLAGS,
    least=1,
    most=UNLIMITED,
    interspersed=False,
)

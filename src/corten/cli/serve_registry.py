"""`corten registry serve`: this process becomes `corten-registry`, in an interpreter that sees packages."""

from __future__ import annotations

import os
import sys

from corten.cli.command import UNLIMITED, Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.context import Context
    from corten.cli.flags import Options

_COMMAND = (
    "-P",
    "-c",
    "import sys; sys.argv[0] = 'corten-registry';"
    " from corten.registry.server.main import main; sys.exit(main())",
)


def become_registry(_: Context, __: Options, arguments: list[str]) -> int:
    """Replace this process by `corten-registry ARGUMENTS`, whose own parser judges them."""
    os.execv(sys.executable, [sys.executable, *_COMMAND, *arguments])


SERVE = Command("[OPTIONS]", become_registry, most=UNLIMITED, verbatim=True)

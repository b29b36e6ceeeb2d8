"""`corten daemon`: this process becomes the engine, in an interpreter that sees installed packages."""

from __future__ import annotations

import os
import sys

from corten.cli.autostart import ENGINE_COMMAND
from corten.cli.command import UNLIMITED, Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.cli.context import Context
    from corten.cli.flags import Options


def become_engine(_: Context, __: Options, arguments: list[str]) -> int:
    """Replace this process by `cortend ARGUMENTS`, whose own parser judges them."""
    os.execv(sys.executable, [sys.executable, *ENGINE_COMMAND, *arguments])


DAEMON = Command("[OPTIONS]", become_engine, most=UNLIMITED, verbatim=True)

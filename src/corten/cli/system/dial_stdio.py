"""`corten system dial-stdio`: our stdin and stdout become a connection to the engine (what ssh:// runs)."""

from __future__ import annotations

import os
from _thread import start_new_thread

from corten.cli.command import Command
from corten.cli.context import Context, write_all
from corten.cli.flags import Options
from corten.client import transport

_READ_BYTES = 64 << 10


def dial(context: Context, options: Options, _: list[str]) -> int:
    """Copy both ways until the engine has ended its side; the end of our stdin is told to it."""
    link = transport.connect(context.place)

    def send() -> None:
        try:
            while data := os.read(0, _READ_BYTES):
                link.sendall(data)
        except OSError:
            pass  # the other direction tells
        link.close_write()

    start_new_thread(send, ())
    while data := link.recv():
        write_all(1, data)
    link.close()
    return 0


DIAL_STDIO = Command("", dial)

"""Relaying our own terminal to a container's, for `run` and `exec` in the foreground."""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import tty as modes

from corten.linux import tty


def relay(master: int) -> None:
    """Copy between our stdio and `master` until the other side is closed; restores our terminal."""
    saved = termios.tcgetattr(0) if os.isatty(0) else None
    if saved is not None:
        modes.setraw(0)
        signal.signal(signal.SIGWINCH, lambda *_: _resize(master))
        _resize(master)
    poller = select.poll()
    poller.register(master, select.POLLIN)
    poller.register(0, select.POLLIN)
    try:
        while True:
            for fd, _ in poller.poll():
                try:
                    data = os.read(fd, 65536)
                except OSError:
                    data = b""
                if not data and fd == master:
                    return
                if not data:
                    poller.unregister(0)
                elif fd == master:
                    os.write(1, data)
                else:
                    os.write(master, data)
    finally:
        if saved is not None:
            termios.tcsetattr(0, termios.TCSADRAIN, saved)
        sys.stdout.flush()


def _resize(master: int) -> None:
    rows, columns = tty.get_size(0)
    tty.set_size(master, rows, columns)

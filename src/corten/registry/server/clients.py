"""Clients served by one thread, each until it has to wait: for its next request, or for room for more bytes.

Who has to wait for something else, gets a thread of its own for the time.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from functools import partial

from corten.registry.server.connection import Connection, Wait
from corten.supervisor.loop import READ, WRITE, Loop

log = logging.getLogger(__name__)

_SWEEP_S = 2.0  # between two looks for clients whose time is over


class Clients:
    """Connections given to `add`; each is closed in the end, and told to `over` then, in any thread."""

    def __init__(self, over: Callable[[Connection], None]) -> None:
        self._over = over
        self._waiting: dict[Connection, Wait] = {}
        self._loop = Loop(lambda e: log.error("unexpected error", exc_info=e))
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._loop.watch(self._wake, self._end)
        self._thread = threading.Thread(target=self._run, name="clients", daemon=True)
        self._thread.start()

    def add(self, connection: Connection) -> None:
        """Serve a connection. Any thread."""
        self._waiting[connection] = Wait.READ
        try:
            self._loop.watch(connection.number, partial(self._proceed, connection), READ)
        except OSError as e:  # this client has to come again; whoever has brought it goes on
            log.warning("cannot wait for a connection", extra={"errno": e.errno})
            del self._waiting[connection]
            self._close(connection)

    def close(self) -> None:
        """End the thread, when all connections are over."""
        os.eventfd_write(self._wake, 1)
        self._thread.join(1)
        os.close(self._wake)

    # -- in the loop ----------------------------------------------------------------------------

    def _run(self) -> None:
        self._sweep()
        self._loop.run()

    def _end(self) -> None:
        self._loop.running = False

    def _proceed(self, connection: Connection) -> None:
        wait = connection.proceed()
        if wait is self._waiting[connection]:
            return
        if wait is Wait.READ or wait is Wait.WRITE:
            self._waiting[connection] = wait
            self._loop.change(connection.number, READ if wait is Wait.READ else WRITE)
            return
        self._forget(connection)
        if wait is not Wait.THREAD or not self._in_thread(connection):
            self._close(connection)

    def _forget(self, connection: Connection) -> None:
        del self._waiting[connection]
        self._loop.forget(connection.number)

    def _close(self, connection: Connection) -> None:
        connection.close()
        self._over(connection)

    def _sweep(self) -> None:
        now = time.monotonic()
        for connection in [*self._waiting]:
            if connection.deadline < now:
                self._forget(connection)
                self._close(connection)
        self._loop.after(_SWEEP_S, self._sweep)

    # -- in threads -----------------------------------------------------------------------------

    def _in_thread(self, connection: Connection) -> bool:
        """False: there is no room for another thread; this client has to come again."""
        try:
            threading.Thread(target=self._proceed_blocking, args=(connection,), daemon=True).start()
        except RuntimeError:
            log.warning("cannot start a thread for a connection")
            return False
        return True

    def _proceed_blocking(self, connection: Connection) -> None:
        if connection.proceed() is Wait.LOOP:
            self.add(connection)
        else:  # READ and WRITE mean that the kernel has given up waiting
            self._close(connection)

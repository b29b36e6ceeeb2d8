"""Sockets of another network namespace, for a process that must not enter it itself."""

from __future__ import annotations

import os
import socket
import threading

from corten.linux.namespaces import CLONE_NEWNET, open_namespace, setns


def open_socket(pid: int, family: int, kind: int) -> socket.socket:
    """A non-blocking socket made in the network namespace of a process. Raises OSError.

    setns(2) is a thread's own affair: a thread enters, makes the socket, and ends.
    """
    made: list[socket.socket] = []
    failed: list[OSError] = []
    namespace = open_namespace(pid, "net")

    def make() -> None:
        try:
            setns(namespace, CLONE_NEWNET)
            made.append(socket.socket(family, kind | socket.SOCK_NONBLOCK))
        except OSError as e:
            failed.append(e)

    try:
        thread = threading.Thread(target=make, name="foreign-socket")
        thread.start()
        thread.join()
    finally:
        os.close(namespace)
    if failed:
        raise failed[0]
    return made[0]

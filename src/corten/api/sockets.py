"""Listening unix sockets, and settings of accepted TCP ones."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import socket
import stat
import struct
import termios

BACKLOG = 1024
"""Connections that may wait to be accepted."""
_KEEPALIVE_S = 30


def keep_alive(sock: socket.socket) -> None:
    """Let the kernel find out that a silent TCP client has gone."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)


def unread_bytes(sock: socket.socket) -> int:
    """About how much the peer of a unix socket has not yet read (unix(7), SIOCOUTQ); 0 for other sockets."""
    if sock.family != socket.AF_UNIX:
        return 0
    (count,) = struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0\0\0\0"))
    return int(count)


def bind_unix(path: str, *, mode: int, gid: int | None) -> socket.socket:
    """A bound unix socket; one left behind by a dead engine is replaced.

    It never exists with more permissions than asked for. Raises OSError.
    """
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        previous = os.umask(0o177)
        try:
            sock.bind(path)
        finally:
            os.umask(previous)
        if gid is not None:
            os.chown(path, -1, gid)
        os.chmod(path, mode)
    except BaseException:
        sock.close()
        raise
    return sock


async def bind_tcp(host: str, port: int) -> list[socket.socket]:
    """Bound sockets of those addresses of a host that this machine has ("" = every one). Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    sockets: list[socket.socket] = []
    absent = OSError(errno.EADDRNOTAVAIL, "no address to listen on", host)
    try:
        for family, _, _, _, address in dict.fromkeys(found):
            try:
                sockets.append(socket.create_server(address, family=family, backlog=BACKLOG))
            except OSError as error:
                if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):  # of IPv6, switched off
                    raise
                absent = error
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    if not sockets:
        raise absent
    return sockets


def unlink_own(path: str, inode: int) -> None:
    """Remove a socket's name unless it is another engine's by now."""
    try:
        if os.lstat(path).st_ino == inode:
            os.unlink(path)
    except OSError:  # removed already, or a file system that has gone
        pass


def _remove_stale(path: str) -> None:
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise FileExistsError(errno.EEXIST, "is not a socket", path)
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
    raise OSError(errno.EADDRINUSE, "another engine is listening", path)

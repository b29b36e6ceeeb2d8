"""Messages with file descriptors over SOCK_SEQPACKET unix sockets: unix(7), SCM_RIGHTS.

A message is one JSON object. It travels in the packet if it fits, otherwise in a sealed-size memfd
whose descriptor goes first (packets are bounded by the socket's send buffer, about 200 kB).
"""

from __future__ import annotations

import array
import os
import socket

_IN_PACKET = 96 * 1024
MAX_FDS = 64
_BY_MEMFD = b"\0memfd"
MAX_MESSAGE = 16 << 20


def send(sock: socket.socket, data: bytes, fds: list[int] | tuple[int, ...] = ()) -> None:
    """Send one message with descriptors (which stay the caller's to close). Blocks as the socket does."""
    if len(data) <= _IN_PACKET:
        _send_packet(sock, data, fds)
        return
    memfd = os.memfd_create("corten-message", os.MFD_CLOEXEC)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(memfd, view) :]
        _send_packet(sock, _BY_MEMFD, (memfd, *fds))
    finally:
        os.close(memfd)


def _send_packet(sock: socket.socket, data: bytes, fds: list[int] | tuple[int, ...]) -> None:
    if fds:
        sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))])
    else:
        sock.send(data)


def receive(sock: socket.socket) -> tuple[bytes, list[int]]:
    """One message and its descriptors (close-on-exec, now the caller's). (b"", []) is end of file."""
    data, ancillary, flags, _ = sock.recvmsg(
        _IN_PACKET + 1, socket.CMSG_SPACE((MAX_FDS + 1) * 4), socket.MSG_CMSG_CLOEXEC
    )
    fds: list[int] = []
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            received = array.array("i")
            received.frombytes(payload[: len(payload) - len(payload) % 4])
            fds.extend(received)
    if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
        for fd in fds:
            os.close(fd)
        raise OSError(90, "message or descriptors truncated", "recvmsg")  # EMSGSIZE
    if data == _BY_MEMFD and fds:
        memfd = fds.pop(0)
        try:
            size = os.fstat(memfd).st_size
            if size > MAX_MESSAGE:
                raise OSError(90, "message too long", "memfd")
            data = os.pread(memfd, size, 0)
        finally:
            os.close(memfd)
    return data, fds


def listen(path: str, backlog: int = 64) -> socket.socket:
    """A listening SOCK_SEQPACKET socket at `path`, mode 0600, replacing a stale one."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    old = os.umask(0o177)
    try:
        sock.bind(path)
    finally:
        os.umask(old)
    sock.listen(backlog)
    return sock


def connect(path: str) -> socket.socket:
    """Connect to a SOCK_SEQPACKET socket. Raises ConnectionRefusedError or FileNotFoundError."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    try:
        sock.connect(path)
    except BaseException:
        sock.close()
        raise
    return sock

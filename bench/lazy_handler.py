"""What a read of a lazily filled layer gives when its fanotify handler is dead. As root, Linux 6.14 or later:

    .venv/bin/python bench/lazy_handler.py [directory]

A layer's tar is a sparse file, filled by a process that gets FAN_PRE_ACCESS events; EROFS lies on top.
What it means is in docs/decisions/0006-no-lazy-start.md.
"""

import ctypes
import errno
import io
import os
import signal
import struct
import sys
import tarfile
import tempfile
import threading
from collections.abc import Iterator

from corten.linux import namespaces
from corten.linux.deletion import delete_tree
from corten.snapshots.erofs import mounts, unpack

FAN_CLASS_PRE_CONTENT, FAN_MARK_ADD, FAN_PRE_ACCESS = 0x8, 0x1, 0x00100000
FAN_ALLOW, FAN_DENY = 1, 2
EVENT, ANSWER = struct.Struct("<IBBHQii"), struct.Struct("<iI")
libc = ctypes.CDLL(None, use_errno=True)


def events(path: str, ready: int) -> Iterator[tuple[int, int]]:
    """(group, descriptor) of each event on a file, which waits for its answer."""
    group = libc.fanotify_init(FAN_CLASS_PRE_CONTENT, os.O_RDWR | os.O_LARGEFILE)
    if group < 0 or libc.fanotify_mark(
        group, FAN_MARK_ADD, ctypes.c_uint64(FAN_PRE_ACCESS), -100, path.encode()
    ):
        raise OSError(ctypes.get_errno(), "fanotify")
    os.write(ready, b"1")
    while data := os.read(group, 4096):
        while data:
            length, _, _, _, _, fd, _ = EVENT.unpack_from(data)
            yield group, fd
            os.close(fd)
            data = data[length:]


def handler(path: str, mode: str, content: bytes) -> tuple[int, int]:
    """A process that fills the file, denies or says nothing: its pid, and a pipe that tells of a read."""
    asked, ready = os.pipe()
    if (pid := os.fork()) == 0:
        for group, fd in events(path, ready):
            if mode == "fills":
                os.pwrite(fd, content, 0)
            if mode != "waits":
                os.write(group, ANSWER.pack(fd, FAN_DENY if mode == "denies" else FAN_ALLOW))
            else:
                os.write(ready, b"2")
    os.read(asked, 1)
    return pid, asked


def shown(path: str) -> str:
    try:
        with open(path, "rb", buffering=0) as file:
            return repr(file.read(8))
    except OSError as e:
        return errno.errorcode[e.errno]


def read(path: str, answers: list[str]) -> None:
    answers.append(shown(path))


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def layer(directory: str) -> tuple[str, bytes]:
    """A mounted layer whose tar is a hole; where its file is, and what the tar should hold."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo("file")
        info.size = 8
        tar.addfile(info, io.BytesIO(b"content!"))
    fd = os.open(directory, os.O_RDONLY)
    unpack.unpack([out.getvalue()], fd)
    os.close(fd)
    sparse = os.path.join(directory, unpack.TAR)
    os.truncate(sparse, 0)
    os.truncate(sparse, len(out.getvalue()))
    return sparse, out.getvalue()


def main() -> None:
    namespaces.unshare(namespaces.CLONE_NEWNS)
    where = tempfile.mkdtemp(dir=sys.argv[1] if len(sys.argv) > 1 else None)
    for case in ("fills", "denies", "dead before the read", "killed during the read"):
        directory = os.path.join(where, case.replace(" ", "-"))
        os.mkdir(directory)
        sparse, content = layer(directory)
        layers = mounts.LayerMounts(where)
        mode = case if case in ("fills", "denies") else "waits"
        pid, asked = handler(sparse, mode, content)
        if case == "dead before the read":
            kill(pid)
        tree = layers.tree(directory)
        answers: list[str] = []
        reader = threading.Thread(target=read, args=(os.path.join(tree, "file"), answers))
        reader.start()
        if case == "killed during the read":
            os.read(asked, 1)
            kill(pid)
        reader.join()
        if case in ("fills", "denies"):
            kill(pid)
        with open(sparse, "r+b") as file:  # the content comes after all
            file.write(content)
        print(f"{case:24} {answers[0]:40} later: {shown(os.path.join(tree, 'file'))}")
        layers.close()
    delete_tree(where)


main()

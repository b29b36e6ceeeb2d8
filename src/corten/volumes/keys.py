"""Where the key of an encrypted volume comes from: a file, or a credential program.

`encrypt=file:/PATH` is a file's only line. `encrypt=program:NAME` asks `docker-credential-NAME get` for
`corten-volume/VOLUME`; its Secret is the key. Source: the protocol of docker-credential-helpers. A key is in
memory while a volume is mounted for the first time, and nowhere else.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import subprocess

import msgspec

from corten.errors import InvalidParameter

KEY_MAX_BYTES = 2048
"""What gocryptfs reads at most."""

_FORMS = "file:/PATH or program:NAME"
_PROGRAM = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_PATIENCE_S = 30


class _Credentials(msgspec.Struct, rename="pascal"):
    secret: str


def check_source(volume: str, source: str) -> None:
    """Raise InvalidParameter for what names no key, or a file that has none."""
    kind, _, where = source.partition(":")
    if kind == "program" and _PROGRAM.fullmatch(where):
        return
    if kind != "file" or not os.path.isabs(where):
        raise InvalidParameter(f'create {volume}: encrypt="{source}": must be {_FORMS}')
    try:
        read_key(volume, source)
    except OSError as e:
        raise InvalidParameter(f"create {volume}: key {where}: {(e.strerror or '').lower()}") from e


def read_key(volume: str, source: str) -> bytes:
    """The key, without a line end. Raises OSError. Blocks."""
    kind, _, where = source.partition(":")
    key = _of_file(where) if kind == "file" else _of_program(where, f"corten-volume/{volume}")
    if not key or len(key) > KEY_MAX_BYTES or b"\n" in key:
        raise OSError(errno.EINVAL, f"a key is one line of at most {KEY_MAX_BYTES} bytes")
    return key


def _of_file(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "the key is no regular file")
        if status.st_mode & stat.S_IRWXO:
            raise OSError(errno.EACCES, "the key's file is open to everybody: chmod o= it")
        return os.read(fd, KEY_MAX_BYTES + 2).removesuffix(b"\n")
    finally:
        os.close(fd)


def _of_program(name: str, item: str) -> bytes:
    program = f"docker-credential-{name}"
    try:
        done = subprocess.run(
            [program, "get"],
            input=item.encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_PATIENCE_S,
            check=False,
        )
    except FileNotFoundError:
        raise OSError(errno.ENOENT, f"{program} is not installed on the engine's host") from None
    except subprocess.TimeoutExpired:
        raise OSError(errno.ETIMEDOUT, f"{program} has not answered within {_PATIENCE_S} s") from None
    if done.returncode:  # what it printed may be anything: it is not shown
        raise OSError(errno.ENOKEY, f"{program} has no key for {item}")
    try:
        return msgspec.json.decode(done.stdout, type=_Credentials).secret.encode()
    except msgspec.DecodeError:
        raise OSError(errno.EPROTO, f"{program} has given no credentials") from None

"""Finding the program inside the container and becoming it.

Texts are those of Go's os/exec as Docker's clients know them: the docker CLI reads them to tell exit
code 127 (not found) from 126 (cannot be run).
"""

from __future__ import annotations

import errno
import os
import stat

from corten.task.channel import SetupError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    Program = tuple[str, list[str], dict[bytes, bytes]]  # where it is, its arguments, its environment


def _why_not(path: str) -> OSError | None:
    """None if `path` is a file somebody may execute, otherwise the error that Go would report."""
    try:
        info = os.stat(path)
    except OSError as e:
        return e
    if stat.S_ISDIR(info.st_mode):
        return OSError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not info.st_mode & 0o111:
        return OSError(errno.EACCES, os.strerror(errno.EACCES), path)
    return None


def find(name: str, search_path: str) -> str:
    """The file that `name` stands for, as execvp(3) would find it. Raises SetupError, stage "exec"."""
    if "/" in name:
        why = _why_not(name)
        if why is None:
            return name
        number = why.errno or errno.ENOENT
        text = os.strerror(number).lower()
        if number in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            raise SetupError(number, "exec", f'exec: "{name}": stat {name}: {text}')
        raise SetupError(number, "exec", f'exec: "{name}": {text}')
    denied = 0
    for directory in search_path.split(":"):
        candidate = f"{directory or '.'}/{name}"
        why = _why_not(candidate)
        if why is None:
            return candidate
        if why.errno == errno.EACCES:
            denied = errno.EACCES
    if denied:
        raise SetupError(denied, "exec", f'exec: "{name}": permission denied')
    raise SetupError(errno.ENOENT, "exec", f'exec: "{name}": executable file not found in $PATH')


def environment(process_env: list[str]) -> dict[bytes, bytes]:
    """`process.env` as execve wants it; of a name given twice the last one counts."""
    env: dict[bytes, bytes] = {}
    for item in process_env:
        name, _, value = os.fsencode(item).partition(b"=")
        if name:
            env[name] = value
    return env


def failure(path: str, number: int) -> SetupError:
    """What it means that execve(2) of `path` has failed with an errno."""
    return SetupError(number, "exec", f"exec {path}: {os.strerror(number).lower()}")


def become(path: str, args: list[str], env: dict[bytes, bytes]) -> NoReturn:
    """execve(2). Raises SetupError, stage "exec"."""
    try:
        os.execve(path, args, env)
    except OSError as e:
        raise failure(path, e.errno or errno.EIO) from None
    except ValueError as e:  # embedded NUL
        raise SetupError(errno.EINVAL, "exec", f"exec {args[0]!r}: {e}") from None

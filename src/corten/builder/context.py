"""The build context: what the client sends, or a URL names, as a directory of the build."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from posixpath import normpath
from typing import IO

from corten.builder.blocking import run_blocking, run_job
from corten.builder.copies import is_git
from corten.builder.graph import LocalSource, Vertex
from corten.builder.results import Directory
from corten.builder.session import Session
from corten.errors import InternalError, InvalidParameter, NotSupported
from corten.snapshots.uppers import is_small
from corten.snapshots.workers import WorkerPool

_READ = 1 << 20
_TEXT_TYPES = ("text/plain",)
_OUR_TROUBLE = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM)


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The context's vertex and the Dockerfile's text."""

    vertex: Vertex
    dockerfile: str


async def receive(
    session: Session, workers: WorkerPool, body: AsyncIterator[bytes], *, dockerfile: str, remote: str
) -> Context:
    """Unpack the tar in `body`, or what the URL `remote` holds (a tar, or a Dockerfile alone).

    Raises InvalidParameter (no such Dockerfile, no sound tar), NotSupported for git.
    """
    directory = session.new_directory("context", mode=0o755)
    if remote:
        text = await _from_url(session, workers, remote, directory, dockerfile)
    else:
        text = await _unpacked(workers, await _spooled(session, body), directory, dockerfile)
    if text is None:
        raise InvalidParameter(f"Cannot locate specified Dockerfile: {dockerfile}")
    if not text.strip():
        raise InvalidParameter(f"the Dockerfile ({dockerfile}) cannot be empty")
    small = is_small(directory)
    session.directories[directory] = Directory(directory, small=small)
    session.has_little = small
    return Context(vertex=Vertex(op=LocalSource(key=directory), name="context"), dockerfile=text)


async def _spooled(session: Session, body: AsyncIterator[bytes]) -> IO[bytes]:
    """The body in a file without a name.

    Not piped into the worker: a client that dawdles would keep one of the few places for workers.
    """
    file = tempfile.TemporaryFile(dir=session.path)  # noqa: SIM115 - the caller closes it
    waiting = b""
    try:
        async for chunk in body:
            waiting += chunk
            if len(waiting) >= _READ:
                await run_blocking(partial(file.write, waiting))
                waiting = b""
        file.write(waiting)
        file.seek(0)  # flushes too
    except BaseException:
        file.close()
        raise
    return file


async def _unpacked(workers: WorkerPool, source: IO[bytes], directory: str, dockerfile: str) -> str | None:
    """Unpack the archive and close it; the Dockerfile's text."""
    target = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    params = {"dockerfile": normpath("/" + dockerfile).lstrip("/")}
    try:
        fds = [source.fileno(), target]
        answer = await run_job(workers, "corten.builder.jobs:receive_context", params, fds)
    except OSError as error:
        if error.errno in _OUR_TROUBLE:
            raise InternalError(f"Error processing tar file: {error}") from error
        raise InvalidParameter(f"Error processing tar file: {error}") from error
    finally:
        source.close()
        os.close(target)
    text = answer["text"]
    return None if text is None else str(text)


async def _from_url(
    session: Session, workers: WorkerPool, remote: str, directory: str, dockerfile: str
) -> str | None:
    if is_git(remote) or remote.startswith("github.com/"):
        raise NotSupported("git contexts are not supported")
    if not remote.startswith(("http://", "https://")):
        raise InvalidParameter(f"remoteURL ({remote}) could not be recognized as URL")
    path = os.path.join(session.new_directory("remote"), "context")
    answer = await run_job(workers, "corten.builder.fetching:fetch", {"url": remote, "path": path})
    if answer["content_type"] in _TEXT_TYPES:
        return await run_blocking(lambda: _read(path))
    return await _unpacked(workers, open(path, "rb"), directory, dockerfile)


def _read(path: str) -> str:
    with open(path, errors="replace") as file:
        return file.read(4 * _READ)

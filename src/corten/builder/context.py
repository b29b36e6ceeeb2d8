"""The build context: what the client sends, or a URL names, as a directory of the build."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from posixpath import normpath

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
        read_end, write_end = os.pipe()
        text = await _unpacked(workers, read_end, directory, dockerfile, _Feeder(body, write_end))
    if text is None:
        raise InvalidParameter(f"Cannot locate specified Dockerfile: {dockerfile}")
    if not text.strip():
        raise InvalidParameter(f"the Dockerfile ({dockerfile}) cannot be empty")
    small = is_small(directory)
    session.directories[directory] = Directory(directory, small=small)
    session.has_little = small
    return Context(vertex=Vertex(op=LocalSource(key=directory), name="context"), dockerfile=text)


class _Feeder:
    """Carries the request's body into a pipe, waiting for the reader at the other end."""

    def __init__(self, body: AsyncIterator[bytes], fd: int) -> None:
        self._body = body
        self._fd = fd

    async def run(self) -> None:
        try:
            async for chunk in self._body:
                view = memoryview(chunk)
                while view:
                    view = view[await asyncio.to_thread(os.write, self._fd, view) :]
        except BrokenPipeError:
            # The reader has seen the archive's end, or failed, which its own error tells.
            async for _ in self._body:
                pass
        finally:
            os.close(self._fd)


async def _unpacked(
    workers: WorkerPool, source: int, directory: str, dockerfile: str, feeder: _Feeder | None
) -> str | None:
    target = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    feeding = asyncio.ensure_future(feeder.run()) if feeder else None
    params = {"dockerfile": normpath("/" + dockerfile).lstrip("/")}
    try:
        answer = await run_job(workers, "corten.builder.jobs:receive_context", params, [source, target])
    except OSError as error:
        if error.errno in _OUR_TROUBLE:
            raise InternalError(f"Error processing tar file: {error}") from error
        raise InvalidParameter(f"Error processing tar file: {error}") from error
    finally:
        os.close(source)
        os.close(target)
        broken = await _fed(feeding)
    if broken is not None:
        raise broken
    text = answer["text"]
    return None if text is None else str(text)


async def _fed(feeding: asyncio.Future[None] | None) -> BaseException | None:
    """Wait for the end of the body; what it ended with."""
    if feeding is None:
        return None
    await asyncio.wait([feeding])
    return feeding.exception()


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
    source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    return await _unpacked(workers, source, directory, dockerfile, None)


def _read(path: str) -> str:
    with open(path, errors="replace") as file:
        return file.read(4 * _READ)

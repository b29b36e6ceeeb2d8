"""The build context: what the client sends, or a URL names, as a directory of the build."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from posixpath import normpath
from typing import IO

from corten.builder.blocking import run_blocking, run_job
from corten.builder.credentials import redacted
from corten.builder.gitref import parse_git_ref
from corten.builder.graph import LocalSource, Vertex
from corten.builder.ops.git import clone
from corten.builder.results import Directory
from corten.builder.session import Session
from corten.digest import parse_digest
from corten.errors import InternalError, InvalidParameter
from corten.snapshots.decompress import Compression, detect
from corten.snapshots.tar_reader import BLOCK, is_header
from corten.snapshots.uppers import is_small
from corten.snapshots.workers import WorkerPool

_READ = 1 << 20
_OUR_TROUBLE = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM)


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The context's vertex, the Dockerfile's text, and the patterns of what was left out."""

    vertex: Vertex
    dockerfile: str
    ignore: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Prepared:
    directory: str
    text: str | None
    ignore: tuple[str, ...] = ()


async def receive(
    session: Session,
    workers: WorkerPool,
    body: AsyncIterator[bytes],
    *,
    dockerfile: str,
    remote: str,
    apart: Mapping[str, str] | None = None,
    keep_git_dir: bool = False,
) -> Context:
    """Unpack the tar in `body`, or what the URL `remote` names: a tar, a Dockerfile alone, a git repository.

    `apart`: directories of the tar that are no part of the context, and where they go to. `keep_git_dir`: a
    repository's `.git` belongs to the context.
    Raises InvalidParameter (no such Dockerfile, no sound tar).
    """
    if remote:
        prepared = await _from_url(session, workers, remote, dockerfile, keep_git_dir)
    else:
        spooled = await _spooled(session, body)
        prepared = await _unpacked(session, workers, spooled, dockerfile, apart or {})
    if not remote:
        session.materials.directories |= {"context", "dockerfile"}
    text = prepared.text
    if text is None:
        raise InvalidParameter(f"Cannot locate specified Dockerfile: {dockerfile}")
    if not text.strip():
        raise InvalidParameter(f"the Dockerfile ({dockerfile}) cannot be empty")
    directory = prepared.directory
    small = is_small(directory)
    session.directories[directory] = Directory(directory, small=small, linkable=True)
    session.has_little = small
    vertex = Vertex(op=LocalSource(key=directory), name="context")
    return Context(vertex=vertex, dockerfile=text, ignore=prepared.ignore)


async def _spooled(session: Session, body: AsyncIterator[bytes]) -> IO[bytes]:
    """The body in a file without a name.

    Not piped into the worker: a client that dawdles would keep one of the few places for workers.
    """
    file = tempfile.TemporaryFile(dir=session.path)  # noqa: SIM115 - the caller closes it
    waiting = bytearray()
    try:
        async for chunk in body:
            waiting += chunk
            if len(waiting) >= _READ:
                await run_blocking(partial(file.write, waiting))
                waiting = bytearray()
        file.write(waiting)
        file.seek(0)  # flushes too
    except BaseException:
        file.close()
        raise
    return file


async def _unpacked(
    session: Session, workers: WorkerPool, source: IO[bytes], dockerfile: str, apart: Mapping[str, str]
) -> _Prepared:
    """Unpack the archive and close it."""
    directory = session.new_directory("context", mode=0o755)
    params: dict[str, object] = {"apart": list(apart)}
    fds = [source.fileno()]
    try:
        return await _prepared(workers, "receive_context", params, fds, directory, dockerfile, apart.values())
    except OSError as error:
        if error.errno in _OUR_TROUBLE:
            raise InternalError(f"Error processing tar file: {error}") from error
        raise InvalidParameter(f"Error processing tar file: {error}") from error
    finally:
        source.close()


async def _prepared(
    workers: WorkerPool,
    job: str,
    params: dict[str, object],
    fds: list[int],
    directory: str,
    dockerfile: str,
    others: Iterable[str] = (),
) -> _Prepared:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    targets = [os.open(path, flags) for path in (directory, *others)]
    params = {**params, "dockerfile": normpath("/" + dockerfile).lstrip("/")}
    try:
        answer = await run_job(workers, f"corten.builder.jobs:{job}", params, [*fds, *targets])
    finally:
        for target in targets:
            os.close(target)
    text, ignore = answer["text"], answer["ignore"]
    assert isinstance(ignore, list)
    return _Prepared(directory, None if text is None else str(text), tuple(ignore))


async def _from_url(
    session: Session, workers: WorkerPool, remote: str, dockerfile: str, keep_git_dir: bool
) -> _Prepared:
    if git := parse_git_ref(remote, context=True):
        source = git.source(keep_git_dir=keep_git_dir)
        checked_out = await clone(session, workers, source)
        session.materials.context = redacted(f"{source.remote}#{source.ref}" if source.ref else source.remote)
        return await _prepared(workers, "prepare_context", {}, [], checked_out.path, dockerfile)
    if not remote.startswith(("http://", "https://")):
        raise InvalidParameter(f"remoteURL ({redacted(remote)}) could not be recognized as URL")
    url, _, checksum = remote.partition("#")
    directory = session.new_directory("remote")
    path = os.path.join(directory, "context")
    answer = await run_job(workers, "corten.builder.fetching:fetch", {"url": url, "path": path})
    if checksum and answer["digest"] != parse_digest(checksum):
        raise InvalidParameter(
            f"digest mismatch for {redacted(url)}: got {answer['digest']}, expected {checksum}"
        )
    session.materials.context = session.materials.url(url, str(answer["digest"]))
    if (text := await run_blocking(lambda: _text_of(path))) is not None:
        empty = session.new_directory("context", mode=0o755)
        return _Prepared(empty, text)
    return await _unpacked(session, workers, open(path, "rb"), dockerfile, {})


def _text_of(path: str) -> str | None:
    """The Dockerfile that has been fetched; None if it is an archive, whatever its server calls it."""
    with open(path, "rb") as file:
        head = file.read(BLOCK)
        if detect(head) is not Compression.NONE or is_header(head):
            return None
        return (head + file.read(4 * _READ)).decode(errors="replace")

"""A result as files: of `-o type=local` and `type=tar`, with what is attested of them beside them."""

from __future__ import annotations

import os
import posixpath
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from functools import partial

import msgspec

from corten.builder.blocking import job_output, run_blocking, run_job
from corten.builder.export.targets import Target
from corten.builder.ops.step import tree_of
from corten.builder.results import Snapshot
from corten.builder.session import Session
from corten.errors import InvalidParameter
from corten.images.blocking import piped
from corten.images.claims import Claim, Subject
from corten.platforms import host_platform
from corten.snapshots.workers import WorkerPool

_MODE = 0o600


async def result_files(
    session: Session,
    workers: WorkerPool,
    snapshots: Mapping[str, Snapshot],
    target: Target,
    claims: Mapping[str, Sequence[Claim]],
    epoch_ns: int | None,
) -> str:
    """A directory of the build's with the files.

    Several platforms have one each below it, unless the target wants them together
    (`platform-split=false`). `claims`: by platform. `epoch_ns`: the time that all of them are to have,
    None = their own. Raises InvalidParameter.
    """
    directory = await _files_of(session, workers, snapshots, target, claims)
    if epoch_ns is not None:
        params = {"directory": directory, "epoch_ns": epoch_ns, "exact": True}
        await run_job(workers, "corten.builder.jobs:clamp_times", params)
    return directory


async def _files_of(
    session: Session,
    workers: WorkerPool,
    snapshots: Mapping[str, Snapshot],
    target: Target,
    claims: Mapping[str, Sequence[Claim]],
) -> str:
    several = "" not in snapshots or len(snapshots) > 1
    split = target.flag("platform-split", default=several)
    roots: dict[str, str] = {}
    for platform, snapshot in snapshots.items():
        parent = session.new_directory("export")
        params = {
            "tree": tree_of(session, snapshot),
            "mountpoint": session.mountpoint,
            "source": "/",
            "target": parent,
        }
        await run_job(workers, "corten.builder.jobs:materialize", params)
        roots[platform] = os.path.join(parent, "source")
        wanted = [claim for claim in claims.get(platform, ()) if not claim.inline_only]
        if wanted:
            label = platform.replace("/", "_") if several and not split else ""
            await _attest(session, workers, roots[platform], wanted, target, label)
    if not split and len(roots) == 1:
        return next(iter(roots.values()))
    together = session.new_directory("export", mode=0o755)
    if split:
        for platform, root in roots.items():
            os.rename(root, os.path.join(together, (platform or str(host_platform())).replace("/", "_")))
    else:
        await run_job(
            workers, "corten.builder.export.jobs:merge", {"sources": [*roots.values()], "target": together}
        )
    return together


async def tar_of(workers: WorkerPool, directory: str) -> AsyncGenerator[bytes, None]:
    """The tree as a tar; to be closed."""
    tree = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    async def write(fd: int) -> None:
        try:
            await run_job(workers, "corten.snapshots.jobs:tar", {}, [tree, fd])
        finally:
            os.close(fd)
            os.close(tree)

    async with aclosing(piped(write)) as chunks:
        async for chunk in chunks:
            yield chunk


async def _attest(
    session: Session,
    workers: WorkerPool,
    root: str,
    claims: Sequence[Claim],
    target: Target,
    label: str,
) -> None:
    """Write statements about all files below `root` into it. `label`: the platform, part of their names."""
    subjects = await _subjects(session, workers, root)
    directory = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        names = [_name(claim, target, label) for claim in claims]
        if len(set(names)) != len(names):
            raise InvalidParameter(f"duplicate attestation path name {max(names, key=names.count)}")
        for name, claim in zip(names, claims, strict=True):
            statement = msgspec.json.format(claim.statement(subjects), indent=2)
            await run_blocking(partial(_write, directory, name, statement))
    finally:
        os.close(directory)


def _name(claim: Claim, target: Target, label: str) -> str:
    prefix = target.attributes.get("attestation-prefix", "")
    if "/" in prefix or "\0" in prefix:
        raise InvalidParameter(f"invalid attestation-prefix {prefix!r}")
    base, extension = posixpath.splitext(claim.filename)
    return f"{prefix}{base}.{label}{extension}" if label else prefix + claim.filename


def _write(directory: int, name: str, data: bytes) -> None:
    """A file in the place of whatever the result has there."""
    try:
        os.unlink(name, dir_fd=directory)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise InvalidParameter(f"the result has a directory {name} where its attestation goes") from error
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE, dir_fd=directory)
    with os.fdopen(fd, "wb") as file:
        file.write(data)


async def _subjects(session: Session, workers: WorkerPool, root: str) -> list[Subject]:
    job = "corten.builder.export.jobs:digests"
    raw = await job_output(workers, job, {"directory": root}, session.path)
    found = msgspec.msgpack.decode(raw, type=list[tuple[str, str]])
    return [Subject(name=name, digest={"sha256": digest}) for name, digest in found]

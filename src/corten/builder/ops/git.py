"""The files of a git repository, checked out by a worker job into a directory of the build."""

from __future__ import annotations

import base64
from urllib.parse import urlsplit

from corten.builder.blocking import run_job
from corten.builder.graph import GitSource
from corten.builder.results import Directory
from corten.builder.session import FindSecret, Session
from corten.digest import digest_of
from corten.snapshots.workers import WorkerPool

_TOKEN = "GIT_AUTH_TOKEN"  # noqa: S105 - the name of a secret
_HEADER = "GIT_AUTH_HEADER"


async def clone(session: Session, workers: WorkerPool, op: GitSource) -> Directory:
    """A commit's files. Raises InvalidParameter if it is not the one asked for, Unavailable."""
    params = {
        "remote": op.remote,
        "ref": op.ref,
        "subdir": op.subdir,
        "checksum": op.checksum,
        "keep_git_dir": op.keep_git_dir,
        "submodules": op.submodules,
        "directory": session.new_directory("git", mode=0o755),
        "home": session.new_directory("home"),
        "headers": await authorization(op.remote, session.settings.find_secret),
        "ssh_auth_sock": "",
    }
    answer = await run_job(workers, "corten.builder.cloning:clone", params)
    session.materials.repository(op.remote, op.ref, str(answer["commit"]))
    # Everything that the files depend on; with .git, no two clones are the same.
    parts = (str(answer["commit"]), op.remote, op.subdir, str(op.submodules))
    identity = "" if op.keep_git_dir else digest_of("\n".join(parts).encode())
    return Directory(str(answer["path"]), identity=identity)


async def authorization(remote: str, find_secret: FindSecret) -> dict[str, str]:
    """Header for the remote's own host and no other, of the secrets GIT_AUTH_TOKEN[.host] or _HEADER."""
    parts = urlsplit(remote)
    if parts.scheme not in ("http", "https"):
        return {}
    scope = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/"
    for suffix in (f".{parts.hostname}", ""):
        if header := await find_secret(_HEADER + suffix):
            return {scope: f"Authorization: {header.decode(errors='replace').strip()}"}
        if token := await find_secret(_TOKEN + suffix):
            basic = base64.b64encode(b"x-access-token:" + token.strip()).decode()
            return {scope: f"Authorization: basic {basic}"}
    return {}

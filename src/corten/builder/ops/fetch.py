"""Files from the network, fetched by a worker job into a directory of the build."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from corten.builder.blocking import run_job
from corten.builder.credentials import redacted
from corten.builder.graph import HttpSource
from corten.builder.results import Directory
from corten.builder.session import FindSecret, Session
from corten.digest import digest_of
from corten.errors import InvalidParameter
from corten.snapshots.workers import WorkerPool


async def fetch(session: Session, workers: WorkerPool, op: HttpSource) -> Directory:
    """The file in a directory of its own. Raises InvalidParameter if it is not the one asked for."""
    directory = session.new_directory("fetch")
    params = {
        "url": op.url,
        "path": os.path.join(directory, op.filename),
        "authorization": await _authorization(op.url, session.settings.find_secret),
    }
    answer = await run_job(workers, "corten.builder.fetching:fetch", params)
    digest = str(answer["digest"])
    if op.checksum and digest != op.checksum:
        raise InvalidParameter(
            f"digest mismatch for {redacted(op.url)}: got {digest}, expected {op.checksum}"
        )
    session.materials.url(op.url, digest)
    return Directory(directory, identity=digest_of(f"{digest} {op.filename}".encode()))  # both may be copied


async def _authorization(url: str, find_secret: FindSecret) -> str:
    """For the URL's host and no other: of the secrets HTTP_AUTH_HEADER_<host>, HTTP_AUTH_TOKEN_<host>."""
    host = urlsplit(url).hostname or ""
    if header := await find_secret(f"HTTP_AUTH_HEADER_{host}"):
        return header.decode(errors="replace").strip()
    if token := await find_secret(f"HTTP_AUTH_TOKEN_{host}"):
        return f"Bearer {token.decode(errors='replace').strip()}"
    return ""

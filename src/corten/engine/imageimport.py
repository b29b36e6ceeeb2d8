"""`docker import` of what the client sends, or of what lies at a URL."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator
from contextlib import suppress

from corten.builder.blocking import run_job
from corten.engine.imagechanges import config_of_changes
from corten.errors import InvalidParameter
from corten.images.import_image import file_body, import_image
from corten.images.store import ImageStore
from corten.platforms import parse_platform
from corten.reference import parse_normalized
from corten.types.operations import ImportOptions
from corten.types.progress import JSONMessage


async def import_from(
    store: ImageStore, body: AsyncIterator[bytes], options: ImportOptions
) -> AsyncIterator[JSONMessage]:
    """Make an image of an archive; yields Docker's progress lines. Raises InvalidParameter, BadArchive."""
    if not options.url:
        async for line in _imported(store, body, options):
            yield line
        return
    url = options.url if "://" in options.url else f"http://{options.url}"
    if not url.startswith(("http://", "https://")):
        raise InvalidParameter(f"unsupported URL {url}")
    yield JSONMessage(status=f"Downloading from {url}")
    path = os.path.join(store.tmp, f"import-{secrets.token_hex(8)}")
    try:
        await run_job(store.workers, "corten.builder.fetching:fetch", {"url": url, "path": path})
        async for line in _imported(store, file_body(path), options):
            yield line
    finally:
        with suppress(FileNotFoundError):
            os.unlink(path)


def _imported(
    store: ImageStore, body: AsyncIterator[bytes], options: ImportOptions
) -> AsyncIterator[JSONMessage]:
    return import_image(
        store,
        body,
        name=parse_normalized(options.reference).with_default_tag() if options.reference else None,
        config=config_of_changes(options.changes),
        message=options.message or f"Imported from {options.url or '-'}",
        platform=parse_platform(options.platform) if options.platform else None,
    )

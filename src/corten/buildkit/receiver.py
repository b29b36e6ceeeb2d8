"""Results on their way to a client, over its session."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping

from corten.buildkit.clientcontent import ClientContent
from corten.buildkit.clientthings import ClientThings
from corten.buildkit.filesend import send_directory, send_stream
from corten.buildkit.sessions import ClientSession
from corten.images.save import Archive
from corten.oci.image import Descriptor
from corten.types.system import AuthConfig

_STORE = "export"  # as clients call the directory that an OCI layout goes to


class SessionReceiver:
    """See `corten.builder.export.ports.Receiver`."""

    def __init__(self, client: ClientSession) -> None:
        self._client = client

    async def stream(self, number: int, described: Mapping[str, str], chunks: AsyncIterator[bytes]) -> None:
        """See Receiver."""
        await send_stream(self._client, number, described, chunks)

    async def directory(self, number: int, path: str) -> None:
        """See Receiver."""
        await send_directory(self._client, number, path)

    async def layout(self, number: int, archive: Archive) -> None:
        """See Receiver. The client writes the index over what is sent."""
        content = ClientContent(self._client, _STORE)
        for digest, data in archive.contents():
            size = len(data) if isinstance(data, bytes) else os.stat(data).st_size
            descriptor = Descriptor(media_type="", digest=digest, size=size)
            if isinstance(data, bytes):
                await content.write(data, descriptor)
            else:
                await content.write_file(data, descriptor)

    async def credentials(self, domain: str) -> AuthConfig | None:
        """See Receiver."""
        return await ClientThings(self._client).credentials(domain)

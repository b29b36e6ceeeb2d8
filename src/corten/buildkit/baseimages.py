"""Base images as a build asks for them: looked up once, pulled with the client's credentials, told of."""

from __future__ import annotations

import asyncio

from corten.builder.sources import BaseImage, FindCredentials, Images, ImagesOver, OnProgress
from corten.builder.stepnames import metadata_name
from corten.buildkit.clientthings import ClientThings
from corten.buildkit.progress import Progress
from corten.errors import InvalidParameter
from corten.platforms import Platform
from corten.types.progress import JSONMessage


class ProgressImages(ImagesOver):
    """`Images` that tells of the looking up, and of layers as they are pulled."""

    def __init__(
        self, images: Images, progress: Progress, things: ClientThings, *, several: bool = False
    ) -> None:
        """`several`: platforms are built for, so that steps say which."""
        super().__init__(images)
        self._several = several
        self._progress = progress
        self._things = things
        self._found: dict[tuple[str, str], asyncio.Future[BaseImage]] = {}

    def find(self, reference: str, platform: Platform | None) -> BaseImage | None:
        """See Images."""
        known = self._found.get((reference, str(platform)))
        if known is not None and known.done() and not known.exception():
            return known.result()
        return self._images.find(reference, platform)

    async def resolve(
        self,
        reference: str,
        *,
        platform: Platform | None,
        pull: bool,
        credentials: FindCredentials,
        on_progress: OnProgress,
    ) -> BaseImage:
        """See Images. The credentials are the client's."""
        key = (reference, str(platform))
        known = self._found.get(key)
        if known is not None:
            return await asyncio.shield(known)
        future = self._found[key] = asyncio.get_running_loop().create_future()
        try:
            found = await self._resolve(reference, platform, pull)
        except BaseException as error:
            failure = error if isinstance(error, Exception) else InvalidParameter("cancelled")
            future.set_exception(failure)
            future.exception()  # whoever waits sees it; nobody need wait
            raise
        future.set_result(found)
        return found

    async def _resolve(self, reference: str, platform: Platform | None, pull: bool) -> BaseImage:
        with self._progress.internal(metadata_name(reference, platform if self._several else None)) as step:

            def tell(message: JSONMessage) -> None:
                detail = message.progress_detail
                if message.id and detail is not None:
                    step.status(message.id, current=detail.current or 0, total=detail.total or 0)

            return await self._images.resolve(
                reference,
                platform=platform,
                pull=pull,
                credentials=self._things.credentials,
                on_progress=tell,
            )

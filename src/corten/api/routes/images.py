"""Images."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

import msgspec

from corten.api import answers
from corten.api.request import Request
from corten.api.response import JSON, Answer
from corten.api.routes.credentials import registry_auth
from corten.errors import InvalidParameter
from corten.filters import Filters
from corten.platforms import Platform, normalized
from corten.types.image import (
    AttestationStatement,
    DeleteItem,
    HistoryItem,
    ImageInspect,
    ImagesPruneReport,
    ImageSummary,
)
from corten.types.operations import ImageListOptions, ImportOptions
from corten.types.pieces import Piece
from corten.types.progress import JSONMessage
from corten.types.system import AuthConfig


class Images(Protocol):
    """The engine's images. `ref`: name, id, unambiguous prefix of an id. All raise NoSuchImage.

    Those that return an iterator of messages are plain functions (async generators will do). What is
    raised before the first message becomes the HTTP status, what comes later ends the stream as its
    last line.
    """

    async def list(self, options: ImageListOptions) -> Sequence[ImageSummary]:
        """Images, newest first."""

    async def inspect(self, ref: str, platform: Platform | None, *, manifests: bool) -> ImageInspect:
        """Everything about one; `manifests`: and about the others of its index."""

    async def history(self, ref: str, platform: Platform | None) -> Sequence[HistoryItem]:
        """Its layers, newest first."""

    async def attestations(
        self, ref: str, platform: Platform | None, types: Sequence[str], *, contents: bool
    ) -> Sequence[AttestationStatement]:
        """Statements about it, all or those of these predicate types; `contents`: their JSON too."""

    async def tag(self, ref: str, target: str) -> None:
        """Give it a further name, repo[:tag]."""

    async def remove(
        self, ref: str, *, force: bool, prune: bool, platforms: Sequence[Platform] = ()
    ) -> Sequence[DeleteItem]:
        """Take one name away and, with the last one, the image and (`prune`) its unnamed parents.

        platforms: only what is here for these.
        """

    async def prune(self, filters: Filters) -> ImagesPruneReport:
        """Remove unused images (filters: dangling, until, label, label!)."""

    def pull(
        self, reference: str, *, platform: str, auth: AuthConfig | None, all_tags: bool
    ) -> AsyncIterator[JSONMessage]:
        """Fetch repo:tag or repo@digest from its registry."""

    def push(
        self, reference: str, *, auth: AuthConfig | None, all_tags: bool, platform: Platform | None
    ) -> AsyncIterator[JSONMessage]:
        """Send repo:tag, or all tags of repo, to its registry."""

    def load(
        self, body: AsyncIterator[bytes], *, quiet: bool, platforms: Sequence[Platform]
    ) -> AsyncIterator[JSONMessage]:
        """Take in an archive of `docker save` or an OCI layout, plain or compressed.

        platforms: of images for several these, by default the host's.
        """

    def import_(self, body: AsyncIterator[bytes], options: ImportOptions) -> AsyncIterator[JSONMessage]:
        """Make an image of one layer of a tar of a root file system, in the body or at a URL."""

    def bootstrap(self, what: str, *, mirror: str) -> AsyncIterator[JSONMessage]:
        """Make busybox or debian[:suite] of the distribution's packages (Corten's own)."""

    def save(self, refs: Sequence[str], platforms: Sequence[Platform]) -> AsyncIterator[Piece]:
        """An archive (tar) of the images. Raises as with messages: before the first bytes."""

    def changes(self, ref: str, since: str) -> AsyncIterator[bytes]:
        """What differs in the files since another image: JSON text, as of a container's changes."""


TAR = b"application/x-tar"


class ImageHandlers:
    """HTTP of images."""

    def __init__(self, images: Images) -> None:
        self._images = images

    async def list(self, request: Request) -> Answer:
        """GET /images/json."""
        options = ImageListOptions(
            all=request.flag("all"),
            digests=request.flag("digests"),
            shared_size=request.flag("shared-size"),
            manifests=request.flag("manifests"),
            filters=_list_filters(request),
        )
        return answers.documents(request, await self._images.list(options))

    async def inspect(self, request: Request) -> Answer:
        """GET /images/{name}/json."""
        found = await self._images.inspect(
            request.params[0], oci_platform(request), manifests=request.flag("manifests")
        )
        return answers.document(request, found)

    async def history(self, request: Request) -> Answer:
        """GET /images/{name}/history."""
        found = await self._images.history(request.params[0], oci_platform(request))
        return answers.documents(request, found)

    async def attestations(self, request: Request) -> Answer:
        """GET /images/{name}/attestations."""
        if len(request.texts("platform")) > 1:
            raise InvalidParameter("only one platform can be asked for")
        found = await self._images.attestations(
            request.params[0],
            oci_platform(request),
            request.texts("type"),
            contents=request.flag("statement"),
        )
        return answers.documents(request, found)

    async def tag(self, request: Request) -> Answer:
        """POST /images/{name}/tag."""
        await self._images.tag(request.params[0], joined_reference(request.text("repo"), request.text("tag")))
        return Answer(201)

    async def remove(self, request: Request) -> Answer:
        """DELETE /images/{name}."""
        done = await self._images.remove(
            request.params[0],
            force=request.flag("force"),
            prune=not request.flag("noprune"),
            platforms=[_parsed(text) for text in request.texts("platforms")],
        )
        return answers.documents(request, done)

    async def prune(self, request: Request) -> Answer:
        """POST /images/prune."""
        report = await self._images.prune(Filters.parse(request.text("filters")))
        return answers.document(request, report)

    async def create(self, request: Request) -> Answer | None:
        """POST /images/create: pull, or import of the body."""
        image = request.text("fromImage")
        if image:
            return await self._pull(request, image.removesuffix(":"))
        source = request.text("fromSrc")
        if not source:
            raise InvalidParameter(
                "neither an image to pull (fromImage) nor a source to import (fromSrc) is named"
            )
        options = ImportOptions(
            url="" if source == "-" else source,
            reference=joined_reference(request.text("repo"), request.text("tag")),
            message=request.text("message"),
            changes=request.texts("changes"),
            platform=request.text("platform"),
        )
        return await answers.progress(request, self._images.import_(request.body, options))

    async def _pull(self, request: Request, image: str) -> Answer | None:
        reference = joined_reference(image, request.text("tag"))
        messages = self._images.pull(
            reference,
            platform=request.text("platform"),
            auth=registry_auth(request),
            all_tags="@" not in reference and ":" not in reference.rpartition("/")[2],
        )
        return await answers.progress(request, messages)

    async def push(self, request: Request) -> Answer | None:
        """POST /images/{name}/push."""
        repository, tag = _without_tag(request.params[0]), request.text("tag")
        messages = self._images.push(
            joined_reference(repository, tag),
            auth=registry_auth(request),
            all_tags=not tag,
            platform=oci_platform(request),
        )
        return await answers.progress(request, messages)

    async def load(self, request: Request) -> Answer | None:
        """POST /images/load."""
        messages = self._images.load(
            request.body, quiet=request.flag("quiet", True), platforms=oci_platforms(request)
        )
        return await answers.progress(request, messages, errors_in_stream=True)

    async def bootstrap(self, request: Request) -> Answer | None:
        """POST /images/bootstrap, which Docker has not."""
        messages = self._images.bootstrap(request.text("image"), mirror=request.text("mirror"))
        return await answers.progress(request, messages)

    async def save(self, request: Request) -> Answer | None:
        """GET /images/get."""
        names = [name for value in request.texts("names") for name in value.split(",") if name]
        if not names:
            raise InvalidParameter("no images to save were named")
        return await answers.raw(request, self._images.save(names, oci_platforms(request)), TAR)

    async def save_one(self, request: Request) -> Answer | None:
        """GET /images/{name}/get."""
        return await answers.raw(request, self._images.save([request.params[0]], oci_platforms(request)), TAR)

    async def changes(self, request: Request) -> Answer | None:
        """GET /images/{name}/changes, which Docker has not."""
        since = request.text("since")
        if not since:
            raise InvalidParameter("bad parameter: since: the image to compare with is missing")
        return await answers.raw(request, self._images.changes(request.params[0], since), JSON)


class _Platform(msgspec.Struct):
    os: str
    architecture: str
    variant: str = ""


def oci_platform(request: Request) -> Platform | None:
    """The `platform` of a request, which is JSON as in OCI's descriptors; None if there is none."""
    text = request.text("platform")
    return _parsed(text) if text else None


def oci_platforms(request: Request) -> list[Platform]:
    """All `platform` of a request, each as in `oci_platform`."""
    return [_parsed(text) for text in request.texts("platform") if text]


def _parsed(text: str) -> Platform:
    try:
        platform = msgspec.json.decode(text.encode(), type=_Platform)
    except (msgspec.DecodeError, RecursionError) as e:
        raise InvalidParameter(f"failed to parse platform: {e}") from e
    return normalized(platform.os, platform.architecture, platform.variant)


def joined_reference(repository: str, tag: str) -> str:
    """repo and tag (or digest) as one: it replaces a tag of repo. Without repo a tag says nothing."""
    if not tag or not repository:
        return repository
    if "@" not in repository:
        repository = _without_tag(repository)
    return f"{repository}{'@' if ':' in tag else ':'}{tag}"


def _without_tag(name: str) -> str:
    path, slash, last = name.partition("@")[0].rpartition("/")
    return f"{path}{slash}{last.partition(':')[0]}"


def _list_filters(request: Request) -> Filters:
    filters = Filters.parse(request.text("filters"))
    legacy = request.text("filter")
    if legacy and request.version < (1, 41):
        return Filters({**filters, "reference": (*filters.values_of("reference"), legacy)})
    return filters

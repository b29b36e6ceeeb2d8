"""The Dockerfile frontend (`dockerfile.v0`): from a client's attributes to roots that can be solved."""

from __future__ import annotations

import asyncio
import os
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from corten.builder.convert import Converter, ConvertOptions
from corten.builder.dockerfile.errors import DockerfileError
from corten.builder.dockerfile.stages import Dockerfile, read_dockerfile
from corten.builder.graph import Vertex
from corten.builder.image import unfinished
from corten.builder.session import Session
from corten.builder.sources import BaseImage, Images, OnProgress
from corten.buildkit.attributes import DEFAULT_DOCKERFILE, FrontendOptions
from corten.buildkit.contexts import LocalContext
from corten.buildkit.failures import BuildFailed, Place
from corten.buildkit.filesync import fetch_directory
from corten.buildkit.progress import Progress
from corten.buildkit.proto.llb_pb2 import SourceInfo
from corten.buildkit.sessions import ClientSession
from corten.buildkit.stepnames import shown_image, step_names
from corten.digest import Digest
from corten.errors import InvalidParameter, NotSupported
from corten.linux.openat2 import open_in_root
from corten.platforms import Platform, host_platform
from corten.types.progress import JSONMessage
from corten.types.system import AuthConfig

CONFIG = "containerimage.config"
PLATFORMS = "refs.platforms"
_MAX_TEXT = 4 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What a frontend gives: roots by platform ("" if there is but one), and metadata for exporters."""

    roots: Mapping[str, Vertex]
    metadata: Mapping[str, bytes]


@dataclass(slots=True)
class StepTexts:
    """What the build knows of its vertices: their names, and where in a Dockerfile they stand."""

    names: dict[str, str] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)


class ProgressImages:
    """`Images` that tells of the looking up, and of layers as they are pulled."""

    def __init__(self, images: Images, progress: Progress) -> None:
        self._images = images
        self._progress = progress
        self._found: dict[tuple[str, str], asyncio.Future[BaseImage]] = {}

    async def resolve(
        self,
        reference: str,
        *,
        platform: Platform | None,
        pull: bool,
        auth: Mapping[str, AuthConfig],
        on_progress: OnProgress,
    ) -> BaseImage:
        """See Images."""
        key = (reference, str(platform))
        known = self._found.get(key)
        if known is not None:
            return await asyncio.shield(known)
        future = self._found[key] = asyncio.get_running_loop().create_future()
        try:
            found = await self._resolve(reference, platform, pull, auth)
        except BaseException as error:
            failure = error if isinstance(error, Exception) else InvalidParameter("cancelled")
            future.set_exception(failure)
            future.exception()  # whoever waits sees it; nobody need wait
            raise
        future.set_result(found)
        return found

    async def _resolve(
        self, reference: str, platform: Platform | None, pull: bool, auth: Mapping[str, AuthConfig]
    ) -> BaseImage:
        with self._progress.internal(f"[internal] load metadata for {shown_image(reference)}") as step:

            def tell(message: JSONMessage) -> None:
                detail = message.progress_detail
                if message.id and detail is not None:
                    step.status(message.id, current=detail.current or 0, total=detail.total or 0)

            return await self._images.resolve(
                reference, platform=platform, pull=pull, auth=auth, on_progress=tell
            )

    def find(self, reference: str, platform: Platform | None) -> BaseImage | None:
        """See Images."""
        return self._images.find(reference, platform)

    async def create(self, config: bytes, diff_ids: tuple[str, ...]) -> Digest:
        """See Images."""
        return await self._images.create(config, diff_ids)

    async def tag(self, image_id: Digest, reference: str) -> None:
        """See Images."""
        await self._images.tag(image_id, reference)


class DockerfileFrontend:
    """One use of the frontend in one build."""

    def __init__(
        self,
        options: FrontendOptions,
        *,
        session: Session,
        client: ClientSession,
        images: Images,
        progress: Progress,
        tasks: asyncio.TaskGroup,
        texts: StepTexts,
        auth: Mapping[str, AuthConfig],
    ) -> None:
        self._options = options
        self._session = session
        self._client = client
        self._images = images
        self._progress = progress
        self._tasks = tasks
        self._texts = texts
        self._auth = auth

    async def build(self) -> Built:
        """Load, parse and convert; nothing is executed. Raises BuildFailed with the place of a mistake."""
        if self._options.request:
            raise NotSupported(f"unsupported request {self._options.request}")
        if self._options.context:
            raise NotSupported("remote build contexts are not supported over BuildKit's protocol yet")
        for name in self._options.contexts:
            raise NotSupported(f"named build contexts are not supported yet: {name}")
        source, ignore_file = await self._load()
        context = LocalContext(self._session, self._client, self._progress, self._options.context_name)
        self._texts.names[context.vertex.digest] = context.vertex.name
        try:
            dockerfile = read_dockerfile(source.data)
            self._check_syntax(dockerfile)
            if ignore_file is None:
                ignore_file = await self._load_ignore_file()
            context.exclude(ignore_file)
            built = await self._converted(dockerfile, source, context)
        except DockerfileError as error:
            if not error.line:
                raise
            place = Place(source=source, line=error.line, end_line=error.end_line)
            raise BuildFailed(error, place=place) from error
        context.want(built.roots.values())
        return built

    def _check_syntax(self, dockerfile: Dockerfile) -> None:
        """Images of docker/dockerfile are what we are ourselves; others would have to be run."""
        image = self._options.build_args.get("BUILDKIT_SYNTAX") or dockerfile.directives.syntax or ""
        name = image.split()[0].partition("@")[0] if image.split() else ""
        repository = name.removeprefix("docker.io/").partition(":")[0]
        if repository and repository not in ("docker/dockerfile", "docker/dockerfile-upstream"):
            raise NotSupported(f"frontends from images are not supported yet: syntax={image}")

    async def _load(self) -> tuple[SourceInfo, str | None]:
        """The Dockerfile, and the .dockerignore that belongs to it alone if there is one."""
        filename = posixpath.normpath("/" + self._options.filename).lstrip("/")
        ignore_name = f"{filename}.dockerignore"
        wanted = [filename, ignore_name]
        if posixpath.basename(filename) == DEFAULT_DOCKERFILE:
            wanted.append(posixpath.join(posixpath.dirname(filename), DEFAULT_DOCKERFILE.lower()))
        with self._progress.internal(
            f"[internal] load build definition from {self._options.filename}"
        ) as step:
            directory = self._session.new_directory("dockerfile")
            tree = await fetch_directory(
                self._client, directory, name=self._options.dockerfile_name, follow=wanted
            )
            step.status("transferring dockerfile:", current=tree.received_bytes, done=True)
            found = next(
                (text for name in (wanted[0], *wanted[2:]) if (text := _read(directory, name)) is not None),
                None,
            )
            if found is None:
                raise InvalidParameter(
                    f"failed to read dockerfile: open {self._options.filename}: no such file or directory"
                )
        if not found.strip():
            raise InvalidParameter("the Dockerfile cannot be empty")
        ignored = _read(directory, ignore_name)
        info = SourceInfo(filename=self._options.filename, data=found, language="Dockerfile")
        return info, None if ignored is None else ignored.decode(errors="replace")

    async def _load_ignore_file(self) -> str:
        with self._progress.internal("[internal] load .dockerignore") as step:
            directory = self._session.new_directory("ignore")
            tree = await fetch_directory(
                self._client, directory, name=self._options.context_name, follow=[".dockerignore"]
            )
            step.status("transferring context:", current=tree.received_bytes, done=True)
            return (_read(directory, ".dockerignore") or b"").decode(errors="replace")

    async def _converted(self, dockerfile: Dockerfile, source: SourceInfo, context: LocalContext) -> Built:
        options = self._options
        platforms: tuple[Platform | None, ...] = options.platforms or (None,)
        roots: dict[str, Vertex] = {}
        metadata: dict[str, bytes] = {}
        images = ProgressImages(self._images, self._progress)
        for platform in platforms:
            label = str(platform) if len(platforms) > 1 else ""
            converter = Converter(
                dockerfile, self._convert_options(platform), images, context.vertex, self._tasks, _silent
            )
            plan = await converter.plan(converter.target)
            for index in converter.live_stages():
                each = await converter.plan(index)
                for digest, (name, instruction) in step_names(dockerfile, each, label).items():
                    self._texts.names[digest] = name
                    self._texts.places[digest] = Place(
                        source=source, line=instruction.line, end_line=instruction.end_line
                    )
            identifier = str(platform or host_platform()) if options.multi_platform else ""
            roots[identifier] = plan.last.root
            metadata[f"{CONFIG}/{identifier}" if identifier else CONFIG] = unfinished(plan.last.image)
        if options.multi_platform:
            metadata[PLATFORMS] = _platforms(platforms)
        return Built(roots=roots, metadata=metadata)

    def _convert_options(self, platform: Platform | None) -> ConvertOptions:
        options = self._options
        return ConvertOptions(
            build_args=options.build_args,
            labels=options.labels,
            target=options.target,
            platform=platform,
            network=options.network,
            no_cache=options.no_cache is not None,
            pull=options.pull,
            auth=self._auth,
        )


def _silent(index: int, message: JSONMessage) -> None:
    """Pulls are told by ProgressImages."""


def _platforms(platforms: tuple[Platform | None, ...]) -> bytes:
    found = [platform or host_platform() for platform in platforms]
    entries = [
        {
            "ID": str(platform),
            "Platform": {
                "architecture": platform.architecture,
                "os": platform.os,
                **({"variant": platform.variant} if platform.variant else {}),
            },
        }
        for platform in found
    ]
    return msgspec.json.encode({"Platforms": entries})


def _read(directory: str, name: str) -> bytes | None:
    """A file that a client has sent, by its path below `directory`; None if there is none."""
    root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fd = open_in_root(root, name, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return None
    finally:
        os.close(root)
    with os.fdopen(fd, "rb") as file:
        data = file.read(_MAX_TEXT + 1)
    if len(data) > _MAX_TEXT:
        raise InvalidParameter(f"{name} is larger than {_MAX_TEXT} bytes")
    return data

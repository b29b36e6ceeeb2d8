"""The Dockerfile frontend (`dockerfile.v0`): from a client's attributes to roots that can be solved."""

from __future__ import annotations

import asyncio
import posixpath
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from corten.builder.asking import Questions
from corten.builder.context import receive
from corten.builder.convert import Converter, ConvertOptions
from corten.builder.dockerfile.errors import DockerfileError
from corten.builder.dockerfile.rules import violation
from corten.builder.dockerfile.stages import Dockerfile, read_dockerfile
from corten.builder.graph import Vertex
from corten.builder.ignore import read_ignore_file
from corten.builder.image import unfinished
from corten.builder.session import Session
from corten.builder.sources import BaseImage, Images, NamedContext, OnProgress
from corten.builder.stepnames import shown_image, step_names
from corten.buildkit.attributes import DEFAULT_DOCKERFILE, FrontendOptions
from corten.buildkit.clientthings import ClientThings
from corten.buildkit.contexts import LocalContext, read_file
from corten.buildkit.exchange import Exchange
from corten.buildkit.failures import BuildFailed, Place
from corten.buildkit.filesync import fetch_directory
from corten.buildkit.keptcontexts import KeptContexts
from corten.buildkit.namedcontexts import named_contexts
from corten.buildkit.progress import Progress
from corten.buildkit.proto.control_pb2 import VertexWarning
from corten.buildkit.proto.llb_pb2 import Position, Range, SourceInfo
from corten.buildkit.requests import answer_request
from corten.buildkit.sessions import ClientSession
from corten.digest import Digest
from corten.errors import InvalidParameter, NotSupported
from corten.platforms import Platform, host_platform
from corten.reference import InvalidReference, parse_normalized
from corten.snapshots.workers import WorkerPool
from corten.types.progress import JSONMessage
from corten.types.system import AuthConfig

CONFIG = "containerimage.config"
PLATFORMS = "refs.platforms"


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What a frontend gives: roots by platform ("" if there is but one), and metadata for exporters."""

    roots: Mapping[str, Vertex | None]
    metadata: Mapping[str, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loaded:
    """A Dockerfile, its context, and the patterns of what is left out of it."""

    source: SourceInfo
    ignore: Sequence[str]
    context: Vertex


@dataclass(slots=True)
class StepTexts:
    """What the build knows of its vertices: their names, and where in a Dockerfile they stand."""

    names: dict[str, str] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)


class ProgressImages:
    """`Images` that tells of the looking up, and of layers as they are pulled."""

    def __init__(self, images: Images, progress: Progress, things: ClientThings) -> None:
        self._images = images
        self._progress = progress
        self._things = things
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
        if pull or self._images.find(reference, platform) is None:
            auth = {**auth, **await self._credentials(reference)}
        with self._progress.internal(f"[internal] load metadata for {shown_image(reference)}") as step:

            def tell(message: JSONMessage) -> None:
                detail = message.progress_detail
                if message.id and detail is not None:
                    step.status(message.id, current=detail.current or 0, total=detail.total or 0)

            return await self._images.resolve(
                reference, platform=platform, pull=pull, auth=auth, on_progress=tell
            )

    async def _credentials(self, reference: str) -> dict[str, AuthConfig]:
        try:
            domain = parse_normalized(reference).domain
        except InvalidReference:
            return {}
        found = await self._things.credentials(domain)
        return {domain: found} if found is not None else {}

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
    """One use of the frontend in one build. `inputs`: what other builds have made, by key."""

    def __init__(
        self,
        options: FrontendOptions,
        *,
        session: Session,
        client: ClientSession,
        workers: WorkerPool,
        images: Images,
        progress: Progress,
        tasks: asyncio.TaskGroup,
        texts: StepTexts,
        inputs: Mapping[str, str],
        exchange: Exchange,
        kept: KeptContexts,
    ) -> None:
        self._kept = kept
        self._options = options
        self._session = session
        self._client = client
        self._things = ClientThings(client)
        self._workers = workers
        self._images = ProgressImages(images, progress, self._things)
        self._progress = progress
        self._tasks = tasks
        self._texts = texts
        self._inputs = inputs
        self._exchange = exchange
        self._loading = ""  # digest of the step that loads the Dockerfile
        self._locals: dict[str, LocalContext] = {}

    async def build(self) -> Built:
        """Load, parse and convert; nothing is executed. Raises BuildFailed with the place of a mistake."""
        loaded = await self._load()
        text = loaded.source.data.decode(errors="replace")
        options = self._options
        questions = Questions(
            text,
            self._images,
            filename=options.filename,
            build_args=options.build_args,
            target=options.target,
            platform=options.platforms[0] if options.platforms else None,
            ignore=loaded.ignore,
        )
        if options.request:
            return Built(roots={"": None}, metadata=answer_request(options.request, questions))
        try:
            dockerfile = read_dockerfile(text)
            self._check_syntax(dockerfile)
            self._warn(dockerfile, questions, loaded.source)
            built = await self._converted(dockerfile, loaded)
        except DockerfileError as error:
            if not error.line:
                raise
            place = Place(source=loaded.source, line=error.line, end_line=error.end_line)
            raise BuildFailed(error, place=place) from error
        roots = [root for root in built.roots.values() if root is not None]
        for local in self._locals.values():
            local.want(roots)
        return built

    def _warn(self, dockerfile: Dockerfile, questions: Questions, source: SourceInfo) -> None:
        findings = questions.findings(dockerfile)
        for finding in findings:
            short = f"{finding.rule.name}: {finding.detail} (line {finding.line})"
            self._progress.warn(
                VertexWarning(
                    vertex=self._loading,
                    level=1,
                    short=short.encode(),
                    detail=[finding.rule.description.encode()],
                    url=finding.rule.url,
                    info=source,
                    ranges=[Range(start=Position(line=finding.line), end=Position(line=finding.end_line))],
                )
            )
        if findings and questions.options(dockerfile).error:
            raise InvalidParameter(violation(findings))

    def _check_syntax(self, dockerfile: Dockerfile) -> None:
        """Images of docker/dockerfile are what we are ourselves; others would have to be run."""
        image = self._options.build_args.get("BUILDKIT_SYNTAX") or dockerfile.directives.syntax or ""
        name = image.split()[0].partition("@")[0] if image.split() else ""
        repository = name.removeprefix("docker.io/").partition(":")[0]
        if repository and repository not in ("docker/dockerfile", "docker/dockerfile-upstream"):
            raise NotSupported(f"frontends from images are not supported yet: syntax={image}")

    async def _load(self) -> _Loaded:
        """The Dockerfile and the context: from the client's directories, or from where a URL leads."""
        remote = self._options.context
        if remote:
            return await self._load_remote(remote)
        source, ignore_file = await self._load_dockerfile()
        if ignore_file is None:
            ignore_file = await self._load_ignore_file()
        patterns = read_ignore_file(ignore_file)
        context = self._local(self._options.context_name, "[internal] load build context")
        context.exclude(patterns)
        return _Loaded(source=source, ignore=patterns, context=context.vertex)

    async def _load_remote(self, remote: str) -> _Loaded:
        body: AsyncIterator[bytes] = _empty()
        if remote.startswith("http://buildkit-session/"):
            body, remote = self._things.upload(remote), ""
        with self._progress.internal(f"[internal] load remote build context {remote}".rstrip()) as step:
            found = await receive(
                self._session,
                self._workers,
                body,
                dockerfile=self._options.filename,
                remote=remote,
            )
            self._loading = step.digest
        source = _source(self._options.filename, found.dockerfile.encode())
        return _Loaded(source=source, ignore=found.ignore, context=found.vertex)

    def _local(self, name: str, label: str) -> LocalContext:
        """A directory of the client's, the same however often it is asked for."""
        context = self._locals.get(name)
        if context is None:
            context = LocalContext(self._session, self._client, self._progress, name, label, self._kept)
            self._locals[name] = context
            self._texts.names[context.vertex.digest] = label
        return context

    def _named_directory(self, name: str, context: str) -> Vertex:
        """See OpenLocal."""
        return self._local(name, f"[context {context}] load from client").vertex

    async def _input(self, key: str) -> Vertex:
        """See TakeInput."""
        identifier = self._inputs.get(key)
        if identifier is None:
            raise InvalidParameter(f"invalid input {key}")
        return await self._exchange.take(identifier)

    async def _load_dockerfile(self) -> tuple[SourceInfo, str | None]:
        """The Dockerfile, and the .dockerignore that belongs to it alone if there is one."""
        filename = posixpath.normpath("/" + self._options.filename).lstrip("/")
        ignore_name = f"{filename}.dockerignore"
        wanted = [filename, ignore_name]
        if posixpath.basename(filename) == DEFAULT_DOCKERFILE:
            wanted.append(posixpath.join(posixpath.dirname(filename), DEFAULT_DOCKERFILE.lower()))
        name = f"[internal] load build definition from {self._options.filename}"
        with self._progress.internal(name) as step:
            self._loading = step.digest
            directory = self._session.new_directory("dockerfile")
            tree = await fetch_directory(
                self._client, directory, name=self._options.dockerfile_name, follow=wanted
            )
            step.status("transferring dockerfile:", current=tree.received_bytes, done=True)
            texts = [read_file(directory, name) for name in (filename, *wanted[2:])]
            found = next((text for text in texts if text is not None), None)
            if found is None:
                raise InvalidParameter(
                    f"failed to read dockerfile: open {self._options.filename}: no such file or directory"
                )
        if not found.strip():
            raise InvalidParameter("the Dockerfile cannot be empty")
        ignored = read_file(directory, ignore_name)
        source = _source(self._options.filename, found)
        return source, None if ignored is None else ignored.decode(errors="replace")

    async def _load_ignore_file(self) -> str:
        name = self._options.context_name
        with self._progress.internal("[internal] load .dockerignore") as step:
            directory = self._session.new_directory("ignore")
            tree = await fetch_directory(self._client, directory, name=name, follow=[".dockerignore"])
            step.status("transferring context:", current=tree.received_bytes, done=True)
            return (read_file(directory, ".dockerignore") or b"").decode(errors="replace")

    async def _converted(self, dockerfile: Dockerfile, loaded: _Loaded) -> Built:
        options = self._options
        platforms: tuple[Platform | None, ...] = options.platforms or (None,)
        roots: dict[str, Vertex | None] = {}
        metadata: dict[str, bytes] = {}
        for platform in platforms:
            label = str(platform) if len(platforms) > 1 else ""
            contexts = await named_contexts(
                options, platform, open_local=self._named_directory, take_input=self._input
            )
            converter = Converter(
                dockerfile,
                self._convert_options(platform, contexts),
                self._images,
                loaded.context,
                self._tasks,
                _silent,
            )
            plan = await converter.plan(converter.target)
            for index in converter.planned:
                names = step_names(dockerfile, await converter.plan(index), label)
                for digest, (name, instruction) in names.items():
                    self._texts.names[digest] = name
                    self._texts.places[digest] = Place(
                        source=loaded.source, line=instruction.line, end_line=instruction.end_line
                    )
            identifier = str(platform or host_platform()) if options.multi_platform else ""
            roots[identifier] = plan.last.root
            metadata[f"{CONFIG}/{identifier}" if identifier else CONFIG] = unfinished(plan.last.image)
        if options.multi_platform:
            metadata[PLATFORMS] = _platforms(platforms)
        return Built(roots=roots, metadata=metadata)

    def _convert_options(
        self, platform: Platform | None, contexts: Mapping[str, NamedContext]
    ) -> ConvertOptions:
        options = self._options
        return ConvertOptions(
            build_args=options.build_args,
            labels=options.labels,
            target=options.target,
            platform=platform,
            network=options.network,
            no_cache=options.no_cache == (),
            no_cache_stages=frozenset(options.no_cache or ()),
            pull=options.pull,
            entitlements=self._session.settings.entitlements,
            contexts=contexts,
        )


def _source(filename: str, data: bytes) -> SourceInfo:
    return SourceInfo(filename=filename, data=data, language="Dockerfile")


async def _empty() -> AsyncIterator[bytes]:
    for piece in tuple[bytes, ...]():
        yield piece


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

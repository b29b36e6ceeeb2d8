"""The Dockerfile frontend (`dockerfile.v0`): from a client's attributes to roots that can be solved."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from corten.builder.asking import Questions
from corten.builder.convert import Converter, ConvertOptions, Unresolved
from corten.builder.dockerfile.directives import parse_directives
from corten.builder.dockerfile.errors import DockerfileError
from corten.builder.dockerfile.rules import Finding, violation
from corten.builder.dockerfile.stages import Dockerfile, read_dockerfile
from corten.builder.export.export import config_key
from corten.builder.graph import ImageSource, Vertex
from corten.builder.image import unfinished
from corten.builder.sources import NamedContext
from corten.builder.stepnames import step_names
from corten.buildkit import platformlist
from corten.buildkit.attributes import FrontendOptions
from corten.buildkit.baseimages import ProgressImages
from corten.buildkit.clientthings import ClientThings
from corten.buildkit.failures import BuildFailed, Place
from corten.buildkit.loading import Loaded, Loader
from corten.buildkit.namedcontexts import TakeInput, named_contexts
from corten.buildkit.ocilayouts import LayoutPlace
from corten.buildkit.proto.control_pb2 import VertexWarning
from corten.buildkit.proto.llb_pb2 import Position, Range, SourceInfo
from corten.buildkit.requests import answer_request
from corten.buildkit.workbench import Workbench
from corten.errors import InvalidParameter
from corten.platforms import Platform, host_platform
from corten.types.progress import JSONMessage

_OURS = ("docker/dockerfile", "docker/dockerfile-upstream", "dockerfile.v0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What a frontend gives: roots by platform ("" if there is but one), and metadata for exporters."""

    roots: Mapping[str, Vertex | None]
    metadata: Mapping[str, bytes]


class OtherFrontend(Exception):
    """The Dockerfile is for a frontend in an image. `command_line`: all that `# syntax=` says."""

    def __init__(self, image: str, command_line: str) -> None:
        super().__init__(f"frontend {image}")
        self.image = image
        self.command_line = command_line


class DockerfileFrontend:
    """One use of the frontend in one build. `inputs`: what is given to it, by key."""

    def __init__(self, options: FrontendOptions, bench: Workbench, inputs: TakeInput) -> None:
        self._options = options
        self._bench = bench
        self._inputs = inputs
        self._images = ProgressImages(
            bench.images, bench.progress, ClientThings(bench.client), several=options.multi_platform
        )
        self._loader = Loader(options, bench)

    async def build(self) -> Built:
        """Load, parse and convert; nothing is executed. Raises BuildFailed with the place of a mistake."""
        loaded = await self._loader.load()
        text = loaded.source.data.decode(errors="replace")
        options = self._options
        self._check_syntax(text)
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
            warn = partial(self._warn, dockerfile, questions, loaded.source)
            try:
                built = await self._converted(dockerfile, loaded)
            except BaseException:
                warn()
                raise
            if not questions.options(dockerfile).error:
                self._bench.tasks.create_task(_later(warn))  # nothing depends on it
            elif findings := warn():
                raise InvalidParameter(violation(findings))
        except Unresolved as error:
            place = Place(source=loaded.source, line=error.line, end_line=error.end_line)
            raise BuildFailed(error, message=error.buildkits, place=place) from error
        except DockerfileError as error:
            if not error.line:
                raise
            place = Place(source=loaded.source, line=error.line, end_line=error.end_line)
            raise BuildFailed(error, place=place) from error
        extras = self._bench.session.materials.scanned.values()
        roots = [root for root in built.roots.values() if root is not None]
        self._loader.want([*roots, *(each for found in extras for each in found.values())])
        return built

    def _warn(self, dockerfile: Dockerfile, questions: Questions, source: SourceInfo) -> Sequence[Finding]:
        """Tell what the checks find. Only when all is converted all base images are known."""
        findings = questions.findings(dockerfile)
        for finding in findings:
            short = f"{finding.rule.name}: {finding.detail} (line {finding.line})"
            self._bench.progress.warn(
                VertexWarning(
                    vertex=self._loader.step,
                    level=1,
                    short=short.encode(),
                    detail=[finding.rule.description.encode()],
                    url=finding.rule.url,
                    info=source,
                    ranges=[Range(start=Position(line=finding.line), end=Position(line=finding.end_line))],
                )
            )
        return findings

    def _check_syntax(self, text: str) -> None:
        """Images of docker/dockerfile are what we are ourselves; others are run. Raises OtherFrontend."""
        if self._options.command_line:
            return  # such an image has asked us
        image = self._options.build_args.get("BUILDKIT_SYNTAX", "")
        lines = text.lstrip("\ufeff").splitlines()
        is_script = bool(lines) and lines[0].startswith("#!")
        with suppress(DockerfileError):  # told when all is parsed
            image = image or parse_directives(lines[is_script:]).syntax or ""
        name = image.split()[0].partition("@")[0] if image.split() else ""
        repository = name.removeprefix("docker.io/").partition(":")[0]
        if repository and repository not in _OURS:
            raise OtherFrontend(image.split()[0], image)

    async def _converted(self, dockerfile: Dockerfile, loaded: Loaded) -> Built:
        options = self._options
        platforms: tuple[Platform | None, ...] = options.platforms or (None,)
        roots: dict[str, Vertex | None] = {}
        metadata: dict[str, bytes] = {}
        for platform in platforms:
            contexts = await named_contexts(
                options,
                platform,
                open_local=self._loader.named_directory,
                take_input=self._inputs,
                open_layout=partial(self._open_layout, platform),
            )
            converter = Converter(
                dockerfile,
                self._convert_options(platform, contexts),
                self._images,
                loaded.context,
                self._bench.tasks,
                _silent,
            )
            last = (await converter.plan(converter.target)).last
            for index in converter.planned:
                plan = await converter.plan(index)
                names = step_names(dockerfile, plan, several=options.multi_platform)
                for digest, (name, instruction) in names.items():
                    self._bench.texts.names[digest] = name
                    self._bench.texts.places[digest] = Place(
                        source=loaded.source, line=instruction.line, end_line=instruction.end_line
                    )
            identifier = str(platform or host_platform()) if options.multi_platform else ""
            roots[identifier] = last.root
            self._bench.session.materials.scanned[last.root.digest] = await converter.scanned()
            metadata[config_key(identifier)] = unfinished(last.image)
        if options.multi_platform:
            metadata[platformlist.KEY] = platformlist.encode(each or host_platform() for each in platforms)
        return Built(roots=roots, metadata=metadata)

    async def _open_layout(self, platform: Platform | None, name: str, reference: str) -> NamedContext:
        """See OpenLayout."""
        bench = self._bench
        with bench.progress.internal(f"[context {name}] OCI load from client"):
            image = await bench.layouts.open(bench.client, LayoutPlace.of(reference, {}), platform)
        vertex = Vertex(op=ImageSource(diff_ids=image.diff_ids), name=f"oci-layout://{reference}")
        return NamedContext(vertex=vertex, config=image.config)

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
            entitlements=self._bench.session.settings.entitlements,
            contexts=contexts,
        )


async def _later(warn: Callable[[], object]) -> None:
    warn()


def _silent(index: int, message: JSONMessage) -> None:
    """Pulls are told by ProgressImages."""

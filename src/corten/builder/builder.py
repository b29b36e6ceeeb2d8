"""The builder as the API knows it: POST /build and POST /build/prune."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace

from corten.builder.args import keeps_git_dir
from corten.builder.asking import Questions
from corten.builder.attest.materials import NotedImages
from corten.builder.cache import BuildCache
from corten.builder.cachemounts import CacheMounts, OpenVolume
from corten.builder.config import BuilderConfig
from corten.builder.context import Context, receive
from corten.builder.convert import Converter
from corten.builder.counts import BuildCounts
from corten.builder.dockerfile.errors import DockerfileError
from corten.builder.dockerfile.rules import violation
from corten.builder.dockerfile.stages import NO_STAGE, Dockerfile, read_dockerfile
from corten.builder.entitlements import check_granted
from corten.builder.executor import Executor
from corten.builder.export.handover import Outputs
from corten.builder.frontends.classic import Built, ClassicPrinter, Printing
from corten.builder.frontends.trace import Trace, TracePrinter, in_buildkits_words
from corten.builder.frontends.tracedcaches import TracedCaches
from corten.builder.frontends.tracedexport import TracedExport
from corten.builder.keeping import keep
from corten.builder.messages import Emitter, Put, messages_of
from corten.builder.namedcontexts import named_contexts
from corten.builder.options import (
    checked_tags,
    convert_options,
    epoch_ns,
    platforms_of,
    refuse_of_classic,
    refuse_unsupported,
    settings,
)
from corten.builder.owned import first_error
from corten.builder.pruning import prune, selector_of, unused_since
from corten.builder.selectors import Selector
from corten.builder.session import Dispose, Session, Settings
from corten.builder.solver import Solver
from corten.builder.sources import Images, NamedContext
from corten.errors import InvalidParameter
from corten.filters import Filters
from corten.images import ImageStore
from corten.metadata import Ledger
from corten.reference import shown_image
from corten.snapshots.layers import LayerStore
from corten.snapshots.workers import WorkerPool
from corten.types.operations import BuildOptions, CacheSpace
from corten.types.progress import JSONMessage
from corten.types.system import BuildPruneReport

CALL_ANSWER = "corten.build.call"
"""The id of the message that answers `BuildOptions.call`: its aux is {document, text, status}."""


class Builder:
    """One per engine. Event loop's thread only."""

    def __init__(
        self,
        *,
        root: str,
        ledger: Ledger,
        layers: LayerStore,
        workers: WorkerPool,
        images: Images,
        store: ImageStore,
        executor: Executor,
        dispose: Dispose | None = None,
        config: BuilderConfig | None = None,
        collect: Callable[[], None] = lambda: None,
        open_volume: OpenVolume | None = None,
    ) -> None:
        """`dispose` deletes what builds leave behind; without it, the client waits for a worker to do so.

        `open_volume`: for cache mounts that are volumes.
        `config`: its rules are applied to the cache after builds that have added to it; `collect` then frees
        layers.
        """
        self.counts = BuildCounts()
        self.outputs = Outputs()
        self.config = config or BuilderConfig()
        self._sweeping: asyncio.Future[None] | None = None
        self._collect = collect
        self._root = root
        self._store = store
        self._dispose = dispose
        self._layers = layers
        self.workers = workers
        self.images = images
        self.cache = BuildCache(ledger)
        self.cache_mounts = CacheMounts(root, ledger, self.discard, open_volume)
        self.solver = Solver(layers, workers, self.cache, self.cache_mounts, executor)
        os.makedirs(os.path.join(root, "tmp"), mode=0o700, exist_ok=True)

    def open_session(self, settings: Settings) -> Session:
        """What one build works in; to be closed by `close_session`. Raises Forbidden."""
        check_granted(settings.entitlements, self.config.denied)
        return Session(self._root, self._layers, settings)

    def discard(self, path: str) -> None:
        """Delete a directory of the builder's some time."""
        if self._dispose is not None:
            self._dispose(path)
        else:
            shutil.rmtree(path, ignore_errors=True)

    async def close_session(self, session: Session) -> None:
        """Free everything that a build has held."""
        try:
            self.cache.write()  # as long as the session holds the layers
        finally:
            await session.close(self.workers, self._dispose)
        asyncio.get_running_loop().call_soon(self.cache.note_uses)  # nobody waits for it
        if self.config.keep_rules and self.cache.has_grown:
            self.cache.has_grown = False
            if keep(self.cache, self.config.keep_rules, free_bytes=self.free_bytes):
                self._collect()
            if self._sweeping is None or self._sweeping.done():
                self._sweeping = asyncio.ensure_future(self._keep_mounts())

    async def _keep_mounts(self) -> None:
        """Apply the rules to cache mounts too: what they come to takes a while to find out."""
        mounts = await self.cache_mounts.entries()
        if removed := keep(self.cache, self.config.keep_rules, mounts, self.free_bytes):
            self.cache_mounts.remove({mount.id for mount in mounts} & removed)
            self._collect()

    def free_bytes(self) -> int:
        """What is free on the disk with the cache."""
        disk = os.statvfs(self._root)
        return disk.f_bavail * disk.f_frsize

    def build(self, options: BuildOptions, context: AsyncIterator[bytes]) -> AsyncIterator[JSONMessage]:
        """See `corten.api.routes.build.Builder`."""
        tags = checked_tags(options)
        return messages_of(lambda put: self._build(options, tags, context, put))

    async def _build(
        self,
        options: BuildOptions,
        tags: list[str],
        body: AsyncIterator[bytes],
        put: Put,
    ) -> None:
        with self.counts.counted():
            await self._build_counted(options, tags, body, put)

    async def _build_counted(
        self, options: BuildOptions, tags: list[str], body: AsyncIterator[bytes], put: Put
    ) -> None:
        refuse_unsupported(options)
        if not options.trace:
            refuse_of_classic(options)
        session = self.open_session(replace(settings(options), cache_layers=self._cache_layers(options)))
        emit = Emitter(put, quiet=options.quiet)
        try:
            named = named_contexts(session, options.contexts)
            context = await receive(
                session,
                self.workers,
                body,
                dockerfile=options.dockerfile,
                remote=options.remote,
                apart=named.apart,
                keep_git_dir=keeps_git_dir(options.build_args),
            )
            try:
                await self._understood(options, tags, context, named.found, session, emit)
            except DockerfileError as error:
                if options.trace:
                    place = (error.line, error.end_line)
                    await Trace(emit).failure(context.dockerfile, options.dockerfile, *place)
                raise
        except Exception:
            await emit.failed()
            raise
        finally:
            await self.close_session(session)

    def _cache_layers(self, options: BuildOptions) -> frozenset[str] | None:
        """The classic --cache-from: layers of these images, if they are here, and no others."""
        if not options.cache_from or options.trace:
            return None
        found = [self.images.find(reference, None) for reference in options.cache_from]
        return frozenset(diff_id for image in found if image for diff_id in image.diff_ids)

    async def _understood(
        self,
        options: BuildOptions,
        tags: list[str],
        context: Context,
        contexts: Mapping[str, NamedContext],
        session: Session,
        emit: Emitter,
    ) -> None:
        """Parse the Dockerfile, and build it or answer what is asked about it."""
        questions = _questions(context, options, self.images)
        if options.call:
            answer = questions.answer(options.call)
            aux = {"document": answer.document, "text": answer.text, "status": answer.status}
            await emit(JSONMessage(id=CALL_ANSWER, aux=aux))
            return
        dockerfile = _parsed(context, options)
        _refuse_findings(questions, dockerfile)
        await self._run(options, tags, context, dockerfile, contexts, session, emit)
        if options.trace:
            await Trace(emit).warn(questions.findings(dockerfile))

    async def _run(
        self,
        options: BuildOptions,
        tags: list[str],
        context: Context,
        dockerfile: Dockerfile,
        contexts: Mapping[str, NamedContext],
        session: Session,
        emit: Emitter,
    ) -> None:
        pulls: dict[int, asyncio.Queue[JSONMessage | None]] = {
            stage.index: asyncio.Queue() for stage in dockerfile.stages
        }
        try:
            async with asyncio.TaskGroup() as tasks:
                converters = [
                    Converter(
                        dockerfile,
                        convert_options(options, contexts, platform),
                        NotedImages(self.images, session.materials),
                        context.vertex,
                        tasks,
                        lambda index, message: pulls[index].put_nowait(message),
                    )
                    for platform in platforms_of(options) or (None,)
                ]
                if options.trace:
                    await self._traced(options, tags, context, converters, session, tasks, emit)
                    return
                [converter] = converters
                solve = self.solver.begin(session, tasks)
                printing = Printing(
                    rm=options.rm,
                    force_rm=options.force_rm,
                    no_cache=options.no_cache or session.settings.cache_layers == frozenset(),
                    epoch_ns=epoch_ns(options),
                )
                printer = ClassicPrinter(converter, solve, self.cache, tasks, emit, pulls, printing)
                built = await printer.run()
                await self._finish(built, tags, converter, emit)
        except BaseExceptionGroup as group:
            raise first_error(group) from group

    async def _traced(
        self,
        options: BuildOptions,
        tags: list[str],
        context: Context,
        converters: Sequence[Converter],
        session: Session,
        tasks: asyncio.TaskGroup,
        emit: Emitter,
    ) -> None:
        trace = Trace(emit)
        several = len(converters) > 1
        by_platform = {str(each.platform) if several else "": each for each in converters}
        told = TracePrinter(by_platform, context.dockerfile, options.dockerfile, trace, epoch_ns(options))
        solve = self.solver.begin(session, tasks, lambda work: told.on_work(work, tasks))
        caches = TracedCaches(self._store, session, trace, options)
        export = None
        if options.outputs or options.attestations or several:
            export = TracedExport(self._store, self.images, self.outputs, session, trace, options, tags)
        await caches.import_all()
        if export is not None:
            try:
                answer = await export.run(told, solve, inline_cache=caches.is_inline)
            except Exception as error:
                raise in_buildkits_words(error) from error
            await caches.export_layers(export.results, solve)
            self.cache.forget_old_steps()
            image = answer.get("containerimage.config.digest") or answer.get("containerimage.digest", "")
            await emit(JSONMessage(aux={"ID": image, "Exported": answer}))
            await emit.done(image)
            return
        try:
            built = caches.inlined(await told.run(solve), solve)
        except Exception as error:
            raise in_buildkits_words(error) from error
        await self._stored(built, tags)
        naming = [f"naming to {shown_image(tag)}" for tag in tags]
        await trace.done("exporting to image", "exporting layers", f"writing image {built.id}", *naming)
        await caches.export_all(built, solve)
        await emit(JSONMessage(aux={"ID": built.id}))
        await emit.done(built.id)

    async def _stored(self, built: Built, tags: list[str]) -> None:
        if built.config is not None:
            await self.images.create(built.config, built.diff_ids)
        for tag in tags:
            await self.images.tag(built.id, tag)
        self.cache.forget_old_steps()

    async def _finish(self, built: Built, tags: list[str], converter: Converter, emit: Emitter) -> None:
        unused = converter.build_args.unused()
        if unused:
            await emit.text(f"[Warning] One or more build-args [{' '.join(unused)}] were not consumed\n")
        await self._stored(built, tags)
        await emit.text(f"Successfully built {built.id.removeprefix('sha256:')[:12]}\n")
        for tag in tags:
            await emit.text(f"Successfully tagged {tag}\n")
        await emit.done(built.id)

    async def output(self, token: str) -> AsyncIterator[bytes]:
        """See `corten.api.routes.build.Builder`."""
        return await self.outputs.take(token)

    async def prune(self, filters: Filters, *, all: bool, space: CacheSpace) -> BuildPruneReport:
        """See `corten.api.routes.build.Builder`."""
        return await self.prune_entries(
            selector_of(filters), all=all, space=space, unused_since_ns=unused_since(filters)
        )

    async def prune_entries(
        self, wanted: Selector, *, all: bool, space: CacheSpace, unused_since_ns: int | None
    ) -> BuildPruneReport:
        """See `corten.builder.pruning.prune`: of layers and cache mounts."""
        mounts = await self.cache_mounts.entries()
        report = prune(
            self.cache,
            wanted,
            all=all,
            space=space,
            unused_since_ns=unused_since_ns,
            free_bytes=self.free_bytes,
            mounts=mounts,
        )
        self.cache_mounts.remove({each.id for each in mounts}.intersection(report.caches_deleted or ()))
        return report


def _parsed(context: Context, options: BuildOptions) -> Dockerfile:
    try:
        return read_dockerfile(context.dockerfile)
    except DockerfileError as error:
        if error.located or error.message == NO_STAGE or options.trace:
            raise
        raise InvalidParameter(f"failed to parse {options.dockerfile}: {error}") from error


def _questions(context: Context, options: BuildOptions, images: Images) -> Questions:
    return Questions(
        context.dockerfile,
        images,
        filename=options.dockerfile,
        build_args=options.build_args,
        target=options.target,
        platform=next(iter(platforms_of(options)), None),
        ignore=context.ignore,
    )


def _refuse_findings(questions: Questions, dockerfile: Dockerfile) -> None:
    """`# check=error=true`: what works but should be changed does not work."""
    if questions.options(dockerfile).error and (findings := questions.findings(dockerfile)):
        raise InvalidParameter(violation(findings))

"""One build: from the client's Solve to what the exporters answer."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

from corten.builder.attest.attester import Attester
from corten.builder.attest.materials import NotedImages
from corten.builder.attest.options import AttestOptions
from corten.builder.attest.provenance import Request
from corten.builder.attest.sbom.scanner import Scanner
from corten.builder.builder import Builder
from corten.builder.cachetransfer.options import CachePlace
from corten.builder.entitlements import parse_entitlements
from corten.builder.executor import ProcessSpec
from corten.builder.export.export import Export
from corten.builder.export.exporters import Exporters
from corten.builder.export.targets import Target
from corten.builder.graph import SCRATCH, Vertex
from corten.builder.owned import first_error
from corten.builder.results import Result, Snapshot
from corten.builder.session import Session, Settings
from corten.builder.solver import Solve
from corten.builder.sources import BaseImage, no_credentials
from corten.buildkit.attributes import FrontendOptions, attestations, parse_attributes
from corten.buildkit.baseimages import ProgressImages
from corten.buildkit.caches import Caches, inline_cache
from corten.buildkit.clientthings import ClientThings
from corten.buildkit.containers import OpenContainer
from corten.buildkit.debugging import state_of
from corten.buildkit.driver import Driver, Outcome
from corten.buildkit.exchange import Exchange
from corten.buildkit.failures import BuildFailed
from corten.buildkit.frontend import Built, DockerfileFrontend, OtherFrontend
from corten.buildkit.gateway import Gateway
from corten.buildkit.history import History, Notes
from corten.buildkit.keptcontexts import KeptContexts
from corten.buildkit.looking import Looking, Tree
from corten.buildkit.lowering import Lowering
from corten.buildkit.lowering.containers import lower_container, lower_process, mount_targets
from corten.buildkit.ocilayouts import OciLayouts
from corten.buildkit.progress import Progress
from corten.buildkit.proto.gateway_pb2 import InitMessage, NewContainerRequest
from corten.buildkit.proto.llb_pb2 import Definition
from corten.buildkit.receiver import SessionReceiver
from corten.buildkit.sessions import ClientSession, Sessions
from corten.buildkit.steps import Steps
from corten.buildkit.workbench import StepTexts, Workbench
from corten.errors import CortenError, InvalidParameter, NotFound, NotSupported
from corten.images import ImageStore
from corten.platforms import Platform

log = logging.getLogger(__name__)

FRONTEND = "dockerfile.v0"
GATEWAY = "gateway.v0"
_MAX_FRONTENDS = 16  # images that run in one build: they may ask for each other


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    """What Control.Solve asks for. `frontend` "": the client drives the build through the bridge.

    `definition`: what is built without a frontend. `internal`: nobody wants to hear of it later.
    `inputs`: what the frontend is given, by key. `body`: what the context `BODY` is, a tar.
    """

    ref: str
    session: str
    frontend: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    targets: Sequence[Target] = ()
    entitlements: Sequence[str] = ()
    inputs: Mapping[str, Definition] = field(default_factory=dict)
    definition: Definition = field(default_factory=Definition)
    internal: bool = False
    cache_exports: Sequence[CachePlace] = ()
    cache_imports: Sequence[CachePlace] = ()
    body: AsyncIterator[bytes] | None = None


class Build:
    """One build. Its calls come from tasks of their own; its work belongs to the task of `run`."""

    def __init__(
        self,
        request: BuildRequest,
        builder: Builder,
        sessions: Sessions,
        exporters: Exporters,
        exchange: Exchange,
        history: History,
        kept: KeptContexts,
        store: ImageStore,
    ) -> None:
        self._history = history
        self._kept = kept
        self._store = store
        self.request = request
        self.progress = Progress()
        self.texts = StepTexts()
        self._steps = Steps(self.progress, self.texts)
        self._builder = builder
        self._sessions = sessions
        self._exporters = exporters
        self._exchange = exchange
        self._begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._references: dict[str, Vertex] = {}
        self._definitions: dict[str, Definition] = {}
        self._over = False
        self._frontends = 0
        self._frontend_options = parse_attributes(request.attributes)
        self._attest = attestations(request.attributes)
        self._asked: tuple[str, Mapping[str, str]] = ("", {})
        self.notes: Notes = dict  # for the history
        self._tasks: asyncio.TaskGroup
        self._session: Session
        self._solve: Solve
        self._caches: Caches
        self._bench: Workbench
        self._lowering: Lowering
        self._looking: Looking
        self.client: ClientSession

    # ------------------------------------------------------------ from start to end

    async def run(self, driver: Driver) -> dict[str, str]:
        """Do it; what the exporters answer. Raises BuildFailed, GRPCError, CortenError."""
        with self._builder.counts.counted():
            return await self._run_counted(driver)

    async def _run_counted(self, driver: Driver) -> dict[str, str]:
        session: Session | None = None
        try:
            for place in self.request.cache_exports:
                place.check_export()  # now, not after a long build
            self._exporters.check(self.request.targets)
            self.client = await self._sessions.get(self.request.session)
            self._session = session = self._builder.open_session(self._settings(self._frontend_options))
            return await self._run(driver)
        except BaseException as error:
            self._give_up(error, driver)
            raise
        finally:
            self._end()
            if session is not None:
                await self._builder.close_session(session)

    def _end(self) -> None:
        """Nothing more can be asked for, and nothing more is told."""
        self._over = True
        self._steps.clear()
        self._references.clear()
        self._definitions.clear()
        self._exchange.withdraw(self.solve_snapshot)
        self.progress.end()

    async def _run(self, driver: Driver) -> dict[str, str]:
        try:
            async with asyncio.TaskGroup() as self._tasks:
                follow = partial(self._steps.follow, self._tasks)
                self._solve = self._builder.solver.begin(self._session, self._tasks, follow)
                self._caches = Caches(self._store, self._session, self.client, self.progress)
                self._bench = self._new_bench()
                self._looking = Looking(self._session, self._builder.workers)
                read = partial(_read, self._steps, self._solve, self._looking)
                self._lowering = Lowering(self._bench, read)
                self._begun.set_result(None)
                await self.import_caches(self.request.cache_imports)
                try:
                    outcome = await self._outcome(driver)
                finally:
                    await driver.containers.close()
                attester = self._attester(self._attest)
                export = Export(
                    roots=outcome.roots,
                    metadata=outcome.metadata,
                    solve=self.solve_snapshot,
                    receiver=SessionReceiver(self.client),
                    progress=self.progress,
                    epoch_ns=attester.request.epoch_ns,
                    session=self._session,
                    attester=attester,
                    inline_cache=lambda layers: inline_cache(self.request.cache_exports, self._solve, layers),
                )
                answer = await self._exporters.export(export, self.request.targets)
                self.notes = partial(attester.notes, outcome.roots)
                return {**answer, **await self._cached(outcome)}
        except BaseExceptionGroup as group:
            raise first_error(group) from group

    def _attester(self, options: AttestOptions) -> Attester:
        """Of what has been built, as far as it is known now."""
        epoch_ns = self._frontend_options.epoch_ns
        scanner = None
        if options.sbom is not None:
            scanner = Scanner(
                session=self._session,
                workers=self._builder.workers,
                options=options.sbom,
                solve=self._present,
                resolve=self._resolve_scanner,
                created_ns=self._session.materials.started_ns if epoch_ns is None else epoch_ns,
                fresh=self._frontend_options.no_cache == (),
            )
        frontend, attributes = self._asked
        return Attester(
            options=options,
            request=Request(
                frontend=frontend,
                arguments=attributes or self.request.attributes,
                invocation=self.request.ref,
                epoch_ns=epoch_ns,
                source=self.texts.source(),
            ),
            materials=self._session.materials,
            layers_of=self._solve.layers_of,
            scanner=scanner,
            tell=self.progress.internal,
        )

    async def _resolve_scanner(self, name: str) -> BaseImage:
        """Told of, but no material of the result."""
        images = ProgressImages(self._builder.images, self.progress, ClientThings(self.client))
        return await images.resolve(
            name, platform=None, pull=False, credentials=no_credentials, on_progress=lambda _: None
        )

    async def _cached(self, outcome: Outcome) -> dict[str, str]:
        """Export the cache, where that was asked for."""
        if not self.request.cache_exports:
            return {}
        results = {
            platform: await self.solve_snapshot(root)
            for platform, root in outcome.roots.items()
            if root is not None
        }
        return await self._caches.export_all(self.request.cache_exports, self._solve, results)

    async def import_caches(self, places: Sequence[CachePlace]) -> None:
        """Use caches from elsewhere for what is solved from now on."""
        await self._caches.import_all(places)

    async def _outcome(self, driver: Driver) -> Outcome:
        if self.request.definition.ops:
            root = await self._lowering.root(self.request.definition)
            return Outcome(roots={"": root}, metadata={})
        if not self.request.frontend:
            return await driver.returned
        reference_ids, metadata = await self.run_frontend(self.request.frontend, {}, {})
        return Outcome(
            roots={platform: self._references.get(each) for platform, each in reference_ids.items()},
            metadata=metadata,
        )

    def _give_up(self, error: BaseException, driver: Driver) -> None:
        for future in (self._begun, driver.returned):
            if not future.done():
                future.set_exception(
                    error if isinstance(error, Exception) else NotFound("the build was cancelled")
                )
                future.exception()

    def _settings(self, options: FrontendOptions) -> Settings:
        things = ClientThings(self.client)
        return Settings(
            limits=options.limits,
            extra_hosts=options.extra_hosts,
            hidden_env=options.proxies,
            find_secret=things.find_secret,
            find_agent=things.find_agent,
            entitlements=parse_entitlements(self.request.entitlements),
            epoch_ns=options.epoch_ns,
        )

    # ------------------------------------------------------------ what the bridge asks for

    @property
    def has_begun(self) -> bool:
        """Whether the build can be asked for things."""
        return self._begun.done() and not self._over and self._begun.exception() is None

    async def begun(self) -> None:
        """Wait until the build can be asked for things. Raises what it has failed with, NotFound."""
        await asyncio.shield(self._begun)
        if self._over:
            raise NotFound(f"no such job {self.request.ref}")

    async def run_frontend(
        self, frontend: str, attributes: Mapping[str, str], inputs: Mapping[str, Definition]
    ) -> tuple[dict[str, str], Mapping[str, bytes]]:
        """Let the Dockerfile frontend work: ids of references by platform ("" = none), and metadata."""
        if frontend not in (FRONTEND, GATEWAY):
            raise NotSupported(f"frontend {frontend} is not supported")
        together = {**self.request.attributes, **attributes}
        options = parse_attributes(together)
        self._history.describe(self.request.ref, frontend, attributes)
        if not self._asked[0]:
            self._asked = (frontend, together)
        await self.import_caches(options.cache_from)
        given = {**self.request.inputs, **inputs}

        async def take(key: str) -> Vertex:
            if key not in given:
                raise InvalidParameter(f"invalid input {key}")
            return await self._lowering.lower(given[key]) or SCRATCH

        built: Built | Outcome
        if frontend == GATEWAY:
            built = await self._run_image(options.source, together, given)
        else:
            try:
                built = await DockerfileFrontend(options, self._bench, take).build()
            except OtherFrontend as other:
                wanted = {**together, "source": other.image, "cmdline": other.command_line}
                built = await self._run_image(other.image, wanted, given)
        references = {
            platform: self.add_reference(root) if root is not None else ""
            for platform, root in built.roots.items()
        }
        return references, built.metadata

    async def _run_image(
        self, source: str, attributes: Mapping[str, str], inputs: Mapping[str, Definition]
    ) -> Outcome:
        """Let the frontend in an image work."""
        if not source:
            raise InvalidParameter("no source specified for gateway")
        if self._frontends >= _MAX_FRONTENDS:
            raise InvalidParameter("too many frontends in one build")
        self._frontends += 1
        image = await self.resolve_image(source, None, pull=False)
        gateway = Gateway(self._bench, self._builder.solver)
        return await gateway.run(source, image, attributes, Driver(self, inputs))

    def _new_bench(self) -> Workbench:
        return Workbench(
            session=self._session,
            client=self.client,
            workers=self._builder.workers,
            images=NotedImages(self._builder.images, self._session.materials),
            progress=self.progress,
            tasks=self._tasks,
            texts=self.texts,
            exchange=self._exchange,
            kept=self._kept,
            layouts=OciLayouts(self._store, self._session),
            body=self.request.body,
        )

    @asynccontextmanager
    async def container(self, request: NewContainerRequest) -> AsyncIterator[OpenContainer]:
        """A container for processes that the client will start. Raises what `lower_container` does."""
        vertex = lower_container(request, self.reference, self._session.settings.entitlements)
        async with self._solve.container(vertex) as (made, spec):
            yield OpenContainer(made, spec, mount_targets(request))

    async def process(self, init: InitMessage) -> ProcessSpec:
        """A process of a container as an executor takes it. Raises what `lower_process` does."""
        return await lower_process(init, self._session.settings)

    async def lower(self, definition: Definition) -> Vertex | None:
        """A client's own graph as one of ours, as a root file system; None if it is empty."""
        return await self._lowering.root(definition)

    async def tree(self, identifier: str) -> Tree:
        """What stands behind a reference, made and here, to be looked into with `look`."""
        return self._looking.tree(await self._present(self.reference(identifier)))

    @property
    def look(self) -> Looking:
        """Looks into results and containers."""
        return self._looking

    async def resolve_image(self, reference: str, platform: Platform | None, *, pull: bool) -> BaseImage:
        """An image as a source names it, in the store."""
        images = ProgressImages(self._bench.images, self.progress, ClientThings(self.client))
        return await images.resolve(
            reference, platform=platform, pull=pull, credentials=no_credentials, on_progress=lambda _: None
        )

    async def _present(self, vertex: Vertex) -> Result:
        return await self._steps.outcome(self._solve.result(vertex))

    def definition(self, identifier: str) -> Definition:
        """What stands for a reference in other builds of the client: its own definition, if it has one."""
        if identifier in self._definitions:
            return self._definitions[identifier]
        return self._exchange.offer(self.reference(identifier), self.solve_snapshot)

    def add_reference(self, vertex: Vertex, definition: Definition | None = None) -> str:
        """A name for a root, under which the client may ask for it later. `definition`: it came as this."""
        identifier = secrets.token_hex(12)
        self._references[identifier] = vertex
        if definition is not None:
            self._definitions[identifier] = definition
        return identifier

    def look_ahead(self, identifier: str) -> None:
        """The client is likely to ask for a result: find what is known of it while it does so."""
        vertex = self._references.get(identifier)  # none if the build has ended
        if vertex is not None:
            with suppress(CortenError):  # told to who asks for it
                self._solve.look_ahead(vertex)

    def reference(self, identifier: str) -> Vertex:
        """The root of this name; none at all is `scratch`. Raises NotFound."""
        if not identifier:
            return SCRATCH
        try:
            return self._references[identifier]
        except KeyError:
            raise NotFound(f"no such ref: {identifier}") from None

    async def solve(self, vertex: Vertex) -> Result:
        """Do the work. Raises BuildFailed."""
        return await self._steps.outcome(self._solve.work(vertex).result())

    async def solve_snapshot(self, vertex: Vertex) -> Snapshot:
        """Do the work whose result is a root file system; all its layers are in the store."""
        result = await self._steps.outcome(self._solve.snapshot(vertex))
        self._exchange.made(vertex, result)
        return result

    def inspectable(self, error: BuildFailed) -> BuildFailed:
        """The error with what a client needs to look into its step, if that is a command that has run."""
        vertex = self._steps.vertex(error.vertex)
        if vertex is None or not self._solve.has_remains(vertex):
            return error
        return error.with_state(state_of(vertex, self.add_reference))


async def _read(steps: Steps, solve: Solve, looking: Looking, vertex: Vertex, path: str) -> bytes:
    """A file of what a vertex gives."""
    return await looking.file(looking.tree(await steps.outcome(solve.result(vertex))), path)

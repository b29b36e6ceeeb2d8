"""--output, --provenance, --sbom and --attest of `corten build`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from corten.builder.attest.attester import Attester
from corten.builder.attest.options import AttestOptions, parse_attestations
from corten.builder.attest.provenance import Request, Source
from corten.builder.attest.sbom.scanner import Scanner
from corten.builder.cachetransfer.document import encode_inline
from corten.builder.export.export import Export, config_key
from corten.builder.export.exporters import Exporters
from corten.builder.export.handover import HttpReceiver, Offer, Outputs
from corten.builder.export.targets import NO_EXPORT, Target
from corten.builder.frontends.trace import Step, Trace, TracePrinter
from corten.builder.image import unfinished
from corten.builder.options import epoch_ns
from corten.builder.session import Session
from corten.builder.solver import Solve
from corten.builder.sources import BaseImage, Images
from corten.builder.store_images import credentials_in
from corten.ids import new_id
from corten.images import ImageStore
from corten.types.operations import BuildOptions
from corten.types.progress import JSONMessage

OUTPUT = "corten.build.output"
"""The id of the message that offers an output: its aux is {number, token} (`export.handover`)."""
_STATUS_EVERY_NS = 100_000_000


class Telling:
    """A trace for those who tell without waiting (`export.ports.Told`); messages go out in their order."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._messages: asyncio.Queue[tuple[str, dict[str, object]]] = asyncio.Queue()

    def say(self, kind: str, content: dict[str, object]) -> None:
        """Pass one message on, some time."""
        self._messages.put_nowait((kind, content))

    async def pump(self) -> None:
        """Pass messages on until cancelled."""
        while True:
            message = await self._messages.get()
            await self._trace.say(*message)
            self._messages.task_done()

    async def settle(self) -> None:
        """Wait until everything has gone out."""
        await self._messages.join()

    @contextmanager
    def internal(self, name: str) -> Iterator[_TracedStep]:
        """See Told."""
        step = self._trace.step(name)
        step.started = time.time_ns()
        self.say("vertex", step.describe())
        try:
            yield _TracedStep(self, step)
        except BaseException as error:
            step.completed, step.error = time.time_ns(), str(error) or "context canceled"
            self.say("vertex", step.describe())
            raise
        step.completed = time.time_ns()
        self.say("vertex", step.describe())


class _TracedStep:
    """See `export.ports.StepTold`."""

    def __init__(self, telling: Telling, step: Step) -> None:
        self._telling = telling
        self._step = step
        self._told: dict[str, int] = {}

    def status(self, identifier: str, *, current: int = 0, total: int = 0, done: bool = False) -> None:
        """See StepTold."""
        now = time.time_ns()
        if not done and now < self._told.get(identifier, 0) + _STATUS_EVERY_NS:
            return
        self._told[identifier] = now
        self._telling.say(
            "status",
            {"vertex": self._step.number, "id": identifier, "current": current, "total": total, "done": done},
        )

    @contextmanager
    def part(self, identifier: str) -> Iterator[None]:
        """See StepTold."""
        self.status(identifier)
        yield
        self.status(identifier, done=True)


def targets_of(options: BuildOptions, tags: Sequence[str]) -> list[Target]:
    """Where the result goes. Raises InvalidParameter, NotSupported."""
    names = {"name": ",".join(tags)} if tags else {}
    if not options.outputs:
        return [Target(type="moby", attributes=names)]
    found = [
        Target(type=output.type, attributes={**names, **output.attributes}, number=number)
        for number, output in enumerate(options.outputs)
        if output.type != NO_EXPORT
    ]
    for target in found:
        target.check()
    return found


class TracedExport:
    """The export of one build."""

    def __init__(
        self,
        store: ImageStore,
        images: Images,
        outputs: Outputs,
        session: Session,
        trace: Trace,
        options: BuildOptions,
        tags: Sequence[str],
    ) -> None:
        """Raises InvalidParameter, NotSupported: now, not after a long build."""
        self._store = store
        self._images = images
        self._outputs = outputs
        self._session = session
        self._trace = trace
        self._options = options
        self.results: Sequence[Sequence[str]] = ()
        self._attest = parse_attestations(options.attestations)
        self._targets = targets_of(options, tags)

    async def run(self, told: TracePrinter, solve: Solve, *, inline_cache: bool) -> Mapping[str, str]:
        """Build and hand over; what the exporters answer. Then `results` has the layers of each platform."""
        exporters = Exporters(self._store)
        exporters.check(self._targets)  # now, not after a long build
        steps = {platform: plan.last for platform, plan in (await told.plans()).items()}
        self._session.materials.scanned.update(await told.scanned())
        telling = Telling(self._trace)
        pump = asyncio.ensure_future(telling.pump())
        try:
            export = Export(
                roots={platform: step.root for platform, step in steps.items()},
                metadata={config_key(platform): unfinished(step.image) for platform, step in steps.items()},
                solve=solve.snapshot,
                receiver=HttpReceiver(
                    self._outputs, self._store.workers, self._options.auth, self._offer(telling)
                ),
                progress=telling,
                session=self._session,
                epoch_ns=epoch_ns(self._options),
                attester=self._attester(told, solve, telling),
                inline_cache=(lambda layers: encode_inline(solve.records(), layers))
                if inline_cache
                else (lambda _: b""),
            )
            answer = await exporters.export(export, self._targets)
            self.results = [solve.layers_of(step.root) or [] for step in steps.values()]
            await telling.settle()
            return answer
        finally:
            pump.cancel()
            await told.followed()

    def _offer(self, telling: Telling) -> Offer:
        async def offer(content: Mapping[str, object]) -> None:
            await telling.settle()
            await self._trace.tell(JSONMessage(id=OUTPUT, aux=dict(content)))

        return offer

    def _attester(self, told: TracePrinter, solve: Solve, telling: Telling) -> Attester:
        moment = epoch_ns(self._options)
        materials = self._session.materials
        return Attester(
            options=self._attest,
            request=Request(
                frontend="dockerfile.v0",
                arguments=_arguments(self._options),
                invocation=new_id()[:25],
                epoch_ns=moment,
                source=Source(
                    filename=self._options.dockerfile, data=told.source.encode(), places=told.places()
                ),
            ),
            materials=materials,
            layers_of=solve.layers_of,
            scanner=self._scanner(self._attest, solve, materials.started_ns if moment is None else moment),
            tell=telling.internal,
        )

    def _scanner(self, options: AttestOptions, solve: Solve, created_ns: int) -> Scanner | None:
        if options.sbom is None:
            return None

        async def resolve(name: str) -> BaseImage:
            return await self._images.resolve(
                name,
                platform=None,
                pull=False,
                credentials=credentials_in(self._options.auth),
                on_progress=lambda _: None,
            )

        return Scanner(
            session=self._session,
            workers=self._store.workers,
            options=options.sbom,
            solve=solve.result,
            resolve=resolve,
            created_ns=created_ns,
            fresh=self._options.no_cache,
        )


def _arguments(options: BuildOptions) -> dict[str, str]:
    """As BuildKit's frontend is given them."""
    found = {f"build-arg:{name}": value for name, value in options.build_args.items() if value is not None}
    found |= {f"label:{name}": value for name, value in options.labels.items()}
    found["filename"] = options.dockerfile
    if options.target:
        found["target"] = options.target
    if options.network_mode not in ("", "default"):
        found["force-network-mode"] = options.network_mode
    if options.extra_hosts:
        found["add-hosts"] = ",".join(host.replace(":", "=", 1) for host in options.extra_hosts)
    if options.no_cache:
        found["no-cache"] = ""
    return found

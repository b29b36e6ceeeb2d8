"""From vertices to results: everything that can run at once does, and nothing is done twice.

A vertex's work begins when all its inputs are there. What makes a layer first asks the cache, under a
quick key (operation + identities of its inputs) and, for copies and mounts, under a slow one (operation +
content of what is copied or mounted). A chain that is all in the cache is walked at once, if need be before
it is wanted (`look_ahead`); what there is to wait for is a task.
Builds that come to the same key at once wait for the first of them and then find its layer in the cache; if
that one fails or is cancelled, the next does the work itself.

What only an imported cache knows has a name, which is enough for the keys of what comes after it; the layer
is fetched when somebody needs its files, and the work is done after all if nobody has them any more.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from weakref import WeakValueDictionary

from corten.builder.blocking import run_blocking, run_job
from corten.builder.cache import BuildCache
from corten.builder.cachemounts import CacheMounts
from corten.builder.cachetransfer.document import Record
from corten.builder.executor import BuildContainer, ExecSpec, Executor
from corten.builder.graph import (
    Diff,
    Exec,
    File,
    GitSource,
    HttpSource,
    ImageSource,
    InlineSource,
    LocalSource,
    Merge,
    Output,
    Remains,
    Vertex,
    kept_mounts,
)
from corten.builder.image import Layer
from corten.builder.keys import has_slow_key, output_keys, quick_key, slow_key
from corten.builder.ops.fetch import fetch
from corten.builder.ops.files import change_files
from corten.builder.ops.git import clone
from corten.builder.ops.run import prepared, run_command
from corten.builder.ops.step import Step
from corten.builder.owned import Owned
from corten.builder.results import Directory, Result, Snapshot, difference, merged
from corten.builder.session import Session
from corten.builder.work import Cached, Started, Work
from corten.digest import Digest
from corten.errors import CortenError, InvalidParameter
from corten.snapshots import uppers
from corten.snapshots.layers import NOTHING, Hashed, LayerStore
from corten.snapshots.workers import WorkerPool


class Solver:
    """The engine's one solver: what builds share. Event loop's thread only."""

    def __init__(
        self,
        layers: LayerStore,
        workers: WorkerPool,
        cache: BuildCache,
        cache_mounts: CacheMounts,
        executor: Executor,
    ) -> None:
        self.layers = layers
        self.workers = workers
        self.cache = cache
        self.cache_mounts = cache_mounts
        self.executor = executor
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def begin(
        self, session: Session, tasks: asyncio.TaskGroup, on_work: Callable[[Work], None] | None = None
    ) -> Solve:
        """The solving of one build's vertices; its tasks belong to `tasks`, whose cancelling ends them.

        `on_work` is called for each piece of work when it is first asked for, inputs first.
        """
        session.on_close.callback(self.executor.leave, session.name)
        return Solve(self, session, tasks, on_work)

    def lock(self, key: str) -> asyncio.Lock:
        """The lock of those who are about to do the work named `key`."""
        lock = self._locks.get(key)
        if lock is None:
            lock = self._locks[key] = asyncio.Lock()
        return lock


@dataclass(slots=True)
class _Distant:
    """Layers of which one or more are only known by name, and how they can be had."""

    work: Work
    op: Exec | File
    inputs: Sequence[Result]
    keys: Sequence[str]
    layers: Sequence[Layer]
    coming: Owned[Sequence[Layer]] | None = None


class Solve:
    """One build's work, by vertex digest."""

    def __init__(
        self,
        solver: Solver,
        session: Session,
        tasks: asyncio.TaskGroup,
        on_work: Callable[[Work], None] | None,
    ) -> None:
        self._solver = solver
        self._session = session
        self._tasks = tasks
        self._on_work = on_work
        self._works: dict[Digest, Work] = {}
        self._records: dict[Digest, list[Record]] = {}
        self._distant: dict[Layer, _Distant] = {}
        self._failed: dict[Digest, Step] = {}

    async def result(self, vertex: Vertex) -> Result:
        """The vertex's result, all its layers in the store. Raises what the work raises."""
        return await self.present(await self.work(vertex).result())

    async def snapshot(self, vertex: Vertex) -> Snapshot:
        """As `result`, if that is a root file system. Raises InvalidParameter if it is not."""
        result = await self.result(vertex)
        if isinstance(result, Directory):
            raise InvalidParameter("the result of the build is no file system")
        return result

    def layers_of(self, vertex: Vertex) -> list[str] | None:
        """The diff ids of the layers of a vertex's result, lowest first; None if it has not been done."""
        work = self._works.get(vertex.digest)
        result = work.finished if work is not None else None
        return [layer.diff_id for layer in result.layers] if isinstance(result, Snapshot) else None

    def records(self) -> list[Record]:
        """What has been done, for caches elsewhere; the same in the same order for the same work."""
        found = []
        for record in itertools.chain.from_iterable(self._records.values()):
            made = record.layers[-1]
            keys = {*record.keys, *self._solver.cache.keys_of(made), *self._session.imports.keys_of(made)}
            found.append(replace(record, keys=tuple(sorted(keys))))
        return sorted(found, key=lambda record: record.keys)

    def work(self, vertex: Vertex) -> Work:
        """The vertex's work, begun if it was not yet, with all that it needs."""
        for each in self._without_work(vertex):
            if self._known_work(each) is None:
                work = Work(each)
                work.begin(
                    Owned(self._tasks, self._perform(work, [self._works[i.digest] for i in each.inputs]))
                )
                self._add(work)
        return self._works[vertex.digest]

    def look_ahead(self, vertex: Vertex) -> bool:
        """Find what is known of a vertex that is likely to be asked for; whether that is all of it."""
        known = all(self._known_work(each) is not None for each in self._without_work(vertex))
        return known and self._works[vertex.digest].finished is not None

    def _without_work(self, vertex: Vertex) -> Iterator[Vertex]:
        """The vertex and what it needs, each after what it needs itself; not what has work already.

        Who asks for the next one has added this one's work.
        """
        waiting = [vertex]  # a chain may be longer than the interpreter's stack is deep
        while waiting:
            needed = [each for each in waiting[-1].inputs if each.digest not in self._works]
            if needed:
                waiting += reversed(needed)
                continue
            last = waiting.pop()
            if last.digest not in self._works:
                yield last

    def _known_work(self, vertex: Vertex) -> Work | None:
        """The work if it need not be done. That of the inputs is there."""
        work = Work(vertex)
        known = self._known_result(work, [self._works[each.digest].finished for each in vertex.inputs])
        if known is None:
            return None
        work.end(known)
        self._add(work)
        return work

    def _add(self, work: Work) -> None:
        self._works[work.vertex.digest] = work
        if self._on_work is not None:
            self._on_work(work)

    def _known_result(self, work: Work, inputs: Sequence[Result | None]) -> Snapshot | None:
        """The result of what need not be done: an image, or what our own cache has under the quick key."""
        op = work.vertex.op
        if isinstance(op, ImageSource):
            work.tell(Started())
            times = op.created_ns or (0,) * len(op.diff_ids)
            snapshot = Snapshot(tuple(map(Layer, op.diff_ids, times)))
            self._session.pin(snapshot)
            return snapshot
        results = [each for each in inputs if each is not None]
        if not isinstance(op, Exec | File) or len(results) < len(inputs) or self._session.imports:
            return None
        quick = quick_key(self._session, op, results)
        layers = self._known(work, [quick], anew=False) if quick else None
        if layers is None:
            return None
        work.tell(Started())
        work.tell(Cached())
        return self._upon(results[0], layers, work, [quick])

    async def _perform(self, work: Work, inputs: Sequence[Work]) -> Result:
        results = await _all(inputs)
        work.tell(Started())
        op = work.vertex.op
        if isinstance(op, LocalSource):
            return await self._session.directory(op.key)
        if isinstance(op, InlineSource):
            return self._written(op, work.vertex.digest)
        if isinstance(op, HttpSource):
            return await fetch(self._session, self._solver.workers, op)
        if isinstance(op, GitSource):
            return await clone(self._session, self._solver.workers, op)
        if isinstance(op, Merge):
            return merged(results)
        if isinstance(op, Diff):
            return difference(*results)
        if isinstance(op, Output):
            made = results[0]
            assert isinstance(made, Snapshot)
            return made.outputs[op.number]
        if isinstance(op, Remains):
            return await self._remains(self._failed[op.of])
        assert not isinstance(op, ImageSource)  # known at once
        return await self._layered(work, op, results)

    def _written(self, op: InlineSource, identity: str) -> Directory:
        path = self._session.new_directory("inline", mode=0o755)
        for file in op.files:
            # Of several with one name the last counts.
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
            fd = os.open(os.path.join(path, file.name), flags, file.mode)
            with os.fdopen(fd, "wb") as target:
                os.fchmod(fd, file.mode)
                target.write(file.content.encode(errors="surrogateescape"))
        return Directory(path, identity=identity, small=True)

    async def _layered(
        self, work: Work, op: Exec | File, inputs: Sequence[Result], *, anew: bool = False
    ) -> Snapshot:
        """The root with the work's layer upon it. `anew`: the imported caches were of no use."""
        solver = self._solver
        quick = quick_key(self._session, op, inputs)
        keys = [quick] if quick else []
        layers = self._known(work, keys, anew)
        if layers is not None:
            work.tell(Cached())
        else:
            inputs = [await self.present(each) for each in inputs]
            if not quick or has_slow_key(op):
                keys.append(await slow_key(self._session, solver.workers, op, inputs))
            async with solver.lock(keys[-1]):
                layers = self._known(work, keys, anew)
                if layers is not None:
                    work.tell(Cached())
                else:
                    layers = await self._made(work, op, inputs)
                self._keep(keys, layers, work)
        if self._session.imports:
            self._keep(keys, layers, work)
            self._note_distant(_Distant(work, op, inputs, keys, layers))
        return self._upon(inputs[0], layers, work, keys)

    def _upon(self, root: Result, layers: Sequence[Layer], work: Work, keys: Sequence[str]) -> Snapshot:
        """The root with the work's layer upon it, and what the work has left elsewhere."""
        assert isinstance(root, Snapshot)
        outputs = tuple(Snapshot((layer,)) for layer in layers[1:])
        result = Snapshot((*root.layers, layers[0]), outputs)
        for each in (result, *outputs):
            self._session.pin(each)
        self._records[work.vertex.digest] = [
            Record(keys=tuple(output_keys(keys, number)), layers=each.layers, name=work.vertex.name)
            for number, each in enumerate((result, *outputs))
        ]
        return result

    def _note_distant(self, distant: _Distant) -> None:
        """Remember how those of the layers that are not here can be had."""
        for layer in distant.layers:
            if not self._solver.layers.has(Digest(layer.diff_id)):
                self._distant.setdefault(layer, distant)

    def _known(self, work: Work, keys: Sequence[str], anew: bool) -> list[Layer] | None:
        """The layers of the work: its own and those of its outputs. They may be in an imported cache only."""
        if work.vertex.ignore_cache or not keys:
            return None
        found: list[Layer] = []
        for number in range(1 + kept_mounts(work.vertex.op)):
            layer = self._known_layer(output_keys(keys, number), anew)
            if layer is None:
                return None
            found.append(layer)
        return found

    def _known_layer(self, keys: Sequence[str], anew: bool) -> Layer | None:
        layer = self._solver.cache.find(keys)
        allowed = self._session.settings.cache_layers
        if layer is not None and (allowed is None or layer.diff_id in allowed):
            return layer
        return None if anew else self._session.imports.find(keys)

    def _keep(self, keys: Sequence[str], layers: Sequence[Layer], work: Work) -> None:
        """Into the engine's cache, if they are here."""
        for number, layer in enumerate(layers):
            if not self._session.imports or self._solver.layers.has(Digest(layer.diff_id)):
                self._solver.cache.add_soon(output_keys(keys, number), layer, work.vertex.name)

    async def present(self, result: Result) -> Result:
        """The result with all its layers here: fetched, or made after all."""
        if isinstance(result, Directory) or not self._distant:
            return result
        for layer in result.layers:
            if (distant := self._distant.get(layer)) is not None and distant.coming is None:
                distant.coming = Owned(self._tasks, self._bring(distant))
        return Snapshot(tuple([await self._here(layer) for layer in result.layers]))

    async def _here(self, layer: Layer) -> Layer:
        distant = self._distant.get(layer)
        if distant is None or distant.coming is None:
            return layer
        return (await distant.coming.wait())[distant.layers.index(layer)]

    async def fetched(self, diff_id: Digest) -> bool:
        """Bring a layer here, if it is not, out of an imported cache; False if that has it no more."""
        if self._solver.layers.has(diff_id):
            return True
        is_known = any(layer.diff_id == diff_id for layer in self._distant)
        return is_known and await self._session.imports.bring(diff_id)

    async def _bring(self, distant: _Distant) -> Sequence[Layer]:
        for layer in distant.layers:
            if not await self.fetched(Digest(layer.diff_id)):
                made = await self._layered(distant.work, distant.op, distant.inputs, anew=True)
                return [made.layers[-1], *(each.layers[0] for each in made.outputs)]
        self._keep(distant.keys, distant.layers, distant.work)
        return distant.layers

    @asynccontextmanager
    async def container(self, vertex: Vertex) -> AsyncIterator[tuple[BuildContainer, ExecSpec]]:
        """A container with the root and the mounts of a command (`Exec`), for processes that come later.

        And what it was made of. Raises what making the vertex's inputs and preparing its mounts raises.
        """
        op = vertex.op
        assert isinstance(op, Exec)
        inputs = [await self.result(each) for each in vertex.inputs]
        step = self._step(Work(vertex), inputs)
        async with prepared(step, op) as (spec, _):
            container = step.executor.container(spec)
            try:
                yield container, spec
            finally:
                await container.close()

    async def _made(self, work: Work, op: Exec | File, inputs: Sequence[Result]) -> list[Layer]:
        """Do the work and take what it wrote into the store: its layer, and those of its outputs."""
        step = self._step(work, inputs)
        if isinstance(op, File):
            hashed = await change_files(step, op)
            return [await self._taken(step.upper.upper, hashed)]
        try:
            kept = await run_command(step, op)
        except CortenError:
            self._failed[work.vertex.digest] = step
            raise
        return [await self._taken(path) for path in (step.upper.upper, *kept)]

    def has_remains(self, vertex: Vertex) -> bool:
        """Whether it is a command that has run and failed."""
        return vertex.digest in self._failed

    async def _remains(self, step: Step) -> Snapshot:
        root = step.inputs[0]
        assert isinstance(root, Snapshot)
        snapshot = Snapshot((*root.layers, await self._taken(step.upper.upper)))
        self._session.pin(snapshot)
        return snapshot

    def _step(self, work: Work, inputs: Sequence[Result]) -> Step:
        root = inputs[0]
        assert isinstance(root, Snapshot)
        solver, session = self._solver, self._session
        lower = session.lower(root)
        directory = session.new_directory("step")
        return Step(
            vertex=work.vertex,
            work=work,
            inputs=inputs,
            session=session,
            workers=solver.workers,
            executor=solver.executor,
            cache_mounts=solver.cache_mounts,
            lower=lower,
            directory=directory,
            upper=uppers.prepare(directory, lower),
        )

    async def _taken(self, path: str, hashed: Hashed | None = None) -> Layer:
        """A layer of what has been written to a directory."""
        epoch_ns = self._session.settings.epoch_ns
        if epoch_ns is not None:
            params = {"directory": path, "epoch_ns": epoch_ns}
            await run_job(self._solver.workers, "corten.builder.jobs:clamp_times", params)
        layers = self._solver.layers
        if os.listdir(path):
            made = await run_blocking(lambda: layers.from_upper(path, keep=False, hashed=hashed))
        elif layers.has(NOTHING):  # as nearly always: the directory goes with the build's own
            return Layer(NOTHING, time.time_ns())
        else:  # done before a thread would have begun
            made = layers.from_upper(path, keep=False)
        layers.adopt(made)
        layer = Layer(made.diff_id, time.time_ns())
        self._session.pin(Snapshot((layer,)))  # now: the next output of the same command may take a while
        return layer


async def _all(works: Sequence[Work]) -> list[Result]:
    """Their results. Raises the first failure, whichever of them it is, at once."""
    if len(works) == 1:  # as in most stages: no task for nothing
        return [await works[0].result()]
    return await asyncio.gather(*(each.result() for each in works))

"""From vertices to results: everything that can run at once does, and nothing is done twice.

A vertex's work begins when all its inputs are there. What makes a layer first asks the cache, under a
quick key (operation + identities of its inputs) and, for copies, under a slow one (operation + content of
what is copied). Builds that come to the same key at once wait for the first of them and then find its
layer in the cache; if that one fails or is cancelled, the next does the work itself.

What only an imported cache knows has a name, which is enough for the keys of what comes after it; the layer
is fetched when somebody needs its files, and the work is done after all if nobody has them any more.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from weakref import WeakValueDictionary

from corten.builder.blocking import run_blocking, run_job
from corten.builder.cache import BuildCache
from corten.builder.cachemounts import CacheMounts
from corten.builder.cachetransfer.document import Record
from corten.builder.executor import Executor
from corten.builder.graph import (
    Exec,
    File,
    GitSource,
    HttpSource,
    ImageSource,
    InlineSource,
    LocalSource,
    Merge,
    Vertex,
)
from corten.builder.image import Layer
from corten.builder.keys import quick_key, slow_key
from corten.builder.ops.fetch import fetch
from corten.builder.ops.files import change_files
from corten.builder.ops.git import clone
from corten.builder.ops.run import run_command
from corten.builder.ops.step import Step
from corten.builder.owned import Owned
from corten.builder.results import Directory, Result, Snapshot, merged
from corten.builder.session import Session
from corten.builder.work import Cached, Started, Work
from corten.digest import Digest
from corten.errors import InvalidParameter
from corten.snapshots import uppers
from corten.snapshots.layers import LayerStore
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
        return Solve(self, session, tasks, on_work)

    def lock(self, key: str) -> asyncio.Lock:
        """The lock of those who are about to do the work named `key`."""
        lock = self._locks.get(key)
        if lock is None:
            lock = self._locks[key] = asyncio.Lock()
        return lock


@dataclass(slots=True)
class _Distant:
    """A layer that is only known by name, and how it can be had."""

    work: Work
    op: Exec | File
    inputs: Sequence[Result]
    keys: Sequence[str]
    layer: Layer
    coming: Owned[Layer] | None = None


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
        self._records: dict[Digest, Record] = {}
        self._distant: dict[str, _Distant] = {}

    async def snapshot(self, vertex: Vertex) -> Snapshot:
        """The vertex's result, all its layers in the store. Raises what the work raises, InvalidParameter."""
        result = await self.present(await self.work(vertex).result())
        if isinstance(result, Directory):
            raise InvalidParameter("the result of the build is no file system")
        return result

    def records(self) -> list[Record]:
        """What has been done, for caches elsewhere; the same in the same order for the same work."""
        found = []
        for record in self._records.values():
            made = record.layers[-1]
            keys = {*record.keys, *self._solver.cache.keys_of(made), *self._session.imports.keys_of(made)}
            found.append(replace(record, keys=tuple(sorted(keys))))
        return sorted(found, key=lambda record: record.keys)

    def work(self, vertex: Vertex) -> Work:
        """The vertex's work, begun if it was not yet, with all that it needs."""
        work = self._works.get(vertex.digest)
        if work is None:
            work = self._works[vertex.digest] = Work(vertex)
            inputs = [self.work(each) for each in vertex.inputs]
            work.begin(Owned(self._tasks, self._perform(work, inputs)))
            if self._on_work is not None:
                self._on_work(work)
        return work

    async def _perform(self, work: Work, inputs: Sequence[Work]) -> Result:
        results = [await each.result() for each in inputs]
        work.tell(Started())
        op = work.vertex.op
        if isinstance(op, ImageSource):
            times = op.created_ns or (0,) * len(op.diff_ids)
            snapshot = Snapshot(tuple(map(Layer, op.diff_ids, times)))
            self._session.pin(snapshot)
            return snapshot
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
        return await self._layered(work, op, results)

    def _written(self, op: InlineSource, identity: str) -> Directory:
        path = self._session.new_directory("inline", mode=0o755)
        for file in op.files:
            fd = os.open(os.path.join(path, file.name), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, file.mode)
            with os.fdopen(fd, "wb") as target:
                os.fchmod(fd, file.mode)
                target.write(file.content.encode(errors="surrogateescape"))
            os.utime(os.path.join(path, file.name), (0, 0))
        return Directory(path, identity=identity, small=True)

    async def _layered(
        self, work: Work, op: Exec | File, inputs: Sequence[Result], *, anew: bool = False
    ) -> Snapshot:
        """The root with the work's layer upon it. `anew`: the imported caches were of no use."""
        solver = self._solver
        quick = quick_key(self._session, op, inputs)
        keys = [quick] if quick else []
        layer = self._known(work, keys, anew)
        if layer is not None:
            work.tell(Cached())
        else:
            inputs = [await self.present(each) for each in inputs]
            if not quick or isinstance(op, File):
                keys.append(await slow_key(self._session, solver.workers, op, inputs))
            async with solver.lock(keys[-1]):
                layer = self._known(work, keys, anew)
                if layer is not None:
                    work.tell(Cached())
                else:
                    layer = await self._made(work, op, inputs)
                self._keep(keys, layer, work)
        if self._session.imports and not solver.layers.has(Digest(layer.diff_id)):
            self._distant.setdefault(layer.diff_id, _Distant(work, op, inputs, keys, layer))
        root = inputs[0]
        assert isinstance(root, Snapshot)
        result = Snapshot((*root.layers, layer))
        self._session.pin(result)
        self._records[work.vertex.digest] = Record(
            keys=tuple(keys), layers=result.layers, name=work.vertex.name
        )
        return result

    def _known(self, work: Work, keys: Sequence[str], anew: bool) -> Layer | None:
        """The layer of the work, out of the engine's cache or (then it may be elsewhere) an imported one."""
        if work.vertex.ignore_cache or not keys:
            return None
        layer = self._solver.cache.find(keys)
        allowed = self._session.settings.cache_layers
        if layer is not None and (allowed is None or layer.diff_id in allowed):
            return layer
        if anew or (layer := self._session.imports.find(keys)) is None:
            return None
        self._keep(keys, layer, work)
        return layer

    def _keep(self, keys: Sequence[str], layer: Layer, work: Work) -> None:
        """Into the engine's cache, if it is here."""
        if self._solver.layers.has(Digest(layer.diff_id)):
            self._solver.cache.add(keys, layer, work.vertex.name)

    async def present(self, result: Result) -> Result:
        """The result with all its layers here: fetched, or made after all."""
        if isinstance(result, Directory) or not self._distant:
            return result
        for layer in result.layers:
            distant = self._distant.get(layer.diff_id)
            if distant is not None and distant.coming is None:
                distant.coming = Owned(self._tasks, self._bring(distant))
        found = [
            await distant.coming.wait() if distant is not None and distant.coming is not None else layer
            for layer in result.layers
            for distant in [self._distant.get(layer.diff_id)]
        ]
        return Snapshot(tuple(found))

    async def fetched(self, diff_id: Digest) -> bool:
        """Bring a layer here, if it is not, out of an imported cache; False if that has it no more."""
        if self._solver.layers.has(diff_id):
            return True
        distant = self._distant.get(diff_id)
        return distant is not None and await self._session.imports.bring(distant.layer)

    async def _bring(self, distant: _Distant) -> Layer:
        if await self._session.imports.bring(distant.layer):
            self._keep(distant.keys, distant.layer, distant.work)
            return distant.layer
        made = await self._layered(distant.work, distant.op, distant.inputs, anew=True)
        return made.layers[-1]

    async def _made(self, work: Work, op: Exec | File, inputs: Sequence[Result]) -> Layer:
        """Do the work and take what it wrote into the store."""
        root = inputs[0]
        assert isinstance(root, Snapshot)
        solver, session = self._solver, self._session
        lower = session.lower(root)
        directory = session.new_directory("step")
        step = Step(
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
        if isinstance(op, Exec):
            await run_command(step, op)
        else:
            await change_files(step, op)
        if session.settings.epoch_ns is not None:
            params = {"directory": step.upper.upper, "epoch_ns": session.settings.epoch_ns}
            await run_job(solver.workers, "corten.builder.jobs:clamp_times", params)
        made = await run_blocking(lambda: solver.layers.from_upper(step.upper.upper, keep=False))
        solver.layers.adopt(made)
        return Layer(made.diff_id, time.time_ns())

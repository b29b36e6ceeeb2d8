"""From vertices to results: everything that can run at once does, and nothing is done twice.

A vertex's work begins when all its inputs are there. What makes a layer first asks the cache, under a
quick key (operation + identities of its inputs) and, for copies, under a slow one (operation + content of
what is copied). Builds that come to the same key at once wait for the first of them and then find its
layer in the cache; if that one fails or is cancelled, the next does the work itself.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from weakref import WeakValueDictionary

from corten.builder.blocking import run_blocking, run_job
from corten.builder.cache import BuildCache
from corten.builder.cachemounts import CacheMounts
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

    async def _layered(self, work: Work, op: Exec | File, inputs: Sequence[Result]) -> Snapshot:
        root = inputs[0]
        assert isinstance(root, Snapshot)
        solver = self._solver
        quick = quick_key(self._session, op, inputs)
        layer = self._cached([quick]) if quick and not work.vertex.ignore_cache else None
        if layer is None:
            keys = [quick] if quick else []
            if not quick or isinstance(op, File):
                keys.append(await slow_key(self._session, solver.workers, op, inputs))
            async with solver.lock(keys[-1]):
                layer = None if work.vertex.ignore_cache else self._cached(keys)
                if layer is None:
                    layer = await self._made(work, op, inputs, root)
                else:
                    work.tell(Cached())
                solver.cache.add(keys, layer, work.vertex.name)
        else:
            work.tell(Cached())
        result = Snapshot((*root.layers, layer))
        self._session.pin(result)
        return result

    def _cached(self, keys: Sequence[str]) -> Layer | None:
        layer = self._solver.cache.find(keys)
        allowed = self._session.settings.cache_layers
        return layer if layer is None or allowed is None or layer.diff_id in allowed else None

    async def _made(self, work: Work, op: Exec | File, inputs: Sequence[Result], root: Snapshot) -> Layer:
        """Do the work and take what it wrote into the store."""
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

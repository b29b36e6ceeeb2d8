"""The health of containers: a task for each that has a check and runs, and what it found.

Source: dockerd's rules. Failures within the start period don't count as long as it has never been healthy;
`retries` failures in a row make it unhealthy, one success healthy. A pause suspends, an end makes unhealthy.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from corten.engine.containers.container import Container
from corten.engine.containers.context import Context
from corten.engine.containers.execs import ExecService
from corten.engine.containers.healthtests import HealthTest, OnFailure, health_test
from corten.engine.containers.probes import Result, probe
from corten.types.container import Health, HealthcheckResult
from corten.units import format_time

LOG_ENTRIES = 5
STARTING, HEALTHY, UNHEALTHY = "starting", "healthy", "unhealthy"


class HealthMonitor:
    """Begins and ends the tasks. `actions` are given later: they need the operations, which need us."""

    def __init__(self, context: Context, execs: ExecService) -> None:
        self._context = context
        self._execs = execs
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.actions: dict[OnFailure, Callable[[Container], Awaitable[object]]] = {}

    def begin(self, container: Container) -> None:
        """It has been started: from now on it is probed, if it has a check."""
        test = health_test(container.record.config)
        if test is None:
            return
        log = container.health.log if container.health else []
        container.health = Health(status=STARTING, failing_streak=0, log=log)
        self._context.store.save_health(container)
        self._watch(container, test)

    def resume(self, container: Container) -> None:
        """It goes on after a pause, or after the engine was restarted: so do the probes."""
        test = health_test(container.record.config)
        if test is None:
            return
        if container.health is None:  # the engine died between its start and our begin()
            container.health = Health(status=STARTING, failing_streak=0, log=[])
        self._watch(container, test)

    def suspend(self, container: Container) -> None:
        """It is paused."""
        task = self._tasks.pop(container.id, None)
        if task is not None:
            task.cancel()

    def end(self, container: Container) -> None:
        """It has ended."""
        self.suspend(container)
        if container.health is not None:
            container.health.status = UNHEALTHY
            self._context.store.save_health(container)

    def _watch(self, container: Container, test: HealthTest) -> None:
        self.suspend(container)
        work = self._probe_forever(container, test)
        self._tasks[container.id] = self._context.background.start(work, "health check")

    async def _probe_forever(self, container: Container, test: HealthTest) -> None:
        health = container.health
        assert health is not None
        while True:
            since_start_s = (time.time_ns() - container.state.started_ns) / 1e9
            await asyncio.sleep(test.pause_s(since_start_s, starting=health.status == STARTING))
            began_ns = time.time_ns()
            result = await probe(self._execs, container, test)
            self._note(container, health, test, result, began_ns)

    def _note(
        self, container: Container, health: Health, test: HealthTest, result: Result, began_ns: int
    ) -> None:
        measures = self._context.measures
        measures.health_checks += 1
        measures.health_checks_failed += result.exit_code != 0
        entry = HealthcheckResult(
            start=format_time(began_ns),
            end=format_time(time.time_ns()),
            exit_code=result.exit_code,
            output=result.output,
        )
        health.log = [*(health.log or ()), entry][-LOG_ENTRIES:]
        before = health.status
        since_start_s = (began_ns - container.state.started_ns) / 1e9
        if result.exit_code == 0:
            health.failing_streak, health.status = 0, HEALTHY
        elif before != STARTING or since_start_s >= test.start_period_s:
            health.failing_streak += 1
            if health.failing_streak >= test.retries:
                health.status = UNHEALTHY
        self._context.store.save_health(container)
        if health.status != before:
            self._context.publish(container, f"health_status: {health.status}")
            if health.status == UNHEALTHY and test.on_failure in self.actions:
                act = self.actions[test.on_failure]
                # On its own: what it does to the container ends the present task.
                self._context.background.start(_run(act, container), "act on unhealthy container")


async def _run(act: Callable[[Container], Awaitable[object]], container: Container) -> None:
    await act(container)

"""Ending a container: signals, and patience."""

from __future__ import annotations

import asyncio
import logging
import signal

from corten.engine.containers.container import STOP_SIGNAL, STOP_TIMEOUT_S, Container
from corten.engine.containers.context import Context
from corten.engine.containers.pause import Pauser
from corten.engine.containers.restarts import Restarts
from corten.engine.containers.signals import parse_signal
from corten.engine.containers.state import Status
from corten.errors import Conflict, InternalError, NotFound, NotModified
from corten.linux.signalmask import deaf_to

log = logging.getLogger(__name__)

# After SIGKILL only a process that the kernel holds (uninterruptible sleep) lives on.
_KILL_PATIENCE_S = 10.0


class Stopper:
    """`stop`, `kill` and their like. Waiting for the end happens without the container's lock.

    A start that is under way comes to its end first: there may be nothing yet that could hear a signal.
    """

    def __init__(self, context: Context, pauser: Pauser, restarts: Restarts) -> None:
        self._context = context
        self._pauser = pauser
        self._restarts = restarts

    async def stop(self, container: Container, *, timeout_s: int | None, signal_name: str) -> str:
        """Signal, wait, kill. Raises NotModified if it does not run, InternalError if it cannot be killed.

        Returns a warning if it had to be killed because its process could not hear the signal, else "".
        """
        await container.settled()
        if container.status is Status.RESTARTING:
            self._restarts.give_up(container)
            return ""
        if not container.status.is_running():
            raise NotModified(f"container {container.id} is already stopped")
        number = parse_signal(signal_name or container.record.config.stop_signal or STOP_SIGNAL)
        patience = timeout_s if timeout_s is not None else container.record.config.stop_timeout
        if patience is None:
            patience = STOP_TIMEOUT_S
        deaf = _deaf_to(container, number)
        await self._signal(container, number)
        warning = ""
        if not await self._ended(container, None if patience < 0 else float(patience)):
            await self._kill(container)
            if deaf:
                warning = (
                    f"container {container.name} was killed after {patience} s: its process did not react to "
                    f"{signal.Signals(number).name}, because {deaf} (--init or --stop-signal may help)"
                )
                log.warning("stop signal not heard", extra={"container": container.id, "reason": deaf})
        self._context.publish(container, "stop")
        return warning

    async def kill(self, container: Container, signal_name: str) -> None:
        """Send a signal; after SIGKILL wait for the end. Raises Conflict if it does not run."""
        number = parse_signal(signal_name) if signal_name else int(signal.SIGKILL)
        await container.settled()
        if container.status is Status.RESTARTING:
            if _is_stop_signal(container, number):
                self._restarts.give_up(container)
            return
        if not container.status.is_running():
            raise Conflict(
                f"cannot kill container: {container.name}: container {container.id} is not running"
            )
        if number == signal.SIGKILL:
            await self._kill(container)
        else:
            await self._signal(container, number)

    async def force_stop(self, container: Container) -> None:
        """Whatever it does, it does not run afterwards (`rm -f`)."""
        await container.settled()
        if container.status is Status.RESTARTING:
            self._restarts.give_up(container)
        elif container.status.is_running():
            await self._kill(container)

    async def strike_down(self, container: Container) -> None:
        """SIGKILL that counts as its own death: the restart policy decides what follows."""
        try:
            await self._context.runtime.kill(container.id, int(signal.SIGKILL))
        except NotFound:
            return

    async def _kill(self, container: Container) -> None:
        await self._signal(container, int(signal.SIGKILL))
        if not await self._ended(container, _KILL_PATIENCE_S):
            raise InternalError(
                "tried to kill container, but did not receive an exit event "
                f"(container {container.id} is held by the kernel)"
            )

    async def _signal(self, container: Container, number: int) -> None:
        """Send it; a stop signal also tells the restart policy that this end is wanted, and ends a pause."""
        wanted = _is_stop_signal(container, number)
        if wanted and not container.state.stopped_by_user:
            container.state.stopped_by_user = True
            self._context.store.save_state(container)
        # Told before it is done: the exit may be here before the runtime's answer.
        self._context.publish(container, "kill", signal=str(number))
        try:
            await self._context.runtime.kill(container.id, number)
            if wanted and container.status is Status.PAUSED:
                await self._pauser.resume(container)
        except NotFound:
            return  # it has just ended by itself; the exit is on its way

    async def _ended(self, container: Container, seconds: float | None) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await container.ended.wait()
        except TimeoutError:
            return False
        return True


def _deaf_to(container: Container, number: int) -> str:
    """Why its first process will not hear the signal; "" if it may."""
    if number == signal.SIGKILL or number > signal.SIGSYS:
        return ""
    try:
        return deaf_to(container.pid, number)
    except OSError:
        return ""


def _is_stop_signal(container: Container, number: int) -> bool:
    """Whether such a signal asks for the end: any does where none was configured, as in Docker."""
    configured = container.record.config.stop_signal
    return number == signal.SIGKILL or not configured or parse_signal(configured) == number

"""Tasks whose failure concerns those who wait for them, and nobody else in their TaskGroup."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Failure:
    error: Exception


class Owned(Generic[T]):
    """A coroutine running in a TaskGroup. Any number of waiters; a cancelled waiter does not cancel it."""

    def __init__(self, tasks: asyncio.TaskGroup, coroutine: Coroutine[Any, Any, T]) -> None:
        self._task = tasks.create_task(_guarded(coroutine))

    async def wait(self) -> T:
        """The coroutine's result, or its exception."""
        outcome = self._task.result() if self._task.done() else await asyncio.shield(self._task)
        if isinstance(outcome, _Failure):
            raise outcome.error
        return outcome

    @property
    def done(self) -> bool:
        """Whether it has ended, however."""
        return self._task.done()

    @property
    def failure(self) -> Exception | None:
        """What it has raised, None if it has not (yet)."""
        if not self._task.done() or self._task.cancelled():
            return None
        outcome = self._task.result()
        return outcome.error if isinstance(outcome, _Failure) else None

    @property
    def value(self) -> T | None:
        """What it has returned, None if it has not (yet)."""
        if not self._task.done() or self._task.cancelled():
            return None
        outcome = self._task.result()
        return None if isinstance(outcome, _Failure) else outcome

    def when_done(self, callback: Callable[[], None]) -> None:
        """Call back when it has ended, however."""
        self._task.add_done_callback(lambda _: callback())


def first_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The exception that a group of failed tasks began with."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _guarded(coroutine: Coroutine[Any, Any, T]) -> T | _Failure:
    try:
        return await coroutine
    except Exception as error:
        return _Failure(error)

"""What pulls and pushes have in common: settings, attempts, limits of what goes on at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from corten.images.policy import SignaturePolicy
from corten.registry.client import RegistryHosts
from corten.registry.client.errors import RegistryError

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferSettings:
    """daemon.json's: layers at once (of the whole engine), and how often a broken transfer is tried.

    retry_delay_s: the first wait, doubled each time.
    """

    hosts: RegistryHosts = field(default_factory=RegistryHosts)
    downloads: int = 3
    uploads: int = 5
    attempts: int = 5
    retry_delay_s: float = 5.0
    signatures: SignaturePolicy = field(default_factory=SignaturePolicy)


async def retried(
    settings: TransferSettings, say: Callable[[str], None], work: Callable[[], Awaitable[T]]
) -> T:
    """Do `work` until it succeeds or fails for good; waits are told in Docker's words."""
    delay_s = settings.retry_delay_s
    for attempt in range(1, max(1, settings.attempts) + 1):
        try:
            return await work()
        except RegistryError as e:
            if not e.temporary or attempt == max(1, settings.attempts):
                raise
            say(f"Retrying in {max(1, round(delay_s))} seconds")
        await asyncio.sleep(delay_s)
        delay_s *= 2
    raise AssertionError("unreachable: the last attempt returns or raises")


class Turns:
    """A semaphore whose size may change, and that any event loop may use in its time."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._taken = 0
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def busy(self) -> bool:
        """Whether the next one has to wait."""
        return self._taken >= self.size

    async def __aenter__(self) -> None:
        while self.busy:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn in self._waiting:
                    self._waiting.remove(turn)
                else:
                    self._wake()  # the turn was ours and goes to the next
                raise
        self._taken += 1

    async def __aexit__(self, *_: object) -> None:
        self._taken -= 1
        self._wake()

    def _wake(self) -> None:
        while self._waiting:
            turn = self._waiting.pop(0)
            if not turn.done():
                turn.set_result(None)
                return

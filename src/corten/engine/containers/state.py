"""Where a container is in its life, and what may happen to it there.

created ──► running ◄──► paused
   ▲           │  ▲
   │      exit ▼  │ back-off over
   └── exited ◄─ restarting        removing ──► (gone)     dead: could not be removed
"""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """Docker's words, as `inspect` shows them."""

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    RESTARTING = "restarting"
    REMOVING = "removing"
    EXITED = "exited"
    DEAD = "dead"

    def is_running(self) -> bool:
        """Whether a process of the container exists."""
        return self in (Status.RUNNING, Status.PAUSED)

    def is_active(self) -> bool:
        """What Docker's State.Running means: running, paused, or about to run again by itself."""
        return self in (Status.RUNNING, Status.PAUSED, Status.RESTARTING)

    def can_start(self) -> bool:
        """Whether `start` may be tried."""
        return self in (Status.CREATED, Status.EXITED, Status.RESTARTING)

    def can_remove(self) -> bool:
        """Whether `rm` works without force."""
        return self in (Status.CREATED, Status.EXITED, Status.DEAD)

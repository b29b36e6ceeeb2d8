"""Events."""

from __future__ import annotations

import msgspec

from corten.types.document import Document


class Actor(Document, kw_only=True):
    """The object it happened to, with its attributes at that time."""

    id: str = msgspec.field(name="ID")
    attributes: dict[str, str]


class Message(Document, kw_only=True):
    """One event. `status`, `id`, `from` repeat Action, Actor.ID and the image for old clients.

    time in seconds, timeNano in nanoseconds since 1970.
    """

    status: str = msgspec.field(default="", name="status")
    id: str = msgspec.field(default="", name="id")
    from_: str = msgspec.field(default="", name="from")
    type: str
    action: str
    actor: Actor
    scope: str = msgspec.field(default="", name="scope")
    time: int = msgspec.field(default=0, name="time")
    time_nano: int = msgspec.field(default=0, name="timeNano")

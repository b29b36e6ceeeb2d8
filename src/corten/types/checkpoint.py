"""Checkpoints of containers. Source: Docker Engine API, `/containers/{id}/checkpoints` (experimental)."""

from __future__ import annotations

import msgspec

from corten.types.document import Document, always


class CheckpointCreate(Document, kw_only=True):
    """What is asked for. exit: end the container when its processes have been written."""

    checkpoint_id: str = msgspec.field(default="", name="CheckpointID")
    checkpoint_dir: str = always("")
    exit: bool = always(False)


class Checkpoint(Document, kw_only=True):
    """One in the list."""

    name: str

"""Blocking work from the event loop: worker processes that a cancelled build does not leave behind."""

from __future__ import annotations

from corten.snapshots.workers.door import Door

_door = Door(32, "builder")
run_blocking = _door.run
run_job = _door.job

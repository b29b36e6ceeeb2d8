"""A container in memory: its record, its state, and who waits for it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from corten.engine.containers.earlystdin import EarlyStdin
from corten.engine.containers.record import ContainerRecord, StateRecord
from corten.engine.containers.state import Status
from corten.engine.containers.wait import Waiters
from corten.runtimes.protocol import Exit
from corten.types.container import Health

STOP_SIGNAL = "SIGTERM"
STOP_TIMEOUT_S = 10
LOCAL_LOG = "local-logs/container.log"


@dataclass(slots=True, eq=False)
class Container:
    """Mutable; belongs to the event loop's thread.

    directory: what lasts, <root>/containers/<id>. run_directory: what each start writes anew,
    <exec-root>/containers/<id>, on a tmpfs.
    lock: held while the container is started or removed. early_exit: an exit that was reported while
    start() was still on its way. ended: set when the present run is over, made anew for the next.
    """

    record: ContainerRecord
    state: StateRecord
    status: Status
    directory: str
    run_directory: str
    pid: int = 0
    cgroup: str = ""  # of the present run, as the runtime knows it
    starting: bool = False
    early_exit: Exit | None = None
    oom_seen: bool = False
    has_task: bool = False  # the runtime keeps something about it until `forget`
    restart_timer: asyncio.TimerHandle | None = None
    restarting: bool = False  # stopped by `restart`, to be started at once
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiters: Waiters = field(default_factory=Waiters)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    health: Health | None = None  # None: it has no check, or was never started
    exec_ids: list[str] = field(default_factory=list)
    early_stdin: list[EarlyStdin] = field(default_factory=list)

    @property
    def id(self) -> str:
        """64 hex digits."""
        return self.record.id

    @property
    def name(self) -> str:
        """Without slash."""
        return self.record.name

    @property
    def log_path(self) -> str:
        """Newest file of the log that `logs` reads; "" if nothing is kept."""
        config = self.record.host_config.log_config
        if config.type == "none" or (config.config or {}).get("cache-disabled") in ("true", "1"):
            return ""
        if config.type == "json-file":
            return f"{self.directory}/{self.id}-json.log"
        return f"{self.directory}/{LOCAL_LOG}"

    def event_attributes(self) -> dict[str, str]:
        """What every event of the container carries: labels, image, name."""
        attributes = dict(self.record.config.labels or {})
        attributes["image"] = self.record.config.image
        attributes["name"] = self.record.name
        return attributes

    async def settled(self) -> None:
        """Wait for the end of a start that is under way."""
        if self.starting:
            async with self.lock:
                pass

    def cancel_restart(self) -> None:
        """The policy's next start will not happen."""
        if self.restart_timer is not None:
            self.restart_timer.cancel()
            self.restart_timer = None

"""What the engine tells Prometheus, under Docker's names where Docker has one; docs/metrics.md lists it.

What costs nothing to look at is looked at when it is asked for; the rest `Measures` and the events count.
"""

from __future__ import annotations

import os
import platform
import resource
from collections.abc import Callable, Mapping

import corten
from corten.builder.counts import REASONS, BuildCounts
from corten.engine.containers.context import Context
from corten.engine.containers.state import Status
from corten.engine.host import cpu_model_count, memory_bytes, operating_system
from corten.engine.system import SystemService
from corten.images.catalogue import ImageCatalogue
from corten.prometheus import Page

_DAEMON = "engine_daemon"
Gauges = Mapping[str, tuple[str, Callable[[], int]]]


class Metrics:
    """Makes the page."""

    def __init__(
        self,
        context: Context,
        images: ImageCatalogue,
        builds: BuildCounts,
        system: SystemService,
        gauges: Gauges,
    ) -> None:
        """gauges: what others know: name → (what it is, how to ask)."""
        self._context = context
        self._images = images
        self._builds = builds
        self._system = system
        self._gauges = gauges

    def text(self) -> bytes:
        """Everything, now."""
        page = Page()
        self._engine(page)
        self._actions(page)
        self._state(page)
        self._events(page)
        self._add_builds(page)
        _process(page)
        return page.text()

    def _engine(self, page: Page) -> None:
        uname = os.uname()
        labels = {
            "version": corten.__version__,
            "commit": "",
            "architecture": uname.machine,
            "graphdriver": "overlay2",
            "kernel": uname.release,
            "os": operating_system()[0],
            "os_type": "linux",
            "os_version": operating_system()[1],
            "daemon_id": self._system.identity.id,
        }
        page.gauges(
            f"{_DAEMON}_engine_info",
            "The information related to the engine and the OS it is running on",
            [(labels, 1)],
        )
        page.gauge(
            f"{_DAEMON}_engine_cpus_cpus", "The number of cpus of the engine's host", cpu_model_count()
        )
        page.gauge(f"{_DAEMON}_engine_memory_bytes", "The memory of the engine's host", memory_bytes())

    def _actions(self, page: Page) -> None:
        measures = self._context.measures
        containers = {
            "changes": measures.changes,
            "commit": measures.commit,
            "create": measures.create,
            "delete": measures.delete,
            "start": measures.start,
        }
        images = {"delete": measures.remove_image, "pull": measures.pull, "push": measures.push}
        for noun, actions in (
            ("container", containers),
            ("image", images),
            ("network", {"connect": measures.connect}),
        ):
            page.histograms(
                f"{_DAEMON}_{noun}_actions_seconds",
                f"The number of seconds it takes to process each {noun} action",
                [({"action": action}, histogram) for action, histogram in actions.items()],
            )
        page.counter(
            f"{_DAEMON}_health_checks_total", "The total number of health checks", measures.health_checks
        )
        page.counter(
            f"{_DAEMON}_health_checks_failed_total",
            "The total number of failed health checks",
            measures.health_checks_failed,
        )

    def _state(self, page: Page) -> None:
        context = self._context
        states = {"running": 0, "paused": 0, "stopped": 0}
        for container in context.store.all():
            if container.status is Status.PAUSED:
                states["paused"] += 1
            elif container.status in (Status.RUNNING, Status.RESTARTING):
                states["running"] += 1
            else:
                states["stopped"] += 1
        page.gauges(
            f"{_DAEMON}_container_states_containers",
            "The count of containers in various states",
            [({"state": state}, count) for state, count in states.items()],
        )
        page.gauge("corten_images", "Images in the store", len(self._images.all()))
        page.gauge("corten_networks", "Networks", len(context.network.networks()))
        page.gauge("corten_volumes", "Volumes", len(context.volumes.all()))
        for name, (text, value) in self._gauges.items():
            page.gauge(f"corten_{name}", text, value())

    def _events(self, page: Page) -> None:
        events = self._context.events
        page.counter(f"{_DAEMON}_events_total", "The number of events logged", events.counts.total())
        page.gauge(
            f"{_DAEMON}_events_subscribers_total",
            "The number of current subscribers to events",
            events.listeners,
        )
        page.counters(
            "corten_events_total",
            "Events by type and action: die, oom, restart, health_status and all others",
            [({"type": kind, "action": action}, n) for (kind, action), n in sorted(events.counts.items())],
        )

    def _add_builds(self, page: Page) -> None:
        page.counter("builder_builds_triggered_total", "Number of triggered builds", self._builds.triggered)
        page.counters(
            "builder_builds_failed_total",
            "Number of failed image builds",
            [({"reason": reason}, self._builds.failed[reason]) for reason in REASONS],
        )


def _process(page: Page) -> None:
    """The engine's own process, as every Prometheus client tells it."""
    with open("/proc/self/stat") as file:
        fields = file.read().rpartition(")")[2].split()  # from the third, state, on: proc_pid_stat(5)
    ticks = os.sysconf("SC_CLK_TCK")
    page.counter(
        "process_cpu_seconds_total", "User and system time spent", (int(fields[11]) + int(fields[12])) / ticks
    )
    page.gauge("process_open_fds", "Open descriptors", len(os.listdir("/proc/self/fd")))
    page.gauge(
        "process_max_fds", "Descriptors that may be open", resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    )
    page.gauge("process_virtual_memory_bytes", "Virtual memory", int(fields[20]))
    page.gauge(
        "process_resident_memory_bytes", "Resident memory", int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
    )
    page.gauge("process_start_time_seconds", "Start, in Unix time", _boot_time() + int(fields[19]) / ticks)
    page.gauges("python_info", "The interpreter", [({"version": platform.python_version()}, 1)])


def _boot_time() -> int:
    with open("/proc/stat") as file:
        return int(next(line for line in file if line.startswith("btime ")).split()[1])

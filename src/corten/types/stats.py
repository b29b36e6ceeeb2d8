"""Counters of a running container."""

from __future__ import annotations

import msgspec

from corten.types.document import Document, always, always_map

Counters = dict[str, object]
ZERO_TIME = "0001-01-01T00:00:00Z"

_NO_CPU: Counters = {
    "cpu_usage": {"total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0},
    "throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0},
}
_NO_BLKIO: Counters = dict.fromkeys(
    (
        *("io_service_bytes_recursive", "io_serviced_recursive", "io_queue_recursive"),
        *("io_service_time_recursive", "io_wait_time_recursive", "io_merged_recursive"),
        *("io_time_recursive", "sectors_recursive"),
    )
)


class Stats(Document, rename=None, kw_only=True):
    """A line of GET /containers/{id}/stats; of a container that does not run all is empty.

    precpu_stats: cpu_stats of the sample before, taken at `preread`. Times in ns, sizes in bytes. The inner
    documents differ between cgroup v1 and v2, and are as `corten.linux.cgroups` makes them.
    """

    name: str
    id: str
    read: str = always(ZERO_TIME)
    preread: str = always(ZERO_TIME)
    pids_stats: Counters = always_map()
    blkio_stats: Counters = msgspec.field(default_factory=lambda: _NO_BLKIO)
    num_procs: int = always(0)
    storage_stats: Counters = always_map()
    cpu_stats: Counters = msgspec.field(default_factory=lambda: _NO_CPU)
    precpu_stats: Counters = msgspec.field(default_factory=lambda: _NO_CPU)
    memory_stats: Counters = always_map()
    networks: dict[str, dict[str, int]] | None = None

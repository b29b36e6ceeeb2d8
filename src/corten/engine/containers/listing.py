"""`docker ps`."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable
from operator import gt, lt

from corten.engine.containers.config import command_line
from corten.engine.containers.container import Container
from corten.engine.containers.context import Context
from corten.engine.containers.describe import (
    listed_ports,
    mount_points,
    network_id,
    networks,
    status_text,
)
from corten.engine.containers.state import Status
from corten.errors import InvalidParameter
from corten.filters import Filters, InvalidFilter
from corten.network.portspec import parse_port
from corten.snapshots.treebytes import tree_bytes
from corten.types.container import ContainerSummary, SummaryHostConfig, SummaryNetworkSettings
from corten.types.operations import ContainerListOptions

_ACCEPTED = frozenset(
    {
        *("ancestor", "before", "exited", "expose", "health", "id", "isolation", "is-task", "label"),
        *("name", "network", "publish", "since", "status", "volume"),
    }
)
_HEALTH = ("none", "starting", "healthy", "unhealthy")
_Test = Callable[[Container], bool]


async def list_containers(context: Context, options: ContainerListOptions) -> list[ContainerSummary]:
    """Summaries, newest first. Raises InvalidFilter, NoSuchContainer (before, since)."""
    chosen = select(context, options)
    image_ids: dict[str, str] = {}
    summaries = [_summary(context, container, image_ids) for container in chosen]
    if options.size:
        for container, summary in zip(chosen, summaries, strict=True):
            changed = await asyncio.to_thread(tree_bytes, f"{container.directory}/upper")
            summary.size_rw = changed or None  # left out when 0
            summary.size_root_fs = context.images.get(container.record.image_id).size + changed
    return summaries


def select(context: Context, options: ContainerListOptions) -> list[Container]:
    """The containers to be listed, newest first."""
    filters = options.filters
    tests = _tests(context, filters)
    everything = options.all or options.limit > 0 or "status" in filters
    found = [
        container
        for container in reversed(context.store.all())
        if (everything or container.status.is_active()) and all(test(container) for test in tests)
    ]
    return found[: options.limit] if options.limit > 0 else found


def _tests(context: Context, filters: Filters) -> list[_Test]:
    """One predicate for each filter given."""
    filters.validate(_ACCEPTED)
    tests: list[_Test] = []
    values = filters.values_of
    for state in values("status"):
        if state not in tuple(Status):
            raise InvalidFilter("status", [state])
    for health in values("health"):
        if health not in _HEALTH:
            raise InvalidParameter(f"unrecognized filter value for health: {health}")
    if values("status"):
        tests.append(lambda c: c.status.value in values("status"))
    if values("health"):
        tests.append(lambda c: (c.health.status if c.health else "none") in values("health"))
    if values("exited"):
        codes = {_number("exited", value) for value in values("exited")}
        tests.append(lambda c: c.status is Status.EXITED and c.state.exit_code in codes)
    if values("id"):
        tests.append(lambda c: filters.match("id", c.id))
    if values("name"):
        tests.append(lambda c: filters.match("name", c.name) or filters.match("name", f"/{c.name}"))
    if values("label"):
        tests.append(lambda c: filters.match_labels("label", c.record.config.labels or {}))
    if values("is-task") and filters.boolean("is-task", default=False):
        tests.append(lambda c: False)
    if values("isolation"):
        tests.append(lambda c: filters.match("isolation", c.record.host_config.isolation or "default"))
    tests.extend(_relative(context, filters))
    tests.extend(_related(context, filters))
    return tests


def _relative(context: Context, filters: Filters) -> Iterable[_Test]:
    """before, since: made earlier or later than another one."""
    for ref in filters.values_of("before"):
        yield _created(context.store.get(ref), lt)
    for ref in filters.values_of("since"):
        yield _created(context.store.get(ref), gt)


def _created(other: Container, compare: Callable[[int, int], bool]) -> _Test:
    limit_ns = other.record.created_ns
    return lambda container: compare(container.record.created_ns, limit_ns)


def _related(context: Context, filters: Filters) -> Iterable[_Test]:
    """ancestor, network, volume, publish, expose: what the container has to do with."""
    if ancestors := filters.values_of("ancestor"):
        ids = {image.id for text in ancestors if (image := context.images.find(text)) is not None}
        yield lambda c: c.record.image_id in ids or c.record.config.image in ancestors
    if wanted := filters.values_of("network"):
        yield lambda c: _on_network(context, c, wanted)
    if volumes := filters.values_of("volume"):
        yield lambda c: any(
            mount.name in volumes or mount.destination in volumes or mount.source in volumes
            for mount in c.record.mounts
        )
    if published := filters.values_of("publish"):
        ports = _ports(published)
        yield lambda c: any((p.public_port, p.type) in ports for p in listed_ports(context, c))
    if exposed := filters.values_of("expose"):
        inner = _ports(exposed)
        yield lambda c: any(parse_port(port) in inner for port in c.record.config.exposed_ports or ())


def _on_network(context: Context, container: Container, wanted: tuple[str, ...]) -> bool:
    for name in networks(context, container):
        identifier = network_id(context, name)
        if any(value == name or (identifier and identifier.startswith(value)) for value in wanted):
            return True
    return False


def _number(name: str, text: str) -> int:
    if not re.fullmatch(r"-?\d{1,9}", text):
        raise InvalidParameter(
            f"invalid filter '{name}={text}': strconv.Atoi: parsing \"{text}\": invalid syntax"
        )
    return int(text)


def _ports(values: tuple[str, ...]) -> set[tuple[int, str]]:
    """ "80", "80/udp", "8000-8010/tcp" as numbers with protocol."""
    found: set[tuple[int, str]] = set()
    for value in values:
        numbers, _, protocol = value.partition("/")
        first, _, last = numbers.partition("-")
        low, protocol = parse_port(f"{first}/{protocol or 'tcp'}")
        high, _ = parse_port(last or first)
        if high < low:
            raise InvalidParameter(f"invalid port range: {value}")
        found.update((port, protocol) for port in range(low, high + 1))
    return found


def _summary(context: Context, container: Container, image_ids: dict[str, str]) -> ContainerSummary:
    record = container.record
    path, args = command_line(record.config)
    host_config = record.host_config
    return ContainerSummary(
        id=container.id,
        names=[f"/{container.name}"],
        image=_image_name(context, container, image_ids),
        image_id=record.image_id,
        command=" ".join([path, *(_quoted(arg) for arg in args)]),
        created=record.created_ns // 1_000_000_000,
        ports=listed_ports(context, container),
        labels=record.config.labels or {},
        state=container.status.value,
        status=status_text(container),
        host_config=SummaryHostConfig(
            network_mode=host_config.network_mode, annotations=host_config.annotations
        ),
        network_settings=SummaryNetworkSettings(networks=networks(context, container)),
        mounts=mount_points(container),
    )


def _image_name(context: Context, container: Container, image_ids: dict[str, str]) -> str:
    """The name used at creation, or the id once that name means another image."""
    name = container.record.config.image
    if name not in image_ids:
        image = context.images.find(name)
        image_ids[name] = image.id if image else ""
    return name if image_ids[name] == container.record.image_id else container.record.image_id


def _quoted(arg: str) -> str:
    return f"'{arg}'" if " " in arg else arg

"""Published ports of a container changed while it runs: what `update` can do beyond Docker's.

The record's PortBindings are what the container gets at its next start, the endpoints' ports what it has now.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager

import msgspec

from corten.engine.containers.container import Container
from corten.engine.containers.context import Context
from corten.engine.containers.namespaces import container_mode
from corten.engine.containers.networking import with_label
from corten.errors import Conflict, CortenError, InvalidParameter
from corten.network.portspec import PortMap, covers, parse_port, port_requests
from corten.network.publisher import request_of
from corten.network.values import PortBinding as Held
from corten.network.values import PortRequest
from corten.types.container import PortBinding, UpdateRequest
from corten.types.document import Empty

_PortBindings = dict[str, list[PortBinding] | None] | None


@asynccontextmanager
async def republished(context: Context, container: Container, request: UpdateRequest) -> AsyncIterator[None]:
    """Change the published ports as asked for; nothing is changed if that, or what is done within, fails.

    Raises PortUnavailable, Conflict, InvalidParameter, NotSupported, Unavailable, InternalError.
    """
    if not (request.publish_add or request.publish_remove):
        yield
        return
    record = container.record
    before, exposed = record.host_config.port_bindings, record.config.exposed_ports
    if container_mode(record.host_config.network_mode):
        raise InvalidParameter("conflicting options: port publishing and the container type network mode")
    bindings = changed_bindings(before or {}, request)
    gone, added = await _change(context, container, request)
    ports: dict[str, Empty | None] = {port: {} for port in _normal(request.publish_add or {})}
    _save(context, container, bindings or None, {**(exposed or {}), **ports} or None)
    try:
        yield
    except BaseException:
        await _withdraw(context, container, added)
        await _publish(context, container, [request_of(each) for each in gone])
        _save(context, container, before, exposed)
        raise


def _save(
    context: Context, container: Container, bindings: _PortBindings, exposed: dict[str, Empty | None] | None
) -> None:
    record = container.record
    record.host_config = msgspec.structs.replace(record.host_config, port_bindings=bindings)
    record.config = msgspec.structs.replace(record.config, exposed_ports=exposed)
    context.store.save_record(container)


async def _change(
    context: Context, container: Container, request: UpdateRequest
) -> tuple[list[Held], list[Held]]:
    """(what left, what came) of a running container.

    What leaves goes first, so that its host port can be given to another one; it is back if that fails.
    """
    if not container.status.is_running():
        return [], []
    gone = _matching(context, container, request.publish_remove or {})
    await _withdraw(context, container, gone)
    try:
        wanted = with_label(container, port_requests(request.publish_add or {}))
        return gone, await _publish(context, container, wanted)
    except CortenError:
        await _publish(context, container, [request_of(each) for each in gone])
        raise


async def _withdraw(context: Context, container: Container, ports: Sequence[Held]) -> None:
    context.network.members.withdraw(container.id, ports)
    context.relay.sync(container.id)
    await context.relay.settled()


async def _publish(context: Context, container: Container, ports: Sequence[PortRequest]) -> list[Held]:
    added = context.network.members.publish(container.id, ports)
    await context.relay.ready_for(context.network.members.of(container.id))
    context.relay.sync(container.id)
    return added


def changed_bindings(current: PortMap, request: UpdateRequest) -> dict[str, list[PortBinding] | None]:
    """PortBindings as the request wants them. Raises InvalidParameter; Conflict for what is not published."""
    bindings = _normal(current)
    for port, wanted in _each(request.publish_remove or {}):
        entries = bindings.get(port, [])
        left = _without(entries, wanted)
        if len(left) == len(entries):
            raise Conflict(f"port {_shown(port, wanted)} is not published")
        bindings[port] = left
    port_requests(request.publish_add or {})
    for port, added in _normal(request.publish_add or {}).items():
        bindings.setdefault(port, []).extend(added)
    return {port: entries for port, entries in bindings.items() if entries}


def _normal(bindings: PortMap) -> dict[str, list[PortBinding]]:
    """Every port as `PORT/PROTO`, with a list of its own."""
    found: dict[str, list[PortBinding]] = {}
    for text, hosts in bindings.items():
        number, protocol = parse_port(text)
        found.setdefault(f"{number}/{protocol}", []).extend(hosts or [PortBinding()])
    return found


def _each(bindings: PortMap) -> Iterator[tuple[str, PortBinding]]:
    return ((port, host) for port, hosts in _normal(bindings).items() for host in hosts)


def _without(entries: list[PortBinding], wanted: PortBinding) -> list[PortBinding]:
    """Without what is wanted gone: all of an address, or the one that stands for a host port."""
    here = [each for each in entries if not wanted.host_ip or each.host_ip == wanted.host_ip]
    if wanted.host_port:
        exact = [each for each in here if each.host_port == wanted.host_port]
        here = (exact or [each for each in here if covers(each, wanted)])[:1]
    return [each for each in entries if not any(each is gone for gone in here)]


def _matching(context: Context, container: Container, removed: PortMap) -> list[Held]:
    """Which of the container's ports are meant."""
    held = [port for each in context.network.members.of(container.id) for port in each.ports]
    found = []
    for text, wanted in _each(removed):
        number, protocol = parse_port(text)
        found += [
            port
            for port in held
            if (port.container_port, port.protocol) == (number, protocol)
            and (not wanted.host_ip or port.host_address == wanted.host_ip)
            and (not wanted.host_port or str(port.host_port) == wanted.host_port)
        ]
    return found


def _shown(port: str, wanted: PortBinding) -> str:
    return ":".join(word for word in (wanted.host_ip, wanted.host_port, port) if word)

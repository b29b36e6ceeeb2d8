"""`--link`: Docker's oldest way for containers to find each other, by /etc/hosts and environment.

Source: behaviour of dockerd 26.1. A link belongs to the container that asked for it and names another by id.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from corten.engine.containers.container import Container
from corten.engine.containers.context import Context
from corten.engine.containers.store import ContainerStore
from corten.errors import InternalError, InvalidParameter, NoSuchContainer, NotFound

_NOT_PASSED_ON = ("HOME", "PATH")  # of the linked container's environment


@dataclass(frozen=True, slots=True)
class Link:
    """A linked container as its user sees it. address: IPv4 on the common network, "" if there is none."""

    alias: str
    target: Container
    address: str

    def hosts_line(self) -> str:
        """Its line in /etc/hosts."""
        return f"{self.address}\t{_names(self.alias, self.target)}\n"


def parse_links(store: ContainerStore, texts: Iterable[str]) -> dict[str, str]:
    """`NAME[:ALIAS]`, or `/NAME:/USER/ALIAS` as inspect shows it -> id by alias. Raises InvalidParameter."""
    found = {}
    for text in texts:
        name, _, alias = text.partition(":")
        if name.startswith("/"):
            name, alias = name[1:], alias.rpartition("/")[2]
        if not name or ":" in alias or not (alias + name).isprintable() or any(map(str.isspace, alias)):
            why = 'invalid name or ID supplied: ""' if not name else f"bad format for links: {text}"
            raise InvalidParameter(f"could not get container for {name}: {why}")
        try:
            found[alias or name] = store.get(name).id
        except NoSuchContainer as e:
            raise InvalidParameter(f"could not get container for {name}: {e}") from e
    return found


def shown(store: ContainerStore, container: Container) -> list[str] | None:
    """HostConfig.Links."""
    names = [
        f"/{target.name}:/{container.name}/{alias}"
        for alias, identifier in sorted(container.record.links.items())
        if (target := store.find(identifier)) is not None
    ]
    return names or None


def linked(context: Context, container: Container, *, all_must_run: bool = True) -> list[Link]:
    """Its links to containers that run. Raises InternalError if one does not; removed ones don't matter."""
    links = []
    for alias, identifier in container.record.links.items():
        target = context.store.find(identifier)
        if target is None:
            continue
        if not target.status.is_running():
            if not all_must_run:
                continue
            names = f"/{target.name} AS /{container.name}/{alias}"
            raise InternalError(f"Cannot link to a non running container: {names}")
        links.append(Link(alias, target, _address(context, container, target)))
    return links


def environment(container: Container, links: Iterable[Link]) -> list[str]:
    """The variables by which the container learns of its links; on the default bridge only."""
    if container.record.host_config.network_mode != "bridge":
        return []
    return [variable for link in links for variable in _variables(container.name, link)]


def refresh_users(context: Context, target: Container) -> None:
    """It has been started, perhaps with another address: tell those that run and are linked to it."""
    for user in context.store.users_of_links(target.id):
        if not user.status.is_running():
            continue
        for alias, identifier in user.record.links.items():
            if identifier == target.id:
                _replace_line(user, Link(alias, target, _address(context, user, target)))


def unlink(context: Context, ref: str) -> None:
    """`rm --link /USER/ALIAS`. Raises NotFound, InvalidParameter."""
    user, _, alias = ref.strip("/").rpartition("/")
    if not user:
        context.store.get(alias)
        raise InvalidParameter("Conflict, cannot remove the default link name of the container")
    container = context.store.get(user)
    if alias not in container.record.links:
        raise NotFound(f"Cannot get parent {ref} for link name /{alias}")
    del container.record.links[alias]
    context.store.save_record(container)


def _address(context: Context, user: Container, target: Container) -> str:
    mode = user.record.host_config.network_mode
    endpoints = context.network.members.of(target.id)
    common = [endpoint for endpoint in endpoints if endpoint.network_name == mode]
    return common[0].ipv4 if common else ""


def _names(alias: str, target: Container) -> str:
    """Alias, host name and name of the linked container, each once."""
    hostname = target.record.config.hostname or target.id[:12]
    return " ".join(dict.fromkeys((alias, hostname, target.name)))


def _replace_line(user: Container, link: Link) -> None:
    path, ending = f"{user.directory}/hosts", "\t" + _names(link.alias, link.target)
    with open(path, "r+", errors="surrogateescape") as file:
        lines = [line for line in file.read().splitlines() if not line.endswith(ending)]
        if link.address:
            lines.append(link.hosts_line().rstrip("\n"))
        file.seek(0)
        file.write("".join(line + "\n" for line in lines))
        file.truncate()


def _variables(user: str, link: Link) -> Iterator[str]:
    prefix = link.alias.upper().replace("-", "_")
    exposed = (key.partition("/") for key in link.target.record.config.exposed_ports or ())
    ports = sorted({(int(number), protocol or "tcp") for number, _, protocol in exposed if number.isdigit()})
    if ports and link.address:
        number, protocol = ports[0]
        yield f"{prefix}_PORT={protocol}://{link.address}:{number}"
        for number, protocol in ports:
            name = f"{prefix}_PORT_{number}_{protocol.upper()}"
            yield f"{name}={protocol}://{link.address}:{number}"
            yield f"{name}_ADDR={link.address}"
            yield f"{name}_PORT={number}"
            yield f"{name}_PROTO={protocol}"
    yield f"{prefix}_NAME=/{user}/{link.alias}"
    for entry in link.target.record.config.env or ():
        name, equals, value = entry.partition("=")
        if equals and name not in _NOT_PASSED_ON:
            yield f"{prefix}_ENV_{name}={value}"

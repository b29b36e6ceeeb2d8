"""/etc/hosts, /etc/hostname and /etc/resolv.conf of a container, written before each start."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from corten.engine.containers.container import Container
from corten.engine.containers.mounts import bind
from corten.network.config import NetworkConfig
from corten.network.hosts import hostname_file, hosts_file
from corten.network.resolv import (
    DEFAULT_NAMESERVERS,
    ResolvConf,
    host_resolv_conf,
    internal_resolv_conf,
    parse,
    resolv_conf,
)
from corten.network.values import Endpoint
from corten.oci import runtime_spec as oci
from corten.types.container import HostConfig

_MOST_BYTES = 1 << 20  # of a file that the container may write to


class HostFiles:
    """Writes the files; remembers the host's resolv.conf as long as that does not change."""

    def __init__(self, config: NetworkConfig) -> None:
        self._config = config
        self._host_version: tuple[int, int, int] | None = None
        self._host = ResolvConf()
        self._host_path = ""
        self._plain: dict[bool, str] = {}  # by "uses the host's network"

    def write(
        self,
        container: Container,
        *,
        hostname: str,
        addresses: Sequence[str],
        host_gateway: str,
        links: Sequence[str] = (),
        resolver: bool = False,
    ) -> list[oci.Mount]:
        """Write all three into the container's run directory and return their binds.

        links: further lines of /etc/hosts.
        resolver: the container asks netd, at 127.0.0.11.
        Raises InvalidParameter for a bad --add-host.
        """
        record, directory = container.record, container.run_directory
        host_config = record.host_config
        hosts = hosts_file(
            hostname=hostname,
            domainname=record.config.domainname,
            addresses=addresses,
            extra_hosts=host_config.extra_hosts or (),
            host_gateway=host_gateway,
        )
        files = (
            ("resolv.conf", "/etc/resolv.conf", self._resolv_conf(host_config, resolver=resolver)),
            ("hostname", "/etc/hostname", hostname_file(hostname)),
            ("hosts", "/etc/hosts", hosts + "".join(links)),
        )
        os.makedirs(directory, 0o710, exist_ok=True)
        mounts = []
        for name, destination, text in files:
            path = f"{directory}/{name}"
            _write(path, text)
            if record.id_maps is not None:
                os.chown(path, *record.id_maps.root)
            mounts.append(bind(path, destination, read_only=host_config.readonly_rootfs))
        return mounts

    def add_addresses(self, container: Container, endpoint: Endpoint) -> None:
        """A running container has come to a network: name it in its /etc/hosts."""
        names = self._names_of(container)
        lines = [f"{text}\t{names}\n" for text, _ in endpoint.addresses]
        _edit(f"{container.run_directory}/hosts", lambda text: text + "".join(lines))

    def remove_addresses(self, container: Container, endpoint: Endpoint) -> None:
        """A running container has left a network: its lines there go, as far as they are still ours."""
        gone = {text for text, _ in endpoint.addresses}

        def without(text: str) -> str:
            return "".join(line for line in text.splitlines(True) if line.partition("\t")[0] not in gone)

        _edit(f"{container.run_directory}/hosts", without)

    def _names_of(self, container: Container) -> str:
        config = container.record.config
        hostname = config.hostname or container.id[:12]
        return f"{hostname}.{config.domainname} {hostname}" if config.domainname else hostname

    def upstreams(self, host_config: HostConfig) -> tuple[list[str], bool]:
        """(the name servers behind netd, whether they are the container's own and not the host's)."""
        self._look_at_host()
        own = list(host_config.dns or self._config.dns)
        return (own, True) if own else (list(self._host.nameservers or DEFAULT_NAMESERVERS), False)

    def use_resolver(self, container: Container) -> None:
        """A running container asks netd from now on, unless its resolv.conf has been changed meanwhile."""
        host_config = container.record.host_config
        ours = self._resolv_conf(host_config, resolver=False)
        now = self._resolv_conf(host_config, resolver=True)
        _edit(f"{container.run_directory}/resolv.conf", lambda text: now if text == ours else text)

    def _resolv_conf(self, host_config: HostConfig, *, resolver: bool) -> str:
        """The text; one for all containers that ask for nothing special."""
        self._look_at_host()
        if resolver:
            return internal_resolv_conf(
                self._host,
                host_path=self._host_path,
                dns=host_config.dns or self._config.dns,
                search=host_config.dns_search or self._config.dns_search,
                options=host_config.dns_options or self._config.dns_options,
            )
        host_network = host_config.network_mode == "host"
        plain = not (host_config.dns or host_config.dns_search or host_config.dns_options)
        if plain and host_network in self._plain:
            return self._plain[host_network]
        text = resolv_conf(
            self._host,
            host_path=self._host_path,
            dns=host_config.dns or self._config.dns,
            search=host_config.dns_search or self._config.dns_search,
            options=host_config.dns_options or self._config.dns_options,
            host_network=host_network,
        )
        if plain:
            self._plain[host_network] = text
        return text

    def _look_at_host(self) -> None:
        try:
            status = os.stat("/etc/resolv.conf")
            version = (status.st_ino, status.st_mtime_ns, status.st_size)
        except FileNotFoundError:
            version = (0, 0, 0)
        if version != self._host_version:
            self._host_path, contents = host_resolv_conf()
            self._host = parse(contents)
            self._host_version = version
            self._plain.clear()


@dataclass(frozen=True, slots=True)
class JoinedFiles:
    """The files of the container whose network is shared: the same ones, as Docker does."""

    owner: Container

    def mounts(self) -> list[oci.Mount]:
        """Their binds."""
        directory = self.owner.run_directory
        return [bind(f"{directory}/{name}", f"/etc/{name}") for name in ("resolv.conf", "hostname", "hosts")]


def _edit(path: str, change: Callable[[str], str]) -> None:
    """Change a file that the container sees and may have changed: the same inode, bounded in size."""
    with open(path, "r+b") as file:
        before = file.read(_MOST_BYTES + 1)
        if len(before) > _MOST_BYTES:
            return
        after = change(before.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
        file.seek(0)
        file.write(after)
        file.truncate()


def remove_host_files(container: Container) -> None:
    """With the run directory, which holds nothing else."""
    try:
        for name in os.listdir(container.run_directory):
            os.unlink(f"{container.run_directory}/{name}")
        os.rmdir(container.run_directory)
    except FileNotFoundError:
        pass  # it was not started since the machine was


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)

"""Contents of a container's /etc/hosts and /etc/hostname: hosts(5), as Docker 26 writes them."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address

from corten.errors import InvalidParameter

HOST_GATEWAY = "host-gateway"  # in --add-host: the host, as containers reach it

_IPV4_LINES = "127.0.0.1\tlocalhost\n"
_IPV6_LINES = (
    "::1\tlocalhost ip6-localhost ip6-loopback\n"
    "fe00::0\tip6-localnet\n"
    "ff00::0\tip6-mcastprefix\n"
    "ff02::1\tip6-allnodes\n"
    "ff02::2\tip6-allrouters\n"
)


def hosts_file(
    *,
    hostname: str,
    domainname: str = "",
    addresses: Iterable[str] = (),
    extra_hosts: Iterable[str] = (),
    host_gateway: str = "",
) -> str:
    """Contents of /etc/hosts.

    addresses: the container's own, each gets a line with its name; extra_hosts: "name:address" as in
    HostConfig.ExtraHosts, where the address may be "host-gateway". Raises InvalidParameter.
    """
    lines = [_IPV4_LINES, _IPV6_LINES]
    lines += [f"{address}\t{name}\n" for name, address in parse_extra_hosts(extra_hosts, host_gateway)]
    names = f"{hostname}.{domainname} {hostname}" if domainname else hostname
    lines += [f"{address}\t{names}\n" for address in addresses if address]
    return "".join(lines)


def parse_extra_hosts(entries: Iterable[str], host_gateway: str) -> list[tuple[str, str]]:
    """ "name:address" or "name=address" -> (name, address), "host-gateway" filled in.

    Raises InvalidParameter.
    """
    found: list[tuple[str, str]] = []
    for entry in entries:
        name, separator, text = entry.partition("=" if "=" in entry else ":")
        if not name or not separator or any(character.isspace() for character in name):
            raise InvalidParameter(f'bad format for add-host: "{entry}"')
        if text == HOST_GATEWAY:
            if not host_gateway:
                raise InvalidParameter(
                    f"unable to derive the IP value for {HOST_GATEWAY}: there is no bridge network"
                )
            text = host_gateway
        try:
            found.append((name, str(ip_address(text.strip("[]")))))
        except ValueError as error:
            raise InvalidParameter(f'invalid IP address in add-host: "{text}"') from error
    return found


def hostname_file(hostname: str) -> str:
    """Contents of /etc/hostname."""
    return f"{hostname}\n"

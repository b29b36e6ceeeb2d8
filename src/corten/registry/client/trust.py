"""Which registries may be spoken to without TLS, or without checking its certificate."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable, Sequence

_LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))


class RegistryTrust:
    """daemon.json's `insecure-registries`: host[:port] or CIDR; loopback is always among them."""

    def __init__(self, insecure: Iterable[str] = ()) -> None:
        self._hosts: set[str] = set()
        self._networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = list(_LOOPBACK)
        for item in insecure:
            try:
                self._networks.append(ipaddress.ip_network(item, strict=False))
            except ValueError:
                self._hosts.add(item.rstrip("/"))

    def is_insecure(self, host: str) -> bool:
        """Whether plain HTTP and unknown certificates are fine for `host[:port]`. May ask the resolver."""
        if host in self._hosts or split_port(host)[0] in self._hosts:
            return True
        return any(address in network for address in _addresses(host) for network in self._networks)

    def schemes(self, host: str) -> Sequence[str]:
        """What to try, in order."""
        return ("https", "http") if self.is_insecure(host) else ("https",)


def split_port(host: str) -> tuple[str, int | None]:
    """`host[:port]`, `[v6]:port` -> (host without brackets, port or None)."""
    name, colon, port = host.rpartition(":")
    if colon and port.isdigit() and not name.endswith(":") and (":" not in name or name.startswith("[")):
        return name.strip("[]"), int(port)
    return host.strip("[]"), None


def _addresses(host: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    name, _ = split_port(host)
    try:
        return [ipaddress.ip_address(name)]
    except ValueError:
        pass
    if name == "localhost":
        return [ipaddress.ip_address("127.0.0.1")]
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return [ipaddress.ip_address(str(item[4][0]).partition("%")[0]) for item in found]

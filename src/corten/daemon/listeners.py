"""The sockets that the API is served on."""

from __future__ import annotations

import grp
import os
import socket
import ssl
from dataclasses import dataclass

from corten.api.server import Server
from corten.api.tls import server_context
from corten.daemon.config import ConfigError, DaemonConfig
from corten.errors import Unavailable

_FIRST_FD = 3  # sd_listen_fds(3)
_PORT = 2375
_TLS_PORT = 2376
_GROUPS = ("corten", "docker")


@dataclass(frozen=True, slots=True)
class Address:
    """scheme: unix (path), tcp (host, port) or fd."""

    scheme: str
    path: str = ""
    host: str = ""
    port: int = 0


def parse_address(text: str, *, tls: bool) -> Address:
    """One -H value. Raises ConfigError."""
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = ("unix", text) if text.startswith("/") else ("tcp", text)
    if scheme == "unix":
        return Address("unix", path=rest or "/run/corten/corten.sock")
    if scheme == "fd":
        return Address("fd", path=rest)
    if scheme != "tcp":
        raise ConfigError(f"invalid bind address format: {text}")
    host, _, port = rest.rstrip("/").rpartition(":") if ":" in rest.rpartition("]")[2] else (rest, "", "")
    number = port or str(_TLS_PORT if tls else _PORT)
    if not number.isdigit() or int(number) > 65535:
        raise ConfigError(f"invalid bind address format: {text}")
    return Address("tcp", host=host.strip("[]") or "127.0.0.1", port=int(number))


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be opened, checked before the engine touches anything."""

    addresses: list[Address]
    tls: ssl.SSLContext | None
    gid: int | None
    metrics: tuple[str, int] | None = None


def plan(config: DaemonConfig) -> Plan:
    """Check everything about the addresses. Raises ConfigError, OSError (unreadable certificates)."""
    verify = config.flag("tlsverify")
    tls = verify or config.flag("tls")
    addresses = [parse_address(text, tls=tls) for text in config.hosts]
    if not tls and not config.flag("insecure-tcp"):
        for address in addresses:
            if address.scheme == "tcp":
                raise ConfigError(
                    f"refusing to serve tcp://{address.host}:{address.port} without TLS: "
                    "whoever reaches it is root. Use --tlsverify with --tlscacert, --tlscert and --tlskey, "
                    "or --insecure-tcp if you mean it"
                )
    return Plan(
        addresses,
        _tls(config, verify=verify) if tls else None,
        socket_group(config.text("group")),
        _metrics_address(config.text("metrics-addr")),
    )


def _metrics_address(text: str) -> tuple[str, int] | None:
    """HOST:PORT; ":PORT" is all addresses. Raises ConfigError."""
    if not text:
        return None
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"invalid metrics-addr: {text}: must be HOST:PORT")
    return host.strip("[]"), int(port)


def _tls(config: DaemonConfig, *, verify: bool) -> ssl.SSLContext:
    certificate, key = config.text("tlscert"), config.text("tlskey")
    authority = config.text("tlscacert") if verify else ""
    if not certificate or not key or (verify and not authority):
        raise ConfigError("TLS needs --tlscert and --tlskey, and --tlsverify needs --tlscacert")
    return server_context(certificate=certificate, key=key, client_ca=authority or None)


async def listen(server: Server, wanted: Plan) -> None:
    """Open everything. Raises OSError, Unavailable."""
    for address in wanted.addresses:
        if address.scheme == "unix":
            os.makedirs(os.path.dirname(address.path), exist_ok=True)
            await server.listen_unix(address.path, gid=wanted.gid)
        elif address.scheme == "fd":
            for sock in activated_sockets():
                await server.listen_socket(sock)
        else:
            await server.listen_tcp(address.host, address.port, tls=wanted.tls)


def activated_sockets() -> list[socket.socket]:
    """The sockets that systemd has opened for us. Raises Unavailable if it has not."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        raise Unavailable(
            "no sockets found via socket activation: make sure the service was started by systemd"
        )
    count = int(os.environ.get("LISTEN_FDS", "0"))
    sockets = []
    for fd in range(_FIRST_FD, _FIRST_FD + count):
        os.set_inheritable(fd, False)
        sockets.append(socket.socket(fileno=fd))
    if not sockets:
        raise Unavailable(
            "no sockets found via socket activation: make sure the service was started by systemd"
        )
    return sockets


def socket_group(name: str) -> int | None:
    """Id of the group that may use the socket; None = root only. Raises ConfigError for an unknown one."""
    for candidate in (name,) if name else _GROUPS:
        if candidate.isdigit():
            return int(candidate)
        try:
            return grp.getgrnam(candidate).gr_gid
        except KeyError:
            continue
    if name:
        raise ConfigError(f"group {name} not found")
    return None

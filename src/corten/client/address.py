"""Where the engine listens: `-H`, CORTEN_HOST, DOCKER_HOST, or the default socket."""

from __future__ import annotations

import os

from corten.client.errors import ClientError

DEFAULT_SOCKET = "/run/corten/corten.sock"
DEFAULT_HOST = "unix://" + DEFAULT_SOCKET


class Address:
    """A parsed address: a unix socket's `path`, or `host` and `port` with `tls` perhaps.

    `text` is the address as errors show it.
    """

    __slots__ = ("base", "host", "path", "port", "ssh", "text", "tls")

    def __init__(
        self,
        text: str,
        *,
        path: str = "",
        host: str = "",
        port: int = 0,
        base: str = "",
        tls: TLSFiles | None = None,
        ssh: SSHPlace | None = None,
    ) -> None:
        self.text = text
        self.path = path
        self.host = host
        self.port = port
        self.base = base
        self.tls = tls
        self.ssh = ssh


class SSHPlace:
    """As whom, and the engine's socket over there; "": not said."""

    __slots__ = ("socket", "user")

    def __init__(self, user: str, socket: str) -> None:
        self.user = user
        self.socket = socket


class TLSFiles:
    """Which certificates to use; `verify`: whether the engine's is checked."""

    __slots__ = ("ca", "cert", "key", "verify")

    def __init__(self, ca: str, cert: str, key: str, *, verify: bool) -> None:
        self.ca = ca
        self.cert = cert
        self.key = key
        self.verify = verify


def find(hosts: list[str], env: dict[str, str] | None = None) -> str:
    """Choose the address: the one `-H`, else CORTEN_HOST, else DOCKER_HOST, else the default socket."""
    if len(hosts) > 1:
        raise ClientError("specify only one -H")
    variables = os.environ if env is None else env
    return (
        (hosts and hosts[0]) or variables.get("CORTEN_HOST") or variables.get("DOCKER_HOST") or DEFAULT_HOST
    )


def parse(text: str, tls: TLSFiles | None = None) -> Address:
    """Parse `unix://PATH`, `tcp://HOST[:PORT][/BASE]`, `http(s)://…`, `fd://` not; raises ClientError."""
    scheme, sep, rest = text.partition("://")
    if not sep:
        raise ClientError(f"unable to parse docker host `{text}`")
    if scheme == "unix":
        return Address(text, path=rest or DEFAULT_SOCKET)
    if scheme in ("tcp", "http", "https"):
        return _parse_tcp(text, scheme, rest, tls)
    if scheme == "ssh":
        return _parse_ssh(text, rest)
    raise ClientError(f"protocol not available: {scheme}")


def _parse_ssh(text: str, rest: str) -> Address:
    """ssh://[USER@]HOST[:PORT][/SOCKET]: the engine of another machine, by its command line there."""
    where, slash, path = rest.partition("/")
    user, _, place = where.rpartition("@")
    if place.startswith("["):
        host, _, port = place[1:].partition("]")
        port = port.removeprefix(":")
    else:
        host, _, port = place.partition(":")
    if ":" in user:
        raise ClientError(f"invalid ssh host `{text}`: plain-text password is not supported")
    if not host or (port and not port.isdigit()):
        raise ClientError(f"invalid ssh host `{text}`: no host specified")
    if host.startswith("-") or user.startswith("-"):
        raise ClientError(f"invalid ssh host `{text}`")  # they would be options of ssh
    return Address(
        text, host=host, port=int(port) if port else 0, ssh=SSHPlace(user, slash + path if path else "")
    )


def _parse_tcp(text: str, scheme: str, rest: str, tls: TLSFiles | None) -> Address:
    where, slash, base = rest.partition("/")
    if where.startswith("["):
        host, _, port = where[1:].partition("]")
        port = port.removeprefix(":")
    else:
        host, _, port = where.partition(":")
    if port and not port.isdigit():
        raise ClientError(f"invalid bind address format: {text}")
    if scheme == "https" and tls is None:
        tls = TLSFiles("", "", "", verify=True)
    default_port = 2376 if tls else 2375
    return Address(
        text,
        host=host or "localhost",
        port=int(port) if port else default_port,
        base=(slash + base).rstrip("/"),
        tls=tls,
    )


def tls_from_environment(env: dict[str, str] | None = None) -> TLSFiles | None:
    """Certificates as DOCKER_TLS_VERIFY, DOCKER_TLS and DOCKER_CERT_PATH (default ~/.docker) ask for them."""
    variables = os.environ if env is None else env
    verify = bool(variables.get("DOCKER_TLS_VERIFY"))
    if not verify and not variables.get("DOCKER_TLS"):
        return None
    folder = variables.get("DOCKER_CERT_PATH") or os.path.expanduser("~/.docker")
    return TLSFiles(f"{folder}/ca.pem", f"{folder}/cert.pem", f"{folder}/key.pem", verify=verify)

"""Which proxy a request goes through: daemon.json's `proxies`, and the environment where it says nothing.

Source: Go's net/http/httpproxy, which Docker uses: HTTP_PROXY, HTTPS_PROXY, NO_PROXY in either case;
loopback addresses and `localhost` are never proxied.
"""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from corten.errors import InvalidParameter


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy; authorization: value of the Proxy-Authorization header or ""."""

    host: str
    port: int
    authorization: str = ""


class Proxies:
    """Answers `find` for every address. Raises InvalidParameter for what is no proxy's address."""

    def __init__(
        self, settings: Mapping[str, str] | None = None, environment: Mapping[str, str] | None = None
    ) -> None:
        """settings: http-proxy, https-proxy, no-proxy."""
        given = settings or {}
        values = {
            kind: given.get(f"{kind}-proxy") or _variable(environment or {}, kind)
            for kind in ("http", "https", "no")
        }
        self._proxies = {kind: _parse(values[kind]) for kind in ("http", "https") if values[kind]}
        self._exceptions = [item.strip().lower() for item in values["no"].split(",") if item.strip()]

    def find(self, scheme: str, host: str, port: int | None) -> Proxy | None:
        """The proxy for requests to this address, or None to go there directly."""
        proxy = self._proxies.get(scheme)
        if proxy is None or self._is_exception(host.lower(), port or (443 if scheme == "https" else 80)):
            return None
        return proxy

    def _is_exception(self, host: str, port: int) -> bool:
        address = _address(host)
        if host == "localhost" or (address is not None and address.is_loopback):
            return True
        return any(_excepts(item, host, port, address) for item in self._exceptions)


def _variable(environment: Mapping[str, str], kind: str) -> str:
    name = f"{kind}_proxy"
    return environment.get(name.upper()) or environment.get(name, "")


def _parse(text: str) -> Proxy:
    parts = urlsplit(text if "://" in text else f"http://{text}")
    try:
        port = parts.port or 80
    except ValueError as e:
        raise InvalidParameter(f"invalid proxy {parts.hostname}: {e}") from e
    if parts.scheme != "http" or not parts.hostname:
        raise InvalidParameter(f"invalid proxy: only http:// proxies are supported, not {parts.scheme}://")
    authorization = ""
    if parts.username:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        authorization = f"Basic {base64.b64encode(pair).decode()}"
    return Proxy(parts.hostname, port, authorization)


_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def _address(host: str) -> _Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None


def _excepts(item: str, host: str, port: int, address: _Address | None) -> bool:
    if item == "*":
        return True
    if address is not None and "/" in item:
        try:
            return address in ipaddress.ip_network(item, strict=False)
        except ValueError:
            return False
    name, colon, suffix = item.rpartition(":")
    if colon and suffix.isdigit() and (":" not in name or name.startswith("[")):
        if int(suffix) != port:
            return False
        item = name
    item = item.strip("[]").removeprefix("*")
    if address is not None:
        return _address(item) == address
    return any(host == wanted or host.endswith(f".{wanted}") for wanted in _names(item, host))


def _names(item: str, host: str) -> Iterator[str]:
    """ ".x.y" stands for the hosts below x.y, "x.y" for x.y too."""
    if not item.startswith("."):
        yield item
    elif host != item[1:]:
        yield item[1:]

"""Requests that a web page made a browser send: refused on TCP (DNS rebinding, CSRF).

A page can make a browser connect to 127.0.0.1, but it cannot choose the Host header other than by a
name of its own that resolves there, nor leave out Origin when it posts. So Host must be an address,
localhost or a configured name, and Origin must be one that is allowed (none is by default).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from ipaddress import ip_address

from corten.errors import Forbidden


class Guard:
    """hosts: names, without port, by which the engine may be called; origins: as `https://ui.example`."""

    def __init__(self, *, hosts: Collection[str] = (), origins: Collection[str] = ()) -> None:
        self._hosts = frozenset(("localhost", *(host.lower() for host in hosts)))
        self._origins = frozenset(origin.lower().encode() for origin in origins)

    def check(self, headers: Mapping[bytes, bytes], *, check_host: bool) -> None:
        """Raise Forbidden for what a foreign page may have caused.

        check_host is off where TLS has made sure that the client meant us.
        """
        origin = headers.get(b"origin")
        if origin is not None:
            if origin.lower() not in self._origins:
                raise Forbidden(f"origin {origin.decode('latin-1')!r} is not allowed")
        elif headers.get(b"sec-fetch-site", b"none") not in (b"none", b"same-origin"):
            raise Forbidden("requests from other sites are not allowed")
        if check_host and not self._known(headers.get(b"host", b"")):
            host = headers.get(b"host", b"").decode("latin-1")
            raise Forbidden(f"host {host!r} is not allowed: use an address, or configure the name")

    def _known(self, header: bytes) -> bool:
        if not header:
            return True  # HTTP/1.0; browsers always send it
        host = header.decode("latin-1").lower()
        if host.startswith("["):
            host = host[1:].partition("]")[0]
        elif host.count(":") == 1:
            host = host.partition(":")[0]
        if host in self._hosts:
            return True
        try:
            ip_address(host)
        except ValueError:
            return False
        return True

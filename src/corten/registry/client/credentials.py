"""What a user shows to a registry: the X-Registry-Auth header and its kin."""

from __future__ import annotations

import base64
import binascii
from urllib.parse import urlsplit

import msgspec

from corten.errors import InvalidParameter
from corten.reference import DEFAULT_DOMAIN

DOCKER_HUB = "registry-1.docker.io"
_HUB_NAMES = ("docker.io", "index.docker.io", DOCKER_HUB)
_MAX_HEADER = 64 << 10


class Credentials(msgspec.Struct, rename="lower", omit_defaults=True, kw_only=True):
    """Docker's AuthConfig. Never log or print one: `repr` hides what is secret."""

    username: str = ""
    password: str = ""
    auth: str = ""
    email: str = ""
    serveraddress: str = ""
    identitytoken: str = ""
    registrytoken: str = ""

    def __repr__(self) -> str:
        return f"Credentials(username={self.username!r}, serveraddress={self.serveraddress!r})"

    @property
    def basic(self) -> str | None:
        """The value of a Basic Authorization header, or None without a user name."""
        if self.username:
            pair = f"{self.username}:{self.password}".encode()
            return f"Basic {base64.b64encode(pair).decode()}"
        return f"Basic {self.auth}" if self.auth else None


def decode_auth_header(text: str) -> Credentials | None:
    """The credentials in an X-Registry-Auth header (base64url JSON); None for none.

    Raises InvalidParameter.
    """
    if not text:
        return None
    if len(text) > _MAX_HEADER:
        raise InvalidParameter("invalid X-Registry-Auth header: too long")
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        found = msgspec.json.decode(raw, type=Credentials)
    except (binascii.Error, ValueError, RecursionError) as e:
        raise InvalidParameter(f"invalid X-Registry-Auth header: {e}") from e
    return found if found != Credentials(serveraddress=found.serveraddress) else None


def host_of_server_address(address: str) -> str:
    """The registry's domain as references have it: "https://index.docker.io/v1/" is docker.io."""
    host = urlsplit(address).netloc if "://" in address else address.partition("/")[0]
    return DEFAULT_DOMAIN if not host or host in _HUB_NAMES else host


def endpoint_host(domain: str) -> str:
    """The host to connect to for a reference's domain."""
    return DOCKER_HUB if domain in _HUB_NAMES else domain

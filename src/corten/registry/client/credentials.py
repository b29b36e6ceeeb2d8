"""Where a user's credentials belong, and how they are shown."""

from __future__ import annotations

import base64
from urllib.parse import urlsplit

from corten.reference import DEFAULT_DOMAIN
from corten.types.system import AuthConfig

DOCKER_HUB = "registry-1.docker.io"
_HUB_NAMES = ("docker.io", "index.docker.io", DOCKER_HUB)


def basic_authorization(auth: AuthConfig) -> str | None:
    """The value of a Basic Authorization header (RFC 7617), or None if there is no user name."""
    if auth.username:
        pair = f"{auth.username}:{auth.password}".encode()
        return f"Basic {base64.b64encode(pair).decode()}"
    return f"Basic {auth.auth}" if auth.auth else None


def domain_of_server_address(address: str) -> str:
    """The registry's domain as references have it: "https://index.docker.io/v1/" is docker.io."""
    host = urlsplit(address).netloc if "://" in address else address.partition("/")[0]
    return DEFAULT_DOMAIN if not host or host in _HUB_NAMES else host


def endpoint_host(domain: str) -> str:
    """The host to connect to for a reference's domain."""
    return DOCKER_HUB if domain in _HUB_NAMES else domain

"""Registry credentials in request headers: base64url of JSON."""

from __future__ import annotations

import base64
import binascii
from typing import TypeVar

import msgspec

from corten.api.request import Request
from corten.errors import InvalidParameter
from corten.types.system import AuthConfig

T = TypeVar("T")


def registry_auth(request: Request) -> AuthConfig | None:
    """X-Registry-Auth: credentials for the one registry of the request; None without any."""
    auth = _decode(request, b"x-registry-auth", AuthConfig)
    return auth if auth is not None and auth != AuthConfig() else None


def registry_config(request: Request) -> dict[str, AuthConfig]:
    """X-Registry-Config: credentials by registry, for a build."""
    return _decode(request, b"x-registry-config", dict[str, AuthConfig]) or {}


def _decode(request: Request, header: bytes, kind: type[T]) -> T | None:
    value = request.headers.get(header)
    if not value:
        return None
    try:
        padded = value.rstrip(b"=") + b"=" * (-len(value.rstrip(b"=")) % 4)
        data = base64.b64decode(padded.translate(_URL_SAFE), validate=True)
        return msgspec.json.decode(data, type=kind) if data.strip() not in (b"", b"null") else None
    except (binascii.Error, msgspec.MsgspecError, UnicodeDecodeError):
        name = header.decode().title()
        raise InvalidParameter(f"invalid {name} header: is not base64 of JSON") from None


_URL_SAFE = bytes.maketrans(b"-_", b"+/")

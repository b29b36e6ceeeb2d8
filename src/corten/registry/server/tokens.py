"""Bearer tokens: Docker's token authentication, issued by ourselves or by another server.

A token is a JSON Web Token whose `access` lists what its bearer may do. Ours are signed with a secret of
this registry (HS256); another server's with its private key (RS256, ES256, EdDSA), whose public key or
certificate we are given.

Source: distribution's docs, "Token Authentication Specification" and "Token Authentication Implementation";
RFC 7515, RFC 7519.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from corten.reference import is_repository_path
from corten.registry.server.access import ANYBODY, Users
from corten.registry.server.errors import Refused
from corten.registry.server.messages import Reply, Request

_LIFETIME_S = 300
_LEEWAY_S = 60
_LONGEST = 64 << 10
_KEY_BYTES = 32
_MOST_SCOPES = 100
_USERS_MAY = ("pull", "push", "delete", "*")
_STRANGERS_MAY = ("pull",)


class Verifier(Protocol):
    """Knows signatures of one kind."""

    def verify(self, algorithm: str, signature: bytes, signed: bytes) -> bool:
        """Whether the signature is good."""


class SharedSecret:
    """HS256 with a key that only this registry has."""

    def __init__(self, path: str) -> None:
        """Read the key from a file, or make one: also for a file that a crash left too short to be secret."""
        try:
            with open(path, "rb") as file:
                self._key = file.read()
        except FileNotFoundError:
            self._key = b""
        if len(self._key) < _KEY_BYTES:
            self._key = secrets.token_bytes(_KEY_BYTES)
            fresh = f"{path}.new"
            fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "wb") as out:
                out.write(self._key)
                out.flush()
                os.fsync(fd)
            os.rename(fresh, path)

    def sign(self, claims: Mapping[str, object]) -> str:
        """A token."""
        signed = f"{_encode({'typ': 'JWT', 'alg': 'HS256'})}.{_encode(claims)}"
        return f"{signed}.{_base64(hmac.digest(self._key, signed.encode(), hashlib.sha256))}"

    def verify(self, algorithm: str, signature: bytes, signed: bytes) -> bool:
        """See Verifier."""
        return algorithm == "HS256" and hmac.compare_digest(
            signature, hmac.digest(self._key, signed, hashlib.sha256)
        )


class PublicKeys:
    """RS256, ES256 and EdDSA with the public keys or certificates of a PEM file."""

    def __init__(self, path: str) -> None:
        """Raises OSError, ValueError."""
        from corten.registry.server.publickeys import load_keys  # and cryptography: 200 ms

        self._keys: list[Callable[[str, bytes, bytes], bool]] = load_keys(path)

    def verify(self, algorithm: str, signature: bytes, signed: bytes) -> bool:
        """See Verifier."""
        return any(verifies(algorithm, signature, signed) for verifies in self._keys)


class TokenAccess:
    """Bearers of a good token may do what it says.

    realm: where to get one ("": from us, at /token, by `users`). issuer, service: what must stand in it.
    """

    def __init__(
        self,
        verifier: Verifier,
        *,
        realm: str = "",
        service: str = "corten-registry",
        issuer: str = "corten-registry",
        users: Users | None = None,
        anonymous_pull: bool = False,
    ) -> None:
        self._verifier = verifier
        self._realm = realm
        self._service = service
        self._issuer = issuer
        self._users = users
        self._anonymous_pull = anonymous_pull

    def check(
        self, request: Request, repository: str, actions: tuple[str, ...], *, people: bool = False
    ) -> str:
        """See Access."""
        if people:
            return self._check_browser(request)
        scheme, _, token = request.header(b"authorization").partition(" ")
        claims = self._verified(token.strip()) if scheme.lower() == "bearer" else None
        if claims is None:
            raise self._refusal(request, repository, actions, "")
        if not _grants(claims.get("access"), repository, actions):
            raise self._refusal(request, repository, actions, "insufficient_scope")
        return str(claims.get("sub", ANYBODY))

    def allows(self, request: Request, repository: str, actions: tuple[str, ...]) -> bool:
        """See Access."""
        try:
            self.check(request, repository, actions)
        except Refused:
            return False
        return True

    def _check_browser(self, request: Request) -> str:
        user = self._users.authenticate(request) if self._users else None
        if user is None and not self._anonymous_pull:
            raise Refused(
                "UNAUTHORIZED",
                "authentication required",
                {"WWW-Authenticate": 'Basic realm="Corten registry"'},
            )
        return user or ANYBODY

    def _refusal(self, request: Request, repository: str, actions: tuple[str, ...], error: str) -> Refused:
        challenge = f'Bearer realm="{self._realm or request.origin + "/token"}",service="{self._service}"'
        if actions == ("catalog",):
            challenge += ',scope="registry:catalog:*"'
        elif repository:
            challenge += f',scope="repository:{repository}:{",".join(actions)}"'
        if error:
            challenge += f',error="{error}"'
        return Refused("UNAUTHORIZED", "authentication required", {"WWW-Authenticate": challenge})

    def _verified(self, token: str) -> dict[str, Any] | None:
        """The claims of a token that is ours to believe."""
        parts = token.split(".")
        if len(parts) != 3 or len(token) > _LONGEST:
            return None
        try:
            header, claims = (json.loads(_unbase64(part)) for part in parts[:2])
            signature = _unbase64(parts[2])
        except (ValueError, RecursionError):
            return None
        if not isinstance(header, dict) or not isinstance(claims, dict):
            return None
        signed = f"{parts[0]}.{parts[1]}".encode()
        if not self._verifier.verify(str(header.get("alg")), signature, signed):
            return None
        return claims if self._holds(claims) else None

    def _holds(self, claims: dict[str, Any]) -> bool:
        audience = claims.get("aud")
        now = time.time()
        until, since = claims.get("exp"), claims.get("nbf", 0)
        return (
            claims.get("iss") == self._issuer
            and (audience == self._service or (isinstance(audience, list) and self._service in audience))
            and isinstance(until, int | float)
            and isinstance(since, int | float)
            and since - _LEEWAY_S <= now < until + _LEEWAY_S
        )

    def issue(self, request: Request) -> Reply:
        """GET /token?service=&scope=: a token for a user of ours, or for pulling alone."""
        if self._users is None or not isinstance(self._verifier, SharedSecret):
            raise Refused("UNSUPPORTED", "this registry does not issue tokens")
        user = self._users.authenticate(request)
        if user is None and not self._anonymous_pull:
            raise Refused(
                "UNAUTHORIZED",
                "authentication required",
                {"WWW-Authenticate": 'Basic realm="Corten registry"'},
            )
        may = _USERS_MAY if user is not None else _STRANGERS_MAY
        now = int(time.time())
        scopes = [scope for text in request.query.get("scope", []) for scope in text.split(" ")]
        token = self._verifier.sign(
            {
                "iss": self._issuer, "aud": self._service, "sub": user or ANYBODY,
                "iat": now, "nbf": now, "exp": now + _LIFETIME_S, "jti": secrets.token_hex(8),
                "access": [granted for scope in scopes[:_MOST_SCOPES] if (granted := _granted(scope, may))],
            }
        )  # fmt: skip
        body = {"token": token, "access_token": token, "expires_in": _LIFETIME_S}
        body["issued_at"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))
        return Reply(200, {"Content-Type": "application/json"}, json.dumps(body).encode())


def _granted(scope: str, may: tuple[str, ...]) -> dict[str, object] | None:
    """The part of a scope `type:name:actions` that may be given."""
    kind, _, rest = scope.partition(":")
    name, _, actions = rest.rpartition(":")
    if (kind, name) != ("registry", "catalog") and not (kind == "repository" and is_repository_path(name)):
        return None
    wanted = [
        action for action in actions.split(",") if action in may or (kind == "registry" and action == "*")
    ]
    return {"type": kind, "name": name, "actions": wanted}


def _grants(access: object, repository: str, actions: tuple[str, ...]) -> bool:
    kind, name, wanted = "repository", repository, set(actions)
    if actions == ("catalog",):
        kind, name, wanted = "registry", "catalog", {"*"}
    given: set[object] = set()
    for entry in access if isinstance(access, list) else ():
        if isinstance(entry, dict) and entry.get("type") == kind and entry.get("name") == name:
            listed = entry.get("actions")
            given.update(listed if isinstance(listed, list) else ())
    return wanted <= given or "*" in given


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unbase64(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error as e:
        raise ValueError(str(e)) from e


def _encode(document: Mapping[str, object]) -> str:
    return _base64(json.dumps(document, separators=(",", ":")).encode())

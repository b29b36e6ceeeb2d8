"""Who may do what: anybody, or the users of an htpasswd file. Tokens are in `tokens`.

A file of Apache's `htpasswd -B`: one `user:bcrypt hash` a line. It is read again when it changes.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
import threading
import time
from typing import Protocol

from corten.linux.crypt import password_matches
from corten.registry.server.errors import Refused, WouldWait
from corten.registry.server.messages import Request

ANYBODY = ""
_REMEMBERED_S = 300.0
_MOST_REMEMBERED = 10_000
# Of no password: what unknown users are compared with, so that they take as long as known ones.
_NOBODY = "$2y$10$abcdefghijklmnopqrstuuK5QWJ8m9p0m6PGE0n9wqPZxQzR9nq1a"


class Access(Protocol):
    """Decides about a request. Actions: pull, push, delete, catalog; none: whether it may enter at all."""

    def check(
        self, request: Request, repository: str, actions: tuple[str, ...], *, people: bool = False
    ) -> str:
        """The user's name, if it may; ANYBODY without one. Raises Refused (UNAUTHORIZED, DENIED).

        people: a browser asks, which can only answer a Basic challenge.
        """

    def allows(self, request: Request, repository: str, actions: tuple[str, ...]) -> bool:
        """The same as a question."""


class Open:
    """Everybody may do everything."""

    def check(
        self, request: Request, repository: str, actions: tuple[str, ...], *, people: bool = False
    ) -> str:
        """See Access."""
        return ANYBODY

    def allows(self, request: Request, repository: str, actions: tuple[str, ...]) -> bool:
        """See Access."""
        return True


class Users:
    """The users of an htpasswd file."""

    def __init__(self, path: str) -> None:
        """Raises OSError, ValueError (a line that is no bcrypt entry)."""
        self._path = path
        self._hashes: dict[str, str] = {}
        self._stamp = (0, 0)
        self._remembered: dict[bytes, float] = {}
        self._key = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._read()

    def _read(self) -> None:
        status = os.stat(self._path)
        if (stamp := (status.st_mtime_ns, status.st_ino)) == self._stamp:
            return
        hashes = {}
        with open(self._path, encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                user, colon, hashed = line.strip().partition(":")
                if not user or user.startswith("#"):
                    continue
                if not colon or not hashed.startswith(("$2y$", "$2b$", "$2a$")):
                    raise ValueError(f"{self._path}:{number}: not a bcrypt entry (use htpasswd -B)")
                hashes[user] = hashed
        self._hashes, self._stamp, self._remembered = hashes, stamp, {}

    def authenticate(self, request: Request) -> str | None:
        """The user whose password is in the Authorization header; None without one.

        Raises Refused, WouldWait.
        """
        scheme, _, value = request.header(b"authorization").partition(" ")
        if scheme.lower() != "basic":
            return None
        try:
            user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
        except ValueError as e:
            raise Refused("UNAUTHORIZED", "malformed Authorization header") from e
        if not self._knows(user, password, request.may_wait):
            raise Refused("UNAUTHORIZED", "authentication required")
        return user

    def _knows(self, user: str, password: str, may_wait: bool) -> bool:
        # bcrypt takes 50 ms on purpose, and clients send the password with each request: what was right
        # is remembered for a while, as a keyed hash.
        proof = hmac.digest(self._key, f"{len(user)}:{user}:{password}".encode(), hashlib.sha256)
        with self._lock:
            try:
                self._read()
            except (OSError, ValueError):
                pass  # being written: the old users hold
            if self._remembered.get(proof, 0) > time.monotonic():
                return True
            hashed = self._hashes.get(user)
        if not may_wait:
            raise WouldWait
        if not password_matches(password, hashed or _NOBODY) or hashed is None:
            return False
        with self._lock:
            if self._hashes.get(user) != hashed:
                return False  # changed meanwhile: an old password is not to be remembered
            if len(self._remembered) >= _MOST_REMEMBERED:
                self._remembered.clear()
            self._remembered[proof] = time.monotonic() + _REMEMBERED_S
        return True


class PasswordAccess:
    """Users of an htpasswd file may do everything; others nothing, or pull with `anonymous_pull`."""

    def __init__(self, users: Users, *, realm: str = "Corten registry", anonymous_pull: bool = False) -> None:
        self._users = users
        self._challenge = {"WWW-Authenticate": f'Basic realm="{realm}"'}
        self._anonymous_pull = anonymous_pull

    def check(
        self, request: Request, repository: str, actions: tuple[str, ...], *, people: bool = False
    ) -> str:
        """See Access."""
        try:
            user = self._users.authenticate(request)
        except Refused as e:
            raise Refused(e.code, str(e), self._challenge) from e
        if user is None:
            if self._anonymous_pull and actions and set(actions) <= {"pull", "catalog"}:
                return ANYBODY
            raise Refused("UNAUTHORIZED", "authentication required", self._challenge)
        return user

    def allows(self, request: Request, repository: str, actions: tuple[str, ...]) -> bool:
        """See Access."""
        try:
            self.check(request, repository, actions)
        except Refused:
            return False
        return True

"""Answering a registry's challenges: Basic, and Docker's tokens with their OAuth2 form.

Source: distribution/docs/spec/auth/{token,oauth}.md.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from urllib.parse import urlencode

import msgspec

from corten.registry.client.body import BytesBody
from corten.registry.client.challenge import Challenge, parse_challenges
from corten.registry.client.credentials import basic_authorization
from corten.registry.client.errors import BadResponse, NoBasicCredentials, error_of
from corten.registry.client.transport import Response, Transport, split_url
from corten.types.system import AuthConfig

CLIENT_ID = "corten"
_MAX_TOKEN_BYTES = 1 << 20


class _Token(msgspec.Struct):
    token: str = ""
    access_token: str = ""
    refresh_token: str = ""


class Authorizer:
    """Keeps the Authorization header of each scope of one endpoint. Any thread."""

    def __init__(self, host: str, auth: AuthConfig, transport: Transport) -> None:
        self._host = host
        self._auth = auth
        self._transport = transport
        self._lock = threading.Lock()
        self._headers: dict[str, str] = {}
        self.identity_token = ""

    def header(self, scope: str) -> str | None:
        """What to send for a scope, if that is known by now. Basic credentials suit every scope."""
        with self._lock:
            return self._headers.get(scope) or self._headers.get("*")

    def answer(self, response: Response, scopes: Sequence[str], *, offline: bool = False) -> None:
        """Find the header that a 401 asks for; `header(" ".join(scopes))` has it then.

        offline: ask for an identity token, too. Raises AuthenticationFailed, BadResponse.
        """
        challenges = parse_challenges(response.headers.get_all("WWW-Authenticate") or [])
        if self._auth.registry_token:
            self._keep("*", f"Bearer {self._auth.registry_token}")
            return
        for challenge in challenges:
            if challenge.scheme == "bearer":
                token = self._token(challenge, response.url, scopes, offline=offline)
                self._keep(" ".join(scopes), f"Bearer {token}")
                return
            if challenge.scheme == "basic":
                basic = basic_authorization(self._auth)
                if basic is None:
                    raise NoBasicCredentials
                self._keep("*", basic)
                return
        raise error_of(response.status, response.read_error())

    def _keep(self, scope: str, header: str) -> None:
        with self._lock:
            self._headers[scope] = header

    def _token(self, challenge: Challenge, asked_by: str, scopes: Sequence[str], *, offline: bool) -> str:
        realm = challenge.parameters.get("realm", "")
        self._check_realm(realm, asked_by)
        query = [("service", challenge.parameters.get("service", ""))]
        if self._auth.identity_token:
            response = self._refresh(realm, query, scopes)
        else:
            response = self._get(realm, query, scopes, offline=offline)
        with response:
            if response.status != 200:
                raise error_of(response.status, response.read_error())
            body = response.read(_MAX_TOKEN_BYTES)
        try:
            answer = msgspec.json.decode(body, type=_Token)
        except (msgspec.DecodeError, RecursionError) as e:
            raise BadResponse(f"authorization server did not include a token in the response: {e}") from e
        token = answer.token or answer.access_token
        if not token or not token.isascii() or not token.isprintable():
            raise BadResponse("authorization server did not include a token in the response")
        self.identity_token = answer.refresh_token
        return token

    def _refresh(self, realm: str, query: list[tuple[str, str]], scopes: Sequence[str]) -> Response:
        form = [*query, ("grant_type", "refresh_token"), ("refresh_token", self._auth.identity_token)]
        form += [("client_id", CLIENT_ID), ("scope", " ".join(scopes))]
        body = BytesBody(urlencode([(k, v) for k, v in form if v]).encode())
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return self._transport.request("POST", realm, headers, body)

    def _get(
        self, realm: str, query: list[tuple[str, str]], scopes: Sequence[str], *, offline: bool
    ) -> Response:
        query = [*query, *(("scope", scope) for scope in scopes)]
        headers = {}
        if (basic := basic_authorization(self._auth)) is not None:
            headers["Authorization"] = basic
            query.append(("account", self._auth.username))
        if offline:
            query += [("offline_token", "true"), ("client_id", CLIENT_ID)]
        separator = "&" if split_url(realm).query else "?"
        url = realm + separator + urlencode([(k, v) for k, v in query if v])
        return self._transport.request("GET", url, headers)

    def _check_realm(self, realm: str, asked_by: str) -> None:
        """Credentials go to https, or to the very host that asked, and nowhere else."""
        parts, own = split_url(realm), split_url(asked_by)
        if parts.scheme == "https" and parts.hostname:
            return
        if parts.scheme == "http" and own.scheme == "http" and parts.hostname == own.hostname:
            return
        raise BadResponse(f'registry {self._host} asks to authenticate at an unsafe address "{realm[:200]}"')

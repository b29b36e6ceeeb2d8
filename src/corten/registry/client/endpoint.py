"""One repository at one endpoint of its registry: finding out how to speak to it, and speaking.

Blocking; any thread.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

from corten.reference import Reference
from corten.registry.client.authorizer import Authorizer
from corten.registry.client.body import Body
from corten.registry.client.errors import AuthenticationFailed, Unreachable, error_of
from corten.registry.client.hosts import Endpoint
from corten.registry.client.transport import Response, Transport, same_host, split_url
from corten.types.system import AuthConfig


class EndpointClient:
    """Sends authorised requests. auth is for origins only: a mirror gets none of it."""

    def __init__(
        self,
        endpoint: Endpoint,
        reference: Reference,
        auth: AuthConfig,
        transport: Transport,
        actions: str,
    ) -> None:
        self.endpoint = endpoint
        self.repository = endpoint.repository(reference.path)
        self.transport = transport
        self.authorizer = Authorizer(endpoint.host, auth if endpoint.origin else AuthConfig(), transport)
        self._scopes = [f"repository:{self.repository}:{actions}"]
        self._lock = threading.Lock()
        self._base = ""

    def ping(self) -> str:
        """How to speak to the registry: its base URL. Authenticates if it asks for that.

        Raises RegistryError.
        """
        with self._lock:
            if not self._base:
                self._base = self._find_base(self._scopes)
            return self._base

    def _find_base(self, scopes: Sequence[str], *, offline: bool = False) -> str:
        *first, last = self.endpoint.schemes
        for scheme in (*first, last):
            url = f"{scheme}://{self.endpoint.host}{self.endpoint.path}/"
            try:
                with self.transport.request("GET", url, self.endpoint.headers) as response:
                    if response.status == 401:
                        self.authorizer.answer(response, scopes, offline=offline)
                        response.read_error()
                    elif response.status != 200 and self.endpoint.path == "/v2":
                        # Behind a path of its own a mirror need not answer this question.
                        raise error_of(response.status, response.read_error())
                    else:
                        response.read_error()
            except Unreachable:
                if scheme == last:
                    raise
                continue
            return url
        raise AssertionError("an endpoint without a scheme")

    def url(self, path: str) -> str:
        """The URL of a path of the repository, e.g. "manifests/latest"."""
        return f"{self.ping()}{self.repository}/{path}"

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Body | None = None,
        *,
        further_scopes: Sequence[str] = (),
        allow: Sequence[int] = (),
    ) -> Response:
        """Send a request to a URL of this registry, or one that it told (then without credentials if that
        is another host). Statuses of 400 and more, but for those of `allow`, are raised as RegistryError.
        """
        own = same_host(split_url(url), split_url(self.ping()))
        scopes = [*self._scopes, *further_scopes]
        response: Response
        for attempt in (1, 2):
            sent = {**self.endpoint.headers, **headers} if own else dict(headers)
            authorization = self.authorizer.header(" ".join(scopes)) if own else None
            if authorization is not None:
                sent["Authorization"] = authorization
            response = self.transport.request(method, url, sent, body)
            challenged = own and response.status == 401 and response.headers.get("WWW-Authenticate")
            if not challenged or attempt == 2:
                break
            with response:
                self.authorizer.answer(response, scopes)
                response.read_error()
        if response.status >= 400 and response.status not in allow:
            with response:
                raise error_of(response.status, response.read_error())
        return response

    def login(self) -> tuple[str, str]:
        """Check the credentials; Docker's sentence and an identity token or "".

        Raises AuthenticationFailed.
        """
        with self._lock:
            url = self._base = self._find_base((), offline=True)
        authorization = self.authorizer.header("")
        headers = {**self.endpoint.headers, **({"Authorization": authorization} if authorization else {})}
        with self.transport.request("GET", url, headers) as response:
            if response.status == 401:
                raise AuthenticationFailed(f"login attempt to {url} failed with status: 401 Unauthorized")
            if response.status != 200:
                raise error_of(response.status, response.read_error())
        return "Login Succeeded", self.authorizer.identity_token

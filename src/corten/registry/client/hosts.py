"""Where to go for a registry: the one place that knows mirrors, trust, proxies and hosts.toml.

For the registry `reg.example:5000` the first of the configured directories that has one of

::

    <directory>/reg.example:5000/hosts.toml      containerd's format
    <directory>/reg.example:5000/*.crt           further roots, as Docker's certs.d
    <directory>/reg.example:5000/*.cert, *.key   client certificate and its key, likewise
    <directory>/_default/hosts.toml              for registries without a directory

decides. In hosts.toml (containerd/docs/hosts.md) `server`, `[host."URL"]` with `capabilities`, `ca`,
`client`, `skip_verify`, `override_path` and `header` mean what they mean there; `rewrite` (k3s) maps
regular expressions to replacements of repositories' paths; `blocked = true` at the top refuses the
registry. Files are read at every use: a change needs no reload.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias, cast
from urllib.parse import urlsplit

from corten.errors import Forbidden, InvalidParameter
from corten.reference import DEFAULT_DOMAIN
from corten.registry.client.credentials import endpoint_host
from corten.registry.client.errors import RegistryError
from corten.registry.client.proxies import Proxies
from corten.registry.client.transport import TlsSettings, Transport
from corten.registry.client.trust import RegistryTrust

DEFAULT_DIRECTORIES = ("/etc/corten/certs.d", "/etc/docker/certs.d")
_ALL = frozenset(("pull", "resolve", "push"))
_MIRROR = frozenset(("pull", "resolve"))

_Table: TypeAlias = Mapping[str, object]


class RegistryBlocked(RegistryError, Forbidden):
    """The engine's configuration forbids to speak to this registry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One address of a registry. origin: credentials for the registry are meant for it.

    path: "/v2" or what stands instead of it. schemes: to be tried in this order.
    """

    host: str
    schemes: Sequence[str]
    path: str = "/v2"
    origin: bool = True
    capabilities: frozenset[str] = _ALL
    tls: TlsSettings = field(default_factory=TlsSettings)
    headers: Mapping[str, str] = field(default_factory=dict)
    rewrites: Sequence[tuple[re.Pattern[str], str]] = ()

    def repository(self, path: str) -> str:
        """The repository's name there. The first pattern that matches is applied."""
        for pattern, replacement in self.rewrites:
            if pattern.search(path):
                return pattern.sub(replacement, path)
        return path


class RegistryHosts:
    """Resolves registries' domains. offline: refuses all of them.

    mirrors: daemon.json's registry-mirrors, for Docker Hub. Raises InvalidParameter for what is no URL.
    """

    def __init__(
        self,
        *,
        trust: RegistryTrust | None = None,
        mirrors: Iterable[str] = (),
        proxies: Proxies | None = None,
        directories: Sequence[str] = (),
        offline: bool = False,
        timeout_s: float = 60.0,
    ) -> None:
        self.trust = trust or RegistryTrust()
        self.proxies = proxies or Proxies()
        self._mirrors = [_mirror(text) for text in mirrors]
        self._directories = directories
        self._offline = offline
        self._timeout_s = timeout_s

    def check(self, domain: str) -> None:
        """Raise RegistryBlocked if the engine is offline."""
        if self._offline:
            raise RegistryBlocked(f"cannot reach registry {domain}: the engine runs with --offline")

    def transport(self, tls: TlsSettings | None = None) -> Transport:
        """For requests with these certificates, through the proxies."""
        return Transport(tls=tls, proxies=self.proxies, timeout_s=self._timeout_s)

    def endpoints(self, domain: str, capability: str) -> list[Endpoint]:
        """Where to try, in this order; the registry itself last. Raises RegistryBlocked, RegistryError."""
        self.check(domain)
        origin = self._origin(domain)
        directory = self._directory(domain)
        mirrors: list[Endpoint] = []
        if directory is not None:
            mirrors, origin = _configured(directory, domain, origin)
        if not mirrors and domain == DEFAULT_DOMAIN:
            mirrors = [self._trusting(mirror) for mirror in self._mirrors]
        found = [each for each in (*mirrors, origin) if capability in each.capabilities]
        if not found:
            raise RegistryBlocked(f"no host of registry {domain} is configured for {capability}")
        return found

    def _origin(self, domain: str) -> Endpoint:
        host = endpoint_host(domain)
        return Endpoint(
            host=host,
            schemes=self.trust.schemes(host),
            tls=TlsSettings(verify=not self.trust.is_insecure(host)),
        )

    def _trusting(self, mirror: Endpoint) -> Endpoint:
        verify = not self.trust.is_insecure(mirror.host)
        return replace(mirror, tls=TlsSettings(verify=verify))

    def _directory(self, domain: str) -> str | None:
        for directory in self._directories:
            for name in (domain, endpoint_host(domain), "_default"):
                path = os.path.join(directory, name)
                if os.path.isdir(path):
                    return path
        return None


def _mirror(text: str) -> Endpoint:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidParameter(f'invalid mirror: "{text}" must be an http:// or https:// URL')
    if parts.username or parts.query or parts.fragment:
        raise InvalidParameter(f"invalid mirror: user, query or fragment in the URI of {parts.hostname}")
    path = f"{parts.path.rstrip('/')}/v2"
    return Endpoint(host=parts.netloc, schemes=(parts.scheme,), path=path, origin=False, capabilities=_MIRROR)


# -- directories of a registry ---------------------------------------------------------------------


def _configured(directory: str, domain: str, origin: Endpoint) -> tuple[list[Endpoint], Endpoint]:
    """(mirrors, the registry itself) as the directory has it."""
    origin = replace(origin, tls=_with_files(directory, origin.tls))
    file = os.path.join(directory, "hosts.toml")
    try:
        with open(file, "rb") as f:
            document: _Table = tomllib.load(f)
    except FileNotFoundError:
        return [], origin
    except (tomllib.TOMLDecodeError, OSError) as e:
        raise RegistryError(f"cannot read {file}: {e}") from e
    if document.get("blocked") is True:
        raise RegistryBlocked(f"registry {domain} is blocked by {file}")
    reader = _HostsFile(file, directory)
    return reader.read(document, origin)


def _with_files(directory: str, tls: TlsSettings) -> TlsSettings:
    names = sorted(os.listdir(directory))
    roots = [os.path.join(directory, n) for n in names if n.endswith(".crt")]
    pairs = []
    for name in names:
        if not name.endswith(".cert"):
            continue
        key = os.path.join(directory, f"{name.removesuffix('.cert')}.key")
        if not os.path.exists(key):
            raise RegistryError(f"missing key {key} for client certificate {name}")
        pairs.append((os.path.join(directory, name), key))
    return replace(tls, ca=[*tls.ca, *roots], client=[*tls.client, *pairs])


class _HostsFile:
    """Reads the tables of one hosts.toml; what is wrong in it is a RegistryError that names it."""

    def __init__(self, file: str, directory: str) -> None:
        self._file = file
        self._directory = directory

    def read(self, document: _Table, origin: Endpoint) -> tuple[list[Endpoint], Endpoint]:
        """See `_configured`."""
        server = document.get("server")
        if server is not None:
            origin = self._at(str(server), replace(origin, tls=origin.tls), document)
        origin = self._options(origin, document)
        hosts = document.get("host", {})
        if not isinstance(hosts, dict):
            raise self._wrong("host must be tables")
        base = Endpoint(host="", schemes=(), origin=False)
        mirrors = []
        for url, table in hosts.items():
            if not isinstance(table, dict):
                raise self._wrong(f'host."{url}" must be a table')
            mirrors.append(self._options(self._at(url, base, table), table))
        return mirrors, origin

    def _at(self, url: str, endpoint: Endpoint, table: _Table) -> Endpoint:
        parts = urlsplit(url if "://" in url else f"https://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            raise self._wrong(f'"{url}" is not the URL of a host')
        path = parts.path.rstrip("/")
        if not table.get("override_path"):
            path = path if path.endswith("/v2") else f"{path}/v2"
        schemes = endpoint.schemes if parts.netloc == endpoint.host else (parts.scheme,)
        return replace(endpoint, host=parts.netloc, schemes=schemes, path=path)

    def _options(self, endpoint: Endpoint, table: _Table) -> Endpoint:
        tls = replace(
            endpoint.tls,
            verify=endpoint.tls.verify and not table.get("skip_verify"),
            ca=[*endpoint.tls.ca, *self._paths(table.get("ca", []))],
            client=[*endpoint.tls.client, *self._pairs(table.get("client", []))],
        )
        capabilities = endpoint.capabilities
        if "capabilities" in table:
            capabilities = frozenset(self._texts(table["capabilities"], "capabilities"))
        return replace(
            endpoint,
            tls=tls,
            capabilities=capabilities,
            headers=self._headers(table.get("header", {})),
            rewrites=self._rewrites(table.get("rewrite", {})),
        )

    def _texts(self, value: object, what: str) -> list[str]:
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list) or not all(isinstance(each, str) for each in texts):
            raise self._wrong(f"{what} must be a list of strings")
        return texts

    def _paths(self, value: object) -> list[str]:
        return [os.path.join(self._directory, each) for each in self._texts(value, "ca")]

    def _pairs(self, value: object) -> list[tuple[str, str]]:
        """One file with both, a pair, or a list of those."""
        items = value if isinstance(value, list) else [value]
        pairs = []
        for item in items:
            files = [os.path.join(self._directory, each) for each in self._texts(item, "client")]
            if not 1 <= len(files) <= 2:
                raise self._wrong("client must be [certificate, key]")
            pairs.append((files[0], files[-1]))
        return pairs

    def _headers(self, value: object) -> dict[str, str]:
        if not isinstance(value, dict):
            raise self._wrong("header must be a table")
        return {str(k): ", ".join(self._texts(v, "header")) for k, v in value.items()}

    def _rewrites(self, value: object) -> list[tuple[re.Pattern[str], str]]:
        if not isinstance(value, dict):
            raise self._wrong("rewrite must be a table")
        rewrites = []
        for pattern, replacement in cast("dict[str, object]", value).items():
            try:
                # $1 is how the format's users write what Python calls \1.
                rewrites.append((re.compile(pattern), re.sub(r"\$(\d+)", r"\\\1", str(replacement))))
            except re.error as e:
                raise self._wrong(f'rewrite "{pattern}": {e}') from e
        return rewrites

    def _wrong(self, what: str) -> RegistryError:
        return RegistryError(f"invalid {self._file}: {what}")

"""Flags and a JSON file made the registry's configuration.

The file has the flags' names as keys, and two that flags cannot say::

    {"listen": [":5000"], "htpasswd": "/etc/corten/registry.htpasswd",
     "upstreams": [{"prefix": "docker.io", "url": "https://registry-1.docker.io",
                    "username": "u", "password": "p"}],
     "webhooks": [{"url": "https://ci/hook", "headers": {"Authorization": "Bearer x"}, "actions": ["push"]}]}

Passwords belong into the file, which only its owner should be able to read; command lines are public.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

import msgspec

from corten.errors import InvalidParameter
from corten.reference import is_repository_path
from corten.registry.server.upstreams import FRESH_S, Upstream
from corten.registry.server.webhooks import Endpoint

DEFAULT_ROOT = "/var/lib/corten-registry"
DEFAULT_PORT = 5000
_ACTIONS = frozenset(("push", "pull", "delete"))


class ConfigError(InvalidParameter):
    """The registry cannot be configured as asked; the text is for whoever started it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryConfig:
    """What it serves, to whom, and how. Times in seconds."""

    listen: tuple[tuple[str, int], ...]
    root: str = DEFAULT_ROOT
    engine_root: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    tls_client_ca: str = ""
    htpasswd: str = ""
    auth: str = "basic"
    anonymous_pull: bool = False
    token_realm: str = ""
    token_issuer: str = "corten-registry"  # noqa: S105 - a name
    token_service: str = "corten-registry"  # noqa: S105 - a name
    token_keys: str = ""
    read_only: bool = False
    no_delete: bool = False
    delete_untagged: bool = False
    gc_interval: float = 3600.0
    gc_grace: float = 3600.0
    fresh: float = FRESH_S
    log_requests: bool = False
    upstreams: list[Upstream] = field(default_factory=list)
    webhooks: list[Endpoint] = field(default_factory=list)


def parser() -> argparse.ArgumentParser:
    """The flags; what is not given stays None, so that the file can say it."""
    p = argparse.ArgumentParser(
        prog="corten-registry",
        description="Serve an OCI registry over a directory, or over an engine's images.",
        argument_default=None,
    )
    p.add_argument("--config", metavar="FILE", help="JSON file with these settings and with passwords")
    p.add_argument("--listen", action="append", metavar="[HOST]:PORT",
                   help="address to serve, may be repeated (default 127.0.0.1:5000)")  # fmt: skip
    p.add_argument("--root", metavar="DIR", help=f"directory of the registry (default {DEFAULT_ROOT})")
    p.add_argument("--engine-root", metavar="DIR",
                   help="also serve the images of the engine with this data root, uncopied")  # fmt: skip
    for name, text in (
        ("tls-cert", "certificate chain (PEM); serves TLS"),
        ("tls-key", "its private key"),
        ("tls-client-ca", "only clients with a certificate of these authorities may connect"),
        ("htpasswd", "users, as `htpasswd -B` writes them"),
        ("token-keys", "public keys or certificates (PEM) of the server that issues tokens"),
    ):
        p.add_argument(f"--{name}", metavar="FILE", help=text)
    p.add_argument("--auth", choices=("basic", "token"),
                   help="how users prove themselves: password with each request, or tokens")  # fmt: skip
    p.add_argument("--token-realm", metavar="URL", help="where clients get tokens (default: here, at /token)")
    p.add_argument("--token-issuer", metavar="NAME", help="issuer that tokens must have")
    p.add_argument("--token-service", metavar="NAME", help="audience that tokens must have")
    p.add_argument("--upstream", action="append", metavar="[PREFIX=]URL",
                   help="registry to fetch from and keep, below PREFIX; may be repeated")  # fmt: skip
    p.add_argument("--webhook", action="append", metavar="URL", help="tell this URL of pushes and deletions")
    p.add_argument("--gc-interval", type=float, metavar="SECONDS", help="pause between collections; 0: never")
    p.add_argument("--gc-grace", type=float, metavar="SECONDS",
                   help="how long content that nothing refers to is kept (default 3600)")  # fmt: skip
    p.add_argument("--fresh", type=float, metavar="SECONDS",
                   help="how long an upstream's tag is believed (default 60)")  # fmt: skip
    for name, text in (
        ("anonymous-pull", "who gives no password may pull"),
        ("read-only", "accept no pushes"),
        ("no-delete", "accept no deletions"),
        ("delete-untagged", "collect manifests that no tag leads to"),
        ("log-requests", "log every request"),
    ):
        p.add_argument(f"--{name}", action="store_true", default=None, help=text)
    return p


def load(arguments: Sequence[str]) -> RegistryConfig:
    """The configuration. Raises ConfigError; argparse exits on bad flags and --help."""
    flags = {k: v for k, v in vars(parser().parse_args(arguments)).items() if v is not None}
    settings = _read(flags.pop("config", ""))
    settings.update(flags)
    return configured(settings)


def _read(path: str) -> dict[str, object]:
    if not path:
        return {}
    try:
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
    except (OSError, ValueError) as e:
        raise ConfigError(f"cannot read {path}: {e}") from e
    if not isinstance(document, dict):
        raise ConfigError(f"{path} is not a JSON object")
    return {key.replace("-", "_"): value for key, value in document.items()}


def configured(settings: dict[str, object]) -> RegistryConfig:
    """Settings by name, checked. Raises ConfigError."""
    values = dict(settings)
    listen = _texts(values.pop("listen", ["127.0.0.1"]), "listen")
    upstreams = [_upstream_of(text) for text in _texts(values.pop("upstream", []), "upstream")]
    upstreams += [_upstream(entry) for entry in _objects(values.pop("upstreams", []), "upstreams")]
    endpoints = [Endpoint(url=_url(text)) for text in _texts(values.pop("webhook", []), "webhook")]
    endpoints += [_endpoint(entry) for entry in _objects(values.pop("webhooks", []), "webhooks")]
    if unknown := values.keys() - RegistryConfig.__dataclass_fields__.keys():
        raise ConfigError(f"unknown setting: {min(unknown)}")
    try:
        plain = msgspec.convert({**values, "listen": [_address(text) for text in listen]}, RegistryConfig)
    except msgspec.ValidationError as e:
        raise ConfigError(f"bad setting: {e}") from e
    config = replace(plain, upstreams=upstreams, webhooks=endpoints)
    _check(config)
    return config


def _check(config: RegistryConfig) -> None:
    if bool(config.tls_cert) != bool(config.tls_key) or (config.tls_client_ca and not config.tls_cert):
        raise ConfigError("TLS needs --tls-cert and --tls-key")
    if config.auth == "token" and not config.htpasswd and not config.token_keys:
        raise ConfigError(
            "--auth token needs --htpasswd (tokens of our own) or --token-keys (another server's)"
        )
    if config.token_keys and not config.token_realm:
        raise ConfigError("--token-keys needs --token-realm: clients must know where to get tokens")
    if config.anonymous_pull and not config.htpasswd:
        raise ConfigError("--anonymous-pull without --htpasswd: everybody may do everything")
    prefixes = [upstream.prefix for upstream in config.upstreams]
    if len(set(prefixes)) < len(prefixes):
        raise ConfigError("two upstreams have the same prefix")


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":") if ":" in text.rpartition("]")[2] else (text, "", "")
    if colon and not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise ConfigError(f"invalid address to listen on: {text}")
    return host.strip("[]"), int(port) if colon else DEFAULT_PORT


def _upstream_of(text: str) -> Upstream:
    prefix, equals, url = text.rpartition("=")
    return _upstream({"prefix": prefix if equals else "", "url": url})


def _upstream(entry: dict[str, object]) -> Upstream:
    if unknown := set(entry) - {"prefix", "url", "username", "password", "insecure"}:
        raise ConfigError(f"unknown member of an upstream: {min(unknown)}")
    parts = urlsplit(_url(str(entry.get("url", ""))))
    prefix = str(entry.get("prefix", "")).strip("/")
    if prefix and not is_repository_path(prefix):
        raise ConfigError(f"invalid prefix of an upstream: {prefix}")
    if parts.path.strip("/"):
        raise ConfigError(f"the URL of an upstream has no path: {parts.geturl()}")
    return Upstream(
        prefix=prefix,
        host=parts.netloc,
        insecure=parts.scheme == "http" or entry.get("insecure") is True,
        username=str(entry.get("username", "")),
        password=str(entry.get("password", "")),
    )


def _endpoint(entry: dict[str, object]) -> Endpoint:
    headers, actions = entry.get("headers", {}), entry.get("actions", ["push", "delete"])
    if set(entry) - {"url", "headers", "actions"} or not isinstance(headers, dict):
        raise ConfigError("a webhook has url, headers and actions")
    wanted = frozenset(_texts(actions, "actions of a webhook"))
    if not wanted <= _ACTIONS:
        raise ConfigError(f"actions of a webhook are {', '.join(sorted(_ACTIONS))}")
    texts = {str(name): str(value) for name, value in headers.items()}
    return Endpoint(url=_url(str(entry.get("url", ""))), headers=texts, actions=wanted)


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise ConfigError(f"invalid URL: {text}")
    return text


def _texts(value: object, what: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise ConfigError(f"{what} must be a list of strings")
    return value


def _objects(value: object, what: str) -> list[dict[str, object]]:
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise ConfigError(f"{what} must be a list of objects")
    return value

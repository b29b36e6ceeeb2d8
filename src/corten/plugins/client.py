"""Calling a plugin: POST /<Interface>.<Method> with JSON both ways. Blocks; call it in a thread."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Mapping
from typing import TypeVar
from urllib.parse import urlsplit

import msgspec

from corten.errors import InternalError
from corten.plugins.discovery import PluginAddress
from corten.wire.tls import client_context

_MEDIA_TYPE = "application/vnd.docker.plugins.v1.2+json"
_HEADERS = {"Accept": _MEDIA_TYPE, "Content-Type": _MEDIA_TYPE}
_TIMEOUT_S = 60.0
_ANSWER_MAX = 16 << 20


class PluginError(InternalError):
    """The plugin could not be reached, or said no. `reached`: whether it answered at all."""

    def __init__(self, text: str, *, reached: bool) -> None:
        super().__init__(text)
        self.reached = reached


class Reply(msgspec.Struct, rename="pascal"):
    """What every answer may hold. Plugins in Go write null for what is empty, so members take None."""

    err: str | None = None


R = TypeVar("R", bound=Reply)


class _Activation(Reply):
    implements: list[str] | None = None


class Plugin:
    """One plugin; every call is a connection of its own, so that a plugin may be restarted at any time."""

    def __init__(self, where: PluginAddress, *, timeout_s: float = _TIMEOUT_S) -> None:
        self.name = where.name
        self._where = where
        self._timeout_s = timeout_s

    def activate(self) -> list[str]:
        """What it implements, e.g. ["VolumeDriver"]. Raises PluginError."""
        return self.call("Plugin.Activate", None, _Activation).implements or []

    def call(self, method: str, document: object, reply: type[R]) -> R:
        """Ask; document: anything msgspec writes, None for an empty body. Raises PluginError, also for an
        answer with "Err" in it or with members of other types than those of `reply`.
        """
        body = b"" if document is None else msgspec.json.encode(document)
        status, data = self._exchange(method, body)
        try:
            answer = msgspec.json.decode(data or b"{}", type=reply)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
            if status != 200:
                raise PluginError(f"{method}: {data.decode(errors='replace')}", reached=True) from e
            text = f"{method}: plugin {self.name} gave an answer that is not as it should be: {e}"
            raise PluginError(text, reached=True) from e
        if answer.err:
            raise PluginError(f"{method}: {answer.err}", reached=True)
        if status != 200:
            raise PluginError(f"{method}: plugin {self.name} answered {status}", reached=True)
        return answer

    def _exchange(self, method: str, body: bytes) -> tuple[int, bytes]:
        connection = self._connection()
        try:
            connection.request("POST", f"/{method}", body, _HEADERS)
            response = connection.getresponse()
            return response.status, response.read(_ANSWER_MAX).strip()
        except (OSError, http.client.HTTPException) as e:
            raise PluginError(f"{method}: plugin {self.name} does not answer: {e}", reached=False) from e
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        parts = urlsplit(self._where.address)
        if parts.scheme == "unix":
            return _UnixConnection(parts.path, timeout=self._timeout_s)
        host = parts.netloc
        if parts.scheme == "https" or self._where.tls:
            context = _tls_context(self._where.tls)
            return http.client.HTTPSConnection(host, timeout=self._timeout_s, context=context)
        return http.client.HTTPConnection(host, timeout=self._timeout_s)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, *, timeout: float) -> None:
        super().__init__("plugin", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _tls_context(config: Mapping[str, object]) -> ssl.SSLContext:
    roots, certificate = config.get("CAFile"), config.get("CertFile")
    return client_context(
        str(roots) if roots else None,
        certificates=[(str(certificate), str(config.get("KeyFile") or certificate))] if certificate else [],
        verify=not config.get("InsecureSkipVerify"),
    )

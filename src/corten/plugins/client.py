"""Calling a plugin: POST /<Interface>.<Method> with JSON both ways. Blocks; call it in a thread."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from corten.errors import InternalError
from corten.plugins.discovery import PluginAddress

_MEDIA_TYPE = "application/vnd.docker.plugins.v1.2+json"
_HEADERS = {"Accept": _MEDIA_TYPE, "Content-Type": _MEDIA_TYPE}
_TIMEOUT_S = 60.0
_ANSWER_MAX = 16 << 20


class PluginError(InternalError):
    """The plugin could not be reached, or said no. `reached`: whether it answered at all."""

    def __init__(self, text: str, *, reached: bool) -> None:
        super().__init__(text)
        self.reached = reached


class Plugin:
    """One plugin; every call is a connection of its own, so that a plugin may be restarted at any time."""

    def __init__(self, where: PluginAddress, *, timeout_s: float = _TIMEOUT_S) -> None:
        self.name = where.name
        self._where = where
        self._timeout_s = timeout_s

    def activate(self) -> list[str]:
        """What it implements, e.g. ["VolumeDriver"]. Raises PluginError."""
        implements = self.call("Plugin.Activate").get("Implements") or []
        return [str(each) for each in implements]

    def call(self, method: str, document: Mapping[str, object] | None = None) -> dict[str, Any]:
        """The answer to a call. Raises PluginError, also for an answer with "Err" in it."""
        body = b"" if document is None else json.dumps(document).encode()
        connection = self._connection()
        try:
            connection.request("POST", f"/{method}", body, _HEADERS)
            response = connection.getresponse()
            data = response.read(_ANSWER_MAX)
        except (OSError, http.client.HTTPException) as e:
            raise PluginError(f"{method}: plugin {self.name} does not answer: {e}", reached=False) from e
        finally:
            connection.close()
        try:
            answer = json.loads(data) if data.strip() else {}
        except ValueError:
            answer = {"Err": data.decode(errors="replace").strip()} if response.status != 200 else None
        if not isinstance(answer, dict):
            raise PluginError(f"{method}: plugin {self.name} gave no JSON object", reached=True)
        if problem := answer.get("Err"):
            raise PluginError(f"{method}: {problem}", reached=True)
        if response.status != 200:
            raise PluginError(f"{method}: plugin {self.name} answered {response.status}", reached=True)
        return answer

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
    context = ssl.create_default_context(cafile=str(config["CAFile"]) if config.get("CAFile") else None)
    if config.get("InsecureSkipVerify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if config.get("CertFile"):
        context.load_cert_chain(str(config["CertFile"]), str(config.get("KeyFile") or config["CertFile"]))
    return context

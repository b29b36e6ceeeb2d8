"""Where plugins are found: sockets and description files, by name."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from corten.errors import InternalError, NotFound

SOCKETS = "/run/docker/plugins"
SPECS = ("/etc/docker/plugins", "/usr/lib/docker/plugins")

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_ADDRESS = re.compile(r"(unix|tcp|http|https)://\S+")
_SPEC_MAX = 64 << 10


class NoSuchPlugin(NotFound):
    """No plugin has this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f'plugin "{name}" not found')
        self.name = name


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginAddress:
    """A plugin and where it listens: unix:///path, tcp://host:port, http(s)://host:port.

    tls: TLSConfig of its .json file (CAFile, CertFile, KeyFile, InsecureSkipVerify).
    """

    name: str
    address: str
    tls: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PluginFolders:
    """The directories that are searched, sockets first."""

    sockets: Sequence[str] = (SOCKETS,)
    specs: Sequence[str] = SPECS

    def find(self, name: str) -> PluginAddress:
        """The plugin of that name. Raises NoSuchPlugin, InternalError for a description file that is none."""
        if not _NAME.fullmatch(name):
            raise NoSuchPlugin(name)
        for folder in self.sockets:
            for path in (f"{folder}/{name}.sock", f"{folder}/{name}/{name}.sock"):
                if os.path.exists(path):
                    return PluginAddress(name=name, address=f"unix://{path}")
        for folder in self.specs:
            for path in (f"{folder}/{name}", f"{folder}/{name}/{name}"):
                if (text := _read(f"{path}.spec")) is not None:
                    return PluginAddress(name=name, address=_checked(text.strip(), f"{path}.spec"))
                if (text := _read(f"{path}.json")) is not None:
                    return _described(name, text, f"{path}.json")
        raise NoSuchPlugin(name)

    def names(self) -> list[str]:
        """All plugins that are there, running or not."""
        found = set()
        for folder, endings in (
            *((folder, (".sock",)) for folder in self.sockets),
            *((folder, (".spec", ".json")) for folder in self.specs),
        ):
            for entry in _entries(folder):
                stem, ending = os.path.splitext(entry)
                if ending in endings:
                    found.add(stem)
                elif any(os.path.exists(f"{folder}/{entry}/{entry}{each}") for each in endings):
                    found.add(entry)
        return sorted(found)


def _entries(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(_SPEC_MAX)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as e:
        raise InternalError(f"{path}: {e.strerror}") from e


def _checked(address: str, path: str) -> str:
    if not _ADDRESS.fullmatch(address):
        raise InternalError(f"{path}: unknown protocol of the plugin's address")
    return address


def _described(name: str, text: str, path: str) -> PluginAddress:
    try:
        document = json.loads(text)
        tls = document.get("TLSConfig") or {}
        address = _checked(str(document["Addr"]), path)
        return PluginAddress(name=str(document.get("Name") or name), address=address, tls=dict(tls))
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise InternalError(f"{path}: not the description of a plugin: {e!r}") from e

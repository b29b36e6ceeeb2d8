"""Volumes that a plugin keeps. Source: Docker's "Docker volume plugins" (VolumeDriver protocol)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from corten.errors import CortenError
from corten.plugins.client import Plugin, PluginError
from corten.plugins.discovery import NoSuchPlugin, PluginFolders

INTERFACE = "VolumeDriver"


class PluginDriver:
    """Implements `corten.volumes.volume.Driver` by calls; all of them block.

    Which of our uses is the first and which the last we know ourselves, so one id serves for all: the same
    after a restart of the engine.
    """

    def __init__(self, plugin: Plugin, engine_root: str) -> None:
        """engine_root: makes the ids of several engines on one machine differ."""
        self.name = plugin.name
        self.scope = "local"
        self._plugin = plugin
        self._root = engine_root
        self._paths: dict[str, str] = {}

    def learn_scope(self) -> None:
        """Ask for its capabilities; plugins that know no such call have volumes of this machine."""
        try:
            answer = self._plugin.call(f"{INTERFACE}.Capabilities")
        except PluginError:
            return
        self.scope = str((answer.get("Capabilities") or {}).get("Scope") or "local").lower()

    def create(self, name: str, options: Mapping[str, str]) -> None:
        self._call("Create", name, Opts=dict(options))

    def remove(self, name: str, options: Mapping[str, str]) -> None:
        self._call("Remove", name)
        self._paths.pop(name, None)

    def path(self, name: str) -> str:
        """As it was told last: this call does not block."""
        return self._paths.get(name, "")

    def needs_mount(self, options: Mapping[str, str]) -> bool:
        return True

    def mount(self, name: str, options: Mapping[str, str]) -> str:
        answer = self._call("Mount", name, ID=self._id(name))
        path = str(answer.get("Mountpoint") or "")
        if not path.startswith("/"):
            raise PluginError(f"{INTERFACE}.Mount: plugin {self.name} gave no directory", reached=True)
        self._paths[name] = path
        return path

    def unmount(self, name: str, options: Mapping[str, str]) -> None:
        self._call("Unmount", name, ID=self._id(name))

    def get(self, name: str) -> Mapping[str, object] | None:
        """What the plugin says of a volume (Mountpoint, CreatedAt, Status); None if it has none."""
        try:
            answer = self._call("Get", name)
        except CortenError as e:
            if isinstance(e, PluginError) and e.reached:
                return None
            raise
        return self._noted(answer.get("Volume"))

    def names(self) -> list[str]:
        """All volumes it has."""
        answer = self._plugin.call(f"{INTERFACE}.List", {})
        found = [self._noted(each) for each in answer.get("Volumes") or ()]
        return [str(each["Name"]) for each in found if each and each.get("Name")]

    def _noted(self, volume: object) -> Mapping[str, object] | None:
        if not isinstance(volume, dict):
            return None
        if volume.get("Mountpoint"):
            self._paths[str(volume.get("Name"))] = str(volume["Mountpoint"])
        return volume

    def _call(self, method: str, name: str, **fields: object) -> Mapping[str, object]:
        return self._plugin.call(f"{INTERFACE}.{method}", {"Name": name, **fields})

    def _id(self, name: str) -> str:
        return hashlib.sha256(f"{self._root}\0{name}".encode()).hexdigest()


class VolumePlugins:
    """The plugins of this machine that keep volumes."""

    def __init__(self, folders: PluginFolders, engine_root: str) -> None:
        self._folders = folders
        self._root = engine_root
        self._others: set[str] = set()  # plugins that are there for something else

    def names(self) -> list[str]:
        """Those that may be volume plugins: only `open` asks them."""
        return [name for name in self._folders.names() if name not in self._others]

    def open(self, name: str) -> PluginDriver:
        """Find and activate a plugin. Raises NoSuchPlugin, PluginError. Blocks."""
        plugin = Plugin(self._folders.find(name))
        if INTERFACE not in plugin.activate():
            self._others.add(name)
            raise NoSuchPlugin(name)
        driver = PluginDriver(plugin, self._root)
        driver.learn_scope()
        return driver

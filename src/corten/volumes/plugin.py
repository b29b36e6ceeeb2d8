"""Volumes that a plugin keeps. Source: Docker's "Docker volume plugins" (VolumeDriver protocol)."""

from __future__ import annotations

import hashlib

import msgspec

from corten.errors import CortenError
from corten.plugins.client import Plugin, PluginError, R, Reply
from corten.plugins.discovery import NoSuchPlugin, PluginFolders
from corten.volumes.volume import Volume

INTERFACE = "VolumeDriver"


class _Capability(msgspec.Struct, rename="pascal"):
    scope: str | None = None


class _Capabilities(Reply):
    capabilities: _Capability | None = None


class _Mounted(Reply):
    mountpoint: str | None = None


class _Volume(msgspec.Struct, rename="pascal"):
    name: str = ""
    mountpoint: str | None = None


class _Found(Reply):
    volume: _Volume | None = None


class _Listed(Reply):
    volumes: list[_Volume | None] | None = None


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
            answer = self._plugin.call(f"{INTERFACE}.Capabilities", None, _Capabilities)
        except PluginError:
            return
        self.scope = ((answer.capabilities and answer.capabilities.scope) or "local").lower()

    def create(self, volume: Volume) -> None:
        self._call("Create", volume.name, Reply, Opts=dict(volume.options))

    def remove(self, volume: Volume) -> None:
        self._call("Remove", volume.name, Reply)
        self._paths.pop(volume.name, None)

    def path(self, name: str) -> str:
        """As it was told last: this call does not block."""
        return self._paths.get(name, "")

    def needs_mount(self, volume: Volume) -> bool:
        return True

    def mount(self, volume: Volume) -> str:
        path = self._call("Mount", volume.name, _Mounted, ID=self._id(volume.name)).mountpoint or ""
        if not path.startswith("/"):
            raise PluginError(f"{INTERFACE}.Mount: plugin {self.name} gave no directory", reached=True)
        self._paths[volume.name] = path
        return path

    def unmount(self, volume: Volume) -> None:
        self._call("Unmount", volume.name, Reply, ID=self._id(volume.name))

    def knows(self, name: str) -> bool:
        """Whether it has such a volume. Raises PluginError if it does not answer."""
        try:
            volume = self._call("Get", name, _Found).volume
        except CortenError as e:
            if isinstance(e, PluginError) and e.reached:
                return False
            raise
        self._note(volume)
        return volume is not None

    def names(self) -> list[str]:
        """All volumes it has."""
        found = self._plugin.call(f"{INTERFACE}.List", {}, _Listed).volumes or []
        for volume in found:
            self._note(volume)
        return [volume.name for volume in found if volume and volume.name]

    def _note(self, volume: _Volume | None) -> None:
        if volume is not None and volume.mountpoint:
            self._paths[volume.name] = volume.mountpoint

    def _call(self, method: str, name: str, reply: type[R], **fields: object) -> R:
        return self._plugin.call(f"{INTERFACE}.{method}", {"Name": name, **fields}, reply)

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

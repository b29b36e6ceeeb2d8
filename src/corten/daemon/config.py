"""Flags and daemon.json made one configuration, with Docker's complaints about both."""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from corten.daemon.options import IGNORED, NETWORK_KEYS, OPTIONS, Kind, Option
from corten.engine.containers.userns import IdMaps
from corten.errors import InvalidParameter

log = logging.getLogger(__name__)

DEFAULT_ROOT = "/var/lib/corten"
DEFAULT_EXEC_ROOT = "/run/corten"
DEFAULT_CONFIG_FILE = "/etc/corten/daemon.json"
SHUTDOWN_TIMEOUT_S = 15

_BY_NAME = {option.name: option for option in OPTIONS}
_TRUTHS = {"true": True, "1": True, "t": True, "false": False, "0": False, "f": False}

Settings = dict[str, object]


class ConfigError(InvalidParameter):
    """The engine cannot be configured as asked; the text is for whoever started it."""


@dataclass(frozen=True, slots=True)
class DaemonConfig:
    """Settings by daemon.json's key; reading them checks nothing any more.

    flags: what the command line said, so that a reload can tell a conflict. id_maps: what
    `userns-remap` means on this machine, see `corten.daemon.remap`.
    """

    settings: Mapping[str, object]
    flags: Mapping[str, object]
    file: str
    id_maps: IdMaps | None = None

    @property
    def root(self) -> str:
        """Absolute data root; one below it, <uid>.<gid>, if containers have other ids (as Docker's)."""
        top = os.path.abspath(self.text("data-root", DEFAULT_ROOT))
        return top if self.id_maps is None else os.path.join(top, "{}.{}".format(*self.id_maps.root))

    @property
    def exec_root(self) -> str:
        """Absolute root of running state."""
        return os.path.abspath(self.text("exec-root", DEFAULT_EXEC_ROOT))

    @property
    def hosts(self) -> list[str]:
        """Addresses to serve."""
        return self.texts("hosts") or [f"unix://{self.exec_root}/corten.sock"]

    @property
    def network(self) -> Settings:
        """The part that `NetworkConfig.from_document` reads."""
        return {key: self.settings[key] for key in NETWORK_KEYS if key in self.settings}

    def text(self, key: str, default: str = "") -> str:
        """A string."""
        value = self.settings.get(key, default)
        return value if isinstance(value, str) else default

    def texts(self, key: str) -> list[str]:
        """A list of strings."""
        value = self.settings.get(key, ())
        return [str(each) for each in value] if isinstance(value, list | tuple) else []

    def flag(self, key: str, *, default: bool = False) -> bool:
        """A truth value."""
        return bool(self.settings.get(key, default))

    def number(self, key: str, default: int = 0) -> int:
        """A whole number."""
        value = self.settings.get(key, default)
        return value if isinstance(value, int) else default

    def mapping(self, key: str) -> dict[str, str]:
        """A map of strings."""
        value = self.settings.get(key, {})
        return {str(k): str(v) for k, v in value.items()} if isinstance(value, dict) else {}


def load(arguments: Sequence[str], *, program: str = "cortend") -> DaemonConfig:
    """The configuration of this process. Raises ConfigError; argparse exits on bad flags and --help."""
    parsed = vars(_parser(program).parse_args(arguments))
    flags: Settings = {name: value for name, value in parsed.items() if value is not None}
    path = str(flags.pop("config-file", ""))
    return _merge(flags, path or DEFAULT_CONFIG_FILE, required=bool(path))


def reload(old: DaemonConfig) -> tuple[DaemonConfig, list[str]]:
    """Read the file again; returns the new configuration and the reloadable keys that have changed.

    Keys that need a restart keep their old values. Raises ConfigError; then the old one stays.
    """
    fresh = _merge(dict(old.flags), old.file, required=False)
    settings = dict(old.settings)
    changed = []
    for option in OPTIONS:
        if fresh.settings.get(option.name) == old.settings.get(option.name):
            continue
        if not option.reload:
            log.warning("change needs a restart", extra={"key": option.name})
            continue
        changed.append(option.name)
        settings.pop(option.name, None)
        if option.name in fresh.settings:
            settings[option.name] = fresh.settings[option.name]
    return dataclasses.replace(old, settings=settings), changed


def _merge(flags: Settings, path: str, *, required: bool) -> DaemonConfig:
    file = _read_file(path, required=required)
    prefix = f"unable to configure the Corten daemon with file {path}"
    unknown = [key for key in file if key not in _BY_NAME and key not in IGNORED]
    if unknown:
        raise ConfigError(
            f"{prefix}: the following directives don't match any configuration option: {', '.join(unknown)}"
        )
    both = [
        f"{key}: (from flag: {_shown(flags[key])}, from file: {_shown(file[key])})"
        for key in file
        if key in flags
    ]
    if both:
        raise ConfigError(
            f"{prefix}: the following directives are specified both as a flag and in the configuration file: "
            + ", ".join(both)
        )
    settings: Settings = {}
    for key, value in file.items():
        if key in IGNORED:
            log.warning("daemon.json key has no effect", extra={"key": key})
        else:
            settings[key] = _checked(_BY_NAME[key], value, prefix)
    return DaemonConfig({**settings, **flags}, flags, path)


def _read_file(path: str, *, required: bool) -> Settings:
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except FileNotFoundError:
        if required:
            raise ConfigError(
                f"unable to configure the Corten daemon with file {path}: "
                f"open {path}: no such file or directory"
            ) from None
        return {}
    try:
        document = json.loads(text) if text.strip() else {}
    except ValueError as e:
        raise ConfigError(f"unable to configure the Corten daemon with file {path}: {e}") from e
    if not isinstance(document, dict):
        raise ConfigError(f"unable to configure the Corten daemon with file {path}: not a JSON object")
    return document


def _checked(option: Option, value: object, prefix: str) -> object:
    right = {
        Kind.TEXT: isinstance(value, str),
        Kind.FLAG: isinstance(value, bool),
        Kind.NUMBER: isinstance(value, int) and not isinstance(value, bool),
        Kind.LIST: isinstance(value, list) and all(isinstance(each, str) for each in value),
        Kind.MAP: isinstance(value, dict) and all(isinstance(each, str) for each in value.values()),
        Kind.OBJECT: isinstance(value, dict | list),
    }[option.kind]
    if not right:
        raise ConfigError(f"{prefix}: {option.name} must be {option.kind.value}")
    return value


def _shown(value: object) -> str:
    if isinstance(value, list):
        return f"[{' '.join(str(each) for each in value)}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=program, description="The container engine.", allow_abbrev=False)
    for option in OPTIONS:
        if not option.flag:
            continue
        names = [f"--{option.flag}", *([f"-{option.short}"] if option.short else [])]
        keywords: dict[str, Any] = {"dest": option.name, "help": option.help}
        if option.kind is Kind.FLAG:
            keywords.update(nargs="?", const=True, type=_truth, metavar="BOOL")
        elif option.kind is Kind.NUMBER:
            keywords.update(type=int, metavar="N")
        elif option.kind is Kind.LIST:
            keywords.update(action="append", metavar="VALUE")
        elif option.kind is Kind.MAP:
            keywords.update(action=_MapAction, metavar="KEY=VALUE")
        else:
            keywords.update(metavar="VALUE")
        parser.add_argument(*names, **keywords)
    return parser


def _truth(text: str) -> bool:
    try:
        return _TRUTHS[text.lower()]
    except KeyError:
        raise argparse.ArgumentTypeError(f"invalid boolean value {text!r}") from None


class _MapAction(argparse.Action):
    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[object] | None,
        option_string: str | None = None,
    ) -> None:
        name, equals, value = str(values).partition("=")
        if not equals:
            parser.error(f"invalid value {values!r} for {option_string}: expected KEY=VALUE")
        current = dict(getattr(namespace, self.dest) or {})
        current[name] = value
        setattr(namespace, self.dest, current)

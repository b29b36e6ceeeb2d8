"""`userns-remap`: whose ids the containers get, and the data root that belongs to them.

default | user | user:group, by name or number: as dockerd reads it, with its complaints. The ids are all
those that /etc/subuid and /etc/subgid give to that user. "default" is the user dockremap, made if there is
none.
"""

from __future__ import annotations

import dataclasses
import grp
import logging
import os
import pwd
import subprocess

from corten.daemon.config import ConfigError, DaemonConfig
from corten.engine.containers.userns import IdMaps, consecutive
from corten.engine.subids import SUBGID, SUBUID, every_range, subordinate_ranges

log = logging.getLogger(__name__)

DEFAULT_USER = "dockremap"
_FIRST, _COUNT = 100_000, 65_536


def remapped(config: DaemonConfig) -> DaemonConfig:
    """The configuration with the ids that `userns-remap` gives to containers. Raises ConfigError."""
    text = config.text("userns-remap")
    if not text:
        return config
    name = _user(text)
    if name == "root":  # as dockerd: said, and gone on without
        log.warning("user namespaces: root cannot be remapped with itself; user namespaces are OFF")
        return config
    uid = pwd.getpwnam(name).pw_uid
    maps = IdMaps(
        consecutive(subordinate_ranges(SUBUID, name, uid)), consecutive(subordinate_ranges(SUBGID, name, uid))
    )
    for mappings, word in ((maps.uids, "subuid"), (maps.gids, "subgid")):
        if not mappings:
            raise ConfigError(f'Can\'t create ID mappings: no {word} ranges found for user "{name}"')
    return dataclasses.replace(config, id_maps=maps)


def _user(text: str) -> str:
    parts = text.split(":")
    if len(parts) > 2:
        raise ConfigError(f'invalid user/group specification in --userns-remap: "{text}"')
    name = _user_name(parts[0])
    if len(parts) == 2:
        _check_group(parts[1])
    return name


def _user_name(text: str) -> str:
    if text.isdecimal():
        try:
            return pwd.getpwuid(int(text)).pw_name
        except (KeyError, OverflowError) as e:
            raise ConfigError(f"Uid {text} has no entry in /etc/passwd: no matching entries") from e
    name = DEFAULT_USER if text == "default" else text
    try:
        pwd.getpwnam(name)
    except KeyError as e:
        if text != "default":
            raise ConfigError(
                f'error during uid lookup for "{text}": no matching entries in passwd file'
            ) from e
        _make_user()
    if text == "default":
        _give_ranges()
    return name


def _check_group(text: str) -> None:
    try:
        if text.isdecimal():
            grp.getgrgid(int(text))
        elif text != "default":
            grp.getgrnam(text)
    except (KeyError, OverflowError) as e:
        what = (
            f"Gid {text} has no entry in /etc/group"
            if text.isdecimal()
            else f'error during gid lookup for "{text}"'
        )
        raise ConfigError(f"{what}: no matching entries in group file") from e


def _make_user() -> None:
    _call("useradd", "--system", "--user-group", "--no-create-home", "--shell", "/bin/false", DEFAULT_USER)


def _give_ranges() -> None:
    """65536 ids behind everybody else's, where there are none yet."""
    for path, option in ((SUBUID, "--add-subuids"), (SUBGID, "--add-subgids")):
        if subordinate_ranges(path, DEFAULT_USER):
            continue
        first = max([_FIRST, *(start + count for start, count in every_range(path))])
        if not os.path.exists(path):
            with open(path, "a"):
                pass
        _call("usermod", option, f"{first}-{first + _COUNT - 1}", DEFAULT_USER)


def _call(*command: str) -> None:
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    except OSError as e:
        raise ConfigError(f"userns-remap=default: cannot make the user {DEFAULT_USER}: {e}") from e
    if done.returncode:
        raise ConfigError(
            f"userns-remap=default: cannot make the user {DEFAULT_USER}: "
            f"{' '.join(command)}: {done.stderr.strip() or done.returncode}"
        )

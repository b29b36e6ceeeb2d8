"""Finding out a container's user, remembering what images say.

Reading /etc/passwd through the layers takes a dozen system calls; most containers have not touched theirs,
so the answer of the image holds for all of them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from corten.engine.containers.rootfiles import read_root_file
from corten.engine.containers.users import Identity, resolve_user

# A passwd bomb must cost nothing (CVE-2022-31030 and its kin); real files are some kilobytes.
_LIMIT_BYTES = 1 << 20
_REMEMBERED = 256


class IdentityCache:
    """Resolves USER and --group-add."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str, tuple[str, ...]], Identity] = {}

    def resolve(
        self, image_id: str, upper: str, lower: Sequence[str], user: str, group_add: Sequence[str]
    ) -> Identity:
        """The process's identity. Raises InvalidParameter with Docker's text."""
        if os.path.lexists(f"{upper}/etc"):  # the container has changed something there
            return _resolve([upper, *lower], user, group_add)
        key = (image_id, user, tuple(group_add))
        found = self._known.get(key)
        if found is None:
            found = _resolve(lower, user, group_add)
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[key] = found
        return found


def _resolve(layers: Sequence[str], user: str, group_add: Sequence[str]) -> Identity:
    passwd = read_root_file(layers, "/etc/passwd", _LIMIT_BYTES) or b""
    group = read_root_file(layers, "/etc/group", _LIMIT_BYTES) or b""
    return resolve_user(user, passwd, group, group_add)

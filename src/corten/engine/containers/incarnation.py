"""Whether the exec root is still the one beside which the ledger was written, or the machine was restarted.

A task that the supervisor does not know has been lost with the exec root, which is on a tmpfs. If that is the
same one, then the supervisor knows of all tasks there were: what the ledger calls running was never started.
"""

from __future__ import annotations

import os
import uuid

_NAME = "exec-root-id"


class Incarnation:
    """A name in a file of the exec root, and a copy of it in the data root."""

    def __init__(self, root: str, exec_root: str) -> None:
        self._there, self._copy = os.path.join(exec_root, _NAME), os.path.join(root, _NAME)

    def is_known(self) -> bool:
        """Whether `note` has been called since the exec root is what it is."""
        found = _read(self._there)
        return bool(found) and found == _read(self._copy)

    def note(self) -> None:
        """All of the ledger is about this exec root from now on."""
        name = _read(self._there)
        if not name:
            name = str(uuid.uuid4())
            _write(self._there, name)
        if name != _read(self._copy):
            _write(self._copy, name)


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read().strip()
    except FileNotFoundError:
        return ""


def _write(path: str, name: str) -> None:
    with open(f"{path}.new", "w") as file:
        file.write(name + "\n")
    os.rename(f"{path}.new", path)

"""`corten build --progress=rawjson`: the steps as documents, one a line, for programs.

Source: moby/buildkit, client/graph.go (SolveStatus).
"""

from __future__ import annotations

import binascii
import hashlib
import os
import time

from corten.cli.image.steps import Failure, Steps
from corten.client import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_NS = 1_000_000_000


class RawJson(Steps):
    """Shows all that is told."""

    def __init__(self, fd: int = 2) -> None:
        super().__init__(fd)
        self._salt = os.urandom(16).hex()

    def take(self, told: dict[str, Any]) -> None:
        """See Steps. A failure's place is for people: it is shown with the error."""
        if failure := told.get("failure"):
            self.failure = self.failure or Failure({"excerpt": failure.get("excerpt")})
            return
        kinds = {
            "vertex": ("vertexes", self._vertex),
            "log": ("logs", self._log),
            "status": ("statuses", self._status),
            "warning": ("warnings", self._warning),
        }
        for kind, (name, describe) in kinds.items():
            if entry := told.get(kind):
                self.write(jsontext.dumps({name: [describe(entry)]}) + "\n")

    def _vertex(self, told: dict[str, Any]) -> dict[str, object]:
        entry = {"digest": self._digest(told["id"]), "name": told["name"], "cached": told.get("cached")}
        times = {name: _stamp(told[name]) for name in ("started", "completed") if told.get(name)}
        return {key: value for key, value in {**entry, **times, "error": told.get("error")}.items() if value}

    def _log(self, told: dict[str, Any]) -> dict[str, object]:
        entry = {"vertex": self._digest(told["vertex"]), "stream": told["stream"]}
        return {**entry, "data": _base64(told["data"]), "timestamp": _stamp(time.time_ns())}

    def _status(self, told: dict[str, Any]) -> dict[str, object]:
        now = _stamp(time.time_ns())
        entry: dict[str, object] = {"id": told["id"], "vertex": self._digest(told["vertex"])}
        if total := told.get("total"):
            entry["total"] = total
        entry |= {"current": told.get("current") or 0, "timestamp": now}
        return {**entry, "completed": now} if told.get("done") else entry

    def _warning(self, told: dict[str, Any]) -> dict[str, object]:
        line = {"line": told["line"]}
        short = _base64(f"{told['rule']}: {told['detail']} (line {told['line']})")
        return {"level": 1, "short": short, "range": [{"start": line, "end": line}]}

    def _digest(self, step: object) -> str:
        """A step's name; it is its own in this build alone."""
        return f"sha256:{hashlib.sha256(f'{self._salt} {step}'.encode()).hexdigest()}"

    def close(self) -> None:
        """The warnings have been told."""


def _stamp(moment_ns: int) -> str:
    seconds, fraction = divmod(moment_ns, _NS)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{fraction:09}Z"


def _base64(text: str) -> str:
    return binascii.b2a_base64(text.encode(), newline=False).decode()

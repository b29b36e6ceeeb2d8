"""How containers end: waiting for their exit code, and the codes of those that could not be started."""

from __future__ import annotations

from corten.cli.errors import ExitError
from corten.client import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.client.engine import Engine
    from corten.client.http import Response

NOT_STARTED, NOT_EXECUTABLE, NOT_FOUND = 125, 126, 127
_REMOVAL_MS = 10_000


def start_failure(message: str) -> int:
    """The exit code for a start that failed, judged by the engine's message as Docker does."""
    text = message.lower()
    if any(
        s in text
        for s in ("executable file not found", "no such file or directory", "system cannot find the file")
    ):
        return NOT_FOUND
    if any(s in text for s in ("permission denied", "is a directory")):
        return NOT_EXECUTABLE
    return NOT_STARTED


class ExitWaiter:
    """POST /containers/ID/wait on a connection of its own, under way before the container starts.

    `arm` returns when the engine has taken notice, so that no exit can be missed.
    """

    def __init__(self, engine: Engine, container: str, condition: str) -> None:
        self._engine = engine
        self._link = engine.begin("POST", f"/containers/{container}/wait", {"condition": condition})
        self._response: Response | None = None

    def arm(self) -> None:
        """Read the head of the answer. Raises APIError."""
        if self._response is None:
            self._response = self._engine.finish(self._link, "POST")

    def wait(self) -> int:
        """The exit code, when it is there. Raises ExitError if the engine could not tell."""
        self.arm()
        assert self._response
        text = self._response.read()
        if not text.strip():
            raise ExitError("", NOT_STARTED)
        answer = jsontext.loads(text)
        if error := (answer.get("Error") or {}).get("Message"):
            raise ExitError(f"Error waiting for container: {error}", NOT_STARTED)
        return int(answer["StatusCode"])

    def wait_briefly(self) -> None:
        """Wait some seconds for the answer and ignore it."""
        from select import POLLIN, poll

        poller = poll()
        poller.register(self._link.transport.fileno(), POLLIN)
        poller.poll(_REMOVAL_MS)

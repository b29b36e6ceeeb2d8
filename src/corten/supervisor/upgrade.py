"""The request "upgrade": the supervisor becomes the code of another version, and loses nothing over it.

    checking    a child runs the new code and reads there what it would be handed: if that fails, or does not
                come to an end, all stays
    holding     requests wait in their sockets until those that are being dealt with are answered
    execve      same process, same children, same descriptors; `handover` is what memory held

Should the new image fail all the same, this process ends as if it had been killed, and the engine starts
another one, which adopts the tasks (`adoption`).
"""

from __future__ import annotations

import os

from corten.supervisor import external, handover
from corten.supervisor.peers import Peer, RequestError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from corten.supervisor.supervisor import Supervisor

_CHECK_LIMIT_S = 10.0  # of the new code in its check; it takes 0.1
_HOLD_CHECK_S = 0.005
_HOLD_CHECKS = 2000  # 10 s


class Upgrade:
    """The handler, and the one upgrade that is under way."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._super = supervisor
        self._interpreter = -1
        self._peer: Peer | None = None
        self._request: dict[str, Any] = {}

    def upgrade(self, peer: Peer, request: dict[str, Any], fds: list[int]) -> None:
        """Become the code in request["folder"], run by the interpreter in `fds`; answered by the new image.

        executable: the interpreter's path, by which it finds its library. version: what to call the code.
        """
        if self._peer is not None:
            raise RequestError("system", "an upgrade is under way")
        argv = self._argv(request, "check")
        memfd = -1
        try:
            memfd = handover.write(handover.pack(self._super))
            stdio = (memfd, self._super.null_fd, 2)
            program = f"/proc/self/fd/{fds[0]}"
            external.run(
                self._super.loop, argv, stdio, self._checked, executable=program, limit_s=_CHECK_LIMIT_S
            )
        except OSError as e:
            raise RequestError("system", f"cannot run the new supervisor: {e}") from None
        finally:
            if memfd >= 0:
                os.close(memfd)
        self._interpreter, self._peer, self._request = fds.pop(0), peer, request

    def _argv(self, request: dict[str, Any], role: str, *more: str) -> list[str]:
        return [
            request["executable"], "-I", "-S", request["folder"], role, self._super.exec_root,
            request["version"], *more,
        ]  # fmt: skip

    def _checked(self, code: int) -> None:
        if code:
            self._give_up(f"the new supervisor fails its check with {code}: see supervisor.log")
            return
        self._super.listener.hold(True)
        self._go_when_quiet(_HOLD_CHECKS)

    def _go_when_quiet(self, checks: int) -> None:
        if self._is_quiet():
            try:
                self._go()
            except Exception as e:  # whatever it is: nobody is served before this has an end
                self._give_up(f"cannot become the new supervisor: {e}")
        elif checks:
            self._super.loop.after(_HOLD_CHECK_S, lambda: self._go_when_quiet(checks - 1))
        else:
            self._give_up("requests are not answered: the supervisor is too busy")

    def _is_quiet(self) -> bool:
        """Whether there is nothing that `handover` has no words for; the request to upgrade is unanswered."""
        bequeathing = any(each.bequeathing for each in self._super.companions.values())
        return self._super.listener.unanswered <= 1 and not bequeathing

    def _go(self) -> None:
        """Never returns. Raises OSError."""
        assert self._peer is not None
        self._super.nursery.end()
        document = handover.pack(self._super, (self._peer, self._request.get("n", 0)))
        memfd = handover.write(document)
        inherited = [memfd, *handover.descriptors(document)]
        argv = self._argv(self._request, "supervisor", str(memfd))
        try:
            for fd in inherited:
                os.set_inheritable(fd, True)
            os.execv(f"/proc/self/fd/{self._interpreter}", argv)
        finally:
            for fd in inherited:
                os.set_inheritable(fd, False)
            os.close(memfd)

    def _give_up(self, why: str) -> None:
        peer, self._peer = self._peer, None
        os.close(self._interpreter)
        self._super.listener.hold(False)
        if peer is not None:
            peer.answer(self._request, {"error": RequestError("system", why).document})

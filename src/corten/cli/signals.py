"""Signals while attached: passed on to the container, or to the size of its terminal.

`_signal` is the C half of `signal`; the other half only adds enums and costs 4 ms.
"""

from __future__ import annotations

from corten.cli import terminal
from corten.cli.errors import ExitError
from corten.client.errors import ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
    from types import FrameType

    from corten.client.engine import Engine
else:
    import _signal as signal

_NOT_FORWARDED = frozenset(
    (
        *("SIGCHLD", "SIGCLD", "SIGPIPE", "SIGKILL", "SIGSTOP", "SIGWINCH", "SIGURG"),
        *("SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGCONT", "SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGTRAP"),
    )
)
_ENDING = ("SIGTERM", "SIGHUP")


def names() -> dict[int, str]:
    """Names of signals by their numbers."""
    return {
        int(number): name
        for name, number in sorted(vars(signal).items(), reverse=True)
        if name.startswith("SIG") and not name.startswith("SIG_") and isinstance(number, int)
    }


def forward(engine: Engine, container: str) -> None:
    """Send the signals that we get to the container from now on."""

    def handle(number: int, _: FrameType | None) -> None:
        _quietly(engine, f"/containers/{container}/kill", {"signal": known[number]})

    known = {number: name for number, name in names().items() if name not in _NOT_FORWARDED}
    for number in known:
        try:
            signal.signal(number, handle)
        except (OSError, ValueError):
            pass  # reserved by the C library


def end_in_order() -> None:
    """Make the signals that end us raise, so that the terminal is put back first."""

    def handle(number: int, _: FrameType | None) -> None:
        raise ExitError("", 128 + number)

    for name in _ENDING:
        signal.signal(getattr(signal, name), handle)


def follow_size(engine: Engine, path: str) -> Callable[[], None]:
    """Keep a remote terminal (`path` its container or exec) as large as ours; the result sets it now."""

    def resize() -> None:
        if size := terminal.size():
            _quietly(engine, f"{path}/resize", {"h": size[0], "w": size[1]})

    signal.signal(signal.SIGWINCH, lambda _number, _frame: resize())
    return resize


def _quietly(engine: Engine, path: str, fields: dict[str, object]) -> None:
    """POST on a connection of its own (the main one may be in use); an ended container is no error."""
    try:
        link = engine.begin("POST", path, fields)
        engine.finish(link, "POST").read()
        link.transport.close()
    except (ClientError, OSError):
        pass

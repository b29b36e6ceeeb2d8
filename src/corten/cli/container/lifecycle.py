"""Commands that change many containers by name: stop, kill, pause, restart, rm, wait; and rename."""

from __future__ import annotations

from corten.cli.command import UNLIMITED, Command
from corten.cli.context import Context, err, out
from corten.cli.each import for_each
from corten.cli.errors import ExitError
from corten.cli.flags import Flag, Options
from corten.client.query import quote


def kill(context: Context, options: Options, names: list[str]) -> int:
    """Send a signal (SIGKILL)."""
    signal = options["signal"] or None
    return for_each(names, lambda name: context.engine.post(f"/containers/{quote(name)}/kill", signal=signal))


def stop(context: Context, options: Options, names: list[str]) -> int:
    """Stop in order: the stop signal, then after the timeout SIGKILL."""
    return _end(context, options, names, "stop")


def restart(context: Context, options: Options, names: list[str]) -> int:
    """Stop and start again."""
    return _end(context, options, names, "restart")


def _end(context: Context, options: Options, names: list[str], action: str) -> int:
    given = next((name for name in ("timeout", "time") if options.given(name)), None)
    seconds = options.number(given) if given else None
    signal = options["signal"] or None

    def act(name: str) -> None:
        fields: dict[str, object] = {"t": seconds, "signal": signal}
        answer = context.engine.call("POST", f"/containers/{quote(name)}/{action}", fields)
        answer.read()
        if warning := answer.headers.get("warning"):  # ours: why the process did not stop by itself
            text = warning.partition(' "')[2].rstrip('"')
            err(f"WARNING: {text}\n")

    return for_each(names, act)


def remove(context: Context, options: Options, names: list[str]) -> int:
    """Remove containers; with -f running ones, and those that are not there are no error."""
    force, volumes, link = (1 if options.on(flag) else None for flag in ("force", "volumes", "link"))

    def act(name: str) -> None:
        path = name.strip("/")
        if not path:
            raise ExitError("Container name cannot be empty")
        context.engine.delete(f"/containers/{quote(path)}", v=volumes, link=link, force=force)

    return for_each(names, act, forgive_missing=options.on("force"))


def pause(context: Context, _: Options, names: list[str]) -> int:
    """Freeze containers."""
    return for_each(names, lambda name: context.engine.post(f"/containers/{quote(name)}/pause"))


def unpause(context: Context, _: Options, names: list[str]) -> int:
    """Let frozen containers run on."""
    return for_each(names, lambda name: context.engine.post(f"/containers/{quote(name)}/unpause"))


def wait(context: Context, _: Options, names: list[str]) -> int:
    """Wait for the ends of containers, one after another, and print their exit codes."""

    def act(name: str) -> None:
        answer = context.engine.post(f"/containers/{quote(name)}/wait")
        if error := (answer.get("Error") or {}).get("Message"):
            raise ExitError(str(error))
        out(f"{answer['StatusCode']}\n")

    return for_each(names, act, show=False)


def rename(context: Context, _: Options, names: list[str]) -> int:
    """Give a container another name."""
    old, new = (name.strip() for name in names)
    if not old or not new:
        raise ExitError("Error: Neither old nor new names may be empty")
    context.engine.post(f"/containers/{quote(old)}/rename", name=new)
    return 0


_SIGNAL = Flag("signal", "string", "Signal to send to the container", "s")
_END_FLAGS = (
    _SIGNAL,
    Flag("timeout", "int", "Seconds to wait before killing the container", "t"),
    Flag("time", "int", "Seconds to wait before killing the container", hidden=True),
)
_MANY = "[OPTIONS] CONTAINER [CONTAINER...]"

KILL = Command(_MANY, kill, (_SIGNAL,), least=1, most=UNLIMITED)
STOP = Command(_MANY, stop, _END_FLAGS, least=1, most=UNLIMITED)
RESTART = Command(_MANY, restart, _END_FLAGS, least=1, most=UNLIMITED)
REMOVE = Command(
    _MANY,
    remove,
    (
        Flag("force", "bool", "Force the removal of a running container (uses SIGKILL)", "f"),
        Flag("link", "bool", "Remove the specified link", "l"),
        Flag("volumes", "bool", "Remove anonymous volumes associated with the container", "v"),
    ),
    least=1,
    most=UNLIMITED,
)
WAIT = Command("CONTAINER [CONTAINER...]", wait, least=1, most=UNLIMITED)
PAUSE = Command("CONTAINER [CONTAINER...]", pause, least=1, most=UNLIMITED)
UNPAUSE = Command("CONTAINER [CONTAINER...]", unpause, least=1, most=UNLIMITED)
RENAME = Command("CONTAINER NEW_NAME", rename, least=2, most=2)

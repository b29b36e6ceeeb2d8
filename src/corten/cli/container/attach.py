"""`corten attach`: join a running container's streams."""

from __future__ import annotations

from corten.cli import session, signals, terminal
from corten.cli.command import Command
from corten.cli.container.exits import ExitWaiter
from corten.cli.context import Context
from corten.cli.errors import ExitError
from corten.cli.flags import Flag, Options
from corten.client.query import quote


def attach(context: Context, options: Options, arguments: list[str]) -> int:
    """Attach until the container ends, whose exit code is ours, or until the detach keys."""
    engine = context.engine
    found = engine.get(f"/containers/{quote(arguments[0])}/json")
    state, container = found["State"], str(found["Id"])
    for adjective, hint in (
        ("Running", "cannot attach to a stopped container, start it first"),
        ("Paused", "cannot attach to a paused container, unpause it first"),
        ("Restarting", "cannot attach to a restarting container, wait until it is running"),
    ):
        if bool(state.get(adjective)) == (adjective != "Running"):
            raise ExitError(hint)
    tty = bool(found["Config"].get("Tty"))
    stdin = bool(found["Config"].get("OpenStdin")) and not options.on("no-stdin")
    if problem := session.require_terminal(stdin=stdin, tty=tty):
        raise ExitError(problem)
    if tty:
        signals.end_in_order()
    elif options.on("sig-proxy"):
        signals.forward(engine, container)
    exit_status = ExitWaiter(engine, container, "not-running")
    fields: dict[str, object] = {"stream": 1, "stdout": 1, "stderr": 1, "stdin": 1 if stdin else None}
    fields["detachKeys"] = options["detach-keys"] or None
    stream = engine.hijack(f"/containers/{container}/attach", fields)
    attached = session.Session(stream, tty=tty, stdin=stdin, detach_keys=options["detach-keys"])
    if tty:
        resize = signals.follow_size(engine, f"/containers/{container}")
        if size := terminal.size():  # changed twice, so that full-screen programs draw themselves for us
            engine.post(f"/containers/{container}/resize", h=size[0] + 1, w=size[1] + 1)
        resize()
    attached.run()
    attached.refuse_detached()
    return exit_status.wait()


ATTACH = Command(
    "[OPTIONS] CONTAINER",
    attach,
    (
        Flag("detach-keys", "string", "Override the key sequence for detaching a container"),
        Flag("no-stdin", "bool", "Do not attach STDIN"),
        Flag("sig-proxy", "bool", "Proxy all received signals to the process", default=True),
    ),
    least=1,
    most=1,
)

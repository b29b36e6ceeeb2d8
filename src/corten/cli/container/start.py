"""`corten start`: several in the background, or one attached."""

from __future__ import annotations

from corten.cli import session, signals
from corten.cli.command import UNLIMITED, Command
from corten.cli.container.exits import ExitWaiter
from corten.cli.context import Context
from corten.cli.each import for_each
from corten.cli.errors import ExitError
from corten.cli.flags import Flag, Options
from corten.client.errors import APIError
from corten.client.query import quote


def start(context: Context, options: Options, names: list[str]) -> int:
    """Start containers; with -a or -i one of them, whose exit code is ours then."""
    if options["checkpoint"]:
        if len(names) > 1:
            raise ExitError("you cannot restore multiple containers at once")
        context.engine.post(
            f"/containers/{quote(names[0])}/start",
            **{"checkpoint": options["checkpoint"], "checkpoint-dir": options["checkpoint-dir"] or None},
        )
        return 0
    if not (options.on("attach") or options.on("interactive")):
        return for_each(
            names,
            lambda name: context.engine.post(f"/containers/{quote(name)}/start"),
            summary="Error: failed to start containers",
        )
    if len(names) > 1:
        raise ExitError("you cannot start and attach multiple containers at once")
    return _start_attached(context, options, names[0])


def _start_attached(context: Context, options: Options, name: str) -> int:
    engine = context.engine
    found = engine.get(f"/containers/{quote(name)}/json")
    container, config = str(found["Id"]), found["Config"]
    tty, stdin = bool(config.get("Tty")), options.on("interactive") and bool(config.get("OpenStdin"))
    if not tty and options.on("sig-proxy"):
        signals.forward(engine, container)
    elif tty:
        signals.end_in_order()
    fields: dict[str, object] = {"stream": 1, "stdout": 1, "stderr": 1, "stdin": 1 if stdin else None}
    fields["detachKeys"] = options["detach-keys"] or None
    stream = engine.hijack(f"/containers/{container}/attach", fields)
    removed = (found.get("HostConfig") or {}).get("AutoRemove")
    exit_status = ExitWaiter(engine, container, "removed" if removed else "next-exit")
    exit_status.arm()
    try:
        engine.post(f"/containers/{container}/start")
    except APIError:
        stream.close()
        raise
    attached = session.Session(stream, tty=tty, stdin=stdin, detach_keys=options["detach-keys"])
    if tty:
        signals.follow_size(engine, f"/containers/{container}")()
    attached.run()
    return 0 if attached.detached else exit_status.wait()


START = Command(
    "[OPTIONS] CONTAINER [CONTAINER...]",
    start,
    (
        Flag("attach", "bool", "Attach STDOUT/STDERR and forward signals", "a"),
        Flag("checkpoint", "string", "Restore from this checkpoint"),
        Flag("checkpoint-dir", "string", "Use a custom checkpoint storage directory"),
        Flag("detach-keys", "string", "Override the key sequence for detaching a container"),
        Flag("interactive", "bool", "Attach container's STDIN", "i"),
        Flag("sig-proxy", "bool", "Proxy received signals to the process", default=True, hidden=True),
    ),
    least=1,
    most=UNLIMITED,
)

"""`corten run`: create, attach, wait for the exit to come, start, copy, give the container's exit code."""

from __future__ import annotations

from corten.cli import session, signals, terminal
from corten.cli.command import UNLIMITED, Command
from corten.cli.container import create
from corten.cli.container.exits import ExitWaiter, start_failure
from corten.cli.container.flags import CREATE_FLAGS
from corten.cli.container.spec import create_body
from corten.cli.context import Context, out
from corten.cli.errors import ExitError, HintedError
from corten.cli.flags import Flag, Options
from corten.client.errors import APIError, ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def run(context: Context, options: Options, arguments: list[str]) -> int:
    """Run a command in a new container; its exit code is ours, 125 to 127 if it could not be started."""
    body = create_body(options, arguments[0], arguments[1:])
    if options.on("detach"):
        return _run_detached(context, options, body)
    if problem := session.require_terminal(stdin=body["AttachStdin"], tty=body["Tty"]):
        raise ExitError(problem)
    if body["Tty"] and (size := terminal.size()):
        body["HostConfig"]["ConsoleSize"] = list(size)
    return _run_attached(context, options, body)


def _run_detached(context: Context, options: Options, body: dict[str, Any]) -> int:
    if options.items("attach"):
        raise ExitError("conflicting options: cannot specify both --attach and --detach")
    body |= {"AttachStdin": False, "AttachStdout": False, "AttachStderr": False, "StdinOnce": False}
    container = _create(context, options, body)
    _start(context, container)
    out(container + "\n")
    return 0


def _run_attached(context: Context, options: Options, body: dict[str, Any]) -> int:
    container = _create(context, options, body)
    engine = context.engine
    tty: bool = body["Tty"]
    if tty:
        signals.end_in_order()
    elif options.on("sig-proxy"):
        signals.forward(engine, container)
    fields: dict[str, object] = {"stream": 1}
    for name in ("stdin", "stdout", "stderr"):
        if body[f"Attach{name.capitalize()}"]:
            fields[name] = 1
    if options["detach-keys"]:
        fields["detachKeys"] = options["detach-keys"]
    link = engine.begin_hijack(f"/containers/{container}/attach", fields)
    exit_status = ExitWaiter(engine, container, "removed" if options.on("rm") else "next-exit")
    stream = engine.finish_hijack(link)
    exit_status.arm()
    try:
        _start(context, container)
    except ExitError:
        stream.close()
        if options.on("rm"):
            exit_status.wait_briefly()
        raise
    attached = session.Session(stream, tty=tty, stdin=body["AttachStdin"], detach_keys=options["detach-keys"])
    if tty:
        signals.follow_size(engine, f"/containers/{container}")()
    attached.run()
    return 0 if attached.detached else exit_status.wait()


def _create(context: Context, options: Options, body: dict[str, Any]) -> str:
    try:
        return create.make(context, options, body)
    except (ClientError, ExitError) as e:
        raise HintedError(str(e)) from e


def _start(context: Context, container: str) -> None:
    try:
        context.engine.post(f"/containers/{container}/start")
    except APIError as e:
        raise HintedError(str(e), start_failure(e.message)) from e


RUN = Command(
    "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    run,
    (
        *CREATE_FLAGS,
        Flag("detach", "bool", "Run container in background and print container ID", "d"),
        Flag("detach-keys", "string", "Override the key sequence for detaching a container"),
        Flag("sig-proxy", "bool", "Proxy received signals to the process", default=True),
    ),
    least=1,
    most=UNLIMITED,
    interspersed=False,
)

"""`corten exec`: another process in a running container."""

from __future__ import annotations

from corten.cli import session, signals, terminal
from corten.cli.command import UNLIMITED, Command
from corten.cli.container.environment import environment
from corten.cli.context import Context
from corten.cli.errors import ExitError
from corten.cli.flags import Flag, Options
from corten.client.query import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def execute(context: Context, options: Options, arguments: list[str]) -> int:
    """Run a command; its exit code is ours."""
    engine = context.engine
    detached, tty, stdin = options.on("detach"), options.on("tty"), options.on("interactive")
    body: dict[str, Any] = {
        "User": options["user"],
        "Privileged": options.on("privileged"),
        "Tty": tty,
        "WorkingDir": options["workdir"],
        "Env": environment(options),
        "Cmd": arguments[1:],
        "AttachStdin": stdin and not detached,
        "AttachStdout": not detached,
        "AttachStderr": not detached,
    }
    if options["detach-keys"]:
        body["DetachKeys"] = options["detach-keys"]
    if tty and not detached and (size := terminal.size()):
        body["ConsoleSize"] = list(size)
    if not detached and (problem := session.require_terminal(stdin=stdin, tty=tty)):
        raise ExitError(problem)
    ident = str(engine.post(f"/containers/{quote(arguments[0])}/exec", body)["Id"])
    begin = {
        "Detach": detached,
        "Tty": tty,
        **({"ConsoleSize": body["ConsoleSize"]} if "ConsoleSize" in body else {}),
    }
    if detached:
        engine.post(f"/exec/{ident}/start", begin)
        return 0
    if tty:
        signals.end_in_order()
    stream = engine.hijack(f"/exec/{ident}/start", None, begin)
    if tty and stdin:
        signals.follow_size(engine, f"/exec/{ident}")()
    attached = session.Session(stream, tty=tty, stdin=stdin, detach_keys=options["detach-keys"])
    attached.run()
    attached.refuse_detached()
    return int(engine.get(f"/exec/{ident}/json").get("ExitCode") or 0)


EXEC = Command(
    "[OPTIONS] CONTAINER COMMAND [ARG...]",
    execute,
    (
        Flag("detach", "bool", "Detached mode: run command in the background", "d"),
        Flag("detach-keys", "string", "Override the key sequence for detaching a container"),
        Flag("env", "list", "Set environment variables", "e"),
        Flag("env-file", "list", "Read in a file of environment variables"),
        Flag("interactive", "bool", "Keep STDIN open even if not attached", "i"),
        Flag("privileged", "bool", "Give extended privileges to the command"),
        Flag("tty", "bool", "Allocate a pseudo-TTY", "t"),
        Flag("user", "string", 'Username or UID (format: "<name|uid>[:<group|gid>]")', "u"),
        Flag("workdir", "string", "Working directory inside the container", "w"),
    ),
    least=2,
    most=UNLIMITED,
    interspersed=False,
)

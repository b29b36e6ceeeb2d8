"""`corten logs`."""

from __future__ import annotations

from corten.cli.command import Command
from corten.cli.context import Context, err, write_all
from corten.cli.flags import Flag, Options
from corten.cli.moments import timestamp
from corten.client.query import quote
from corten.client.stdcopy import STDERR, SYSTEM_ERROR, Demultiplexer


def logs(context: Context, options: Options, arguments: list[str]) -> int:
    """Copy a container's log to stdout and stderr."""
    engine = context.engine
    found = engine.get(f"/containers/{quote(arguments[0])}/json")
    fields: dict[str, object] = {"stdout": 1, "stderr": 1}
    for name in ("details", "follow", "timestamps"):
        if options.on(name):
            fields[name] = 1
    for name in ("since", "until"):
        if options[name]:
            fields[name] = timestamp(options[name])
    fields["tail"] = options["tail"]
    response = engine.call("GET", f"/containers/{found['Id']}/logs", fields)
    if found["Config"].get("Tty"):
        for piece in response:
            write_all(1, piece)
        return 0
    frames = Demultiplexer()
    for data in response:
        for stream, payload in frames.feed(data):
            if stream == SYSTEM_ERROR:
                err(f"error from daemon in stream: {bytes(payload).decode('utf-8', 'replace')}\n")
                return 1
            write_all(2 if stream == STDERR else 1, payload)
    return 0


_EXAMPLES = '(e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)'

LOGS = Command(
    "[OPTIONS] CONTAINER",
    logs,
    (
        Flag("details", "bool", "Show extra details provided to logs"),
        Flag("follow", "bool", "Follow log output", "f"),
        Flag(
            "since",
            "string",
            f"Show logs since timestamp {_EXAMPLES}",
        ),
        Flag("tail", "string", "Number of lines to show from the end of the logs", "n", default="all"),
        Flag("timestamps", "bool", "Show timestamps", "t"),
        Flag(
            "until",
            "string",
            f"Show logs before a timestamp {_EXAMPLES}",
        ),
    ),
    least=1,
    most=1,
)

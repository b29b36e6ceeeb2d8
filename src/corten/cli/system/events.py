"""`corten events`."""

from __future__ import annotations

from corten.cli import clock, filters, moments
from corten.cli.command import Command
from corten.cli.context import Context, out
from corten.cli.flags import Flag, Options
from corten.cli.format_flag import FOR_STREAMS
from corten.cli.progress import messages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_NS = 10**9


def events(context: Context, options: Options, _: list[str]) -> int:
    """Print what happens, until interrupted or until --until."""
    show = _shower(options["format"])
    fields: dict[str, object] = {"filters": filters.encode(options)}
    for name in ("since", "until"):
        if options[name]:
            fields[name] = moments.timestamp(options[name])
    for event in messages(context.engine.call("GET", "/events", fields)):
        out(show(event) + "\n")
    return 0


def _shower(template: str) -> Callable[[dict[str, Any]], str]:
    if not template:
        return _line
    from corten.cli.template import render
    from corten.client import jsontext

    return jsontext.dumps if template == "json" else render.Program(template, listing=True).render


def _line(event: dict[str, Any]) -> str:
    """`TIME TYPE ACTION ID (key=value, …)`, attributes in order."""
    nanoseconds = int(event.get("timeNano") or 0)
    moment = divmod(nanoseconds, _NS) if nanoseconds else (int(event.get("time", 0)), 0)
    actor = event.get("Actor") or {}
    attributes = ", ".join(f"{k}={v}" for k, v in sorted((actor.get("Attributes") or {}).items()))
    line = f"{clock.rfc3339_nano(moment)} {event.get('Type')} {event.get('Action')} {actor.get('ID', '')}"
    return f"{line} ({attributes})" if attributes else line


EVENTS = Command(
    "[OPTIONS]",
    events,
    (
        Flag("filter", "filter", "Filter output based on conditions provided", "f"),
        FOR_STREAMS,
        Flag("since", "string", "Show all events created since timestamp"),
        Flag("until", "string", "Stream events until this timestamp"),
    ),
)

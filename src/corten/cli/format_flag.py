"""The `--format` flags: one for lists, one for single documents."""

from __future__ import annotations

from corten.cli.flags import Flag

_HEAD = "Format output using a custom template:\n"
_TAIL = (
    "'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template."
)

FOR_LISTS = Flag(
    "format",
    "string",
    f"{_HEAD}'table':            Print output in table format with column headers (default)\n"
    f"'table TEMPLATE':   Print output in table format using the given Go template\n{_TAIL}",
)
FOR_DOCUMENTS = Flag("format", "string", _HEAD + _TAIL, "f")
FOR_STREAMS = Flag("format", "string", _HEAD + _TAIL)

"""`corten search`."""

from __future__ import annotations

from corten.cli import filters, reference, table
from corten.cli.command import Command
from corten.cli.context import Context, out
from corten.cli.flags import Flag, Options
from corten.cli.format_flag import FOR_LISTS
from corten.client import jsontext

_COLUMNS = 45

_LISTING = table.Listing(
    ("Name", "Description", "StarCount", "IsOfficial"),
    {
        "Name": "NAME",
        "Description": "DESCRIPTION",
        "StarCount": "STARS",
        "IsOfficial": "OFFICIAL",
        "IsAutomated": "AUTOMATED",
    },
)


def search(context: Context, options: Options, arguments: list[str]) -> int:
    """Print what the registry finds."""
    from corten.cli.system import credentials

    term = arguments[0]
    fields: dict[str, object] = {
        "term": term,
        "limit": options["limit"] or None,
        "filters": filters.encode(options),
    }
    headers = credentials.header(context, reference.domain(term))
    response = context.engine.call("GET", "/images/search", fields, headers=headers)
    found = jsontext.loads(response.read().decode("utf-8", "replace")) or []
    full = options.on("no-trunc")
    rows = (
        table.Row(
            {
                "Name": each.get("name", ""),
                "Description": _line(str(each.get("description", "")), full),
                "StarCount": str(each.get("star_count", 0)),
                "IsOfficial": "[OK]" if each.get("is_official") else "",
                "IsAutomated": "[OK]" if each.get("is_automated") else "",
            }
        )
        for each in found
    )
    out(_LISTING.text(rows, options["format"]))
    return 0


def _line(text: str, full: bool) -> str:
    line = text.replace("\r", " ").replace("\n", " ")
    return line if full else table.ellipsis(line, _COLUMNS)


SEARCH = Command(
    "[OPTIONS] TERM",
    search,
    (
        Flag("filter", "filter", "Filter output based on conditions provided", "f"),
        FOR_LISTS,
        Flag("limit", "int", "Max number of search results"),
        Flag("no-trunc", "bool", "Don't truncate output"),
    ),
    least=1,
    most=1,
)

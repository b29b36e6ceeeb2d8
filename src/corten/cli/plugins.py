"""`corten plugin ls`: managed plugins. Corten's engine has none; another's are shown."""

from __future__ import annotations

from corten.cli import filters, listing, table
from corten.cli.command import Command
from corten.cli.context import Context
from corten.cli.flags import Flag, Options
from corten.cli.format_flag import FOR_LISTS

_LISTING = table.Listing(
    ("ID", "Name", "Description", "Enabled"),
    {
        "ID": "ID",
        "Name": "NAME",
        "Description": "DESCRIPTION",
        "Enabled": "ENABLED",
        "PluginReference": "PLUGIN REFERENCE",
    },
)


def show_plugins(context: Context, options: Options, _: list[str]) -> int:
    """Print them by name."""
    found = context.engine.get("/plugins", filters=filters.encode(options))
    rows = []
    for plugin in sorted(found, key=lambda each: str(each["Name"])):
        about = str((plugin.get("Config") or {}).get("Description") or "").replace("\n", " ")
        rows.append(
            table.Row(
                {
                    "ID": plugin["Id"] if options.on("no-trunc") else table.short_id(str(plugin["Id"])),
                    "Name": plugin["Name"],
                    "Description": about if options.on("no-trunc") else table.ellipsis(about, 45),
                    "Enabled": "true" if plugin["Enabled"] else "false",
                    "PluginReference": plugin.get("PluginReference", ""),
                }
            )
        )
    return listing.show(context, options, _LISTING, rows, quiet="ID", setting="pluginsFormat")


LIST = Command(
    "[OPTIONS]",
    show_plugins,
    (
        Flag("filter", "filter", 'Provide filter values (e.g. "enabled=true")', "f"),
        FOR_LISTS,
        Flag("no-trunc", "bool", "Don't truncate output"),
        Flag("quiet", "bool", "Only display plugin IDs", "q"),
    ),
)

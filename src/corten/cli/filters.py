"""`--filter KEY=VALUE`, repeated, to the API's JSON."""

from __future__ import annotations

from corten.cli.flags import Options, invalid
from corten.client import jsontext


def encode(options: Options, more: dict[str, list[str]] | None = None) -> str | None:
    """The `filters` query of the options' --filter and of `more`; None if there are none."""
    found: dict[str, dict[str, bool]] = {}
    for item in options.items("filter"):
        key, equals, value = item.partition("=")
        if not equals:
            raise invalid(options, "filter", item, "bad format of filter (expected name=value)")
        found.setdefault(key.strip().lower(), {})[value.strip()] = True
    for key, values in (more or {}).items():
        for value in values:
            found.setdefault(key, {})[value] = True
    return jsontext.dumps(found) if found else None

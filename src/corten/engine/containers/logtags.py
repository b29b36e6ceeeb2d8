"""What log messages say of their container: tags, and the labels and variables chosen by options."""

from __future__ import annotations

import re
from collections.abc import Mapping

from corten.engine.containers.config import command_line
from corten.engine.containers.container import Container
from corten.errors import InvalidParameter
from corten.regex import Regex

_FIELD = re.compile(r"\{\{\s*(.*?)\s*\}\}")


def tag_of(container: Container | None, options: Mapping[str, str], default: str) -> str:
    """The option `tag`, a template, for a container; None only checks it. Raises InvalidParameter."""
    template = options.get("tag") or default
    values = _values(container)

    def value(match: re.Match[str]) -> str:
        name = match[1].removeprefix(".")
        if name not in values or not match[1].startswith("."):
            raise InvalidParameter(f"template parsing error: the tag knows no {match[0]}")
        return values[name]

    return _FIELD.sub(value, template)


def _values(container: Container | None) -> dict[str, str]:
    if container is None:
        names = ("ID", "FullID", "Name", "ImageID", "ImageFullID", "ImageName", "DaemonName", "Command")
        return dict.fromkeys(names, "")
    record = container.record
    path, arguments = command_line(record.config)
    return {
        "ID": container.id[:12],
        "FullID": container.id,
        "Name": container.name,
        "ImageID": record.image_id.partition(":")[2][:12],
        "ImageFullID": record.image_id,
        "ImageName": record.config.image,
        "DaemonName": "corten",
        "Command": " ".join([path, *arguments]),
    }


def attributes(container: Container, options: Mapping[str, str], *, tagged: bool = False) -> dict[str, str]:
    """The container's labels and variables that `labels`, `env` and their -regex name, and the tag."""
    labels = container.record.config.labels or {}
    env = dict(entry.partition("=")[::2] for entry in container.record.config.env or ())
    chosen: dict[str, str] = {}
    for kind, known in (("labels", labels), ("env", env)):
        names = set(filter(None, options.get(kind, "").split(",")))
        pattern = options.get(f"{kind}-regex")
        regex = Regex(pattern) if pattern else None
        for name, value in known.items():
            if name in names or (regex and regex.found_in(name)):
                chosen[name] = value
    if tagged:
        chosen["tag"] = tag_of(container, options, "")
    return chosen

"""`-e`, `--env-file`, `-l`, `--label-file`: lists of KEY=VALUE from the line and from files."""

from __future__ import annotations

import os

from corten.cli.errors import HintedError
from corten.cli.flags import Options, invalid


def environment(options: Options) -> list[str]:
    """Variables of files, then of the line. A bare KEY takes our value; if we have none, it unsets."""
    found = []
    for path in options.items("env-file"):
        for line in _lines(path, "environment variable"):
            if "=" in line:
                found.append(line)
            elif line in os.environ:
                found.append(f"{line}={os.environ[line]}")
    for item in options.items("env"):
        if not item.partition("=")[0]:
            raise invalid(options, "env", item, f"invalid environment variable: {item}")
        found.append(item if "=" in item or item not in os.environ else f"{item}={os.environ[item]}")
    return found


def labels(options: Options) -> dict[str, str]:
    """Labels of files, then of the line; a bare KEY has an empty value."""
    lines = [line for path in options.items("label-file") for line in _lines(path, "label")]
    found = {}
    for item in (*lines, *options.items("label")):
        key, _, value = item.partition("=")
        if not key:
            raise invalid(options, "label", item, f"invalid label '{item}': empty name")
        found[key] = value
    return found


def _lines(path: str, what: str) -> list[str]:
    try:
        with open(path, encoding="utf-8-sig") as f:
            lines = f.read().splitlines()
    except OSError as e:
        raise HintedError(f"open {path}: {(e.strerror or '').lower()}") from e
    except UnicodeDecodeError as e:
        raise HintedError(f"env file {path} contains invalid utf8 bytes") from e
    kept = []
    for line in map(str.lstrip, lines):
        if not line or line.startswith("#"):
            continue
        key, equals, _ = line.partition("=")
        if not key:
            raise HintedError(f"no variable name on line '{line}'")
        if key.strip() != key or (equals and " " in key):
            raise HintedError(f"variable '{key}' contains whitespaces")
        kept.append(line)
    return kept


def pairs(items: list[str]) -> dict[str, str]:
    """KEY=VALUE items as a dictionary."""
    return {key: value for key, _, value in (item.partition("=") for item in items)}

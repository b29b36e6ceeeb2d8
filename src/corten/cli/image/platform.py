"""`--platform os[/arch[/variant]]`."""

from __future__ import annotations

from corten.cli.errors import ExitError
from corten.client import jsontext

_FIELDS = ("os", "architecture", "variant")


def check(text: str) -> list[str]:
    """The parts of a platform. Raises ExitError with Docker's text."""
    parts = text.lower().split("/")
    if len(parts) > len(_FIELDS) or not all(p.replace("-", "").replace("_", "").isalnum() for p in parts):
        problem = "cannot parse platform specifier: invalid argument"
        raise ExitError(f'error parsing specified platform: "{text}": {problem}')
    return parts


def encode(text: str) -> str:
    """The platform as the API's JSON. Raises ExitError."""
    return jsontext.dumps(dict(zip(_FIELDS, check(text), strict=False)))

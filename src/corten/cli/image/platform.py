"""`--platform os[/arch[/variant]]` as the API's JSON."""

from __future__ import annotations

from corten.cli.errors import ExitError
from corten.client import jsontext


def encode(text: str) -> str:
    """The JSON of a platform. Raises ExitError."""
    parts = text.lower().split("/")
    if not text or len(parts) > 3 or not all(parts):
        raise ExitError(
            f'invalid platform: "{text}": unknown operating system or architecture: invalid argument'
        )
    return jsontext.dumps(dict(zip(("os", "architecture", "variant"), parts, strict=False)))

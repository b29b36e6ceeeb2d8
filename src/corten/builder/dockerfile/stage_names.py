"""Names of stages."""

from __future__ import annotations

import re

from corten.builder.dockerfile.errors import DockerfileError

_STAGE_NAME = re.compile(r"[a-z][a-z0-9-_.]*")


def checked_stage_name(name: str) -> str:
    """The name in lower case. Raises DockerfileError if it begins with a digit or has odd characters."""
    if not _STAGE_NAME.fullmatch(name.lower()):
        raise DockerfileError(
            f'invalid name for build stage: "{name}", name can\'t start with a number or contain symbols'
        )
    return name.lower()

"""`docker import --change`: Dockerfile instructions applied to an image's configuration."""

from __future__ import annotations

from collections.abc import Sequence

from corten.builder.args import BuildArgs
from corten.builder.dockerfile.stages import read_trigger
from corten.builder.graph import ImageSource, Vertex
from corten.builder.image import ImageState
from corten.builder.stage import StageState, changes_only_config, configure
from corten.errors import InvalidParameter
from corten.oci.image import ImageConfig
from corten.platforms import host_platform


def config_of_changes(changes: Sequence[str]) -> ImageConfig | None:
    """The configuration that the instructions make; None without any. Raises InvalidParameter."""
    if not changes:
        return None
    state = StageState(
        root=Vertex(op=ImageSource()),
        image=ImageState(platform=host_platform(), config=ImageConfig()),
        build_args=BuildArgs({}, {}, "\\"),
    )
    for change in changes:
        keyword = change.split(maxsplit=1)[0].upper() if change.strip() else ""
        if keyword in ("", "FROM", "MAINTAINER"):
            raise InvalidParameter(f"{keyword} is not a valid change command")
        instruction = read_trigger(change)
        if not changes_only_config(instruction):
            raise InvalidParameter(f"{keyword} is not a valid change command")
        configure(state, instruction)
    return state.image.config

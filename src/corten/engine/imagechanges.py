"""`import --change`, `commit --change`: Dockerfile instructions applied to an image's configuration."""

from __future__ import annotations

from collections.abc import Sequence

from corten.builder.args import BuildArgs
from corten.builder.dockerfile.instructions import Workdir
from corten.builder.dockerfile.stages import read_trigger
from corten.builder.graph import ImageSource, Vertex
from corten.builder.image import ImageState
from corten.builder.stage import StageState, changes_only_config, configure
from corten.errors import InvalidParameter
from corten.oci.image import ImageConfig
from corten.platforms import host_platform


def config_of_changes(changes: Sequence[str], config: ImageConfig | None = None) -> ImageConfig | None:
    """What the instructions make of a configuration; None without any. Raises InvalidParameter."""
    if not changes:
        return None
    image = ImageState(platform=host_platform(), config=config or ImageConfig())
    state = StageState(
        root=Vertex(op=ImageSource()),
        image=image,
        build_args=BuildArgs({}, {}, "\\"),
        variables=image.env(),
        classic=True,
    )
    for change in changes:
        keyword = change.split(maxsplit=1)[0].upper() if change.strip() else ""
        if keyword in ("", "FROM", "MAINTAINER"):
            raise InvalidParameter(f"{keyword} is not a valid change command")
        instruction = read_trigger(change)
        if isinstance(instruction, Workdir):  # in a build it makes the directory too
            path = state.absolute(state.expand(instruction.path)).rstrip("/") or "/"
            state.image = state.image.with_config(working_dir=path)
            continue
        if not changes_only_config(instruction):
            raise InvalidParameter(f"{keyword} is not a valid change command")
        configure(state, instruction)
    return state.image.config

"""`import --change`, `commit --change`: Dockerfile instructions applied to an image's configuration."""

from __future__ import annotations

from collections.abc import Sequence

from corten.builder.args import BuildArgs
from corten.builder.dockerfile.instructions import Workdir
from corten.builder.dockerfile.parser import parse
from corten.builder.dockerfile.typed import instruction
from corten.builder.graph import ImageSource, Vertex
from corten.builder.image import ImageState
from corten.builder.stage import StageState, configure
from corten.errors import InvalidParameter
from corten.oci.image import ImageConfig
from corten.platforms import host_platform

# Source: dockerd 26.1.5. None of them makes a layer.
_COMMANDS = (
    "cmd", "entrypoint", "env", "expose", "healthcheck", "label", "onbuild", "stopsignal", "user", "volume",
    "workdir",
)  # fmt: skip


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
    for node in parse("\n".join(changes)).nodes:
        if node.keyword not in _COMMANDS:
            raise InvalidParameter(f"{node.original.split()[0]} is not a valid change command")
        change = instruction(node)
        if isinstance(change, Workdir):  # in a build it makes the directory too
            path = state.absolute(state.expand(change.path)).rstrip("/") or "/"
            state.image = state.image.with_config(working_dir=path)
            continue
        configure(state, change)
    return state.image.config

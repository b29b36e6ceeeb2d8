"""`corten build --verify`: the same Dockerfile and context must give the same image, bit for bit.

Files that commands write have the time at which they did, so both builds clamp times: to SOURCE_DATE_EPOCH
if the build has that argument or the environment that variable, else to the moment at which we began.
"""

from __future__ import annotations

import os
import time

from corten.cli.context import Context, err, out
from corten.cli.errors import ExitError
from corten.cli.image import build, steps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from corten.cli.flags import Options


_EPOCH = "SOURCE_DATE_EPOCH"
_KINDS = ("C", "A", "D")
_SHOWN = 50


def verify(context: Context, options: Options, where: str, display: str) -> int:
    """Build twice, the second time without the cache; say which layers differ. Exit code 1 if any do."""
    if where == "-":
        raise ExitError("--verify reads the context twice: it cannot come from stdin")
    if len(options.items("platform")) > 1:
        raise ExitError("--verify compares two images: one platform at a time")
    arguments = [item.partition("=")[0] for item in options.items("build-arg")]
    if _EPOCH not in arguments:
        moment = os.environ.get(_EPOCH) or str(int(time.time()))
        options.set(options.flag("build-arg"), f"{_EPOCH}={moment}")
    traced: dict[str, object] = {"trace": 1}
    first = build.show_trace(build.send(context, options, where, traced), steps.steps_for(display))
    again = {**traced, "nocache": 1, "t": []}
    second = build.show_trace(build.send(context, options, where, again), steps.steps_for(display))
    one, other = _layers(context, first), _layers(context, second)
    differing = [index for index, (a, b) in enumerate(zip(one, other, strict=False)) if a != b]
    if not differing and len(one) == len(other):
        out(f"{first}\nVerified: both builds have the same {len(one)} layers\n")
        return 0
    for index in differing:
        err(f"layer {index + 1} differs: {one[index]} and {other[index]}\n")
    if differing:
        _tell_files(context, first, second)
    raise ExitError(f"verification failed: {first} and {second} are not the same image")


def _tell_files(context: Context, first: str, second: str) -> None:
    """Which files differ; times alone are no difference here, but make one of the layers."""
    changes = context.engine.get(f"/images/{second}/changes", since=first) or []
    for change in changes[:_SHOWN]:
        err(f"  {_KINDS[int(change['Kind'])]} {change['Path']}\n")
    if len(changes) > _SHOWN:
        err(f"  ... and {len(changes) - _SHOWN} more\n")
    if not changes:
        err("  no file's content, mode or owner differs: times do, or entries are in another order\n")


def _layers(context: Context, image: str) -> list[str]:
    found: dict[str, Any] = context.engine.get(f"/images/{image}/json")
    return [str(layer) for layer in (found.get("RootFS") or {}).get("Layers") or ()]

"""A container's configuration as it will be kept: the request merged with the image's defaults."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from corten.errors import InvalidParameter
from corten.oci.image import ImageConfig
from corten.types.container import ContainerConfig, Healthcheck
from corten.types.document import Empty

_EMPTY: Empty = {}


def merge_image(config: ContainerConfig, image: ImageConfig) -> ContainerConfig:
    """The request's configuration with everything it left open taken from the image.

    Cmd is taken only if the request has neither Cmd nor Entrypoint; an Entrypoint of [""] means none.
    Raises InvalidParameter("no command specified") if nothing is left to run.
    """
    entrypoint, command = config.entrypoint, config.cmd
    if not entrypoint:
        if not command:
            command = image.cmd or None
        if entrypoint is None:
            entrypoint = image.entrypoint or None
    elif entrypoint == [""]:
        entrypoint = None
    if not entrypoint and not command:
        raise InvalidParameter("no command specified")
    return msgspec.structs.replace(
        config,
        user=config.user or image.user,
        exposed_ports=_union(config.exposed_ports, image.exposed_ports) or None,
        volumes=_union(config.volumes, image.volumes) or None,
        env=_with_defaults(config.env or (), image.env or ()),
        labels={**(image.labels or {}), **(config.labels or {})},
        entrypoint=entrypoint,
        cmd=command,
        working_dir=config.working_dir or image.working_dir,
        stop_signal=config.stop_signal or image.stop_signal,
        shell=config.shell or image.shell,
        healthcheck=_merge_healthcheck(config.healthcheck, image),
    )


def merge_env(defaults: Iterable[str], given: Iterable[str]) -> list[str]:
    """Environment with `given` overriding `defaults`; "NAME" without "=" takes the default away."""
    merged = {entry.partition("=")[0]: entry for entry in defaults}
    for entry in given:
        name, equals, _ = entry.partition("=")
        if equals:
            merged[name] = entry
        else:
            merged.pop(name, None)
    return list(merged.values())


def _with_defaults(given: Sequence[str], defaults: Sequence[str]) -> list[str]:
    """The request's environment, then what only the image sets; dockerd keeps this order."""
    names = {entry.partition("=")[0] for entry in given}
    return [*given, *(entry for entry in defaults if entry.partition("=")[0] not in names)]


def command_line(config: ContainerConfig) -> tuple[str, list[str]]:
    """What `inspect` calls Path and Args."""
    words: Sequence[str] = [*(config.entrypoint or ()), *(config.cmd or ())]
    return words[0], list(words[1:])


def _union(
    mine: dict[str, Empty | None] | None, images: dict[str, Empty] | None
) -> dict[str, Empty | None] | None:
    if not images:
        return mine
    return {**dict.fromkeys(images, _EMPTY), **(mine or {})}


def _merge_healthcheck(mine: Healthcheck | None, image: ImageConfig) -> Healthcheck | None:
    theirs = image.healthcheck
    if theirs is None:
        return mine
    if mine is None:
        mine = Healthcheck()
    return Healthcheck(
        test=mine.test or theirs.test,
        interval=mine.interval or theirs.interval,
        timeout=mine.timeout or theirs.timeout,
        start_period=mine.start_period or theirs.start_period,
        start_interval=mine.start_interval or theirs.start_interval,
        retries=mine.retries or theirs.retries,
    )

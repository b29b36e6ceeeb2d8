"""`--build-context NAME=...`: what a Dockerfile may name instead of a stage or an image.

    docker-image://REF     an image
    local:DIRECTORY        a directory of the client's
    oci-layout://NAME@...  an image in a directory of the client's
    input:KEY              what another build has made (bake's `target:NAME`)
    https://..., git@...   fetched

A name may end in `::PLATFORM`: then it is for that platform alone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeAlias

from corten.builder.graph import Vertex
from corten.builder.namedcontexts import remote_context
from corten.builder.sources import NamedContext
from corten.buildkit.attributes import FrontendOptions, decode_config_metadata
from corten.errors import InvalidParameter
from corten.platforms import Platform, host_platform

OpenLocal: TypeAlias = Callable[[str, str], Vertex]
"""A directory of the client's by (its name there, the context's name)."""
TakeInput: TypeAlias = Callable[[str], Awaitable[Vertex]]
"""The input of this key."""
OpenLayout: TypeAlias = Callable[[str, str], Awaitable[NamedContext]]
"""An image in an OCI layout of the client's: (the context's name, name@digest)."""


async def named_contexts(
    options: FrontendOptions,
    platform: Platform | None,
    *,
    open_local: OpenLocal,
    take_input: TakeInput,
    open_layout: OpenLayout,
) -> dict[str, NamedContext]:
    """Those for a platform (None: ours), by name. Raises InvalidParameter, NotSupported."""
    wanted = str(platform or host_platform())
    found: dict[str, NamedContext] = {}
    for key, value in options.contexts.items():
        name, separator, only_for = key.partition("::")
        if only_for in ("", wanted) and (separator or f"{name}::{wanted}" not in options.contexts):
            found[name.lower()] = await _open(options, name, value, open_local, take_input, open_layout)
    return found


async def _open(
    options: FrontendOptions,
    name: str,
    value: str,
    open_local: OpenLocal,
    take_input: TakeInput,
    open_layout: OpenLayout,
) -> NamedContext:
    scheme, _, rest = value.partition(":")
    if scheme == "docker-image":
        return NamedContext(image=rest.removeprefix("//"))
    if scheme == "local":
        return NamedContext(vertex=open_local(rest, name))
    if scheme == "input":
        vertex = replace(await take_input(rest), name=f"context {name}")
        metadata = options.input_metadata.get(rest, "")
        return NamedContext(vertex=vertex, config=decode_config_metadata(metadata) if metadata else b"")
    if scheme == "oci-layout":
        return await open_layout(name, rest.removeprefix("//"))
    context = remote_context(value)
    if context is None:
        raise InvalidParameter(f"unsupported context source {scheme} for {name}")
    return context

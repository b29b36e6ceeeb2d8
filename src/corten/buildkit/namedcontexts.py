"""`--build-context NAME=...`: what a Dockerfile may name instead of a stage or an image.

docker-image://REF     an image
local:DIRECTORY        a directory of the client's
input:KEY              what another build has made (bake's `target:NAME`)
https://..., git@...   fetched
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from typing import TypeAlias

from corten.builder.copies import is_http
from corten.builder.gitref import parse_git_ref
from corten.builder.graph import HttpSource, ImageSource, Vertex
from corten.builder.sources import Images, NamedContext
from corten.buildkit.attributes import FrontendOptions, decode_config_metadata
from corten.buildkit.contexts import LocalContext
from corten.buildkit.stepnames import shown_image
from corten.errors import InvalidParameter, NotSupported
from corten.platforms import Platform
from corten.types.progress import JSONMessage

OpenLocal: TypeAlias = Callable[[str, str], Awaitable[LocalContext]]
"""A directory of the client's by (its name there, the context's name)."""
TakeInput: TypeAlias = Callable[[str], Awaitable[Vertex]]
"""The input of this key."""


class NamedContexts:
    """Those of one build; each is looked up once. `find` is a `FindContext`."""

    def __init__(
        self, options: FrontendOptions, *, images: Images, open_local: OpenLocal, take_input: TakeInput
    ) -> None:
        self._options = options
        self._images = images
        self._open_local = open_local
        self._take_input = take_input
        self._found: dict[str, NamedContext] = {}
        self._locals: list[LocalContext] = []

    def want(self, roots: Iterable[Vertex]) -> None:
        """Note what the graphs take of the client's directories."""
        wanted = list(roots)
        for local in self._locals:
            local.want(wanted)

    async def find(self, name: str, platform: Platform | None) -> NamedContext | None:
        """See FindContext. Raises InvalidParameter, NotSupported."""
        key = self._key(name, platform)
        if key is None:
            return None
        found = self._found.get(f"{key} {platform}")
        if found is None:
            found = self._found[f"{key} {platform}"] = await self._open(name, key, platform)
        return found

    def _key(self, name: str, platform: Platform | None) -> str | None:
        contexts: Mapping[str, str] = self._options.contexts
        names = [name, shown_image(name), shown_image(name).removesuffix(":latest")]
        for each in names:
            for key in (f"{each}::{platform}", each):
                if key in contexts:
                    return key
        return None

    async def _open(self, name: str, key: str, platform: Platform | None) -> NamedContext:
        value = self._options.contexts[key]
        scheme, separator, rest = value.partition(":")
        if value.startswith("docker-image://"):
            return await self._image(rest.removeprefix("//"), platform)
        if scheme == "local" and separator:
            local = await self._open_local(rest, name)
            self._locals.append(local)
            return NamedContext(vertex=local.vertex)
        if scheme == "input" and separator:
            vertex = replace(await self._take_input(rest), name=f"context {name}")
            metadata = self._options.input_metadata.get(rest, "")
            config = decode_config_metadata(metadata) if metadata else b""
            return NamedContext(vertex=vertex, config=config or None)
        if git := parse_git_ref(value, context=True):
            return NamedContext(vertex=Vertex(op=git.source(), name=f"[context {name}] {value}"))
        if is_http(value):
            source = HttpSource(url=value, filename="context")
            return NamedContext(vertex=Vertex(op=source, name=f"[context {name}] {value}"))
        if value.startswith("oci-layout://"):
            raise NotSupported("build contexts of type oci-layout are not supported")
        raise InvalidParameter(f"unsupported context source {scheme} for {name}")

    async def _image(self, reference: str, platform: Platform | None) -> NamedContext:
        found = await self._images.resolve(
            reference, platform=platform, pull=self._options.pull, auth={}, on_progress=_silent
        )
        return NamedContext(
            vertex=Vertex(op=ImageSource(diff_ids=found.diff_ids), name=reference), config=found.config
        )


def _silent(message: JSONMessage) -> None:
    """Pulls are told by ProgressImages."""

"""Where roots and files come from, as the conversion of a Dockerfile asks for them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from corten.builder.graph import Vertex
from corten.digest import Digest
from corten.platforms import Platform
from corten.reference import InvalidReference, parse_normalized
from corten.types.progress import JSONMessage
from corten.types.system import AuthConfig

OnProgress: TypeAlias = Callable[[JSONMessage], None]

FindCredentials: TypeAlias = Callable[[str], Awaitable[AuthConfig | None]]
"""Those for a registry, by its domain; None without any. Asked for when something is to be pulled."""


async def no_credentials(domain: str) -> None:
    """See FindCredentials."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseImage:
    """An image in the store: its id, its config document byte for byte, its layers lowest first.

    `pin`: the digest by which it can be had again: of the index or manifest that its name stands for, else
    its id.
    """

    id: Digest
    config: bytes
    diff_ids: tuple[str, ...]
    pin: str = ""


class Images(Protocol):
    """The engine's images, as the builder needs them."""

    async def resolve(
        self,
        reference: str,
        *,
        platform: Platform | None,
        pull: bool,
        credentials: FindCredentials,
        on_progress: OnProgress,
    ) -> BaseImage:
        """The image that a FROM or `--from=` names: a name, or an id (also shortened).

        Pulled if it is not here or if `pull`; progress goes to `on_progress`. Raises what pulling raises.
        """

    def find(self, reference: str, platform: Platform | None) -> BaseImage | None:
        """The image, if it is here."""

    async def create(self, config: bytes, diff_ids: tuple[str, ...]) -> Digest:
        """Put an image of layers that are in the store into the store; its id. The same twice is no error."""

    async def tag(self, image_id: Digest, reference: str) -> None:
        """Give an image a name; an image that had it loses it."""


class ImagesOver:
    """`Images` on top of others, but for `resolve`, which is what those differ in that derive from this."""

    def __init__(self, images: Images) -> None:
        self._images = images

    def find(self, reference: str, platform: Platform | None) -> BaseImage | None:
        """See Images."""
        return self._images.find(reference, platform)

    async def create(self, config: bytes, diff_ids: tuple[str, ...]) -> Digest:
        """See Images."""
        return await self._images.create(config, diff_ids)

    async def tag(self, image_id: Digest, reference: str) -> None:
        """See Images."""
        await self._images.tag(image_id, reference)


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedContext:
    """What `--build-context NAME=...` puts in place of a stage or an image: a graph, or another image.

    `config`: of an image that the graph makes, b"" = it has none; None = the graph gives mere files.
    """

    vertex: Vertex | None = None
    config: bytes | None = None
    image: str = ""


def context_of(contexts: Mapping[str, NamedContext], name: str) -> NamedContext | None:
    """The context that is meant by a stage's or an image's name; `alpine` also means `alpine:latest`."""
    found = contexts.get(name) or contexts.get(name.lower())
    if found is None and contexts and name not in ("scratch", "context"):
        with suppress(InvalidReference):
            familiar = parse_normalized(name).with_default_tag().familiar
            found = contexts.get(familiar) or contexts.get(familiar.removesuffix(":latest"))
    return found


FindSource: TypeAlias = Callable[[str], Awaitable[Vertex]]
"""What the `from=` of a COPY or a mount names: a stage, else an image; "" is the build's context."""

"""An image's configuration while it is being built, as an immutable value.

A step that makes a layer appends a history entry without a time; `document` puts in the times when the
layers are known. The history is written as BuildKit writes it (`RUN /bin/sh -c make # buildkit`,
comment `buildkit.dockerfile.v0`), because that is what tools parse today.

Source: OCI image-spec config.md; its JSON schema is checked in tests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import msgspec

from corten.digest import Digest, digest_of
from corten.oci.image import History, ImageConfig, ImageDocument, RootFS, decode_config
from corten.platforms import Platform
from corten.units import format_time

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_REMEMBERED = 8  # base images: builds are repeated
HISTORY_COMMENT = "buildkit.dockerfile.v0"


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer of a result: its diff id and when it was made (0 = a base image's, not known here)."""

    diff_id: str
    created_ns: int = 0


class ImageState(msgspec.Struct, frozen=True, kw_only=True):
    """All of an image but its layers. Never change `config` in place: `with_config` makes a copy."""

    platform: Platform
    config: ImageConfig
    author: str = ""
    created: str | None = None
    os_version: str = ""
    history: tuple[History, ...] = ()

    def with_config(self, **changes: object) -> ImageState:
        """The state with some fields of `config` replaced."""
        return msgspec.structs.replace(self, config=msgspec.structs.replace(self.config, **changes))

    def with_labels(self, labels: Mapping[str, str]) -> ImageState:
        """The state with further labels."""
        return self.with_config(labels={**(self.config.labels or {}), **labels}) if labels else self

    def committed(self, created_by: str, *, layer: bool = False) -> ImageState:
        """The state with a further entry in its history."""
        entry = History(created_by=created_by, comment=HISTORY_COMMENT, empty_layer=not layer)
        return msgspec.structs.replace(self, history=(*self.history, entry))

    def env(self) -> dict[str, str]:
        """The environment as a mapping, in order."""
        return dict(_env_pair(item) for item in self.config.env or ())


def scratch_image(platform: Platform) -> ImageState:
    """What `FROM scratch` begins with."""
    return with_default_path(ImageState(platform=platform, config=ImageConfig(working_dir="/")))


@lru_cache(maxsize=_REMEMBERED)
def base_image(config: bytes) -> ImageState:
    """What `FROM image` begins with: the image's config document. Raises InvalidDocument."""
    found = decode_config(config)
    return with_default_path(
        ImageState(
            platform=found.platform,
            config=found.config or ImageConfig(),
            author=found.author,
            created=found.created,
            os_version=found.os_version,
            history=tuple(found.history or ()),
        )
    )


def with_default_path(image: ImageState) -> ImageState:
    """Docker gives every image that has no PATH its default one."""
    if "PATH" in image.env():
        return image
    return image.with_config(env=env_with_path(image.config.env or ()))


def env_with_path(env: Sequence[str]) -> list[str]:
    """An environment, with the default PATH at its end if it has none."""
    return [*env] if any(item.startswith("PATH=") for item in env) else [*env, f"PATH={DEFAULT_PATH}"]


def set_env(config: ImageConfig, pairs: Sequence[tuple[str, str]]) -> list[str]:
    """The config's environment with variables set; those that exist keep their place."""
    env = dict(_env_pair(item) for item in config.env or ())
    env.update(pairs)
    return [f"{name}={value}" for name, value in env.items()]


def _env_pair(item: str) -> tuple[str, str]:
    name, _, value = item.partition("=")
    return name, value


def unfinished(image: ImageState) -> bytes:
    """The config document of an image whose layers are still to be made: without them and their times."""
    return msgspec.json.encode(_document(image, (), list(image.history), image.created))


class _WithCache(ImageDocument, kw_only=True):
    """A config document with the build's cache in it, as BuildKit keeps it there."""

    cache: bytes = msgspec.field(default=b"", name="moby.buildkit.cache.v0")


def with_inline_cache(config: bytes, records: bytes) -> bytes:
    """The config document with an inline cache (`cachetransfer.document.encode_inline`)."""
    found = msgspec.json.decode(config, type=_WithCache)
    return msgspec.json.encode(msgspec.structs.replace(found, cache=records))


def document(image: ImageState, layers: Sequence[Layer], epoch_ns: int | None = None) -> bytes:
    """The image's config document: `image` over `layers` (lowest first), as canonical JSON.

    Times: a layer's entry has the layer's time, an entry without layer that of what went before (before the
    first new layer, that layer's), and the image that of its last entry: the same work gives the same bytes
    however often it is repeated.
    `epoch_ns` (SOURCE_DATE_EPOCH) takes the place of all times that are ours.
    """
    history, created = _with_times(image, layers, epoch_ns)
    return msgspec.json.encode(_document(image, layers, history, created))


def _document(
    image: ImageState, layers: Sequence[Layer], history: list[History], created: str | None
) -> ImageDocument:
    return ImageDocument(
        architecture=image.platform.architecture,
        os=image.platform.os,
        variant=image.platform.variant,
        os_version=image.os_version,
        author=image.author,
        created=created,
        config=image.config,
        rootfs=RootFS(diff_ids=[Digest(layer.diff_id) for layer in layers]),
        history=history or None,
    )


def image_id(image: ImageState, layers: Sequence[Layer], epoch_ns: int | None = None) -> Digest:
    """The id that the image has: the digest of its config document."""
    return digest_of(document(image, layers, epoch_ns))


def _with_times(
    image: ImageState, layers: Sequence[Layer], epoch_ns: int | None
) -> tuple[list[History], str | None]:
    made = sum(_is_new(entry) and not entry.empty_layer for entry in image.history)
    times = [format_time(layer.created_ns) for layer in layers[len(layers) - made :]] if made else []
    now = times[0] if times else image.created
    following = iter(times)
    history = []
    for entry in image.history:
        if _is_new(entry):
            if epoch_ns is not None:
                now = format_time(epoch_ns)
            elif not entry.empty_layer:
                now = next(following)
            entry = msgspec.structs.replace(entry, created=now)
        history.append(entry)
    return history, now


def _is_new(entry: History) -> bool:
    """Whether the entry was made by this build: those of base images have times, or are not ours."""
    return entry.created is None and entry.comment == HISTORY_COMMENT

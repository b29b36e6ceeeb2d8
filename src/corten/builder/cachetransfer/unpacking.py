"""A cache taken apart, wherever its blobs lie: from a manifest to what it knows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import msgspec

from corten.builder.cachetransfer.document import MAX_BYTES, MEDIA_TYPE, Known, decode, decode_inline
from corten.errors import InvalidParameter
from corten.oci.image import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    MAX_CONFIG_BYTES,
    MAX_MANIFEST_BYTES,
    Descriptor,
    Manifest,
    decode_config,
    decode_index,
    decode_manifest,
    kind_of,
)

ReadBlob: TypeAlias = Callable[[Descriptor, int], Awaitable[bytes]]
"""A verified blob (or manifest) that is at most so long. Raises CortenError."""

_MAX_IMAGES = 16  # of an index of images that are looked into


class _Cached(msgspec.Struct):
    """The member of an image's config in which BuildKit keeps an inline cache."""

    cache: bytes | None = msgspec.field(default=None, name="moby.buildkit.cache.v0")


async def unpack(raw: bytes, read: ReadBlob) -> Known:
    """What the cache, or the images, of a manifest or index know. Raises CortenError."""
    kind = kind_of(raw, "")
    if kind in INDEX_TYPES:
        return await _of_index(raw, read)
    if kind not in MANIFEST_TYPES:
        raise InvalidParameter(f"a cache cannot be of the type {kind[:80]}")
    manifest = decode_manifest(raw)
    if manifest.config.media_type == MEDIA_TYPE:
        return decode(await _config(manifest.config, read), manifest.layers)
    return await _of_image(manifest, read)


async def _of_index(raw: bytes, read: ReadBlob) -> Known:
    entries = decode_index(raw).manifests
    config = next((each for each in entries if each.media_type == MEDIA_TYPE), None)
    if config is not None:
        return decode(await _config(config, read), entries)
    known = Known()
    for entry in [each for each in entries if each.media_type in MANIFEST_TYPES][:_MAX_IMAGES]:
        known.update(await _of_image(decode_manifest(await read(entry, MAX_MANIFEST_BYTES)), read))
    return known


async def _of_image(manifest: Manifest, read: ReadBlob) -> Known:
    config = await read(manifest.config, MAX_CONFIG_BYTES)
    return of_config(config, manifest.layers)


def of_config(config: bytes, descriptors: list[Descriptor]) -> Known:
    """What an image's own config knows; `descriptors`: its layers' blobs. Raises InvalidParameter."""
    try:
        cache = msgspec.json.decode(config, type=_Cached).cache
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidParameter(f"invalid cache in the image: {error}") from error
    return decode_inline(cache, decode_config(config).diff_ids, descriptors) if cache else Known()


async def _config(descriptor: Descriptor, read: ReadBlob) -> bytes:
    if not 0 <= descriptor.size <= MAX_BYTES:
        raise InvalidParameter("invalid cache config: too large")
    return await read(descriptor, MAX_BYTES)

"""What an exporter of images is to hand over: the images of a build's platforms, annotated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

from corten.builder.attest.purl import image_url
from corten.builder.export.export import Export
from corten.builder.export.targets import Target
from corten.builder.image import Layer, base_image, document, scratch_image, with_inline_cache
from corten.builder.results import Snapshot
from corten.digest import Digest, digest_of
from corten.errors import InvalidParameter, NotSupported
from corten.images import Image, ImageLayer
from corten.images.claims import Claim
from corten.images.publication import Member, Publication
from corten.oci.image import decode_config
from corten.platforms import host_platform

_REMEMBERED = 16  # images: builds that are repeated give the same ones


def image_of(export: Export, platform: str, snapshot: Snapshot, epoch_ns: int | None) -> Image:
    """The image that a result is; in no catalogue yet."""
    cache = export.inline_cache(snapshot.layers)
    return _image(export.config(platform), snapshot.layers, epoch_ns, cache)


@lru_cache(_REMEMBERED)
def _image(unfinished: bytes, layers: tuple[Layer, ...], epoch_ns: int | None, inline_cache: bytes) -> Image:
    state = base_image(unfinished) if unfinished else scratch_image(host_platform())
    config = document(state, layers, epoch_ns)
    if inline_cache:
        config = with_inline_cache(config, inline_cache)
    return Image(
        id=digest_of(config),
        document=decode_config(config),
        raw_config=config,
        layers=tuple(ImageLayer(diff_id=Digest(layer.diff_id)) for layer in layers),
        size=0,
    )


def publication_of(
    export: Export,
    snapshots: Mapping[str, Snapshot],
    target: Target,
    claims: Mapping[str, Sequence[Claim]] | None = None,
) -> Publication:
    """The images with what `target` says of them. `claims`: what is attested.

    Raises InvalidParameter, NotSupported.
    """
    annotations = target.annotations()
    epoch_ns = target.epoch_ns(export.epoch_ns)
    if epoch_ns != export.epoch_ns and target.flag("rewrite-timestamp"):
        raise NotSupported(
            "rewrite-timestamp by an exporter's source-date-epoch is not supported: "
            "give the build the argument SOURCE_DATE_EPOCH"
        )
    images = {platform: image_of(export, platform, each, epoch_ns) for platform, each in snapshots.items()}
    claims = claims or {}
    as_index = len(images) > 1 or any(claims.values())
    if target.type == "docker" and as_index:
        raise InvalidParameter("docker exporter does not currently support exporting manifest lists")
    names = {platform: str(image.platform) for platform, image in images.items()}
    annotations.check(set(names.values()), as_index=as_index)
    members = [
        Member(
            image=image,
            claims=claims.get(platform, ()),
            subjects=[image_url(str(name), image.platform) for name in target.names()]
            if claims.get(platform)
            else (),
            annotations=annotations.of("manifest", names[platform]),
            descriptor_annotations=annotations.of("manifest-descriptor", names[platform]),
        )
        for platform, image in images.items()
    ]
    return Publication(
        members=members,
        as_index=as_index,
        as_artifacts=target.flag("oci-artifact"),
        as_dockers=not (
            target.flag("oci-mediatypes", True)
            or target.flag("oci-artifact")
            or any(level != "manifest" for level, _ in annotations.found)
            or any(claims.values())
        ),
        annotations=annotations.of("index"),
        top_annotations=annotations.of("index-descriptor"),
    )

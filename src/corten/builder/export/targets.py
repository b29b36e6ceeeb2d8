"""An exporter as a client asks for it: its attributes as values.

Source: moby/buildkit, exporter/containerimage/exptypes (names and forms of the attributes).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from corten.builder.booleans import parse_bool
from corten.builder.epoch import parse_epoch
from corten.errors import InvalidParameter, NotSupported
from corten.images.claims import Claim
from corten.images.layer_blobs import ESTARGZ, UNCOMPRESSED, LayerForm
from corten.platforms import parse_platform
from corten.reference import Reference, parse_normalized
from corten.snapshots.compress import LEVELS

IMAGES = ("image", "moby")
ARCHIVES = ("docker", "oci")
NO_EXPORT = "cacheonly"
_ANNOTATION = re.compile(r"annotation(?:-([a-z-]+))?(?:\[([A-Za-z0-9_/-]+)\])?\.(\S+)")
_LEVELS_OF_ANNOTATIONS = ("index", "index-descriptor", "manifest", "manifest-descriptor")
_EPOCH = "source-date-epoch"
_FLAGS = (
    *("tar", "push", "push-by-digest", "name-canonical", "store", "unpack", "registry.insecure"),
    *("oci-mediatypes", "oci-artifact", "attestation-inline", "force-compression", "rewrite-timestamp"),
    *("prefer-nondist-layers", "platform-split"),
)


@dataclass(frozen=True, slots=True)
class Annotations:
    """What is to be noted where: by level and platform ("" = all), a mapping."""

    found: Mapping[tuple[str, str], Mapping[str, str]] = field(default_factory=dict)

    def of(self, level: str, platform: str = "") -> dict[str, str]:
        """Those of an index (its levels have no platforms), or of one platform's manifest."""
        return {**self.found.get((level, ""), {}), **self.found.get((level, platform), {})}

    def check(self, platforms: set[str], *, as_index: bool) -> None:
        """Raises InvalidParameter for annotations of what there will not be."""
        for level, platform in self.found:
            if platform and platform not in platforms:
                raise InvalidParameter(f"unknown platform {platform} in annotations")
            if level.startswith("index") and not as_index:
                raise InvalidParameter("index annotations not supported for single platform export")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """An exporter asked for. `number`: which of them, so that the client knows whose files come."""

    type: str
    attributes: Mapping[str, str]
    number: int = 0

    def names(self) -> list[Reference]:
        """What the image is to be called; repositories alone if it is to be pushed to no tag.

        Raises InvalidReference, InvalidParameter.
        """
        names = [parse_normalized(name) for name in self.attributes.get("name", "").split(",") if name]
        if any(name.digest is not None for name in names):
            raise InvalidParameter("build tag cannot contain a digest")
        if not self.is_pushed_by_digest:
            return [name.with_default_tag() for name in names]
        if tagged := next((name for name in names if name.tag is not None), None):
            raise InvalidParameter(f"can't push tagged ref {tagged} by digest")
        return names

    @property
    def is_pushed_by_digest(self) -> bool:
        """Whether it goes to a registry without getting a tag there."""
        return self.flag("push") and self.flag("push-by-digest")

    @property
    def needs_manifest(self) -> bool:
        """Whether a manifest has to be written even of one image of which nothing is said."""
        return (
            self.form() is not None
            or self.is_pushed_by_digest
            or "oci-mediatypes" in self.attributes
            or self.flag("name-canonical")
            or not self.flag("store", True)
        )

    def epoch_ns(self, of_build: int | None) -> int | None:
        """The time that results are to have: the exporter's own, or that of the build; None = any.

        Raises InvalidParameter.
        """
        text = self.attributes.get(_EPOCH)
        return of_build if text is None else parse_epoch(text, _EPOCH)

    def flag(self, name: str, default: bool = False) -> bool:
        """An attribute as a truth value; without a value it is true. Raises InvalidParameter."""
        text = self.attributes.get(name, str(default))
        value = parse_bool(text) if text else True
        if value is None:
            raise InvalidParameter(f"non-bool value specified for {name}")
        return value

    def form(self) -> LayerForm | None:
        """How layers are to be compressed, None = as it is usual. Raises InvalidParameter, NotSupported."""
        kind = self.attributes.get("compression", "")
        level = self.attributes.get("compression-level", "")
        if kind == ESTARGZ and (self.type == "docker" or (self.type in IMAGES and not self.flag("push"))):
            raise NotSupported(
                f"compression=estargz is not supported by the {self.type} exporter: its layers are not "
                "those that are built; push the image, or use -o type=oci"
            )
        if kind and kind not in (UNCOMPRESSED, ESTARGZ) and kind not in LEVELS:
            raise InvalidParameter(f"unsupported compression type {kind}")
        if not kind:
            if not (level or self.flag("force-compression")):
                return None
            kind = "gzip"
        if not level:
            return LayerForm(kind=kind, force=self.flag("force-compression"))
        highest = LEVELS["gzip"] if kind == ESTARGZ else LEVELS.get(kind, 0)
        if not (level.isascii() and level.isdecimal() and int(level[:4]) <= highest):
            raise InvalidParameter(f"invalid compression-level {level} of {kind}: 0 to {highest}")
        return LayerForm(kind=kind, level=int(level), force=self.flag("force-compression"))

    def annotations(self) -> Annotations:
        """What the image is annotated with. Raises InvalidParameter."""
        found: dict[tuple[str, str], dict[str, str]] = {}
        for name, value in self.attributes.items():
            if not name.startswith(("annotation.", "annotation-", "annotation[")):
                continue
            match = _ANNOTATION.fullmatch(name)
            if match is None:
                raise InvalidParameter(f"could not fully parse annotation {name}")
            level = match[1] or "manifest"
            if level not in _LEVELS_OF_ANNOTATIONS:
                raise InvalidParameter(f"unrecognized annotation type {level}")
            platform = str(parse_platform(match[2])) if match[2] else ""
            found.setdefault((level, platform), {})[match[3]] = value
        return Annotations(found)

    def check(self) -> None:
        """Refuse what would be ignored. Raises InvalidParameter, NotSupported."""
        if self.type not in (*ARCHIVES, *IMAGES) and self.annotations().found:
            raise NotSupported(f"the {self.type} exporter has no annotations")
        if self.type == "local" and self.attributes.get("mode", "") not in ("", "copy"):
            raise NotSupported("the local exporter copies: mode is not supported")
        for name in _FLAGS:
            self.flag(name)
        self.form()
        self.epoch_ns(None)
        if self.type in IMAGES:
            self.names()
            self._check_names()

    def _check_names(self) -> None:
        if self.attributes.get("dangling-name-prefix"):
            raise NotSupported("dangling-name-prefix is not supported: an image needs no name to be stored")
        if not (self.flag("store", True) or self.flag("push")):
            raise NotSupported("store=false goes with push=true: use type=cacheonly for no image at all")

    def claims(self, found: Mapping[str, Sequence[Claim]]) -> Mapping[str, Sequence[Claim]]:
        """What goes along of that which is attested (by platform): all, if there is to be an index anyway."""
        wanted = (self.type in IMAGES and self.flag("push")) or self.flag("attestation-inline")
        if self.type == "docker":
            return {
                platform: [each for each in claims if not each.inline_only]
                for platform, claims in found.items()
            }
        if (
            wanted
            or len(found) > 1
            or any(not each.inline_only for claims in found.values() for each in claims)
        ):
            return found
        return {}

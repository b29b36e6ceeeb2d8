"""--cache-to and --cache-from as values, and what of them is refused.

type=registry,ref=host/name:tag[,mode=max]     type=inline     type=local,dest=DIR (or src=DIR)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from corten.builder.booleans import parse_bool
from corten.builder.fields import comma_fields
from corten.errors import InvalidParameter, NotSupported
from corten.reference import Reference, parse_normalized

_EXPORTS = ("inline", "registry", "local")
_IMPORTS = ("registry", "local")
_ELSEWHERE = ("gha", "s3", "azblob")
_KNOWN = {
    "inline": (),
    "registry": ("ref", "registry.insecure"),
    "local": ("dest", "src", "digest", "tag", "reset"),
}
_HOW = ("mode", "ignore-error", "compression", "compression-level", "force-compression", "oci-mediatypes")


@dataclass(frozen=True, slots=True)
class CachePlace:
    """Where a cache goes or comes from: its `type`, and what else was said of it."""

    type: str
    attributes: Mapping[str, str] = field(default_factory=dict)

    @property
    def all_steps(self) -> bool:
        """mode=max: the layers of all steps, not only those of the result."""
        return self.attributes.get("mode") == "max"

    @property
    def as_image(self) -> bool:
        """Written as an image's manifest, which every registry takes; else as an index, as BuildKit did."""
        return self._flag("image-manifest", True)

    @property
    def may_fail(self) -> bool:
        """ignore-error=true: the build succeeds without."""
        return self._flag("ignore-error", False)

    @property
    def reference(self) -> Reference:
        """Of a registry's cache. Raises InvalidParameter, InvalidReference."""
        text = self.attributes.get("ref", "")
        if not text:
            raise InvalidParameter("registry cache requires ref")
        return parse_normalized(text).with_default_tag()

    def __str__(self) -> str:
        """The place, for people."""
        return self.attributes.get("ref") or self.attributes.get("src") or self.attributes.get("dest") or ""

    def check_export(self) -> None:
        """Raises NotSupported, InvalidParameter for what would have to be ignored."""
        self._check(_EXPORTS, "cache exporter")
        if self.attributes.get("mode", "min") not in ("min", "max"):
            raise InvalidParameter(f"unsupported cache mode {self.attributes['mode']!r}: min or max")
        if self.attributes.get("compression", "gzip") != "gzip":
            raise NotSupported(
                f"compression={self.attributes['compression']} of a cache is not supported: gzip"
            )
        if not self._flag("oci-mediatypes", True):
            raise NotSupported("oci-mediatypes=false of a cache is not supported")
        if self.attributes.get("compression-level"):
            raise NotSupported("compression-level of a cache is not supported")
        self._flag("force-compression", False)
        _ = self.as_image, self.may_fail

    def check_import(self) -> None:
        """As `check_export`."""
        self._check(_IMPORTS, "cache importer")

    def _check(self, known: tuple[str, ...], what: str) -> None:
        if self.type in _ELSEWHERE:
            raise NotSupported(f"{what} type={self.type} is not supported by Corten: use registry or local")
        if self.type not in known:
            raise InvalidParameter(f"unknown {what}: {self.type!r}")
        for name in self.attributes:
            if name not in (*_KNOWN[self.type], *_HOW, "image-manifest"):
                raise NotSupported(f"{what} type={self.type}: {name} is not supported")
        if self._flag("registry.insecure", False):
            raise NotSupported("registry.insecure is not supported: name the host in insecure-registries")
        if self.type == "registry":
            _ = self.reference

    def _flag(self, name: str, default: bool) -> bool:
        text = self.attributes.get(name, "")
        value = parse_bool(text) if text else default
        if value is None:
            raise InvalidParameter(f"failed to parse {name}: {text!r} is no boolean")
        return value


def parse_place(text: str) -> CachePlace:
    """As users write it; a bare reference is a registry's. Raises InvalidParameter.

    >>> parse_place("type=registry,ref=host/a,mode=max").attributes
    {'ref': 'host/a', 'mode': 'max'}
    """
    words = comma_fields(text)
    if len(words) == 1 and "=" not in text:
        return CachePlace("registry", {"ref": text})
    pairs = [word.partition("=") for word in words]
    if wrong := next((word for word, pair in zip(words, pairs, strict=True) if not pair[1]), None):
        raise InvalidParameter(f"invalid value {wrong}")
    found = {name.strip().lower(): value for name, _, value in pairs}
    kind = found.pop("type", "")
    if not kind:
        raise InvalidParameter(f"type required form> {text!r}")
    return CachePlace(kind, found)

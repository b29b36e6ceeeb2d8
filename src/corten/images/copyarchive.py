"""Archives as sources and targets of copies: OCI layouts and docker-archives, written both in one tar."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TypeVar

import msgspec

from corten.digest import Digest, digest_of, hex_of
from corten.errors import InvalidParameter
from corten.images.archive_reader import Member, SpooledArchive
from corten.images.copying import Source, verified
from corten.oci.image import (
    CONTAINERD_NAME,
    DOCKER_CONFIG,
    DOCKER_LAYER,
    DOCKER_LAYER_GZIP,
    DOCKER_MANIFEST,
    MANIFEST_TYPES,
    OCI_INDEX,
    REF_NAME,
    ArchiveItem,
    Descriptor,
    Index,
    Manifest,
    decode,
    decode_index,
    decode_manifest,
    kind_of,
)
from corten.reference import InvalidReference, Reference, parse_normalized
from corten.registry.client import RemoteManifest
from corten.snapshots.decompress import Compression, detect
from corten.snapshots.tar_reader import DIRECTORY, TarEntry
from corten.snapshots.tar_writer import TarWriter, Write

_T = TypeVar("_T", Descriptor, ArchiveItem)

_READ = 1 << 20
_LAYER_TYPES = {Compression.NONE: DOCKER_LAYER, Compression.GZIP: DOCKER_LAYER_GZIP}


class ArchiveSource:
    """An image in an archive: see `copying.Source`. name: which one; "": the only one."""

    def __init__(self, archive: SpooledArchive, name: str) -> None:
        self._archive = archive
        self._name = name
        self._members: dict[str, Member] = {}

    def top(self) -> RemoteManifest:
        """See Source. Raises InvalidParameter if the archive has not this one image."""
        index = self._archive.find("index.json")
        if index is not None and self._archive.find("oci-layout") is not None:
            found = decode_index(index.read()).manifests
            named = [(each, set(_names(each))) for each in found]
            return self.manifest(self._chosen(named).digest)
        items = decode(self._archive.get("manifest.json").read(), list[ArchiveItem], "manifest.json")
        return self._made(self._chosen([(item, set(item.repo_tags or ())) for item in items]))

    def _chosen(self, offers: list[tuple[_T, set[str]]]) -> _T:
        """What has the name, alone; without a name, what is alone."""
        fitting = [each for each, names in offers if not self._name or self._is_called(names)]
        different = {msgspec.json.encode(_unnamed(each)) for each in fitting}
        if len(different) == 1:
            return fitting[0]
        names = ", ".join(sorted({name for _, called in offers for name in called})) or "none with a name"
        problem = f'no image "{self._name}"' if self._name else "several images, or none"
        raise InvalidParameter(f"the archive has {problem}: it has {names}")

    def _is_called(self, names: set[str]) -> bool:
        return bool({self._name, _full(self._name)} & {*names, *map(_full, names)})

    def _made(self, item: ArchiveItem) -> RemoteManifest:
        """The manifest that an archive of Docker's older form leaves to its reader."""
        config = self._taken(self._archive.get(item.config))
        layers = [self._taken(self._archive.get(path)) for path in item.layers or ()]
        manifest = Manifest(
            schema_version=2,
            media_type=DOCKER_MANIFEST,
            config=Descriptor(media_type=DOCKER_CONFIG, digest=config.digest, size=config.size),
            layers=[Descriptor(media_type=_layer_type(m), digest=m.digest, size=m.size) for m in layers],
        )
        raw = msgspec.json.encode(manifest)
        return RemoteManifest(raw=raw, media_type=DOCKER_MANIFEST, digest=digest_of(raw))

    def _taken(self, member: Member) -> Member:
        self._members[member.digest] = member
        return member

    def manifest(self, digest: str) -> RemoteManifest:
        """See Source."""
        raw = self._archive.blob(digest).read()
        return RemoteManifest(raw=raw, media_type=kind_of(raw, ""), digest=Digest(digest))

    def blob(self, digest: Digest) -> _MemberContent:
        """See Source."""
        return _MemberContent(self._members.get(digest) or self._archive.blob(digest))


class _MemberContent:
    def __init__(self, member: Member) -> None:
        self._fd = member.open()

    def read(self) -> bytes:
        return os.read(self._fd, _READ)

    def close(self) -> None:
        os.close(self._fd)


class ArchiveTarget:
    """A tar that is written piece by piece: see `copying.Target`. name: the image's in there, if any."""

    def __init__(self, write: Write, name: Reference | None) -> None:
        self._writer = TarWriter(write)
        self._name = name
        self._written: set[str] = set()

    def _is_new(self, digest: str) -> bool:
        """Whether it is to be written; with the first the folders are, for until then the source may fail."""
        if digest in self._written:
            return False
        if not self._written:
            for folder in (b"blobs", b"blobs/sha256"):
                self._writer.add(TarEntry(folder, DIRECTORY, 0o755))
        self._written.add(digest)
        return True

    def blob(self, source: Source, descriptor: Descriptor) -> None:
        """See Target."""
        if not self._is_new(descriptor.digest):
            return
        self._writer.add(TarEntry(_path(descriptor.digest).encode(), size=descriptor.size))
        for piece in verified(source, descriptor):
            self._writer.content(piece)

    def manifest(self, found: RemoteManifest) -> None:
        """See Target."""
        if self._is_new(found.digest):
            self._writer.add_bytes(TarEntry(_path(found.digest).encode()), found.raw)

    def finish(self, found: RemoteManifest) -> None:
        """See Target."""
        self.manifest(found)
        name = self._name
        said = {CONTAINERD_NAME: str(name), REF_NAME: name.tag or ""} if name is not None else None
        top = Descriptor(
            media_type=found.media_type, digest=found.digest, size=len(found.raw), annotations=said
        )
        index = Index(schema_version=2, media_type=OCI_INDEX, manifests=[top])
        self._table("index.json", msgspec.json.encode(index))
        if found.media_type in MANIFEST_TYPES:
            manifest = decode_manifest(found.raw)
            item = ArchiveItem(
                config=_path(manifest.config.digest),
                repo_tags=[name.familiar] if name is not None else None,
                layers=[_path(layer.digest) for layer in manifest.layers],
            )
            self._table("manifest.json", msgspec.json.encode([item]))
        self._table("oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
        self._writer.close()

    def _table(self, name: str, raw: bytes) -> None:
        self._writer.add_bytes(TarEntry(name.encode()), raw)


def _path(digest: str) -> str:
    algorithm, _, _ = digest.partition(":")
    return f"blobs/{algorithm}/{hex_of(digest)}"


def _names(descriptor: Descriptor) -> list[str]:
    said = descriptor.annotations or {}
    return [said[key] for key in (CONTAINERD_NAME, REF_NAME) if said.get(key)]


def _full(name: str) -> str:
    with suppress(InvalidReference):
        return str(parse_normalized(name).with_default_tag())
    return name


def _unnamed(each: object) -> object:
    """What it is, whatever it is called."""
    if isinstance(each, Descriptor):
        return each.digest
    assert isinstance(each, ArchiveItem)
    return each.config


def _layer_type(member: Member) -> str:
    fd = member.open()
    try:
        compression = detect(os.read(fd, 16))
    finally:
        os.close(fd)
    if compression not in _LAYER_TYPES:
        raise InvalidParameter(f"layers of an archive in {compression.name} are not supported")
    return _LAYER_TYPES[compression]

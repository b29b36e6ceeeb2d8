"""Signatures where cosign looks for them: a manifest tagged `sha256-<hex>.sig`, with the image as subject.

One manifest serves both of cosign's schemes: the tag, and (because it has a subject) the list of referrers.
Blocking; one thread at a time.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

import msgspec

from corten.digest import Digest, digest_of, hex_of
from corten.errors import InvalidParameter
from corten.oci.image import (
    OCI_CONFIG,
    OCI_MANIFEST,
    Descriptor,
    ImageDocument,
    Manifest,
    RootFS,
    decode_manifest,
)
from corten.reference import Reference
from corten.registry.client import BytesBody, PushTarget, RegistryHosts, RemoteRegistry
from corten.registry.client.errors import ManifestUnknown, RepositoryUnknown
from corten.signatures.payload import ANNOTATION, ARTIFACT_TYPE, MAX_BYTES, MEDIA_TYPE, digest_in
from corten.types.system import AuthConfig

_MOST = 100


@dataclass(frozen=True, slots=True)
class Signature:
    """A signed document and its signature."""

    payload: bytes
    signature: bytes


class ImageSignatures:
    """The signatures in one repository."""

    def __init__(self, reference: Reference, auth: AuthConfig | None, hosts: RegistryHosts) -> None:
        self._reference = reference
        self._auth = auth
        self._hosts = hosts

    def digest(self) -> Digest:
        """The digest of the image that the reference names. Raises RegistryError."""
        wanted = self._reference.with_default_tag()
        with RemoteRegistry(wanted, self._auth, self._hosts) as remote:
            return remote.manifest(wanted.digest or wanted.tag or "").digest

    def of(self, digest: Digest) -> list[Signature]:
        """All signatures of an image; none is an empty list. Raises RegistryError."""
        found = []
        with RemoteRegistry(self._reference, self._auth, self._hosts) as remote:
            for layer in self._layers(remote, digest)[:_MOST]:
                encoded = (layer.annotations or {}).get(ANNOTATION, "")
                if layer.media_type != MEDIA_TYPE or layer.size > MAX_BYTES or not encoded:
                    continue
                try:
                    signature = base64.b64decode(encoded, validate=True)
                except binascii.Error:
                    continue
                found.append(Signature(remote.read_blob(Digest(layer.digest), MAX_BYTES), signature))
        return found

    def attach(self, digest: Digest, new: Signature) -> None:
        """Add a signature to those that are there. Raises RegistryError, InvalidParameter."""
        if digest_in(new.payload) != digest:
            raise InvalidParameter("the signature is about another image")
        with RemoteRegistry(self._reference, self._auth, self._hosts) as remote:
            subject = remote.manifest(digest)
            present = self._layers(remote, digest)
        layer = Descriptor(
            media_type=MEDIA_TYPE,
            digest=digest_of(new.payload),
            size=len(new.payload),
            annotations={ANNOTATION: base64.b64encode(new.signature).decode()},
        )
        layers = [*present, layer]
        config = msgspec.json.encode(
            ImageDocument(rootfs=RootFS(diff_ids=[Digest(layer.digest) for layer in layers]))
        )
        raw = msgspec.json.encode(
            Manifest(
                schema_version=2,
                media_type=OCI_MANIFEST,
                artifact_type=ARTIFACT_TYPE,
                config=Descriptor(media_type=OCI_CONFIG, digest=digest_of(config), size=len(config)),
                layers=layers,
                subject=Descriptor(media_type=subject.media_type, digest=digest, size=len(subject.raw)),
            )
        )
        with PushTarget(self._reference, self._auth, self._hosts) as target:
            for content in (new.payload, config):
                if not target.has_blob(digest_of(content)):
                    target.upload(digest_of(content), BytesBody(content))
            target.put_manifest(_tag(digest), raw, OCI_MANIFEST)

    @staticmethod
    def _layers(remote: RemoteRegistry, digest: Digest) -> list[Descriptor]:
        try:
            return decode_manifest(remote.manifest(_tag(digest)).raw).layers
        except (ManifestUnknown, RepositoryUnknown):
            return []


def _tag(digest: Digest) -> str:
    return f"sha256-{hex_of(digest)}.sig"

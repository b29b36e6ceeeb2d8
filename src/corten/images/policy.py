"""Which images must be signed, and by whom: daemon.json's `signature-policy`.

::

    "signature-policy": {"registry.example.com/team": {"keys": ["/etc/corten/team.pub"]}, "": {"allow": true}}

The longest matching prefix of an image's name (with domain: docker.io/library/x) counts, part by part. On
pull a valid signature of one of the keys is asked for before anything is fetched; that it was there is
remembered with the image. On run an image under a prefix must have been pulled so, with a key that still
counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from corten.digest import Digest
from corten.errors import Forbidden
from corten.images.catalogue import ImageCatalogue
from corten.images.image import Image
from corten.images.signatures import ImageSignatures
from corten.metadata import Ledger
from corten.reference import InvalidReference, Reference, parse_normalized
from corten.registry.client import RegistryHosts
from corten.types.system import AuthConfig

if TYPE_CHECKING:
    from corten.signatures.keys import PublicKey


_NAMELESS = Reference(domain="", path="")


class NotSigned(Forbidden):
    """The policy forbids an image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What holds below a prefix. keys: one of these must have signed; none: nobody needs to."""

    prefix: str
    keys: tuple[PublicKey, ...] = ()


@dataclass(frozen=True, slots=True)
class SignaturePolicy:
    """All rules."""

    rules: tuple[Rule, ...] = field(default=())

    def keys_for(self, reference: Reference) -> tuple[PublicKey, ...]:
        """The keys of which one must have signed; empty: none is needed."""
        best: Rule | None = None
        for rule in self.rules:
            fits = not rule.prefix or f"{reference.name}/".startswith(f"{rule.prefix}/")
            if fits and (best is None or len(rule.prefix) > len(best.prefix)):
                best = rule
        return best.keys if best else ()

    def check_pull(
        self, reference: Reference, digests: Iterable[Digest], auth: AuthConfig | None, hosts: RegistryHosts
    ) -> str:
        """The fingerprint of the key that signed one of the digests ("": none is needed). Blocks.

        Raises NotSigned, RegistryError.
        """
        keys = self.keys_for(reference)
        if not keys:
            return ""
        from corten.signatures.verify import valid  # see daemon.policy

        signatures = ImageSignatures(reference, auth, hosts)
        for digest in dict.fromkeys(digests):
            for found in signatures.of(digest):
                for key in keys:
                    if valid(key, digest, found.payload, found.signature):
                        return key.fingerprint
        raise NotSigned(
            f"image {reference.familiar} has no valid signature, which the signature policy requires"
        )

    def check_run(self, ledger: Ledger, image_id: Digest, names: Iterable[Reference]) -> None:
        """Refuse an image that has one of these names and was not verified. Raises NotSigned."""
        for name in names:
            keys = self.keys_for(name)
            if keys and not any(is_verified(ledger, image_id, key.fingerprint) for key in keys):
                raise NotSigned(
                    f"image {name.familiar} was not pulled with a valid signature, which the signature policy"
                    " requires"
                )


class Admission:
    """The policy as `create` asks it."""

    def __init__(self, catalogue: ImageCatalogue, policy: SignaturePolicy) -> None:
        self._catalogue = catalogue
        self._policy = policy

    def check(self, text: str, image: Image) -> None:
        """Refuse an image that was asked for as `text`, if the policy does. Raises NotSigned."""
        if not self._policy.rules:
            return
        names = self._catalogue.names(image.id) or [_NAMELESS]
        with suppress(InvalidReference):
            asked = parse_normalized(text)
            if self._catalogue.id_of_name(asked) is not None:
                names = [asked]
        self._policy.check_run(self._catalogue.ledger, image.id, names)


def record_verified(ledger: Ledger, image_id: Digest, fingerprint: str) -> None:
    """Remember whose signature an image had when it was pulled."""
    ledger.execute("INSERT OR IGNORE INTO verified_images VALUES (?, ?)", (image_id, fingerprint))


def is_verified(ledger: Ledger, image_id: Digest, fingerprint: str) -> bool:
    """Whether the image was pulled with a signature of this key."""
    row = ledger.query_one(
        "SELECT 1 FROM verified_images WHERE image_id = ? AND key = ?", (image_id, fingerprint)
    )
    return row is not None

"""Keys as `cosign generate-key-pair` writes them.

The private one is PKCS #8 in NaCl's secretbox, under a key that scrypt derives from a password, as JSON in
PEM; the public one is plain PEM.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import re

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_pem_public_key,
)

from corten.errors import InvalidParameter
from corten.signatures import secretbox

_LABELS = ("ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY")
_PEM = re.compile(r"-----BEGIN ([A-Z ]+)-----\s(.+?)-----END \1-----", re.DOTALL)
_SCRYPT = {"N": 65536, "r": 8, "p": 1}
_MOST_MEMORY = 256 << 20
_SALT_BYTES = 32


class InvalidKey(InvalidParameter):
    """No key that we understand, or the wrong password."""


class PublicKey:
    """A P-256 key that verifies."""

    def __init__(self, pem: str) -> None:
        """Raises InvalidKey."""
        try:
            key = load_pem_public_key(pem.encode())
        except ValueError as e:
            raise InvalidKey("not a public key in PEM") from e
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
            raise InvalidKey("only ECDSA keys on P-256 are supported")
        self._key = key
        der: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.fingerprint = hashlib.sha256(der).hexdigest()

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Whether the signature of `data` was made with the private half."""
        try:
            self._key.verify(signature, data, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return True


class PrivateKey:
    """A P-256 key that signs."""

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key

    @classmethod
    def generate(cls) -> PrivateKey:
        """A new one."""
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def load(cls, pem: str, password: str) -> PrivateKey:
        """Open cosign's PEM. Raises InvalidKey."""
        found = _PEM.search(pem)
        if found is None or found[1] not in _LABELS:
            raise InvalidKey("not an encrypted private key of cosign's")
        try:
            box = json.loads(base64.b64decode(found[2]))
            kdf, cipher = box["kdf"], box["cipher"]
            if (kdf["name"], cipher["name"]) != ("scrypt", "nacl/secretbox"):
                raise InvalidKey(f"unknown encryption of private key: {kdf['name']}, {cipher['name']}")
            parameters = {name: int(kdf["params"][name]) for name in _SCRYPT}
            secret = _derived(password, base64.b64decode(kdf["salt"]), parameters)
            der = secretbox.unseal(
                base64.b64decode(box["ciphertext"]), base64.b64decode(cipher["nonce"]), secret
            )
            key = load_der_private_key(der, None)
        except secretbox.WrongKey as e:
            raise InvalidKey(str(e)) from e
        except (ValueError, KeyError, TypeError, binascii.Error) as e:
            raise InvalidKey(f"malformed private key: {e!r}") from e
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
            raise InvalidKey("only ECDSA keys on P-256 are supported")
        return cls(key)

    def sealed(self, password: str) -> str:
        """The key as cosign's PEM."""
        der: bytes = self._key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        salt, nonce = os.urandom(_SALT_BYTES), os.urandom(secretbox.NONCE_BYTES)
        box = secretbox.seal(der, nonce, _derived(password, salt, _SCRYPT))
        document = {
            "kdf": {"name": "scrypt", "params": _SCRYPT, "salt": _text(salt)},
            "cipher": {"name": "nacl/secretbox", "nonce": _text(nonce)},
            "ciphertext": _text(box),
        }
        body = base64.encodebytes(json.dumps(document, separators=(",", ":")).encode())
        lines = re.findall(".{1,64}", body.decode().replace("\n", ""))
        return "\n".join((f"-----BEGIN {_LABELS[0]}-----", *lines, f"-----END {_LABELS[0]}-----", ""))

    @property
    def public(self) -> str:
        """The public half in PEM."""
        pem: bytes = self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return pem.decode()

    def sign(self, data: bytes) -> bytes:
        """A signature (ASN.1) of `data`."""
        signature: bytes = self._key.sign(data, ec.ECDSA(hashes.SHA256()))
        return signature


def _derived(password: str, salt: bytes, parameters: dict[str, int]) -> bytes:
    return hashlib.scrypt(
        password.encode(), salt=salt, n=parameters["N"], r=parameters["r"], p=parameters["p"],
        maxmem=_MOST_MEMORY, dklen=secretbox.KEY_BYTES,
    )  # fmt: skip


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()

"""Verifying JSON Web Signatures with public keys (RFC 7518, RFC 8037)."""

from __future__ import annotations

import re
from collections.abc import Callable

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from cryptography.x509 import load_pem_x509_certificate

_BLOCK = re.compile(rb"-----BEGIN ([A-Z ]+)-----.+?-----END \1-----", re.DOTALL)
_P256_BYTES = 32


def load_keys(path: str) -> list[Callable[[str, bytes, bytes], bool]]:
    """A function (algorithm, signature, signed) -> bool for each key of a PEM file.

    Raises OSError, ValueError.
    """
    with open(path, "rb") as file:
        blocks = [(found[1], found[0]) for found in _BLOCK.finditer(file.read())]
    keys = [
        load_pem_x509_certificate(pem).public_key() if label == b"CERTIFICATE" else load_pem_public_key(pem)
        for label, pem in blocks
    ]
    if not keys:
        raise ValueError(f"{path} holds no public key")
    return [_verifier(key) for key in keys]


def _verifier(key: object) -> Callable[[str, bytes, bytes], bool]:
    if isinstance(key, rsa.RSAPublicKey):
        return lambda algorithm, signature, signed: (
            algorithm == "RS256"
            and _good(lambda: key.verify(signature, signed, padding.PKCS1v15(), hashes.SHA256()))
        )
    if isinstance(key, ed25519.Ed25519PublicKey):
        return lambda algorithm, signature, signed: (
            algorithm == "EdDSA" and _good(lambda: key.verify(signature, signed))
        )
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return lambda algorithm, signature, signed: (
            algorithm == "ES256"
            and len(signature) == 2 * _P256_BYTES
            and _good(lambda: key.verify(_der(signature), signed, ec.ECDSA(hashes.SHA256())))
        )
    raise ValueError("keys of tokens must be RSA, P-256 or Ed25519")


def _der(signature: bytes) -> bytes:
    r, s = signature[:_P256_BYTES], signature[_P256_BYTES:]
    encoded: bytes = utils.encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big"))
    return encoded


def _good(verify: Callable[[], None]) -> bool:
    try:
        verify()
    except InvalidSignature:
        return False
    return True

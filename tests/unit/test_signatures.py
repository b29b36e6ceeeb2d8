"""Keys, payloads and the box in which private keys travel."""

import json
import subprocess
import sys

import pytest

from corten.digest import digest_of
from corten.signatures import secretbox
from corten.signatures.keys import InvalidKey, PrivateKey, PublicKey
from corten.signatures.payload import InvalidPayload, digest_in, payload
from corten.signatures.verify import valid

DIGEST = digest_of(b"image")


def test_secretbox_is_nacl_s():
    """The example of NaCl's own tests (tests/secretbox.c)."""
    key = bytes.fromhex("1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389")
    nonce = bytes.fromhex("69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37")
    message = bytes.fromhex(
        "be075fc53c81f2d5cf141316ebeb0c7b5228c52a4c62cbd44b66849b64244ffce5ecbaaf33bd751a1ac728d45e6c6129"
        "6cdc3c01233561f41db66cce314adb310e3be8250c46f06dceea3a7fa1348057e2f6556ad6b1318a024a838f21af1fde"
        "048977eb48f59ffd4924ca1c60902e52f0a089bc76897040e082f937763848645e0705"
    )
    box = secretbox.seal(message, nonce, key)
    assert box.startswith(bytes.fromhex("f3ffc7703f9400e52a7dfb4b3d3305d98e993b9f48681273c29650ba32fc76ce"))
    assert secretbox.unseal(box, nonce, key) == message
    with pytest.raises(secretbox.WrongKey):
        secretbox.unseal(box[:-1] + b"x", nonce, key)


def test_signing():
    key = PrivateKey.generate()
    public = PublicKey(key.public)
    document = payload("docker.io/library/x", DIGEST)
    signature = key.sign(document)
    assert valid(public, DIGEST, document, signature)
    assert not valid(public, digest_of(b"other"), document, signature)
    assert not valid(public, DIGEST, document + b" ", signature)
    assert not valid(PublicKey(PrivateKey.generate().public), DIGEST, document, signature)
    assert not valid(public, DIGEST, document, b"garbage")


def test_private_keys_are_locked():
    key = PrivateKey.generate()
    sealed = key.sealed("secret")
    assert sealed.startswith("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n")
    assert PrivateKey.load(sealed, "secret").public == key.public
    with pytest.raises(InvalidKey, match="wrong password"):
        PrivateKey.load(sealed, "other")


@pytest.mark.parametrize("pem", ["", "x", "-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED "
                                 "SIGSTORE PRIVATE KEY-----\n"])  # fmt: skip
def test_nonsense_is_no_key(pem):
    with pytest.raises(InvalidKey):
        PrivateKey.load(pem, "")
    with pytest.raises(InvalidKey):
        PublicKey(pem)


@pytest.mark.parametrize("document", [b"", b"{}", b"[]", b'{"critical": {}}', b"[" * 100_000])
def test_nonsense_is_no_payload(document):
    with pytest.raises(InvalidPayload):
        digest_in(document)


def test_the_helper():
    def ask(request):
        done = subprocess.run([sys.executable, "-P", "-m", "corten.signatures"], input=json.dumps(request),
                              capture_output=True, text=True)  # fmt: skip
        return json.loads(done.stdout) if done.returncode == 0 else done.stderr

    pair = ask({"action": "keypair", "password": "p"})
    made = ask({"action": "sign", "key": pair["private"], "password": "p", "name": "x/y", "digest": DIGEST})
    question = {"action": "verify", "key": pair["public"], "digest": DIGEST, "signatures": [made]}
    assert ask(question) == {"valid": 1}
    assert ask({**question, "digest": digest_of(b"x")}) == {"valid": 0}
    assert "wrong password" in ask(
        {"action": "sign", "key": pair["private"], "password": "q", "name": "x", "digest": DIGEST}
    )

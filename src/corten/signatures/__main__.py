"""The client's helper: one request as JSON on stdin, one answer as JSON on stdout.

{"action": "keypair", "password"} → {"private", "public"}
{"action": "sign", "key", "password", "name", "digest"} → {"payload", "signature"}      (base64)
{"action": "verify", "key", "digest", "signatures": [{"payload", "signature"}]} → {"valid": count}
"""

from __future__ import annotations

import base64
import json
import sys
from typing import Any

from corten.digest import parse_digest
from corten.errors import CortenError
from corten.signatures.keys import PrivateKey, PublicKey
from corten.signatures.payload import payload
from corten.signatures.verify import valid


def answer(request: dict[str, Any]) -> dict[str, object]:
    """Do what is asked. Raises CortenError."""
    if request["action"] == "keypair":
        key = PrivateKey.generate()
        return {"private": key.sealed(request["password"]), "public": key.public}
    if request["action"] == "sign":
        document = payload(request["name"], parse_digest(request["digest"]))
        signature = PrivateKey.load(request["key"], request["password"]).sign(document)
        return {"payload": _text(document), "signature": _text(signature)}
    key_, digest = PublicKey(request["key"]), parse_digest(request["digest"])
    pairs = [
        (base64.b64decode(each["payload"]), base64.b64decode(each["signature"]))
        for each in request["signatures"]
    ]
    return {"valid": sum(valid(key_, digest, *pair) for pair in pairs)}


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


if __name__ == "__main__":
    try:
        json.dump(answer(json.load(sys.stdin)), sys.stdout)
    except CortenError as e:
        print(e, file=sys.stderr)
        sys.exit(1)

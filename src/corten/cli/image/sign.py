"""`corten image keypair`, `sign` and `verify`: signatures in cosign's form.

Keys stay in this machine's hands: a helper process signs and verifies, the engine only carries signatures
from and to the registry.
"""

from __future__ import annotations

import os
import sys

from corten.cli import reference
from corten.cli.command import Command
from corten.cli.context import Context, err, out
from corten.cli.errors import ExitError
from corten.cli.flags import Flag, Options
from corten.cli.image.pull import canonical
from corten.client import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PASSWORD = "COSIGN_PASSWORD"  # noqa: S105 - the variable's name, which is cosign's
_PRIVATE, _PUBLIC = ".key", ".pub"


def keypair(_: Context, options: Options, arguments: list[str]) -> int:
    """Write PREFIX.key, locked with a password, and PREFIX.pub."""
    prefix = arguments[0] if arguments else "cosign"
    for path in (prefix + _PRIVATE, prefix + _PUBLIC):
        if os.path.lexists(path):
            raise ExitError(f"{path} exists already")
    made = _helper({"action": "keypair", "password": _password(repeat=True)})
    _write(prefix + _PRIVATE, made["private"], 0o600)
    _write(prefix + _PUBLIC, made["public"], 0o644)
    out(f"Private key written to {prefix}{_PRIVATE}\nPublic key written to {prefix}{_PUBLIC}\n")
    return 0


def sign(context: Context, options: Options, arguments: list[str]) -> int:
    """Sign an image that is in its registry, and attach the signature there."""
    name, headers = _target(context, arguments[0])
    key = _read(options, "cosign" + _PRIVATE)
    found = _found(context, name, headers)
    repository = canonical(reference.split(arguments[0])[0])
    request = {"action": "sign", "key": key, "name": repository, "digest": found["Digest"]}
    made = _helper({**request, "password": _password()})
    body = jsontext.dumps({"Payload": made["payload"], "Signature": made["signature"]}).encode()
    headers["Content-Type"] = "application/json"
    context.engine.call("POST", f"/images/{name}/signatures", body=body, headers=headers).read()
    out(f"Signed {repository}@{found['Digest']}\n")
    return 0


def verify(context: Context, options: Options, arguments: list[str]) -> int:
    """Ask the registry for an image's signatures; the exit code is 1 if none of the key's is valid."""
    name, headers = _target(context, arguments[0])
    key = _read(options, "cosign" + _PUBLIC)
    found = _found(context, name, headers)
    pairs = [{"payload": s["Payload"], "signature": s["Signature"]} for s in found["Signatures"]]
    request = {"action": "verify", "key": key, "digest": found["Digest"], "signatures": pairs}
    count = _helper(request)["valid"]
    if not count:
        raise ExitError(f"no valid signature of {arguments[0]} ({found['Digest']}) by this key")
    out(f"{arguments[0]} ({found['Digest']}): {count} valid signature{'s' if count > 1 else ''}\n")
    return 0


def _target(context: Context, image: str) -> tuple[str, dict[str, str]]:
    from corten.cli.system import credentials

    return canonical(image), credentials.header(context, reference.domain(image))


def _found(context: Context, name: str, headers: dict[str, str]) -> Any:
    return jsontext.loads(context.engine.call("GET", f"/images/{name}/signatures", headers=headers).read())


def _helper(request: dict[str, object]) -> Any:
    """Have the helper answer; it sees installed packages, which this interpreter does not."""
    import json
    import subprocess

    done = subprocess.run(
        [sys.executable, "-P", "-m", "corten.signatures"],
        input=json.dumps(request), capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        raise ExitError((done.stderr.strip().splitlines() or ["signing failed"])[-1])
    return json.loads(done.stdout)


def _password(*, repeat: bool = False) -> str:
    given = os.environ.get(PASSWORD)
    if given is not None:
        return given
    if not os.isatty(0):
        raise ExitError(f"no terminal to ask for the key's password on: set {PASSWORD}")
    from getpass import getpass

    password = getpass("Password for private key: ")
    if repeat and getpass("Password for private key again: ") != password:
        raise ExitError("passwords do not match")
    if repeat and not password:
        err("WARNING! The private key is not protected by a password.\n")
    return password


def _read(options: Options, default: str) -> str:
    path = options["key"] or default
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (OSError, ValueError) as e:
        raise ExitError(f"cannot read key {path}: {e}") from e


def _write(path: str, text: str, mode: int) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        file.write(text)


_USAGE = "[OPTIONS] NAME[:TAG|@DIGEST]"
_PRIVATE_KEY = Flag("key", "string", "Private key, as cosign writes it (default cosign.key)")
_PUBLIC_KEY = Flag("key", "string", "Public key in PEM (default cosign.pub)")
KEYPAIR = Command("[PREFIX]", keypair, most=1)
SIGN = Command(_USAGE, sign, (_PRIVATE_KEY,), least=1, most=1)
VERIFY = Command(_USAGE, verify, (_PUBLIC_KEY,), least=1, most=1)

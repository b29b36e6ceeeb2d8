"""Registry credentials in `config.json`, as Docker keeps them: `auths`, and helpers for `credsStore`."""

from __future__ import annotations

from corten.cli import reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from corten.cli.context import Context


def server_key(domain: str) -> str:
    """The key of a registry in the configuration: Docker Hub has its old index address."""
    hub = ("docker.io", "index.docker.io", "registry-1.docker.io")
    return reference.INDEX_SERVER if domain in hub else domain


def header(context: Context, domain: str) -> dict[str, str]:
    """The X-Registry-Auth header for a registry; empty without credentials for it."""
    auth = find(context.config(), server_key(domain))
    return {"X-Registry-Auth": encode(auth)} if auth else {}


def all_headers(context: Context) -> dict[str, str]:
    """The X-Registry-Config header of builds: every registry we have credentials for."""
    config = context.config()
    servers = {*(config.get("auths") or {}), *(config.get("credHelpers") or {}), *_in_store(config)}
    known = {server: auth for server in sorted(servers) if (auth := find(config, server))}
    return {"X-Registry-Config": encode(known)} if known else {}


def encode(document: object) -> str:
    """JSON in URL-safe base64, as the engine wants it in headers."""
    from binascii import b2a_base64

    from corten.client import jsontext

    text = b2a_base64(jsontext.dumps(document).encode(), newline=False).decode()
    return text.replace("+", "-").replace("/", "_")


def find(config: dict[str, Any], server: str) -> dict[str, str]:
    """Credentials for a server key: from its helper, the store, or the file; empty if there are none."""
    helper = helper_of(config, server)
    if helper and (stored := _from_helper(helper, server)):
        return stored
    auths = config.get("auths") or {}
    entry = auths.get(server) or auths.get(f"https://{server}") or auths.get(f"https://{server}/v1/")
    return _decode(entry, server) if entry else {}


def helper_of(config: dict[str, Any], server: str) -> str:
    """The name of the program that keeps a server's credentials; "" if the file does."""
    return str((config.get("credHelpers") or {}).get(server) or config.get("credsStore") or "")


def _in_store(config: dict[str, Any]) -> list[str]:
    """The servers that the store of all credentials knows."""
    store = config.get("credsStore")
    return list(_document(run_helper(store, "list", ""))) if store else []


def _document(answer: str | None) -> dict[str, str]:
    """What a helper said; empty if it failed, or said nothing that makes sense."""
    from corten.client import jsontext

    try:
        found = jsontext.loads(answer or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _decode(entry: dict[str, str], server: str) -> dict[str, str]:
    from binascii import Error, a2b_base64

    auth = {"serveraddress": server}
    for field in ("username", "password", "identitytoken", "registrytoken"):
        if entry.get(field):
            auth[field] = entry[field]
    if text := entry.get("auth"):
        try:
            user, _, password = a2b_base64(text).decode("utf-8", "replace").partition(":")
        except Error:
            return {}
        auth |= {"username": user, "password": password.rstrip("\0")}
    return auth if len(auth) > 1 else {}


def _from_helper(helper: str, server: str) -> dict[str, str]:
    """Ask `docker-credential-HELPER get` (docker-credential-helpers protocol: JSON on stdout)."""
    found = _document(run_helper(helper, "get", server))
    if not found:
        return {}
    user, secret = found.get("Username", ""), found.get("Secret", "")
    if user == "<token>":
        return {"identitytoken": secret, "serveraddress": server}
    return {"username": user, "password": secret, "serveraddress": server}


def run_helper(helper: str, action: str, text: str) -> str | None:
    """Run a credential helper with text on its stdin; its output, or None if it failed."""
    import subprocess

    try:
        done = subprocess.run(
            [f"docker-credential-{helper}", action], input=text.encode(), capture_output=True, check=False
        )
    except OSError:
        return None
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None

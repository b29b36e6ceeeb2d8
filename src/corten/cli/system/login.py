"""`corten login` and `corten logout`: credentials in Docker's config.json or its helpers."""

from __future__ import annotations

import os
import sys

from corten.cli import reference
from corten.cli.command import Command
from corten.cli.context import Context, err, out
from corten.cli.errors import ExitError
from corten.cli.flags import Flag, Options
from corten.cli.system import credentials
from corten.client import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def login(context: Context, options: Options, arguments: list[str]) -> int:
    """Have the engine check credentials, and keep them."""
    server = _server(arguments)
    user, password = _ask(options)
    auth = {"username": user, "password": password, "serveraddress": server}
    answer = context.engine.post("/auth", auth) or {}
    if token := answer.get("IdentityToken"):
        auth = {"username": "<token>", "identitytoken": token, "serveraddress": server}
    _store(context, server, auth)
    out(f"{answer.get('Status') or 'Login Succeeded'}\n")
    return 0


def logout(context: Context, _: Options, arguments: list[str]) -> int:
    """Forget the credentials of a registry."""
    server = _server(arguments)
    config = context.config()
    helper = credentials.helper_of(config, server)
    auths: dict[str, Any] = config.get("auths") or {}
    shown = server if arguments else credentials.server_key(reference.DEFAULT_DOMAIN)
    if server not in auths and not helper:
        out(f"Not logged in to {shown}\n")
        return 0
    out(f"Removing login credentials for {shown}\n")
    if helper:
        credentials.run_helper(helper, "erase", server)
    if auths.pop(server, None) is not None:
        _write(context, config)
    return 0


def _server(arguments: list[str]) -> str:
    """The key of the server named, Docker Hub's without one."""
    if not arguments:
        return reference.INDEX_SERVER
    name = arguments[0].removeprefix("https://").removeprefix("http://").rstrip("/")
    return credentials.server_key(name.partition("/")[0])


def _ask(options: Options) -> tuple[str, str]:
    user, password = options["username"], options["password"]
    if options.on("password-stdin"):
        if options.given("password"):
            raise ExitError("--password and --password-stdin are mutually exclusive")
        if not user:
            raise ExitError("Must provide --username with --password-stdin")
        return user, sys.stdin.read().removesuffix("\n").removesuffix("\r")
    if options.given("password"):
        err("WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n")
    if (not user or not password) and not os.isatty(0):
        raise ExitError("Error: Cannot perform an interactive login from a non TTY device")
    if not user:
        out("Username: ")
        user = sys.stdin.readline().strip()
    if not password:
        import getpass

        password = getpass.getpass("Password: ")
    if not user or not password:
        raise ExitError("Error: Non-null Username and password Required")
    return user, password


def _store(context: Context, server: str, auth: dict[str, str]) -> None:
    config = context.config()
    helper = credentials.helper_of(config, server)
    secret = auth.get("identitytoken") or auth.get("password", "")
    if helper:
        document = {"ServerURL": server, "Username": auth["username"], "Secret": secret}
        if credentials.run_helper(helper, "store", jsontext.dumps(document)) is None:
            raise ExitError(f"error storing credentials - docker-credential-{helper} failed")
        config.setdefault("auths", {}).setdefault(server, {})
    else:
        from binascii import b2a_base64

        entry = {"auth": b2a_base64(f"{auth['username']}:{secret}".encode(), newline=False).decode()}
        if "identitytoken" in auth:
            entry = {"identitytoken": auth["identitytoken"]}
        config.setdefault("auths", {})[server] = entry
        err(
            f"\nWARNING! Your credentials are stored unencrypted in '{context.config_folder}/config.json'.\n"
            "Configure a credential helper to remove this warning. See\n"
            "https://docs.docker.com/go/credential-store/\n\n"
        )
    _write(context, config)


def _write(context: Context, config: dict[str, Any]) -> None:
    """Replace the configuration in one step, readable for its owner only."""
    folder = context.config_folder
    path = f"{folder}/config.json"
    unfinished = f"{path}.{os.getpid()}.tmp"
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        fd = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(fd, "w", encoding="utf-8") as f:
            f.write(jsontext.dumps_indented(config, "\t"))
        os.rename(unfinished, path)
    except OSError as e:
        raise ExitError(f"Error saving credentials: {e.strerror}: {path}") from e


LOGIN = Command(
    "[OPTIONS] [SERVER]",
    login,
    (
        Flag("password", "string", "Password or Personal Access Token (PAT)", "p"),
        Flag("password-stdin", "bool", "Take the Password or Personal Access Token (PAT) from stdin"),
        Flag("username", "string", "Username", "u"),
    ),
    most=1,
)
LOGOUT = Command("[SERVER]", logout, most=1)

"""What a build is given besides its context: secrets, ssh agents, further contexts, entitlements.

Secrets and agents go into the prologue, a JSON document in front of the context's tar: nothing of them is in
the query, in a file of the context, or in a header that somebody might log.
"""

from __future__ import annotations

import os

from corten.cli.errors import ExitError
from corten.client import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from corten.cli.context import Context
    from corten.cli.flags import Options

_MAX_SECRET = 500 << 10  # BuildKit's limit
_REMOTE = ("http://", "https://", "git://", "ssh://", "git@", "docker-image://")


def prologue(context: Context, options: Options) -> bytes:
    """The document, b"" if there is nothing to say."""
    found: dict[str, object] = {}
    if items := options.items("secret"):
        import base64

        found["secrets"] = {name: base64.b64encode(data).decode() for name, data in map(_secret, items)}
    if items := options.items("ssh"):
        if not context.host.startswith("unix://"):
            raise ExitError("--ssh needs an engine on this machine")
        found["ssh"] = dict(map(_agent, items))
    return jsontext.dumps(found).encode() if found else b""


def _secret(item: str) -> tuple[str, bytes]:
    """`id=NAME[,src=FILE][,env=VARIABLE][,type=file|env]`: a file's content, or that of a variable."""
    fields = {}
    for part in item.split(","):
        key, equals, value = part.partition("=")
        if not equals:
            raise ExitError(f"invalid field '{part}' must be a key=value pair")
        fields[{"source": "src"}.get(key.lower(), key.lower())] = value
    if unknown := set(fields) - {"id", "src", "env", "type"}:
        raise ExitError(f"unexpected key '{min(unknown)}' in '{item}'")
    name, kind = fields.get("id", ""), fields.get("type", "")
    if not name:
        raise ExitError(f"failed to parse secret {item}: secret missing ID")
    if kind == "env" and "env" not in fields:
        fields["env"] = fields.pop("src", name)
    variable = fields.get("env", name if "src" not in fields and kind != "file" else "")
    if variable and variable in os.environ:
        return name, os.environb[os.fsencode(variable)]
    if "env" in fields:
        return name, b""
    path = fields.get("src", name)
    try:
        with open(path, "rb") as file:
            data = file.read(_MAX_SECRET + 1)
    except OSError as e:
        raise ExitError(f"failed to stat {path}: stat {path}: {(e.strerror or '').lower()}") from e
    if len(data) > _MAX_SECRET:
        raise ExitError(f"invalid secret size {os.path.getsize(path)}: exceeds {_MAX_SECRET}")
    return name, data


def _agent(item: str) -> tuple[str, str]:
    name, _, path = item.partition("=")
    path = path or os.environ.get("SSH_AUTH_SOCK", "")
    if not path:
        raise ExitError(f"invalid empty ssh agent socket: make sure SSH_AUTH_SOCK is set ({name})")
    if not os.path.exists(path):
        raise ExitError(f"failed to stat {path}: no such file or directory")
    return name or "default", os.path.realpath(path)


def with_prologue(document: bytes, body: bytes | Iterable[bytes]) -> Iterator[bytes]:
    """The body of the request."""
    yield document
    if isinstance(body, bytes):
        yield body
    else:
        yield from body


def named_contexts(options: Options) -> tuple[dict[str, str], dict[str, str]]:
    """`--build-context NAME=VALUE`: (what the query says of each, folders by their path in the tar)."""
    given: dict[str, str] = {}
    folders: dict[str, str] = {}
    for item in options.items("build-context"):
        name, equals, value = item.partition("=")
        if not (name and equals):
            raise ExitError(f"invalid context value: {item}, expected key=value")
        if value.startswith(_REMOTE) and not os.path.isdir(value):
            given[name] = value
            continue
        if not os.path.isdir(value):
            raise ExitError(f"failed to get build context {name}: stat {value}: no such file or directory")
        path = f".corten-context-{len(folders)}-{os.urandom(8).hex()}"
        given[name], folders[path] = f"local:{path}", os.path.realpath(value)
    return given, folders

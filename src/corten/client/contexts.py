"""Docker's contexts: named engines, in the layout that the docker CLI reads and writes.

    <config>/config.json                          currentContext
    <config>/contexts/meta/<sha256 of name>/meta.json     name, description, endpoint
    <config>/contexts/tls/<sha256 of name>/docker/        ca.pem cert.pem key.pem

Source: docker/cli, cli/context/store (the package's documentation).
"""

from __future__ import annotations

import os

from corten.client import jsontext
from corten.client.errors import ClientError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DEFAULT = "default"
_ENDPOINT = "docker"
TLS_FILES = ("ca.pem", "cert.pem", "key.pem")
_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.+-")


class NoSuchContext(ClientError):
    """No context has this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f'context "{name}": context not found: open {name}: no such file or directory')


class StoredContext:
    """One context. `document` is its meta.json, of which others may have more than we know."""

    def __init__(self, document: dict[str, Any], metadata_path: str, tls_path: str) -> None:
        self.document = document
        self.metadata_path = metadata_path
        self.tls_path = tls_path

    @property
    def name(self) -> str:
        """What it is called."""
        return str(self.document.get("Name") or "")

    @property
    def description(self) -> str:
        """What its user says about it."""
        return str((self.document.get("Metadata") or {}).get("Description") or "")

    @property
    def host(self) -> str:
        """The engine's address; "" if it has none."""
        return str(self._endpoint.get("Host") or "")

    @property
    def skip_verify(self) -> bool:
        """Whether the engine's certificate is not checked."""
        return bool(self._endpoint.get("SkipTLSVerify"))

    @property
    def _endpoint(self) -> dict[str, Any]:
        found = (self.document.get("Endpoints") or {}).get(_ENDPOINT)
        return found if isinstance(found, dict) else {}

    def tls_files(self) -> list[str]:
        """The names of its certificates."""
        return [name for name in TLS_FILES if os.path.exists(f"{self.tls_path}/{_ENDPOINT}/{name}")]

    def tls_file(self, name: str) -> str:
        """Where one of them is; "" if it has none."""
        path = f"{self.tls_path}/{_ENDPOINT}/{name}"
        return path if os.path.exists(path) else ""


class ContextStore:
    """The contexts below one configuration folder. `default` is none of them."""

    def __init__(self, folder: str) -> None:
        self._root = f"{folder}/contexts"

    def get(self, name: str) -> StoredContext:
        """One by name. Raises NoSuchContext, ClientError for a file that is none."""
        key = _key(name)
        path = f"{self._root}/meta/{key}"
        try:
            with open(f"{path}/meta.json", encoding="utf-8") as file:
                document = jsontext.loads(file.read())
        except FileNotFoundError:
            raise NoSuchContext(name) from None
        except (OSError, ValueError) as e:
            raise ClientError(f'context "{name}": {e}') from e
        if not isinstance(document, dict):
            raise ClientError(f'context "{name}": meta.json is no object')
        return StoredContext(document, path, f"{self._root}/tls/{key}")

    def has(self, name: str) -> bool:
        """Whether there is one of that name."""
        return os.path.exists(f"{self._root}/meta/{_key(name)}/meta.json")

    def all(self) -> list[StoredContext]:
        """All, by name; what cannot be read is left out."""
        try:
            keys = os.listdir(f"{self._root}/meta")
        except OSError:
            return []
        found = []
        for key in keys:
            try:
                with open(f"{self._root}/meta/{key}/meta.json", encoding="utf-8") as file:
                    name = str(jsontext.loads(file.read())["Name"])
                found.append(self.get(name))
            except (OSError, ValueError, KeyError, TypeError, ClientError):
                continue
        return sorted(found, key=lambda each: each.name)

    def save(self, document: dict[str, Any], certificates: dict[str, bytes]) -> None:
        """Make or replace one, with just these certificates (by the names in TLS_FILES). Raises OSError."""
        key = _key(str(document["Name"]))
        folder = f"{self._root}/meta/{key}"
        os.makedirs(folder, 0o755, exist_ok=True)
        tls = f"{self._root}/tls/{key}"
        _remove_tree(tls)
        for name, data in certificates.items():
            os.makedirs(f"{tls}/{_ENDPOINT}", 0o700, exist_ok=True)
            fd = os.open(f"{tls}/{_ENDPOINT}/{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with open(fd, "wb") as file:
                file.write(data)
        replace(f"{folder}/meta.json", jsontext.dumps(document))

    def certificates(self, context: StoredContext) -> dict[str, bytes]:
        """Its certificates by name."""
        found = {}
        for name in context.tls_files():
            with open(context.tls_file(name), "rb") as file:
                found[name] = file.read()
        return found

    def remove(self, name: str) -> None:
        """Remove one; no harm if there is none."""
        _remove_tree(f"{self._root}/meta/{_key(name)}")
        _remove_tree(f"{self._root}/tls/{_key(name)}")


def check_name(name: str) -> None:
    """Raise ClientError for a name that no context may have."""
    if not name:
        raise ClientError("context name cannot be empty")
    if name == DEFAULT:
        raise ClientError('"default" is a reserved context name')
    if not (name[0].isalnum() and len(name) > 1 and set(name) <= _NAME_CHARACTERS):
        raise ClientError(
            f'context name "{name}" is invalid, names are validated against regexp "{_PATTERN}"'
        )


_PATTERN = "^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$"


def document_of(name: str, description: str, host: str, *, skip_verify: bool) -> dict[str, Any]:
    """The meta.json of a context."""
    metadata = {"Description": description} if description else {}
    endpoint = {"Host": host, "SkipTLSVerify": skip_verify}
    return {"Name": name, "Metadata": metadata, "Endpoints": {_ENDPOINT: endpoint}}


def current(config_file: str) -> str:
    """The context that the configuration names; "" is the default one."""
    try:
        with open(config_file, encoding="utf-8") as file:
            text = file.read()
        if '"currentContext"' not in text:
            return ""
        value = jsontext.loads(text).get("currentContext")
    except (OSError, ValueError, AttributeError):
        return ""
    return value if isinstance(value, str) and value != DEFAULT else ""


def replace(path: str, text: str) -> None:
    """Write a file so that it is the old or the new one at any time. Raises OSError."""
    fresh = f"{path}.{os.getpid()}"
    with open(fresh, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(fresh, path)


def _key(name: str) -> str:
    from hashlib import sha256

    return sha256(name.encode("utf-8", "surrogateescape")).hexdigest()


def _remove_tree(path: str) -> None:
    for folder, folders, files in os.walk(path, topdown=False):
        for name in files:
            os.unlink(f"{folder}/{name}")
        for name in folders:
            os.rmdir(f"{folder}/{name}")
    if os.path.isdir(path):
        os.rmdir(path)

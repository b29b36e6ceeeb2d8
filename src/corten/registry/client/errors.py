"""What registries answer, in Docker's words.

RegistryError
├── Unreachable          no connection, or it broke
├── ManifestUnknown      404
├── RepositoryUnknown    404
├── AccessDenied         403 or 401 with credentials tried
└── BadResponse          it does not speak the protocol
"""

from __future__ import annotations

import msgspec

from corten.errors import CortenError, InternalError, NotFound, Unauthorized


class RegistryError(CortenError):
    """A registry refused or failed; the text says which code it gave.

    bare: it gave nothing but the code. Docker then says just that, without naming the image.
    temporary: the same request may succeed later.
    """

    bare = False
    temporary = False


class Unreachable(RegistryError, InternalError):
    """The registry could not be reached, or the connection broke."""

    temporary = True


class BadResponse(RegistryError, InternalError):
    """What came back is not the distribution protocol."""


class ManifestUnknown(RegistryError, NotFound):
    """The repository has no such tag or manifest."""


class RepositoryUnknown(RegistryError, NotFound):
    """The registry has no such repository."""


class AccessDenied(RegistryError, NotFound):
    """The repository is not for us, or not there: registries do not tell which (404 in Docker)."""


class AuthenticationFailed(RegistryError, Unauthorized):
    """Credentials are missing or were refused."""


class NoBasicCredentials(RegistryError, InternalError):
    """The registry wants a user name and a password, and there are none for it.

    Not Unauthorized: to that the docker CLI answers by asking for credentials of Docker Hub.
    """

    def __init__(self, asked: str = "") -> None:
        super().__init__(f"{asked}no basic auth credentials")


class _Detail(msgspec.Struct):
    code: str = ""
    message: str = ""
    detail: msgspec.Raw = msgspec.Raw(b"null")


class _Errors(msgspec.Struct):
    errors: list[_Detail] = []
    # Token servers and Docker Hub say it flat.
    details: str = ""
    message: str = ""


_BY_STATUS = {401: "UNAUTHORIZED", 403: "DENIED", 404: "NOT_FOUND", 429: "TOOMANYREQUESTS"}
_BY_CODE: dict[str, type[RegistryError]] = {
    "MANIFEST_UNKNOWN": ManifestUnknown,
    "NAME_UNKNOWN": RepositoryUnknown,
    "DENIED": AccessDenied,
    "UNAUTHORIZED": AuthenticationFailed,
}
_CANONICAL = {
    "BLOB_UNKNOWN": "blob unknown to registry",
    "DENIED": "requested access to the resource is denied",
    "MANIFEST_UNKNOWN": "manifest unknown",
    "NAME_UNKNOWN": "repository name not known to registry",
    "TOOMANYREQUESTS": "too many requests",
    "UNAUTHORIZED": "authentication required",
}
_SHOWN_BYTES = 200


def error_of(status: int, body: bytes) -> RegistryError:
    """The error for a response with this status; text `<code in words>: <message>` as Docker prints it."""
    error = _error_of(status, body)
    error.temporary = status == 429 or status >= 500
    return error


def _error_of(status: int, body: bytes) -> RegistryError:
    try:
        answer = msgspec.json.decode(body, type=_Errors)
    except (msgspec.DecodeError, RecursionError):
        answer = _Errors()
        if status not in _BY_STATUS:
            shown = body[:_SHOWN_BYTES].decode(errors="replace")
            return BadResponse(f'error parsing HTTP {status} response body: unexpected content: "{shown}"')
    first = answer.errors[0] if answer.errors else _Detail()
    code = first.code or _BY_STATUS.get(status, "UNKNOWN")
    message = first.message or answer.details or answer.message or _default_message(code)
    kind = _BY_CODE.get(code, RegistryError)
    if first.code and bytes(first.detail) == b"null" and first.message in ("", _CANONICAL.get(code)):
        # distribution, registry/api/errcode: such an error is read as its code alone.
        error = kind(code.lower().replace("_", " "))
        error.bare = True
        return error
    return kind(f"{code.lower().replace('_', ' ')}: {message}")


def _default_message(code: str) -> str:
    if code == "UNAUTHORIZED":
        return "authentication required"
    if code == "DENIED":
        return "requested access to the resource is denied"
    return "unknown error" if code == "UNKNOWN" else code.lower().replace("_", " ")

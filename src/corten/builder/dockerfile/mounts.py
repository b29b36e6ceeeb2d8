"""The value of `RUN --mount=type=...,...` (Dockerfile reference, "RUN --mount")."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from corten.builder.booleans import parse_bool
from corten.builder.dockerfile.errors import DockerfileError, suggest
from corten.builder.fields import comma_fields
from corten.errors import InvalidParameter
from corten.units import parse_binary_size

_ALIASES = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly", "rw": "readwrite"}
_ALLOWED = {
    "bind": ("from", "source", "target", "readonly", "readwrite"),
    "cache": ("from", "source", "target", "readonly", "readwrite", "id", "sharing", "mode", "uid", "gid"),
    "tmpfs": ("target", "size", "readonly", "readwrite"),
    "secret": ("target", "source", "id", "required", "mode", "uid", "gid", "env"),
    "ssh": ("target", "id", "required", "mode", "uid", "gid"),
}
_SHARING = ("shared", "private", "locked")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """One mount of a RUN. `source_from` is the stage, image or context of `from=`."""

    type: str = "bind"
    source_from: str = ""
    source: str = ""
    target: str = ""
    readonly: bool = True
    id: str = ""
    sharing: str = "shared"
    size_bytes: int = 0
    required: bool = False
    env: str = ""
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None


def parse_mount(value: str, expand: Callable[[str], str] = str) -> Mount:
    """Parse one `--mount` value. Raises DockerfileError.

    `expand` substitutes variables in each option's value, after the cutting at commas: what a variable holds
    adds no option.
    """
    try:
        fields = comma_fields(value)
    except InvalidParameter as error:
        raise DockerfileError(f"failed to parse csv mounts: {error}") from None
    options = [_option(field, expand) for field in fields]
    kind = next((content for key, content in options if key == "type"), "bind").lower()
    if kind not in _ALLOWED:
        raise DockerfileError(suggest(f'unsupported mount type "{kind}"', kind, sorted(_ALLOWED)))
    values: dict[str, str] = {}
    for field, (key, content) in zip(fields, options, strict=True):
        if key != "type" and key not in _ALLOWED[kind]:
            raise DockerfileError(_misplaced(key, field, kind))
        values[key] = content
    return _checked(_made(kind, values))


def _made(kind: str, values: dict[str, str]) -> Mount:
    readonly = kind == "bind"
    if "readonly" in values:
        readonly = _bool(values, "readonly")
    if "readwrite" in values:
        readonly = not _bool(values, "readwrite")
    sharing = values.get("sharing", "shared").lower()
    if sharing not in _SHARING:
        raise DockerfileError(suggest(f'unsupported sharing value "{sharing}"', sharing, _SHARING))
    return Mount(
        type=kind,
        source_from=values.get("from", ""),
        source=values.get("source", ""),
        target=values.get("target", ""),
        readonly=readonly,
        id=values.get("id", ""),
        sharing=sharing,
        size_bytes=_size(values),
        required=_bool(values, "required"),
        env=values.get("env", ""),
        mode=_number(values, "mode"),
        uid=_number(values, "uid"),
        gid=_number(values, "gid"),
    )


def _misplaced(key: str, field: str, kind: str) -> str:
    if key in ("mode", "uid", "gid"):
        return f'{key} not allowed for "{kind}" type mounts'
    if any(key in keys for keys in _ALLOWED.values()):
        return f"unexpected key '{key}' for mount type '{kind}'"
    known = sorted({key for keys in _ALLOWED.values() for key in keys} | set(_ALIASES))
    return suggest(f"unexpected key '{key}' in '{field}'", key, known)


def _option(field: str, expand: Callable[[str], str]) -> tuple[str, str]:
    key, equals, value = field.partition("=")
    key = key.strip().lower()
    key = _ALIASES.get(key, key)
    if not equals:
        if key not in ("readonly", "readwrite", "required"):
            raise DockerfileError(f"invalid field '{field}' must be a key=value pair")
        return key, "true"
    if "$" not in value:
        return key, value
    if key == "from":
        raise DockerfileError(f"'{key}' doesn't support variable expansion, define alias stage instead")
    return key, expand(value)


def _size(values: dict[str, str]) -> int:
    text = values.get("size", "0")
    try:
        return parse_binary_size(text)
    except ValueError:
        raise DockerfileError(f"invalid value for size: {text}") from None


def _number(values: dict[str, str], key: str) -> int | None:
    text = values.get(key)
    if text is None:
        return None
    base, bound = (8, 0o10000) if key == "mode" else (10, 1 << 32)
    digits = "01234567" if base == 8 else "0123456789"
    if not text or text.strip(digits) or int(text[:16], base) >= bound:
        raise DockerfileError(f"invalid value {text} for {key}")
    return int(text[:16], base)


def _bool(values: dict[str, str], key: str) -> bool:
    text = values.get(key, "false")
    value = parse_bool(text)
    if value is None:
        raise DockerfileError(f"invalid value for {key}: {text}")
    return value


def _checked(mount: Mount) -> Mount:
    if mount.type == "secret":
        return _checked_secret(mount)
    if mount.type == "ssh":
        return replace(mount, id=mount.id or "default")
    if mount.type == "cache":
        return replace(mount, id=mount.id or mount.target)
    return mount


def _checked_secret(mount: Mount) -> Mount:
    """`id` defaults to the last part of the target and the other way round (reference, "secret")."""
    if mount.id and mount.source:
        raise DockerfileError("both source and id can't be set")
    identifier = mount.id or mount.source or mount.target.rpartition("/")[2]
    if not identifier:
        raise DockerfileError("invalid secret mount. one of source, target required")
    target = mount.target or ("" if mount.env else f"/run/secrets/{identifier.rpartition('/')[2]}")
    return replace(mount, id=identifier, target=target)

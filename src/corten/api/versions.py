"""What older clients expect of answers: the only place that knows it.

Handlers speak the newest documents. A client says its version in the path (`/v1.43/...`); the table
below names, per document, what differs before a version. Most clients are touched by no row and get
the Struct encoded as it is. What requests mean is in `requestversions`.

Source: moby's API version history (docs/api/version-history.md), 1.24 to 1.51.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final, cast

import msgspec

from corten.errors import InvalidParameter
from corten.types.container import ContainerInspect, ContainerSummary
from corten.types.image import ImageInspect, ImageSummary
from corten.types.network import Network
from corten.types.system import DiskUsage, Info

Version = tuple[int, int]

MIN_VERSION: Final[Version] = (1, 24)
MAX_VERSION: Final[Version] = (1, 51)
MIN_VERSION_TEXT: Final = "1.24"
MAX_VERSION_TEXT: Final = "1.51"


class VersionTooOld(InvalidParameter):
    """The client speaks an API that we no longer know."""

    def __init__(self, version: str) -> None:
        super().__init__(
            f"client version {version} is too old. Minimum supported API version is {MIN_VERSION_TEXT}, "
            "please upgrade your client to a newer version"
        )


class VersionTooNew(InvalidParameter):
    """The client speaks an API that we do not know yet."""

    def __init__(self, version: str) -> None:
        super().__init__(
            f"client version {version} is too new. Maximum supported API version is {MAX_VERSION_TEXT}"
        )


@lru_cache(maxsize=256)
def parse_version(text: str) -> Version:
    """The version of `1.43`. Raises InvalidParameter outside of 1.24 ... 1.51."""
    major, dot, minor = text.partition(".")
    if not (dot and text.isascii() and major.isdigit() and minor.isdigit() and len(text) < 12):
        raise InvalidParameter(f"malformed API version: {text}")
    version = (int(major), int(minor))
    if version < MIN_VERSION:
        raise VersionTooOld(text)
    if version > MAX_VERSION:
        raise VersionTooNew(text)
    return version


# ------------------------------------------------------------ answers

Json = dict[str, object]
Edit = Callable[[Json], None]


def add(path: str, value: object) -> Edit:
    """Add a member that is not in newer versions."""

    def edit(document: Json) -> None:
        for parent, name in _members(document, path):
            parent.setdefault(name, value)

    return edit


def drop(path: str) -> Edit:
    """Take out a member that older versions do not have."""

    def edit(document: Json) -> None:
        for parent, name in _members(document, path):
            parent.pop(name, None)

    return edit


def copy(source: str, target: str) -> Edit:
    """Tell a member also under its former name."""

    def edit(document: Json) -> None:
        document.setdefault(target, document.get(source))

    return edit


def _members(document: Json, path: str) -> list[tuple[Json, str]]:
    """The objects that hold the last name of a path `A.*.B`, where * is each member of a map or list."""
    *parents, name = path.split(".")
    found: list[object] = [document]
    for parent in parents:
        below: list[object] = []
        for value in found:
            if parent == "*":
                below += value.values() if isinstance(value, dict) else cast(list[object], value or [])
            elif isinstance(value, dict):
                below.append(value.get(parent))
        found = below
    return [(cast(Json, value), name) for value in found if isinstance(value, dict)]


def _alias_names(document: Json) -> None:
    """Before 1.45 short id and host name were among the aliases on networks that users made."""
    settings = cast(dict[str, dict[str, Json]], document["NetworkSettings"])
    own = [str(document["Id"])[:12], str(cast(Json, document["Config"])["Hostname"])]
    for network, endpoint in settings["Networks"].items():
        if network not in ("bridge", "host", "none"):
            aliases = cast(list[str], endpoint.get("Aliases") or [])
            endpoint["Aliases"] = list(dict.fromkeys([*aliases, *filter(None, own)]))


def _named_none(document: Json) -> None:
    """Before 1.43 an image without names was called <none>."""
    if not document["RepoTags"] and not document["RepoDigests"]:
        document["RepoTags"], document["RepoDigests"] = ["<none>:<none>"], ["<none>@<none>"]


def _containers_not_counted(document: Json) -> None:
    document["Containers"] = -1


def _created_ever(document: Json) -> None:
    document["Created"] = document.get("Created") or "0001-01-01T00:00:00Z"


def _expected_commits(document: Json) -> None:
    """Before 1.49 the commits that were expected were told, too: always those that were found."""
    for name in ("ContainerdCommit", "RuncCommit", "InitCommit"):
        commit = cast(Json, document[name])
        commit["Expected"] = commit["ID"]


def _name_security_options(document: Json) -> None:
    """Before 1.25 security options were names, not key=value lists."""
    options = cast(list[str], document.get("SecurityOptions") or [])
    document["SecurityOptions"] = [o.split(",")[0].removeprefix("name=") for o in options]


_EMPTY_CONFIG: Json = {
    "Hostname": "",
    "Domainname": "",
    "User": "",
    "AttachStdin": False,
    "AttachStdout": False,
    "AttachStderr": False,
    "Tty": False,
    "OpenStdin": False,
    "StdinOnce": False,
    "Env": None,
    "Cmd": None,
    "Image": "",
    "Volumes": None,
    "WorkingDir": "",
    "Entrypoint": None,
    "OnBuild": None,
    "Labels": None,
}


def _full_image_config(document: Json) -> None:
    """Before 1.50 an image's configuration had all members of a container's."""
    config = cast(Json | None, document.get("Config"))
    document["Config"] = {**_EMPTY_CONFIG, **(config or {})}


ANSWERS: Final[Sequence[tuple[type, Version, Edit]]] = (
    # document, versions before this one, what they see instead
    (ContainerInspect, (1, 48), drop("ImageManifestDescriptor")),
    (ContainerInspect, (1, 48), drop("NetworkSettings.Networks.*.GwPriority")),
    (ContainerInspect, (1, 45), _alias_names),
    (ContainerInspect, (1, 44), drop("NetworkSettings.Networks.*.DNSNames")),
    (ContainerInspect, (1, 43), drop("HostConfig.Annotations")),
    (ContainerInspect, (1, 41), drop("HostConfig.CgroupnsMode")),
    (ContainerSummary, (1, 48), drop("ImageManifestDescriptor")),
    (ContainerSummary, (1, 48), drop("NetworkSettings.Networks.*.GwPriority")),
    (ContainerSummary, (1, 46), drop("HostConfig.Annotations")),
    (ContainerSummary, (1, 44), drop("NetworkSettings.Networks.*.DNSNames")),
    (ImageInspect, (1, 50), _full_image_config),
    (ImageInspect, (1, 48), drop("Descriptor")),
    (ImageInspect, (1, 45), add("Container", "")),
    (ImageInspect, (1, 45), add("ContainerConfig", _EMPTY_CONFIG)),
    (ImageInspect, (1, 44), copy("Size", "VirtualSize")),
    (ImageInspect, (1, 44), _created_ever),
    (ImageSummary, (1, 51), _containers_not_counted),
    (ImageSummary, (1, 48), drop("Descriptor")),
    (ImageSummary, (1, 44), copy("Size", "VirtualSize")),
    (ImageSummary, (1, 43), _named_none),
    (Network, (1, 48), drop("EnableIPv4")),
    (DiskUsage, (1, 44), lambda document: _virtual_sizes(document)),
    (DiskUsage, (1, 42), add("BuilderSize", 0)),
    (Info, (1, 50), add("BridgeNfIptables", False)),
    (Info, (1, 50), add("BridgeNfIp6tables", False)),
    (Info, (1, 49), drop("FirewallBackend")),
    (Info, (1, 49), add("RegistryConfig.AllowNondistributableArtifactsCIDRs", None)),
    (Info, (1, 49), add("RegistryConfig.AllowNondistributableArtifactsHostnames", None)),
    (Info, (1, 49), _expected_commits),
    (Info, (1, 39), drop("Warnings")),
    (Info, (1, 25), _name_security_options),
)


def _virtual_sizes(document: Json) -> None:
    for image in cast(list[Json], document.get("Images") or []):
        image.setdefault("VirtualSize", image.get("Size"))


@lru_cache(maxsize=512)
def _edits(document: type, version: Version) -> tuple[Edit, ...]:
    return tuple(edit for kind, before, edit in ANSWERS if kind is document and version < before)


_encode = msgspec.json.Encoder().encode


def encode(document: msgspec.Struct, version: Version) -> bytes:
    """The document as JSON, as a client of that version expects it."""
    edits = _edits(type(document), version)
    if not edits:
        return _encode(document)
    return _encode(_edited(document, edits))


def encode_all(documents: Sequence[msgspec.Struct], version: Version) -> bytes:
    """A list of documents of one kind."""
    edits = _edits(type(documents[0]), version) if documents else ()
    if not edits:
        return _encode(documents)
    return _encode([_edited(document, edits) for document in documents])


def _edited(document: msgspec.Struct, edits: Sequence[Edit]) -> Json:
    plain = cast(Json, msgspec.to_builtins(document))
    for edit in edits:
        edit(plain)
    return plain


def shows_event(kind: str, action: str, version: Version) -> bool:
    """Whether clients of a version are told of an event: an image's creation is told since 1.46."""
    return version >= (1, 46) or (kind, action) != ("image", "create")

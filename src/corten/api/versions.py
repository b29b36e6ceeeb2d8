"""What older clients expect: the only place that knows it.

Handlers speak the newest documents. A client says its version in the path (`/v1.43/...`); the tables
below name, per document, what differs before a version. Most clients are touched by no row and get
the Struct encoded as it is.

Source: moby's API version history (docs/api/version-history.md), 1.24 to 1.51.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final, cast

import msgspec

from corten.errors import InvalidParameter
from corten.types.container import ContainerInspect, ContainerSummary, CreateRequest
from corten.types.exec import ExecStartConfig
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


def _alias_short_id(document: Json) -> None:
    """Before 1.45 the short id was among the aliases on networks that users made."""
    settings = cast(dict[str, dict[str, Json]], document["NetworkSettings"])
    short = str(document["Id"])[:12]
    for network, endpoint in settings["Networks"].items():
        aliases = cast(list[str], endpoint.get("Aliases") or [])
        if network not in ("bridge", "host", "none") and short not in aliases:
            endpoint["Aliases"] = [*aliases, short]


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
    (ContainerInspect, (1, 45), _alias_short_id),
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
    (ImageSummary, (1, 48), drop("Descriptor")),
    (ImageSummary, (1, 44), copy("Size", "VirtualSize")),
    (Network, (1, 48), drop("EnableIPv4")),
    (DiskUsage, (1, 44), lambda document: _virtual_sizes(document)),
    (DiskUsage, (1, 42), add("BuilderSize", 0)),
    (Info, (1, 50), add("BridgeNfIptables", False)),
    (Info, (1, 50), add("BridgeNfIp6tables", False)),
    (Info, (1, 49), drop("FirewallBackend")),
    (Info, (1, 49), add("RegistryConfig.AllowNondistributableArtifactsCIDRs", None)),
    (Info, (1, 49), add("RegistryConfig.AllowNondistributableArtifactsHostnames", None)),
    (Info, (1, 47), add("KernelMemory", True)),
    (Info, (1, 44), add("ContainerdCommit.Expected", "")),
    (Info, (1, 44), add("RuncCommit.Expected", "")),
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


# ------------------------------------------------------------ requests


def adapt_create(request: CreateRequest, version: Version) -> None:
    """Make of a container create request what its version meant by it."""
    host = request.host_config
    assert host is not None
    if host.memory_swappiness == -1:
        host.memory_swappiness = None  # how the CLI says that it was not given
    if version >= (1, 42):
        host.kernel_memory = 0
    else:
        host.console_size = (0, 0)
        host.annotations = host.annotations if version >= (1, 43) else None
    if version < (1, 44):
        _before_1_44(request)
    if version < (1, 41) and not host.cgroupns_mode:
        host.cgroupns_mode = "host"
    if version < (1, 40):
        host.pids_limit = None
        if not host.ipc_mode:
            host.ipc_mode = "shareable"
    elif host.pids_limit is not None and host.pids_limit <= 0:
        host.pids_limit = None  # 0 and -1 both mean unlimited


def _before_1_44(request: CreateRequest) -> None:
    assert request.host_config is not None
    if request.healthcheck is not None:
        request.healthcheck.start_interval = 0
    for mount in request.host_config.mounts or ():
        if mount.bind_options is not None:
            mount.bind_options.read_only_non_recursive = False
            mount.bind_options.read_only_force_recursive = False
    endpoints = request.networking_config and request.networking_config.endpoints_config
    if endpoints and len(endpoints) > 1:
        names = ", ".join(endpoints)
        raise InvalidParameter(f"Container cannot be connected to network endpoints: {names}")


def adapt_exec_start(config: ExecStartConfig, version: Version) -> None:
    """Make of an exec start request what its version meant by it."""
    if version < (1, 42):
        config.console_size = None

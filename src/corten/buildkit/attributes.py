"""The attributes of a build by the Dockerfile frontend (`dockerfile.v0`), as values.

Source: moby/buildkit, frontend/dockerui/config.go and attr.go (names and forms).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from corten.builder.args import proxy_variables
from corten.builder.attest.options import AttestOptions, parse_attestations
from corten.builder.booleans import parse_bool
from corten.builder.cachetransfer.options import CachePlace, parse_place
from corten.builder.epoch import BUILD_ARG, parse_epoch
from corten.builder.fields import comma_fields
from corten.errors import InvalidParameter
from corten.platforms import Platform, parse_platform
from corten.types.container import Ulimit
from corten.types.operations import BuildLimits

DEFAULT_DOCKERFILE = "Dockerfile"
BODY = "http://buildkit-body/"
"""The context of a build whose request has a body: that."""

_ATTEST = "BUILDKIT_ATTEST_"
_NETWORKS = {"": "default", "default": "default", "none": "none", "host": "host"}


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontendOptions:
    """What the client asks of the Dockerfile frontend.

    `context`: a URL, or "" = the client's directory `context_name`; `contexts`: named ones, by name;
    `no_cache`: names of stages, () = all of them, None = none. `sessions`: by name of directory.
    """

    filename: str = DEFAULT_DOCKERFILE
    target: str = ""
    context: str = ""
    context_name: str = "context"
    dockerfile_name: str = "dockerfile"
    build_args: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    platforms: tuple[Platform, ...] = ()
    multi_platform: bool = False
    no_cache: tuple[str, ...] | None = None
    pull: bool = False
    network: str = "default"
    extra_hosts: tuple[str, ...] = ()
    limits: BuildLimits = field(default_factory=BuildLimits)
    contexts: Mapping[str, str] = field(default_factory=dict)
    input_metadata: Mapping[str, str] = field(default_factory=dict)
    sessions: Mapping[str, str] = field(default_factory=dict)
    cache_from: tuple[CachePlace, ...] = ()
    request: str = ""
    source: str = ""
    command_line: str = ""

    @property
    def proxies(self) -> dict[str, str]:
        """Build arguments that are proxy settings: for commands only."""
        return proxy_variables(self.build_args)

    @property
    def epoch_ns(self) -> int | None:
        """SOURCE_DATE_EPOCH. Raises InvalidParameter."""
        return parse_epoch(self.build_args.get(BUILD_ARG, ""))


def parse_attributes(attributes: Mapping[str, str]) -> FrontendOptions:
    """Read the attributes. Raises InvalidParameter, NotSupported."""
    if not attributes:
        return FrontendOptions()  # of a client that drives its build itself
    groups = _grouped(attributes)
    build_args = groups.get("build-arg", {})
    platforms = tuple(parse_platform(text) for text in _list(attributes.get("platform", "")))
    network = attributes.get("force-network-mode", "")
    if network not in _NETWORKS:
        raise InvalidParameter(f"invalid network mode {network!r}")
    multi = attributes.get("multi-platform") or build_args.get("BUILDKIT_MULTI_PLATFORM", "")
    return FrontendOptions(
        filename=attributes.get("filename") or DEFAULT_DOCKERFILE,
        target=attributes.get("target", ""),
        context=attributes.get("context", ""),
        context_name=attributes.get("contextkey") or "context",
        dockerfile_name=attributes.get("dockerfilekey") or "dockerfile",
        build_args=build_args,
        labels=groups.get("label", {}),
        platforms=tuple(dict.fromkeys(platforms)),
        multi_platform=_boolean(multi, "multi-platform") or len(platforms) > 1,
        no_cache=tuple(_list(attributes["no-cache"])) if "no-cache" in attributes else None,
        pull=attributes.get("image-resolve-mode") == "pull",
        network=_NETWORKS[network],
        extra_hosts=tuple(_host(text) for text in _list(attributes.get("add-hosts", ""))),
        limits=_limits(attributes),
        contexts=groups.get("context", {}),
        input_metadata=groups.get("input-metadata", {}),
        sessions=groups.get("local-sessionid", {}),
        cache_from=(
            *_cache_imports(attributes.get("cache-imports", "")),
            *map(parse_place, _list(attributes.get("cache-from", ""))),
        ),
        request=attributes.get("requestid", ""),
        source=attributes.get("source", ""),
        command_line=attributes.get("cmdline", ""),
    )


class _Entry(msgspec.Struct):
    """Go's encoding of a CacheOptionsEntry."""

    type: str = msgspec.field(default="", name="Type")
    attrs: dict[str, str] | None = msgspec.field(default=None, name="Attrs")


def _cache_imports(text: str) -> list[CachePlace]:
    """As the frontend's attribute `cache-imports` names them. Raises InvalidParameter."""
    try:
        found = msgspec.json.decode(text or "null", type=list[_Entry] | None)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidParameter(f"failed to unmarshal cache-imports: {error}") from error
    return [CachePlace(each.type, each.attrs or {}) for each in found or ()]


def attestations(attributes: Mapping[str, str]) -> AttestOptions:
    """What is to be attested. Raises InvalidParameter."""
    groups = _grouped(attributes)
    asked = groups.get("attest", {})
    for name, text in groups.get("build-arg", {}).items():
        if name.startswith(_ATTEST):
            asked[name.removeprefix(_ATTEST).lower()] = text
    return parse_attestations(asked)


def _limits(attributes: Mapping[str, str]) -> BuildLimits:
    return BuildLimits(
        memory_bytes=_number(attributes, "memory"),
        memory_swap_bytes=_number(attributes, "memswap"),
        cpu_shares=_number(attributes, "cpushares"),
        cpu_period_us=_number(attributes, "cpuperiod"),
        cpu_quota_us=_number(attributes, "cpuquota"),
        cpuset_cpus=attributes.get("cpusetcpus", ""),
        cpuset_mems=attributes.get("cpusetmems", ""),
        cgroup_parent=attributes.get("cgroup-parent", ""),
        shm_size_bytes=_number(attributes, "shm-size"),
        ulimits=[_ulimit(text) for text in _list(attributes.get("ulimit", ""))],
    )


def _grouped(attributes: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """The attributes `GROUP:NAME` by group and name."""
    groups: dict[str, dict[str, str]] = {}
    for key, value in attributes.items():
        group, colon, name = key.partition(":")
        if colon:
            groups.setdefault(group, {})[name] = value
    return groups


def _list(text: str) -> list[str]:
    """A list of values, comma separated, quoted where they hold commas."""
    return [word.strip() for word in comma_fields(text) if word.strip()]


def _number(attributes: Mapping[str, str], name: str) -> int:
    text = attributes.get(name, "")
    if not text:
        return 0
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal() and len(digits) < 19):
        raise InvalidParameter(f"invalid {name}: {text}")
    return int(text)


def _boolean(text: str, name: str) -> bool:
    value = parse_bool(text) if text else False
    if value is None:
        raise InvalidParameter(f"invalid boolean value for {name}: {text}")
    return value


def _host(text: str) -> str:
    """`name=address` → as `docker run --add-host` has it."""
    name, separator, address = text.partition("=")
    if not (name and separator and address):
        raise InvalidParameter(f"invalid key-value pair: {text}")
    return f"{name}:{address}"


def _ulimit(text: str) -> Ulimit:
    name, _, values = text.partition("=")
    soft, _, hard = values.partition(":")
    try:
        return Ulimit(name=name, soft=int(soft), hard=int(hard or soft))
    except ValueError:
        raise InvalidParameter(f"invalid ulimit: {text}") from None


def decode_config_metadata(text: str) -> bytes:
    """The image config in the value of an `input-metadata:` attribute, b"" if there is none."""
    try:
        document = msgspec.json.decode(text, type=dict[str, bytes])
    except msgspec.MsgspecError as error:
        raise InvalidParameter(f"invalid input metadata: {error}") from error
    return document.get("containerimage.config", b"")

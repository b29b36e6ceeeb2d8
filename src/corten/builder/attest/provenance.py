"""SLSA provenance of a build's result, as BuildKit fills it in.

`mode=min` tells what the result was made of; `mode=max` also how: arguments, ids of secrets, steps, the
Dockerfile, which step made which layer. With SOURCE_DATE_EPOCH the times are that one, and the id of the
invocation follows from what was asked for: the same build has the same provenance.

Source: slsa.dev/spec/v1.1/provenance and v0.2; moby/buildkit, docs/attestations/slsa-definitions.md.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import msgspec

from corten.builder.attest.llb import Steps, steps_of, walk
from corten.builder.attest.materials import Materials
from corten.builder.attest.options import V02, ProvenanceOptions
from corten.builder.attest.purl import image_url
from corten.builder.credentials import redacted
from corten.builder.graph import Exec, SecretMount, SshMount, Vertex
from corten.digest import Digest, algorithm_of, digest_of, hex_of
from corten.images.claims import Claim
from corten.oci.image import Descriptor
from corten.platforms import host_platform
from corten.reference import InvalidReference
from corten.units import format_time

Json: TypeAlias = "dict[str, Any]"

PREDICATE_V1 = "https://slsa.dev/provenance/v1"
PREDICATE_V02 = "https://slsa.dev/provenance/v0.2"
_BUILD_TYPE_V1 = "https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md"
_BUILD_TYPE_V02 = "https://mobyproject.org/buildkit@v1"
_METADATA_V02 = "https://mobyproject.org/buildkit@v1#metadata"
# What says something of the client's machine or of this one, not of the result.
_LEFT_OUT = ("cgroup-parent", "image-resolve-mode", "platform", "cache-imports", "context", "filename")
_LEFT_OUT_PREFIXES = ("attest:", "build-arg:BUILDKIT_ATTEST_", "local-sessionid:", "vcs:")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The Dockerfile; `places`: the lines (first, last) of a step by its vertex' digest."""

    filename: str
    data: bytes
    language: str = "Dockerfile"
    places: Mapping[Digest, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a client has asked for. `arguments`: the frontend's attributes. `invocation`: the build's id."""

    frontend: str
    arguments: Mapping[str, str]
    invocation: str
    epoch_ns: int | None = None
    source: Source | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One platform's. `layers_of`: diff ids of a vertex's layers, lowest first, None = it was not done."""

    root: Vertex
    diff_ids: Sequence[str]
    layers_of: Callable[[Vertex], Sequence[str] | None]


def provenance(request: Request, result: Result, materials: Materials, options: ProvenanceOptions) -> Claim:
    """The provenance of one result as a claim; it has ended when it is asked for first."""
    made: dict[tuple[str, ...], bytes] = {}

    def predicate(layers: Sequence[Descriptor]) -> bytes:
        key = tuple(layer.digest for layer in layers)
        if key not in made:
            made[key] = msgspec.json.encode(_predicate(request, result, materials, options, layers))
        return made[key]

    return Claim(
        predicate_type=PREDICATE_V02 if options.version == V02 else PREDICATE_V1,
        predicate=predicate,
        filename=options.filename,
        inline_only=options.inline_only,
    )


def _predicate(
    request: Request,
    result: Result,
    materials: Materials,
    options: ProvenanceOptions,
    layers: Sequence[Descriptor],
) -> Json:
    found = _v1(request, result, materials, options, layers)
    return _as_v02(found) if options.version == V02 else found


def _v1(
    request: Request,
    result: Result,
    materials: Materials,
    options: ProvenanceOptions,
    layers: Sequence[Descriptor],
) -> Json:
    everything = options.mode == "max"
    steps = steps_of(result.root) if everything else None
    arguments, complete = _arguments(request.arguments, everything=everything)
    asked: Json = {"frontend": request.frontend, "args": arguments}
    if everything:
        asked |= _given(result.root)
    names = set() if materials.context else {*materials.directories}
    asked["locals"] = [{"name": name} for name in sorted(names)]
    internal: Json = {"builderPlatform": str(host_platform())}
    if steps is not None:
        internal["buildConfig"] = _config(steps)
    return {
        "buildDefinition": {
            "buildType": _BUILD_TYPE_V1,
            "externalParameters": {
                "configSource": _config_source(request.arguments, materials),
                "request": _filled(asked),
            },
            "internalParameters": internal,
            "resolvedDependencies": _dependencies(materials),
        },
        "runDetails": {
            "builder": {"id": options.builder_id},
            "metadata": {
                **_times(request, result, materials),
                "buildkit_metadata": _metadata(request, result, steps, layers),
                **({"buildkit_reproducible": True} if options.reproducible else {}),
                **({"buildkit_hermetic": True} if _is_hermetic(result.root, names) else {}),
                "buildkit_completeness": {
                    "request": complete and bool(request.frontend),
                    "resolvedDependencies": not names,
                },
            },
        },
    }


def _times(request: Request, result: Result, materials: Materials) -> Json:
    if request.epoch_ns is None:
        return {
            "invocationId": request.invocation,
            "startedOn": format_time(materials.started_ns),
            "finishedOn": format_time(time.time_ns()),
        }
    # Not of the graph: clients' directories have other names in it each time.
    same = digest_of(msgspec.json.encode([list(result.diff_ids), sorted(request.arguments.items())]))
    moment = format_time(request.epoch_ns)
    return {"invocationId": hex_of(same)[:25], "startedOn": moment, "finishedOn": moment}


def _arguments(arguments: Mapping[str, str], *, everything: bool) -> tuple[dict[str, str], bool]:
    """Those that are told, and whether that is all."""
    complete = True
    told = {}
    for name, value in sorted(arguments.items()):
        if name in _LEFT_OUT or name.startswith(_LEFT_OUT_PREFIXES):
            continue
        if not everything and name.startswith(("build-arg:", "label:")):
            complete = False
            continue
        told[name] = redacted(value)
    return told, complete


def _given(root: Vertex) -> Json:
    """The ids of secrets and agents that commands could use."""
    secrets: dict[str, bool] = {}
    agents: dict[str, bool] = {}
    for vertex in walk(root):
        for mount in vertex.op.mounts if isinstance(vertex.op, Exec) else ():
            if isinstance(mount, SecretMount):
                secrets[mount.id] = secrets.get(mount.id, False) or mount.required
            elif isinstance(mount, SshMount):
                agents[mount.id] = agents.get(mount.id, False) or mount.required
    return {
        kind: [
            {"id": each, **({} if required else {"optional": True})}
            for each, required in sorted(found.items())
        ]
        for kind, found in (("secrets", secrets), ("ssh", agents))
    }


def _config_source(arguments: Mapping[str, str], materials: Materials) -> Json:
    found: Json = {}
    if materials.context:
        found["uri"] = materials.context
        digest = materials.repositories.get(materials.context) or materials.urls.get(materials.context)
        if digest:
            found["digest"] = _digest_set(digest)
    found["path"] = arguments.get("filename") or "Dockerfile"
    return found


def _dependencies(materials: Materials) -> list[Json]:
    images: dict[str, Json] = {}
    for (reference, platform), pin in materials.images.items():
        with suppress(InvalidReference):  # an id is no name
            uri = image_url(reference, platform)
            images[uri] = {"uri": uri, **({"digest": _digest_set(pin)} if pin else {})}
    others = {**materials.repositories, **materials.urls}
    return [
        *(images[uri] for uri in sorted(images)),
        *({"uri": uri, "digest": _digest_set(digest)} for uri, digest in sorted(others.items())),
    ]


def _digest_set(digest: str) -> dict[str, str]:
    """`sha256:...`, or the id of a commit."""
    if ":" in digest:
        return {algorithm_of(Digest(digest)): hex_of(digest)}
    return {"sha256" if len(digest) == 64 else "sha1": digest}


def _is_hermetic(root: Vertex, directories: set[str]) -> bool:
    return not directories and all(
        vertex.op.network == "none" for vertex in walk(root) if isinstance(vertex.op, Exec)
    )


def _config(steps: Steps) -> Json:
    return {"llbDefinition": steps.definition, "digestMapping": steps.digests}


def _metadata(request: Request, result: Result, steps: Steps | None, layers: Sequence[Descriptor]) -> Json:
    found: Json = {}
    vcs = {
        name.removeprefix("vcs:"): redacted(value)
        for name, value in sorted(request.arguments.items())
        if name.startswith("vcs:") and value
    }
    if vcs:
        found["vcs"] = vcs
    if steps is None:
        return found
    if request.source is not None:
        found["source"] = _source(request.source, steps)
    if made := _layers(result, steps, layers):
        found["layers"] = made
    return found


def _source(source: Source, steps: Steps) -> Json:
    locations = {
        steps.names[digest]: {
            "locations": [{"ranges": [{"start": {"line": first}, "end": {"line": last}}]}],
        }
        for digest, (first, last) in source.places.items()
        if digest in steps.names and first
    }
    info = {
        "filename": source.filename,
        "language": source.language,
        "data": base64.b64encode(source.data).decode(),
    }
    return {"locations": locations, "infos": [info]}


def _layers(result: Result, steps: Steps, layers: Sequence[Descriptor]) -> Json:
    """Of each step whose layers are among the result's: how they are called where they have gone."""
    if len(layers) != len(result.diff_ids):
        return {}
    found: Json = {}
    for vertex in walk(result.root):
        if vertex.digest not in steps.names:
            continue
        diff_ids = result.layers_of(vertex)
        if diff_ids and list(diff_ids) == list(result.diff_ids[: len(diff_ids)]):
            found[f"{steps.names[vertex.digest]}:0"] = [list(layers[: len(diff_ids)])]
    return found


def _as_v02(found: Json) -> Json:
    definition, details = found["buildDefinition"], found["runDetails"]
    external, internal = definition["externalParameters"], definition["internalParameters"]
    source = {{"path": "entryPoint"}.get(key, key): value for key, value in external["configSource"].items()}
    metadata = details["metadata"]
    complete = metadata["buildkit_completeness"]
    return {
        "builder": details["builder"],
        "buildType": _BUILD_TYPE_V02,
        "materials": definition["resolvedDependencies"],
        "invocation": {
            "configSource": source,
            "parameters": external["request"],
            "environment": {"platform": internal["builderPlatform"]},
        },
        **({"buildConfig": internal["buildConfig"]} if "buildConfig" in internal else {}),
        "metadata": {
            "buildInvocationID": metadata["invocationId"],
            "buildStartedOn": metadata["startedOn"],
            "buildFinishedOn": metadata["finishedOn"],
            "completeness": {
                "parameters": complete["request"],
                "environment": True,
                "materials": complete["resolvedDependencies"],
            },
            "reproducible": metadata.get("buildkit_reproducible", False),
            _METADATA_V02: metadata["buildkit_metadata"],
        },
    }


def _filled(found: Json) -> Json:
    return {key: value for key, value in found.items() if value}

"""A build's graph as provenance shows it: steps in BuildKit's form, each with the steps it works on.

The form is that of pb.Op as Go's encoding/json writes it, because that is what readers decode.
Source: moby/buildkit, solver/pb/ops.proto and json.go.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec

from corten.builder.credentials import redacted
from corten.builder.graph import (
    SCRATCH,
    Action,
    BindMount,
    CacheMount,
    CopyAction,
    Diff,
    Exec,
    File,
    GitSource,
    HttpSource,
    ImageSource,
    InlineSource,
    LocalSource,
    Merge,
    MkdirAction,
    MkfileAction,
    Mount,
    Op,
    Output,
    RemoveAction,
    SecretMount,
    SshMount,
    SymlinkAction,
    TmpfsMount,
    Vertex,
)
from corten.digest import Digest, digest_of
from corten.reference import shown_image

Json: TypeAlias = "dict[str, Any]"

_NETWORKS = {"host": 1, "none": 2}
_SECRET, _SSH, _CACHE, _TMPFS = 1, 2, 3, 4
_SHARING = {"shared": 0, "private": 1, "locked": 2}


@dataclass(frozen=True, slots=True)
class Steps:
    """The steps, inputs first, and the name of each by its vertex' digest, and by its own.

    Digests of vertexes differ from build to build where clients' directories are below them; those of steps
    as they are shown do not.
    """

    definition: list[Json]
    names: Mapping[Digest, str]

    @property
    def digests(self) -> dict[str, str]:
        """Names by the digest of what is shown of a step."""
        return {digest_of(msgspec.json.encode(step)): step["id"] for step in self.definition}


def steps_of(root: Vertex) -> Steps:
    """The graph below `root`; the last step only says that `root` is the result."""
    order = [vertex for vertex in walk(root) if not _is_shown_within(vertex)]
    names = {vertex.digest: f"step{number}" for number, vertex in enumerate(order)}
    definition = [
        _filled({"id": names[vertex.digest], "op": {"Op": _op(vertex)}, "inputs": _inputs(vertex, names)})
        for vertex in order
    ]
    if root != SCRATCH:
        definition.append({"id": f"step{len(order)}", "op": {"Op": {}}, "inputs": [_edge(root, names)]})
    return Steps(definition, names)


def walk(root: Vertex) -> Iterable[Vertex]:
    """All vertexes below and `root` itself, each once, inputs first."""
    found: dict[Digest, Vertex] = {}
    waiting = [(root, False)]
    while waiting:
        vertex, ready = waiting.pop()
        if vertex.digest in found:
            continue
        if ready:
            found[vertex.digest] = vertex
            continue
        waiting.append((vertex, True))
        waiting += [(each, False) for each in reversed(vertex.inputs)]
    return found.values()


def _is_shown_within(vertex: Vertex) -> bool:
    """`scratch` is no step, and a further result of a command is an output of that."""
    return vertex == SCRATCH or isinstance(vertex.op, Output)


def _edge(vertex: Vertex, names: Mapping[Digest, str]) -> str:
    if isinstance(vertex.op, Output):
        return f"{names[vertex.inputs[0].digest]}:{vertex.op.number + 1}"
    return f"{names[vertex.digest]}:0"


def _inputs(vertex: Vertex, names: Mapping[Digest, str]) -> list[str]:
    return list(dict.fromkeys(_edge(each, names) for each in vertex.inputs if each != SCRATCH))


def _positions(vertex: Vertex) -> list[int]:
    """Of each input its place among those that are steps, -1 = scratch."""
    edges: dict[tuple[str, int], int] = {}
    found = []
    for each in vertex.inputs:
        if each == SCRATCH:
            found.append(-1)
            continue
        key = (each.inputs[0].digest, each.op.number + 1) if isinstance(each.op, Output) else (each.digest, 0)
        found.append(edges.setdefault(key, len(edges)))
    return found


def _op(vertex: Vertex) -> Json:
    op = vertex.op
    if isinstance(op, Exec):
        return {"exec": _exec(op, _positions(vertex))}
    if isinstance(op, File):
        return {"file": {"actions": _actions(op, _positions(vertex))}}
    if isinstance(op, InlineSource):
        return {"file": {"actions": _heredocs(op)}}
    if isinstance(op, Merge):
        return {"merge": {"inputs": [_filled({"input": each}) for each in _positions(vertex)]}}
    if isinstance(op, Diff):
        lower, upper = (_filled({"input": each}) for each in _positions(vertex))
        return {"diff": {"lower": lower, "upper": upper}}
    return {"source": _source(op, vertex.name)}


def _source(op: Op, name: str) -> Json:
    if isinstance(op, ImageSource):
        scheme = "" if "://" in name else "docker-image://"
        return {"identifier": redacted(name) if not scheme else f"{scheme}{shown_image(name)}"}
    if isinstance(op, HttpSource):
        attributes = {"http.filename": op.filename, "http.checksum": op.checksum}
        return _filled({"identifier": redacted(op.url), "attrs": _filled(attributes)})
    if isinstance(op, GitSource):
        fragment = f"#{op.ref}:{op.subdir}" if op.subdir else f"#{op.ref}" if op.ref else ""
        remote = redacted(op.remote)
        attributes = {
            "git.fullurl": remote,
            "git.checksum": op.checksum,
            "git.keepgitdir": "true" if op.keep_git_dir else "",
            "git.skipsubmodules": "" if op.submodules else "true",
        }
        identifier = f"git://{remote.partition('://')[2] or remote}{fragment}"
        return {"identifier": identifier, "attrs": _filled(attributes)}
    assert isinstance(op, LocalSource)
    return {"identifier": name if name.startswith("local://") else f"local://{_directory(name)}"}


def _directory(label: str) -> str:
    """`[internal] load build context`, `[context NAME] load from client` → the directory's name."""
    if label.startswith("[context "):
        return label.removeprefix("[context ").partition("]")[0]
    return "context"


def command_of(vertex: Vertex) -> Json:
    """A command alone, with all that it takes to run it again: nothing of it is masked."""
    op = vertex.op
    assert isinstance(op, Exec)
    found = _exec(op, _positions(vertex))
    found["meta"]["env"] = list(op.env)
    return found


def shown_mounts(op: Exec) -> list[Mount]:
    """Those besides the root that are mounts; secrets may be mere variables."""
    return [each for each in op.mounts if not isinstance(each, SecretMount) or each.target]


def _exec(op: Exec, inputs: list[int]) -> Json:
    meta = {
        "args": list(op.args),
        "env": [redacted(item) for item in op.env],
        "cwd": op.cwd,
        "user": op.user,
        "hostname": op.hostname,
        "extraHosts": [
            {"Host": host, "IP": address} for host, _, address in (h.partition(":") for h in op.extra_hosts)
        ],
        "validExitCodes": list(op.exit_codes),
    }
    root = {"input": inputs[0], "dest": "/", "readonly": op.readonly_root}
    kept = 0
    mounts = [_filled(root)]
    for mount in shown_mounts(op):
        kept += isinstance(mount, BindMount) and mount.kept
        mounts.append(_mount(mount, inputs, kept))
    secrets = [
        _filled({"ID": mount.id, "name": mount.env, "optional": not mount.required})
        for mount in op.mounts
        if isinstance(mount, SecretMount) and mount.env
    ]
    return _filled(
        {
            "meta": _filled(meta),
            "mounts": mounts,
            "network": _NETWORKS.get(op.network, 0),
            "security": int(op.security == "insecure"),
            "secretenv": secrets,
            "cdiDevices": [_filled({"name": d.name, "optional": not d.required}) for d in op.devices],
        }
    )


def _mount(mount: Mount, inputs: list[int], kept: int) -> Json:
    if isinstance(mount, BindMount):
        output = kept if mount.kept else -1
        return _filled(
            {
                "input": inputs[mount.input],
                "selector": mount.source.strip("/"),
                "dest": mount.target,
                "output": output,
                "readonly": mount.readonly,
            }
        )
    found: Json = {"input": -1, "dest": mount.target, "output": -1}
    if isinstance(mount, CacheMount):
        found["input"] = -1 if mount.input is None else inputs[mount.input]
        found["selector"] = mount.source.strip("/")
        found["readonly"] = mount.readonly
        found["mountType"] = _CACHE
        found["cacheOpt"] = _filled({"ID": mount.id, "sharing": _SHARING.get(mount.sharing, 0)})
    elif isinstance(mount, TmpfsMount):
        found["mountType"] = _TMPFS
        found["TmpfsOpt"] = _filled({"size": mount.size_bytes})
    else:
        secret = isinstance(mount, SecretMount)
        found["mountType"] = _SECRET if secret else _SSH
        found["secretOpt" if secret else "SSHOpt"] = _owned(mount)
    return _filled(found)


def _owned(mount: SecretMount | SshMount) -> Json:
    return _filled(
        {
            "ID": mount.id,
            "uid": mount.uid,
            "gid": mount.gid,
            "mode": mount.mode,
            "optional": not mount.required,
        }
    )


def _actions(op: File, inputs: list[int]) -> list[Json]:
    """Each action works on what the one before has left: the first on the first input."""
    steps = max(inputs) + 1
    found = []
    parts = [(action, source) for action in op.actions for source in _parts(action)]
    for number, (action, source) in enumerate(parts):
        last = number == len(parts) - 1
        found.append(
            {
                "input": inputs[0] if number == 0 else steps + number - 1,
                "secondaryInput": inputs[action.input] if isinstance(action, CopyAction) else -1,
                "output": 0 if last else -1,
                "Action": _action(action, source),
            }
        )
    return found


def _parts(action: Action) -> tuple[str, ...]:
    return action.sources if isinstance(action, CopyAction) else ("",)


def _action(action: Action, source: str) -> Json:
    stamp = -1 if isinstance(action, RemoveAction) or action.time_ns is None else action.time_ns
    if isinstance(action, CopyAction):
        return {
            "copy": _filled(
                {
                    "src": source,
                    "dest": action.destination,
                    "owner": _owner(action.owner),
                    "mode": int(action.mode, 8) if action.mode.isdecimal() else -1,
                    "modeStr": "" if action.mode.isdecimal() else action.mode,
                    "followSymlink": action.follow,
                    "dirCopyContents": action.contents,
                    "attemptUnpackDockerCompatibility": action.unpack,
                    "createDestPath": True,
                    "allowWildcard": True,
                    "allowEmptyWildcard": action.may_find_nothing,
                    "exclude_patterns": list(action.exclude),
                    "timestamp": stamp,
                }
            )
        }
    if isinstance(action, MkdirAction):
        return {
            "mkdir": _filled(
                {
                    "path": action.path,
                    "mode": action.mode,
                    "makeParents": action.parents,
                    "owner": _owner(action.owner),
                    "timestamp": stamp,
                }
            )
        }
    if isinstance(action, MkfileAction):
        return {"mkfile": _mkfile(action.path, action.mode, action.content, _owner(action.owner), stamp)}
    if isinstance(action, SymlinkAction):
        return {"symlink": _filled({"oldpath": action.target, "newpath": action.path, "timestamp": stamp})}
    return {
        "rm": _filled(
            {"path": action.path, "allowNotFound": action.missing_ok, "allowWildcard": action.wildcard}
        )
    }


def _mkfile(path: str, mode: int, content: bytes, owner: Json, stamp: int) -> Json:
    data = base64.b64encode(content).decode()
    return _filled({"path": path, "mode": mode, "data": data, "owner": owner, "timestamp": stamp})


def _heredocs(op: InlineSource) -> list[Json]:
    return [
        {
            "input": number - 1,
            "secondaryInput": -1,
            "output": 0 if number == len(op.files) - 1 else -1,
            "Action": {
                "mkfile": _mkfile(
                    f"/{file.name}", file.mode, file.content.encode(errors="surrogateescape"), {}, -1
                )
            },
        }
        for number, file in enumerate(op.files)
    ]


def _owner(text: str) -> Json:
    if not text:
        return {}
    parts = zip(("user", "group"), text.split(":", 1), strict=False)
    return {
        part: {
            "User": {"byName": {"name": name, "input": 0}} if not _is_id(name) else {"byId": int(name or 0)}
        }
        for part, name in parts
    }


def _is_id(name: str) -> bool:
    """Of an owner: a number, or nothing at all, which is root."""
    return not name or (name.isascii() and name.isdecimal())


def _filled(found: Json) -> Json:
    """As Go's omitempty has it."""
    return {key: value for key, value in found.items() if value}

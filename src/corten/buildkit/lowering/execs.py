"""ExecOp: a command, with all that can be mounted for it."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence

from corten.builder.entitlements import check_entitlements
from corten.builder.graph import (
    BindMount,
    CacheMount,
    Device,
    Exec,
    Mount,
    Output,
    SecretMount,
    SshMount,
    TmpfsMount,
    Vertex,
)
from corten.builder.image import env_with_path
from corten.buildkit.lowering.inputs import input_of
from corten.buildkit.lowering.roots import has_mere_files, rooted
from corten.buildkit.proto import llb_pb2 as pb
from corten.errors import InvalidParameter, NotSupported

_NETWORKS = {0: "default", 1: "host", 2: "none"}
_SECURITY = {0: "sandbox", 1: "insecure"}
_SHARING = {0: "shared", 1: "private", 2: "locked"}
_BIND, _SECRET, _SSH, _CACHE, _TMPFS = range(5)


def lower_exec(
    op: pb.ExecOp, inputs: Sequence[Vertex], granted: frozenset[str], *, fresh: bool
) -> Mapping[int, Vertex]:
    """What the command leaves in its root and other mounts, by output. Raises Forbidden, NotSupported."""
    root = next((mount for mount in op.mounts if mount.dest == "/"), None)
    if root is None or root.type != _BIND or root.selector:
        raise InvalidParameter("invalid definition: a command without a root mount")
    used = [rooted(input_of(inputs, root.input))]
    cwd = op.meta.cwd or "/"
    mounts: list[Mount] = []
    kept: list[int] = []
    for mount in op.mounts:
        if mount is root:
            continue
        mounts.append(_mount(mount, cwd, inputs, used))
        if mount.output >= 0:
            kept.append(mount.output)
    mounts += [SecretMount(id=each.id, env=each.name, required=not each.optional) for each in op.secret_env]
    lowered = _command(op, mounts, readonly_root=root.readonly)
    check_entitlements(lowered, granted)
    vertex = Vertex(op=lowered, inputs=tuple(used), name=" ".join(lowered.args)[:1024], ignore_cache=fresh)
    outputs = {
        index: Vertex(op=Output(number=number), inputs=(vertex,), name=vertex.name)
        for number, index in enumerate(kept)
    }
    return {root.output: vertex, **outputs} if root.output >= 0 else {-1: vertex, **outputs}


def _command(op: pb.ExecOp, mounts: Sequence[Mount], *, readonly_root: bool) -> Exec:
    meta = op.meta
    if meta.ulimits or meta.cgroup_parent:
        raise NotSupported("ulimits and cgroup_parent of single commands are not supported")
    if not meta.args:
        raise InvalidParameter("invalid definition: a command without arguments")
    try:
        network, security = _NETWORKS[op.network], _SECURITY[op.security]
    except KeyError:
        raise NotSupported("a network or security mode of the definition is not supported") from None
    return Exec(
        args=tuple(meta.args),
        env=tuple(env_with_path([*meta.env, *_proxies(meta)])),
        cwd=meta.cwd or "/",
        user=meta.user,
        network=network,
        mounts=tuple(mounts),
        security=security,
        devices=tuple(Device(name=each.name, required=not each.optional) for each in op.devices),
        hostname=meta.hostname,
        extra_hosts=tuple(f"{each.host}:{each.ip}" for each in meta.extra_hosts),
        readonly_root=readonly_root,
        exit_codes=tuple(meta.exit_codes),
    )


def _proxies(meta: pb.Meta) -> list[str]:
    proxy = meta.proxy_env
    values = {
        "HTTP_PROXY": proxy.http_proxy,
        "HTTPS_PROXY": proxy.https_proxy,
        "FTP_PROXY": proxy.ftp_proxy,
        "NO_PROXY": proxy.no_proxy,
        "ALL_PROXY": proxy.all_proxy,
    }
    return [f"{each}={value}" for name, value in values.items() if value for each in (name, name.lower())]


def _mount(mount: pb.Mount, cwd: str, inputs: Sequence[Vertex], used: list[Vertex]) -> Mount:
    target = mount_target(mount, cwd)
    if mount.type == _TMPFS:
        return TmpfsMount(target=_checked(target), size_bytes=mount.tmpfs.size)
    if mount.type == _SECRET:
        secret = mount.secret
        return SecretMount(
            id=secret.id,
            target=_checked(target or f"/run/secrets/{secret.id}"),
            required=not secret.optional,
            mode=secret.mode & 0o777 or 0o400,
            uid=secret.uid,
            gid=secret.gid,
        )
    if mount.type == _SSH:
        ssh = mount.ssh
        return SshMount(
            id=ssh.id or "default",
            target=target,
            required=not ssh.optional,
            mode=ssh.mode & 0o777 or 0o600,
            uid=ssh.uid,
            gid=ssh.gid,
        )
    source = posixpath.normpath(posixpath.join("/", mount.selector))
    if mount.type == _CACHE:
        return CacheMount(
            id=mount.cache.id or target,
            target=_checked(target),
            sharing=_SHARING.get(mount.cache.sharing, "shared"),
            readonly=mount.readonly,
            input=_used(mount.input, inputs, used) if mount.input >= 0 else None,
            source=source,
        )
    if mount.type != _BIND:
        raise NotSupported("a mount of the definition is of a kind that is not supported")
    kept = mount.output >= 0
    number = _used(mount.input, inputs, used)
    if kept and has_mere_files(used[number]):
        raise NotSupported("a command cannot keep what it changes in files of a source: copy them first")
    return BindMount(
        input=number,
        source=source,
        target=_checked(target),
        readonly=mount.readonly and not kept,
        kept=kept,
    )


def mount_target(mount: pb.Mount, cwd: str) -> str:
    """Where it is, absolute; "" = at the usual place of its kind."""
    return posixpath.normpath(posixpath.join("/", cwd, mount.dest)) if mount.dest else ""


def _used(number: int, inputs: Sequence[Vertex], used: list[Vertex]) -> int:
    used.append(input_of(inputs, number))
    return len(used) - 1


def _checked(target: str) -> str:
    if target.strip("/") == "":
        raise InvalidParameter("invalid definition: a mount upon the root")
    return target

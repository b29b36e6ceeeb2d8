"""LLBBridge.NewContainer and the processes in it, in the builder's words."""

from __future__ import annotations

from collections.abc import Callable

from corten.builder.entitlements import check_entitlements
from corten.builder.executor import ProcessSpec
from corten.builder.graph import Exec, Vertex
from corten.builder.image import env_with_path
from corten.builder.session import Settings
from corten.buildkit.lowering.execs import lower_exec, mount_target
from corten.buildkit.proto import gateway_pb2 as gateway
from corten.buildkit.proto import llb_pb2 as pb
from corten.errors import InvalidParameter

_NOTHING = -1
_INSECURE = 1


def lower_container(
    request: gateway.NewContainerRequest, find: Callable[[str], Vertex], granted: frozenset[str]
) -> Vertex:
    """A command without arguments, with the container's root and mounts. Nothing of it is kept.

    find: what a reference stands for. Raises Forbidden, InvalidParameter, NotFound, NotSupported.
    """
    inputs: list[Vertex] = []
    mounts = []
    for each in request.mounts:
        mount = pb.Mount()
        mount.CopyFrom(each)
        mount.input = mount.output = _NOTHING
        if each.result_id:
            inputs.append(find(each.result_id))
            mount.input = len(inputs) - 1
        mounts.append(mount)
    meta = pb.Meta(args=["container"], extra_hosts=request.extra_hosts, hostname=request.hostname)
    op = pb.ExecOp(meta=meta, mounts=mounts, network=request.network)
    [vertex] = lower_exec(op, inputs, granted, fresh=True).values()
    return vertex


def mount_targets(request: gateway.NewContainerRequest) -> list[str]:
    """Where the container has what the client has named to be mounted, in its order."""
    return [mount_target(each, "/") for each in request.mounts]


async def lower_process(init: gateway.InitMessage, settings: Settings) -> ProcessSpec:
    """A process as an executor takes it. Raises Forbidden, InvalidParameter."""
    meta = init.meta
    if not meta.args:
        raise InvalidParameter("a process without arguments")
    privileged = init.security == _INSECURE
    if privileged:
        check_entitlements(Exec(args=tuple(meta.args), security="insecure"), settings.entitlements)
    env = env_with_path(meta.env)
    for secret in init.secret_env:
        content = await settings.find_secret(secret.id)
        if content is not None:
            env.append(f"{secret.name}={content.decode(errors='surrogateescape')}")
        elif not secret.optional:
            raise InvalidParameter(f"secret {secret.id}: not found")
    return ProcessSpec(
        args=tuple(meta.args),
        env=env,
        cwd=meta.cwd or "/",
        user=meta.user,
        privileged=privileged,
        terminal=init.tty,
        stdin=0 in init.fds,
    )

"""RUN: a command in a container over the root, whose upperdir becomes the layer."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from corten.builder.blocking import run_job
from corten.builder.cachemounts import Beginning
from corten.builder.copies import escape_pattern
from corten.builder.entitlements import check_entitlements
from corten.builder.executor import AgentSocket, BindDirectory, ExecMount, ExecSpec, SecretFile, Tmpfs
from corten.builder.goquote import go_quote
from corten.builder.graph import BindMount, CacheMount, Exec, Mount, SecretMount, SshMount, TmpfsMount
from corten.builder.keys import mounted_content
from corten.builder.ops.step import Step
from corten.builder.results import Directory, Result
from corten.builder.work import Running
from corten.errors import CortenError, InvalidParameter
from corten.ids import new_id
from corten.linux.openat2 import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, open_beneath, open_in_root
from corten.snapshots.stubs import RUNTIME_TARGETS
from corten.types.progress import StreamFailure

_WRONG_MACHINE = "exec format error"
_EMULATORS = (
    "it is no program for this machine, and for those of other platforms no emulator is registered with "
    "binfmt_misc (Debian: qemu-user-static)"
)


class CommandFailed(StreamFailure):
    """A RUN has ended with an exit code other than 0."""


class NotStarted(InvalidParameter):
    """The command of a RUN is not to be had, or its user. `buildkits`: as BuildKit says it."""

    def __init__(self, error: CortenError, op: Exec) -> None:
        super().__init__(str(error))
        why = str(error).rpartition("unable to start container process: ")[2]
        why = why.removeprefix("error during container init: ")
        self.buildkits = f"process {go_quote(' '.join(op.args))} did not complete successfully: {why}"


@asynccontextmanager
async def prepared(step: Step, op: Exec) -> AsyncIterator[tuple[ExecSpec, list[str]]]:
    """The command as an executor takes it, and the directories of its kept mounts.

    Its cache mounts are held for the block. Raises Forbidden, InvalidParameter (a secret is missing).
    """
    settings = step.session.settings
    check_entitlements(op, settings.entitlements)
    env = dict(item.partition("=")[::2] for item in op.env)
    env = {**settings.hidden_env, **env}
    kept = {
        mount: await _copied(step, step.inputs[mount.input], "/", step.session.new_directory("kept"))
        for mount in op.mounts
        if isinstance(mount, BindMount) and mount.kept
    }
    async with AsyncExitStack() as held:
        mounts = [mount for each in op.mounts if (mount := await _mount(step, each, held, kept))]
        agents = await _agents(op, step)
        if agents:
            env.setdefault("SSH_AUTH_SOCK", agents[0].target)
        mounts += agents
        env.update(await _secret_env(op, step))
        yield (
            ExecSpec(
                id=new_id(),
                build=step.session.name,
                args=op.args,
                env=[f"{name}={value}" for name, value in env.items()],
                cwd=op.cwd,
                user=op.user,
                lower=step.lower,
                upper=step.upper.upper,
                work=step.upper.work,
                network=op.network,
                extra_hosts=[*settings.extra_hosts, *op.extra_hosts],
                hostname=op.hostname,
                readonly_root=op.readonly_root,
                mounts=mounts,
                limits=settings.limits,
                privileged=op.security == "insecure",
                devices=op.devices,
            ),
            list(kept.values()),
        )


async def run_command(step: Step, op: Exec) -> list[str]:
    """Run the command; the directories of its kept mounts, whose content is to become layers.

    Raises CommandFailed, and what the executor raises if it cannot be started.
    """
    async with prepared(step, op) as (spec, kept):
        step.work.tell(Running(spec.id))
        try:
            code = await step.executor.run(spec, step.work.output)
        except CortenError as error:
            if _WRONG_MACHINE in str(error):
                raise InvalidParameter(f"{error}: {_EMULATORS}") from error
            raise NotStarted(error, op) from error
    if code not in (op.exit_codes or (0,)):
        raise CommandFailed(f"The command '{' '.join(op.args)}' returned a non-zero code: {code}", code=code)
    await _remove_stubs(step, [*RUNTIME_TARGETS, *(mount.target for mount in spec.mounts)])
    return kept


async def _secret_env(op: Exec, step: Step) -> dict[str, str]:
    env = {}
    for mount in op.mounts:
        if isinstance(mount, SecretMount) and mount.env:
            content = await step.session.settings.find_secret(mount.id)
            if content is not None:
                env[mount.env] = content.decode(errors="surrogateescape")
    return env


async def _agents(op: Exec, step: Step) -> list[AgentSocket]:
    sockets: list[AgentSocket] = []
    for mount in op.mounts:
        if not isinstance(mount, SshMount):
            continue
        serve = await step.session.settings.find_agent(mount.id)
        if serve is None:
            if mount.required:
                raise InvalidParameter(f"unset ssh forward key {mount.id}")
            continue
        target = mount.target or f"/run/buildkit/ssh_agent.{len(sockets)}"
        sockets.append(AgentSocket(target=target, serve=serve, mode=mount.mode, uid=mount.uid, gid=mount.gid))
    return sockets


async def _mount(
    step: Step, mount: Mount, held: AsyncExitStack, kept: Mapping[BindMount, str]
) -> ExecMount | None:
    if isinstance(mount, TmpfsMount):
        return Tmpfs(target=mount.target, size_bytes=mount.size_bytes)
    if isinstance(mount, SecretMount):
        return await _secret(step, mount)
    if isinstance(mount, SshMount):
        return None  # see _agents
    if isinstance(mount, CacheMount):
        beginning = await _beginning(step, mount)
        path = await held.enter_async_context(step.cache_mounts.use(mount, beginning))
        return BindDirectory(source=path, target=mount.target, readonly=mount.readonly)
    if mount.kept:
        path = _inside(Directory(kept[mount]), mount.source)
    else:
        path = await _bound(step, mount)
    return BindDirectory(source=path, target=mount.target, readonly=mount.readonly)


async def _secret(step: Step, mount: SecretMount) -> SecretFile | None:
    content = await step.session.settings.find_secret(mount.id)
    if content is None:
        if mount.required:
            raise InvalidParameter(f"secret {mount.id}: not found")
        return None
    if not mount.target:
        return None
    return SecretFile(target=mount.target, content=content, mode=mount.mode, uid=mount.uid, gid=mount.gid)


async def _bound(step: Step, mount: BindMount) -> str:
    """A host path of what a bind mount shows: the context's own files, or a copy that may be spoilt."""
    result = step.inputs[mount.input]
    if isinstance(result, Directory) and mount.readonly:
        return _inside(result, mount.source)
    target = step.session.new_directory("bind")
    return await _copied(step, result, mount.source, target)


def _inside(directory: Directory, source: str) -> str:
    """The real path of `source`, whose symlinks must not lead out of the directory."""
    root = os.open(directory.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fd = open_in_root(root, source, os.O_PATH)
    except OSError as error:
        why = "not found" if isinstance(error, FileNotFoundError) else (error.strerror or "").lower()
        raise InvalidParameter(f'failed to compute cache key: "{source}": {why}') from error
    finally:
        os.close(root)
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)


async def _copied(step: Step, result: Result, source: str, target: str) -> str:
    params = {
        "tree": step.tree(result),
        "mountpoint": step.session.mountpoint,
        "source": escape_pattern(source),
        "target": target,
    }
    try:
        await run_job(step.workers, "corten.builder.jobs:materialize", params)
    except (CortenError, OSError) as error:
        raise InvalidParameter(f"cannot mount {source}: {error}") from error
    return os.path.join(target, "source")


async def _beginning(step: Step, mount: CacheMount) -> Beginning | None:
    """What a new cache directory begins as, if that is to be a copy of another root's files."""
    if mount.input is None:
        return None
    result = step.inputs[mount.input]

    async def copy() -> str:
        return await _copied(step, result, mount.source, step.session.new_directory("cache"))

    return Beginning(await mounted_content(step.session, step.workers, result, mount.source), copy)


async def _remove_stubs(step: Step, targets: Sequence[str]) -> None:
    """Take out of the layer what was made only to mount things on."""
    if not os.listdir(step.upper.upper):
        return
    upper = os.open(step.upper.upper, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        made = [target for target in targets if _exists(upper, target)]
    finally:
        os.close(upper)
    if made:
        params = {
            "lower": list(step.lower),
            "upper": step.upper.upper,
            "targets": made,
            "mountpoint": step.session.mountpoint,
        }
        await run_job(step.workers, "corten.builder.jobs:remove_stubs", params)


def _exists(upper: int, target: str) -> bool:
    try:
        flags = os.O_PATH | os.O_NOFOLLOW
        os.close(
            open_beneath(upper, target.lstrip("/"), flags, resolve=RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)
        )
    except OSError:
        return False
    return True

"""RUN → an Exec vertex."""

from __future__ import annotations

import posixpath

from corten.builder.args import CACHE_NAMESPACE, HOSTNAME
from corten.builder.dockerfile import mounts as syntax
from corten.builder.dockerfile.devices import parse_device
from corten.builder.dockerfile.errors import DockerfileError
from corten.builder.dockerfile.instructions import Run
from corten.builder.dockerfile.lexer import parse_heredoc
from corten.builder.entitlements import check_entitlements
from corten.builder.graph import (
    VOLUME,
    BindMount,
    CacheMount,
    Exec,
    InlineFile,
    InlineSource,
    Mount,
    SecretMount,
    SshMount,
    TmpfsMount,
    Vertex,
)
from corten.builder.sources import FindSource
from corten.builder.stage import StageState
from corten.errors import NotSupported

INLINE = "[internal] preparing inline document"
SCRIPTS = "/dev/pipes"  # where a heredoc that begins with #! is found by RUN


async def run(
    state: StageState,
    instruction: Run,
    find: FindSource,
    *,
    network: str,
    granted: frozenset[str],
    fresh: bool,
) -> Vertex:
    """The vertex of a RUN; it becomes the stage's root. Raises DockerfileError, Forbidden.

    `network`: what `--network=default` means in this build. `granted`: its entitlements. `fresh`: do not use
    the cache.
    """
    inputs = [state.root]
    mounts = [await _mount(state, text, find, inputs) for text in instruction.mounts]
    args, script = _command(state, instruction)
    if script is not None:
        mounts.append(BindMount(input=len(inputs), source="/", target=SCRIPTS))
        inputs.append(Vertex(op=InlineSource(files=(script,)), name=INLINE))
    op = Exec(
        args=tuple(args),
        env=tuple(f"{name}={value}" for name, value in state.variables.items()),
        cwd=state.workdir,
        user=state.image.config.user,
        network=network if instruction.network == "default" else instruction.network,
        mounts=tuple(mounts),
        security=instruction.security,
        hostname=state.build_args.given(HOSTNAME) or "",
        devices=tuple(parse_device(state.expand(text)) for text in instruction.devices),
    )
    check_entitlements(op, granted)  # here too, because a cached result would otherwise need none
    state.root = Vertex(op=op, inputs=tuple(inputs), name=instruction.text, ignore_cache=fresh)
    state.image = state.image.committed(_created_by(args, state), layer=True)
    return state.root


def _created_by(args: list[str], state: StageState) -> str:
    shown = [f"{name}={state.variables.get(name, '')}" for name in state.args]
    prefix = f"|{len(shown)} {' '.join(shown)} " if shown else ""
    return f"RUN {prefix}{' '.join(args)} # buildkit"


def _command(state: StageState, instruction: Run) -> tuple[list[str], InlineFile | None]:
    """The arguments, and the script file if the whole command is one heredoc that begins with `#!`.

    Other heredocs are left to the shell, which knows them just as well.
    """
    command = instruction.command
    if command.exec_form or not instruction.heredocs:
        return state.command(command), None
    text = command.args[0]
    first = instruction.heredocs[0]
    if len(instruction.heredocs) == 1 and parse_heredoc(text.strip(), state.escape) is not None:
        if first.content.startswith("#!"):
            script = InlineFile(name=first.name, content=first.content, mode=0o755)
            return [*state.command(command)[:-1], f"{SCRIPTS}/{first.name}"], script
        text = first.content
    else:
        text += "".join(f"\n{heredoc.content}{heredoc.name}" for heredoc in instruction.heredocs)
    return [*state.command(command)[:-1], text], None


async def _mount(state: StageState, text: str, find: FindSource, inputs: list[Vertex]) -> Mount:
    mount = syntax.parse_mount(text, state.expand)
    target = posixpath.normpath(posixpath.join(state.workdir, mount.target))
    if mount.type in ("secret", "ssh") and not mount.target:
        target = ""
    if mount.type == "bind":
        return BindMount(
            input=await _input(mount, find, inputs),
            source=_inside(mount.source),
            target=_not_root(target),
            readonly=mount.readonly,
        )
    if mount.type == "cache":
        if not mount.source_from and _inside(mount.source) != "/":
            # What is in the cache belongs to commands: a path in there may change while it is mounted.
            raise NotSupported("RUN --mount=type=cache with source= needs from= too")
        return CacheMount(
            id=_cache_id(state, mount.id),
            target=_not_root(target),
            sharing=mount.sharing,
            readonly=mount.readonly,
            mode=0o755 if mount.mode is None else mount.mode,
            uid=mount.uid or 0,
            gid=mount.gid or 0,
            input=await _input(mount, find, inputs) if mount.source_from else None,
            source=_inside(mount.source),
        )
    if mount.type == "tmpfs":
        return TmpfsMount(target=_not_root(target), size_bytes=mount.size_bytes)
    if mount.type == "secret":
        return SecretMount(
            id=mount.id,
            target=target,
            env=mount.env,
            required=mount.required,
            mode=0o400 if mount.mode is None else mount.mode,
            uid=mount.uid or 0,
            gid=mount.gid or 0,
        )
    return SshMount(
        id=mount.id,
        target=target,
        required=mount.required,
        mode=0o600 if mount.mode is None else mount.mode,
        uid=mount.uid or 0,
        gid=mount.gid or 0,
    )


def _cache_id(state: StageState, name: str) -> str:
    """What is called a volume is that volume in all namespaces."""
    namespace = state.build_args.given(CACHE_NAMESPACE)
    return f"{namespace}/{name}" if namespace and not name.startswith(VOLUME) else name


async def _input(mount: syntax.Mount, find: FindSource, inputs: list[Vertex]) -> int:
    inputs.append(await find(mount.source_from))
    return len(inputs) - 1


def _inside(source: str) -> str:
    return posixpath.normpath(posixpath.join("/", source))


def _not_root(target: str) -> str:
    if target.strip("/") == "":
        raise DockerfileError(f'invalid mount target "{target}"', located=False)
    return target

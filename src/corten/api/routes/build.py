"""Building images."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from dataclasses import replace
from typing import Protocol, TypeVar

import msgspec

from corten.api import answers, documents
from corten.api.request import Request
from corten.api.response import Answer
from corten.api.routes.buildkit import BuildKit
from corten.api.routes.credentials import registry_config
from corten.api.status import prefixed
from corten.errors import InvalidParameter
from corten.filters import Filters
from corten.types.container import Ulimit
from corten.types.document import Document
from corten.types.operations import BuildKitOptions, BuildLimits, BuildOptions, BuildOutput, CacheSpace
from corten.types.progress import JSONMessage
from corten.types.system import BuildPruneReport


class Builder(Protocol):
    """The engine's builder."""

    def build(self, options: BuildOptions, context: AsyncIterator[bytes]) -> AsyncIterator[JSONMessage]:
        """Build from a context (tar, plain or compressed; empty if `options.remote`).

        What is raised before the first message becomes the HTTP status, what comes later the last line of
        the stream. A failed command is raised as `progress.StreamFailure` with its exit code. The iterator is
        closed when the client goes away, which cancels the build.
        """

    async def output(self, token: str) -> AsyncIterator[bytes]:
        """What a build holds ready for its client. Raises NotFound."""

    async def prune(self, filters: Filters, *, all: bool, space: CacheSpace) -> BuildPruneReport:
        """Remove build cache that is not in use. Raises InvalidParameter."""

    def export_cache(self, keys: Collection[str] | None) -> AsyncIterator[bytes]:
        """The build cache as an OCI layout in a tar: what is under these keys, None = all."""

    async def import_cache(self, body: AsyncIterator[bytes]) -> int:
        """Take in such an archive; how many records it had. Raises InvalidParameter."""


T = TypeVar("T")
_MAX_PROLOGUE = 4 << 20


class Prologue(msgspec.Struct, forbid_unknown_fields=True):
    """Corten's own beginning of a build's body, before the tar, of as many bytes as the query says.

    `secrets`: content (base64) by id. `ssh`: path of an agent's socket on the engine's machine, by id.
    """

    secrets: dict[str, bytes] = {}
    ssh: dict[str, str] = {}


async def take_prologue(body: AsyncIterator[bytes], size: int) -> tuple[Prologue, AsyncIterator[bytes]]:
    """Split a body after `size` bytes. Raises InvalidParameter."""
    if not 0 < size <= _MAX_PROLOGUE:
        raise InvalidParameter("invalid size of the build's prologue")
    head = b""
    async for chunk in body:
        head += chunk
        if len(head) >= size:
            break
    prologue = documents.decode(head[:size], Prologue)

    async def rest() -> AsyncIterator[bytes]:
        yield head[size:]
        async for chunk in body:
            yield chunk

    return prologue, rest()


class BuildHandlers:
    """HTTP of the builder."""

    def __init__(self, builder: Builder, buildkit: BuildKit) -> None:
        self._builder = builder
        self._buildkit = buildkit

    async def build(self, request: Request) -> Answer | None:
        """POST /build."""
        options = build_options(request)
        version = request.text("version") or "1"
        if version == "2":
            more = buildkit_options(request)
            return await answers.progress(request, self._buildkit.build(options, more, request.body))
        if version != "1":
            raise InvalidParameter(f'invalid version "{version}"')
        body: AsyncIterator[bytes] = request.body
        if size := request.integer("prologue"):
            prologue, body = await take_prologue(body, size)
            options = replace(options, secrets=prologue.secrets, agents=prologue.ssh)
        return await answers.progress(request, self._builder.build(options, body))

    async def output(self, request: Request) -> None:
        """GET /build/outputs/{token} (ours)."""
        async with answers.closing(await self._builder.output(request.params[0])) as chunks:
            await request.send_all(chunks, b"application/octet-stream")

    async def cancel(self, request: Request) -> Answer:
        """POST /build/cancel: of a build with a build id, which only those with version=2 have."""
        build_id = request.text("id")
        if not build_id:
            raise InvalidParameter("build ID not provided")
        self._buildkit.cancel(build_id)
        return Answer(200)

    async def prune(self, request: Request) -> Answer:
        """POST /build/prune."""
        filters = Filters.parse(request.text("filters"))
        space = CacheSpace(
            reserved=_bytes(request, "reserved-space") or _bytes(request, "keep-storage"),  # its old name
            max_used=_bytes(request, "max-used-space"),
            min_free=_bytes(request, "min-free-space"),
        )
        try:
            report = await self._builder.prune(filters, all=request.flag("all"), space=space)
        except InvalidParameter as error:
            raise prefixed(error, "failed to prune build cache") from error
        return answers.document(request, report)

    async def export_cache(self, request: Request) -> Answer | None:
        """POST /build/cache/export (Corten's own)."""
        wanted = await request.json(_CacheKeys)
        return await answers.raw(request, self._builder.export_cache(wanted.keys), b"application/x-tar")

    async def import_cache(self, request: Request) -> Answer:
        """POST /build/cache/import (Corten's own)."""
        return answers.document(request, _Imported(records=await self._builder.import_cache(request.body)))


class _CacheKeys(Document):
    """Which part of the cache is wanted; null: all."""

    keys: set[str] | None = None


class _Imported(Document):
    records: int


def build_options(request: Request) -> BuildOptions:
    """The query of POST /build. Raises InvalidParameter."""
    if (isolation := request.text("isolation")) not in ("", "default"):
        raise InvalidParameter(f'unsupported isolation: "{isolation}"')
    if request.text("securityopt"):
        raise InvalidParameter("security options are not supported on linux")
    outputs = _json(request, "outputs", list[_Output], "invalid outputs specified") or []
    return BuildOptions(
        tags=request.texts("t"),
        dockerfile=request.text("dockerfile") or "Dockerfile",
        remote=request.text("remote"),
        quiet=request.flag("q"),
        no_cache=request.flag("nocache"),
        rm=request.flag("rm", True),
        force_rm=request.flag("forcerm"),
        pull=request.flag("pull"),
        target=request.text("target"),
        platforms=[word.strip() for word in request.text("platform").split(",") if word.strip()],
        build_args=_json(request, "buildargs", dict[str, str | None], "error reading build args") or {},
        labels=_json(request, "labels", dict[str, str], "error reading labels") or {},
        cache_from=_json(request, "cachefrom", list[str], "error reading cache-from") or [],
        cache_to=_json(request, "cacheto", list[str]) or [],
        no_cache_stages=_json(request, "nocachefilter", list[str]) or [],
        network_mode=request.text("networkmode"),
        extra_hosts=request.texts("extrahosts"),
        limits=_limits(request),
        squash=request.flag("squash"),
        entitlements=request.texts("allow"),
        call=request.text("call"),
        trace=request.flag("trace"),
        contexts=_json(request, "contexts", dict[str, str]) or {},
        auth=registry_config(request),
        outputs=[BuildOutput(type=each.type, attributes=each.attrs or {}) for each in outputs],
        attestations=_json(request, "attests", dict[str, str]) or {},
    )


class _Output(msgspec.Struct, rename="pascal"):
    type: str
    attrs: dict[str, str] | None = None


def buildkit_options(request: Request) -> BuildKitOptions:
    """What else the query says with version=2."""
    return BuildKitOptions(session=request.text("session"), build_id=request.text("buildid"))


def _limits(request: Request) -> BuildLimits:
    return BuildLimits(
        memory_bytes=request.integer("memory"),
        memory_swap_bytes=request.integer("memswap"),
        shm_size_bytes=request.integer("shmsize"),
        cpuset_cpus=request.text("cpusetcpus"),
        cpuset_mems=request.text("cpusetmems"),
        cpu_shares=request.integer("cpushares"),
        cpu_period_us=request.integer("cpuperiod"),
        cpu_quota_us=request.integer("cpuquota"),
        cgroup_parent=request.text("cgroupparent"),
        ulimits=_json(request, "ulimits", list[Ulimit], "error reading ulimit settings") or [],
    )


def _bytes(request: Request, name: str) -> int:
    try:
        return request.integer(name)
    except InvalidParameter as error:
        message = f"{name} is in bytes and expects an integer, got {request.text(name)}: {error}"
        raise InvalidParameter(message) from error


def _json(request: Request, name: str, kind: type[T], what: str = "") -> T | None:
    """A value that is a document, None for none. what: begins the error. Raises InvalidParameter."""
    text = request.text(name)
    if text in ("", "null"):
        return None
    try:
        return documents.decode(text.encode(), kind)
    except InvalidParameter as error:
        raise prefixed(error, what or f"error reading {name}") from error

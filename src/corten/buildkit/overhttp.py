"""POST /build?version=2: a build by BuildKit that an HTTP request asks for, as Docker 18.09 to 22 did.

::

    POST /session                                     ─► the client's files and credentials, if it has any
    POST /build?version=2&buildid=ID&remote=client-session ─► the build, over that session
    POST /build?version=2                             ─► the build, of the body
    POST /build?version=2&buildid=ID&remote=upload-request ┐
    POST /build?version=2&buildid=upload-request:ID   ─────┴─► the build, of the second request's body
    POST /build/cancel?id=ID                          ─► its end

What the build tells comes as lines whose `aux` is a StatusResponse (base64) of the id moby.buildkit.trace.

Source: moby/moby, builder/builder-next/builder.go (names, attributes).
"""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from contextlib import aclosing
from functools import partial

import msgspec

from corten.builder.booleans import parse_bool
from corten.builder.cachetransfer.options import CachePlace
from corten.builder.entitlements import NETWORK_HOST
from corten.builder.export.targets import IMAGES, NO_EXPORT, Target
from corten.builder.messages import Emitter, Put, messages_of
from corten.builder.options import checked_tags, platforms_of, refuse_unsupported
from corten.buildkit.attributes import BODY, parse_attributes
from corten.buildkit.build import FRONTEND, BuildRequest
from corten.buildkit.builds import Builds
from corten.buildkit.grpc.status import GRPCError
from corten.errors import CortenError, InvalidParameter, NotFound
from corten.types.container import Ulimit
from corten.types.operations import BuildKitOptions, BuildLimits, BuildOptions
from corten.types.progress import JSONMessage

_UPLOAD = "upload-request"
_SESSION = "client-session"
_TRACE = "moby.buildkit.trace"
_IMAGE = "moby.image.id"
_UPLOAD_S = 10.0  # for the two requests of an upload to find each other


class _Upload:
    """A context on its way from one request to another."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.body: asyncio.Future[AsyncIterator[bytes]] = loop.create_future()
        self.taken: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The context; waited for shortly. Raises NotFound."""
        try:
            async with asyncio.timeout(_UPLOAD_S):
                body = await asyncio.shield(self.body)
        except TimeoutError:
            raise NotFound("no context has been uploaded for this build") from None
        self.taken.set_result(None)
        try:
            async for chunk in body:
                yield chunk
        finally:
            if not self.ended.done():  # else who brings it has gone meanwhile
                self.ended.set_result(None)


class HttpBuilds:
    """The builds that HTTP requests have asked for. Event loop's thread only."""

    def __init__(self, builds: Builds) -> None:
        self._builds = builds
        self._running: dict[str, asyncio.Task[dict[str, str]]] = {}
        self._uploads: dict[str, _Upload] = {}

    def build(
        self, options: BuildOptions, more: BuildKitOptions, body: AsyncIterator[bytes]
    ) -> AsyncIterator[JSONMessage]:
        """A build, or the uploading of one's context, and what it tells.

        Raises InvalidParameter, NotSupported at once; later what the build fails with.
        """
        if more.build_id.startswith(f"{_UPLOAD}:"):
            build_id = more.build_id.removeprefix(f"{_UPLOAD}:")
            return messages_of(lambda put: self._offer(build_id, body))
        request = self._request(options, more, body)
        return messages_of(partial(self._build, request, more.build_id, options.quiet))

    def cancel(self, build_id: str) -> None:
        """End the build of this name; without effect if there is none."""
        if build_id in self._running:
            self._running[build_id].cancel()

    def _upload(self, build_id: str) -> _Upload:
        return self._uploads.setdefault(build_id, _Upload())

    async def _offer(self, build_id: str, body: AsyncIterator[bytes]) -> None:
        """Hand a request's body to the build that waits for it, and stay until it has been read."""
        upload = self._upload(build_id)
        if upload.body.done():
            raise InvalidParameter("the context of this build has been uploaded already")
        upload.body.set_result(body)
        try:
            async with asyncio.timeout(_UPLOAD_S):
                await asyncio.shield(upload.taken)
        except TimeoutError:
            raise NotFound("no build takes the uploaded context") from None
        finally:
            if self._uploads.get(build_id) is upload:
                del self._uploads[build_id]
        await upload.ended

    async def _uploaded(self, build_id: str) -> AsyncIterator[bytes]:
        async with aclosing(self._upload(build_id).chunks()) as chunks:
            async for chunk in chunks:
                yield chunk

    async def _build(self, request: BuildRequest, build_id: str, quiet: bool, put: Put) -> None:
        emit = Emitter(put, quiet=quiet)
        running = asyncio.ensure_future(self._builds.run(request))
        if build_id:
            self._running[build_id] = running
        try:
            async for told in await self._builds.told(request.ref):
                data = msgspec.json.encode(base64.b64encode(told.SerializeToString()).decode())
                await emit(JSONMessage(id=_TRACE, aux=msgspec.Raw(data)))
            await asyncio.wait([running])
            if running.cancelled():
                raise CortenError("context canceled")  # by another request
            answer = running.result()
            image = answer.get("containerimage.config.digest", "")
            if image and (not request.targets or request.targets[0].type in IMAGES):
                await emit(JSONMessage(id=_IMAGE, aux={"ID": image}))
                await emit.done(image)
        except Exception as error:
            await emit.failed()
            if isinstance(error, GRPCError):
                raise CortenError(error.message) from error
            raise
        finally:
            running.cancel()
            await asyncio.wait([running])
            if self._running.get(build_id) is running:
                del self._running[build_id]
            self._uploads.pop(build_id, None)

    def _request(
        self, options: BuildOptions, more: BuildKitOptions, body: AsyncIterator[bytes]
    ) -> BuildRequest:
        refuse_unsupported(options)
        context: AsyncIterator[bytes] | None = None
        if options.remote == _UPLOAD:
            context = self._uploaded(more.build_id)
        elif not options.remote:
            context = body
        attributes = dict(_attributes(options))
        if context is not None:
            attributes["context"] = BODY
        parse_attributes(attributes)  # what is wrong with them is told before anything else
        inline = parse_bool(options.build_args.get("BUILDKIT_INLINE_CACHE") or "")
        return BuildRequest(
            ref=secrets.token_hex(12),
            session=more.session,
            frontend=FRONTEND,
            attributes=attributes,
            targets=_targets(options),
            entitlements=[*options.entitlements, *([NETWORK_HOST] if options.network_mode == "host" else [])],
            cache_exports=[CachePlace("inline", {})] if inline else [],
            body=context,
        )


def _targets(options: BuildOptions) -> list[Target]:
    if len(options.outputs) > 1:
        raise InvalidParameter("multiple outputs not supported")
    names = {"name": ",".join(checked_tags(options))} if options.tags else {}
    if not options.outputs:
        return [Target(type="moby", attributes=names)]
    [output] = options.outputs
    if output.type == NO_EXPORT:
        return []
    is_image = output.type in IMAGES
    return [Target(type=output.type, attributes={**output.attributes, **(names if is_image else {})})]


def _attributes(options: BuildOptions) -> Iterable[tuple[str, str]]:
    """The attributes of the Dockerfile frontend. Raises InvalidParameter."""
    yield "filename", options.dockerfile
    yield "image-resolve-mode", "pull" if options.pull else "default"
    if options.target:
        yield "target", options.target
    if options.remote not in ("", _SESSION, _UPLOAD):
        yield "context", options.remote
    if options.cache_from:
        yield "cache-from", ",".join(options.cache_from)
    for name, value in options.build_args.items():
        if value is not None:
            yield f"build-arg:{name}", value
    for name, value in options.labels.items():
        yield f"label:{name}", value
    if options.no_cache:
        yield "no-cache", ""
    if platforms := platforms_of(options):
        yield "platform", ",".join(map(str, platforms))
    if options.network_mode in ("host", "none"):
        yield "force-network-mode", options.network_mode
    elif options.network_mode not in ("", "default"):
        raise InvalidParameter(f'network mode "{options.network_mode}" not supported by buildkit')
    if options.extra_hosts:
        yield "add-hosts", ",".join(host.replace(":", "=", 1) for host in options.extra_hosts)
    yield from _limits(options.limits).items()


def _limits(limits: BuildLimits) -> Mapping[str, str]:
    found: dict[str, str | int] = {
        "shm-size": limits.shm_size_bytes,
        "ulimit": ",".join(map(_ulimit, limits.ulimits)),
        "cgroup-parent": limits.cgroup_parent,
        "memory": limits.memory_bytes,
        "memswap": limits.memory_swap_bytes,
        "cpushares": limits.cpu_shares,
        "cpuperiod": limits.cpu_period_us,
        "cpuquota": limits.cpu_quota_us,
        "cpusetcpus": limits.cpuset_cpus,
        "cpusetmems": limits.cpuset_mems,
    }
    return {name: str(value) for name, value in found.items() if value}


def _ulimit(limit: Ulimit) -> str:
    return f"{limit.name}={limit.soft}:{limit.hard}"

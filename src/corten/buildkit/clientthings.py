"""What a build takes from its client besides files: secrets, ssh agents, credentials, an uploaded context."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

from corten.builder.executor import ServeAgent
from corten.buildkit.grpc.status import GRPCError, Status
from corten.buildkit.proto.control_pb2 import BytesMessage
from corten.buildkit.proto.session_pb2 import (
    CheckAgentRequest,
    CheckAgentResponse,
    CredentialsRequest,
    CredentialsResponse,
    GetSecretRequest,
    GetSecretResponse,
)
from corten.buildkit.sessions import ClientSession, client_error
from corten.types.system import AuthConfig

_GET_SECRET = "/moby.buildkit.secrets.v1.Secrets/GetSecret"  # noqa: S105 - a path
_CHECK_AGENT = "/moby.sshforward.v1.SSH/CheckAgent"
_FORWARD_AGENT = "/moby.sshforward.v1.SSH/ForwardAgent"
_CREDENTIALS = "/moby.filesync.v1.Auth/Credentials"
_PULL = "/moby.upload.v1.Upload/Pull"
_READ = 32 << 10
_DOCKER_IO = "registry-1.docker.io"


class ClientThings:
    """One client's; asked only for what its session says it serves."""

    def __init__(self, client: ClientSession) -> None:
        self._client = client

    async def find_secret(self, identifier: str) -> bytes | None:
        """See `corten.builder.session.FindSecret`."""
        if not self._client.serves(_GET_SECRET):
            return None
        try:
            reply = await self._client.call(_GET_SECRET, GetSecretRequest(id=identifier), GetSecretResponse)
        except GRPCError as error:
            if error.status in (Status.NOT_FOUND, Status.UNIMPLEMENTED):
                return None
            raise
        return reply.data

    async def find_agent(self, identifier: str) -> ServeAgent | None:
        """See `corten.builder.session.FindAgent`."""
        if not self._client.serves(_FORWARD_AGENT):
            return None
        try:
            await self._client.call(_CHECK_AGENT, CheckAgentRequest(id=identifier), CheckAgentResponse)
        except GRPCError:
            return None

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(GRPCError, OSError):
                await self._forward(identifier, reader, writer)

        return serve

    async def _forward(
        self, identifier: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        values = {"buildkit.ssh.id": [identifier]}
        async with self._client.stream(_FORWARD_AGENT, BytesMessage, values) as call:

            async def to_client() -> None:
                while data := await reader.read(_READ):
                    await call.send_message(BytesMessage(data=data))
                call.end()

            sending = asyncio.ensure_future(to_client())
            try:
                while (message := await call.recv_message()) is not None:
                    writer.write(message.data)
                    await writer.drain()
            finally:
                sending.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await sending

    async def credentials(self, domain: str) -> AuthConfig | None:
        """The client's for a registry; None without any."""
        if not self._client.serves(_CREDENTIALS):
            return None
        host = _DOCKER_IO if domain == "docker.io" else domain
        try:
            reply = await self._client.call(_CREDENTIALS, CredentialsRequest(host=host), CredentialsResponse)
        except GRPCError:
            return None
        if not reply.secret:
            return None
        if not reply.username:
            return AuthConfig(identity_token=reply.secret, server_address=domain)
        return AuthConfig(username=reply.username, password=reply.secret, server_address=domain)

    async def upload(self, url: str) -> AsyncIterator[bytes]:
        """What the client has on its stdin: `url` is as the `context` attribute names it."""
        path = url.partition("://")[2].partition("/")[2]
        calling = self._client.stream(_PULL, BytesMessage, {"urlpath": [f"/{path}"]})
        try:
            async with calling as call:
                call.end()
                async for message in call:
                    yield message.data
        except (GRPCError, ConnectionError) as error:
            raise client_error(error) from error

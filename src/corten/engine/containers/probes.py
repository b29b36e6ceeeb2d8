"""One probe of a container's health: a command inside it, or a connection made by the engine."""

from __future__ import annotations

import asyncio
import os
import socket
from dataclasses import dataclass

from corten.engine.containers.container import Container
from corten.engine.containers.execs import ExecService
from corten.engine.containers.healthtests import HealthTest, Target
from corten.errors import CortenError
from corten.linux.foreign_socket import open_socket
from corten.types.exec import ExecConfig

OUTPUT_BYTES = 4096
_FAILED = -1
_HTTP_OK = range(200, 400)


@dataclass(frozen=True, slots=True)
class Result:
    """exit_code: 0 healthy, -1 the probe could not be made or took too long, others as the command said."""

    exit_code: int
    output: str


async def probe(execs: ExecService, container: Container, test: HealthTest) -> Result:
    """Make one probe; raises nothing but CancelledError."""
    output = bytearray()
    try:
        async with asyncio.timeout(test.timeout_s):
            if test.target is not None:
                await _connect(container.pid, test.target, output)
                code = 0
            else:
                # Seen from outside it is an exec like any other, with its events.
                config = ExecConfig(cmd=list(test.command), attach_stdout=True, attach_stderr=True)
                code = await execs.run(container, config, lambda data: _collect(output, data))
    except TimeoutError:
        partial = f": {_text(output)}" if output else ""
        return Result(_FAILED, f"Health check exceeded timeout ({_duration(test.timeout_s)}){partial}")
    except _Unhealthy as e:
        return Result(1, str(e))
    except (CortenError, OSError) as e:
        return Result(_FAILED, str(e))
    return Result(code, _text(output))


class _Unhealthy(Exception):
    """The target answered, or refused, in a way that means no."""


def _collect(output: bytearray, data: bytes) -> None:
    output += data[: OUTPUT_BYTES + 1 - len(output)]


def _text(output: bytearray) -> str:
    text = output[:OUTPUT_BYTES].decode(errors="replace")
    return text + "..." if len(output) > OUTPUT_BYTES else text


def _duration(seconds: float) -> str:
    """As Go prints it: 300ms, 30s, 1m30s."""
    if seconds < 1:
        return f"{seconds * 1000:g}ms"
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes)}m{rest:g}s" if minutes else f"{rest:g}s"


async def _connect(pid: int, target: Target, output: bytearray) -> None:
    family = socket.AF_INET6 if ":" in target.address else socket.AF_INET
    loop = asyncio.get_running_loop()
    # Not in the loop's pool: the thread that enters a namespace must end there.
    sock = open_socket(pid, family, socket.SOCK_STREAM)
    with sock:
        try:
            await loop.sock_connect(sock, (target.address, target.port))
        except OSError as e:
            reason = os.strerror(e.errno).lower() if e.errno else str(e)
            raise _Unhealthy(f"dial tcp {target.address}:{target.port}: connect: {reason}") from e
        if target.path:
            await _get(sock, target, output)


async def _get(sock: socket.socket, target: Target, output: bytearray) -> None:
    """Ask for the path; what comes is kept as far as it matters."""
    loop = asyncio.get_running_loop()
    request = (
        f"GET {target.path} HTTP/1.1\r\nHost: {target.host}\r\nUser-Agent: Corten-Healthcheck\r\n"
        "Accept: */*\r\nConnection: close\r\n\r\n"
    )
    await loop.sock_sendall(sock, request.encode())
    while len(output) <= OUTPUT_BYTES and (data := await loop.sock_recv(sock, OUTPUT_BYTES)):
        _collect(output, data)
    head, _, body = bytes(output).partition(b"\r\n\r\n")
    status, *_ = head.split(b"\r\n", 1)
    version, _, rest = status.partition(b" ")
    code = rest[:3]
    output[:] = status + b"\n" + body
    if not version.startswith(b"HTTP/1.") or not code.isdigit() or int(code) not in _HTTP_OK:
        raise _Unhealthy(_text(output))

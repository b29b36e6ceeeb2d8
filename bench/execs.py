"""Programs beside a container's own: how soon one has come and gone, and how much its streams carry.

Streams are raw connections to the API in Docker's framing. The container and its removal are not timed.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from http_client import Client

STREAM_BYTES = 256 << 20  # a sample
_CHUNK = bytes(1 << 16)
_WRITER = ("dd", "if=/dev/zero", f"bs={len(_CHUNK)}", f"count={STREAM_BYTES // len(_CHUNK)}")


@contextmanager
def _container(client: Client, *arguments: str) -> Iterator[str]:
    """A container that is created; gone afterwards."""
    host_config = {"NetworkMode": "none", "LogConfig": {"Type": "none"}}
    config = {"Image": "busybox", "Cmd": list(arguments), "HostConfig": host_config, "AttachStdout": True}
    identity = str(json.loads(client.request("POST", "/v1.45/containers/create", config))["Id"])
    try:
        yield identity
    finally:
        client.request("DELETE", f"/v1.45/containers/{identity}?force=1")


@contextmanager
def _sleeper(client: Client) -> Iterator[str]:
    with _container(client, "sleep", "600") as identity:
        client.request("POST", f"/v1.45/containers/{identity}/start")
        yield identity


def _begin(client: Client, container: str, *arguments: str, stdin: bool = False) -> str:
    config = {"Cmd": list(arguments), "AttachStdin": stdin, "AttachStdout": True}
    path = f"/v1.45/containers/{container}/exec"
    return str(json.loads(client.request("POST", path, config))["Id"])


@contextmanager
def _stream(socket_path: str, path: str, body: object = None) -> Iterator[Client]:
    client = Client(socket_path)
    client.upgrade(path, body)
    yield client
    client.close()


def latency(socket_path: str) -> Callable[[int], list[float]]:
    """`true` in a running container: create the exec, start it, read to the end, ask how it went."""

    def sample(count: int) -> list[float]:
        client, taken = Client(socket_path), []
        with _sleeper(client) as container:
            for _ in range(count):
                start = time.perf_counter()
                identity = _begin(client, container, "true")
                with _stream(socket_path, f"/v1.45/exec/{identity}/start", {}) as stream:
                    stream.drain()
                outcome = json.loads(client.request("GET", f"/v1.45/exec/{identity}/json"))
                taken.append((time.perf_counter() - start) * 1000)
                if outcome["ExitCode"] != 0:
                    raise RuntimeError(f"the exec ended with {outcome['ExitCode']}")
        client.close()
        return taken

    return sample


def rate(socket_path: str, streamed: Callable[[str, Client], float]) -> Callable[[int], list[float]]:
    """MB per second of a stream."""

    def sample(count: int) -> list[float]:
        client = Client(socket_path)
        taken = [STREAM_BYTES / 1e6 / streamed(socket_path, client) for _ in range(count)]
        client.close()
        return taken

    return sample


def _exec_output(socket_path: str, client: Client) -> float:
    """Seconds for what an exec writes."""
    with _sleeper(client) as container:
        identity = _begin(client, container, *_WRITER)
        start = time.perf_counter()
        with _stream(socket_path, f"/v1.45/exec/{identity}/start", {}) as stream:
            _expect(stream.drain()[0] >= STREAM_BYTES)
        return time.perf_counter() - start


def _exec_input(socket_path: str, client: Client) -> float:
    """Seconds for what an exec reads."""
    with _sleeper(client) as container:
        identity = _begin(client, container, "sh", "-c", "cat >/dev/null; echo done", stdin=True)
        start = time.perf_counter()
        with _stream(socket_path, f"/v1.45/exec/{identity}/start", {}) as stream:
            for _ in range(STREAM_BYTES // len(_CHUNK)):
                stream.write(_CHUNK)
            stream.end_writing()
            _expect(stream.drain()[1].endswith(b"done\n"))
        return time.perf_counter() - start


def _attach_output(socket_path: str, client: Client) -> float:
    """Seconds for what a container without a log writes to who has attached to it."""
    with _container(client, *_WRITER) as container:
        path = f"/v1.45/containers/{container}/attach?stream=1&stdout=1"
        with _stream(socket_path, path) as stream:
            start = time.perf_counter()
            client.request("POST", f"/v1.45/containers/{container}/start")
            _expect(stream.drain()[0] >= STREAM_BYTES)
            return time.perf_counter() - start


def _expect(condition: bool) -> None:
    if not condition:
        raise RuntimeError("bytes of a stream are missing")


STREAMS = {
    "exec stream out": _exec_output,
    "exec stream in": _exec_input,
    "attach stream out": _attach_output,
}

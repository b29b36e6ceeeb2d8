"""A keep-alive HTTP client with as little of its own cost as Python allows: what is timed is the engine."""

import json
import socket


class Client:
    """One connection to an engine's unix socket; requests go one after another."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)
        self._buffer = b""

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def request(self, method: str, path: str, body: object = None) -> bytes:
        """The answer's body. Raises RuntimeError if the status is not of the 2xx kind."""
        head = f"{method} {path} HTTP/1.1\r\nHost: engine\r\n"
        data = b""
        if body is not None:
            data = json.dumps(body).encode()
            head += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n"
        elif method == "POST":
            head += "Content-Length: 0\r\n"
        self._socket.sendall(head.encode() + b"\r\n" + data)
        status, headers = self._read_head()
        answer = self._read_body(status, headers)
        if not 200 <= status < 300:
            raise RuntimeError(f"{method} {path}: {status} {answer.decode(errors='replace')}")
        return answer

    def upgrade(self, path: str, body: object = None) -> None:
        """POST what turns the connection into a raw stream: attach, or the start of an exec."""
        data = b"" if body is None else json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: engine\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
        self._socket.sendall(head.encode() + data)
        status, _ = self._read_head()
        if status != 101:
            raise RuntimeError(f"POST {path}: {status}")

    def write(self, data: bytes) -> None:
        """Send bytes of a raw stream."""
        self._socket.sendall(data)

    def end_writing(self) -> None:
        """Half-close a raw stream."""
        self._socket.shutdown(socket.SHUT_WR)

    def drain(self) -> tuple[int, bytes]:
        """Read a raw stream to its end: how many bytes came, and the last few."""
        count, buffer, tail = len(self._buffer), memoryview(bytearray(1 << 20)), self._buffer
        while size := self._socket.recv_into(buffer):
            count, tail = count + size, bytes(buffer[max(0, size - 64) : size])
        return count, tail[-64:]

    def send_file(self, path: str, file_name: str) -> None:
        """POST a file's bytes (docker load)."""
        with open(file_name, "rb") as file:
            data = file.read()
        head = f"POST {path} HTTP/1.1\r\nHost: engine\r\nContent-Type: application/x-tar\r\n"
        self._socket.sendall(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
        status, headers = self._read_head()
        answer = self._read_body(status, headers)
        if status != 200:
            raise RuntimeError(f"POST {path}: {status} {answer.decode(errors='replace')}")

    def _more(self) -> None:
        data = self._socket.recv(65536)
        if not data:
            raise RuntimeError("the engine closed the connection")
        self._buffer += data

    def _until(self, mark: bytes) -> bytes:
        while (at := self._buffer.find(mark)) < 0:
            self._more()
        found, self._buffer = self._buffer[:at], self._buffer[at + len(mark) :]
        return found

    def _take(self, count: int) -> bytes:
        while len(self._buffer) < count:
            self._more()
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken

    def _read_head(self) -> tuple[int, bytes]:
        head = self._until(b"\r\n\r\n")
        return int(head[9:12]), head.lower()

    def _read_body(self, status: int, head: bytes) -> bytes:
        if status in (204, 304):
            return b""
        if (at := head.find(b"content-length:")) >= 0:
            return self._take(int(head[at + 15 :].split(b"\r\n", 1)[0]))
        body = b""
        while size := int(self._until(b"\r\n").split(b";")[0], 16):
            body += self._take(size)
            self._take(2)
        self._take(2)
        return body


def run_once(
    client: Client, network: str, image: str = "busybox", arguments: tuple[str, ...] = ("true",)
) -> None:
    """What `docker run --rm IMAGE true` asks of the API: create, start, wait, remove."""
    config = {"Image": image, "Cmd": list(arguments), "HostConfig": {"NetworkMode": network}}
    identity = json.loads(client.request("POST", "/v1.45/containers/create", config))["Id"]
    client.request("POST", f"/v1.45/containers/{identity}/start")
    status = json.loads(client.request("POST", f"/v1.45/containers/{identity}/wait"))["StatusCode"]
    if status:
        raise RuntimeError(f"the container exited with {status}")
    client.request("DELETE", f"/v1.45/containers/{identity}")

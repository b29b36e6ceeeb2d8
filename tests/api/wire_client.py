# ruff: noqa: E501
"""Bytes to and from an API socket."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator


class Wire:
    """A client that knows just enough HTTP and hides nothing."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.buffer = b""

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def request(
        self, method: str, path: str, body: object = None, *headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *headers]
        if body is not None:
            lines += [f"Content-Length: {len(data)}", "Content-Type: application/json"]
        self.send("\r\n".join([*lines, "", ""]).encode() + data)
        return self.answer(head_only=method == "HEAD")

    def head(self) -> tuple[int, dict[str, str]]:
        while b"\r\n\r\n" not in self.buffer:
            data = self.sock.recv(65536)
            if not data:
                raise EOFError(self.buffer)
            self.buffer += data
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        return int(first.split()[1]), headers

    def answer(self, *, head_only: bool = False) -> tuple[int, dict[str, str], bytes]:
        status, headers = self.head()
        if headers.get("transfer-encoding") == "chunked":
            return status, headers, b"".join(self.chunks())
        length = 0 if head_only else int(headers.get("content-length", 0))
        return status, headers, self.exactly(length)

    def chunk(self) -> bytes:
        while b"\r\n" not in self.buffer:
            self.more()
        size, _, self.buffer = self.buffer.partition(b"\r\n")
        data = self.exactly(int(size, 16))
        assert self.exactly(2) == b"\r\n"
        return data

    def chunks(self) -> Iterator[bytes]:
        while data := self.chunk():
            yield data

    def more(self) -> None:
        data = self.sock.recv(65536)
        if not data:
            raise EOFError(self.buffer)
        self.buffer += data

    def exactly(self, length: int) -> bytes:
        while len(self.buffer) < length:
            self.more()
        data, self.buffer = self.buffer[:length], self.buffer[length:]
        return data

    def rest(self) -> bytes:
        while data := self.sock.recv(65536):
            self.buffer += data
        data, self.buffer = self.buffer, b""
        return data


def eventually(condition: Callable[[], object]) -> None:
    """Wait for something that the server does in its own time (a limit, not a measurement)."""
    for _ in range(500):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("it never happened")

"""A name server on the sandbox's own host, that containers' questions may be forwarded to.

Every name is 198.51.100.1, those with a label "big" fifty times, and over TCP only.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from engine import Engine
from sandbox import child_of

UPSTREAM = "192.0.2.53"
ANSWER = "198.51.100.1"

UPSTREAM_SERVER = """
import socket, sys, threading
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); udp.bind(("{address}", 53))
tcp = socket.socket(); tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
tcp.bind(("{address}", 53)); tcp.listen()
def question(data):
    end = 12
    while data[end]: end += data[end] + 1
    return data[12:end + 5]
def answer(data, count):
    records = b"".join(b"\\xc0\\x0c\\0\\1\\0\\1\\0\\0\\0\\5\\0\\4" + bytes((198, 51, 100, i + 1)) for i in range(count))
    return data[:2] + b"\\x81\\x80\\0\\1" + count.to_bytes(2, "big") + b"\\0\\0\\0\\0" + question(data) + records
def serve_udp():
    while True:
        data, peer = udp.recvfrom(4096)
        if b"\\3big" in data:
            udp.sendto(data[:2] + b"\\x83\\x80\\0\\1\\0\\0\\0\\0\\0\\0" + question(data), peer)  # cut short: come by TCP
        else:
            udp.sendto(answer(data, 1), peer)
def serve_tcp():
    while True:
        sock, _ = tcp.accept()
        data = sock.recv(4096)[2:]
        message = answer(data, 50)
        sock.sendall(len(message).to_bytes(2, "big") + message); sock.close()
threading.Thread(target=serve_udp, daemon=True).start()
print("ready", flush=True)
serve_tcp()
"""


@contextmanager
def upstream(engine: Engine) -> Iterator[None]:
    """A name server on the sandbox's own host."""
    engine.run("ip", "addr", "add", f"{UPSTREAM}/32", "dev", "lo")
    server = subprocess.Popen(
        engine.sandbox.command(sys.executable, "-c", UPSTREAM_SERVER.format(address=UPSTREAM)),
        stdout=subprocess.PIPE,
    )
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"
        yield
    finally:
        os.kill(child_of(server.pid), signal.SIGKILL)
        server.wait()
        assert server.stdout is not None
        server.stdout.close()
        engine.run("ip", "addr", "del", f"{UPSTREAM}/32", "dev", "lo")

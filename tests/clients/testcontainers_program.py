"""What a user of testcontainers-python writes: `python testcontainers_program.py NAME` runs one of the functions.

A program of its own, because what it starts has its published ports where the engine is.
"""

import socket
import sys

from testcontainers.community.postgres import PostgresContainer
from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network
from testcontainers.core.wait_strategies import LogMessageWaitStrategy
from testcontainers.core.waiting_utils import wait_for_logs


def _ask_redis(container: DockerContainer, request: bytes) -> bytes:
    address = (container.get_container_host_ip(), container.get_exposed_port(6379))
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(request + b"\r\n")
        return connection.recv(1000)


def redis() -> None:
    """Logs are waited for, an exposed port gets one of the host's, and a program runs beside the server."""
    with DockerContainer("redis:7").with_exposed_ports(6379) as container:
        wait_for_logs(container, "Ready to accept connections", timeout=60, interval=0.1)
        assert _ask_redis(container, b"SET colour green") == b"+OK\r\n"
        result = container.exec(["redis-cli", "GET", "colour"])
        assert (result.exit_code, result.output) == (0, b"green\n"), result
        assert container.exec(["sh", "-c", "echo problem >&2; exit 3"]).exit_code == 3
        stdout, stderr = container.get_logs()
        assert b"Redis is starting" in stdout, (stdout, stderr)


def postgres() -> None:
    """The module's own class with its own way to wait, and files that are put in before the start."""
    script = (b"CREATE TABLE t AS SELECT 42 AS id", "/docker-entrypoint-initdb.d/1.sql")
    server = PostgresContainer("postgres:16", username="me", password="it's", dbname="mine")
    with server.with_copy_into_container(*script) as container:
        query = ["psql", "-U", "me", "-d", "mine", "-Atc", "SELECT id FROM t"]
        assert container.exec(query).output == b"42\n"
        address = (container.get_container_host_ip(), container.get_exposed_port(5432))
        assert container.get_connection_url().endswith("@{}:{}/mine".format(*address))
        with socket.create_connection(address, timeout=10) as connection:
            connection.sendall(b"\0\0\0\x08\x04\xd2\x16\x2f")  # SSLRequest of the protocol: Y or N
            assert connection.recv(1) in (b"N", b"S")


def network() -> None:
    """Containers of one network find each other by their aliases."""
    with Network() as shared:
        server = DockerContainer("redis:7").with_network(shared).with_network_aliases("cache")
        with server.waiting_for(LogMessageWaitStrategy("Ready to accept connections")):
            client = DockerContainer("redis:7", command=["redis-cli", "-h", "cache", "PING"])
            with client.with_network(shared) as asked:
                assert asked.wait() == 0
                assert asked.get_logs()[0] == b"PONG\n"


if __name__ == "__main__":
    globals()[sys.argv[1]]()

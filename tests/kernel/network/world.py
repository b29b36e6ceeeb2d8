"""A machine of namespaces for the tests: "host", where the code under test runs, and "outside".

::

    outside 192.0.2.9 ── eth0 │ out0 ── 192.0.2.1 host ── <bridge> ── containers

Every test body runs in a forked child with its own network and mount namespace; sockets in the other
namespaces are made by short-lived threads and then used from the test.
"""

from __future__ import annotations

import functools
import os
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from corten.linux.namespaces import CLONE_NEWNET, CLONE_NEWNS, setns, unshare
from corten.linux.netlink import route
from corten.linux.netlink.sandbox import lo_up
from corten.linux.netlink.socket import NetlinkSocket
from corten.metadata.ledger import Ledger
from corten.network.config import NetworkConfig
from corten.network.controller import Controller
from corten.network.sandboxes import Sandbox
from corten.network.values import Endpoint, Place, PortRequest
from corten.types.network import IPAM, IPAMConfig, NetworkCreate

OUTSIDE = "192.0.2.9"
HOST = "192.0.2.1"
MTU = 1400
TIMEOUT_S = 1.5  # long for one machine; what is to be refused silently costs this much


def isolated(test: Callable[..., None]) -> Callable[..., None]:
    """Run the test in a child process in new network and mount namespaces."""

    @functools.wraps(test)
    def wrapper(**fixtures: object) -> None:
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                os.close(reader)
                unshare(CLONE_NEWNET | CLONE_NEWNS)
                test(**fixtures)
                status = 0
            except BaseException:
                os.write(writer, traceback.format_exc().encode()[:60000])
            finally:
                sys.stdout.flush()
                os._exit(status)
        os.close(writer)
        with open(reader, encoding="utf-8", errors="replace") as file:
            report = file.read()
        _, status = os.waitpid(pid, 0)
        if status:
            raise AssertionError(f"in the child (wait status {status}):\n{report}")

    return wrapper


def inside(netns_fd: int, action: Callable[[], object]) -> object:
    """The result of `action`, run by a thread in another network namespace."""
    results: list[object] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            setns(netns_fd, CLONE_NEWNET)
            results.append(action())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def tcp(netns_fd: int | None = None) -> socket.socket:
    """A TCP socket in a namespace (None: this one)."""
    return _socket(socket.SOCK_STREAM, netns_fd)


def udp(netns_fd: int | None = None) -> socket.socket:
    """A UDP socket in a namespace (None: this one)."""
    return _socket(socket.SOCK_DGRAM, netns_fd)


def _socket(kind: int, netns_fd: int | None) -> socket.socket:
    def make() -> socket.socket:
        return socket.socket(socket.AF_INET, kind)

    made = make() if netns_fd is None else inside(netns_fd, make)
    assert isinstance(made, socket.socket)
    made.settimeout(TIMEOUT_S)
    return made


class World:
    """The machine, and the engine's controller on it."""

    def __init__(self, directory: str, **settings: object) -> None:
        self.directory = directory
        self.settings = {"bridge": "tcorten0", "table": "tcorten", **settings}
        self.outside = _outside()
        self.sandboxes: dict[str, Sandbox] = {}
        self.ledger = Ledger(f"{directory}/meta.db")
        self.controller = self.new_controller()

    def new_controller(self) -> Controller:
        """A controller as after an engine start; the living are those with a sandbox."""
        config = NetworkConfig(**self.settings)  # type: ignore[arg-type]
        controller = Controller(self.ledger, config)
        controller.restore(set(self.sandboxes))
        assert controller.problems == [], controller.problems
        return controller

    def start(self, name: str, *ports: PortRequest, controller: Controller | None = None) -> Endpoint:
        """A "container" on the bridge: a namespace with nothing running in it."""
        return self.join(name, Place(network="bridge"), ports=ports, controller=controller)[0]

    def join(
        self,
        name: str,
        *places: Place,
        ports: Sequence[PortRequest] = (),
        controller: Controller | None = None,
    ) -> tuple[Endpoint, ...]:
        """A "container" on several networks."""
        controller = controller or self.controller
        endpoints = controller.members.allocate(name, places, name=name, ports=ports)
        self.sandboxes[name] = controller.members.sandbox(name)
        controller.members.realise(endpoints, self.sandboxes[name])
        return endpoints

    def stop(self, name: str) -> None:
        """End a container."""
        self.controller.members.release(name)
        self.sandboxes.pop(name).close()

    def netns(self, name: str) -> int:
        """The namespace of a container."""
        return self.sandboxes[name].netns_fd


def _outside() -> int:
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    def make() -> int:
        unshare(CLONE_NEWNET)
        return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    netns = inside(home, make)
    assert isinstance(netns, int)
    gateway, host = socket.inet_aton(HOST), socket.inet_aton(OUTSIDE)
    with NetlinkSocket() as sock:
        lo_up(sock)
        sock.transact([route.veth("out0", "eth0", master=0, peer_netns_fd=netns, mtu=MTU)])
        index = route.link_index(sock, "out0")
        sock.transact([route.address(index, gateway, 24), route.default_route(index, host)])

    def configure() -> None:
        with NetlinkSocket() as sock:
            lo_up(sock)
            index = route.link_index(sock, "eth0")
            sock.transact(
                [
                    route.address(index, host, 24),
                    route.set_link(index, up=True),
                    route.default_route(index, gateway),
                ]
            )

    inside(netns, configure)
    return netns


@contextmanager
def serving(netns_fd: int | None, address: str, port: int) -> Iterator[socket.socket]:
    """A TCP listener in a namespace."""
    with tcp(netns_fd) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((address, port))
        server.listen()
        yield server


def peer_of_connection(server: socket.socket, netns_fd: int | None, address: str, port: int) -> str:
    """Connect from a namespace, exchange a word, and return the client's address as the server saw it."""
    with tcp(netns_fd) as client:
        client.connect((address, port))
        accepted, peer = server.accept()
        with accepted:
            accepted.settimeout(TIMEOUT_S)
            client.sendall(b"ping")
            assert accepted.recv(4) == b"ping"
            accepted.sendall(b"pong")
            assert client.recv(4) == b"pong"
    return str(peer[0])


def reachable(netns_fd: int | None, address: str, port: int) -> bool:
    """Whether a TCP connection to address:port comes about."""
    with tcp(netns_fd) as client:
        try:
            client.connect((address, port))
        except OSError:
            return False
        return True


def echo_udp(server: socket.socket, client: socket.socket, address: str, port: int) -> bool:
    """Whether a datagram gets there and its answer comes back."""
    client.sendto(b"ping", (address, port))
    try:
        data, peer = server.recvfrom(16)
        server.sendto(data[::-1], peer)
        return client.recv(16) == b"gnip"
    except OSError:
        return False


def wish(name: str, *subnets: str, **fields: object) -> NetworkCreate:
    """The request for a network."""
    ipam = IPAM(config=[IPAMConfig(subnet=each) for each in subnets] or None)
    return NetworkCreate(name=name, ipam=ipam, **fields)  # type: ignore[arg-type]


def link_names() -> set[str]:
    """The links of this namespace."""
    with NetlinkSocket() as sock:
        return {each.name for each in route.links(sock)}

"""rtnetlink, nf_tables elements and sandboxes against the real kernel, in a namespace of our own."""

import errno
import functools
import os
import socket
import subprocess
import sys
import threading

import pytest

from corten.linux.namespaces import CLONE_NEWNET, setns, unshare
from corten.linux.netlink import conntrack, elements, route, sandbox
from corten.linux.netlink.nfnetlink import NFPROTO_IPV4
from corten.linux.netlink.nftables import Nftables
from corten.linux.netlink.socket import NETLINK_NETFILTER, NetlinkSocket

pytestmark = pytest.mark.root

MAC = bytes.fromhex("0242ac110002")
GATEWAY = socket.inet_aton("172.17.0.1")


def in_own_netns(test):
    """Run the test in a thread with a network namespace of its own."""

    @functools.wraps(test)
    def wrapper(**fixtures):
        errors = []

        def run():
            try:
                unshare(CLONE_NEWNET)
                test(**fixtures)
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        if errors:
            raise errors[0]

    return wrapper


def bridge(sock):
    sock.transact([route.bridge("br0", mac=MAC, mtu=1400), route.set_link(name="br0", link_local=False)])
    return route.link_index(sock, "br0")


@in_own_netns
def test_links_addresses_and_routes():
    with NetlinkSocket() as sock:
        index = bridge(sock)
        link = route.get_link(sock, "br0")
        assert (link.index, link.mac, link.mtu, link.kind, link.is_up) == (
            index,
            MAC.hex(":"),
            1400,
            "bridge",
            True,
        )
        assert [each.name for each in route.links(sock)] == ["lo", "br0"]
        v6 = socket.inet_pton(socket.AF_INET6, "fd00::1")
        sock.transact([route.address(index, GATEWAY, 16), route.address(index, v6, 64)])
        found = {(each.packed, each.prefix_length) for each in route.addresses(sock)}
        assert {(GATEWAY, 16), (v6, 64)} <= found
        assert route.find_default_link(sock) is None
        sock.transact(
            [
                route.default_route(index, socket.inet_aton("172.17.0.9")),
                route.route(
                    index,
                    destination=socket.inet_aton("10.1.0.0"),
                    prefix_length=16,
                    gateway=socket.inet_aton("172.17.0.8"),
                ),
                route.route(index, destination=socket.inet_aton("10.2.0.0"), prefix_length=16),
                route.neighbour(index, socket.inet_aton("172.17.0.9"), MAC),
            ]
        )
        default = route.find_default_route(sock)
        assert default is not None
        assert (default.gateway, default.link_index) == (socket.inet_aton("172.17.0.9"), index)
        through = route.find_default_link(sock)
        assert through is not None
        assert (through.name, through.mtu) == ("br0", 1400)
        others = {(r.destination, r.prefix_length, r.gateway) for r in route.routes(sock)}
        assert (socket.inet_aton("10.2.0.0"), 16, b"") in others
        sock.transact(
            [
                route.delete_neighbour(index, socket.inet_aton("172.17.0.9")),
                route.delete_address(index, GATEWAY, 16),
                route.set_link(name="br0", up=False, mtu=1300),
                route.set_link(index, new_name="br1"),
            ]
        )
        link = route.get_link(sock, "br1")
        assert (link.is_up, link.mtu) == (False, 1300)
        sock.transact([route.delete_link(name="br1")])
        assert route.find_link(sock, "br1") is None


@in_own_netns
def test_failures_carry_errno_and_the_kernels_words():
    with NetlinkSocket() as sock:
        index = bridge(sock)
        with pytest.raises(OSError, match="ipv4: Invalid prefix length") as caught:
            sock.transact([route.address(index, GATEWAY, 40)])
        assert caught.value.errno == errno.EINVAL
        with pytest.raises(FileExistsError):
            bridge(sock)
        with pytest.raises(OSError, match="No such device") as caught:
            route.get_link(sock, "nope")
        assert (caught.value.errno, caught.value.filename) == (errno.ENODEV, "nope")
        with pytest.raises(OSError, match="No such device"):
            route.link_index(sock, "nope")
        with pytest.raises(OSError, match="not a packed IP address"):
            route.address(index, b"12345", 8)


@in_own_netns
def test_a_batch_goes_on_after_a_failure_and_reports_the_first():
    with NetlinkSocket() as sock:
        index = bridge(sock)
        batch = [
            route.address(index, GATEWAY, 16),
            route.address(index, GATEWAY, 16),
            route.delete_link(name="nope"),
            route.address(index, socket.inet_aton("172.18.0.1"), 16),
        ]
        with pytest.raises(FileExistsError):
            sock.transact(batch)
        assert len(route.addresses(sock, route.AF_INET)) == 2
        sock.transact([batch[0], batch[0]], tolerate=(errno.EEXIST,))
        sock.transact([])


@in_own_netns
def test_many_links_come_in_several_datagrams():
    with NetlinkSocket() as sock:
        for start in range(0, 300, 50):
            sock.transact(
                [route.bridge(f"b{number}", mac=MAC, mtu=1400) for number in range(start, start + 50)]
            )
        assert len(route.links(sock)) == 301


@in_own_netns
def test_sandbox_is_wired_and_configured_and_vanishes():
    with NetlinkSocket() as host:
        index = bridge(host)
        spec = sandbox.SandboxSpec(index, 1400)
        here = os.stat("/proc/thread-self/ns/net").st_ino
        netns_fd, socket_fd = sandbox.make_sandbox(host, spec, "vctest")
        assert os.stat("/proc/thread-self/ns/net").st_ino == here
        assert os.fstat(netns_fd).st_ino != here
        link = route.get_link(host, "vctest")
        assert (link.master, link.mtu, link.kind, link.is_up) == (index, 1400, "veth", True)
        with NetlinkSocket(fd=socket_fd) as inside:
            address = socket.inet_aton("172.17.0.5")
            sandbox.configure(inside, addresses=((address, 16),), gateways=(GATEWAY,), mac=MAC)
            eth0 = route.get_link(inside, "eth0")
            assert (eth0.mac, eth0.mtu, eth0.is_up) == (MAC.hex(":"), 1400, True)
            assert route.get_link(inside, "lo").is_up
            default = route.find_default_route(inside)
            assert default is not None
            assert default.gateway == GATEWAY
            packed = {each.packed for each in route.addresses(inside)}
            # no IPv6 address but loopback's: the network has none
            assert packed == {address, socket.inet_aton("127.0.0.1"), bytes(15) + b"\x01"}
        assert route.addresses(host, route.AF_INET6) == []
        os.close(netns_fd)
        for _ in range(100):
            if route.find_link(host, "vctest") is None:
                break
            threading.Event().wait(0.05)
        assert route.find_link(host, "vctest") is None


@in_own_netns
def test_a_sandbox_that_cannot_be_made_leaves_nothing():
    with NetlinkSocket() as host:
        spec = sandbox.SandboxSpec(bridge(host), 1400)
        before = len(os.listdir("/proc/self/fd"))
        here = os.stat("/proc/thread-self/ns/net").st_ino
        with pytest.raises(FileExistsError):
            sandbox.make_sandbox(host, spec, "br0")
        assert os.stat("/proc/thread-self/ns/net").st_ino == here
        assert len(os.listdir("/proc/self/fd")) == before


@in_own_netns
def test_isolated_ports_do_not_hear_each_other():
    with NetlinkSocket() as host:
        index = bridge(host)
        host.transact([route.address(index, GATEWAY, 16)])
        ends = []
        for number in (5, 6):
            spec = sandbox.SandboxSpec(index, 1400, isolated=True)
            netns_fd, socket_fd = sandbox.make_sandbox(host, spec, f"vctest{number}")
            with NetlinkSocket(fd=socket_fd) as inside:
                address = socket.inet_aton(f"172.17.0.{number}")
                mac = MAC[:-1] + bytes((number,))
                sandbox.configure(inside, addresses=((address, 16),), gateways=(GATEWAY,), mac=mac)
            setns_home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            setns(netns_fd, CLONE_NEWNET)
            end = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            setns(setns_home, CLONE_NEWNET)
            os.close(setns_home)
            end.bind(("0.0.0.0", 9))
            end.settimeout(0.3)
            ends.append(end)
            os.close(netns_fd)
        host_end = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        host_end.settimeout(1)
        with host_end, ends[0], ends[1]:
            host_end.sendto(b"from the host", ("172.17.0.6", 9))
            assert ends[1].recv(32) == b"from the host"
            ends[0].sendto(b"from next door", ("172.17.0.6", 9))
            with pytest.raises(TimeoutError):
                ends[1].recv(32)


RULES = """
table ip tnetlink {
    map ports { type inet_proto . inet_service : ipv4_addr . inet_service; }
    set addresses { type ipv4_addr; }
}
"""


@in_own_netns
def test_elements_are_changed_together_or_not_at_all():
    key = elements.concatenate(b"\x06", (8080).to_bytes(2, "big"))
    value = elements.concatenate(socket.inet_aton("172.17.0.2"), (80).to_bytes(2, "big"))
    other = elements.concatenate(b"\x11", (53).to_bytes(2, "big"))

    def add(which):
        return elements.add_element(NFPROTO_IPV4, "tnetlink", "ports", which, value)

    def delete(which):
        return elements.delete_element(NFPROTO_IPV4, "tnetlink", "ports", which)

    with Nftables() as nftables, NetlinkSocket(NETLINK_NETFILTER) as sock:
        nftables.apply(RULES)
        elements.commit(sock, [add(key)])
        elements.commit(
            sock,
            [elements.add_element(NFPROTO_IPV4, "tnetlink", "addresses", socket.inet_aton("10.0.0.1"))],
        )
        listed = nftables.apply("list table ip tnetlink")
        assert "elements = { tcp . 8080 : 172.17.0.2 . 80 }" in listed
        assert "elements = { 10.0.0.1 }" in listed
        with pytest.raises(FileExistsError):
            elements.commit(sock, [add(other), add(key)])
        assert "53" not in nftables.apply("list map ip tnetlink ports")
        elements.commit(sock, [add(other), add(key)], tolerate=(errno.EEXIST,))
        assert "udp . 53" in nftables.apply("list map ip tnetlink ports")
        elements.commit(sock, [delete(other)])
        with pytest.raises(FileNotFoundError):
            elements.commit(sock, [delete(key), delete(other)])
        assert "8080" in nftables.apply("list map ip tnetlink ports")
        elements.commit(sock, [delete(other), delete(key)], tolerate=(errno.ENOENT,))
        assert "elements" not in nftables.apply("list map ip tnetlink ports")
        elements.commit(sock, [])
        with pytest.raises(FileNotFoundError):
            elements.commit(sock, [elements.delete_element(NFPROTO_IPV4, "nosuch", "ports", key)])
        conntrack.forget(sock, NFPROTO_IPV4, socket.IPPROTO_UDP, 53)
        conntrack.forget(sock, NFPROTO_IPV4, socket.IPPROTO_UDP, 53, GATEWAY)


@in_own_netns
def test_rule_sets_apply_whole_or_not_at_all():
    with Nftables() as nftables:
        with pytest.raises(OSError, match="Could not process rule: No such file or directory"):
            nftables.apply("add table ip tnetlink\nadd rule ip tnetlink nosuch drop")
        assert "tnetlink" not in nftables.apply("list tables")
        with pytest.raises(OSError, match="syntax error"):
            nftables.apply("this is no rule")


def test_without_privileges_the_answer_is_eperm_and_no_hang():
    """A refused nfnetlink batch is only reported by its first message."""
    program = """
import os
from corten.linux.netlink import elements, route
from corten.linux.netlink.socket import NETLINK_NETFILTER, NetlinkSocket
os.setgid(65534)
os.setuid(65534)
for family, act in (
    (NETLINK_NETFILTER, lambda s: elements.commit(s, [elements.delete_element(2, "t", "s", bytes(4))])),
    (0, lambda s: s.transact([route.delete_link(name="lo"), route.delete_link(name="lo")])),
):
    with NetlinkSocket(family) as sock:
        try:
            act(sock)
        except PermissionError as error:
            print(error.errno)
"""
    environment = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    result = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=20
    )
    assert result.stdout == "1\n1\n", result.stderr

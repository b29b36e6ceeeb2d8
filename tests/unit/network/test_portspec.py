import pytest

from corten.errors import InvalidParameter
from corten.network.portspec import exposed_requests, parse_port, port_requests
from corten.network.values import PortRequest
from corten.types.container import PortBinding


def binding(port="", address=""):
    return PortBinding(host_ip=address, host_port=port)


def test_ports_with_and_without_protocol():
    assert parse_port("80") == (80, "tcp")
    assert parse_port("53/udp") == (53, "udp")
    assert parse_port("9/SCTP") == (9, "sctp")


@pytest.mark.parametrize("text", ["", "x", "65536", "-1", "80/icmp", "8 0", "٨٠", "80-90"])
def test_bad_ports(text):
    with pytest.raises(InvalidParameter):
        parse_port(text)


def test_bindings():
    requests = port_requests(
        {
            "80/tcp": [binding("8080"), binding("8000-8010", "127.0.0.1")],
            "53/udp": [binding()],
            "54/udp": None,
            "55": [binding("0")],
        }
    )
    assert requests == (
        PortRequest(protocol="tcp", container_port=80, first_host_port=8080, last_host_port=8080),
        PortRequest(
            protocol="tcp",
            container_port=80,
            host_address="127.0.0.1",
            first_host_port=8000,
            last_host_port=8010,
        ),
        PortRequest(protocol="udp", container_port=53),
        PortRequest(protocol="udp", container_port=54),
        PortRequest(protocol="tcp", container_port=55),
    )


@pytest.mark.parametrize(
    ("host", "error"),
    [
        (binding("90-80"), InvalidParameter),
        (binding("80-"), InvalidParameter),
        (binding("70000"), InvalidParameter),
        (binding("80", "nowhere"), InvalidParameter),
    ],
)
def test_bad_bindings(host, error):
    with pytest.raises(error):
        port_requests({"80/tcp": [host]})


def test_addresses_of_the_host_may_be_ipv6():
    (request,) = port_requests({"80/tcp": [binding("80", "[fd00::1]")]})
    assert request.host_address == "fd00::1"


def test_publish_all_takes_what_is_not_published_yet():
    requests = exposed_requests({"81/tcp": {}, "80/tcp": {}, "53/udp": {}}, {"80": [binding("8080")]})
    assert requests == (
        PortRequest(protocol="udp", container_port=53),
        PortRequest(protocol="tcp", container_port=81),
    )

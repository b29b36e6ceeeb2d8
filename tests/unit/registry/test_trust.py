import pytest

from corten.registry.client.credentials import basic_authorization, domain_of_server_address, endpoint_host
from corten.registry.client.trust import RegistryTrust, split_port
from corten.types.system import AuthConfig


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:5000", "127.0.0.1:5000", "127.9.9.9", "[::1]:5000", "::1"]
)
def test_loopback_is_insecure(host):
    assert RegistryTrust().schemes(host) == ("https", "http")


def test_others_only_if_listed():
    trust = RegistryTrust(["reg.invalid:5000", "10.1.0.0/16", "other.invalid"])
    assert trust.is_insecure("reg.invalid:5000")
    assert not trust.is_insecure("reg.invalid:5001")
    assert trust.is_insecure("other.invalid:1234")
    assert trust.is_insecure("10.1.2.3:80")
    assert trust.schemes("10.2.0.1") == ("https",)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a", ("a", None)),
        ("a:1", ("a", 1)),
        ("[::1]:5", ("::1", 5)),
        ("::1", ("::1", None)),
        ("[::1]", ("::1", None)),
    ],
)
def test_ports(text, parts):
    assert split_port(text) == parts


@pytest.mark.parametrize(
    ("address", "domain"),
    [
        ("https://index.docker.io/v1/", "docker.io"),
        ("", "docker.io"),
        ("registry-1.docker.io", "docker.io"),
        ("http://127.0.0.1:5000/v2/", "127.0.0.1:5000"),
        ("reg.example/x", "reg.example"),
    ],
)
def test_server_addresses(address, domain):
    assert domain_of_server_address(address) == domain


def test_hub_has_another_host():
    assert endpoint_host("docker.io") == "registry-1.docker.io"
    assert endpoint_host("ghcr.io") == "ghcr.io"


def test_basic_authorization():
    assert basic_authorization(AuthConfig()) is None
    assert basic_authorization(AuthConfig(username="ä", password="b:c")) == "Basic w6Q6Yjpj"
    assert basic_authorization(AuthConfig(auth="dTpw")) == "Basic dTpw"

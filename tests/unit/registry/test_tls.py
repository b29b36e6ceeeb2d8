"""Certificates: known ones pass, unknown ones only where the registry is listed as insecure."""

import ssl
import subprocess

import pytest

from corten.reference import parse_normalized
from corten.registry.client import RegistryHosts, RegistryTrust, RemoteRegistry
from corten.registry.client.errors import BadResponse, Unreachable
from corten.registry.client.transport import Transport
from imagefiles import Sample
from registry_server import Registry


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    path = tmp_path_factory.mktemp("tls")
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-keyout", str(path / "key"), "-out", str(path / "cert"), "-days", "1", "-subj", "/CN=localhost",
            "-addext", "subjectAltName=IP:127.0.0.1",
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return path


@pytest.fixture
def registry(certificate):
    registry = Registry()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert", certificate / "key")
    registry._server.socket = context.wrap_socket(registry._server.socket, server_side=True)
    registry.add("x", "latest", Sample())
    with registry:
        yield registry


def client(registry, trust):
    remote = RemoteRegistry(parse_normalized(f"{registry.host}/x"), None, RegistryHosts(trust=trust))
    return registry.closing(remote)


class Strict(RegistryTrust):
    def is_insecure(self, host):
        return False


def test_unknown_certificate(registry):
    with pytest.raises(Unreachable, match="tls: failed to verify certificate: x509: "):
        client(registry, Strict()).ping()


def test_insecure_registries_may_have_any(registry):
    found = client(registry, RegistryTrust())
    assert found.manifest("latest").digest == Sample().digest
    assert found.ping().startswith("https://")


def test_known_certificate(registry, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert"))
    assert client(registry, Strict()).manifest("latest").digest == Sample().digest


def test_certs_d_has_authorities_and_our_own_certificate(certificate, tmp_path):
    """A registry that only speaks to whom it knows; what is needed for it lies in a directory of its name."""
    with Registry() as registry:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate / "cert", certificate / "key")
        context.load_verify_locations(certificate / "cert")
        context.verify_mode = ssl.CERT_REQUIRED
        registry._server.socket = context.wrap_socket(registry._server.socket, server_side=True)
        registry.add("x", "latest", Sample())
        directory = tmp_path / registry.host
        directory.mkdir()
        (directory / "ca.crt").write_bytes((certificate / "cert").read_bytes())

        def asked():
            hosts = RegistryHosts(trust=Strict(), directories=[str(tmp_path)])
            with RemoteRegistry(parse_normalized(f"{registry.host}/x"), None, hosts) as remote:
                return remote.manifest("latest").digest

        with pytest.raises(Unreachable):
            asked()
        for ours, theirs in (("me.cert", "cert"), ("me.key", "key")):
            (directory / ours).write_bytes((certificate / theirs).read_bytes())
        assert asked() == Sample().digest


def test_no_redirect_from_https_to_http(registry, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert"))
    registry.redirect = "http://127.0.0.1:1/"
    with pytest.raises(BadResponse, match="refusing to be redirected from https to http"):
        client(registry, Strict()).blob(Sample().id)
    assert Transport()._tls.verify

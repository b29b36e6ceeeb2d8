# ruff: noqa: E501
"""TLS: who is let in, and half-closing through it."""

import base64
import json
import shutil
import socket
import ssl
import subprocess

import pytest
from fakes import SAVED, serving
from wire_client import Wire, eventually

from authz_plugin import AuthorizationPlugin
from corten.api.authorization import Authorization
from corten.api.tls import server_context
from corten.plugins.discovery import PluginFolders
from corten.wire import stdcopy, tls


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    """A CA, and certificates of a server and a client; and a stranger's."""
    directory = tmp_path_factory.mktemp("pki")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=directory)

    for ca, name, san in [
        ("ca", "server", "IP:127.0.0.1"),
        ("ca", "client", "DNS:client"),
        ("no", "stranger", "DNS:x"),
    ]:
        if not (directory / f"{ca}.pem").exists():
            openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                    "-subj", f"/CN={ca}", "-keyout", f"{ca}.key", "-out", f"{ca}.pem")  # fmt: skip
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
                "-keyout", f"{name}.key", "-out", f"{name}.csr")  # fmt: skip
        (directory / "san").write_text(f"subjectAltName={san}")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{ca}.pem", "-CAkey", f"{ca}.key", "-CAcreateserial",
                "-days", "2", "-extfile", "san", "-out", f"{name}.pem")  # fmt: skip
    return directory


@pytest.fixture
def tls_port(fake, pki):
    context = server_context(
        certificate=str(pki / "server.pem"), key=str(pki / "server.key"), client_ca=str(pki / "ca.pem")
    )
    return fake.call(lambda: fake.server.listen_tcp("127.0.0.1", 0, tls=context))[0]


def client_context(pki, name="client") -> ssl.SSLContext:
    shown = [(str(pki / f"{name}.pem"), str(pki / f"{name}.key"))] if name else []
    return tls.client_context(str(pki / "ca.pem"), certificates=shown)


class TLSClient(Wire):
    """A TLS client that can half-close, which Python's SSLSocket cannot."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        super().__init__(sock)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="127.0.0.1")
        self._until_done(self.tls.do_handshake)

    def _flush(self) -> None:
        if self.outgoing.pending:
            self.sock.sendall(self.outgoing.read())

    def _until_done(self, action):
        while True:
            try:
                result = action()
            except ssl.SSLWantReadError:
                self._flush()
                data = self.sock.recv(65536)
                if not data:
                    raise EOFError from None
                self.incoming.write(data)
            else:
                self._flush()
                return result

    def send(self, data: bytes) -> None:
        self.tls.write(data)
        self._flush()

    def half_close(self) -> None:
        with pytest.raises(ssl.SSLWantReadError):
            self.tls.unwrap()
        self._flush()

    def more(self) -> None:
        try:
            data = self._until_done(lambda: self.tls.read(65536))
        except ssl.SSLZeroReturnError:
            data = b""
        if not data:
            raise EOFError
        self.buffer += data

    def head(self):
        while b"\r\n\r\n" not in self.buffer:
            self.more()
        return super().head()

    def rest(self) -> bytes:
        try:
            while True:
                self.more()
        except EOFError:
            data, self.buffer = self.buffer, b""
            return data


def test_requests_over_tls(tls_port, pki):
    with socket.create_connection(("127.0.0.1", tls_port), timeout=20) as sock:
        client = TLSClient(sock, client_context(pki))
        assert client.request("GET", "/_ping")[2] == b"OK"
        assert client.request("GET", "/images/busybox/get")[2] == SAVED
        assert client.request("POST", "/images/load", b"x" * 3_000_000)[0] == 200
        assert client.request("GET", "/_ping", None, "Connection: close")[0] == 200
        assert client.rest() == b""


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("name", ["", "stranger"])
def test_clients_without_our_certificate_stay_outside(fake, tls_port, pki, name, version):
    context = client_context(pki, name)
    context.minimum_version = context.maximum_version = version
    with (
        socket.create_connection(("127.0.0.1", tls_port), timeout=20) as sock,
        pytest.raises((ssl.SSLError, EOFError, OSError)),
    ):
        client = TLSClient(sock, context)
        client.request("GET", "/_ping")
    eventually(lambda: not fake.server.connections)


def test_plain_http_on_a_tls_port(tls_port):
    with socket.create_connection(("127.0.0.1", tls_port), timeout=20) as sock:
        sock.sendall(b"GET /_ping HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"HTTP" not in Wire(sock).rest()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_half_close_through_tls(fake, tls_port, pki, version):
    context = client_context(pki)
    context.minimum_version = context.maximum_version = version
    with socket.create_connection(("127.0.0.1", tls_port), timeout=20) as sock:
        client = TLSClient(sock, context)
        body = client.request(
            "POST", "/containers/create", {"Image": "b", "OpenStdin": True, "StdinOnce": True}
        )[2]
        container = json.loads(body)["Id"]
        early = b"early"
        client.send(
            f"POST /containers/{container}/attach?stream=1&stdin=1&stdout=1&stderr=1 HTTP/1.1\r\nHost: a\r\n"
            "Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n".encode()
            + early
        )
        assert client.head()[0] == 101
        fake.containers.by_id[container].status = "running"
        payload = bytes(range(256)) * 8192
        sent = 0
        decoder = stdcopy.Decoder()
        sock.settimeout(0.001)
        while sent < len(payload):  # both directions at once, or both sides would wait
            client.send(payload[sent : sent + 16384]) if sent < len(payload) else None
            sent += 16384
            try:
                client.more()
            except TimeoutError:
                pass
        sock.settimeout(20)
        found = [*decoder.feed(client.buffer)]
        while sum(len(data) for _, data in found) < len(early + payload):
            client.buffer = b""
            client.more()
            found += decoder.feed(client.buffer)
        client.buffer = b""
        assert b"".join(data for _, data in found) == early + payload
        client.half_close()
        assert [*decoder.feed(client.rest())] == [(2, b"eof\n")]


def test_docker_cli_pipes_through_tls(tls_port, pki):
    for name, target in [("ca", "ca"), ("client", "cert")]:
        (pki / f"{target}.pem").write_bytes((pki / f"{name}.pem").read_bytes())
    (pki / "key.pem").write_bytes((pki / "client.key").read_bytes())
    data = "line\n" * 50000
    done = subprocess.run(
        [shutil.which("docker") or "/usr/local/bin/docker", "-H", f"tcp://127.0.0.1:{tls_port}", "run", "-i", "--rm", "busybox", "cat"],
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(pki), "HOME": str(pki)},
        input=data, capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "eof\n")
    assert done.stdout == data


def test_a_tls_client_that_dies_is_noticed(fake, tls_port, pki):
    with socket.create_connection(("127.0.0.1", tls_port), timeout=20) as sock:
        client = TLSClient(sock, client_context(pki))
        client.send(b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.head()[0] == 200
        eventually(lambda: fake.system.subscribers)
    eventually(lambda: not fake.system.subscribers and not fake.server.connections)


def test_plugins_are_told_who_the_client_is(pki, tmp_path):
    plugin = AuthorizationPlugin(tmp_path / "plugins", "gate", tmp_path / "gate")
    authorization = Authorization(PluginFolders(sockets=(str(tmp_path / "plugins"),), specs=()))
    try:
        with serving(str(tmp_path / "api.sock"), authorization=authorization) as fake:
            fake.call(lambda: authorization.use(["gate"]))
            context = server_context(
                certificate=str(pki / "server.pem"),
                key=str(pki / "server.key"),
                client_ca=str(pki / "ca.pem"),
            )
            port = fake.call(lambda: fake.server.listen_tcp("127.0.0.1", 0, tls=context))[0]
            raw = socket.create_connection(("127.0.0.1", port), timeout=20)
            with client_context(pki).wrap_socket(raw, server_hostname="127.0.0.1") as sock:
                assert Wire(sock).request("GET", "/_ping")[0] == 200
            with fake.connect() as sock:
                assert Wire(sock).request("GET", "/_ping")[0] == 200
    finally:
        plugin.stop()
    remote, _, local, _ = plugin.calls()
    assert (remote["User"], remote["UserAuthNMethod"]) == ("client", "TLS")
    pem = base64.b64decode(remote["RequestPeerCertificates"][0]).decode()
    assert ssl.PEM_cert_to_DER_cert(pem) == ssl.PEM_cert_to_DER_cert((pki / "client.pem").read_text())
    assert not {"User", "UserAuthNMethod", "RequestPeerCertificates"} & set(local)

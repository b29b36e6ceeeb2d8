"""TLS: the certificates are checked, and each direction can be closed by itself."""

import shutil
import socket
import ssl
import subprocess
import threading

import pytest

from corten.client import address
from corten.client.errors import ConnectionFailed
from corten.client.transport import connect


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    assert shutil.which("openssl")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        + ["-keyout", f"{folder}/key.pem", "-out", f"{folder}/cert.pem", "-days", "2"]
        + ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
        check=True,
        capture_output=True,
    )
    return folder


@pytest.fixture
def server(certificate):
    """A TLS server that answers with what it got, in capitals, after the client has closed its half."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        conn, _ = listener.accept()
        try:
            answer(conn)
        except OSError:
            pass  # the client refused us and hung up

    def answer(conn):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_side=True)
        got, closed = b"", False
        with conn:
            while not closed:
                try:
                    data = tls.read(65536)
                    got, closed = got + data, not data  # nothing: close_notify
                except ssl.SSLWantReadError:
                    conn.sendall(outgoing.read())
                    data = conn.recv(65536)
                    if not data:
                        return
                    incoming.write(data)
                except (ssl.SSLError, OSError):
                    return
            tls.write(got.upper())
            conn.sendall(outgoing.read())
            conn.shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    listener.close()
    thread.join(5)


def files(certificate, verify=True):
    return address.TLSFiles(f"{certificate}/cert.pem", "", "", verify=verify)


def test_half_close(certificate, server):
    stream = connect(address.parse(f"tcp://localhost:{server}", files(certificate)))
    stream.sendall(b"hello " * 10000)
    stream.close_write()
    got = b""
    while data := stream.recv():
        got += data
    stream.close()
    assert got == b"HELLO " * 10000


def test_unknown_certificate_is_refused(certificate, server):
    with pytest.raises(ConnectionFailed, match="certificate verify failed"):
        connect(address.parse(f"https://localhost:{server}"))


def test_verification_can_be_left_out(certificate, server):
    connect(address.parse(f"tcp://127.0.0.1:{server}", files(certificate, verify=False))).close()

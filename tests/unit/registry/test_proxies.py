import socket
import threading

import pytest

from corten.errors import InvalidParameter
from corten.registry.client import Proxies
from corten.registry.client.proxies import Proxy
from corten.registry.client.transport import Transport

ENVIRONMENT = {"HTTP_PROXY": "http://one:3128", "https_proxy": "two:8080", "NO_PROXY": "own.invalid,.sub.x"}


def test_environment():
    proxies = Proxies(environment=ENVIRONMENT)
    assert proxies.find("http", "a.invalid", None) == Proxy("one", 3128)
    assert proxies.find("https", "a.invalid", 443) == Proxy("two", 8080)


def test_settings_come_first():
    proxies = Proxies({"http-proxy": "http://user:p%40ss@three", "no-proxy": "*.y"}, ENVIRONMENT)
    assert proxies.find("http", "own.invalid", None) == Proxy("three", 80, "Basic dXNlcjpwQHNz")
    assert proxies.find("http", "a.y", None) is None


@pytest.mark.parametrize(
    ("exceptions", "host", "port", "direct"),
    [
        ("", "localhost", None, True),
        ("", "127.9.9.9", 5000, True),
        ("", "::1", None, True),
        ("a.b", "a.b", None, True),
        ("a.b", "x.a.b", None, True),
        ("a.b", "xa.b", None, False),
        (".a.b", "a.b", None, False),
        (".a.b", "x.a.b", None, True),
        ("a.b:5000", "a.b", 5000, True),
        ("a.b:5000", "a.b", 5001, False),
        ("10.0.0.0/8", "10.1.2.3", None, True),
        ("10.0.0.0/8", "11.1.2.3", None, False),
        ("10.1.2.3", "10.1.2.3", None, True),
        ("A.B", "a.b", None, True),
        ("*", "a.b", None, True),
    ],
)
def test_exceptions(exceptions, host, port, direct):
    proxies = Proxies({"http-proxy": "p:1", "no-proxy": exceptions})
    assert (proxies.find("http", host, port) is None) == direct


@pytest.mark.parametrize("text", ["https://p", "socks5://p:1", "http://", "http://p:99999999"])
def test_what_is_no_proxy(text):
    with pytest.raises(InvalidParameter, match="invalid proxy"):
        Proxies({"http-proxy": text})


@pytest.fixture
def proxy():
    """A server that notes the first line it gets and refuses."""
    server = socket.create_server(("127.0.0.1", 0))
    lines = []

    def serve():
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                head = connection.recv(65536).decode()
                lines.append((head.split("\r\n")[0], "Proxy-Authorization: Basic dTpw" in head))
                connection.sendall(
                    b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                )

    threading.Thread(target=serve, daemon=True).start()
    yield f"http://u:p@127.0.0.1:{server.getsockname()[1]}", lines
    server.shutdown(socket.SHUT_RDWR)
    server.close()


def test_requests_go_through_it(proxy):
    url, lines = proxy
    transport = Transport(proxies=Proxies({"http-proxy": url, "https-proxy": url}))
    with transport.request("GET", "http://reg.invalid:5000/v2/", {}) as response:
        assert response.status == 403
    with pytest.raises(Exception, match="403"):
        transport.request("GET", "https://reg.invalid/v2/", {})
    assert lines[0] == ("GET http://reg.invalid:5000/v2/ HTTP/1.1", True)
    assert lines[1][0].startswith("CONNECT reg.invalid:443 ") and lines[1][1]

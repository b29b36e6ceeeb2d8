"""ADD from a URL and contexts from URLs, against a server on loopback."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

pytestmark = pytest.mark.root


@pytest.fixture
def server():
    files = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            found = files.get(self.path)
            if found is None:
                self.send_error(404)
                return
            if found[0] == "secret" and self.headers["Authorization"] != "Basic bWU6czNjcmV0":
                self.send_error(401)
                return
            if found[0] == "redirect":
                self.send_response(302)
                self.send_header("Location", found[1])
                self.end_headers()
                return
            self.send_response(200)
            self.send_header("Content-Type", found[0])
            self.send_header("Content-Length", str(len(found[1]) + 10 * (found[0] == "short")))
            self.send_header("Last-Modified", "Tue, 14 Nov 2023 22:13:20 GMT")
            self.end_headers()
            self.wfile.write(found[1])

        def log_message(self, *_):
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    files["url"] = f"http://127.0.0.1:{httpd.server_port}"
    yield files
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def test_add_a_url(site, server):
    site.add_busybox()
    server["/d/file.txt?x=1"] = ("text/plain", b"content")
    digest = "sha256:" + hashlib.sha256(b"content").hexdigest()
    url = f"{server['url']}/d/file.txt?x=1"
    dockerfile = f"FROM bb:1\nADD --checksum={digest} {url} /x/\nADD --chmod=755 {url} /y\n"
    result = site.build(dockerfile)
    status = result.find("x/file.txt").stat()
    assert (status.st_mode & 0o777, status.st_mtime) == (0o600, 1_700_000_000)
    assert result.find("y").stat().st_mode & 0o777 == 0o755
    assert site.build(dockerfile).text.count("Using cache") == 2
    server["/d/file.txt?x=1"] = ("text/plain", b"changed")
    assert "digest mismatch" in str(site.build(dockerfile).error)


def test_what_cannot_be_fetched(site, server):
    site.add_busybox()
    missing = site.build(f"FROM bb:1\nADD {server['url']}/none /\n")
    assert str(missing.error).endswith("with status 404 Not Found")
    for host, reason in (
        ("127.0.0.1:1", "dial tcp 127.0.0.1:1: connect: connection refused"),
        ("none.invalid", "dial tcp: lookup none.invalid: no such host"),
    ):
        unreachable = site.build(f"FROM bb:1\nADD http://me:s3cret@{host}/f /\n")
        assert str(unreachable.error).endswith(f'@{host}/f": {reason}')
        assert "s3cret" not in str(unreachable.error)
    server["/away"] = ("redirect", "file:///etc/passwd")
    assert site.build(f"FROM bb:1\nADD {server['url']}/away /\n").error is not None


def test_a_context_from_a_url(site, server):
    site.add_busybox()
    server["/context.tar"] = (
        "application/x-tar",
        site.tar({"Dockerfile": "FROM bb:1\nCOPY f /\n", "f": "remote"}),
    )
    server["/Dockerfile"] = ("text/plain; charset=utf-8", b"FROM bb:1\nRUN echo alone > /a\n")
    assert site.build("", remote=f"{server['url']}/context.tar").find("f").read_text() == "remote"
    assert site.build("", remote=f"{server['url']}/Dockerfile").find("a").read_text() == "alone\n"
    for name in ("context.tar", "Dockerfile"):  # as servers send what they know nothing of
        server[f"/{name}"] = ("application/octet-stream", server[f"/{name}"][1])
        assert site.build("", remote=f"{server['url']}/{name}").error is None
    digest = hashlib.sha256(server["/context.tar"][1]).hexdigest()
    assert site.build("", remote=f"{server['url']}/context.tar#sha256:{digest}").error is None
    other = site.build("", remote=f"{server['url']}/context.tar#sha256:{'0' * 64}")
    assert "digest mismatch" in str(other.error)


def test_a_file_that_ends_early_is_none(site, server):
    site.add_busybox()
    server["/short"] = ("short", b"half")
    assert "10 bytes too early" in str(site.build(f"FROM bb:1\nADD {server['url']}/short /\n").error)


def test_credentials_in_a_url_are_used_and_not_shown(site, server):
    site.add_busybox()
    server["/f"] = ("secret", b"content")
    url = server["url"].replace("://", "://me:s3cret@")
    result = site.build(f"FROM bb:1\nADD {url}/f /\n")
    assert result.find("f").read_text() == "content"
    assert "s3cret" not in result.text
    failed = site.build(f"FROM bb:1\nADD {url}/none /\n")
    assert "s3cret" not in failed.text + str(failed.error)

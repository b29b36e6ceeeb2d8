"""Pages, metrics, webhooks, command line."""

import http.client
import json
import queue
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from corten.registry.server import main


def test_pages(registry):
    digest = registry.push_image("team/app", "v1", b"x" * 3000)
    status, headers, body = registry("GET", "/")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert b'<a href="/r/team/app">team/app</a>' in body
    _, _, body = registry("GET", "/r/team/app")
    assert b"v1" in body
    assert digest[:19].encode() in body
    assert f"docker pull {registry.host}/team/app:v1".encode() in body
    assert registry("GET", "/r/none")[0] == 404
    assert registry("GET", "/r/%3Cscript%3E")[0] == 404


def test_a_hostile_host_header_is_escaped(registry):
    registry.push_image("app", "v1")
    _, _, body = registry("GET", "/r/app", None, {"Host": "<script>x"})
    assert b"<script>" not in body


def test_metrics(registry):
    registry.push_image("app", "v1")
    registry("GET", "/v2/app/manifests/v1")
    registry("BREW", "/v2/app/manifests/v1")
    text = registry("GET", "/metrics")[2].decode()
    assert 'corten_registry_requests_total{kind="manifest",method="GET",status="200"} 1' in text
    assert 'corten_registry_requests_total{kind="manifest",method="PUT",status="201"} 1' in text
    assert "corten_registry_blobs 2" in text
    assert "corten_registry_repositories 1" in text
    assert "BREW" not in text
    assert registry("GET", "/health")[2] == b"ok\n"


@pytest.fixture
def listener():
    """A server that records what is posted to it; `failures` answers are errors first."""
    received, failures = queue.Queue(), []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if failures:
                self.send_response(failures.pop())
            else:
                received.put((self.headers, json.loads(body)))
                self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    server.url = f"http://127.0.0.1:{server.server_address[1]}/hook"
    server.received, server.failures = received, failures
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_webhooks(new_registry, listener):
    hook = {"url": listener.url, "headers": {"X-Key": "k"}, "actions": ["push", "pull", "delete"]}
    registry = new_registry(webhooks=[hook])
    digest = registry.push_image("app", "v1")
    headers, document = listener.received.get(timeout=10)
    assert headers["X-Key"] == "k"
    (event,) = document["events"]
    assert (event["action"], event["target"]["repository"], event["target"]["tag"]) == ("push", "app", "v1")
    assert event["target"]["digest"] == digest
    registry("GET", "/v2/app/manifests/v1")
    assert listener.received.get(timeout=10)[1]["events"][0]["action"] == "pull"
    registry("DELETE", f"/v2/app/manifests/{digest}")
    assert listener.received.get(timeout=10)[1]["events"][0]["action"] == "delete"


def test_webhooks_are_tried_again(new_registry, listener, monkeypatch):
    listener.failures.extend([503])
    registry = new_registry(webhook=[listener.url])
    registry.push_image("app", "v1")
    assert listener.received.get(timeout=10)[1]["events"][0]["action"] == "push"


def test_as_a_process(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", "import sys; from corten.registry.server.main import main; sys.exit(main())",
         "--listen", "127.0.0.1:0", "--root", str(tmp_path / "r")],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert "serving on 127.0.0.1:" in process.stderr.readline()
    finally:
        process.terminate()
        assert process.wait(timeout=20) == 0
        process.stderr.close()


def test_a_bad_command_line(tmp_path, capsys):
    assert main.run(["--config", str(tmp_path / "none.json")]) == 1
    assert "corten-registry: cannot read" in capsys.readouterr().err
    (tmp_path / "c.json").write_text('{"typo": 1}')
    assert main.run(["--config", str(tmp_path / "c.json")]) == 1
    assert "unknown setting: typo" in capsys.readouterr().err


def test_a_moment_without_room_for_threads_ends(registry, monkeypatch):
    start = threading.Thread.start

    def no_room(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", no_room)
    with pytest.raises((OSError, http.client.HTTPException)):
        registry("GET", "/v2/")
    monkeypatch.setattr(threading.Thread, "start", start)
    assert registry("GET", "/v2/")[0] == 200

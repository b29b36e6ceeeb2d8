"""Plugins that answer what they should not."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from socketserver import UnixStreamServer

import pytest

from corten.plugins.client import Plugin, PluginError, Reply
from corten.plugins.discovery import PluginAddress
from corten.volumes.plugin import PluginDriver
from corten.volumes.volume import Volume


@contextmanager
def answering(path, body, status=200):
    """A plugin that gives the same answer to everything."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

        def do_POST(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with UnixStreamServer(str(path), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        try:
            yield Plugin(PluginAddress(name="shelf", address=f"unix://{path}"))
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    "body", [b'{"Implements": 7}', b'{"Implements": [1]}', b"[]", b"nonsense", b'{"Implements": "VolumeDriver"}']
)  # fmt: skip
def test_what_is_not_as_it_should_be_is_said_to_be_so(tmp_path, body):
    with (
        answering(tmp_path / "p", body) as plugin,
        pytest.raises(PluginError, match=r"Plugin\.Activate: plugin shelf gave an answer that is not as"),
    ):
        plugin.activate()


@pytest.mark.parametrize("body", [b'{"Implements": null}', b"{}", b"", b'{"Implements": [], "Other": 1}'])
def test_nothing_is_nothing(tmp_path, body):
    with answering(tmp_path / "p", body) as plugin:
        assert plugin.activate() == []


@pytest.mark.parametrize(
    ("status", "body", "text"),
    [(200, b'{"Err": "full"}', "M: full"), (500, b"broken", "M: broken"), (404, b"{}", "answered 404")],
)
def test_its_own_words_are_told(tmp_path, status, body, text):
    with answering(tmp_path / "p", body, status) as plugin, pytest.raises(PluginError, match=text):
        plugin.call("M", None, Reply)


@pytest.mark.parametrize(
    "body",
    [
        b'{"Capabilities": "all", "Volumes": 3, "Mountpoint": 4, "Volume": "x"}',
        b'{"Capabilities": {"Scope": 1}, "Volumes": [1], "Mountpoint": [], "Volume": {"Name": 1}}',
    ],
)
def test_a_volume_plugin_of_wrong_types_is_an_error_of_its_own(tmp_path, body):
    with answering(tmp_path / "p", body) as plugin:
        driver = PluginDriver(plugin, "/root")
        driver.learn_scope()
        assert driver.scope == "local"
        for call in (lambda: driver.mount(Volume(name="v", mountpoint="", created_ns=0)), driver.names):
            with pytest.raises(PluginError, match="plugin shelf gave an answer"):
                call()
        assert driver.knows("v") is False

"""JSON calls on a real engine, and the image that its containers are made of."""

import http.client
import io
import json
import socket
import tarfile

BUSYBOX = "/bin/busybox"
IMAGE = "engine-test"


class Api:
    """JSON calls on an engine."""

    def __init__(self, engine):
        self.engine = engine

    def call(self, method, path, body=None, *, status=None):
        code, data = self.engine.request(method, f"/v1.51{path}", body)
        assert code in ((status,) if status else (200, 201, 204)), (code, data)
        return json.loads(data) if data[:1] in (b"{", b"[") else data

    def create(self, *cmd, image=IMAGE, name="", **config):
        host = {"NetworkMode": "none", **config.pop("host", {})}
        body = {"Image": image, "Cmd": list(cmd), "HostConfig": host, **config}
        return self.call("POST", f"/containers/create?name={name}", body)["Id"]

    def start(self, *cmd, **config):
        identifier = self.create(*cmd, **config)
        self.call("POST", f"/containers/{identifier}/start")
        return identifier

    def wait(self, identifier):
        return self.call("POST", f"/containers/{identifier}/wait")["StatusCode"]

    def logs(self, identifier, query="stdout=1&stderr=1"):
        data = self.call("GET", f"/containers/{identifier}/logs?{query}")
        streams = {1: b"", 2: b""}
        while data:
            length = int.from_bytes(data[4:8], "big")
            streams[data[0]] += data[8 : 8 + length]
            data = data[8 + length :]
        return streams[1].decode(), streams[2].decode()

    def output(self, *cmd, **config):
        identifier = self.start(*cmd, **config)
        code = self.wait(identifier)
        out, err = self.logs(identifier)
        self.remove(identifier)
        return code, out, err

    def remove(self, identifier):
        self.call("DELETE", f"/containers/{identifier}?force=1")

    def state(self, identifier):
        return self.call("GET", f"/containers/{identifier}/json")["State"]


def image_tar():
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.add(BUSYBOX, "bin/busybox")
        for name in (
            "sh",
            "sleep",
            "cat",
            "id",
            "echo",
            "env",
            "ls",
            "ps",
            "tail",
            "tr",
            "hostname",
            "touch",
        ):
            entry = tarfile.TarInfo(f"bin/{name}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(entry)
        for name, text in (("etc/passwd", "root:x:0:0:r:/root:/bin/sh\nweb:x:33:33:w:/srv:/bin/sh\n"),):
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
        entry = tarfile.TarInfo("data/file")
        entry.size = 5
        archive.addfile(entry, io.BytesIO(b"image"))
    return out.getvalue()


def load_image(engine):
    connection = http.client.HTTPConnection("engine")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(engine.socket))
    connection.request("POST", f"/v1.51/images/create?fromSrc=-&repo={IMAGE}", image_tar())
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    assert answer.status == 200 and b'"error"' not in data, data

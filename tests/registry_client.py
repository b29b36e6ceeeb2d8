"""Our registry on loopback, and a client that speaks plain HTTP to it."""

import hashlib
import http.client
import json
from urllib.parse import urlsplit

from corten.registry.server.config import configured
from corten.registry.server.main import Registry

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


def sha256(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Client:
    def __init__(self, port, context=None):
        self.port, self.context = port, context
        self.host = f"127.0.0.1:{port}"

    def __call__(self, method, path, body=None, headers=None):
        """(status, headers, body)"""
        if self.context is None:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        else:
            connection = http.client.HTTPSConnection("localhost", self.port, timeout=20, context=self.context)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def push_blob(self, repository, data, headers=None):
        digest = sha256(data)
        status, _, body = self(
            "POST", f"/v2/{repository}/blobs/uploads/?digest={digest}", data, headers or {}
        )
        assert status == 201, body
        return digest

    def push_manifest(self, repository, reference, document, media_type=MANIFEST, headers=None):
        raw = document if isinstance(document, bytes) else json.dumps(document).encode()
        status, answer, body = self(
            "PUT",
            f"/v2/{repository}/manifests/{reference}",
            raw,
            {"Content-Type": media_type, **(headers or {})},
        )
        assert status == 201, body
        return answer["Docker-Content-Digest"]

    def push_image(self, repository, tag, layer=b"a layer", **more):
        """An image of one layer; returns its digest."""
        layer_digest = self.push_blob(repository, layer)
        config_digest = self.push_blob(repository, b"{}")
        return self.push_manifest(
            repository, tag, manifest(config_digest, 2, (layer_digest, len(layer)), **more)
        )

    def error(self, *request):
        status, _, body = self(*request)
        return status, json.loads(body)["errors"][0]["code"]

    def start_upload(self, repository):
        status, headers, _ = self("POST", f"/v2/{repository}/blobs/uploads/")
        assert status == 202
        return urlsplit(headers["Location"]).path


def manifest(config, size, *layers, **more):
    return {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": size},
        "layers": [
            {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest, "size": length}
            for digest, length in layers
        ],
        **more,
    }


class Registries:
    """Registries of one test, below a directory: start(setting=value) gives a Client with .registry and .root."""

    def __init__(self, directory):
        self._directory = directory
        self._running = []

    def start(self, name="registry", context=None, **settings):
        root = str(self._directory / name)
        registry = Registry(
            configured({"listen": ["127.0.0.1:0"], "root": root, "gc_interval": 0.0, **settings})
        )
        self._running.append(registry)
        client = Client(registry.start()[0], context)
        client.registry, client.root = registry, root
        client.close = lambda: (registry.close(), self._running.remove(registry))
        return client

    def close(self):
        for registry in self._running:
            registry.close()

"""A registry that serves one image, for pull scenarios: `python registry.py IMAGE_TAR PORT`.

It holds `demo:1` (a Docker schema 2 manifest with one gzip layer) and `broken:1`, whose layer is wrong.
"""

import gzip
import hashlib
import json
import sys
import tarfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


def digest(data: bytes) -> str:
    """The content's name."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def make_manifest(config: bytes, layer: bytes) -> bytes:
    """A manifest of one layer."""

    def describe(media_type: str, data: bytes) -> dict[str, object]:
        return {
            "mediaType": f"application/vnd.docker.{media_type}",
            "size": len(data),
            "digest": digest(data),
        }

    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": describe("container.image.v1+json", config),
            "layers": [describe("image.rootfs.diff.tar.gzip", layer)],
        }
    ).encode()


def contents(image_tar: str) -> dict[str, tuple[str, bytes]]:
    """URL path -> (content type, body) of everything that the registry has."""
    with tarfile.open(image_tar) as tar:
        (entry,) = json.load(tar.extractfile("manifest.json"))
        config = tar.extractfile(entry["Config"]).read()
        layer = gzip.compress(tar.extractfile(entry["Layers"][0]).read(), 1, mtime=0)

    broken = gzip.compress(b"not what the manifest says")
    found = {"/v2/": ("application/json", b"{}")}
    for name, claimed, served in (("demo", layer, layer), ("broken", layer + b"\0", broken)):
        manifest = make_manifest(config, claimed)
        for reference in ("1", digest(manifest)):
            found[f"/v2/{name}/manifests/{reference}"] = (MANIFEST, manifest)
        found[f"/v2/{name}/blobs/{digest(config)}"] = ("application/octet-stream", config)
        found[f"/v2/{name}/blobs/{digest(claimed)}"] = ("application/octet-stream", served)
    return found


class Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD from the table."""

    protocol_version = "HTTP/1.1"
    table: dict[str, tuple[str, bytes]]

    def do_GET(self) -> None:
        kind, body = self.table.get(self.path, (None, b""))
        if kind is None:
            code = "MANIFEST_UNKNOWN" if "/manifests/" in self.path else "BLOB_UNKNOWN"
            errors = {"errors": [{"code": code, "message": "manifest unknown", "detail": None}]}
            kind, body = "application/json", json.dumps(errors).encode()
            self.send_response(404)
        else:
            self.send_response(200)
            self.send_header("Docker-Content-Digest", digest(body))
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    """Clients may hang up when they like."""

    def handle_error(self, request: object, client_address: object) -> None:
        pass


def main() -> None:
    Handler.table = contents(sys.argv[1])
    Server(("127.0.0.1", int(sys.argv[2])), Handler).serve_forever()


if __name__ == "__main__":
    main()

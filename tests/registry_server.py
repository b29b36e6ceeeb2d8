"""A small OCI registry on loopback, with the bad habits that tests ask for."""

import base64
import json
import re
import socket
import threading
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from imagefiles import INDEX, MANIFEST, sha256

_UPLOAD = re.compile(r"/v2/(?P<name>.+?)/blobs/uploads/(?P<which>[^/?]*)")
_PATH = re.compile(r"/v2/(?P<name>.+?)/(?P<what>manifests|blobs|tags)/(?P<which>[^/]+)$")


class Registry:
    """with Registry() as r: r.add("x", "latest", sample); ... r.host

    auth: None, "basic" or "token" (user:secret). `requests` records (method, path, Authorization).
    Faults: `break_after` bytes of a blob once per entry of `breaks`; `replace` serves other bytes for a
    digest or tag; `redirect` sends blobs elsewhere; `break_uploads`.
    """

    def __init__(self, auth=None, realm=None, ranges=True):
        self.auth, self.realm, self.ranges = auth, realm, ranges
        self.manifests, self.blobs, self.replace, self.media_types = {}, {}, {}, {}
        self.requests, self.breaks = [], {}
        self.repositories, self.uploads = {}, {}  # name: digests that were put there; upload id: bytes
        self.headers = {}  # of answers with a manifest
        self.break_uploads = []  # bytes after which the next PATCH or PUT with a body breaks
        self.chunks = True
        self.redirect = None
        self.identity_token = ""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._clients = ExitStack()
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def host(self):
        return f"127.0.0.1:{self._server.server_address[1]}"

    def add(self, name, tag, sample):
        self.put_manifest(name, tag, sample.manifest, MANIFEST)
        for blob in (sample.config, *sample.blobs):
            self.blobs[sha256(blob)] = blob

    def add_attested(self, name, tag, sample, attestation):
        self.add(name, sample.digest, sample)
        self.add(name, attestation.digest, attestation)
        self.put_manifest(name, tag, attestation.index, INDEX)

    def put_manifest(self, name, tag, raw, media_type):
        for key in (tag, sha256(raw)):
            self.manifests[name, key] = raw
            self.media_types[name, key] = media_type

    def add_index(self, name, tag, platforms):
        """platforms: {"os/arch[/variant]": sample}."""
        entries = []
        for platform, sample in platforms.items():
            self.add(name, sample.digest, sample)
            system, architecture, *variant = platform.split("/")
            where = {
                "os": system,
                "architecture": architecture,
                **({"variant": variant[0]} if variant else {}),
            }
            entries.append(
                {
                    "mediaType": MANIFEST,
                    "digest": sample.digest,
                    "size": len(sample.manifest),
                    "platform": where,
                }
            )
        raw = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).encode()
        self.put_manifest(name, tag, raw, INDEX)
        return raw

    def __enter__(self):
        self._thread.start()
        return self

    def closing(self, client):
        """The client, which is closed before the registry is."""
        return self._clients.enter_context(client)

    def __exit__(self, *_):
        self._clients.close()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def has(self, name, digest):
        return digest in (self.repositories.get(name, ()) if self.repositories else self.blobs)

    def authorized(self, header):
        if self.auth == "basic":
            return header == "Basic " + base64.b64encode(b"user:secret").decode()
        return self.auth is None or header == "Bearer the-token"

    def challenge(self):
        if self.auth == "basic":
            return 'Basic realm="test"'
        realm = self.realm or f"http://{self.host}/token"
        return f'Bearer realm="{realm}",service="test"'

    def _handler(registry):
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def answer(self, status, body=b"", **headers):
                self.send_response(status)
                headers.setdefault("Content_Length", str(len(body)))
                for key, value in headers.items():
                    self.send_header(key.replace("_", "-"), value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def error(self, status, code, message, **headers):
                body = json.dumps(
                    {"errors": [{"code": code, "message": message, "detail": {"of": "test"}}]}
                ).encode()
                self.answer(status, body, Content_Type="application/json", **headers)

            def do_GET(self):
                self.body = b""
                if self.headers.get("Content-Length"):
                    self.body = self.rfile.read(self.limited(int(self.headers["Content-Length"])))
                if self.headers.get("Content-Length", "0") != str(len(self.body)):
                    return self.broken()
                return self.handle_request()

            do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

            def limited(self, length):
                if length and self.command in ("PUT", "PATCH") and registry.break_uploads:
                    return min(length, registry.break_uploads.pop(0))
                return length

            def broken(self):
                """What has come of a chunk counts."""
                if self.command == "PATCH":
                    registry.uploads[self.path.rpartition("/")[2]] += self.body
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)

            def uploading(self, name, upload):
                query = parse_qs(urlsplit(self.path).query)
                if self.command == "POST" and "mount" in query:
                    digest, source = query["mount"][0], query["from"][0]
                    if digest in registry.repositories.get(source, ()):
                        registry.repositories.setdefault(name, set()).add(digest)
                        return self.answer(201, Location=f"/v2/{name}/blobs/{digest}")
                if self.command == "POST":
                    upload = str(len(registry.uploads))
                    registry.uploads[upload] = b""
                    return self.answer(202, Location=f"/v2/{name}/blobs/uploads/{upload}")
                if upload not in registry.uploads:
                    return self.error(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
                if self.command == "DELETE":
                    del registry.uploads[upload]
                    return self.answer(204)
                if self.command == "PATCH" and not registry.chunks:
                    return self.error(405, "UNSUPPORTED", "no chunks here")
                if self.command == "PATCH":
                    start = self.headers["Content-Range"].partition("-")[0]
                    if int(start) != len(registry.uploads[upload]):
                        return self.answer(416)
                registry.uploads[upload] += self.body
                content = registry.uploads[upload]
                if self.command in ("PATCH", "GET"):
                    return self.answer(
                        202 if self.command == "PATCH" else 204,
                        Location=f"/v2/{name}/blobs/uploads/{upload}",
                        Range=f"0-{max(0, len(content) - 1)}",
                    )
                digest = query["digest"][0]
                if sha256(content) != digest:
                    return self.error(400, "DIGEST_INVALID", "provided digest did not match")
                registry.blobs[digest] = registry.uploads.pop(upload)
                registry.repositories.setdefault(name, set()).add(digest)
                return self.answer(201, Location=f"/v2/{name}/blobs/{digest}")

            def handle_request(self):
                header = self.headers.get("Authorization")
                registry.requests.append((self.command, self.path, header))
                if self.path.startswith("/token"):
                    return self.token(header)
                if not registry.authorized(header):
                    return self.error(
                        401, "UNAUTHORIZED", "authentication required", WWW_Authenticate=registry.challenge()
                    )
                if self.path == "/v2/":
                    return self.answer(200, b"{}")
                upload = _UPLOAD.match(self.path)
                if upload is not None:
                    return self.uploading(upload["name"], upload["which"])
                found = _PATH.match(self.path.partition("?")[0])
                if found is None:
                    return self.answer(404, b"<html>nothing here</html>", Content_Type="text/html")
                return getattr(self, found["what"])(found["name"], found["which"])

            def token(self, header):
                if self.command == "POST":
                    form = parse_qs(self.body.decode())
                    if form.get("refresh_token") != ["the-identity"]:
                        return self.error(401, "UNAUTHORIZED", "refresh token refused")
                    return self.answer(200, b'{"access_token": "the-token"}')
                query = parse_qs(urlsplit(self.path).query)
                if header not in (None, "Basic " + base64.b64encode(b"user:secret").decode()):
                    return self.error(401, "UNAUTHORIZED", "incorrect username or password")
                denied = header is None and "private" in "".join(query.get("scope", []))
                token = "nothing" if denied else "the-token"
                answer = {"token": token}
                if "offline_token" in query:
                    answer["refresh_token"] = registry.identity_token
                return self.answer(200, json.dumps(answer).encode())

            def tags(self, name, _):
                tags = sorted(t for n, t in registry.manifests if n == name and ":" not in t)
                self.answer(200, json.dumps({"name": name, "tags": tags}).encode())

            def manifests(self, name, which):
                if self.command == "PUT":
                    registry.put_manifest(name, which, self.body, self.headers["Content-Type"])
                    return self.answer(201, Docker_Content_Digest=sha256(self.body))
                raw = registry.replace.get(which, registry.manifests.get((name, which)))
                if raw is None:
                    if not any(n == name for n, _ in registry.manifests):
                        return self.error(404, "NAME_UNKNOWN", "repository name not known to registry")
                    return self.error(404, "MANIFEST_UNKNOWN", "manifest unknown")
                kind = registry.media_types.get((name, which), MANIFEST)
                return self.answer(200, raw, Content_Type=kind, **registry.headers)

            def blobs(self, name, which):
                if self.command == "HEAD" and not registry.has(name, which):
                    return self.answer(404)
                if registry.redirect:
                    return self.answer(307, Location=registry.redirect + which)
                data = registry.replace.get(which, registry.blobs.get(which))
                if data is None:
                    return self.error(404, "BLOB_UNKNOWN", "blob unknown to registry")
                start = 0
                wanted = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
                headers = {}
                if wanted and registry.ranges:
                    start = int(wanted[1])
                    end = int(wanted[2] or len(data) - 1)
                    headers["Content_Range"] = f"bytes {start}-{end}/{len(data)}"
                    data = data[: end + 1]
                part = data[start:]
                if registry.breaks.get(which):
                    count = registry.breaks[which].pop(0)
                    self.send_response(206 if headers else 200)
                    self.send_header("Content-Length", str(len(part)))
                    for key, value in headers.items():
                        self.send_header(key.replace("_", "-"), value)
                    self.end_headers()
                    self.wfile.write(part[:count])
                    self.close_connection = True
                    return None
                return self.answer(206 if headers else 200, part, **headers)

        return Handler

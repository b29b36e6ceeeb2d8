"""Making layers and images as bytes, for tests of stores and registries."""

import gzip
import hashlib
import io
import json
import os
import stat

from corten.snapshots.tar_reader import DIRECTORY, HARD_LINK, SYMLINK, TarEntry
from corten.snapshots.tar_writer import TarWriter


def sha256(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def tar(*members):
    """A tar of TarEntry, (TarEntry, bytes) or (name, bytes)."""
    out = io.BytesIO()
    writer = TarWriter(out.write)
    for member in members:
        if isinstance(member, TarEntry):
            writer.add(member)
        else:
            entry, content = member
            writer.add_bytes(TarEntry(entry.encode()) if isinstance(entry, str) else entry, content)
    writer.close()
    return out.getvalue()


def tree(root):
    """Everything below a directory that a layer keeps, as one comparable value."""
    found = {}
    for parent, names, files in os.walk(root):
        for name in names + files:
            path = os.path.join(parent, name)
            status = os.lstat(path)
            kind = stat.S_IFMT(status.st_mode)
            special = stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode)
            content = b""
            if stat.S_ISREG(status.st_mode):
                with open(path, "rb") as f:
                    content = hashlib.sha256(f.read()).hexdigest()
            elif stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            whiteout = special and status.st_rdev == 0
            found[os.path.relpath(path, root)] = (
                kind, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, content,
                0 if whiteout else int(status.st_mtime),  # whiteouts have neither time nor links
                status.st_nlink if stat.S_ISREG(status.st_mode) else 0,
                status.st_rdev if special else 0,
                {
                    n: os.getxattr(path, n, follow_symlinks=False)
                    for n in os.listxattr(path, follow_symlinks=False)
                    if n == "trusted.overlay.opaque" or not n.startswith("trusted.overlay.")
                },
            )  # fmt: skip
    return found


def directory(name, mode=0o755, **more):
    return TarEntry(name.encode(), DIRECTORY, mode, **more)


def symlink(name, target):
    return TarEntry(name.encode(), SYMLINK, 0o777, linkname=target.encode())


def hard_link(name, target):
    return TarEntry(name.encode(), HARD_LINK, 0o644, linkname=target.encode())


def config(*layers, created="2024-01-02T03:04:05.678Z", **more):
    """An image configuration for these uncompressed layers."""
    document = {
        "created": created,
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["sh"], "Env": ["A=b"], "Labels": {"who": "test"}},
        "rootfs": {"type": "layers", "diff_ids": [sha256(layer) for layer in layers]},
        "history": [{"created": created, "created_by": f"step {i}"} for i in range(len(layers))],
    }
    return json.dumps({**document, **more}).encode()


def docker_archive(*images):
    """docker save's older form. images: (config bytes, [layers], [tags])."""
    members, items = {}, []
    for raw_config, layers, tags in images:
        name = sha256(raw_config)[7:] + ".json"
        members[name] = raw_config
        paths = []
        for layer in layers:
            path = sha256(layer)[7:] + "/layer.tar"
            members[path] = layer
            paths.append(path)
        items.append({"Config": name, "RepoTags": tags, "Layers": paths})
    members["manifest.json"] = json.dumps(items).encode()
    return tar(*members.items())


def descriptor(data, media_type, **more):
    return {"mediaType": media_type, "digest": sha256(data), "size": len(data), **more}


MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"


def manifest(raw_config, blobs, media_type=LAYER + "+gzip"):
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(raw_config, CONFIG),
            "layers": [descriptor(blob, media_type) for blob in blobs],
        }
    ).encode()


def index(*descriptors):
    return json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": list(descriptors)}).encode()


def oci_layout(*blobs, manifests):
    """An OCI layout in a tar; manifests: descriptors for index.json."""
    members = {f"blobs/sha256/{sha256(blob)[7:]}": blob for blob in blobs}
    members["oci-layout"] = b'{"imageLayoutVersion":"1.0.0"}'
    members["index.json"] = index(*manifests)
    return tar(*members.items())


class Attestation:
    """Statements about a sample, as BuildKit attaches them. `index`: of both."""

    def __init__(self, sample, *statements):
        self.statements = statements or (b'{"_type":"in-toto","predicate":{}}', b'{"predicateType":"sbom"}')
        self.config = json.dumps(
            {
                "architecture": "unknown",
                "os": "unknown",
                "config": {},
                "rootfs": {"type": "layers", "diff_ids": [sha256(s) for s in self.statements]},
            }
        ).encode()
        self.manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": descriptor(self.config, CONFIG),
                "layers": [
                    descriptor(
                        statement,
                        "application/vnd.in-toto+json",
                        annotations={"in-toto.io/predicate-type": f"https://example.com/{number}"},
                    )
                    for number, statement in enumerate(self.statements)
                ],
            }
        ).encode()
        self.blobs = (self.config, *self.statements)
        self.digest = sha256(self.manifest)
        self.descriptor = descriptor(
            self.manifest,
            MANIFEST,
            annotations={
                "vnd.docker.reference.digest": sample.digest,
                "vnd.docker.reference.type": "attestation-manifest",
            },
            platform={"os": "unknown", "architecture": "unknown"},
        )
        self.index = attested(sample, self.descriptor)


def attested(sample, *attestations):
    """An index of a sample for linux/amd64 and descriptors of its attestations."""
    platform = {"os": "linux", "architecture": "amd64"}
    return index(descriptor(sample.manifest, MANIFEST, platform=platform), *attestations)


class Sample:
    """An image of two gzip layers, the second deleting a file of the first. more: of its configuration."""

    def __init__(self, text=b"hello", **more):
        self.layers = [
            tar(directory("etc"), ("etc/motd", text), ("etc/old", b"x" * 5000)),
            tar(directory("etc"), ("etc/.wh.old", b""), ("new", b"new " + text)),
        ]
        self.blobs = [gzip.compress(layer, mtime=0) for layer in self.layers]
        self.config = config(*self.layers, **more)
        self.id = sha256(self.config)
        self.manifest = manifest(self.config, self.blobs)
        self.digest = sha256(self.manifest)

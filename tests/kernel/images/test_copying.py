"""Copies between registries, and new indexes, without the store."""

import json
import os

import pytest

from corten.images.copying import copy
from corten.images.copyregistry import Place, RegistrySource, RegistryTarget, copy_referrers
from corten.oci.image import Descriptor, DescriptorPlatform, InvalidDocument
from corten.reference import parse_normalized
from corten.registry.client import RegistryHosts, RemoteRegistry, referrers
from corten.registry.client.errors import BadResponse
from corten.types.system import AuthConfig
from imagefiles import INDEX, MANIFEST, Sample, descriptor, sha256
from registry_server import Registry

USER = AuthConfig(username="user", password="secret")


def place(registry, name, auth=None):
    return Place(parse_normalized(f"{registry.host}/{name}"), auth)


def target_in(registry, name, tmp, auth=None):
    return registry.closing(RegistryTarget(place(registry, name, auth), RegistryHosts(), str(tmp)))


def source_in(registry, name):
    return registry.closing(RegistrySource(place(registry, name), RegistryHosts()))


@pytest.fixture
def source():
    with Registry() as registry:
        registry.raw = registry.add_index("x", "1", {"linux/amd64": Sample(), "linux/arm64": Sample(b"arm")})
        yield registry


def test_whole_indexes_byte_for_byte(source, tmp_path):
    with Registry(auth="basic") as target:
        copied = copy(source_in(source, "x:1"), target_in(target, "y:2", tmp_path, USER))
        assert copied.top.digest == sha256(source.raw)
        assert copied.digests == [sha256(source.raw), Sample().digest, Sample(b"arm").digest]
        assert target.manifests["y", "2"] == source.raw
        assert target.manifests["y", Sample(b"arm").digest] == Sample(b"arm").manifest
        assert set(target.blobs) == set(source.blobs)
        assert not any(authorization for _, _, authorization in source.requests)
    assert os.listdir(tmp_path) == []


def test_mounted_within_a_registry(source, tmp_path):
    source.repositories["x"] = set(source.blobs)
    copy(source_in(source, "x:1"), target_in(source, "y:2", tmp_path))
    assert source.repositories["y"] == source.repositories["x"]
    assert not any(method == "PUT" and "/blobs/" in path for method, path, _ in source.requests)


def test_wrong_content_goes_nowhere(source, tmp_path):
    blob = sha256(Sample().blobs[0])
    source.replace[blob] = b"x" * len(source.blobs[blob])
    with Registry() as target, pytest.raises(BadResponse, match=f"verification failed for digest {blob}"):
        copy(source_in(source, "x:1"), target_in(target, "y:2", tmp_path))
    assert target.manifests == {}


def test_cyclic_and_huge_indexes(tmp_path):
    """A digest cannot name itself, but a registry can answer what it likes for a tag."""
    with Registry() as registry, Registry() as target:
        raw = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": []}).encode()
        for _ in range(10):
            registry.put_manifest("x", "1", raw, INDEX)
            members = [descriptor(raw, INDEX)]
            raw = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": members}).encode()
        with pytest.raises(InvalidDocument, match="too deep or too large"):
            copy(source_in(registry, "x:1"), target_in(target, "y:2", tmp_path))


def test_new_indexes(source, tmp_path):
    platform = DescriptorPlatform(os="linux", architecture="arm64")
    member = Descriptor(
        media_type=MANIFEST, digest=Sample().digest, size=len(Sample().manifest), platform=platform
    )
    digest, size = target_in(source, "list:1", tmp_path).put_index([(place(source, "x"), member)])
    raw = source.manifests["list", "1"]
    assert (digest, size) == (sha256(raw), len(raw))
    assert json.loads(raw) == {
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [
            {
                "mediaType": MANIFEST,
                "digest": Sample().digest,
                "size": len(Sample().manifest),
                "platform": {"os": "linux", "architecture": "arm64"},
            }
        ],
    }
    assert source.manifests["list", Sample().digest] == Sample().manifest


def referrer(digest, said, artifact_type="application/vnd.example.sbom"):
    """(manifest, blobs) of something that is said of a manifest."""
    empty = b"{}"
    raw = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": artifact_type,
            "config": descriptor(empty, "application/vnd.oci.empty.v1+json"),
            "layers": [descriptor(said, "application/json")],
            "subject": {"mediaType": MANIFEST, "digest": digest, "size": 1},
            "annotations": {"by": "test"},
        }
    ).encode()
    return raw, (empty, said)


def say(registry, raw, blobs, *names):
    for name in (sha256(raw), *names):
        registry.put_manifest("x", name, raw, MANIFEST)
    for blob in blobs:
        registry.blobs[sha256(blob)] = blob


def test_with_what_refers_to_it(source, tmp_path):
    """To members of an index, to referrers, and by cosign's tags; from and to registries that keep no lists."""
    sbom, blobs = referrer(Sample(b"arm").digest, b'{"sbom": 1}')
    signature, more = referrer(sha256(sbom), b'{"signed": 1}', "application/vnd.example.signature")
    cosign, most = referrer(sha256(source.raw), b'{"cosign": 1}')
    say(source, sbom, blobs)
    say(source, signature, more)
    sig = f"{sha256(source.raw).replace(':', '-')}.sig"
    say(source, cosign, most, sig)
    for subject, about in ((Sample(b"arm").digest, sbom), (sha256(sbom), signature)):
        listed = referrers.with_entry(None, about, MANIFEST)
        source.put_manifest("x", subject.replace(":", "-"), listed, INDEX)
    with Registry() as target:
        origin, to = source_in(source, "x:1"), target_in(target, "y:2", tmp_path)
        copy_referrers(origin, to, copy(origin, to).digests)
        assert target.manifests["y", sha256(sbom)] == sbom
        assert target.manifests["y", sha256(signature)] == signature
        assert target.manifests["y", sig] == cosign
        assert all(sha256(blob) in target.blobs for blob in (*blobs, *more, *most))
        there = RemoteRegistry(parse_normalized(f"{target.host}/y"), None, RegistryHosts())
        with there:
            assert there.referrers(Sample(b"arm").digest) == [sha256(sbom)]
            assert there.referrers(sha256(sbom)) == [sha256(signature)]
            assert there.referrers(sha256(source.raw)) == [sha256(cosign)]
            assert there.referrers(Sample().digest) == []
        (entry,) = json.loads(target.manifests["y", Sample(b"arm").digest.replace(":", "-")])["manifests"]
        assert (entry["artifactType"], entry["annotations"]) == (
            "application/vnd.example.sbom",
            {"by": "test"},
        )
        copy_referrers(origin, to, [Sample(b"arm").digest])
        assert (
            len(json.loads(target.manifests["y", Sample(b"arm").digest.replace(":", "-")])["manifests"]) == 1
        )


def test_what_refers_to_itself_in_a_circle(source, tmp_path, monkeypatch):
    """A registry that names the same referrers for all manifests, and one that never ends."""
    raw, blobs = referrer(sha256(source.raw), b"1")
    say(source, raw, blobs)
    monkeypatch.setattr(RemoteRegistry, "referrers", lambda *_: [sha256(raw)])
    with Registry() as target:
        origin, to = source_in(source, "x:1"), target_in(target, "y:2", tmp_path)
        copy_referrers(origin, to, copy(origin, to).digests)
        assert target.manifests["y", sha256(raw)] == raw

        def endless(_, digest):
            more, blobs = referrer(digest, b"1")
            say(source, more, blobs)
            return [sha256(more)]

        monkeypatch.setattr(RemoteRegistry, "referrers", endless)
        monkeypatch.setattr("corten.images.copying._MAX_MANIFESTS", 20)
        with pytest.raises(InvalidDocument, match="too deep or too large"):
            copy_referrers(origin, to, [sha256(source.raw)])

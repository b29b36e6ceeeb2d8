"""Attestations travel with their image, are listed, and go with the last index that names them."""

import asyncio
import json

import pytest

from corten.images import attestations, documents
from corten.images.check import StoreCheck
from corten.platforms import parse_platform
from imagefiles import CONFIG, INDEX, MANIFEST, Attestation, Sample, attested, descriptor, oci_layout, sha256
from registry_server import Registry

SAMPLE = Sample()
ATTESTATION = Attestation(SAMPLE)


@pytest.fixture
def registry():
    with Registry() as registry:
        yield registry


def pulled(images, registry, attestation=ATTESTATION):
    registry.add_attested("x", "1", SAMPLE, attestation)
    lines = images.pull(f"{registry.host}/x:1")
    assert images.store.resolve(f"{registry.host}/x:1").id == SAMPLE.id
    return [line.status for line in lines if line.status and line.status.startswith("Attestations")]


def statements(images, name, *types, contents=True):
    image = images.store.resolve(name)
    found = asyncio.run(attestations.statements(images.store, name, image, types, contents=contents))
    return [(s.predicate_type, bytes(s.statement)) for s in found]


def blobs(images):
    return {str(digest) for digest in images.store.blobs}


def test_pulled_with_the_image(images, registry):
    assert pulled(images, registry) == []
    name = f"{registry.host}/x:1"
    assert statements(images, name) == [
        (f"https://example.com/{number}", statement)
        for number, statement in enumerate(ATTESTATION.statements)
    ]
    assert statements(images, name, "https://example.com/1") == [
        ("https://example.com/1", ATTESTATION.statements[1])
    ]
    assert statements(images, name, "https://example.com/2") == []
    (_, summary) = documents.inspect(images.store, name, manifests=True).manifests
    assert (summary.kind, summary.available, summary.attestation_data.for_) == (
        "attestation", True, SAMPLE.digest,
    )  # fmt: skip
    assert summary.size.content == len(ATTESTATION.manifest) + sum(map(len, ATTESTATION.blobs))
    assert asyncio.run(StoreCheck(images.store, images.store.collector).run(contents=True)) == []


def test_an_image_that_is_here_gets_them_and_keeps_them(images, registry):
    registry.add("x", "1", SAMPLE)
    images.pull(f"{registry.host}/x:1")
    pulled(images, registry)
    requests = len(registry.requests)
    pulled(images, registry)
    asked = [path for _, path, _ in registry.requests[requests:]]
    assert not [path for path in asked if "/blobs/" in path]
    images.store.collector.collect()
    assert len(statements(images, f"{registry.host}/x:1")) == 2


def test_gone_with_the_last_name(images, registry):
    pulled(images, registry)
    images.store.tag(f"{registry.host}/x:1", "y:1")
    images.remove(f"{registry.host}/x:1")
    assert len(statements(images, "y:1")) == 2
    images.remove("y:1")
    assert blobs(images) == set()
    assert images.ledger.query("SELECT * FROM attestations") == []


def test_a_lost_statement_is_fetched_again(images, registry):
    pulled(images, registry)
    images.store.collector.drop_blobs([sha256(ATTESTATION.statements[0])])
    assert statements(images, f"{registry.host}/x:1") == []
    pulled(images, registry)
    assert len(statements(images, f"{registry.host}/x:1")) == 2


def test_pushed_with_the_index(images, registry):
    pulled(images, registry)
    with Registry() as other:
        images.store.tag(f"{registry.host}/x:1", f"{other.host}/z:1")
        images.push(f"{other.host}/z:1")
        assert other.manifests["z", "1"] == ATTESTATION.index
        assert other.manifests["z", ATTESTATION.digest] == ATTESTATION.manifest
        assert all(other.blobs[sha256(blob)] == blob for blob in ATTESTATION.blobs)


def broken_content(registry):
    registry.replace[sha256(ATTESTATION.statements[0])] = b"x" * len(ATTESTATION.statements[0])
    return ATTESTATION


def missing(registry):
    attestation = Attestation(SAMPLE, b'{"not":"there"}')
    registry.replace[sha256(attestation.statements[0])] = b""
    return attestation


def wrong_size(registry):
    attestation = Attestation(SAMPLE)
    attestation.manifest = attestation.manifest.replace(b'"size": 34', b'"size": 33')
    return repacked(attestation)


def huge(registry):
    attestation = Attestation(SAMPLE)
    attestation.manifest = attestation.manifest.replace(b'"size": 34', b'"size": 99999999999')
    return repacked(attestation)


def many_statements(registry):
    return Attestation(SAMPLE, *(json.dumps({"n": number}).encode() for number in range(100)))


def thousands(registry):
    attestation = Attestation(SAMPLE)
    attestation.index = attested(
        SAMPLE,
        *({**attestation.descriptor, "digest": sha256(str(number).encode())} for number in range(5000)),
    )
    return attestation


def an_index(registry):
    attestation = Attestation(SAMPLE)
    attestation.manifest = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": []}).encode()
    return repacked(attestation)


def other_algorithm(registry):
    attestation = Attestation(SAMPLE)
    attestation.manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {**descriptor(b"", CONFIG), "digest": "sha512:" + "a" * 128},
            "layers": [],
        }
    ).encode()
    return repacked(attestation)


def repacked(attestation):
    attestation.digest = sha256(attestation.manifest)
    attestation.descriptor = {
        **attestation.descriptor, "digest": attestation.digest, "size": len(attestation.manifest)
    }  # fmt: skip
    attestation.index = attested(SAMPLE, attestation.descriptor)
    return attestation


@pytest.mark.parametrize(
    "make",
    [broken_content, missing, wrong_size, huge, many_statements, thousands, an_index, other_algorithm],
)
def test_broken_ones_are_left_where_they_are(images, registry, make):
    (told,) = pulled(images, registry, make(registry))
    assert told.startswith("Attestations are not kept: ")
    assert statements(images, f"{registry.host}/x:1") == []
    images.store.collector.collect()
    assert blobs(images) == {sha256(blob) for blob in SAMPLE.blobs}


def layout(attestation=ATTESTATION, name="x:1"):
    said = {"io.containerd.image.name": f"docker.io/library/{name}"}
    return oci_layout(
        SAMPLE.config, *SAMPLE.blobs, SAMPLE.manifest, attestation.manifest, *attestation.blobs, attestation.index,
        manifests=[descriptor(attestation.index, INDEX, annotations=said)],
    )  # fmt: skip


def test_loaded_with_the_image(images):
    images.load(layout())
    assert len(statements(images, "x:1")) == 2
    assert images.store.indexes.of(images.store.names(SAMPLE.id)[0]).raw == ATTESTATION.index
    images.store.collector.collect()
    assert len(statements(images, "x:1")) == 2


def test_saved_with_the_image(images, new_store):
    images.load(layout())
    images.store.tag("x:1", "y:1")
    other = new_store()
    other.load(images.save("x:1", "y:1"))
    for name in ("x:1", "y:1"):
        assert statements(other, name) == statements(images, "x:1") != []
    bare = new_store()
    bare.load(images.save("x:1", platforms=[parse_platform("linux/amd64")]))
    assert statements(bare, "x:1") == []
    assert bare.store.resolve("x:1").id == SAMPLE.id


def test_an_attestation_is_no_image(images):
    images.load(
        oci_layout(
            SAMPLE.config, *SAMPLE.blobs, SAMPLE.manifest, ATTESTATION.manifest, *ATTESTATION.blobs,
            manifests=[ATTESTATION.descriptor, descriptor(SAMPLE.manifest, MANIFEST)],
        )
    )  # fmt: skip
    assert [image.id for image in images.store.all()] == [SAMPLE.id]


def test_broken_ones_are_not_loaded(images):
    images.load(layout(many_statements(None)))
    assert statements(images, "x:1") == []
    images.store.collector.collect()
    assert blobs(images) == {sha256(blob) for blob in SAMPLE.blobs}


def test_by_the_api(new_engine, tmp_path):
    archive = tmp_path / "x.tar"
    archive.write_bytes(layout())
    engine = new_engine()
    engine.run("docker", "load", "-i", str(archive))
    path = "/images/x:1/attestations"

    def asked(query=""):
        status, body = engine.request("GET", path + query)
        return status, json.loads(body)

    status, (first, second) = asked()
    assert status == 200
    assert first == {
        "Descriptor": {
            "mediaType": "application/vnd.in-toto+json",
            "digest": sha256(ATTESTATION.statements[0]),
            "size": len(ATTESTATION.statements[0]),
            "annotations": {"in-toto.io/predicate-type": "https://example.com/0"},
        },
        "PredicateType": "https://example.com/0",
    }
    assert second["PredicateType"] == "https://example.com/1"
    assert asked("?statement=1&type=https://example.com/1")[1][0]["Statement"] == {"predicateType": "sbom"}
    amd, arm = (f'{{"os":"linux","architecture":"{name}"}}' for name in ("amd64", "arm64"))
    assert len(asked(f"?platform={amd}")[1]) == 2
    assert asked(f"?platform={arm}")[0] == 404
    assert asked(f"?platform={arm}&platform={amd}")[0] == 400
    assert asked("?platform=linux")[0] == 400
    assert engine.request("GET", "/images/nothing/attestations")[0] == 404

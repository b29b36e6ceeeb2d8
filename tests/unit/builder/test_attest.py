"""What a build says of itself, as documents."""

import json

import pytest

from corten.builder.attest.llb import steps_of
from corten.builder.attest.materials import Materials
from corten.builder.attest.options import ProvenanceOptions, parse_attestations
from corten.builder.attest.provenance import Request, Result, Source, provenance
from corten.builder.graph import (
    SCRATCH,
    BindMount,
    CopyAction,
    Exec,
    File,
    ImageSource,
    LocalSource,
    Output,
    SecretMount,
    Vertex,
)
from corten.digest import digest_of
from corten.errors import InvalidParameter
from corten.images.claims import Claim, attested
from corten.oci.image import Descriptor
from corten.platforms import parse_platform

BASE = Vertex(op=ImageSource(diff_ids=("sha256:" + "1" * 64,)), name="alpine:3")


def local(key: str) -> Vertex:
    return Vertex(op=LocalSource(key=key), name="[internal] load build context")


def copied(key: str) -> Vertex:
    action = CopyAction(input=1, sources=("/f",), destination="/f")
    return Vertex(op=File(actions=(action,)), inputs=(BASE, local(key)), name="COPY f /f")


def ran(below: Vertex) -> Vertex:
    secret = SecretMount(id="token", target="/run/secrets/token", required=True)
    return Vertex(op=Exec(args=("/bin/sh", "-c", "make"), mounts=(secret,)), inputs=(below,), name="RUN make")


def predicate(root: Vertex, mode: str, arguments: dict[str, str] | None = None, **options: str) -> dict:
    materials = Materials()
    materials.images[("alpine:3", parse_platform("linux/amd64"))] = "sha256:" + "a" * 64
    materials.directories |= {"context", "dockerfile"}
    request = Request(
        frontend="dockerfile.v0",
        arguments=arguments or {},
        invocation="b1",
        epoch_ns=1_000_000_000 * 10**9,
        source=Source(filename="Dockerfile", data=b"FROM alpine:3\n", places={root.digest: (2, 3)}),
    )
    result = Result(
        root=root, diff_ids=["d1", "d2"], layers_of=lambda v: ["d1"] if v == BASE else ["d1", "d2"]
    )
    claim = provenance(request, result, materials, ProvenanceOptions(mode=mode, **options))
    layers = [Descriptor(media_type="t", digest=name, size=1) for name in ("p1", "p2")]
    return json.loads(claim.predicate(layers))


def test_minimal_provenance_tells_no_arguments():
    arguments = {"build-arg:PASSWORD": "secret", "label:x": "y", "target": "end", "platform": "linux/amd64"}
    found = predicate(ran(copied("k")), "min", arguments)
    text = json.dumps(found)
    assert "secret" not in text and "token" not in text and "make" not in text
    assert found["buildDefinition"]["externalParameters"]["request"]["args"] == {"target": "end"}
    metadata = found["runDetails"]["metadata"]
    assert metadata["startedOn"] == metadata["finishedOn"] == "2001-09-09T01:46:40Z"
    assert metadata["buildkit_completeness"] == {"request": False, "resolvedDependencies": False}


def test_full_provenance_is_the_same_for_the_same_build():
    """A client's directory lies somewhere else each time."""
    assert predicate(ran(copied("one")), "max") == predicate(ran(copied("two")), "max")


def test_full_provenance_tells_steps_and_what_they_made():
    found = predicate(ran(copied("k")), "max", {"build-arg:URL": "https://me:pw@host/x"})
    request = found["buildDefinition"]["externalParameters"]["request"]
    assert request["secrets"] == [{"id": "token"}]
    assert request["args"]["build-arg:URL"] == "https://xxxxx:xxxxx@host/x"
    steps = found["buildDefinition"]["internalParameters"]["buildConfig"]["llbDefinition"]
    assert [step.get("inputs") for step in steps] == [
        None,
        None,
        ["step0:0", "step1:0"],
        ["step2:0"],
        ["step3:0"],
    ]
    assert steps[0]["op"]["Op"]["source"]["identifier"] == "docker-image://docker.io/library/alpine:3"
    assert steps[1]["op"]["Op"]["source"]["identifier"] == "local://context"
    about = found["runDetails"]["metadata"]["buildkit_metadata"]
    assert about["source"]["locations"]["step3"]["locations"][0]["ranges"] == [
        {"start": {"line": 2}, "end": {"line": 3}}
    ]
    assert [each["digest"] for each in about["layers"]["step0:0"][0]] == ["p1"]
    assert [each["digest"] for each in about["layers"]["step3:0"][0]] == ["p1", "p2"]


def test_the_older_version_has_its_own_names():
    found = predicate(ran(BASE), "min", {"filename": "Other"}, version="v0.2", builder_id="https://me")
    assert found["invocation"]["configSource"] == {"entryPoint": "Other"}
    assert found["materials"][0]["uri"] == "pkg:docker/alpine@3?platform=linux%2Famd64"
    assert found["builder"] == {"id": "https://me"}


def test_further_results_of_a_command_are_its_outputs():
    mount = BindMount(input=1, source="/", target="/out", readonly=False, kept=True)
    command = Vertex(op=Exec(args=("x",), mounts=(mount,)), inputs=(BASE, SCRATCH), name="x")
    steps = steps_of(Vertex(op=Output(number=0), inputs=(command,), name="x")).definition
    assert steps[-1]["inputs"] == ["step1:1"]
    assert steps[1]["op"]["Op"]["exec"]["mounts"][1] == {"input": -1, "dest": "/out", "output": 1}


def test_attestations_are_what_clients_ask_for():
    found = parse_attestations(
        {"provenance": "type=provenance,mode=min,inline-only=true", "sbom": "generator=scan"}
    )
    assert found.provenance == ProvenanceOptions(mode="min", inline_only=True)
    assert found.sbom is not None and found.sbom.generator == "docker.io/library/scan:latest"
    assert parse_attestations({"provenance": "disabled=true"}).provenance is None


@pytest.mark.parametrize(
    "texts",
    [
        {"what": ""},
        {"provenance": "mode=much"},
        {"provenance": "filename=../x"},
        {"provenance": "reproducible=perhaps"},
        {"sbom": "generator="},
        {"sbom": "generator=NOT A NAME"},
        {"sbom": "depth=1"},
        {"sbom": "a\nb"},
    ],
)
def test_what_cannot_be_meant_is_refused(texts):
    with pytest.raises(InvalidParameter):
        parse_attestations(texts)


@pytest.mark.parametrize("as_artifact", [False, True])
def test_a_manifest_of_statements(as_artifact):
    image = Descriptor(media_type="m", digest="sha256:" + "c" * 64, size=7)
    claim = Claim(predicate_type="https://spdx.dev/Document", predicate=lambda _: b'{"a":1}')
    found = attested(image, [claim], ["pkg:docker/x@1"], [], as_artifact=as_artifact)
    manifest = json.loads(found.manifest)
    assert (
        manifest["config"]["digest"] in found.blobs and digest_of(found.manifest) == found.descriptor.digest
    )
    statement = json.loads(found.blobs[manifest["layers"][0]["digest"]])
    assert statement["subject"] == [{"name": "pkg:docker/x@1", "digest": {"sha256": "c" * 64}}]
    assert statement["predicate"] == {"a": 1}
    assert manifest.get("subject") == (
        {"mediaType": "m", "digest": image.digest, "size": 7} if as_artifact else None
    )

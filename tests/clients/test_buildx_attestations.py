"""Provenance and SBOMs of builds, as the real buildx asks for them and shows them."""

import hashlib
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from plugins import REGISTRY, SUITES, Docker, building_engine, registry

from engine import Engine

PROVENANCE, SBOM = "https://slsa.dev/provenance/v1", "https://spdx.dev/Document"
DOCKERFILE = "FROM busybox\nARG SHOWN\nCOPY status /var/lib/dpkg/status\nRUN echo $SHOWN > /f\n"
STATUS = (
    "Package: hello\nStatus: install ok installed\nVersion: 2.10-3\nArchitecture: amd64\n\n"
    "Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n"
)


@pytest.fixture(scope="module")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with building_engine() as engine, registry(engine, tmp_path_factory.mktemp("registry")):
        yield engine


@pytest.fixture(params=SUITES)
def docker(builder: Engine, tmp_path: Path, request: pytest.FixtureRequest) -> Docker:
    found = Docker(builder, request.param, tmp_path)
    found.write({"status": STATUS})
    return found


@pytest.fixture
def newest(builder: Engine, tmp_path: Path) -> Docker:
    """The one of whose versions `buildx history` is part."""
    found = Docker(builder, "sid", tmp_path)
    found.write({"status": STATUS})
    return found


def name_of(docker: Docker, tag: str) -> str:
    return f"{REGISTRY}/attested-{tag}:{docker.directory.parent.name}"


def shown(docker: Docker, name: str, field: str) -> dict:
    return json.loads(
        docker.out("buildx", "imagetools", "inspect", name, "--format", f"{{{{json .{field}}}}}")
    )


def fetched(docker: Docker, path: str) -> list:
    status, body = docker.engine.request("GET", path)
    assert status == 200, body
    return json.loads(body)


def raw(docker: Docker, name: str) -> dict:
    return json.loads(docker.out("buildx", "imagetools", "inspect", "--raw", name))


def test_a_push_has_minimal_provenance_unless_it_is_not_wanted(docker):
    name = name_of(docker, "default")
    docker.build(DOCKERFILE, "--push", "-t", name, "--build-arg", "SHOWN=told")
    image, attestation = raw(docker, name)["manifests"]
    assert attestation["platform"] == {"architecture": "unknown", "os": "unknown"}
    assert attestation["annotations"] == {
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": image["digest"],
    }
    predicate = shown(docker, name, "Provenance")["SLSA"]
    definition = predicate["buildDefinition"]
    assert [each["uri"] for each in definition["resolvedDependencies"]] == [
        "pkg:docker/busybox@latest?platform=linux%2Famd64"
    ]
    request = definition["externalParameters"]["request"]
    assert request["locals"] == [{"name": "context"}, {"name": "dockerfile"}]
    assert not any("SHOWN" in key for key in request.get("args", {}))
    assert "buildConfig" not in definition["internalParameters"]
    docker.build(DOCKERFILE, "--push", "-t", name, env=["BUILDX_NO_DEFAULT_ATTESTATIONS=1"])
    assert "manifests" not in raw(docker, name)


def test_full_provenance_tells_steps_layers_and_the_dockerfile_but_no_secret(docker):
    name = name_of(docker, "max")
    docker.write({"token": "very-secret-value"})
    docker.build(
        DOCKERFILE + "RUN --mount=type=secret,id=token cat /run/secrets/token > /dev/null\n",
        *("--push", "-t", name, "--provenance=mode=max", "--build-arg", "SHOWN=told"),
        *("--secret", "id=token,src=token"),
    )
    predicate = shown(docker, name, "Provenance")["SLSA"]
    assert "very-secret-value" not in json.dumps(predicate)
    request = predicate["buildDefinition"]["externalParameters"]["request"]
    assert request["args"]["build-arg:SHOWN"] == "told"
    assert request["secrets"] == [{"id": "token", "optional": True}]
    steps = predicate["buildDefinition"]["internalParameters"]["buildConfig"]["llbDefinition"]
    assert [step["id"] for step in steps] == [f"step{n}" for n in range(len(steps))]
    commands = [step["op"]["Op"]["exec"]["meta"]["args"] for step in steps if "exec" in step["op"]["Op"]]
    assert commands[0][-1] == "echo $SHOWN > /f"
    metadata = predicate["runDetails"]["metadata"]["buildkit_metadata"]
    assert metadata["source"]["infos"][0]["filename"] == "Dockerfile"
    image = raw(docker, name)["manifests"][0]["digest"]
    layers = raw(docker, f"{name.rpartition(':')[0]}@{image}")["layers"]
    whole = max(metadata["layers"].values(), key=lambda found: len(found[0]))[0]
    assert [each["digest"] for each in whole] == [each["digest"] for each in layers]


def test_the_older_version_of_provenance(docker):
    name = name_of(docker, "old")
    docker.build(DOCKERFILE, "--push", "-t", name, "--provenance=mode=min,version=v0.2,builder-id=https://me")
    predicate = shown(docker, name, "Provenance")["SLSA"]
    assert predicate["builder"]["id"] == "https://me"
    assert predicate["invocation"]["configSource"]["entryPoint"] == "Dockerfile"


def test_an_sbom_lists_what_is_installed(docker):
    name = name_of(docker, "sbom")
    docker.build(DOCKERFILE, "--push", "-t", name, "--sbom=true")
    document = shown(docker, name, "SBOM")["SPDX"]
    assert document["spdxVersion"] == "SPDX-2.3"
    found = {each["name"]: each.get("versionInfo") for each in document["packages"]}
    assert found["hello"] == "2.10-3"
    assert "gone" not in found


def test_attestations_are_kept_in_the_store_and_pushed_from_there(docker):
    name = name_of(docker, "stored")
    docker.build(DOCKERFILE, "-t", name, "--sbom=true", "--provenance=true")
    types = fetched(docker, f"/images/{name}/attestations")
    assert sorted(each["PredicateType"] for each in types) == sorted([PROVENANCE, SBOM])
    assert docker.out("run", "--rm", name, "cat", "/f") == "\n"
    docker.out("push", "-q", name)
    assert shown(docker, name, "SBOM")["SPDX"]["SPDXID"] == "SPDXRef-DOCUMENT"


def test_an_image_that_is_only_stored_has_none_by_default(docker):
    docker.build(DOCKERFILE, "-t", "plain")
    assert fetched(docker, "/images/plain/attestations") == []


def test_files_have_their_statements_beside_them(docker):
    docker.build("FROM scratch\nCOPY status /d/status\n", "-o", "out", "--sbom=true", "--provenance=true")
    out = docker.directory / "out"
    assert sorted(os.listdir(out)) == ["d", "provenance.json", "sbom.spdx.json"]
    statement = json.loads((out / "provenance.json").read_text())
    assert [each["name"] for each in statement["subject"]] == ["d/status"]
    assert statement["predicateType"] == PROVENANCE
    docker.build(
        "FROM scratch\nCOPY status /\n", "-o", "type=tar,dest=o.tar,attestation-prefix=x-", "--sbom=true"
    )
    with tarfile.open(docker.directory / "o.tar") as tar:
        assert {"x-sbom.spdx.json", "status"} <= {member.name.removeprefix("./") for member in tar}


def test_an_oci_layout_has_them_and_the_same_source_date_gives_the_same_bytes(docker):
    for name in ("a", "b"):
        docker.build(
            DOCKERFILE,
            *("-o", f"type=oci,dest={name}.tar", "--sbom=true", "--provenance=mode=max"),
            *("--build-arg", "SOURCE_DATE_EPOCH=1000000000"),
        )
    assert (docker.directory / "a.tar").read_bytes() == (docker.directory / "b.tar").read_bytes()
    with tarfile.open(docker.directory / "a.tar") as tar:
        [top] = json.loads(tar.extractfile("index.json").read())["manifests"]
        index = json.loads(tar.extractfile(f"blobs/sha256/{top['digest'][7:]}").read())
    assert len(index["manifests"]) == 2


def test_a_scanner_image_is_run(docker):
    scanner = (
        "FROM busybox\n"
        "RUN printf '#!/bin/sh\\nn=$(cat $BUILDKIT_SCAN_SOURCE/var/lib/dpkg/status | head -1)\\n"
        'echo "{\\\\"_type\\\\":\\\\"https://in-toto.io/Statement/v0.1\\\\",\\\\"predicateType\\\\":'
        '\\\\"https://spdx.dev/Document\\\\",\\\\"predicate\\\\":{\\\\"spdxVersion\\\\":\\\\"SPDX-2.3\\\\",'
        '\\\\"name\\\\":\\\\"$n $BUILDKIT_SCAN_EXTRA\\\\"}}" > $BUILDKIT_SCAN_DESTINATION/sbom.spdx.json\\n\' > /scan'
        ' && chmod +x /scan\nENTRYPOINT ["/scan"]\n'
    )
    docker.build(scanner, "-t", "scanner:1")
    docker.build(DOCKERFILE, "-o", "out", "--attest", "type=sbom,generator=scanner:1,EXTRA=more")
    statement = json.loads((docker.directory / "out" / "sbom.spdx.json").read_text())
    assert statement["predicate"]["name"] == "Package: hello more"


LOCKED = {"lockfileVersion": 3, "packages": {"node_modules/left": {"version": "1.3.0"}}}
STAGES = """\
FROM busybox AS tools
ARG BUILDKIT_SBOM_SCAN_STAGE=true
COPY status /var/lib/dpkg/status
RUN echo "told $BUILDKIT_SBOM_SCAN_STAGE" > /f
FROM tools AS more
FROM busybox AS quiet
COPY status /q
FROM scratch
ARG BUILDKIT_SBOM_SCAN_CONTEXT=true
COPY --from=more /f /f
COPY --from=quiet /q /q
COPY package-lock.json /app/
"""


def test_stages_and_the_context_are_scanned_where_arguments_say_so(docker):
    """They are no variables, and stages built upon a stage have them of it."""
    docker.write({"package-lock.json": json.dumps(LOCKED)})
    docker.build(STAGES, "-o", "out", "--sbom=true")
    out = docker.directory / "out"
    kinds = ["sbom-context", "sbom-more", "sbom-tools", "sbom"]
    assert sorted(os.listdir(out)) == ["app", "f", "q", *(f"{kind}.spdx.json" for kind in kinds)]
    assert (out / "f").read_text() == "told \n"

    def packages(kind):
        document = json.loads((out / f"{kind}.spdx.json").read_text())["predicate"]
        assert document["name"] == kind
        return {each["name"] for each in document["packages"]} - {"root file system"}

    assert [packages(kind) for kind in kinds] == [{"left"}, {"hello"}, {"hello"}, {"left"}]
    docker.build(
        STAGES,
        *("-o", "fewer", "--sbom=true", "--build-arg", "BUILDKIT_SBOM_SCAN_STAGE=more,quiet"),
        *("--build-arg", "BUILDKIT_SBOM_SCAN_CONTEXT=0"),
    )
    assert sorted(os.listdir(docker.directory / "fewer"))[3:] == ["sbom-more.spdx.json", "sbom.spdx.json"]
    everywhere = "ARG BUILDKIT_SBOM_SCAN_STAGE=quiet\n" + STAGES
    docker.build(everywhere, "-o", "global", "--sbom=true")
    assert (docker.directory / "global" / "sbom-quiet.spdx.json").exists()


def test_a_scanner_is_given_stages_and_the_context(docker):
    scan = """#!/bin/sh
for d in $BUILDKIT_SCAN_SOURCE $BUILDKIT_SCAN_SOURCE_EXTRAS/*; do
    echo "{\\"spdxVersion\\": \\"SPDX-2.3\\", \\"name\\": \\"$(ls $d | xargs echo)\\"}" \\
        > $BUILDKIT_SCAN_DESTINATION/$(basename $d).spdx.json
done
"""
    docker.write({"package-lock.json": json.dumps(LOCKED), "scan": scan})
    docker.build('FROM busybox\nCOPY --chmod=755 scan /\nENTRYPOINT ["/scan"]\n', "-t", "scanner:2")
    docker.build(STAGES, "-o", "out", "--attest", "type=sbom,generator=scanner:2")

    def seen(kind):
        return json.loads((docker.directory / "out" / f"{kind}.spdx.json").read_text())["predicate"]["name"]

    assert seen("sbom") == "app f q"
    assert seen("sbom-context") == "package-lock.json status"
    assert " f " in seen("sbom-tools")


def test_history_has_a_trace_of_every_build(newest):
    """A span of each step, also in an engine's next life, and what has failed in it."""
    newest.build("FROM busybox\nRUN true\nRUN exit 3\n", check=False)
    newest.engine.kill()
    newest.engine.start()
    newest.out("buildx", "history", "export", "--finalize", "-o", "build.dockerbuild")
    with tarfile.open(newest.directory / "build.dockerbuild") as bundle:
        blobs = [bundle.extractfile(each).read() for each in bundle.getmembers() if "/sha256/" in each.name]
    [trace] = [blob.decode() for blob in blobs if b"SpanContext" in blob[:200]]
    spans = []
    while trace.strip():
        span, end = json.JSONDecoder().raw_decode(trace.lstrip())
        spans.append(span)
        trace = trace.lstrip()[end:]
    build, *steps = spans
    assert {each["Parent"]["SpanID"] for each in steps} == {build["SpanContext"]["SpanID"]}
    status = {each["Name"]: each["Status"]["Code"] for each in spans}
    assert status[build["Name"]] == 1  # codes.Error
    assert (status["[2/3] RUN true"], status["[3/3] RUN exit 3"]) == (0, 1)


def test_history_has_the_provenance_of_every_build(newest):
    """Also when the engine has been killed; the metadata file has it, too."""
    newest.build(DOCKERFILE, "-t", "noted", "--metadata-file", "meta.json", "--build-arg", "SHOWN=told")
    told = json.loads((newest.directory / "meta.json").read_text())["buildx.build.provenance"]
    assert told["invocation"]["parameters"]["args"]["build-arg:SHOWN"] == "told"
    newest.engine.kill()
    newest.engine.start()
    history = ("buildx", "history", "inspect")
    found = json.loads(newest.out(*history, "--format", "json"))
    assert [each["URI"] for each in found["Materials"]] == [each["uri"] for each in told["materials"]]
    [attached] = found["Attachments"]
    predicate = newest.out(*history, "attachment", found["Ref"], "--type", "provenance")
    assert predicate == newest.out(*history, "attachment", found["Ref"], attached["Digest"])
    assert f"sha256:{hashlib.sha256(predicate.encode()).hexdigest()}" == attached["Digest"]
    steps = json.loads(predicate)["buildConfig"]["llbDefinition"]
    assert any("exec" in step["op"]["Op"] for step in steps)
    newest.build(DOCKERFILE, "-t", "noted")
    newest.run("buildx", "history", "rm", found["Ref"])
    again = newest.run(*history, "attachment", "^0", attached["Digest"], check=False)
    assert "not found" in again.stderr


def test_history_refers_to_nothing_else(newest):
    """A layer that the engine has is not there for the asking."""
    newest.build(DOCKERFILE, "-t", "noted")
    [image] = fetched(newest, "/images/json?filters=%7B%22reference%22%3A%5B%22noted%22%5D%7D")
    refused = newest.run("buildx", "history", "inspect", "attachment", "", image["Id"], check=False)
    assert "not found" in refused.stderr


def test_history_tells_where_a_build_has_failed(newest):
    newest.build("FROM busybox\nRUN echo the last words; exit 3\n", check=False)
    said = newest.out("buildx", "history", "inspect")
    assert ">>> RUN echo the last words; exit 3" in said
    assert "> the last words" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--provenance=mode=much"], 'invalid mode "much"'),
        (["--provenance=version=v3"], "invalid provenance SLSA version: v3"),
        (["--attest", "type=sbom,depth=2"], "name its image"),
    ],
)
def test_what_cannot_be_meant_is_refused(docker, arguments, message):
    assert message in docker.build("FROM scratch\nENV A=1\n", *arguments, check=False)

"""Where builds go: the outputs of the real buildx."""

import hashlib
import io
import json
import os
import struct
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from plugins import REGISTRY, SUITES, Docker, building_engine, registry
from recording.images import write_all

from engine import Engine

DOCKERFILE = (
    "FROM busybox AS made\nRUN mkdir -p /o/d && echo data > /o/d/f && ln -s d/f /o/l && ln /o/d/f /o/d/h && chmod 4750 /o/d/f\n"
    "FROM scratch\nCOPY --from=made /o /o\nENV A=1\n"
)


@pytest.fixture(scope="module")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with building_engine() as engine, registry(engine, tmp_path_factory.mktemp("registry")):
        yield engine


@pytest.fixture(params=SUITES)
def docker(builder: Engine, tmp_path: Path, request: pytest.FixtureRequest) -> Docker:
    return Docker(builder, request.param, tmp_path)


def test_local_directory(docker):
    docker.build(DOCKERFILE, "-o", "out")
    out = docker.directory / "out"
    assert (out / "o/d/f").read_text() == "data\n"
    assert os.readlink(out / "o/l") == "d/f"
    assert (out / "o/d/f").stat().st_mode & 0o7777 == 0o4750
    assert (out / "o/d/h").read_text() == "data\n"


def test_tar(docker):
    docker.build(DOCKERFILE, "-o", "type=tar,dest=out.tar")
    with tarfile.open(docker.directory / "out.tar") as tar:
        assert {"o", "o/d", "o/d/f", "o/d/h", "o/l"} <= {name.strip("/") for name in tar.getnames()}
        assert tar.extractfile("o/d/f").read() == b"data\n"


def test_docker_archive_can_be_loaded(docker):
    docker.build(
        DOCKERFILE, "-o", "type=docker,dest=image.tar,name=archived:1", "--metadata-file", "meta.json"
    )
    said = docker.out("load", "-i", "image.tar")
    assert "archived:1" in said
    assert json.loads(docker.out("inspect", "archived:1"))[0]["Config"]["Env"][-1] == "A=1"
    digest = json.loads((docker.directory / "meta.json").read_text())["containerimage.config.digest"]
    assert digest == json.loads(docker.out("inspect", "archived:1"))[0]["Id"]


def test_layers_of_the_base_go_out_as_they_came(docker):
    docker.build("FROM busybox\nENV A=1\n", "-o", "type=docker,dest=image.tar,name=based:1")
    assert "based:1" in docker.out("load", "-i", "image.tar")


def test_oci_archive_of_several_platforms(docker):
    docker.write({"f": "x"})
    docker.build(
        "FROM scratch\nARG TARGETPLATFORM\nCOPY f /$TARGETPLATFORM/f\n",
        *("--platform", "linux/arm64,linux/amd64", "-o", "type=oci,dest=image.tar,name=several:1"),
    )
    with tarfile.open(docker.directory / "image.tar") as tar:

        def blob(descriptor):
            return tar.extractfile(f"blobs/sha256/{descriptor['digest'][7:]}").read()

        assert "manifest.json" not in tar.getnames()
        index = json.loads(tar.extractfile("index.json").read())
        assert index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"] == "1"
        manifests = json.loads(blob(index["manifests"][0]))["manifests"]
        assert [each["platform"]["architecture"] for each in manifests[:2]] == ["arm64", "amd64"]
        config = json.loads(blob(json.loads(blob(manifests[0]))["config"]))
        assert config["architecture"] == "arm64"
        with tarfile.open(fileobj=io.BytesIO(blob(json.loads(blob(manifests[0]))["layers"][0]))) as layer:
            assert "linux/arm64/f" in {name.strip("/") for name in layer.getnames()}


def test_an_oci_layout_is_a_context(docker):
    """What one build has written another begins with; also one that this engine has never seen."""
    docker.build("FROM busybox\nRUN echo base > /base\nENV B=1\n", "-o", "type=oci,dest=image.tar,name=x:1")
    layout = docker.directory / "layout"
    layout.mkdir()
    subprocess.run(["tar", "-xf", docker.directory / "image.tar"], cwd=layout, check=True)
    docker.run("buildx", "prune", "-a", "-f")
    said = docker.build(
        "FROM base\nRUN echo $B; cat /base\nCOPY --from=base /base /again\n",
        *("--build-context", f"base=oci-layout://{layout}:1", "-t", "upon"),
    )
    assert "[context base] OCI load from client" in said
    assert docker.out("run", "--rm", "upon", "sh", "-c", "cat /again; echo $B") == "base\n1\n"


def test_the_same_source_date_gives_the_same_image(docker):
    arguments = ["--build-arg", "SOURCE_DATE_EPOCH=1000000000", "--no-cache", "-t", "dated"]
    ids = set()
    for _ in range(2):
        docker.build("FROM busybox\nENV A=1\nRUN date +%N > /f; rm /f; echo data > /g\n", *arguments)
        [image] = json.loads(docker.out("inspect", "dated"))
        assert image["Created"] == "2001-09-09T01:46:40Z"
        ids.add(image["Id"])
    assert len(ids) == 1
    assert docker.out("run", "--rm", "dated", "stat", "-c", "%Y", "/g") == "1000000000\n"


def manifest_of(docker: Docker, name: str) -> dict:
    return json.loads(docker.out("buildx", "imagetools", "inspect", "--raw", name))


def test_annotated_archive(docker):
    notes = ["--annotation", "a=manifest", "--annotation", "manifest-descriptor:b=descriptor"]
    docker.build(DOCKERFILE, "-o", "type=oci,dest=image.tar,name=noted:1", *notes)
    with tarfile.open(docker.directory / "image.tar") as tar:
        [entry] = json.loads(tar.extractfile("index.json").read())["manifests"]
        assert entry["annotations"]["b"] == "descriptor"
        assert entry["annotations"]["org.opencontainers.image.ref.name"] == "1"
        manifest = json.loads(tar.extractfile(f"blobs/sha256/{entry['digest'][7:]}").read())
        assert manifest["annotations"] == {"a": "manifest"}


@pytest.mark.parametrize("kind", ["zstd", "gzip", "uncompressed"])
def test_compressed_archive_can_be_loaded(docker, kind):
    output = f"type=oci,dest=image.tar,name=packed:{kind},compression={kind},force-compression=true"
    docker.build("FROM busybox\nRUN echo data > /f\n", "-o", output)
    ending = {"zstd": "+zstd", "gzip": "+gzip", "uncompressed": ".tar"}[kind]
    with tarfile.open(docker.directory / "image.tar") as tar:
        [entry] = json.loads(tar.extractfile("index.json").read())["manifests"]
        manifest = json.loads(tar.extractfile(f"blobs/sha256/{entry['digest'][7:]}").read())
    assert [each["mediaType"].endswith(ending) for each in manifest["layers"]] == [True, True]
    docker.out("load", "-i", "image.tar")
    assert docker.out("run", "--rm", f"packed:{kind}", "cat", "/f") == "data\n"


@pytest.mark.parametrize("docker", ["sid"], indirect=True)  # the older one pushes again what is in the store
def test_estargz_is_a_layer_for_everybody(docker):
    name = f"{REGISTRY}/stargz:{docker.directory.parent.name}"
    docker.build(
        "FROM busybox\nRUN echo data > /f && ln /f /h && mkdir -p /d/e\n",
        *("-o", f"type=image,name={name},push=true,compression=estargz,force-compression=true"),
        *("--metadata-file", "meta.json"),
    )
    digest = json.loads((docker.directory / "meta.json").read_text())["containerimage.digest"]
    pushed = f"{name.rpartition(':')[0]}@{digest}"
    index = manifest_of(docker, pushed)
    manifest = manifest_of(docker, f"{name.rpartition(':')[0]}@{index['manifests'][0]['digest']}")
    for layer in manifest["layers"]:
        assert layer["annotations"]["containerd.io/snapshot/stargz/toc.digest"].startswith("sha256:")
    docker.out("rmi", "-f", name)
    assert docker.out("run", "--rm", pushed, "cat", "/h") == "data\n"


def test_pushed_with_annotations_and_another_compression(docker):
    name = f"{REGISTRY}/noted:{docker.directory.parent.name}"
    docker.build(
        "FROM busybox\nRUN echo pushed > /f\n",
        *(
            "-o",
            f"type=image,name={name},push=true,compression=zstd,force-compression=true",
            "--annotation",
            "a=b",
        ),
        *("--metadata-file", "meta.json"),
    )
    # The older buildx has pushed it again, by the Engine API.
    index = manifest_of(docker, name)
    manifest = manifest_of(docker, f"{name.rpartition(':')[0]}@{index['manifests'][0]['digest']}")
    assert manifest["annotations"] == {"a": "b"}
    assert manifest["layers"][-1]["mediaType"].endswith("+zstd")
    digest = json.loads((docker.directory / "meta.json").read_text())["containerimage.digest"]
    assert f"{name.rpartition(':')[0]}@{digest}" in json.loads(docker.out("inspect", name))[0]["RepoDigests"]
    docker.out("rmi", "-f", name)
    assert docker.out("run", "--rm", name, "cat", "/f") == "pushed\n"


def test_several_platforms_are_pushed_as_one(docker):
    name = f"{REGISTRY}/several:{docker.directory.parent.name}"
    docker.build(
        "FROM scratch\nARG TARGETARCH\nCOPY Dockerfile /$TARGETARCH\n",
        *("--platform", "linux/amd64,linux/arm64", "--push", "-t", name, "--annotation", "index:a=b"),
    )
    index = manifest_of(docker, name)
    platforms = [each["platform"]["architecture"] for each in index["manifests"]]
    assert platforms == ["amd64", "arm64", "unknown", "unknown"]
    assert index["annotations"] == {"a": "b"}
    assert json.loads(docker.out("inspect", name))[0]["Architecture"] == "amd64"
    docker.out("rmi", "-f", name)
    docker.out("pull", "-q", "--platform", "linux/arm64", name)
    assert json.loads(docker.out("inspect", name))[0]["Architecture"] == "arm64"


def test_several_platforms_are_kept_in_the_store(docker):
    docker.build(
        "FROM scratch\nARG TARGETARCH\nENV A=$TARGETARCH\n",
        *("--platform", "linux/amd64,linux/arm64", "-t", "both", "--annotation", "index:a=b"),
    )
    assert json.loads(docker.out("inspect", "both"))[0]["Architecture"] == "amd64"
    _, body = docker.engine.request("GET", "/images/json?manifests=1")
    [listed] = [each for each in json.loads(body) if each["RepoTags"] == ["both:latest"]]
    assert [each["Descriptor"]["platform"]["architecture"] for each in listed["Manifests"]][:2] == [
        "amd64",
        "arm64",
    ]


def test_a_base_image_of_another_platform_is_told_of(docker):
    """Also one that is not here before."""
    name = f"{REGISTRY}/foreign:{docker.directory.parent.name}"
    pushed = ("--platform", "linux/s390x", "--push", "-t", name)
    docker.build("FROM scratch\nCOPY Dockerfile /\n", *pushed, env=["BUILDX_NO_DEFAULT_ATTESTATIONS=1"])
    docker.out("rmi", "-f", name)
    said = docker.build(f"FROM {name}\nENV A=1\n")
    assert (
        f'InvalidBaseImagePlatform: Base image {name} was pulled with platform "linux/s390x", expected '
        '"linux/amd64" for current build (line 1)'
    ) in said
    assert "InvalidBaseImagePlatform" not in docker.build(f"FROM {name}\nENV A=1\n", "--platform=linux/s390x")


def test_platforms_have_directories_unless_they_are_wanted_together(docker):
    dockerfile = "FROM scratch\nARG TARGETARCH\nCOPY Dockerfile /d/$TARGETARCH\n"
    platforms = ("--platform", "linux/amd64,linux/arm64", "--provenance=true")
    docker.build(dockerfile, *platforms, "-o", "split")
    assert sorted(os.listdir(docker.directory / "split")) == ["linux_amd64", "linux_arm64"]
    docker.build(dockerfile, *platforms, "-o", "type=local,dest=one,platform-split=false")
    assert sorted(os.listdir(docker.directory / "one" / "d")) == ["amd64", "arm64"]
    assert (docker.directory / "one" / "provenance.linux_arm64.json").exists()
    clash = "FROM scratch\nCOPY Dockerfile /f\n"
    said = docker.build(
        clash, *platforms[:2], "-o", "type=local,dest=clash,platform-split=false", check=False
    )
    assert "cannot overwrite f" in said


def test_an_oci_layout_goes_into_a_directory(docker):
    docker.build(DOCKERFILE, "-o", "type=oci,dest=layout,tar=false,name=laid:1", "--provenance=true")
    layout = docker.directory / "layout"
    [top] = json.loads((layout / "index.json").read_text())["manifests"]
    index = json.loads((layout / "blobs" / "sha256" / top["digest"][7:]).read_text())
    manifest = json.loads((layout / "blobs" / "sha256" / index["manifests"][0]["digest"][7:]).read_text())
    for each in (manifest["config"], *manifest["layers"]):
        data = (layout / "blobs" / "sha256" / each["digest"][7:]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == each["digest"][7:]


def test_a_command_for_another_machine_says_what_it_lacks(docker):
    """An ELF header of a machine that no emulator is ever registered for."""
    header = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHI", 2, 0xABCD, 1) + bytes(104)
    (docker.directory / "alien").write_bytes(header)
    (docker.directory / "alien").chmod(0o755)
    said = docker.build('FROM scratch\nCOPY alien /\nRUN ["/alien"]\n', "-t", "alien", check=False)
    assert "exec format error: it is no program for this machine" in said


def test_archives_need_no_name(docker):
    docker.build(DOCKERFILE, "-o", "type=oci,dest=nameless.tar")
    with tarfile.open(docker.directory / "nameless.tar") as tar:
        assert len(json.loads(tar.extractfile("index.json").read())["manifests"]) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "type=image,name=x,compression=estargz"], "compression=estargz is not supported by the"),
        (["-o", "type=docker,dest=x,compression=estargz"], "compression=estargz is not supported by the"),
        (
            ["-o", "type=oci,dest=x", "--annotation", "index:a=b"],
            "index annotations not supported for single",
        ),
        (
            ["-o", "type=oci,dest=x", "--annotation", "index-descriptor:a=b"],
            "index annotations not supported for single",
        ),
        (
            ["-o", "type=oci,dest=x", "--annotation", "manifest[linux/s390x]:a=b"],
            "unknown platform linux/s390x",
        ),
        (
            ["-o", "type=oci,dest=x,compression=zstd,compression-level=23"],
            "invalid compression-level 23 of zstd",
        ),
        (["-o", "type=moon,dest=x"], 'exporter "moon" could not be found'),
    ],
)
def test_what_would_be_ignored_is_refused(docker, arguments, message):
    assert message in docker.build("FROM scratch\nENV A=1\n", *arguments, check=False)


def test_the_cache_is_kept_small(new_engine, tmp_path):
    engine = new_engine({"builder": {"gc": {"defaultKeepStorage": "1MB"}}})
    engine.run("docker", "load", "-q", "-i", str(write_all(engine.directory)["image"]))
    docker = Docker(engine, "trixie", tmp_path)
    docker.build("FROM busybox\nRUN head -c 3000000 /dev/zero > /zeros\n", "-o", "type=cacheonly")
    assert "zeros" not in docker.out("buildx", "du", "--verbose")

"""`corten build` on a real engine: steps as BuildKit shows them, checks, secrets, contexts, verifying."""

import hashlib
import json
import os
import subprocess
import sys
import tarfile
import uuid
from pathlib import Path

import pytest
from plugins import REGISTRY, registry

TESTS = Path(__file__).parent.parent
CORTEN = [sys.executable, "-I", "-S", str(TESTS.parent / "src/corten/cli/__main__.py")]
BASE = """\
FROM scratch AS base
COPY busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
"""


@pytest.fixture
def cli(engine, tmp_path):
    """cli(*arguments): the finished process, run in a folder with busybox in it."""
    (tmp_path / "busybox").write_bytes(Path("/bin/busybox").read_bytes())
    os.chmod(tmp_path / "busybox", 0o755)

    def run(*arguments, files=None, stdin="", **environment):
        for name, text in (files or {}).items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text)
        command = [*CORTEN, "-H", engine.docker_host, *arguments]
        return subprocess.run(
            command,
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), **environment},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
        )

    yield run
    run("rmi", "-f", "built-by-cli")


def test_plain_progress(cli):
    dockerfile = BASE + "FROM base\nRUN echo one; echo two >&2\n"
    done = cli(
        "build", "-t", "built-by-cli", "--iidfile", "id", "--no-cache", ".", files={"Dockerfile": dockerfile}
    )
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert "#1 [internal] load build definition from Dockerfile" in lines
    assert any(line.endswith("[stage-1 1/1] RUN echo one; echo two >&2") for line in lines)
    assert any(line.split(" ")[2:] == ["one"] for line in lines)
    assert any(line.split(" ")[2:] == ["two"] for line in lines)
    assert any("naming to docker.io/library/built-by-cli:latest done" in line for line in lines)
    again = cli("buildx", "build", "-t", "built-by-cli", "--progress=plain", ".")
    assert again.stderr.count(" CACHED\n") == 3
    image = cli("images", "-q", "--no-trunc", "built-by-cli").stdout
    assert cli("build", "-q", ".").stdout == image  # the same builder, the same cache


def test_a_terminal_gets_a_list(cli, engine, tmp_path):
    (tmp_path / "Dockerfile").write_text(BASE)
    done = cli("builder", "build", "--progress=tty", ".")
    assert "[+] Building" in done.stderr
    assert "FINISHED" in done.stderr


def test_failures_show_where(cli):
    done = cli("build", ".", files={"Dockerfile": BASE + "RUN echo why; exit 3\n"})
    assert done.returncode == 1
    assert "------\n > [3/3] RUN echo why; exit 3:\nwhy\n------\n" in done.stderr
    assert "   4 | >>> RUN echo why; exit 3\n" in done.stderr
    assert (
        'ERROR: failed to build: failed to solve: process "/bin/sh -c echo why; exit 3" '
        "did not complete successfully: exit code: 3"
    ) in done.stderr
    done = cli("build", ".", files={"Dockerfile": "FROM scratch\nRUM x\n"})
    assert "unknown instruction: RUM (did you mean RUN?)" in done.stderr
    assert "   2 | >>> RUM x\n" in done.stderr


def test_checks(cli):
    files = {"Dockerfile": "FROM scratch AS Base\nCOPY busybox /\n"}
    done = cli("build", "--check", ".", files=files)
    assert done.returncode == 1
    assert done.stdout.startswith(
        "Check complete, 1 warning has been found!\n\nWARNING: StageNameCasing - https://"
    )
    done = cli("build", "--call=targets", ".")
    assert (done.returncode, done.stdout) == (0, "TARGET         DESCRIPTION\nbase (default) \n")
    done = cli("build", "--call=outline,format=json", ".")
    assert json.loads(done.stdout)["name"] == "base"
    done = cli("build", "--check", ".", files={"Dockerfile": "FROM scratch\nCOPY busybox /\n"})
    assert (done.returncode, done.stdout) == (0, "Check complete, no warnings found.\n")


def test_warnings_come_last(cli):
    done = cli("build", ".", files={"Dockerfile": BASE.replace("AS base", "AS Base")})
    assert done.returncode == 0
    assert done.stderr.endswith(
        "\n 1 warning found (corten build --check shows where):\n"
        " - StageNameCasing: Stage name 'Base' should be lowercase (line 1)\n"
    )
    assert cli("build", "--progress=quiet", ".").stderr == ""


def test_secrets_and_contexts(cli):
    dockerfile = BASE + (
        "COPY --from=more f /more\n"
        "RUN --mount=type=secret,id=a --mount=type=secret,id=b,env=B cat /run/secrets/a /more; echo $B | rev\n"
    )
    files = {
        "Dockerfile": dockerfile,
        "more/f": "more\n",
        "secret": "open\n",
        ".dockerignore": "more\nsecret",
    }
    done = cli(
        *(
            "build",
            "--no-cache",
            "--secret=id=a,src=secret",
            "--secret=id=b,env=SECRET",
            "--build-context=more=more",
            ".",
        ),
        files=files,
        SECRET="abc",
    )
    assert done.returncode == 0, done.stderr
    said = [line.split(" ")[2:] for line in done.stderr.splitlines()]
    assert ["open"] in said
    assert ["more"] in said
    assert ["cba"] in said


def test_entitlements(cli):
    files = {"Dockerfile": BASE + "RUN --security=insecure grep Cap /proc/self/status\n"}
    assert "security.insecure is not allowed" in cli("build", ".", files=files).stderr
    assert cli("build", "--allow=security.insecure", ".").returncode == 0


def test_verify(cli):
    done = cli("build", "--verify", ".", files={"Dockerfile": BASE + "RUN mkdir /d; echo x > /d/f\n"})
    assert done.returncode == 0, done.stderr
    assert "Verified: both builds have the same 3 layers" in done.stdout
    assert "Verified: " in cli("build", "--verify", "-q", ".").stdout
    done = cli(
        "build", "--verify", ".", files={"Dockerfile": BASE + "RUN cat /proc/sys/kernel/random/uuid > /f\n"}
    )
    assert done.returncode == 1
    assert "layer 3 differs: sha256:" in done.stderr
    assert "  C /f\n" in done.stderr


def test_the_cache(cli):
    cli("build", ".", files={"Dockerfile": BASE})
    assert cli("builder", "du").stdout.startswith("ID")
    assert "Total:" in cli("buildx", "du", "--verbose").stdout
    assert "Total reclaimed space: " in cli("builder", "prune", "-af").stdout
    assert cli("builder", "du").stdout.splitlines()[1].startswith("Shared:")


def test_stdin(cli):
    done = cli("build", "-", stdin="FROM scratch\nLABEL a=b\n")
    assert done.returncode == 0, done.stderr
    done = cli("build", "-f", "-", ".", stdin="FROM scratch\nCOPY busybox /\n")
    assert done.returncode == 0, done.stderr


def test_archives_are_loaded_again(cli, tmp_path):
    dockerfile = BASE + "CMD echo archived\n"
    for kind in ("docker", "oci"):
        output = f"type={kind},dest={kind}.tar,name=built-by-cli"
        done = cli("build", "-o", output, ".", files={"Dockerfile": dockerfile})
        assert done.returncode == 0, done.stderr
        cli("rmi", "-f", "built-by-cli")
        assert "built-by-cli" in cli("load", "-i", f"{kind}.tar").stdout
        assert cli("run", "--rm", "built-by-cli").stdout == "archived\n"


def test_files_come_out(cli, tmp_path):
    """Several outputs of one build, with what is attested of the files beside them."""
    done = cli(
        *("build", "-o", "out", "-o", "type=tar,dest=out.tar", "-o", "type=oci,dest=layout,tar=false"),
        *("-t", "came-out", "-o", "type=docker", "--sbom=true", "--provenance=mode=max", "."),
        files={"Dockerfile": BASE + "RUN mkdir /d && echo data > /d/f && ln -s d/f /l && chmod 640 /d/f\n"},
    )
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out"
    assert (out / "l").read_text() == "data\n"
    assert (out / "d" / "f").stat().st_mode & 0o7777 == 0o640
    statement = json.loads((out / "provenance.json").read_text())
    assert "d/f" in [each["name"] for each in statement["subject"]]
    assert json.loads((out / "sbom.spdx.json").read_text())["predicateType"] == "https://spdx.dev/Document"
    with tarfile.open(tmp_path / "out.tar") as tar:
        assert tar.extractfile("d/f").read() == b"data\n"
    index = json.loads((tmp_path / "layout" / "index.json").read_text())
    assert (tmp_path / "layout" / "blobs" / "sha256" / index["manifests"][0]["digest"][7:]).exists()
    assert cli("run", "--rm", "came-out", "cat", "/d/f").stdout == "data\n"


def test_a_push_is_annotated_and_says_what_it_was_made_of(cli, engine, tmp_path):
    name = f"pushed-{tmp_path.name.replace('_', '-')}".lower()
    build = ("build", "--push", "-t", f"{REGISTRY}/{name}", "--metadata-file", "meta.json")
    annotations = ("--annotation", "org.one=1", "--annotation", "index,manifest:org.two=2")

    def fetched(reference):
        accepted = (
            "Accept: application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json"
        )
        url = f"http://{REGISTRY}/v2/{name}/manifests/{reference}"
        raw = engine.run("curl", "-s", "-H", accepted, url).stdout
        return json.loads(raw), f"sha256:{hashlib.sha256(raw.encode()).hexdigest()}"

    with registry(engine, tmp_path):
        done = cli(*build, *annotations, ".", files={"Dockerfile": BASE})
        assert done.returncode == 0, done.stderr
        index, digest = fetched("latest")
        assert json.loads((tmp_path / "meta.json").read_text())["containerimage.digest"] == digest
        assert index["annotations"] == {"org.two": "2"}
        image, attestation = index["manifests"]
        assert fetched(image["digest"])[0]["annotations"] == {"org.one": "1", "org.two": "2"}
        [statement] = fetched(attestation["digest"])[0]["layers"]
        assert statement["annotations"] == {"in-toto.io/predicate-type": "https://slsa.dev/provenance/v1"}
        done = cli(*build, "--annotation", "org.one=1", ".", BUILDX_NO_DEFAULT_ATTESTATIONS="1")
        assert done.returncode == 0, done.stderr
        manifest, _ = fetched("latest")
        assert manifest["annotations"] == {"org.one": "1"}
        refused = cli(*build, "--annotation", "index:a=b", ".", BUILDX_NO_DEFAULT_ATTESTATIONS="1")
        assert "index annotations not supported for single platform export" in refused.stderr
    unknown = cli(*build, "--annotation", "index,image:a=b", ".")
    assert unknown.stderr.strip().endswith('unknown annotation type "image"')
    failed = cli(*build, ".")
    assert failed.returncode == 1
    assert "connection refused" in failed.stderr


def test_a_push_is_what_its_output_says(cli, engine, tmp_path):
    repository = f"{REGISTRY}/said-{uuid.uuid4().hex}"
    made = {"Dockerfile": "FROM scratch\nCOPY Dockerfile /\n"}

    def push(name, attributes):
        output = f"type=image,name={name},push=true,{attributes}"
        done = cli(
            *("build", "-o", output, "--metadata-file", "meta.json", "."),
            files=made,
            BUILDX_NO_DEFAULT_ATTESTATIONS="1",
        )
        assert done.returncode == 0, done.stderr
        return json.loads((tmp_path / "meta.json").read_text())["containerimage.digest"]

    def asked(path):
        accepted = "Accept: application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
        url = f"http://{repository.replace('/', '/v2/', 1)}/{path}"
        return json.loads(engine.run("curl", "-s", "-H", accepted, url).stdout)

    with registry(engine, tmp_path):
        digest = push(repository, "push-by-digest=true,name-canonical=true")
        assert not asked("tags/list").get("tags")
        assert asked(f"manifests/{digest}")["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
        assert cli("image", "inspect", f"{repository}@{digest}").returncode == 0
        refused = cli("build", "-o", f"type=image,name={repository}:1,push=true,push-by-digest=true", ".")
        assert f"can't push tagged ref {repository}:1 by digest" in refused.stderr
        push(f"{repository}:oci", "oci-mediatypes=true")
        assert asked("manifests/oci")["config"]["mediaType"].startswith("application/vnd.oci")
        push(f"{repository}:docker", "oci-mediatypes=false")
        manifest = asked("manifests/docker")
        kinds = [each["mediaType"] for each in (manifest, manifest["config"], *manifest["layers"])]
        assert all(kind.startswith("application/vnd.docker.") for kind in kinds)
        push(f"{repository}:away", "store=false,registry.insecure=true")
        assert asked("manifests/away")["layers"]
        assert cli("image", "inspect", f"{repository}:away").returncode == 1
    for attributes, message in (
        ("push=true,name=registry.invalid/x,registry.insecure=true", "name registry.invalid in insecure-reg"),
        ("name=x,dangling-name-prefix=y", "dangling-name-prefix is not supported"),
        ("name=x,store=false", "store=false goes with push=true"),
        ("name=x,unpack=maybe", "non-bool value specified for unpack"),
        ("name=x,source-date-epoch=soon", "invalid source-date-epoch: soon"),
        (
            "name=x,source-date-epoch=5,rewrite-timestamp=true",
            "give the build the argument SOURCE_DATE_EPOCH",
        ),
    ):
        assert message in cli("build", "-o", f"type=image,{attributes}", ".").stderr


def test_a_source_date_is_that_of_files_too(cli, tmp_path):
    """Of all of them, and from our environment, as buildx has it."""
    made = {"Dockerfile": BASE + "FROM scratch\nCOPY --from=base /bin /bin\n"}
    for attributes, environment, moment in (
        ("", {"SOURCE_DATE_EPOCH": "1000000000"}, 1000000000),
        (",source-date-epoch=1000000007", {}, 1000000007),
    ):
        done = cli("build", "-o", f"type=tar,dest=out.tar{attributes}", ".", files=made, **environment)
        assert done.returncode == 0, done.stderr
        with tarfile.open(tmp_path / "out.tar") as tar:
            assert {entry.mtime for entry in tar} == {moment}


def test_a_tar_goes_to_stdout(cli):
    done = cli("build", "-q", "-o", "-", ".", files={"Dockerfile": "FROM scratch\nCOPY Dockerfile /f\n"})
    assert done.returncode == 0, done.stderr
    assert "FROM scratch" in done.stdout


def test_a_build_for_the_cache_alone_makes_no_image(cli):
    done = cli("build", "-o", "type=cacheonly", "-t", "nobody", ".", files={"Dockerfile": BASE})
    assert done.returncode == 0, done.stderr
    assert cli("image", "inspect", "nobody").returncode == 1


def test_a_failed_build_leaves_no_output(cli, tmp_path):
    done = cli("build", "-o", "never", ".", files={"Dockerfile": BASE + "RUN exit 3\n"})
    assert done.returncode == 1
    assert not (tmp_path / "never").exists()


def test_an_output_is_fetched_once(engine):
    assert engine.request("GET", "/build/outputs/0123456789abcdef0123456789abcdef")[0] == 404


def test_several_platforms_make_an_index(cli, engine, tmp_path):
    """What is built on this machine for each says so; what they have in common is built once."""
    dockerfile = (
        "FROM --platform=$BUILDPLATFORM scratch AS made\nCOPY busybox /common\n"
        "ARG TARGETARCH\nCOPY busybox /$TARGETARCH\nFROM scratch\nCOPY --from=made / /d\n"
    )
    both = ("build", "--platform=linux/amd64,linux/arm64")
    told = ("--iidfile", "id", "--metadata-file", "meta.json")
    done = cli(*both, "-t", "built-by-cli", *told, ".", files={"Dockerfile": dockerfile})
    assert done.returncode == 0, done.stderr
    names = {line.partition(" ")[2] for line in done.stderr.splitlines()}
    assert {
        "[linux/amd64 made 1/2] COPY busybox /common",
        "[linux/amd64 made 2/2] COPY busybox /amd64",
        "[linux/amd64->arm64 made 2/2] COPY busybox /arm64",
        "[linux/arm64 stage-1 1/1] COPY --from=made / /d",
    } <= names
    told = json.loads((tmp_path / "meta.json").read_text())
    assert told["containerimage.digest"] == (tmp_path / "id").read_text()
    assert told["containerimage.descriptor"]["mediaType"] == "application/vnd.oci.image.index.v1+json"
    [image] = json.loads(cli("image", "inspect", "--platform=linux/arm64", "built-by-cli").stdout)
    assert image["Architecture"] == "arm64"
    assert cli(*both, "-q", ".").stdout.strip() == told["containerimage.digest"]


def test_outputs_of_several_platforms(cli, tmp_path):
    files = {"Dockerfile": "FROM scratch\nARG TARGETARCH\nCOPY busybox /$TARGETARCH\n"}
    both = ("build", "--platform=linux/amd64", "--platform", "linux/arm64")
    done = cli(*both, "-o", "split", "-o", "type=local,dest=one,platform-split=false", ".", files=files)
    assert done.returncode == 0, done.stderr
    assert sorted(os.listdir(tmp_path / "split")) == ["linux_amd64", "linux_arm64"]
    assert sorted(os.listdir(tmp_path / "one")) == ["amd64", "arm64"]
    done = cli(*both, "-o", "type=oci,dest=layout,tar=false", "--cache-to=type=local,dest=cache", ".")
    assert done.returncode == 0, done.stderr
    blobs = tmp_path / "layout" / "blobs" / "sha256"
    [top] = json.loads((tmp_path / "layout" / "index.json").read_text())["manifests"]
    manifests = json.loads((blobs / top["digest"][7:]).read_text())["manifests"]
    assert [each["platform"]["architecture"] for each in manifests] == ["amd64", "arm64"]
    cli("builder", "prune", "-af")
    again = cli(*both, "--cache-from=type=local,src=cache", ".")
    assert again.stderr.count(" CACHED\n") == 2


def test_several_platforms_are_not_for_everything(cli):
    files = {"Dockerfile": "FROM scratch\nCOPY busybox /\n"}
    both = ("build", "--platform=linux/amd64,linux/arm64")
    done = cli(*both, "-o", "type=docker,dest=x.tar", ".", files=files)
    assert "docker exporter does not currently support exporting manifest lists" in done.stderr
    assert "one platform at a time" in cli(*both, "--verify", ".").stderr
    assert '"linux/a/b/c": ' in cli("build", "--platform=linux/a/b/c", ".").stderr


def test_the_classic_builder_builds_for_one_platform(engine):
    status, body = engine.request("POST", "/build?platform=linux/amd64,linux/arm64")
    assert (status, json.loads(body)["message"]) == (
        501,
        "several platforms are not supported by the classic builder",
    )


def test_stages_without_cache(cli):
    dockerfile = BASE + "FROM base AS one\nRUN echo one\nFROM one\nRUN echo two\n"
    cli("build", ".", files={"Dockerfile": dockerfile})
    again = cli("build", "--no-cache-filter", "one", "--progress=plain", ".").stderr
    assert any(line.split(" ")[2:] == ["one"] for line in again.splitlines()), again
    assert again.count(" CACHED\n") >= 2


def test_a_command_that_fails_ends_the_others(cli):
    """Also where what waits for both has the other one first."""
    slow = "FROM base AS slow\nRUN echo begun > /met/slow; sleep 30; echo $((40 + 2)) slept\n"
    failing = "FROM base AS failing\nRUN until [ -e /met/slow ]; do sleep 0.05; done; exit 3\n"
    mount = f"RUN --mount=type=cache,target=/met,id={uuid.uuid4()}"
    stages = (slow + failing).replace("RUN", mount)
    target = "FROM base\nCOPY --from=slow /bin/ls /a\nCOPY --from=failing /bin/ls /b\n"
    done = cli("build", "--progress=plain", ".", files={"Dockerfile": BASE + stages + target})
    assert done.returncode == 1
    assert "exit code: 3" in done.stderr
    assert " 42 slept" not in done.stderr


def test_classic_output_on_demand(cli):
    done = cli("build", ".", files={"Dockerfile": "FROM scratch\nLABEL a=b\n"}, DOCKER_BUILDKIT="0")
    assert done.stdout.startswith("Step 1/2 : FROM scratch\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sbom=generator="], "sbom generator cannot be empty"),
        (["--provenance=mode=much"], 'invalid mode "much"'),
        (["--attest=mode=max"], "attestation type not specified"),
        (["-o", "type=local"], "dest is required for local exporter"),
        (["-o", "type=moon,dest=x"], 'exporter "moon" could not be found'),
        (["-o", "dest=x"], "type is required for output"),
        (["--cache-to=type=gha"], "cache exporter type=gha is not supported by Corten"),
        (["--secret=id=x,src=none"], "failed to stat none"),
        (["--build-context=x"], "invalid context value: x, expected key=value"),
        (["--allow=everything"], "unknown entitlement"),
    ],
)
def test_what_is_refused(cli, arguments, message):
    done = cli("build", *arguments, ".", files={"Dockerfile": "FROM scratch\n"})
    assert done.returncode == 1
    assert message in done.stderr

"""`corten build`: what is sent, and what is shown of the answer."""

import io
import json
import os
import tarfile

import pytest


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "context"
    (root / "sub").mkdir(parents=True)
    (root / "node_modules").mkdir()
    (root / "Dockerfile").write_text("FROM busybox\n")
    (root / ".dockerignore").write_text("node_modules\n*.log\n!keep.log\nDockerfile\n")
    (root / "a.txt").write_text("a")
    (root / "x.log").write_text("x")
    (root / "keep.log").write_text("keep")
    (root / "sub" / "s").write_text("s" * 5000)
    (root / "node_modules" / "n").write_text("n")
    os.symlink("a.txt", root / "link")
    os.link(root / "a.txt", root / "hard")
    (root / "a.txt").chmod(0o640)
    return root


@pytest.fixture
def build(engine, corten):
    """Run a build; gives the finished process, the query and the context that was sent."""
    messages = [{"stream": "Step 1/1 : FROM busybox\n"}, {"aux": {"ID": "sha256:abc"}}]
    engine.streams["POST /build"] = [json.dumps(m).encode() + b"\r\n" for m in messages]

    def run(*arguments, **more):
        done = corten("build", *arguments, **more)
        sent = next((r for r in engine.requests if r[1] == "/build"), None)
        if sent is None:
            return done, None, None
        context = tarfile.open(fileobj=io.BytesIO(sent[4])) if sent[4] else None  # noqa: SIM115
        return done, sent[2], context

    return run


def test_context_is_the_folder_without_what_is_ignored(build, folder):
    done, query, context = build("-t", "x:1", str(folder))
    assert done.stdout == b"Step 1/1 : FROM busybox\n"
    assert done.returncode == 0
    names = {m.name: m for m in context}
    kept = {".dockerignore", "Dockerfile", "a.txt", "hard", "keep.log", "link", "sub", "sub/s"}
    assert set(names) == kept
    assert context.extractfile("sub/s").read() == b"s" * 5000
    assert names["link"].linkname == "a.txt"
    assert names["hard"].islnk()
    assert names["a.txt"].mode == 0o640
    assert (names["a.txt"].uid, names["a.txt"].uname) == (0, "")
    assert (query["t"], query["dockerfile"]) == ("x:1", "Dockerfile")


def test_options_are_mapped(build, folder):
    line = "--build-arg A=1 --build-arg HOME --build-arg NOPE --label l=v"
    more = "--target t --no-cache --pull --network host"
    _, query, _ = build(*line.split(), *more.split(), "-m", "1g", str(folder), HOME="/h")
    assert json.loads(query["buildargs"]) == {"A": "1", "HOME": "/h", "NOPE": None}
    assert json.loads(query["labels"]) == {"l": "v"}
    assert {k: query[k] for k in ("target", "nocache", "pull", "networkmode", "memory")} == {
        "target": "t",
        "nocache": "1",
        "pull": "1",
        "networkmode": "host",
        "memory": str(1 << 30),
    }


def test_image_id_file(build, folder, tmp_path):
    build("--iidfile", str(tmp_path / "iid"), str(folder))
    assert (tmp_path / "iid").read_text() == "sha256:abc"


def test_dockerfile_alone_on_stdin(build):
    _, query, context = build("-", stdin=b"FROM busybox\n")
    assert context.extractfile(query["dockerfile"]).read() == b"FROM busybox\n"


def test_whole_context_on_stdin(build):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("Dockerfile"))
    _, query, context = build("-", stdin=data.getvalue())
    assert context.getnames() == ["Dockerfile"]
    assert "dockerfile" not in query


def test_dockerfile_on_stdin_or_elsewhere_beside_a_folder(build, folder, tmp_path, engine):
    _, query, context = build("-f", "-", str(folder), stdin=b"FROM other\n")
    assert context.extractfile(query["dockerfile"]).read() == b"FROM other\n"
    assert "a.txt" in context.getnames()
    engine.requests.clear()
    (tmp_path / "Other").write_text("FROM elsewhere\n")
    _, query, context = build("-f", str(tmp_path / "Other"), str(folder))
    assert context.extractfile(query["dockerfile"]).read() == b"FROM elsewhere\n"


def test_url_is_the_engines_business(build):
    _, query, context = build("https://example.com/x.git")
    assert query["remote"] == "https://example.com/x.git"
    assert context is None


def test_failed_step_gives_its_exit_code(build, folder, engine):
    error = {"errorDetail": {"code": 9, "message": "returned a non-zero code: 9"}, "error": "x"}
    engine.streams["POST /build"] = [json.dumps(error).encode() + b"\r\n"]
    done, _, _ = build(str(folder))
    assert (done.returncode, done.stderr) == (9, b"returned a non-zero code: 9\n")


def test_quiet_shows_only_the_id(build, folder, engine):
    """Also of an engine that tells nothing of steps."""
    told = [{"stream": "Step 1/1 : FROM a\n"}, {"aux": {"ID": "sha256:abc"}}]
    engine.streams["POST /build"] = [json.dumps(each).encode() + b"\r\n" for each in told]
    assert build("-q", str(folder))[0].stdout == b"sha256:abc\n"


_TOLD = [
    {"vertex": {"id": 1, "name": "[1/1] RUN x", "started": 10**18 + 5, "completed": 0}},
    {"log": {"vertex": 1, "stream": 1, "data": "output\n"}},
    {"status": {"vertex": 1, "id": "a part", "done": True}},
    {"vertex": {"id": 1, "name": "[1/1] RUN x", "started": 10**18, "completed": 10**18 + 1, "error": "no"}},
    {"warning": {"rule": "Rule", "detail": "so", "line": 3}},
    {"failure": {"name": "[1/1] RUN x", "log": ["output"], "excerpt": "Dockerfile:1\n"}},
]


@pytest.fixture
def traced(engine):
    """The engine tells of a build that fails."""
    lines = [{"id": "corten.trace", "aux": told} for told in _TOLD]
    lines.append({"errorDetail": {"code": 1, "message": "it has failed"}, "error": "it has failed"})
    engine.streams["POST /build"] = [json.dumps(line).encode() + b"\r\n" for line in lines]


def test_raw_json_is_a_document_a_line(build, folder, traced):
    done, query, _ = build("--progress=rawjson", str(folder))
    lines = done.stderr.decode().splitlines()
    assert lines[5:] == ["Dockerfile:1", "ERROR: failed to build: failed to solve: it has failed"]
    begun, log, part, ended, warning = map(json.loads, lines[:5])
    [vertex] = begun["vertexes"]
    assert vertex.pop("digest") == ended["vertexes"][0]["digest"] == log["logs"][0]["vertex"]
    assert vertex == {"name": "[1/1] RUN x", "started": "2001-09-09T01:46:40.000000005Z"}
    assert ended["vertexes"][0]["error"] == "no"
    assert (log["logs"][0]["stream"], log["logs"][0]["data"]) == (1, "b3V0cHV0Cg==")
    assert part["statuses"][0]["completed"]
    assert warning["warnings"][0]["range"] == [{"start": {"line": 3}, "end": {"line": 3}}]
    assert query["trace"] == "1"


def test_a_quiet_build_that_fails_says_where(build, folder, traced):
    done, query, _ = build("-q", str(folder))
    assert b"Dockerfile:1\nERROR: failed to build: failed to solve: it has failed\n" in done.stderr
    assert (done.returncode, done.stdout, query["trace"]) == (1, b"", "1")


def test_the_flag_counts_more_than_the_variable(build, folder, traced):
    assert build("--progress=plain", str(folder), BUILDKIT_PROGRESS="rawjson")[0].stderr.startswith(b"#1 ")
    assert build(str(folder), BUILDKIT_PROGRESS="rawjson")[0].stderr.startswith(b'{"vertexes"')


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--progress=some"], b"invalid progress mode some"),
        (["--progress=plain", "-q"], b"progress=plain and quiet cannot be used together"),
    ],
)
def test_how_to_show_steps_is_one_of_few(build, folder, arguments, text):
    done, query, _ = build(*arguments, str(folder))
    assert done.returncode and text in done.stderr and query is None


def test_a_build_that_fails_leaves_no_image_id(build, folder, traced, tmp_path):
    (tmp_path / "iid").write_text("sha256:old")
    assert build("--iidfile", str(tmp_path / "iid"), str(folder))[0].returncode
    assert not (tmp_path / "iid").exists()


def test_where_an_image_id_goes_is_no_file_to_be_removed(build, folder, tmp_path):
    """`--iidfile /dev/stdout`, which is a link, by root."""
    (tmp_path / "stdout").symlink_to("file")
    build("--iidfile", str(tmp_path / "stdout"), str(folder))
    assert (tmp_path / "stdout").is_symlink()
    assert (tmp_path / "file").read_text() == "sha256:abc"


def test_an_image_id_file_that_cannot_be_removed(build, folder, tmp_path):
    (tmp_path / "file").touch()
    done, query, _ = build("--iidfile", str(tmp_path / "file/iid"), str(folder))
    message = f"removing image ID file: remove {tmp_path}/file/iid: not a directory\n"
    assert (done.returncode, done.stderr.decode(), query) == (1, message, None)


def test_what_buildx_takes_without_a_use_is_taken(build, folder):
    useless = ("--compress", "--isolation=default", "--security-opt=seccomp=unconfined")
    assert {"isolation", "securityopt"}.isdisjoint(build(*useless, str(folder))[1])


def test_the_classic_builder_is_told_what_it_refuses(build, folder):
    asked = ("--isolation=hyperv", "--security-opt=a")
    _, query, _ = build(*asked, str(folder), DOCKER_BUILDKIT="0")
    assert (query["isolation"], query["securityopt"]) == ("hyperv", "a")


def test_the_engine_does_not_choose_where_a_cache_goes(build, folder, engine, tmp_path):
    told = {"id": "corten.build.cache", "aux": {"dest": str(tmp_path / "theirs"), "keys": []}}
    engine.streams["POST /build"] = [json.dumps(told).encode() + b"\r\n"]
    done, _, _ = build("--cache-to", f"type=local,dest={tmp_path / 'ours'}", str(folder))
    assert done.returncode and b"which nobody asked for" in done.stderr
    assert not (tmp_path / "theirs").exists()


@pytest.mark.parametrize(
    ("flag", "text"),
    [("--cache-to", b"local cache exporter requires dest"), ("--cache-from", b"importer requires src")],
)
def test_a_local_cache_is_somewhere(build, folder, flag, text):
    done, query, _ = build(flag, "type=local", str(folder))
    assert done.returncode and text in done.stderr and query is None


def test_missing_folder_and_dockerfile(build, folder):
    assert b'unable to prepare context: path "/nope" not found' in build("/nope")[0].stderr
    os.unlink(folder / "Dockerfile")
    assert b"unable to evaluate symlinks in Dockerfile path" in build(str(folder))[0].stderr

"""ADD from git repositories and contexts in them, served by `git daemon` on loopback."""

import os
import socket
import subprocess
import time

import pytest

pytestmark = pytest.mark.root


def git(directory, *arguments):
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "HOME": "/nonexistent"}
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"]
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=directory, env=environment, check=True, capture_output=True
    )
    return done.stdout.decode().strip()


@pytest.fixture
def repository(tmp_path):
    """(URL, directory, first commit) of a repository with two commits, a tag and a submodule."""
    served = tmp_path / "served"
    inner, outer = served / "inner.git", served / "outer.git"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    for place in (inner, outer):
        place.mkdir(parents=True)
        git(place, "init", "-q")
    (inner / "deep").write_text("deep")
    git(inner, "add", "."), git(inner, "commit", "-qm", "inner")
    (outer / "f").write_text("old")
    (outer / "sub").mkdir()
    (outer / "sub" / "Dockerfile").write_text("FROM bb:1\nCOPY . /ctx/\n")
    (outer / "sub" / "g").write_text("g")
    git(outer, "add", "."), git(outer, "commit", "-qm", "1"), git(outer, "tag", "v1")
    first = git(outer, "rev-parse", "HEAD")
    (outer / "f").write_text("new")
    (outer / ".gitmodules").write_text(
        f'[submodule "inner"]\n\tpath = inner\n\turl = git://127.0.0.1:{port}/inner.git\n'
    )
    commit = git(inner, "rev-parse", "HEAD")
    git(outer, "update-index", "--add", "--cacheinfo", f"160000,{commit},inner")
    git(outer, "add", "f", ".gitmodules"), git(outer, "commit", "-qm", "2")
    daemon = subprocess.Popen(
        ["git", "daemon", "--export-all", "--reuseaddr", f"--base-path={served}", "--listen=127.0.0.1"]
        + [f"--port={port}", str(served)],
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    while daemon.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except OSError:
            time.sleep(0.01)
    yield f"git://127.0.0.1:{port}/outer.git", outer, first
    os.killpg(daemon.pid, 15)
    daemon.wait()
    daemon.stderr.close()


def test_add(site, repository):
    url, directory, first = repository
    site.add_busybox()
    result = site.build(f"FROM bb:1\nADD {url} /new\nADD --chown=7 {url}#v1 /old\nADD {url}#main:sub /sub\n")
    assert (result.find("new/f").read_text(), result.find("new/inner/deep").read_text()) == ("new", "deep")
    assert (result.find("old/f").read_text(), result.find("old/f").stat().st_uid) == ("old", 7)
    assert result.find("sub/g").read_text() == "g"
    for path in ("new/.git", "new/inner/.git"):
        with pytest.raises(FileNotFoundError):
            result.find(path)
    again = site.build(f"FROM bb:1\nADD {url} /new\n")
    assert "Using cache" in again.text
    (directory / "f").write_text("newest")
    git(directory, "commit", "-qam", "3")
    assert site.build(f"FROM bb:1\nADD {url} /new\n").find("new/f").read_text() == "newest"


def test_commits(site, repository):
    url, _, first = repository
    site.add_busybox()
    for ref in (first, first[:12]):
        result = site.build(f"FROM bb:1\nADD --keep-git-dir=true {url}#{ref} /x\n")
        assert (result.find("x/f").read_text(), result.find("x/.git").is_dir()) == ("old", True)
    assert site.build(f"FROM bb:1\nADD --checksum={first[:20]} {url}#v1 /x\n").error is None
    wrong = site.build(f"FROM bb:1\nADD --checksum={first} {url} /x\n")
    assert f"expected checksum to match {first}" in str(wrong.error)
    assert "repository does not contain ref none" in str(site.build(f"FROM bb:1\nADD {url}#none /x\n").error)


def test_contexts(site, repository):
    url, _, _ = repository
    site.add_busybox()
    result = site.build("", remote=f"{url}#main:sub")
    assert result.find("ctx/g").read_text() == "g"
    assert "Cannot locate specified Dockerfile" in str(site.build("", remote=url).error)
    assert "invalid subdir" in str(site.build("", remote=f"{url}#main:../..:x").error)
    keep = {"BUILDKIT_CONTEXT_KEEP_GIT_DIR": "1"}
    for given, kept in ({}, False), (keep, True):
        result = site.build("", remote=url, dockerfile="sub/Dockerfile", build_args=given)
        assert (".git" in os.listdir(result.find("ctx"))) == kept


def test_a_repository_runs_nothing(site, repository, tmp_path):
    url, directory, _ = repository
    site.add_busybox()
    canary = tmp_path / "canary"
    (directory / ".gitmodules").write_text(
        f'[submodule "inner"]\n\tpath = inner\n\turl = ext::sh -c touch% {canary}\n\tupdate = !touch {canary}\n'
    )
    os.symlink("/etc", directory / "way-out")
    git(directory, "add", ".gitmodules", "way-out"), git(directory, "commit", "-qm", "evil")
    result = site.build(f"FROM bb:1\nADD {url} /x\n")
    assert result.error is not None
    assert not canary.exists()
    outside = site.build("", remote=f"{url}?submodules=false&subdir=way-out")
    assert "invalid subdir" in str(outside.error)

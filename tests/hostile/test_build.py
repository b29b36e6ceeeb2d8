"""Dockerfiles of strangers: what a build may not be made to do by its text alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CLI = str(Path(__file__).parents[2] / "src/corten/cli/__main__.py")


@pytest.fixture
def build(attacker, tmp_path):
    """build(dockerfile, *flags): (exit code, output) of the classic builder."""

    def run(dockerfile, *flags):
        (tmp_path / "Dockerfile").write_text(dockerfile)
        command = ["env", "DOCKER_BUILDKIT=0", "docker", "build", "--quiet", *flags, str(tmp_path)]
        done = attacker.engine.run(*command, check=False)
        return done.returncode, done.stdout + done.stderr

    return run


@pytest.mark.parametrize("form", ["--network=host", "--network=HOST", "--security=insecure"])
def test_entitlements_are_the_callers_to_give(build, plain, form):
    """CVE-2024-23653: a Dockerfile does not grant itself the host's network, or privileges."""
    code, text = build(f"FROM {plain}\nRUN {form} readlink /proc/self/ns/net\n")
    assert code != 0
    assert "not allowed" in text or "not supported" in text


def test_the_caller_may_give_the_hosts_network(build, plain):
    assert build(f"FROM {plain}\nRUN --network=host true\n", "--network=host")[0] == 0


def test_commands_have_no_more_rights_than_containers(build, plain, probe, attacker):
    image = attacker.image(probe)
    code, text = build(
        f"FROM {image}\nRUN probe > /seen; cat /proc/self/status >> /seen; F=$(ls /proc/$$/fd); echo fds $F >> /seen\n",
        "-t=probed",
    )
    assert code == 0, text
    seen = attacker.sh("probed", "cat /seen").stdout
    attacker.images.append("probed")
    lines = dict(line.split(None, 1) for line in seen.splitlines() if len(line.split()) > 1)
    assert lines["CapEff:"] == "00000000a80425fb"
    assert lines["CapInh:"] == lines["CapAmb:"] == "0000000000000000"
    assert lines["af_alg"] == lines["mount_tmpfs"] == lines["unshare_user"] == "1"
    assert lines["mem"] == "1"
    assert set(lines["fds"].split()) <= {"0", "1", "2", "3"}  # 3: the shell's own, for $()


def test_mounts_of_a_command_do_not_reach_the_host(build, plain, tmp_path):
    """CVE-2024-23651, CVE-2024-23652: a mount's source or target that is a link, or becomes one."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("CANARY")
    (tmp_path / "context").mkdir()
    os.symlink(outside, tmp_path / "context" / "link")
    dockerfile = (
        f"FROM {plain} AS evil\n"
        f"RUN ln -s {outside} /link; mkdir /dir; ln -s {outside} /dir/inner\n"
        f"FROM {plain}\n"
        "RUN --mount=type=bind,from=evil,source=/link,target=/data,rw cat /data/kept || true\n"
        "RUN --mount=type=bind,source=context/link,target=/data cat /data/kept || true\n"
        "RUN --mount=type=cache,from=evil,source=/link,target=/cache cat /cache/kept || true\n"
        f"RUN --mount=type=cache,target=/new/target rm -rf /new; ln -s {outside} /new || true\n"
        f"RUN --mount=type=tmpfs,target=/a/b umount /a/b; rm -rf /a; ln -s {outside} /a || true\n"
    )
    text = build(dockerfile, "--no-cache")[1]
    assert "CANARY" not in text
    assert [(p.name, p.read_text()) for p in outside.iterdir()] == [("kept", "CANARY")]


def test_secrets_stay_out_of_layers_history_cache_and_logs(attacker, plain, tmp_path):
    secret = "S3CR3T-" + os.urandom(12).hex()
    (tmp_path / "context").mkdir()
    (tmp_path / "context" / "Dockerfile").write_text(
        f"FROM {plain}\n"
        "RUN --mount=type=secret,id=file cat /run/secrets/file | wc -c\n"
        'RUN --mount=type=secret,id=env,env=TOKEN test -n "$TOKEN"; mount | grep secrets; true\n'
        'RUN test ! -e /run/secrets; test -z "$TOKEN"\n'
    )
    (tmp_path / "value").write_text(secret)
    engine = attacker.engine
    cli = [sys.executable, "-I", "-S", CLI, "-H", engine.docker_host, "build", "-t", "with-secret"]
    flags = ["--secret=id=file,src=value", "--secret=id=env,env=VALUE"]
    done = subprocess.run(
        [*cli, *flags, "context"],
        cwd=tmp_path,
        env={**os.environ, "VALUE": secret},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    attacker.images.append("with-secret")
    assert secret not in done.stdout + done.stderr
    assert secret not in engine.run("docker", "history", "--no-trunc", "with-secret").stdout
    for place in (engine.root, engine.exec_root, engine.log):
        found = subprocess.run(
            ["grep", "-rlaF", "--devices=skip", secret, place], capture_output=True, text=True
        )
        assert found.stdout == ""


def test_a_cache_is_no_way_to_choose_what_is_mounted(build, plain):
    """CVE-2024-23651: the path below a cache would be resolved while commands change what is in it."""
    code, text = build(f"FROM {plain}\nRUN --mount=type=cache,target=/c,source=sub true\n")
    assert code != 0
    assert "with source= needs from= too" in text


def test_caches_of_racing_builds_lead_nowhere(attacker, plain, tmp_path):
    """Two builds share a cache; one swaps a directory in it for a link to the host, the other writes there."""
    outside = tmp_path / "outside"
    outside.mkdir()
    cache = "--mount=type=cache,id=raced,target=/c"
    swap = f"i=0; while [ $i -lt 300 ]; do rm -rf /c/d; ln -s {outside} /c/d; rm -rf /c/d; mkdir /c/d; i=$((i+1)); done"
    write = "i=0; while [ $i -lt 300 ]; do echo x > /c/d/f; i=$((i+1)); done; true"
    running = []
    for name, command in (("swap", swap), ("write", write)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "Dockerfile").write_text(f"FROM {plain}\nRUN {cache} {command}\n")
        running.append(
            attacker.engine.popen(
                "env", "DOCKER_BUILDKIT=0", "docker", "build", "-q", "--no-cache", str(folder)
            )
        )
    for process in running:
        process.communicate(timeout=60)
    assert list(outside.iterdir()) == []


def test_links_in_the_context_stay_in_it(build, plain, tmp_path):
    os.symlink("/etc/passwd", tmp_path / "absolute")
    os.symlink("../../../../etc/passwd", tmp_path / "relative")
    (tmp_path / "dir").mkdir()
    os.symlink("/", tmp_path / "dir" / "root")
    canary = next(line for line in Path("/etc/passwd").read_text().splitlines() if line.startswith("daemon"))
    for source in ("absolute", "relative", "dir/root/etc/passwd", "dir/root/etc/p*"):
        code, text = build(f"FROM {plain}\nCOPY {source} /x\nRUN cat /x\n")
        assert code != 0 or canary not in text
    code, text = build(
        f"FROM {plain}\nRUN --mount=type=bind,target=/m cat /m/absolute /m/dir/root/etc/passwd\n"
    )
    assert canary not in text

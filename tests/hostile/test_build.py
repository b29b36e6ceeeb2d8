"""Dockerfiles of strangers: what a build may not be made to do by its text alone."""

import os

import pytest


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

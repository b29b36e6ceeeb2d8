"""`docker build` by the real buildx, over BuildKit's protocol."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from plugins import SUITES, Docker, ends_without_leftovers

from engine import Engine
from sandbox import child_of


@pytest.fixture(params=SUITES)
def docker(builder: Engine, tmp_path: Path, request: pytest.FixtureRequest) -> Docker:
    return Docker(builder, request.param, tmp_path)


def test_build_and_run(docker):
    docker.write({"a.txt": "aaa\n", "sub/b.txt": "bbb\n", "left-out": "no", ".dockerignore": "left-*"})
    said = docker.build(
        "FROM busybox AS base\nARG WHO\nRUN echo hello $WHO > /greeting; echo out; echo err >&2\n"
        "FROM base\nCOPY . /data/\nWORKDIR /data\nENV X=1\nLABEL a=b\nCMD cat /greeting a.txt sub/b.txt; ls\n",
        *("-t", "made:1", "--build-arg", "WHO=you", "--label", "c=d", "--no-cache"),
    )
    for line in (
        "[internal] load build definition from Dockerfile",
        "[internal] load .dockerignore",
        "[internal] load metadata for docker.io/library/busybox:latest",
        "[base 1/2] FROM docker.io/library/busybox:latest",
        "[base 2/2] RUN echo hello you > /greeting; echo out; echo err >&2",
        " out\n",
        " err\n",
        "[stage-1 1/2] COPY . /data/",
        "exporting to image",
        "naming to docker.io/library/made:1 done",
    ):
        assert line in said
    assert docker.out("run", "--rm", "made:1") == "hello you\naaa\nbbb\nDockerfile\na.txt\ndocker\nsub\n"
    found = json.loads(docker.out("inspect", "made:1"))[0]
    assert found["Config"]["Labels"] == {"a": "b", "c": "d"}
    assert found["Config"]["Env"][-1] == "X=1"


def test_the_second_build_is_cached_and_gives_the_same_image(docker):
    docker.write({"f": "same"})
    dockerfile = "FROM busybox\nRUN date +%N > /when\nCOPY f /f\n"
    first = docker.build(dockerfile, "--iidfile", "first")
    os.utime(docker.directory / "f", (1, 1))
    second = docker.build(dockerfile, "--iidfile", "second")
    assert second.count("CACHED") >= 2 > first.count("CACHED") - 1
    assert (docker.directory / "first").read_text() == (docker.directory / "second").read_text()
    docker.write({"f": "other"})
    assert docker.build(dockerfile, "-q") not in second


@pytest.mark.parametrize(
    ("dockerfile", "lines"),
    [
        (
            "FROM busybox\nRUN exit 7\n",
            [
                "   2 | >>> RUN exit 7",
                'process "/bin/sh -c exit 7" did not complete successfully: exit code: 7',
            ],
        ),
        (
            "FROM busybox\n\nFOO x\n",
            [
                "   3 | >>> FOO x",
                "dockerfile parse error on line 3: unknown instruction: FOO (did you mean FROM?)",
            ],
        ),
        ("FROM busybox\nCOPY nope /x\n", ["   2 | >>> COPY nope /x", '"/nope": not found']),
        ("FROM busybox AS a\n", ['target stage "b" could not be found']),
        (
            "FROM busybox\n\nRUN ['a\n",
            ["""process "/bin/sh -c ['a" did not complete successfully: exit code: 2"""],
        ),
        (
            'FROM busybox\nRUN ["/nope", "a\\tb"]\n',
            [
                "   2 | >>> RUN",
                'solve: process "/nope a\\tb" did not complete successfully: '
                'exec: "/nope": stat /nope: no such file or directory\n',
            ],
        ),
        ("FROM busybox\nUSER nobody-here\nRUN x\n", ["successfully: unable to find user nobody-here: "]),
        ("FROM busybox\nEXPOSE x\n", ["   2 | >>> EXPOSE x", "containerPort: x\n"]),
        (
            "FROM nowhere.invalid/x\n",
            [
                "   1 | >>> FROM nowhere.invalid/x",
                "solve: nowhere.invalid/x: failed to resolve source metadata for nowhere.invalid/x:latest: ",
            ],
        ),
        ("FROM BusyBox\n", ["   1 | >>> FROM", 'solve: failed to parse stage name "BusyBox": invalid ref']),
        ("FROM busybox AS me\nCOPY --from=me /x /\n", ["   2 | >>> COPY", "circular dependency detected on"]),
        (
            "FROM busybox\nRUN --mount=source=no,target=/m x\n",
            ['failed to compute cache key: "/no": not found'],
        ),
    ],
)
def test_failures_show_the_place(docker, dockerfile, lines):
    said = docker.build(dockerfile, *(["--target", "b"] if "AS a" in dockerfile else []), check=False)
    for line in lines:  # of the error buildx has two, which race: one has no "failed to solve: "
        assert line.removeprefix("solve: ") in said


def test_what_only_the_classic_builder_refuses(docker):
    docker.write({"a": "a", "b": "b"})
    docker.build(
        "FROM busybox\nCOPY nothing* /none/\nCOPY a b /bin\nCOPY ../a ../../b /\nRUN cat /bin/[ab] /a; ls /\n"
    )


def test_what_commands_are_given(docker):
    said = docker.build(
        "FROM busybox\nENV A=env\nARG A=arg\nRUN echo $A $http_proxy $HTTP_PROXY $no_proxy.\n"
        "RUN --mount=type=tmpfs,target=/t cp /bin/busybox /t/echo && /t/echo it runs\n",
        *("--build-arg", "HTTP_PROXY=p", "--build-arg", "no_proxy=n", "--no-cache"),
    )
    assert " arg p p n.\n" in said
    assert " it runs\n" in said


def test_the_address_of_the_host(docker):
    hosts = ("--add-host", "me:host-gateway", "--add-host", "other:192.0.2.7")
    said = docker.build("FROM busybox\nRUN grep -wE 'me|other' /etc/hosts\n", *hosts, "--no-cache")
    bridge = json.loads(docker.out("network", "inspect", "bridge"))[0]["IPAM"]["Config"][0]["Gateway"]
    assert re.search(rf" {bridge}\s+me\n", said)
    assert re.search(r" 192\.0\.2\.7\s+other\n", said)


def test_steps_of_what_is_fetched_and_of_an_only_stage_are_named_as_instructions(docker):
    said = docker.build("FROM busybox AS only\nADD http://127.0.0.1:9/f /\nCOPY <<x /\nx\n", check=False)
    assert "[2/3] ADD http://127.0.0.1:9/f /\n" in said
    assert "[internal] preparing inline document" in said


def test_names_that_are_no_text(docker):
    context = docker.directory / "context"
    context.mkdir()
    names = [b"caf\xe9", b"li\nne", "日本".encode(), b"\xff"]
    for name in names:
        (context / os.fsdecode(name)).write_bytes(name)
    os.symlink(b"caf\xe9", os.fsencode(context) + b"/link")
    docker.write({"Dockerfile": "FROM scratch\nCOPY . /d/\n"})
    docker.run("build", "-f", "Dockerfile", "-o", "out", "context")
    made = os.fsencode(docker.directory / "out" / "d")
    assert sorted(os.listdir(made)) == sorted([*names, b"link"])
    assert os.readlink(made + b"/link") == b"caf\xe9"
    with open(made + b"/caf\xe9", "rb") as file:
        assert file.read() == b"caf\xe9"


def test_no_dockerfile(docker):
    done = docker.run("build", "-f", "missing", ".", check=False)
    assert done.returncode == 1
    assert "failed to read dockerfile: open missing: no such file or directory" in done.stderr


def test_what_is_only_called_like_a_dockerfile_is_not_read(docker):
    docker.write({"dockerfile/f": "in a directory\n"})
    said = docker.build("FROM busybox\nCOPY dockerfile/f /\nRUN cat /f\n", "--no-cache")
    assert "in a directory\n" in said


def test_dockerfile_from_stdin_and_its_own_ignore_file(docker):
    docker.write(
        {"x": "1", "y": "2", "other": "FROM busybox\nCOPY . /d\nRUN ls /d\n", "other.dockerignore": "x\n"}
    )
    said = docker.run("build", "-f", "other", "--no-cache", ".").stderr
    assert " y\n" in said
    assert " x\n" not in said


def test_an_interrupted_build_ends_its_commands(docker):
    docker.write({"Dockerfile": "FROM busybox\nRUN echo begun; sleep 1000\n"})
    with docker.engine.popen(*docker.command("build", "--no-cache", ".")) as client:
        for line in client.stdout:
            if "begun" in line and "RUN" not in line:
                break
        os.kill(child_of(client.pid), signal.SIGINT)
        assert "CANCELED" in client.stdout.read()
    ends_without_leftovers(docker.engine)


def test_builders_are_listed(docker):
    shown = docker.out("buildx", "inspect")
    assert "linux/amd64" in shown
    assert "20GiB" in shown  # of the cache is kept
    assert "default" in docker.out("buildx", "ls")


def test_commands_with_other_hosts_and_limits_are_others(docker):
    dockerfile = f"FROM busybox\nRUN : {docker.directory}\n"
    for given in (("--add-host", "x:1.2.3.4"), ("--add-host", "x:1.2.3.5"), ("--shm-size", "9m"), ()):
        assert "CACHED" not in docker.build(dockerfile, *given)
        assert "CACHED" in docker.build(dockerfile, *given)


def test_secrets_are_in_the_command_and_nowhere_else(docker):
    docker.write({"token": "hush-hush"})
    said = docker.build(
        "FROM busybox\nRUN --mount=type=secret,id=t --mount=type=secret,id=e,env=E "
        "sha256sum /run/secrets/t; echo ${#E}\nRUN test ! -e /run/secrets\n",
        *("--secret", "id=t,src=token", "--secret", "id=e,env=SOME", "--no-cache", "-t", "no-secret"),
        env=["SOME=seven77"],
    )
    assert "hush" not in said
    assert " 7\n" in said
    assert "fbdc077454d782ba39d400e06e741b56c14b0a8cf122348c98fe1e91634c5a81  /run/secrets/t" in said
    assert "hush" not in docker.out("history", "--no-trunc", "no-secret")
    missing = docker.build(
        "FROM busybox\nRUN --mount=type=secret,id=no,required cat /run/secrets/no\n", check=False
    )
    assert "secret no: not found" in missing


_ASK_AGENT = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
int main(void) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    unsigned char answer[64];
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    strcpy(address.sun_path, getenv("SSH_AUTH_SOCK"));
    if (connect(fd, (struct sockaddr *)&address, sizeof address) || write(fd, "\\0\\0\\0\\1\\x0b", 5) != 5) return 1;
    for (int i = 0; i < 9 && read(fd, answer, 1) == 1; i++) printf("%02x ", answer[0]);
    puts("from the agent");
}
"""
_AGENT = """
import socket, sys
listening = socket.socket(socket.AF_UNIX)
listening.bind(sys.argv[1]); listening.listen(); print("ready", flush=True)
while True:
    connection = listening.accept()[0]
    while connection.recv(5):
        connection.sendall(b"\\0\\0\\0\\5\\x0c\\0\\0\\0\\0")
"""


def test_an_ssh_agent_is_forwarded(docker):
    agent = docker.directory / "agent.sock"
    docker.write({"ask.c": _ASK_AGENT})
    subprocess.run(["gcc", "-static", "-o", "ask", "ask.c"], cwd=docker.directory, check=True)
    command = [sys.executable, "-I", "-S", "-c", _AGENT, str(agent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as listening:
        try:
            assert listening.stdout.readline() == b"ready\n"
            said = docker.build(
                "FROM busybox\nCOPY ask /\nRUN --mount=type=ssh /ask\n",
                *("--ssh", f"default={agent}", "--no-cache"),
            )
            assert "00 00 00 05 0c 00 00 00 00 from the agent" in said
        finally:
            listening.kill()
    missing = docker.build("FROM busybox\nRUN --mount=type=ssh,required true\n", "--no-cache", check=False)
    assert "ssh" in missing.rpartition("ERROR")[2]


def test_checks_and_questions(docker):
    warned = docker.build("FROM busybox AS Upper\nRUN true\n", "-q", check=True)
    assert warned.startswith("sha256:")
    docker.write({"Dockerfile": "FROM busybox AS Upper\nARG A=1 B\nRUN true\n"})
    if "--call" in docker.out("buildx", "build", "--help"):
        checked = docker.run("build", "--check", ".", check=False)
        assert checked.returncode == 1
        assert "StageCasing" in checked.stdout or "StageNameCasing" in checked.stdout
        assert "upper" in docker.out("build", "--call", "targets", ".").lower()
        assert '{\n  "targets": [\n' in docker.out("build", "--call", "targets,format=json", ".")
        assert (
            "StageNameCasing: Stage name 'Upper' should be lowercase (line 1)"
            in docker.run("build", ".").stderr
        )
    else:
        asked = docker.run("build", "--print=targets", ".", env=["BUILDX_EXPERIMENTAL=1"])
        assert "upper" in asked.stdout.lower()


def test_named_contexts(docker):
    docker.write({"extra/f": "from a directory\n", "Dockerfile.base": "FROM busybox\nRUN echo base > /b\n"})
    docker.run("build", "-q", "-t", "other-base", "-f", "Dockerfile.base", ".")
    said = docker.build(
        "FROM missing.invalid/base AS first\nCOPY --from=extra /f /f\nFROM first\nRUN cat /f /b\n",
        *(
            "--build-context",
            "extra=extra",
            "--build-context",
            "missing.invalid/base=docker-image://other-base",
        ),
        "--no-cache",
    )
    assert " from a directory\n" in said
    assert " base\n" in said
    assert "[context extra] load from client" in said


def test_linked_targets_of_bake(docker):
    docker.write(
        {
            "Dockerfile.one": "FROM busybox\nCOPY seed /seed\nENV ONE=1\nRUN cat /seed > /grown\n",
            "Dockerfile.two": "FROM base\nRUN echo two >> /grown\nCMD echo $ONE; cat /grown\n",
            "seed": "one\n",
            "docker-bake.hcl": 'group "default" { targets = ["two"] }\n'
            'target "one" { dockerfile = "Dockerfile.one" }\n'
            'target "two" {\n dockerfile = "Dockerfile.two"\n contexts = { base = "target:one" }\n tags = ["linked"]\n}\n',
        }
    )
    docker.run("buildx", "bake", "--no-cache")
    assert docker.out("run", "--rm", "linked") == "1\none\ntwo\n"
    history = docker.out("history", "--format", "{{.CreatedAt}} {{.CreatedBy}}", "linked")
    assert "1970" not in history


def test_context_from_stdin(docker):
    docker.write({"Dockerfile": "FROM busybox\nCOPY f /f\nRUN cat /f\n", "f": "piped\n"})
    line = f"tar -C {docker.directory} -c Dockerfile f | docker build --no-cache -"
    done = docker.engine.run(
        "env", f"DOCKER_CONFIG={docker.config}", "BUILDKIT_PROGRESS=plain", "sh", "-c", line
    )
    assert " piped\n" in done.stderr


def test_a_stage_without_cache(docker):
    dockerfile = (
        "FROM busybox AS a\nRUN echo a\nFROM busybox AS b\nRUN echo b\nFROM a\nCOPY --from=b /bin/sh /x\n"
    )
    docker.build(dockerfile)
    said = docker.build(dockerfile, "--no-cache-filter", "b")
    outputs = [line.split()[-1] for line in said.splitlines() if len(line.split()) == 3]
    assert "b" in outputs
    assert "a" not in outputs


def test_entitlements_are_asked_for(docker):
    dockerfile = "FROM busybox\nRUN --network=host true\n"
    assert "network.host is not allowed" in docker.build(dockerfile, "--no-cache", check=False)
    docker.build(dockerfile, "--no-cache", "--allow", "network.host")


def test_compose_builds(docker):
    docker.write(
        {
            "compose.yaml": "services:\n  web:\n    build:\n      context: .\n      args: {WHO: compose}\n    image: composed\n",
            "Dockerfile": "FROM busybox\nARG WHO\nRUN echo $WHO > /who\n",
        }
    )
    docker.run("compose", "build")
    assert docker.out("run", "--rm", "composed", "cat", "/who") == "compose\n"


def test_disk_usage_and_prune(docker):
    docker.build(
        "FROM busybox\nRUN head -c 100000 /dev/zero > /zeros\n", "--no-cache", "-o", "type=cacheonly"
    )
    used = docker.out("buildx", "du", "--verbose")
    assert "RUN head -c 100000 /dev/zero > /zeros" in used
    assert "Total:" in docker.out("buildx", "prune", "-f", "--filter", "until=1h")
    for of_others in ("foo=bar", "type=exec.cachemount", "id=zeros"):
        shown = ("--verbose", "--filter", of_others)
        assert "zeros" not in docker.out("buildx", "du", *shown)
        docker.run("buildx", "prune", "-f", "-a", "--filter", of_others)
    assert "zeros" in docker.out("buildx", "du", "--verbose", "--filter", "type=regular")
    docker.run("buildx", "prune", "-f", "-a")
    assert "zeros" not in docker.out("buildx", "du", "--verbose")


def test_history(docker):
    """It outlives the engine, which is killed here."""
    docker.write({"Dockerfile": "FROM busybox\nRUN echo for the history\n"})
    docker.run("build", "--no-cache", ".")
    if "history" not in docker.out("buildx", "--help"):
        return
    docker.engine.kill()
    docker.engine.start()
    history = ("buildx", "history")
    newest = json.loads(docker.out(*history, "ls", "--format", "json").splitlines()[0])
    assert newest["status"] == "Completed"
    ref = newest["ref"].rpartition("/")[2]
    assert "for the history" in docker.run(*history, "logs", ref).stderr
    found = json.loads(docker.out(*history, "inspect", "--format", "json", ref))
    assert (found["Ref"], found["Status"], found["NumTotalSteps"]) == (
        ref,
        "completed",
        found["NumCompletedSteps"],
    )
    docker.run(*history, "rm", ref)
    docker.engine.kill()
    docker.engine.start()
    assert newest["ref"] not in docker.out(*history, "ls", "--format", "json")


def test_history_of_a_build_that_runs(docker):
    if "history" not in docker.out("buildx", "--help"):
        return
    docker.write({"Dockerfile": "FROM busybox\nRUN echo begun; sleep 1000\n"})
    history = ("buildx", "history")
    with docker.engine.popen(*docker.command("build", "--no-cache", ".")) as client:
        for line in client.stdout:
            if "begun" in line and "RUN" not in line:
                break
        status, duration = docker.out(*history, "ls", "--format", "{{.Status}} {{.Duration}}").split()[:2]
        assert (status, duration[-2:]) == ("Running", "s+")
        assert "s (running)" in docker.out(*history, "inspect")
        os.kill(child_of(client.pid), signal.SIGINT)
        client.stdout.read()
    ends_without_leftovers(docker.engine)
    statuses = docker.out(*history, "ls", "--filter", "status=canceled", "--format", "{{.Status}}")
    assert statuses.splitlines()[0] == "Error"


def test_only_what_has_changed_is_sent_again(docker):
    docker.write({"one": "1" * 5000, "two": "2" * 5000, "gone": "g", ".dockerignore": "docker\n"})
    dockerfile = f"FROM busybox\nCOPY . /c\nRUN : {docker.directory}; cat /c/one; ls /c\n"
    assert "transferring context: 10" in docker.build(dockerfile)
    docker.write({"one": "new\n"})
    (docker.directory / "gone").unlink()
    said = docker.build(dockerfile)
    assert 0 < int(re.findall(r"transferring context: (\d+)B", said)[-1]) < 500
    assert " new\n" in said
    assert " gone\n" not in said

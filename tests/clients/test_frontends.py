"""Frontends that are images (`# syntax=`): containers that drive the build over their stdin and stdout.

They are busybox with a recording of what a frontend says: HTTP/2 that calls Return.
"""

import json

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from llb import BRIDGE
from plugins import SUITES, Docker, ends_without_leftovers

from corten.buildkit.proto import gateway_pb2 as gateway
from corten.buildkit.proto import rpc_pb2
from engine import Engine


@pytest.fixture(params=SUITES)
def docker(builder: Engine, tmp_path, request: pytest.FixtureRequest) -> Docker:
    return Docker(builder, request.param, tmp_path)


def said(request, path="Return"):
    """What a client sends that makes one call."""
    connection = H2Connection(H2Configuration(client_side=True))
    connection.initiate_connection()
    headers = {
        ":method": "POST",
        ":scheme": "http",
        ":path": f"{BRIDGE}/{path}",
        ":authority": "localhost",
        "content-type": "application/grpc",
        "te": "trailers",
    }
    connection.send_headers(1, list(headers.items()))
    data = request.SerializeToString()
    connection.send_data(1, b"\0" + len(data).to_bytes(4, "big") + data, end_stream=True)
    return connection.data_to_send()


def frontend(docker, name, recording, *, script="cat /said; exec cat > /dev/null", more=""):
    """An image that says what was recorded, and then listens."""
    (docker.directory / "said").write_bytes(recording)
    docker.build(f'FROM busybox\nCOPY said /said\nENTRYPOINT ["sh", "-c", "{script}"]\n{more}', "-t", name)


def test_what_a_frontend_returns_is_built(docker):
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Env": ["A=from the frontend"]},
        "rootfs": {"type": "layers"},
    }
    result = gateway.Result(
        ref=gateway.Ref(), metadata={"containerimage.config": json.dumps(config).encode()}
    )
    frontend(docker, "own/frontend", said(gateway.ReturnRequest(result=result)))
    told = docker.build("# syntax=own/frontend\nthis is another language\n", "-t", "made")
    assert "frontend own/frontend" in told
    assert "A=from the frontend" in json.loads(docker.out("inspect", "made"))[0]["Config"]["Env"]


def test_the_error_that_a_frontend_returns_is_the_builds(docker):
    error = rpc_pb2.Status(code=2, message="line 1: I do not like this")
    frontend(docker, "own/frontend", said(gateway.ReturnRequest(error=error)))
    told = docker.build("# syntax=own/frontend\nx\n", check=False)
    assert "failed to solve: line 1: I do not like this" in told


def test_it_is_told_what_is_wanted_and_what_it_says_is_shown(docker):
    """Its attributes are variables; a frontend that ends without a word is an error."""
    script = "env | grep -o 'BUILDKIT_FRONTEND_OPT_.*' | cut -d= -f2- | sort >&2; exit 3"
    frontend(docker, "own/frontend", b"", script=script)
    script = "#!/usr/bin/env build\n# syntax=own/frontend with=more\nx\n"
    told = docker.build(script, "--build-arg", "A=1", check=False)
    for line in ("build-arg:A=1", "cmdline=own/frontend with=more", "source=own/frontend"):
        assert line in told
    assert "frontend own/frontend ended without a result: exit code: 3" in told


def test_what_it_does_not_support_is_not_asked_of_it(docker):
    frontend(docker, "own/frontend", b"")
    told = docker.build("# syntax=own/frontend\nx\n", "--build-context", "a=.", check=False)
    assert "the frontend does not support moby.buildkit.frontend.contexts" in told


@pytest.mark.parametrize("recording", [b"no HTTP/2 at all", said(gateway.PingRequest(), "Nothing")[:40]])
def test_nonsense_of_a_frontend_ends_the_build(docker, recording):
    frontend(docker, "own/frontend", recording, script="cat /said")
    told = docker.build("# syntax=own/frontend\nx\n", check=False)
    assert "frontend own/frontend ended without a result: exit code: 0" in told


def test_a_cancelled_build_ends_its_frontend(docker):
    import os
    import signal

    from sandbox import child_of

    frontend(docker, "own/frontend", b"", script="echo waiting >&2; exec sleep 1000")
    docker.write({"Dockerfile": "# syntax=own/frontend\nx\n"})
    with docker.engine.popen(*docker.command("build", ".")) as client:
        for line in client.stdout:
            if "waiting" in line:
                break
        os.kill(child_of(client.pid), signal.SIGINT)
        client.stdout.read()
    ends_without_leftovers(docker.engine)

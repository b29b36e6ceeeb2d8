"""Graphs of clients (LLB) on a real engine: what they make, what is refused, and the bridge's looking into them."""

import asyncio
import json
import os
import re
import secrets
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from grpclib.client import UnaryStreamMethod
from grpclib.exceptions import GRPCError
from llb import BRIDGE, CONTROL, NO_OUTPUT, NOTHING, Graph, connected

from corten.buildkit.proto import control_pb2 as control
from corten.buildkit.proto import gateway_pb2 as gateway
from corten.buildkit.proto import llb_pb2 as pb
from corten.digest import digest_of
from sandbox import child_of

BUSYBOX = "docker-image://docker.io/library/busybox:latest"


def solved(engine, definition, **more):
    """Build an image and say what its files tell: `docker run` of `cat /out`."""

    async def work():
        async with connected(engine) as client:
            return await client.solve(definition, name="llb:1", **more)

    return asyncio.run(work())


def told(engine, command):
    return engine.run("docker", "run", "--rm", "llb:1", "sh", "-c", command).stdout


def sh(graph, root, script, **more):
    return graph.run(root, "/bin/sh", "-c", script, **more)


def mkfile(path, data, **more):
    return pb.FileAction(make_file=pb.MakeFile(path=path, data=data, mode=0o640, timestamp=-1, **more))


def test_files(builder):
    graph = Graph()
    base = graph.source(BUSYBOX)
    other = graph.file(
        None,
        pb.FileAction(make_directory=pb.MakeDirectory(path="/a/b", mode=0o750, parents=True, timestamp=-1)),
        mkfile("/a/b/one", b"1"),
        mkfile("/a/two", b"22"),
        pb.FileAction(symlink=pb.MakeSymlink(path="/a/link", target="two", timestamp=-1)),
    )
    copy = pb.CopyFiles(
        source="/a",
        destination="/whole",
        mode=-1,
        create_destination=True,
        exclude=["two"],
        timestamp=7 * 10**9,
    )
    contents = pb.CopyFiles(
        source="/a",
        destination="/flat/",
        mode=0o4755,
        contents_of_directory=True,
        create_destination=True,
        include=["two"],
        timestamp=-1,
    )
    link = pb.CopyFiles(source="/a/l*", destination="/kept", wildcard=True, mode=-1, timestamp=-1)
    root = graph.file(
        base,
        pb.FileAction(secondary_input=1, copy=copy),
        pb.FileAction(secondary_input=1, copy=contents),
        pb.FileAction(secondary_input=1, copy=link),
        mkfile("/gone", b"", owner=pb.Owner(user=pb.UserOrGroup(id=5), group=pb.UserOrGroup(id=6))),
        pb.FileAction(remove=pb.RemoveFile(path="/gone")),
        pb.FileAction(remove=pb.RemoveFile(path="/never", allow_missing=True)),
        mkfile("/owned", b"", owner=pb.Owner(user=pb.UserOrGroup(id=5))),
        inputs=[other],
    )
    solved(builder, graph.result(root))
    assert (
        told(builder, "find /whole /flat | sort")
        == "/flat\n/flat/two\n/whole\n/whole/b\n/whole/b/one\n/whole/link\n"
    )
    assert told(builder, "stat -c '%a %u:%g %Y' /whole/b/one; stat -c %a /whole/b /flat/two") == (
        "640 0:0 7\n750\n4755\n"
    )
    assert told(builder, "readlink /kept; ls /gone; stat -c %u:%g /owned").split() == ["two", "5:5"]


def test_commands_and_their_mounts(builder):
    graph = Graph()
    base = graph.source(BUSYBOX)
    files = graph.file(
        None,
        pb.FileAction(make_directory=pb.MakeDirectory(path="/d", mode=0o755, timestamp=-1)),
        mkfile("/d/f", b"mounted"),
        mkfile("/side", b"was"),
    )
    script = (
        "cat /in/f > /out/all; echo $A >> /out/all; hostname >> /out/all; grep -c other.host /etc/hosts >> /out/all;"
        " echo new > /kept/new; rm /kept/side; touch /tmpfs/x; touch /not-kept; exit 3"
    )
    command = sh(
        graph,
        base,
        script,
        inputs=[files],
        mounts=[
            pb.Mount(input=1, selector="d", dest="/in", output=NO_OUTPUT, readonly=True),
            pb.Mount(input=NOTHING, dest="/out", output=1),
            pb.Mount(input=1, dest="/kept", output=2),
            pb.Mount(input=NOTHING, dest="/tmpfs", output=NO_OUTPUT, type=4),
        ],
        meta={
            "env": ["A=env"],
            "hostname": "hosty",
            "extra_hosts": [pb.HostIP(host="other.host", ip="10.1.2.3")],
            "exit_codes": [3],
        },
    )
    digest, _ = command
    merged = graph.add(
        base,
        (digest, 1),
        (digest, 2),
        merge=pb.MergeOp(inputs=[pb.MergeInput(input=number) for number in range(3)]),
    )
    definition = graph.result(merged)
    first = solved(builder, definition)
    assert told(builder, "cat /all /new; ls /d /side /not-kept 2>&1 || true").splitlines() == [
        "mountedenv",
        "hosty",
        "1",
        "new",
        "ls: /side: No such file or directory",
        "ls: /not-kept: No such file or directory",
        "/d:",
        "f",
    ]
    # Once more: nothing is run again.
    assert solved(builder, definition) == first


def test_a_root_that_cannot_be_written_to(builder):
    graph = Graph()
    mounts = [
        pb.Mount(input=0, dest="/", output=NO_OUTPUT, readonly=True),
        pb.Mount(input=NOTHING, dest="/out", output=0),
    ]
    args = ["/bin/sh", "-c", "touch /x || echo refused > /out/said"]
    command = graph.add(
        graph.source(BUSYBOX), exec=pb.ExecOp(meta=pb.Meta(args=args, cwd="/"), mounts=mounts)
    )
    solved(
        builder,
        graph.result(
            graph.add(
                graph.source(BUSYBOX),
                command,
                merge=pb.MergeOp(inputs=[pb.MergeInput(), pb.MergeInput(input=1)]),
            )
        ),
    )
    assert told(builder, "cat /said") == "refused\n"


def test_differences(builder):
    graph = Graph()
    base = graph.source(BUSYBOX)
    changed = sh(graph, base, "echo 1 > /one; rm /etc/passwd")
    ends = {"lower": pb.MergeInput(input=0), "upper": pb.MergeInput(input=1)}
    difference = graph.add(base, changed, diff=pb.DiffOp(**ends))
    other = graph.file(base, mkfile("/two", b"2"))
    merge = pb.MergeOp(inputs=[pb.MergeInput(input=0), pb.MergeInput(input=1)])
    solved(builder, graph.result(graph.add(other, difference, merge=merge)))
    assert told(builder, "cat /one /two; ls /etc/passwd || true") == "1\n2"


def test_definitions_in_files(builder):
    inner = Graph()
    built = inner.result(inner.file(inner.source(BUSYBOX), mkfile("/inner", b"x")))
    graph = Graph()
    file = graph.file(None, mkfile("/def", built.SerializeToString()))
    build = pb.BuildOp(
        builder=-1,
        inputs={"buildkit.llb.definition": pb.BuildInput(input=0)},
        attrs={"llb.filename": "def"},
    )
    solved(builder, graph.result(graph.add(file, build=build)))
    assert told(builder, "cat /inner") == "x"


def test_the_bridge_looks_into_results(builder):
    graph = Graph()
    definition = graph.result(
        graph.file(
            None, mkfile("/f", b"0123456789"), pb.FileAction(symlink=pb.MakeSymlink(path="/l", target="f"))
        )
    )

    async def work():
        async with connected(builder) as client, client.driven():
            ref = await client.reference(definition)
            assert await client.read(ref, "/l") == b"0123456789"
            part = gateway.ReadFileRequest(ref=ref, path="f", range=gateway.FileRange(offset=2, length=3))
            assert (await client.call(f"{BRIDGE}/ReadFile", part, gateway.ReadFileResponse)).data == b"234"
            asked = gateway.ReadDirRequest(ref=ref, path="/", include_pattern="f*")
            found = await client.call(f"{BRIDGE}/ReadDir", asked, gateway.ReadDirResponse)
            assert [(entry.path, entry.size) for entry in found.entries] == [(b"f", 10)]
            stat = gateway.StatFileRequest(ref=ref, path="/l")
            assert (await client.call(f"{BRIDGE}/StatFile", stat, gateway.StatFileResponse)).stat.link == b"f"
            for path in ("/none", "/../../etc/shadow", "/f/x"):
                with pytest.raises(GRPCError):
                    await client.read(ref, path)
            image = gateway.ResolveImageConfigRequest(ref="docker.io/library/busybox:latest")
            answer = await client.call(
                f"{BRIDGE}/ResolveImageConfig", image, gateway.ResolveImageConfigResponse
            )
            assert json.loads(answer.config)["os"] == "linux"
            source = gateway.ResolveSourceMetaRequest(source=pb.SourceOp(identifier=BUSYBOX))
            meta = await client.call(f"{BRIDGE}/ResolveSourceMeta", source, gateway.ResolveSourceMetaResponse)
            assert meta.image.config == answer.config

    asyncio.run(work())


def test_a_result_of_one_build_is_an_input_of_another(builder):
    """What the bridge gives as a definition can be built later."""

    async def work():
        async with connected(builder) as client:
            async with client.driven():
                graph = Graph()
                made = graph.result(graph.file(graph.source(BUSYBOX), mkfile("/first", b"1")))
                request = gateway.BridgeSolveRequest(definition=made, evaluate=True)
                reply = await client.call(f"{BRIDGE}/Solve", request, gateway.BridgeSolveResponse)
            return await client.solve(reply.result.ref.definition, name="llb:1")

    asyncio.run(work())
    assert told(builder, "cat /first") == "1"


@pytest.fixture(scope="module")
def served(builder):
    """What `git daemon` (git://127.0.0.1/repo) and an HTTP server (port 8000) have in the engine's network."""
    place = builder.directory / "served"
    repository = place / "repo"
    (repository / "sub").mkdir(parents=True)
    (repository / "top").write_text("top\n")
    (repository / "sub" / "below").write_text("below\n")
    (place / "data.txt").write_text("over http\n")
    git = ["git", "-C", str(repository), "-c", "user.name=n", "-c", "user.email=e@host"]
    for arguments in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "one"]):
        subprocess.run([*git, *arguments], check=True)
    daemon = ["git", "daemon", "--export-all", f"--base-path={place}", "--listen=127.0.0.1"]
    http = [sys.executable, "-m", "http.server", "-d", str(place), "--bind", "127.0.0.1", "8000"]
    servers = [builder.popen(*daemon), builder.popen(*http)]
    for ready in (["git", "ls-remote", "git://127.0.0.1/repo"], ["curl", "-sf", "http://127.0.0.1:8000/"]):
        while builder.run(*ready, check=False).returncode:
            assert all(server.poll() is None for server in servers)
    yield subprocess.run(
        [*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True
    ).stdout.strip()
    for server in servers:  # nsenter's child is the server
        os.kill(child_of(server.pid), signal.SIGTERM)
        server.communicate()


def on_busybox(graph, *sources):
    """Sources merged over busybox, as one definition."""
    inputs = [pb.MergeInput(input=number) for number in range(len(sources) + 1)]
    merged = graph.add(graph.source(BUSYBOX), *sources, merge=pb.MergeOp(inputs=inputs))
    return graph.result(merged)


def source(identifier, **attributes):
    """A definition of nothing but a source."""
    graph = Graph()
    return graph.result(graph.source(identifier, **attributes))


def fails(builder, definition, message):
    with pytest.raises(GRPCError, match=message):
        solved(builder, definition)


def test_git_repositories(builder, served):
    graph = Graph()
    url = {"git_fullurl": "git://127.0.0.1/repo"}
    whole = graph.source("git://127.0.0.1/repo#main", git_keepgitdir="true", git_checksum=served, **url)
    part = graph.source(f"git://127.0.0.1/repo#{served}:sub", **url)
    solved(builder, on_busybox(graph, whole, part))
    assert told(builder, "cat /top /sub/below /below; ls -d /.git") == "top\nbelow\nbelow\n/.git\n"
    gone = source("git://127.0.0.1/repo#gone", **url)
    other = source("git://127.0.0.1/repo#main", git_checksum="0" * 40, **url)
    file = source("git://x/repo", git_fullurl="file:///etc")
    program = source("git://x/repo", git_fullurl="ext::sh -c id")
    fails(builder, gone, "repository does not contain ref gone")
    fails(builder, other, "expected checksum to match")
    fails(builder, file, "unsupported git remote")
    fails(builder, program, "invalid git remote")


def test_files_from_urls(builder, served):
    graph = Graph()
    url = "http://127.0.0.1:8000/data.txt"
    plain = graph.source(url, http_checksum=digest_of(b"over http\n"))
    named = graph.source(url, http_filename="named")
    solved(builder, on_busybox(graph, plain, named))
    assert told(builder, "cat /data.txt /named; stat -c %a /named") == "over http\nover http\n600\n"
    fails(builder, source(url, http_checksum=digest_of(b"else")), "digest mismatch")
    fails(builder, source(f"{url}x"), "404")
    fails(builder, source(url, http_filename="../x"), "invalid file name")


def peak_kib(engine):
    """The engine's largest resident set since the last call."""
    status = Path(f"/proc/{engine.pid}/status").read_text()
    Path(f"/proc/{engine.pid}/clear_refs").write_text("5")
    return int(re.search(r"VmHWM:\s+(\d+)", status).group(1))


def test_what_a_frontend_has_built_is_looked_up_at_once_but_made_only_when_it_is_wanted(builder, served):
    """The client that drives a build need not return what it has had solved."""
    token = secrets.token_hex(8)
    text = f"FROM busybox\nRUN echo {token} > /made\n"
    (builder.directory / "served" / token).write_text(text)

    async def told(client, ref):
        status = UnaryStreamMethod(
            client.channel, f"{CONTROL}/Status", control.StatusRequest, control.StatusResponse
        )
        responses = await status(control.StatusRequest(ref=ref))
        return {each.cached for response in responses for each in response.vertexes if "RUN" in each.name}

    async def build(evaluate):
        async with connected(builder) as client:
            async with client.driven():
                ref = client.ref
                options = {"context": f"http://127.0.0.1:8000/{token}"}
                await client.reference(
                    None, frontend="dockerfile.v0", frontend_opt=options, evaluate=evaluate
                )
            return await told(client, ref)

    assert asyncio.run(build(False)) == set()
    assert asyncio.run(build(True)) == {False}
    assert asyncio.run(build(False)) == {True}


def test_who_does_not_read_makes_the_engine_no_larger(builder):
    """A client asks for the progress and reads nothing of it, while a command says 50 MB."""
    graph = Graph()
    loud = graph.result(sh(graph, graph.source(BUSYBOX), "yes | head -c 50000000; echo the end"))

    async def work():
        async with connected(builder) as client:
            ref = secrets.token_hex(8)
            request = control.SolveRequest(ref=ref, session=client.session, definition=loud)
            status = UnaryStreamMethod(
                client.channel, f"{CONTROL}/Status", control.StatusRequest, control.StatusResponse
            )
            async with status.open() as stream:
                await stream.send_message(control.StatusRequest(ref=ref), end=True)
                peak_kib(builder)
                before = peak_kib(builder)
                await client.call(f"{CONTROL}/Solve", request, control.SolveResponse)
                grown = peak_kib(builder) - before
                said = b"".join([log.data async for part in stream for log in part.logs])
            return grown, said

    grown, said = asyncio.run(work())
    assert grown < 25_000
    assert said.endswith(b"[output clipped, log limit 2MiB reached]\n")


def refused(graph_of):
    graph = Graph()
    return graph.result(graph_of(graph))


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (lambda graph: ("sha256:" + "0" * 64, 0), "is unknown"),
        (lambda graph: graph.source("ftp://host/x"), "sources of the scheme ftp are not supported"),
        (lambda graph: graph.source("https://127.0.0.1:1/x", http_perm="7"), "attribute http.perm is not"),
        (lambda graph: graph.add(), "is of a kind that is not supported"),
        (lambda graph: graph.add(exec=pb.ExecOp()), "a command without a root mount"),
        (lambda graph: graph.run(graph.source(BUSYBOX), "x", network=1), "network.host is not allowed"),
        (lambda graph: graph.run(graph.source(BUSYBOX), "x", security=1), "security.insecure is not allowed"),
        (
            lambda graph: graph.run(graph.source(BUSYBOX), "x", meta={"cgroup_parent": "/"}),
            "cgroup_parent of single commands are not supported",
        ),
        (
            lambda graph: graph.run(graph.source(BUSYBOX), "x", mounts=[pb.Mount(dest="/y", input=9)]),
            "there is no input 9",
        ),
        (
            lambda graph: sh(graph, graph.source(BUSYBOX), "exit 7"),
            'process "/bin/sh -c exit 7" did not complete successfully: exit code: 7',
        ),
        (
            lambda graph: graph.add(
                graph.source(BUSYBOX),
                graph.file(None, mkfile("/x", b"")),
                diff=pb.DiffOp(lower=pb.MergeInput(input=0), upper=pb.MergeInput(input=1)),
            ),
            "a diff is supported only of a state and what was made on top of it",
        ),
        (
            lambda graph: graph.file(None, mkfile("/../../escaped/x", b"")),
            "no such file or directory",
        ),
    ],
)
def test_what_cannot_be_built_says_why(builder, graph, message):
    with pytest.raises(GRPCError, match=message):
        solved(builder, refused(graph))


def test_source_policies_are_refused(builder):
    graph = Graph()
    with pytest.raises(GRPCError, match="source policies are not supported"):
        solved(builder, graph.result(graph.source(BUSYBOX)), source_policy=b"x")

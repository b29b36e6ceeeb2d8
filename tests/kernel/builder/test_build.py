"""POST /build from a context to an image, with what a user sees on the way."""

import asyncio
import gzip
import io
import re
import tarfile
import time
from contextlib import aclosing

import pytest

from corten.types.operations import BuildOptions, CacheSpace
from corten.types.progress import StreamFailure

pytestmark = pytest.mark.root


def steps(text):
    """The output with ids and times taken out."""
    return re.sub(r"[0-9a-f]{12}", "<id>", text)


def test_the_stream_is_dockers(site):
    site.add_busybox()
    dockerfile = (
        "ARG V=1\nFROM bb:$V\nENV A=1\nRUN echo out; sleep "
        '0.1; echo err >&2\nCOPY f /d/\nWORKDIR /w\nCMD ["x"]\n'
    )
    result = site.build(dockerfile, {"f": "content"}, tags=["built", "other:2"])
    assert steps(result.text) == (
        "Step 1/7 : ARG V=1\n"
        "Step 2/7 : FROM bb:$V\n"
        " ---> <id>\n"
        "Step 3/7 : ENV A=1\n"
        " ---> Running in <id>\n"
        " ---> Removed intermediate container <id>\n"
        " ---> <id>\n"
        "Step 4/7 : RUN echo out; sleep 0.1; echo err >&2\n"
        " ---> Running in <id>\n"
        "out\n"
        "\x1b[91merr\n\x1b[0m"
        " ---> Removed intermediate container <id>\n"
        " ---> <id>\n"
        "Step 5/7 : COPY f /d/\n"
        " ---> <id>\n"
        "Step 6/7 : WORKDIR /w\n"
        " ---> Running in <id>\n"
        " ---> Removed intermediate container <id>\n"
        " ---> <id>\n"
        'Step 7/7 : CMD ["x"]\n'
        " ---> Running in <id>\n"
        " ---> Removed intermediate container <id>\n"
        " ---> <id>\n"
        "Successfully built <id>\n"
        "Successfully tagged built:latest\n"
        "Successfully tagged other:2\n"
    )
    assert result.messages[0].stream == "Step 1/7 : ARG V=1"
    assert result.messages[1].stream == "\n"
    assert site.store.resolve("built").id == site.store.resolve("other:2").id == result.id


def test_the_same_again_is_all_cache_and_the_same_image(site):
    site.add_busybox()
    dockerfile = "FROM bb:1\nENV A=1\nRUN date > /now\nWORKDIR /w\nCOPY f .\nCMD x\n"
    first = site.build(dockerfile, {"f": "1"})
    again = site.build(dockerfile, {"f": "1"})
    assert again.id == first.id
    assert again.text.count("Using cache") == 5
    assert "Running in" not in again.text
    assert len(site.executor.specs) == 1


def test_a_change_runs_what_comes_after_it(site):
    site.add_busybox()
    dockerfile = "FROM bb:1\nRUN echo a > /a\nCOPY f /f\nRUN cat /f > /g\nENV X=1\n"
    site.build(dockerfile, {"f": "1"})
    changed = site.build(dockerfile, {"f": "2"})
    assert changed.text.count("Using cache") == 1
    assert changed.find("g").read_text() == "2"
    assert len(site.executor.specs) == 3


def test_files_outside_the_copied_ones_do_not_matter(site):
    site.add_busybox()
    dockerfile = "FROM bb:1\nCOPY a* /d/\nRUN cat /d/*\n"
    site.build(dockerfile, {"a1": "1", "b": "1"})
    again = site.build(dockerfile, {"a1": "1", "b": "2"})
    assert again.text.count("Using cache") == 2


def test_no_cache_does_everything_anew(site):
    site.add_busybox()
    dockerfile = "FROM bb:1\nENV A=1\nRUN true\n"
    site.build(dockerfile)
    again = site.build(dockerfile, no_cache=True)
    assert "Using cache" not in again.text
    assert len(site.executor.specs) == 2


def test_stages(site):
    site.add_busybox()
    result = site.build(
        "FROM bb:1 AS Build\nRUN mkdir -p /out/sub && echo app > /out/app && chown 7:8 /out/app\n"
        "FROM bb:1 AS unused\nRUN exit 1\n"
        'FROM scratch\nCOPY --from=build /out /srv\nCOPY --from=0 /out/app /copy\nENTRYPOINT ["/srv/app"]\n'
    )
    assert result.find("srv/app").read_text() == "app\n"
    assert result.find("srv/sub").is_dir()
    assert (result.find("copy").stat().st_uid, result.find("copy").stat().st_gid) == (7, 8)
    assert "unused" not in result.text
    assert "Step 6/6 : ENTRYPOINT" in result.text
    assert result.document["config"]["Env"] == [
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    ]
    assert len(result.lower()) == 2


def test_target_ends_the_build_there(site):
    site.add_busybox()
    dockerfile = "FROM bb:1 AS a\nRUN echo a > /a\nFROM a AS b\nRUN echo b > /b\n"
    result = site.build(dockerfile, target="a", labels={"k": "it's $HOME"})
    assert result.find("a").exists()
    assert result.document["config"]["Labels"] == {"k": "it's $HOME"}
    assert "Step 3/3 : LABEL k=it's $HOME" in result.text
    for target in ("none", "1"):
        missing = site.build(dockerfile, target=target)
        assert str(missing.error).startswith(f'target stage "{target}" could not be found')


def test_a_copy_between_stages_is_found_by_content(site):
    site.add_busybox()
    dockerfile = (
        "FROM bb:1 AS s\nCOPY in /in\nRUN cut -c1 /in > "
        "/first\nFROM bb:1\nCOPY --from=s /first /x\nRUN cat /x\n"
    )
    site.build(dockerfile, {"in": "a1"})
    again = site.build(dockerfile, {"in": "a2"})
    assert "Using cache" in again.text.split("COPY --from")[1]
    assert len(site.executor.specs) == 3


def test_a_stage_from_a_stage_inherits_args_and_env(site):
    site.add_busybox()
    result = site.build(
        "ARG G=global\nFROM bb:1 AS a\nARG G\nARG L=local\nENV E=$L-$G\nFROM a\nRUN echo $E $L $G > /out\n",
        build_args={"L": "given"},
    )
    assert result.find("out").read_text() == "given-global given global\n"


def test_build_args(site):
    site.add_busybox()
    dockerfile = "FROM bb:1\nARG A=1\nARG B\nENV A=env\nRUN echo $A-$B-$http_proxy > /out\n"
    result = site.build(dockerfile, build_args={"B": "b", "http_proxy": "p", "UNUSED": "x", "OTHER": None})
    assert result.find("out").read_text() == "env-b-p\n"
    assert "[Warning] One or more build-args [OTHER UNUSED] were not consumed\n" in result.text
    created_by = result.document["history"][-1]["created_by"]
    assert created_by == "RUN |2 A=env B=b /bin/sh -c echo $A-$B-$http_proxy > /out # buildkit"
    assert site.build(dockerfile, build_args={"B": "b", "http_proxy": "q"}).text.count("Using cache") == 4


def test_a_failing_command(site):
    site.add_busybox()
    result = site.build("FROM bb:1\nRUN echo before; exit 7\nRUN never\n")
    assert isinstance(result.error, StreamFailure)
    assert result.error.code == 7
    assert str(result.error) == "The command '/bin/sh -c echo before; exit 7' returned a non-zero code: 7"
    assert "before\n" in result.text
    assert "Removed" not in result.text
    assert site.build("FROM bb:1\nRUN exit 1\n", force_rm=True).text.count("Removed intermediate") == 1


@pytest.mark.parametrize(
    ("dockerfile", "message"),
    [
        (
            "FROM bb:1\nCOPY x /\n",
            (
                "COPY failed: file not found in build context or "
                "excluded by .dockerignore: stat x: file does not exist"
            ),
        ),
        ("FROM bb:1\nADD x* /\n", "ADD failed: no source files were specified"),
        (
            "FROM bb:1\nCOPY f f /x\n",
            (
                "When using COPY with more than one source file, "
                "the destination must be a directory and end with a /"
            ),
        ),
        (
            "FROM bb:1\nCOPY f* /x\n",
            (
                "COPY failed: When using COPY with more than one source file, "
                "the destination must be a directory and end with a /"
            ),
        ),
        (
            "FROM bb:1\nCOPY --chown=nobody f /\n",
            (
                "COPY failed: unable to convert uid/gid chown string to host "
                "mapping: can't find uid for user nobody: no such user: nobody"
            ),
        ),
        (
            "FROM bb:1\nCOPY --chmod=9 f /\n",
            "COPY failed: invalid chmod parameter: '9'. it should be octal string and between 0 and 07777",
        ),
        (
            "FROM bb:1\nFOO\n",
            "dockerfile parse error on line 2: unknown instruction: FOO (did you mean FROM?)",
        ),
        ("FROM bb:1\nRUN <<EOF\n", "failed to parse Dockerfile: unterminated heredoc"),
        ("FROM bb:1\nSTOPSIGNAL NO\n", "invalid signal: NO"),
        ("FROM bb:1\nEXPOSE 99999\n", "Invalid containerPort: 99999"),
        ("FROM ${X}\n", "base name (${X}) should not be blank"),
        ("FROM bb:1\nRUN --mount=type=ssh,required true\n", "unset ssh forward key default"),
        ("FROM scratch\n", "No image was generated. Is your Dockerfile empty?"),
        ("", "the Dockerfile (Dockerfile) cannot be empty"),
    ],
)
def test_errors_say_what_docker_says(site, dockerfile, message):
    site.add_busybox()
    result = site.build(dockerfile, {"f": "", "f2": ""})
    assert str(result.error) == message


def test_errors_of_the_text_come_before_the_first_message(site):
    assert site.build("FROM x\nFOO\n").messages == []
    assert site.build("FROM x\n", dockerfile="other").messages == []
    assert (
        str(site.build("FROM x\n", dockerfile="other").error) == "Cannot locate specified Dockerfile: other"
    )


def test_steps_before_a_missing_base_image_are_built(site):
    site.add_busybox()
    result = site.build("FROM bb:1 AS a\nRUN echo here\nFROM sha256:beef\nCOPY --from=a /bin /\n")
    assert "here\n" in result.text
    assert "Step 3/4 : FROM sha256:beef" in result.text
    assert result.error is not None


def test_what_stands_before_a_mistake_is_built(site):
    site.add_busybox()
    result = site.build("FROM bb:1\nRUN echo here\nEXPOSE abc\nRUN never\n")
    assert "here\n" in result.text
    assert result.text.endswith("Step 3/4 : EXPOSE abc\n")
    assert str(result.error) == "Invalid containerPort: abc"


def test_commands_that_change_nothing(site):
    site.add_busybox()
    result = site.build(
        "FROM bb:1\nRUN true\nRUN :\nWORKDIR /\nRUN echo x > /x\nRUN true\nCOPY --from=0 /x /y\n"
    )
    assert result.error is not None  # a stage cannot copy from itself
    result = site.build(
        "FROM bb:1 AS a\nRUN true\nRUN :\nRUN echo x > /x\nRUN ls\nFROM a\nCOPY --from=0 /x /y"
    )
    assert result.find("y").read_text() == "x\n"
    assert len(result.document["rootfs"]["diff_ids"]) == 6


def test_quiet_says_only_the_id(site):
    site.add_busybox()
    result = site.build("FROM bb:1\nRUN echo noise\n", quiet=True)
    assert result.text.startswith("sha256:")
    assert len(result.messages) == 1
    failed = site.build("FROM bb:1\nRUN echo noise; false\n", quiet=True)
    assert "noise" in failed.text


def test_history_and_config(site):
    site.add_busybox(Labels={"base": "1"}, Entrypoint=["/e"])
    result = site.build(
        "FROM bb:1\nLABEL a=b c='d e'\nEXPOSE 80 9000-9001/udp\nVOLUME /v [x]\nUSER app\nWORKDIR /w\n"
        'SHELL ["/bin/sh", "-xc"]\nCMD hi\nSTOPSIGNAL 9\nHEALTHCHECK --interval=5s CMD ok\nMAINTAINER me\n'
        "ONBUILD RUN later\n"
    )
    config = result.document["config"]
    assert config["Labels"] == {"base": "1", "a": "b", "c": "d e"}
    assert sorted(config["ExposedPorts"]) == ["80/tcp", "9000/udp", "9001/udp"]
    assert sorted(config["Volumes"]) == ["/v", "[x]"]
    assert (config["User"], config["WorkingDir"], config["StopSignal"]) == ("app", "/w", "9")
    assert config["Cmd"] == ["/bin/sh", "-xc", "hi"]
    assert config["Entrypoint"] == ["/e"]
    assert config["Healthcheck"] == {"Test": ["CMD-SHELL", "ok"], "Interval": 5_000_000_000}
    assert config["OnBuild"] == ["RUN later"]
    assert result.document["author"] == "me"
    assert [entry["created_by"] for entry in result.document["history"][1:]] == [
        "LABEL a=b c=d e",
        "EXPOSE [80/tcp 9000/udp 9001/udp]",
        "VOLUME [/v [x]]",
        "USER app",
        "WORKDIR /w",
        "SHELL [/bin/sh -xc]",
        'CMD ["/bin/sh" "-xc" "hi"]',
        "STOPSIGNAL 9",
        "HEALTHCHECK {Test:[CMD-SHELL ok] Interval:5s Timeout:0s StartPeriod:0s StartInterval:0s Retries:0}",
        "MAINTAINER me",
    ]
    made = [entry for entry in result.document["history"] if not entry.get("empty_layer")]
    assert len(made) == len(result.document["rootfs"]["diff_ids"])
    assert result.find("w").stat().st_uid == 1000


def test_entrypoint_takes_back_the_bases_cmd(site):
    site.add_busybox()
    assert "Cmd" not in site.build('FROM bb:1\nENTRYPOINT ["x"]\n').document["config"]
    assert site.build('FROM bb:1\nCMD ["y"]\nENTRYPOINT ["x"]\n').document["config"]["Cmd"] == ["y"]


def test_onbuild_triggers_run_in_the_child(site):
    site.add_busybox()
    base = "FROM bb:1\nONBUILD COPY f /f\nONBUILD RUN <<E\ncp /f /g\nE\n"
    site.build(base, {"f": "base"}, tags=["base:1"])
    child = site.build("FROM base:1\nRUN cat /g > /h\n", {"f": "child"})
    assert child.find("h").read_text() == "child"
    assert "# Executing 2 build triggers\n" in child.text
    assert "OnBuild" not in child.document["config"]


def test_heredocs(site):
    site.add_busybox()
    result = site.build(
        'FROM bb:1\nENV N=name\nRUN <<EOF\necho one > /1\necho "$N" >> /1\nEOF\n'
        "RUN cat <<A > /2 && cat <<'B' >> /2\n$N\nA\n$N\nB\n"
        "RUN <<EOF\n#!/bin/cat\nme\nEOF\n"
        "COPY <<f <<'g' /d/\nhi $N\nf\nhi $N\ng\n"
        "COPY --chmod=700 <<EOF /script\n#!/bin/sh\nEOF\n"
        "COPY <<EOF /lines\r\n1\r\n2\nEOF\r\n"
    )
    assert result.find("1").read_text() == "one\nname\n"
    assert result.find("2").read_text() == "name\n$N\n"
    assert "#!/bin/cat\nme\n" in result.text
    assert (result.find("d/f").read_text(), result.find("d/g").read_text()) == ("hi name\n", "hi $N\n")
    assert result.find("script").stat().st_mode & 0o7777 == 0o700
    assert result.find("lines").read_bytes() == b"1\r\n2\n"


def test_of_two_heredocs_with_one_name_the_later_counts(site):
    site.add_busybox()
    assert site.build("FROM bb:1\nCOPY <<f <<f /\nlonger\nf\nshort\nf\n").find("f").read_text() == "short\n"


def test_files_of_heredocs_are_as_old_as_the_build_and_known_again(site):
    site.add_busybox()
    dockerfile = "FROM bb:1\nCOPY <<EOF /f\n1\nEOF\nRUN cat /f\n"
    begun = time.time() - 1  # file times come from a coarser clock
    made = site.build(dockerfile)
    assert begun < made.find("f").stat().st_mtime <= time.time()
    assert site.build(dockerfile).text.count("Using cache") == 2
    dated = site.build(dockerfile, build_args={"SOURCE_DATE_EPOCH": "1234"})
    assert dated.find("f").stat().st_mtime == 1234


def test_a_command_leaves_only_its_own_changes_in_the_layer(site):
    site.add_busybox()
    result = site.build("FROM bb:1\nRUN echo x > /tmp/x && rm /bin/vi && rmdir /root\n")
    layer = result.lower()[0]
    assert sorted(path.name for path in layer.iterdir()) == ["bin", "root", "tmp"]
    assert (layer / "bin/vi").is_char_device()
    assert [path.name for path in (layer / "tmp").iterdir()] == ["x"]


def test_mounts(site):
    site.add_busybox()
    dockerfile = (
        "FROM bb:1 AS tools\nRUN echo tool > /tool && ln -s tool /link\nFROM bb:1\n"
        "RUN --mount=type=cache,target=/c --mount=from=tools,source=/link,target=/t "
        "--mount=target=/ctx --mount=type=tmpfs,target=/tmp/t "
        "echo x >> /c/log; cp /c/log /log; cp /t /tool; cp /ctx/f "
        "/f; (echo no > /ctx/f) 2>/dev/null || echo readonly > /ro\n"
        "ARG BUST\nRUN --mount=type=cache,target=/c echo $BUST >> /c/log && cp /c/log /log2\n"
    )
    result = site.build(dockerfile, {"f": "ctx"}, build_args={"BUST": "1"})
    assert result.find("log").read_text() == "x\n"
    assert result.find("log2").read_text() == "x\n1\n"
    assert (result.find("tool").read_text(), result.find("f").read_text()) == ("tool\n", "ctx")
    assert result.find("ro").exists()
    with pytest.raises(FileNotFoundError):
        result.find("c")
    again = site.build(dockerfile, {"f": "changed"}, build_args={"BUST": "1"})
    assert again.find("log").read_text() == "x\n1\nx\n"


def test_a_writable_bind_mount_is_thrown_away(site):
    site.add_busybox()
    result = site.build(
        "FROM bb:1\nRUN --mount=target=/x,rw echo new > /x/f && cat /x/f\nCOPY f /f\n", {"f": "old"}
    )
    assert "new\n" in result.text
    assert result.find("f").read_text() == "old"


def _used_from(base, use):
    return (
        f"FROM bb:1 AS base\nRUN {base} && chmod 2750 /b && chown 7:8 /b\n"
        "FROM bb:1\nARG BUST\n"
        f"RUN --mount=type=cache,id=k,from=base,source=/b,target=/c {use}\n"
    )


def test_a_cache_begins_with_the_files_that_it_is_from(site):
    site.add_busybox()
    use = "echo $BUST >> /c/f && cp /c/f /f && stat -c '%a %u:%g' /c > /attributes"
    dockerfile = _used_from("mkdir /b && echo base > /b/f", use)
    first = site.build(dockerfile, build_args={"BUST": "1"})
    assert first.find("f").read_text() == "base\n1\n"
    assert first.find("attributes").read_text() == "2750 7:8\n"
    again = site.build(dockerfile, build_args={"BUST": "2"})
    assert again.find("f").read_text() == "base\n1\n2\n", "it is kept"
    other = site.build(_used_from("mkdir /b && echo other > /b/f", use), build_args={"BUST": "3"})
    assert other.find("f").read_text() == "other\n3\n", "other files, another cache"


def test_who_shares_a_cache_that_is_being_filled_waits_for_all_of_it(site):
    site.add_busybox()
    dockerfile = _used_from(
        "mkdir /b && cd /b && for i in $(seq 200); do echo > $i; done", "ls /c/* | wc -l > /n; touch /c/more"
    )
    site.build(dockerfile.replace("id=k", "id=first"), build_args={"BUST": "0"})  # the base is there

    async def both():
        return await asyncio.gather(*(site.start(dockerfile, build_args={"BUST": bust}) for bust in "12"))

    assert {result.find("n").read_text() for result in asyncio.run(both())} <= {"200\n", "201\n"}


def test_a_command_runs_anew_when_the_files_that_its_cache_begins_with_change(site):
    site.add_busybox()
    files = {"ctx/f": "one"}
    dockerfile = "FROM bb:1\nRUN --mount=type=cache,from=files,target=/c cp /c/f /f\n"
    contexts = {"files": "local:ctx"}
    assert site.build(dockerfile, files, contexts=contexts).find("f").read_text() == "one"
    files["ctx/f"] = "two"
    assert site.build(dockerfile, files, contexts=contexts).find("f").read_text() == "two"


def test_a_secret_that_is_not_there(site):
    site.add_busybox()
    result = site.build("FROM bb:1\nRUN --mount=type=secret,id=s test ! -e /run/secrets/s\n")
    assert result.error is None
    required = site.build("FROM bb:1\nRUN --mount=type=secret,id=s,required=true true\n")
    assert str(required.error) == "secret s: not found"


def test_times_from_source_date_epoch(site):
    site.add_busybox()
    dockerfile = "FROM bb:1\nRUN echo a > /a && touch -d @1 /a\nENV X=1\n"
    first = site.build(dockerfile, build_args={"SOURCE_DATE_EPOCH": "1700000000"})
    assert first.document["created"] == "2023-11-14T22:13:20Z"
    assert "Warning" not in first.text
    wrong = site.build(dockerfile, build_args={"SOURCE_DATE_EPOCH": "soon"})
    assert str(wrong.error) == "invalid SOURCE_DATE_EPOCH: soon"


def test_equal_work_of_two_builds_is_done_once(site):
    site.add_busybox()

    async def both():
        dockerfile = "FROM bb:1\nRUN sleep 0.3; echo done > /x\n"
        return await asyncio.gather(site.start(dockerfile), site.start(dockerfile))

    first, second = asyncio.run(both())
    assert first.id == second.id
    assert len(site.executor.specs) == 1


def test_independent_stages_run_side_by_side(site):
    site.add_busybox()
    # Each waits for a file that only the other makes.
    wait = "while [ ! -e /c/{} ]; do sleep 0.01; done"
    mount = "--mount=type=cache,target=/c"
    result = site.build(
        f"FROM bb:1 AS a\nRUN {mount} touch /c/a; {wait.format('b')}\n"
        f"FROM bb:1 AS b\nRUN {mount} touch /c/b; {wait.format('a')}\n"
        "FROM scratch\nCOPY --from=a /etc /a\nCOPY --from=b /etc /b\n"
    )
    assert result.error is None


@pytest.mark.parametrize("moment", ["Step 2/2", "started\n"])
def test_a_client_that_goes_away_ends_the_command(site, moment):
    site.add_busybox()

    async def abandon():
        body = site.body({"Dockerfile": "FROM bb:1\nRUN echo started; sleep 1000\n"})
        async with aclosing(site.builder.build(BuildOptions(), body)) as stream:
            async for message in stream:
                if message.stream.startswith(moment):
                    break

    asyncio.run(abandon())
    assert site.build("FROM bb:1\nRUN echo fine\n").error is None


def test_a_command_waits_for_a_client_that_does_not_read(site):
    """What it has written and nobody has read yet stays below what is kept for readers that lag."""
    site.add_busybox()
    total = 16_000_000
    written = read = 0
    held_up = []
    run = site.executor.run

    async def counted(spec, on_output):
        async def on_counted(stream, data):
            nonlocal written
            written += len(data)
            taking = asyncio.ensure_future(on_output(stream, data))
            for _ in range(100):  # turns of the loop, in which it is taken if there is room
                await asyncio.sleep(0)
            if not taking.done():
                held_up.append(written)
            await taking

        return await run(spec, on_counted)

    async def reading():
        nonlocal read
        body = site.body({"Dockerfile": f"FROM bb:1\nRUN yes | head -c {total}\n"})
        async for message in site.builder.build(BuildOptions(), body):
            read += message.stream.count("y\n") * 2
            while read and not held_up and written < total:
                await asyncio.sleep(0)

    site.executor.run = counted
    asyncio.run(reading())
    assert held_up[0] < 8_000_000  # 64 messages of 64 KiB wait for the client, and a little more
    assert read == written == total


def test_many_builds_at_once_with_clients_that_dawdle(site):
    site.add_busybox()

    async def slowly(number):
        async for chunk in site.body(
            {"Dockerfile": f"FROM bb:1\nENV N={number}\nCOPY f /\n", "f": "x" * 100_000}
        ):
            await asyncio.sleep(0.02)
            yield chunk

    async def one(number):
        return [message async for message in site.builder.build(BuildOptions(), slowly(number))]

    async def all_of_them():
        return await asyncio.gather(*(one(number) for number in range(20)))

    assert all("Successfully built" in messages[-1].stream for messages in asyncio.run(all_of_them()))


def test_a_command_with_a_part_of_a_stage_is_known_by_that_part(site):
    site.add_busybox()
    dockerfile = (
        "FROM bb:1 AS made\nRUN mkdir /out /more; echo {} > /more/f; echo o > /out/f\n"
        "FROM bb:1\nRUN --mount=from=made,source=/out,target=/out cat /out/f > /f\n"
    )
    site.build(dockerfile.format(1))
    again = site.build(dockerfile.format(2))
    assert again.find("f").read_text() == "o\n"
    assert again.text.count("Using cache") == 1
    assert [entry.others != () for entry in site.builder.cache.entries()].count(True) == 1  # under two keys


def test_prune_forgets_what_no_image_holds(site):
    from corten.filters import Filters

    site.add_busybox()
    site.build("FROM bb:1\nRUN echo 1 > /1\n", tags=["kept"])
    site.build("FROM bb:1\nRUN echo 2 > /2; exit 1\n")
    site.build("FROM bb:1 AS a\nRUN echo gone > /3\nFROM scratch\nCOPY --from=a /bin/busybox /b\n")
    report = asyncio.run(site.builder.prune(Filters(), all=False, space=CacheSpace()))
    assert len(report.caches_deleted) == 1
    assert report.space_reclaimed == 5
    assert site.build("FROM bb:1\nRUN echo 1 > /1\n").text.count("Using cache") == 1
    asyncio.run(site.builder.prune(Filters(), all=True, space=CacheSpace()))
    assert site.build("FROM bb:1\nRUN echo 1 > /1\n").text.count("Using cache") == 0


def test_the_tar_may_be_compressed(site):
    site.add_busybox()
    assert site.build("FROM bb:1\nCOPY f /\n", {"f": "x"}, pack=gzip.compress).find("f").read_text() == "x"


def test_add_unpacks_archives_and_copy_does_not(site):
    site.add_busybox()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        entry = tarfile.TarInfo("inner/file")
        entry.size, entry.uid, entry.mode = 2, 12, 0o640
        tar.addfile(entry, io.BytesIO(b"hi"))
    files = {"a.tar.gz": buffer.getvalue(), "plain": "no archive"}
    result = site.build(
        "FROM bb:1\nADD a.tar.gz /u\nCOPY a.tar.gz /c/\nADD plain /p\nADD --unpack=false a.tar.gz /n/\n",
        files,
    )
    assert result.find("u/inner/file").read_text() == "hi"
    assert result.find("u/inner/file").stat().st_uid == 12
    assert result.find("c/a.tar.gz").is_file()
    assert result.find("n/a.tar.gz").is_file()
    assert result.find("p").read_text() == "no archive"


def test_an_archive_says_whose_its_files_are_and_nothing_of_where_they_go(site):
    site.add_busybox()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, kind in (("./", tarfile.DIRTYPE), ("./f", tarfile.REGTYPE)):
            entry = tarfile.TarInfo(name)
            entry.type, entry.uid, entry.mode = kind, 7, 0o700
            tar.addfile(entry)
    result = site.build("FROM bb:1\nADD --chown=8 a.tar /new\nADD a.tar /tmp\n", {"a.tar": buffer.getvalue()})
    found = [result.find(path).stat() for path in ("new", "new/f", "tmp", "tmp/f")]
    assert [(each.st_uid, each.st_mode & 0o777) for each in found] == [
        (8, 0o755),
        (7, 0o700),
        (0, 0o755),
        (7, 0o700),
    ]


def test_an_archive_that_cannot_be_unpacked_is_no_file_to_be_copied(site):
    site.add_busybox()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        entry = tarfile.TarInfo("deletion")
        entry.type = tarfile.CHRTYPE  # 0:0, by which overlayfs would delete what is below
        tar.addfile(entry)
    result = site.build("FROM bb:1\nADD --link a.tar /bin/\n", {"a.tar": buffer.getvalue()})
    assert "deletion: operation not permitted" in str(result.error)
    bad = bytearray(buffer.getvalue())
    bad[108:116] = b"\xff" * 8  # an owner of -1
    bad[148:156] = b"%06o\0 " % (sum(bad[:148]) + 8 * 32 + sum(bad[156:512]))
    result = site.build("FROM bb:1\nADD a.tar /x/\n", {"a.tar": bytes(bad)})
    assert "invalid owner" in str(result.error)


def test_questions_are_answered_without_building(site):
    site.add_busybox()
    result = site.build("FROM bb:1\nCOPY a.log $X\nRUN exit 1\n", {".dockerignore": "*.log"}, call="check")
    (message,) = result.messages
    assert (message.id, message.aux["status"]) == ("corten.build.call", 1)
    rules = [warning["ruleName"] for warning in message.aux["document"]["warnings"]]
    assert rules == ["CopyIgnoredFile", "UndefinedVar"]
    assert not site.executor.specs


def test_findings_may_be_errors(site):
    site.add_busybox()
    text = "FROM bb:1\nMAINTAINER me\n"
    assert site.build(text).error is None
    assert str(site.build(f"# check=error=true\n{text}").error) == (
        "lint violation found for rules: MaintainerDeprecated"
    )


def test_named_contexts(site):
    site.add_busybox()
    dockerfile = "FROM nowhere/img AS base\nCOPY f /main\nFROM base\nCOPY --from=files f /other\nRUN ls /extra > /seen; true\n"
    files = {"f": "main", "apart/files/f": "other", ".dockerignore": "apart"}
    contexts = {"nowhere/img": "docker-image://bb:1", "files": "local:apart/files"}
    result = site.build(dockerfile, files, contexts=contexts)
    assert (result.find("main").read_text(), result.find("other").read_text()) == ("main", "other")
    again = site.build(dockerfile, files, contexts=contexts)
    assert again.text.count("Using cache") == 3
    changed = site.build(dockerfile, {**files, "apart/files/f": "new"}, contexts=contexts)
    assert changed.find("other").read_text() == "new"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("local:../x", "invalid path of a context"),
        ("ftp://x", "unsupported context source ftp"),
        ("local:link", "Error processing tar file"),
        ("local:none", "Error processing tar file"),
    ],
)
def test_named_contexts_that_are_none(site, value, message):
    site.add_busybox()
    result = site.build("FROM bb:1\n", {"link": "-> /etc"}, contexts={"x": value})
    assert message in str(result.error)


def test_secrets_of_the_client(site):
    site.add_busybox()
    dockerfile = (
        "FROM bb:1\nRUN --mount=type=secret,id=a,mode=0444 cat /run/secrets/a | rev > /a\n"
        "RUN --mount=type=secret,id=b,env=B echo ${#B} > /b\n"
    )
    result = site.build(dockerfile, secrets={"a": b"one", "b": b"three"})
    assert (result.find("a").read_text().strip(), result.find("b").read_text()) == ("eno", "5\n")
    assert "three" not in str(result.document)
    assert "Using cache" in site.build(dockerfile, secrets={"a": b"two", "b": b""}).text


def test_cache_from_means_only_from_there(site):
    site.add_busybox()
    dockerfile = "FROM bb:1\nENV A=1\nRUN echo > /a\n"
    site.build(dockerfile, tags=["first"])
    assert site.build(dockerfile, cache_from=["first"]).text.count("Using cache") == 2
    assert "Using cache" not in site.build(dockerfile, cache_from=["none"]).text


def test_empty_continuations_are_told_as_dockerd_tells_them(site):
    site.add_busybox()
    result = site.build("FROM bb:1\nLABEL a=b \\\n\n  c=d\n")
    assert result.text.startswith(
        "\x1b[91m[WARNING]: Empty continuation line found in: LABEL a=b   c=d\n\x1b[0m"
        "\x1b[91m[WARNING]: Empty continuation lines will become errors in a future release.\n\x1b[0m"
        "Step 1/2 : FROM bb:1"
    )

"""From Dockerfiles to graphs, with images that are only documents."""

import asyncio
import json

import pytest

from corten.builder.args import proxy_variables
from corten.builder.convert import Converter, ConvertOptions, Unresolved
from corten.builder.dockerfile.errors import DockerfileError
from corten.builder.dockerfile.stages import read_dockerfile
from corten.builder.graph import (
    CopyAction,
    Device,
    Exec,
    File,
    GitSource,
    ImageSource,
    LocalSource,
    Merge,
    Vertex,
)
from corten.builder.image import document
from corten.builder.sources import BaseImage, NamedContext
from corten.digest import digest_of
from corten.errors import Forbidden, InvalidParameter, NotFound
from corten.platforms import parse_platform

CONTEXT = Vertex(op=LocalSource(key="context"))


class Shelf:
    """Images by name, all made of one layer."""

    def __init__(self, **configs):
        self.configs = configs
        self.asked = []

    async def resolve(self, reference, *, platform, pull, credentials, on_progress):
        self.asked.append((reference, platform))
        config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}
        config["config"] = self.configs.get(reference.partition(":")[0], {})
        raw = json.dumps(config).encode()
        return BaseImage(id=digest_of(raw), config=raw, diff_ids=(digest_of(reference.encode()),))


def convert(text, shelf=None, **options):
    """The target's plan and the converter."""

    async def scenario():
        async with asyncio.TaskGroup() as tasks:
            converter = Converter(
                read_dockerfile(text),
                ConvertOptions(**options),
                shelf or Shelf(),
                CONTEXT,
                tasks,
                lambda index, message: None,
            )
            plan = await converter.plan(converter.target)
            return plan, converter, plan.last

    try:
        return asyncio.run(scenario())[:2]
    except ExceptionGroup as group:
        raise group.exceptions[0] from None


def roots(vertex):
    """The vertices from the last to the base image, along the roots."""
    found = [vertex]
    while vertex.inputs:
        vertex = vertex.inputs[0]
        found.append(vertex)
    return found


def test_metadata_makes_no_vertex():
    plan, _ = convert("FROM b\nENV A=1\nLABEL x=y\nUSER u\nCMD z\nEXPOSE 1\n")
    assert isinstance(plan.last.root.op, ImageSource)
    assert [step.vertex for step in plan.steps] == [None] * 6


def test_a_chain():
    plan, _ = convert("FROM b\nWORKDIR w\nCOPY a ./\nRUN x\n")
    run, copy, workdir, base = roots(plan.last.root)
    assert isinstance(run.op, Exec)
    assert (run.op.args, run.op.cwd) == (("/bin/sh", "-c", "x"), "/w")
    assert isinstance(copy.op, File)
    assert copy.inputs[1] == CONTEXT
    assert copy.op.actions == (
        CopyAction(input=1, sources=("/a",), destination="/w/", may_find_nothing=True),
    )
    assert isinstance(workdir.op, File)
    assert isinstance(base.op, ImageSource)


def test_equal_work_has_one_name_and_different_work_another():
    digests = [
        convert(f"FROM b\nRUN {command}\n")[0].last.root.digest
        for command in ("x", "x", "y", "--network=none x")
    ]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


def test_an_arg_matters_from_where_it_is_declared():
    text = "FROM b\nRUN before\nARG A\nRUN after\n"
    one, two = (convert(text, build_args={"A": value})[0].last.root for value in "12")
    assert one.digest != two.digest
    assert one.inputs[0].digest == two.inputs[0].digest


@pytest.mark.parametrize(
    ("lines", "value", "made"),
    [
        ("ARG A=arg\nENV A=env\n", "env", ["A=env"]),
        ("ENV A=env\nARG A=arg\n", "arg", ["A=env"]),
        ("ENV A=env\nARG A\n", "env", ["A=env"]),
        ("ENV A=env\nARG A=arg\nENV B=$A\nENV A=${A}2\n", "arg2", ["A=arg2", "B=arg"]),
        ("ENV A=env\nARG A=arg\nFROM x\nRUN y\n", "arg", ["A=env"]),
        ("ENV A=env\nARG A=arg B=$A\nENV C=$B\n", "arg", ["A=env", "C=arg"]),
    ],
)
def test_of_env_and_arg_the_later_one_counts(lines, value, made):
    last = convert(f"FROM b AS x\n{lines}RUN z\n")[0].last
    assert f"A={value}" in last.root.op.env
    assert last.image.config.env[1:] == made
    assert f" A={value} " in last.image.history[-1].created_by


def test_history_as_buildkit_writes_it():
    lines = [
        "ARG Z=1 A B=2",
        "RUN x",
        "ONBUILD RUN y",
        "MAINTAINER me",
        "HEALTHCHECK --interval=5s --retries=2 CMD probe it",
        "COPY --parents --chmod=600 a b /c",
        'CMD ["a\\tb", "<é>"]',
    ]
    last = convert("FROM b\n" + "\n".join(lines))[0].last
    assert [entry.created_by for entry in last.image.history] == [
        "ARG Z=1 A B=2",
        "RUN |3 Z=1 A= B=2 /bin/sh -c x # buildkit",
        "MAINTAINER me",
        "HEALTHCHECK {Test:[CMD-SHELL probe it] "
        "Interval:5s Timeout:0s StartPeriod:0s StartInterval:0s Retries:2}",
        "COPY --parents --chmod=600 a b /c # buildkit",
        'CMD ["a\\tb" "<é>"]',
    ]
    assert {entry.author for entry in last.image.history} == {""}
    assert last.image.config.args_escaped


def test_a_shell_form_of_nothing_gives_the_shell_nothing():
    last = convert("FROM b\nRUN\nCMD\n")[0].last
    assert last.root.op.args == ("/bin/sh", "-c", "")
    assert last.image.config.cmd == ["/bin/sh", "-c", ""]


def test_labels_of_the_caller_are_no_instructions_to_buildkit():
    text = "FROM b AS a\nLABEL k=own l=kept\nFROM a\nLABEL k=more\n"
    for classic in (False, True):
        image = convert(text, labels={"k": "it's $HOME"}, classic=classic)[0].last.image
        assert image.config.labels == {"k": "it's $HOME", "l": "kept"}
        assert len(image.history) == (3 if classic else 2) + len(convert("FROM b\n")[0].last.image.history)


def test_an_image_from_scratch_has_a_working_directory():
    assert convert("FROM scratch\nCOPY a /\n")[0].last.image.config.working_dir == "/"


def test_proxies_are_in_both_spellings():
    given = {"HTTP_PROXY": "a", "no_proxy": "b", "https_proxy": "c", "HTTPS_PROXY": "d", "X": "y"}
    assert proxy_variables(given) == {
        "HTTP_PROXY": "a",
        "http_proxy": "a",
        "HTTPS_PROXY": "d",
        "https_proxy": "c",
        "NO_PROXY": "b",
        "no_proxy": "b",
    }


def test_what_leads_out_of_the_context_stays_in_it():
    assert convert("FROM b\nCOPY ../../a /\n")[0].last.root.op.actions[0].sources == ("/a",)


def test_proxies_are_no_part_of_the_work():
    one, two = (
        convert("FROM b\nRUN x\n", build_args=args)[0].last.root for args in ({}, {"HTTPS_PROXY": "p"})
    )
    assert one.digest == two.digest


def test_dead_stages_are_not_looked_at():
    shelf = Shelf()
    _, converter = convert(
        (
            "FROM a AS a\nFROM dead AS dead\nRUN x\nFROM c AS c\nFROM "
            "d\nCOPY --from=a / /\nRUN --mount=from=c,target=/m x\n"
        ),
        shelf,
    )
    assert sorted(name for name, _ in shelf.asked) == ["a", "c", "d"]
    assert converter.live_stages() == [0, 2, 3]


def test_names_of_stages_are_those_before_and_case_does_not_matter():
    shelf = Shelf()
    convert(
        "FROM b AS x\nFROM X AS y\nCOPY --from=other / /\nCOPY --from=0 / /\nFROM c AS later\n",
        shelf,
        target="Y",
    )
    assert [name for name, _ in shelf.asked] == ["b", "other"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("FROM b\nARG X=${Y:?bad}\n", 2),
        ("FROM b\nENV X=${Y:?bad}\n", 2),
        ("ARG A\nARG X=${Y:?bad}\nFROM b\n", 2),
        ("ARG A\nFROM b:${Y:?bad}\n", 2),
    ],
)
def test_what_cannot_be_substituted_is_told_with_its_line(text, line):
    with pytest.raises(DockerfileError, match=r"failed to process .*: Y: bad") as caught:
        convert(text)
    assert caught.value.line == line
    given = text.replace("${Y:?bad}", "$Y") if "ENV" in text or "b:" in text else text
    convert(given, build_args={"X": "1", "Y": "1"})


def test_the_number_of_a_stage_is_known_to_copy_alone():
    shelf = Shelf()
    convert("FROM b\nFROM 0\nCOPY --from=0 / /\n", shelf)
    assert [name for name, _ in shelf.asked] == ["0", "b"]
    for name in ("2", "0000000009", "0" * 5000 + "7"):
        with pytest.raises(InvalidParameter, match=f"value {name}: index out of bounds"):
            convert(f"FROM b\nFROM c\nCOPY --from={name} / /\n")
    convert(f"FROM b\nCOPY --from={'9' * 5000} / /\n", shelf)
    assert shelf.asked[-1][0] == "9" * 5000
    with pytest.raises(InvalidParameter, match='target stage "0" could not be found'):
        convert("FROM b\n", target="0")


@pytest.mark.parametrize(
    ("instruction", "message"),
    [
        (
            "COPY --from=later / /",
            'cannot copy from stage "later", it needs to be defined before current stage "x"',
        ),
        (
            "RUN --mount=from=later,target=/m y",
            'cannot mount from stage "later", stage needs to be defined before current command',
        ),
    ],
)
def test_no_stage_sees_later_ones(instruction, message):
    with pytest.raises(DockerfileError) as caught:
        convert(f"FROM b AS x\n{instruction}\nFROM c AS later\n", target="x")
    assert (str(caught.value), caught.value.line) == (message, 2)


@pytest.mark.parametrize("name", ["5", "me"])
def test_a_stage_cannot_copy_from_itself_or_nowhere(name):
    with pytest.raises(InvalidParameter, match="invalid from flag value"):
        convert(f"FROM b AS me\nCOPY --from={name} / /\n")


def test_platforms():
    shelf = Shelf()
    plan, _ = convert(
        "ARG P=linux/s390x\nFROM --platform=$BUILDPLATFORM b\nFROM "
        "--platform=$P c\nFROM d\nARG TARGETARCH\nENV T=$TARGETARCH\n"
        "COPY --from=0 / /\nCOPY --from=1 / /\n",
        shelf,
        platform=parse_platform("linux/arm64"),
    )
    asked = {name: str(platform) for name, platform in shelf.asked}
    assert asked["c"] == "linux/s390x"
    assert asked["d"] == "linux/arm64"
    assert plan.last.image.env()["T"] == "arm64"


def test_triggers_come_before_the_stages_own_instructions_and_are_used_up():
    plan, _ = convert("FROM b\nRUN own\n", Shelf(b={"OnBuild": ["ENV A=1", "RUN first"]}))
    assert [step.vertex is None for step in plan.steps[0].triggers] == [True, False]
    own, first, _ = roots(plan.last.root)
    assert first.op.args[-1] == "first"
    assert "A=1" in own.op.env
    assert plan.last.image.config.on_build is None


def test_a_trigger_that_is_no_instruction_is_refused():
    with pytest.raises(InvalidParameter):
        convert("FROM b\n", Shelf(b={"OnBuild": ["FROM evil"]}))


def test_env_of_one_instruction_sees_the_one_before():
    plan, _ = convert('FROM b\nENV a=1 b=2\nENV a=3 c=$a d="$b e"\n')
    assert plan.last.image.config.env[-4:] == ["a=3", "b=2", "c=1", "d=2 e"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("RUN --security=insecure x", "security.insecure is not allowed"),
        ("RUN --network=host x", "network.host is not allowed"),
        ("RUN --device=v/c=d y", "device=v/c=d is not allowed"),
    ],
)
def test_what_nobody_granted_is_refused(text, message):
    with pytest.raises(Forbidden, match=message):
        convert(f"FROM b\n{text}\n")


def test_what_was_granted():
    granted = frozenset({"security.insecure", "network.host", "device=v/c=d"})
    text = "FROM b\nRUN --security=insecure --network=host --device=v/c=d,required x\n"
    op = convert(text, entitlements=granted)[0].last.root.op
    assert (op.security, op.network) == ("insecure", "host")
    assert op.devices == (Device(name="v/c=d", required=True),)


def test_git_sources():
    plan, _ = convert("FROM b\nADD --checksum=abcdef1 git@host:a/b.git?keep-git-dir=1#v1:sub /x\n")
    source = plan.last.root.inputs[1].op
    assert source == GitSource(
        remote="git@host:a/b.git", ref="v1", subdir="sub", checksum="abcdef1", keep_git_dir=True
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ADD --keep-git-dir=false https://h/a.git?keep-git-dir /x", "inconsistent keep-git-dir"),
        ("ADD --checksum=abcdef1 https://h/a.git?commit=1234567 /x", "checksum mismatch"),
        ("ADD https://h/a.git#--upload-pack=x /x", "invalid git ref"),
        ("ADD https://h/a.git?what=1 /x", 'unexpected query "what"'),
        ("ADD --checksum=sha256:ab f /x", "checksum requires HTTP"),
    ],
)
def test_git_sources_that_are_wrong(text, message):
    with pytest.raises(InvalidParameter, match=message):
        convert(f"FROM b\n{text}\n")


def test_a_linked_copy_does_not_depend_on_what_it_stands_on():
    one = convert("FROM b\nCOPY --link --chown=1:2 f /x/\n")[0].last
    other = convert("FROM c\nCOPY --link --chown=1:2 f /x/\n")[0].last
    assert isinstance(one.root.op, Merge)
    assert one.vertex == other.vertex == one.root.inputs[1]
    assert one.root.inputs[0] != other.root.inputs[0]
    named = convert("FROM b\nCOPY --link --chown=app f /x/\n")[0].last
    assert isinstance(named.root.op, File), "a name has to be looked up below"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ADD --checksum=sha256:00 a b", "checksum requires HTTP"),
        ("RUN --mount=type=cache x", 'invalid mount target "/"'),
        ("RUN --mount=type=cash,target=/x x", "did you mean cache"),
        ("RUN --mount=type=bind,target=/ x", "invalid mount target"),
        ("ENV $none=x", "names can not be blank"),
        ("USER ${x:?who}", "x: who"),
        ("COPY <<../f /\n../f", "invalid name of heredoc"),
        ("RUN <<../f\n#!/bin/sh\n../f", "invalid name of heredoc"),
        ("RUN <</etc/f\n#!/bin/sh\n/etc/f", "invalid name of heredoc"),
        ("RUN <<..\n#!/bin/sh\n..", "invalid name of heredoc"),
        ("COPY $A/b.git /", "source can't be a git ref for COPY"),
        ("COPY a $A/b /", "source can't be a URL for COPY"),
        ("COPY --from=${A} a /", "variable expansion is not supported for --from"),
        ("RUN --mount=type=secret,id=a,source=b x", "both source and id can't be set"),
        ("RUN --mount=type=cache,target=/c,mode=0o7 x", "invalid value 0o7 for mode"),
    ],
)
def test_mistakes(text, message):
    with pytest.raises(InvalidParameter, match=message):
        convert(f"FROM b\nARG A=https://host\n{text}\n")


def test_what_was_meant_is_suggested():
    class Empty(Shelf):
        async def resolve(self, reference, **options):
            raise NotFound("no such thing")

    for name, meant in (("busibox", "busybox"), ("biulder", "builder"), ("elsewhere", "")):
        with pytest.raises(Unresolved) as caught:
            convert(f"FROM {name} AS builder\nCOPY --from={name} a /\n", Empty())
        hint = f" (did you mean {meant}?)" if meant else ""
        source = f"failed to resolve source metadata for docker.io/library/{name}:latest"
        assert caught.value.buildkits == f"{name}: {source}: no such thing{hint}"
    with pytest.raises(InvalidParameter, match=r"BUILDPLATFROM \(did you mean BUILDPLATFORM\?\)"):
        convert("FROM --platform=$BUILDPLATFROM b\n")


def test_arguments_that_are_there_before_any_is_given():
    text = "FROM b AS first\nARG TARGETSTAGE TARGETOS\nENV A=$TARGETSTAGE/$TARGETOS\nFROM first\n"
    assert convert(text)[0].last.image.env()["A"] == "default/linux"
    assert convert(text, target="FIRST")[0].last.image.env()["A"] == "FIRST/linux"
    shelf = Shelf()
    convert("FROM $TARGETOS\n", shelf, build_args={"TARGETOS": "mine"})
    assert [name for name, _ in shelf.asked] == ["mine"]


def test_arguments_that_are_for_the_builder():
    text = "FROM b\nRUN --mount=type=cache,target=/c --mount=type=cache,id=volume:v,target=/v x\n"
    given = {"BUILDKIT_SANDBOX_HOSTNAME": "here", "BUILDKIT_CACHE_MOUNT_NS": "mine"}
    (plan, converter), (without, _) = convert(text, build_args=given), convert(text)
    assert plan.last.root.op.hostname == "here"
    assert [mount.id for mount in plan.last.root.op.mounts] == ["mine//c", "volume:v"]
    assert [mount.id for mount in without.last.root.op.mounts] == ["/c", "volume:v"]
    assert converter.build_args.unused() == []


def test_the_image_has_layers_history_and_times_that_fit():
    from corten.builder.image import Layer

    plan, _ = convert("FROM b\nENV A=1\nRUN x\nENV B=2\nCOPY a /\n")
    layers = [
        Layer("sha256:" + "0" * 64),
        Layer("sha256:" + "1" * 64, 10**18),
        Layer("sha256:" + "2" * 64, 2 * 10**18),
    ]
    made = json.loads(document(plan.last.image, layers))
    assert made["rootfs"]["diff_ids"] == [layer.diff_id for layer in layers]
    assert [entry.get("created") for entry in made["history"]] == [
        "2001-09-09T01:46:40Z",  # before the first new layer: that one's
        "2001-09-09T01:46:40Z",
        "2001-09-09T01:46:40Z",
        "2033-05-18T03:33:20Z",
    ]
    assert made["created"] == "2033-05-18T03:33:20Z"
    epoch = json.loads(document(plan.last.image, layers, 0))
    assert {entry["created"] for entry in epoch["history"]} == {"1970-01-01T00:00:00Z"}


def test_what_a_variable_holds_adds_no_option_to_a_mount():
    text = 'FROM b\nARG D="/x,rw"\nRUN --mount=type=bind,target=$D,source=s y\n'
    (mount,) = convert(text)[0].last.root.op.mounts
    assert (mount.target, mount.readonly) == ("/x,rw", True)
    with pytest.raises(InvalidParameter, match="'from' doesn't support variable expansion"):
        convert("FROM b\nRUN --mount=from=$D,target=/x y\n")


def test_named_contexts():
    local = Vertex(op=LocalSource(key="other"), name="other")
    shelf = Shelf()
    contexts = {
        "made": NamedContext(vertex=local),
        "base": NamedContext(image="elsewhere:1"),
        "b": NamedContext(vertex=local),
    }
    text = "FROM unused AS made\nRUN x\nFROM base:latest\nCOPY --from=made f /\nCOPY --from=b g /\n"
    plan, converter = convert(text, shelf, contexts=contexts)
    assert [name for name, _ in shelf.asked] == ["elsewhere:1"]
    second, first, base = roots(plan.last.root)
    assert second.inputs[1] == local, "an image's name means the context"
    assert first.inputs[1] == local, "and so does a stage's"
    assert converter.live_stages() == [0, 1]
    root = convert("FROM b\nRUN x\n", shelf, contexts=contexts)[0].last.root.inputs[0]
    assert isinstance(root.op, File), "a root is made of the context's files"
    assert root.inputs[1] == local

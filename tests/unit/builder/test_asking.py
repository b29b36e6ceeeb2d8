"""`--call`: what a Dockerfile answers without being built."""

import json

import pytest

from corten.builder.asking import Questions
from corten.builder.dockerfile.stages import read_dockerfile
from corten.builder.sources import BaseImage
from corten.errors import InvalidParameter


class Shelf:
    """Has one image, `here`, whose config sets SET."""

    variables = ("SET=1",)

    def find(self, reference, platform):
        if reference != "here":
            return None
        config = {"architecture": "amd64", "os": "linux", "config": {"Env": self.variables}}
        config["rootfs"] = {"type": "layers", "diff_ids": []}
        return BaseImage(id="sha256:x", config=json.dumps(config).encode(), diff_ids=())


def ask(text, call, **options):
    return Questions(text, Shelf(), **options).answer(call)


TEXT = """\
# VERSION of the program
ARG VERSION=1
ARG UNUSED=2
# build makes it
FROM here:$VERSION AS build
# MODE to build in
ARG MODE=fast$VERSION
RUN --mount=type=secret,id=token,required --mount=type=ssh make
FROM scratch
COPY --from=build /out /
"""


def test_targets():
    answer = ask(TEXT, "targets")
    assert answer.text == "TARGET    DESCRIPTION\nbuild     makes it\n(default) \n"
    assert answer.document["targets"][0] == {
        "name": "build",
        "description": "makes it",
        "base": "here:$VERSION",
        "location": {"ranges": [{"start": {"line": 5}, "end": {"line": 5}}]},
    }
    assert answer.document["targets"][1]["default"] is True


def test_outline():
    answer = ask(TEXT, "outline", target="build", build_args={"VERSION": "3"})
    assert answer.text == (
        "TARGET:      build\n"
        "DESCRIPTION: makes it\n"
        "\n"
        "BUILD ARG   VALUE   DESCRIPTION\n"
        "VERSION     3       of the program\n"
        "MODE        fast3   to build in\n"
        "\n"
        "SECRET   REQUIRED\n"
        "token    true\n"
        "\n"
        "SSH       REQUIRED\n"
        "default   \n"
        "\n"
    )
    assert answer.document["secrets"][0]["required"] is True


def test_repeated_checks_see_what_has_changed():
    def details(**options):
        return [each.detail for each in Questions(text, shelf, **options).findings(read_dockerfile(text))]

    shelf, text = Shelf(), "ARG NAME=here\nFROM $NAME\nENV A=$SET\nCOPY a.log /\n"
    unset = "Usage of undefined variable '$SET'"
    assert details() == details() == []
    shelf.variables = ["OTHER=1"]
    assert details() == [unset]
    assert details(build_args={"NAME": "scratch"}) == [unset]
    assert details(build_args={"BUILDKIT_DOCKERFILE_CHECK": "skip=UndefinedVar"}) == []
    shelf.variables = ["SET=1"]
    assert details() == []
    assert len(details(ignore=["*.log"])) == 1


def test_check():
    answer = ask("FROM here\nENV A=$SET B=$MISSING\nRUN x\n", "check")
    assert answer.status == 1
    assert answer.text == (
        "\nWARNING: UndefinedVar - https://docs.docker.com/go/dockerfile/rule/undefined-var/\n"
        "Usage of undefined variable '$MISSING'\n"
        "Dockerfile:2\n"
        "--------------------\n"
        "   1 |     FROM here\n"
        "   2 | >>> ENV A=$SET B=$MISSING\n"
        "   3 |     RUN x\n"
        "   4 |     \n"
        "--------------------\n"
    )
    (warning,) = answer.document["warnings"]
    assert warning["ruleName"] == "UndefinedVar"
    assert ask("FROM scratch\n", "check").status == 0


def test_check_of_what_cannot_be_built():
    answer = ask("FROM here\nRUM x\n", "check")
    assert answer.status == 1
    assert answer.document["buildError"]["message"].startswith("dockerfile parse error on line 2")
    assert "   2 | >>> RUM x\n" in answer.text


def test_the_build_argument_goes_before_the_directive():
    text = "# check=skip=all\nFROM here\nMAINTAINER m\n"
    assert ask(text, "check").status == 0
    assert ask(text, "check", build_args={"BUILDKIT_DOCKERFILE_CHECK": "error=true"}).status == 1


def test_unknown_questions():
    with pytest.raises(InvalidParameter):
        ask(TEXT, "why")

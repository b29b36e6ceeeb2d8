"""Each of BuildKit's checks: a file that breaks it, and the same put right."""

import msgspec
import pytest

from corten.builder.dockerfile.rules import RULES, parse_check
from corten.builder.dockerfile.stages import read_dockerfile
from corten.builder.ignore import IgnoreMatcher
from corten.builder.image import ImageState
from corten.builder.lint.check import check
from corten.oci.image import ImageConfig
from corten.platforms import parse_platform

BASE = ImageState(
    platform=parse_platform("linux/amd64"), config=ImageConfig(env=["PATH=/bin", "FROM_BASE=1"])
)


def found(text, **options):
    dockerfile = read_dockerfile(text)
    options.setdefault("bases", {stage.index: BASE for stage in dockerfile.stages})
    return [(each.rule.name, each.detail, each.line) for each in check(dockerfile, **options)]


@pytest.mark.parametrize(
    ("rule", "bad", "detail", "line", "good"),
    [
        ("StageNameCasing", "FROM a AS Base", "Stage name 'Base' should be lowercase", 1, "FROM a AS base"),
        (
            "FromAsCasing",
            "FROM a as base",
            "'as' and 'FROM' keywords' casing do not match",
            1,
            "from a as base",
        ),
        (
            "NoEmptyContinuation",
            "FROM a\nRUN x \\\n\n  y",
            "Empty continuation line",
            4,
            "FROM a\nRUN x \\\n# comment\n  y",
        ),
        (
            "ConsistentInstructionCasing",
            "FROM a\nRUN x\nrun y",
            "Command 'run' should match the case of the command majority (uppercase)",
            3,
            "from a\nrun x\nrun y",
        ),
        (
            "ConsistentInstructionCasing",
            "from a\nRuN x",
            "Command 'RuN' should match the case of the command majority (lowercase)",
            2,
            "from a\nrun x",
        ),
        (
            "DuplicateStageName",
            "FROM a AS b\nFROM a AS b",
            'Duplicate stage name "b", stage names should be unique',
            2,
            "FROM a AS b\nFROM a AS c",
        ),
        (
            "ReservedStageName",
            "FROM a AS scratch",
            'Stage name should not use the same name as reserved stage "scratch"',
            1,
            "FROM a AS scratched",
        ),
        (
            "JSONArgsRecommended",
            "FROM a\nCMD x",
            "JSON arguments recommended for CMD to prevent unintended behavior related to OS signals",
            2,
            'FROM a\nSHELL ["bash"]\nCMD x',
        ),
        (
            "MaintainerDeprecated",
            "FROM a\nMAINTAINER me",
            "Maintainer instruction is deprecated in favor of using label",
            2,
            "FROM a\nLABEL maintainer=me",
        ),
        (
            "UndefinedArgInFrom",
            "ARG VERSION=1\nFROM a:${VERSOIN}1",
            "FROM argument 'VERSOIN' is not declared (did you mean VERSION?)",
            2,
            "ARG VERSION=1\nFROM a:$VERSION",
        ),
        (
            "WorkdirRelativePath",
            "FROM a\nWORKDIR app",
            'Relative workdir "app" can have unexpected results if the base image changes',
            2,
            "FROM a\nWORKDIR /srv\nWORKDIR app",
        ),
        (
            "UndefinedVar",
            "FROM a\nENV NAME=x\nCOPY $NAMES .",
            "Usage of undefined variable '$NAMES' (did you mean $NAME?)",
            3,
            "FROM a\nARG NAME\nENV X=$NAME Y=$FROM_BASE\nCOPY $NAME .",
        ),
        (
            "MultipleInstructionsDisallowed",
            'FROM a\nCMD ["x"]\nCMD ["y"]',
            "Multiple CMD instructions should not be used in the same stage "
            "because only the last one will be used",
            2,
            'FROM a AS b\nCMD ["x"]\nFROM b\nCMD ["y"]',
        ),
        (
            "LegacyKeyValueFormat",
            "FROM a\nENV A b",
            '"ENV key=value" should be used instead of legacy "ENV key value" format',
            2,
            "FROM a\nENV A=b",
        ),
        (
            "RedundantTargetPlatform",
            "FROM --platform=$TARGETPLATFORM a",
            "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior",
            1,
            "FROM --platform=$BUILDPLATFORM a",
        ),
        (
            "SecretsUsedInArgOrEnv",
            "FROM a\nARG GITHUB_TOKEN",
            'Do not use ARG or ENV instructions for sensitive data (ARG "GITHUB_TOKEN")',
            2,
            "FROM a\nARG TOKEN_FILE\nENV PUBLIC_KEY=x MONKEY=y",
        ),
        (
            "InvalidDefaultArgInFrom",
            "ARG TAG\nFROM a:${TAG}",
            "Default value for ARG a:${TAG} results in empty or invalid base image name",
            2,
            "ARG TAG=latest\nFROM a:${TAG}",
        ),
        (
            "FromPlatformFlagConstDisallowed",
            "FROM --platform=linux/arm64 a",
            'FROM --platform flag should not use constant value "linux/arm64"',
            1,
            "FROM --platform=linux/arm64 a AS build_arm64",
        ),
        (
            "InvalidDefinitionDescription",
            "# check=experimental=all\n# something\nFROM a AS b",
            "Comment for FROM should follow the format: `# b <description>`",
            3,
            "# check=experimental=all\n# b is something\nFROM a AS b",
        ),
        (
            "ExposeProtoCasing",
            "FROM a\nEXPOSE 80/TCP",
            "Defined protocol '80/TCP' in EXPOSE instruction should be lowercase",
            2,
            "FROM a\nEXPOSE 80/tcp 81",
        ),
        (
            "ExposeInvalidFormat",
            "FROM a\nEXPOSE 127.0.0.1:80:80",
            "EXPOSE instruction should not define an IP address or host-port mapping, found '127.0.0.1:80:80'",
            2,
            "FROM a\nEXPOSE 80",
        ),
    ],
)
def test_rules(rule, bad, detail, line, good):
    assert (rule, detail, line) in found(bad, build_args={"TAG": "1"})
    assert rule not in [name for name, _, _ in found(good)]


def test_every_rule_is_known_by_the_name_that_docker_gives_it():
    assert len(RULES) == 22  # 21 of the file's own, and the base image's platform
    assert all(
        rule.url.startswith("https://docs.docker.com/go/dockerfile/rule/")
        for rule in RULES.values()
        if rule.page
    )


def test_base_images_of_another_platform():
    text = "FROM --platform=$BUILDPLATFORM a:1 AS b\nFROM b\nFROM a:2\n"
    images = [
        msgspec.structs.replace(BASE, platform=parse_platform(name))
        for name in ("linux/amd64", "linux/s390x", "linux/amd64")
    ]
    expected = (
        "InvalidBaseImagePlatform",
        'Base image a:2 was pulled with platform "linux/amd64", expected "linux/arm64" for current build',
        3,
    )
    options = {"bases": dict(enumerate(images)), "platform": parse_platform("arm64")}
    assert found(text, **options) == [expected]


@pytest.mark.parametrize(
    ("ignore", "expected"),
    [
        (["*.log"], ['Attempting to Copy file "a.log" that is excluded by .dockerignore']),
        (["*.log", "!a.log"], []),
        (["other"], []),
    ],
)
def test_copies_of_what_is_ignored(ignore, expected):
    text = "FROM a AS b\nCOPY a.log /\nCOPY --from=b x.log /\nADD http://h/x.log /\n"
    assert [detail for _, detail, _ in found(text, ignore=IgnoreMatcher(ignore))] == expected


def test_what_an_unknown_base_image_may_define_is_not_undefined():
    assert found("FROM a\nCOPY $X .\n", bases={}) == []
    assert [name for name, _, _ in found("FROM scratch\nCOPY $X /\n", bases={})] == ["UndefinedVar"]


def test_scopes_follow_stages():
    text = "ARG GLOBAL=1\nFROM a AS b\nARG A\nENV E=1\nWORKDIR /x\nFROM b\nWORKDIR y\nCOPY $A $E $GLOBAL /\n"
    assert [detail for _, detail, _ in found(text)] == ["Usage of undefined variable '$GLOBAL'"]


def test_checks_may_be_skipped():
    text = "FROM a\nMAINTAINER m\n# check=skip=MaintainerDeprecated\nMAINTAINER n\nCMD x\n"
    assert [(name, line) for name, _, line in found(text)] == [
        ("MaintainerDeprecated", 2),
        ("JSONArgsRecommended", 5),
    ]
    assert found("# check=skip=all\n" + text) == []
    assert [name for name, _, _ in found("# check=skip=JSONArgsRecommended\n" + text)] == [
        "MaintainerDeprecated"
    ]
    assert found(text, options=parse_check("skip=JSONArgsRecommended,MaintainerDeprecated")) == []


@pytest.mark.parametrize(
    "text",
    [
        "ARG X=${Y:?bad}\nFROM a\n",
        "FROM a AS unused\nARG X=${Y:?bad}\nFROM a\n",
        "FROM a AS unused\nCOPY <<E /f\n${Y:?bad}\nE\nFROM a\n",
    ],
)
def test_what_cannot_be_substituted_is_left_to_the_build(text):
    assert all(rule == "UndefinedVar" for rule, _, _ in found(text))


def test_only_the_stages_that_are_wanted():
    text = "FROM a AS b\nENV A 1\nFROM a\nENV B 1\n"
    assert [line for _, _, line in found(text)] == [2, 4]
    assert [line for _, _, line in found(text, stages=[0])] == [2]

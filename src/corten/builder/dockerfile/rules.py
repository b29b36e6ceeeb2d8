"""The build checks: BuildKit's rules by name, which of them a file skips, and what a check has found.

Names, descriptions and addresses: Docker's "Build checks" reference.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from corten.builder.booleans import parse_bool
from corten.builder.dockerfile.errors import DockerfileError

_ADDRESS = "https://docs.docker.com/go/dockerfile/rule/"


@dataclass(frozen=True, slots=True)
class Rule:
    """What a check is about. `page`: the last part of its address; `experimental`: only if asked for."""

    name: str
    description: str
    page: str
    experimental: bool = False

    @property
    def url(self) -> str:
        """Where it is explained."""
        return f"{_ADDRESS}{self.page}/" if self.page else ""


RULES = {
    rule.name: rule
    for rule in (
        Rule("StageNameCasing", "Stage names should be lowercase", "stage-name-casing"),
        Rule(
            "FromAsCasing",
            "The 'as' keyword should match the case of the 'from' keyword",
            "from-as-casing",
        ),
        Rule(
            "NoEmptyContinuation",
            "Empty continuation lines will become errors in a future release",
            "no-empty-continuation",
        ),
        Rule(
            "ConsistentInstructionCasing",
            "All commands within the Dockerfile should use the same casing (either upper or lower)",
            "consistent-instruction-casing",
        ),
        Rule("DuplicateStageName", "Stage names should be unique", "duplicate-stage-name"),
        Rule("ReservedStageName", "Reserved words should not be used as stage names", "reserved-stage-name"),
        Rule(
            "JSONArgsRecommended",
            "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to "
            "OS signals",
            "json-args-recommended",
        ),
        Rule(
            "MaintainerDeprecated",
            "The MAINTAINER instruction is deprecated, use a label instead to define an image author",
            "maintainer-deprecated",
        ),
        Rule("UndefinedArgInFrom", "FROM command must use declared ARGs", "undefined-arg-in-from"),
        Rule(
            "WorkdirRelativePath",
            "Relative workdir without an absolute workdir declared within the build can have unexpected "
            "results if the base image changes",
            "workdir-relative-path",
        ),
        Rule("UndefinedVar", "Variables should be defined before their use", "undefined-var"),
        Rule(
            "MultipleInstructionsDisallowed",
            "Multiple instructions of the same type should not be used in the same stage",
            "multiple-instructions-disallowed",
        ),
        Rule(
            "LegacyKeyValueFormat",
            "Legacy key/value format with whitespace separator should not be used",
            "legacy-key-value-format",
        ),
        Rule("InvalidBaseImagePlatform", "Base image platform does not match expected target platform", ""),
        Rule(
            "RedundantTargetPlatform",
            "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default "
            "behavior",
            "redundant-target-platform",
        ),
        Rule(
            "SecretsUsedInArgOrEnv",
            "Sensitive data should not be used in the ARG or ENV commands",
            "secrets-used-in-arg-or-env",
        ),
        Rule(
            "InvalidDefaultArgInFrom",
            "Default value for global ARG results in an empty or invalid base image name",
            "invalid-default-arg-in-from",
        ),
        Rule(
            "FromPlatformFlagConstDisallowed",
            "FROM --platform flag should not use a constant value",
            "from-platform-flag-const-disallowed",
        ),
        Rule(
            "CopyIgnoredFile",
            "Attempting to Copy file that is excluded by .dockerignore",
            "copy-ignored-file",
        ),
        Rule(
            "InvalidDefinitionDescription",
            "Comment for build stage or argument should follow the format: "
            "`# <arg/stage name> <description>`. If this is not intended to be a description comment, add an "
            "empty line or comment between the instruction and the comment.",
            "invalid-definition-description",
            experimental=True,
        ),
        Rule(
            "ExposeProtoCasing",
            "Protocol in EXPOSE instruction should be lowercase",
            "expose-proto-casing",
        ),
        Rule(
            "ExposeInvalidFormat",
            "IP address and host-port mapping should not be used in EXPOSE instruction. This will become an "
            "error in a future release",
            "expose-invalid-format",
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule is broken: how, and by which lines (from 1)."""

    rule: Rule
    detail: str
    line: int
    end_line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Value of `# check=skip=A,B;experimental=C;error=true`; `all` stands for every rule."""

    skip: tuple[str, ...] = ()
    experimental: tuple[str, ...] = ()
    error: bool = False

    def wants(self, rule: Rule) -> bool:
        """Whether the rule is to be checked."""
        if rule.experimental:
            return "all" in self.experimental or rule.name in self.experimental
        return "all" not in self.skip and rule.name not in self.skip

    def merged(self, comments: Iterable[str]) -> Check:
        """With what the comments above an instruction (`# check=...`) add for it."""
        found = self
        for comment in comments:
            key, equals, value = comment.partition("=")
            if equals and key.strip().lower() == "check":
                try:
                    other = parse_check(value.strip().partition(" ")[0])
                except DockerfileError:
                    continue
                found = replace(
                    found,
                    skip=(*found.skip, *other.skip),
                    experimental=(*found.experimental, *other.experimental),
                )
        return found


def parse_check(value: str) -> Check:
    """Parse `skip=A,B;error=true`; also the value of the build-arg BUILDKIT_DOCKERFILE_CHECK."""
    check = Check()
    if not value.strip():
        return check
    for part in value.split(";"):
        key, equals, content = part.partition("=")
        key, content = key.strip(), content.strip()
        if not equals:
            raise DockerfileError(f'invalid check option "{part}"', located=False)
        names = tuple(name.strip() for name in content.split(",") if name.strip())
        if key == "skip":
            check = replace(check, skip=names)
        elif key == "experimental":
            check = replace(check, experimental=names)
        elif key == "error":
            error = parse_bool(content)
            if error is None:
                raise DockerfileError(f'failed to parse check option "{part}"', located=False)
            check = replace(check, error=error)
        else:
            raise DockerfileError(f'invalid check option "{key}"', located=False)
    return check


def violation(findings: Sequence[Finding]) -> str:
    """The text of the error that findings are with `error=true`."""
    names = dict.fromkeys(finding.rule.name for finding in findings)
    return f"lint violation found for rules: {', '.join(names)}"

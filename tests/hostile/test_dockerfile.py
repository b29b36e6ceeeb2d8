"""A Dockerfile is somebody else's text: whatever is in it, the answer is stages or a DockerfileError."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.builder.dockerfile.errors import DockerfileError
from corten.builder.dockerfile.mounts import parse_mount
from corten.builder.dockerfile.stages import read_dockerfile, read_trigger

# fmt: off
KEYWORDS = [
    "FROM", "RUN", "CMD", "LABEL", "MAINTAINER", "EXPOSE", "ENV", "ADD", "COPY", "ENTRYPOINT", "VOLUME",
    "USER", "WORKDIR", "ARG", "ONBUILD", "STOPSIGNAL", "HEALTHCHECK", "SHELL",
]
# fmt: on
PIECES = st.sampled_from(
    [
        *KEYWORDS,
        *(k.lower() for k in KEYWORDS),
        " ",
        "\t",
        "\n",
        "\r\n",
        "\\\n",
        "\\",
        "`",
        "# escape=`\n",
        "#",
    ]
    + [
        "<<EOF",
        "EOF",
        "<<-'x'",
        "--from=",
        "--mount=type=",
        "--",
        "[",
        "]",
        '"',
        "'",
        ",",
        "=",
        "$",
        "${",
        "}",
    ]
    + ["AS", "a", "1", "/", ".", "\ufeff", "\0", "é", '["a", "b"]', "CMD", "NONE", "--interval=1s"]
)


@given(st.lists(PIECES, max_size=60).map("".join))
def test_any_text_is_read_or_refused(text: str) -> None:
    for source in (text, "FROM scratch\n" + text):
        try:
            read_dockerfile(source)
        except DockerfileError as error:
            assert str(error)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(source: bytes) -> None:
    try:
        read_dockerfile(source)
    except DockerfileError:
        pass


@given(st.text(alphabet="abcdefghijklmnop=,\"' -/0123456789", max_size=60))
def test_any_mount_is_read_or_refused(value: str) -> None:
    for text in (value, "type=cache,target=/x," + value, "type=secret," + value):
        try:
            parse_mount(text)
        except DockerfileError:
            pass


@pytest.mark.parametrize(
    "source",
    [
        "FROM x\nRUN " + "[" * 100_000,
        "FROM x\nRUN " + '["a",' * 10_000,
        "FROM x\n" + "ONBUILD " * 100_000 + "RUN x",
        "FROM x\nRUN " + "<<a " * 50_000,
        "FROM x\nENV " + "a=" * 100_000,
        "FROM x\nRUN a" + "\\\n" * 100_000,
        "FROM x\nUSER " + "${a:-" * 50_000,
        "FROM x\nHEALTHCHECK --interval=" + "9" * 10_000 + "h CMD x",
        "FROM x\nHEALTHCHECK --retries=" + "9" * 10_000 + " CMD x",
        "FROM x\nRUN " + "9" * 10_000 + "<<EOF\nEOF\n",
        "FROM x\nCOPY --from=" + "9" * 10_000 + " a b",
        "x" * (5 << 20),
    ],
    ids=lambda s: s[7:30],
)
def test_bombs(source: str) -> None:
    try:
        read_dockerfile(source)
    except DockerfileError:
        pass


@pytest.mark.parametrize("trigger", ["", "FROM evil", "ONBUILD RUN x", "RUN a\nRUN b", "MAINTAINER x", "FOO"])
def test_triggers_of_foreign_images_are_checked(trigger: str) -> None:
    with pytest.raises(DockerfileError):
        read_trigger(trigger)

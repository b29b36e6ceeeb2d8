"""What people are told of instructions: as dockerd 26.1.5 tells it."""

import pytest

from corten.builder.dockerfile.stages import read_dockerfile
from corten.builder.showing import shown_instruction


@pytest.mark.parametrize(
    ("instruction", "shown"),
    [
        ("run echo $A", "RUN echo 1"),
        ('COPY "f" /$A/', "COPY f /1/"),
        ("WORKDIR /w$A$UNSET", "WORKDIR /w1"),
        ("RUN <<EOF\necho $A\necho\nEOF", "RUN <<EOF (echo 1...)"),
        ("RUN cat <<EOF\nonly\nEOF", "RUN cat <<EOF"),
        ("RUN --mount=type=secret,id=A,env=A echo $A", "RUN --mount=type=secret,id=A,env=A echo ****"),
        ("RUN echo '$A", "RUN echo '$A"),
    ],
)
def test_instructions(instruction, shown):
    [stage] = read_dockerfile(f"FROM scratch\n{instruction}\n").stages
    assert shown_instruction(stage.instructions[0], {"A": "1"}, "\\") == shown

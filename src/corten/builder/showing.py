"""What people are told of an instruction while it is done: with its variables' values.

Source: moby/buildkit, dockerfile2llb/convert.go (processCmdEnv, summarizeHeredoc, withSecretEnvMask).
"""

from __future__ import annotations

from collections.abc import Mapping

from corten.builder.dockerfile.instructions import Instruction, Run
from corten.builder.dockerfile.lexer import parse_heredoc
from corten.builder.dockerfile.mounts import parse_mount
from corten.builder.dockerfile.shell import ShellError, expand, expand_shown

_MASK = "****"  # for the value of a variable that is a secret


def shown_instruction(instruction: Instruction, env: Mapping[str, str], escape: str) -> str:
    """The instruction's text as BuildKit shows it; as it was written if that cannot be expanded."""
    keyword, _, rest = instruction.text.partition(" ")
    try:
        if isinstance(instruction, Run):
            shown = expand_shown(rest + _summary(instruction, escape), _masked(instruction, env), escape)
        else:
            shown = expand(rest, env, escape)
    except ShellError:
        shown = rest
    return f"{keyword.upper()} {shown}"


def _masked(run: Run, env: Mapping[str, str]) -> Mapping[str, str]:
    """The variables as people may see them."""
    if not run.mounts:
        return env
    secrets = [mount.env for text in run.mounts if (mount := parse_mount(text, str)).env]
    return {**env, **dict.fromkeys(secrets, _MASK)}


def _summary(run: Run, escape: str) -> str:
    """Of a heredoc that is the whole command: its first line."""
    if (
        run.command.exec_form
        or not run.heredocs
        or parse_heredoc(run.command.args[0].strip(), escape) is None
    ):
        return ""
    first, *others = run.heredocs[0].content.strip().replace("\r\n", "\n").split("\n")
    return f" ({first}{'...' if others else ''})"
